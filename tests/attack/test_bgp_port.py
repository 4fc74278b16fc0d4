"""
Attacks on a node to which no workload is attached, n3: on its BGP port, and by the first workload that is.

The node's tables are those that its agent makes while there is no link of a workload.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bgpctl.attach.connect import Cable, connect
from bgpctl.attach.wiring import Wiring
from bgpctl.core.net.addresses import Address
from bgpctl.kernel import workload_filter
from bgpctl.lab import netns
from tests.attack.tunnels_rig import PORT, Cluster
from tests.attack.workloads_rig import send, udp
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

BGP = 179


@pytest.fixture
def bare(under_attack: Cluster) -> Cluster:
    """The cluster, without a workload at n3."""
    if "workload" in netns.inside(under_attack.name("n3"), lambda: [name for _, name in socket.if_nameindex()]):
        netns.ip(["link del workload"], under_attack.name("n3"))
        under_attack.settle(3)
    return under_attack


def end_of_tunnel(made: Cluster, number: int) -> Address:
    """An address of the pool that is the node's own."""
    found = made.intent.tunnel_address(made.here(number), made.encapsulation, made.family.version)
    assert found
    return found


@contextmanager
def listening(made: Cluster) -> Iterator[socket.socket]:
    """In ExaBGP's place, at all addresses of n3."""
    with netns.open_socket(made.name("n3"), made.family.kind, socket.SOCK_STREAM) as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(("", BGP))
        found.listen()
        found.settimeout(15)
        yield found


@contextmanager
def connecting(made: Cluster, part: str, source: Address, target: Address) -> Iterator[socket.socket]:
    with netns.open_socket(made.name(part), made.family.kind, socket.SOCK_STREAM) as found:
        found.bind((str(source), 0))
        found.setblocking(False)
        assert found.connect_ex((str(target), BGP)) == errno.EINPROGRESS
        yield found


def is_connected(connection: socket.socket) -> bool:
    try:
        connection.getpeername()
    except OSError:
        return False
    return True


def dropped(made: Cluster) -> int:
    """The packets to BGP that n3 has dropped, of all links."""
    found: workload_filter.Dropped = netns.inside(made.name("n3"), workload_filter.dropped)
    return sum(of_link.get("bgp", 0) for of_link in found.values())


@pytest.mark.parametrize("way", ["underlay", "tunnel"])
def test_an_address_of_a_pool_reaches_no_bgp_port(bare: Cluster, way: str) -> None:
    """By the underlay from a node, as one whose workloads nobody filters sends; by a tunnel from a workload."""
    made, family = bare, bare.family
    ends = {
        "underlay": ("n2", end_of_tunnel(made, 2), family.node_of(3)),
        "tunnel": ("w2", family.workload_of(2), end_of_tunnel(made, 3)),
    }
    before = dropped(made)
    with listening(made) as victim:
        with connecting(made, *ends[way]) as connection:
            wait_until(lambda: dropped(made) > before or is_connected(connection), within_s=15)
            assert not is_connected(connection)
        with connecting(made, "n2", family.node_of(2), family.node_of(3)):
            accepted, peer = victim.accept()
            accepted.close()
            assert peer[0] == str(family.node_of(2)), "the member is the first to come through"


def test_the_first_workload_is_filtered_before_its_link_is_seen(bare: Cluster) -> None:
    made, family = bare, bare.family
    own, target = family.workload_of(3), family.workload_of(2)
    forged = Address(family.version, own.value + 9)
    connect([Cable(Wiring("workload", (own,), 1500), made.name("n3"), made.name("w3"))])
    with made.listen("w2", target) as victim, netns.open_socket(made.name("w3"), family.kind, socket.SOCK_DGRAM) as out:
        send(made, udp(forged, target), source="w3")
        out.sendto(b"honest", (str(target), PORT))
        victim.settimeout(15)
        assert victim.recv(100) == b"honest", "it works at once, and what was forged before it did not come"
