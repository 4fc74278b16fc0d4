"""
Two nodes with a workload each, and between them two routers whose link has an MTU of 1400.

    w1 -- n1 -- r1 == 1400 == r2 -- n2 -- w2

Nodes are 10.N.0.1 and fd00:N::1, workloads 10.244.N.2 and fd00:244:N::2; every other link has 1500.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Final

import pytest

from bgpctl.core.dataplane.effects import Put
from bgpctl.core.dataplane.plan import NOT_WANTED
from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.fabric.vxlan import Vxlan
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix, Vni, link_local, vtep_mac
from bgpctl.core.net.objects import (
    Decap,
    FdbEntry,
    InnerFilter,
    KernelObject,
    Link,
    LinkAddress,
    Neighbour,
    NextHop,
    Route,
    Sysctl,
)
from bgpctl.kernel import modules
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.lab import netns

PATH_MTU: Final = 1400
_PARTS: Final = ("r1", "r2", "n1", "n2", "w1", "w2")
_HOP: Final = 0x42000001
_FAMILY: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_MTU: Final = {"ipip": {4: 1480}, "vxlan": {4: 1450, 6: 1430}}


def namespace(part: str) -> str:
    return f"path{os.getpid()}-{part}"


def node(number: int, version: int) -> Address:
    return Address.parse(f"10.{number}.0.1" if version == 4 else f"fd00:{number}::1")


def workload(number: int, version: int) -> Address:
    return Address.parse(f"10.244.{number}.2" if version == 4 else f"fd00:244:{number}::2")


def block(number: int, version: int) -> Prefix:
    return Prefix.parse(f"10.244.{number}.0/26" if version == 4 else f"fd00:244:{number}::/64")


def end_of(number: int, version: int) -> Address:
    return Address.parse(f"10.244.{number}.3" if version == 4 else f"fd00:244:{number}::3")


@contextmanager
def narrow_path(encapsulation: str, version: int, *, segment_bytes: int = 0) -> Iterator[None]:
    """Both nodes send to each other through this tunnel, TCP in such segments at most; 0: in any."""
    name, _, driver = encapsulation.partition("-by-")
    if driver == "kernel" and not modules.is_there("ipip"):
        pytest.skip("the ipip module of the kernel")
    with ExitStack() as stack:
        for part in _PARTS:
            stack.callback(netns.delete, namespace(part))
            netns.ip([f"netns add {namespace(part)}"])
        _routers()
        for number in (1, 2):
            _wire(number, _MTU[name][version])
            kernel = netns.inside(namespace(f"n{number}"), partial(LinuxKernel, {name: driver} if driver else None))
            stack.callback(kernel.close)
            ops = [Put(obj, NOT_WANTED) for obj in _tunnel(name, version, number, segment_bytes)]
            assert netns.inside(namespace(f"n{number}"), partial(kernel.apply, ops)) == ()
        yield


def _routers() -> None:
    netns.ip([f"link add mid mtu {PATH_MTU} type veth peer name mid netns {namespace('r2')}"], namespace("r1"))
    for number, other in ((1, 2), (2, 1)):
        here = namespace(f"r{number}")
        netns.set_sysctls(here, {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"})
        netns.ip(
            [
                f"link add eth0 type veth peer name eth0 netns {namespace(f'n{number}')}",
                f"link set mid mtu {PATH_MTU} up",
                "link set eth0 up",
                f"addr add 10.{number}.0.254/24 dev eth0",
                f"addr add fd00:{number}::fe/64 dev eth0 nodad",
                f"addr add 10.9.0.{number}/24 dev mid",
                f"addr add fd00:9::{number}/64 dev mid nodad",
                f"route add 10.{other}.0.0/24 via 10.9.0.{other}",
                f"route add fd00:{other}::/64 via fd00:9::{other} dev mid",
            ],
            here,
        )


def _wire(number: int, workload_mtu_bytes: int) -> None:
    here, there = namespace(f"n{number}"), namespace(f"w{number}")
    netns.set_sysctls(here, {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"})
    netns.ip(
        [
            "link set lo up",
            "link set eth0 up",
            f"addr add 10.{number}.0.1/24 dev eth0",
            f"addr add fd00:{number}::1/64 dev eth0 nodad",
            f"route add default via 10.{number}.0.254",
            f"route add default via fd00:{number}::fe dev eth0",
            f"link add workload type veth peer name eth0 netns {there}",
            "link set workload up",
            f"addr add 10.244.{number}.1/26 dev workload",
            f"addr add fd00:244:{number}::1/64 dev workload nodad",
        ],
        here,
    )
    netns.ip(
        [
            f"link set eth0 mtu {workload_mtu_bytes} up",
            f"addr add 10.244.{number}.2/26 dev eth0",
            f"addr add fd00:244:{number}::2/64 dev eth0 nodad",
            f"route add default via 10.244.{number}.1",
            f"route add default via fd00:244:{number}::1 dev eth0",
        ],
        there,
    )


def _tunnel(encapsulation: str, version: int, number: int, segment_bytes: int) -> list[KernelObject]:
    other = 3 - number
    local, remote = node(number, version), node(other, version)
    name = "tunl0" if encapsulation == "ipip" else "vxlan.test"
    kind = Ipip() if encapsulation == "ipip" else Vxlan(Vni(4096), 4789, local, "eth0")
    mac = None if encapsulation == "ipip" else vtep_mac(f"n{number}")
    own, theirs = (block(number, version), end_of(number, version).host_prefix), (block(other, version),)
    objects: list[KernelObject] = [
        Link(name, kind, _MTU[encapsulation][version], mac),
        *([Sysctl(f"net/ipv4/conf/{name}/forwarding", "1")] if version == 4 else []),
        LinkAddress(name, InterfaceAddress(end_of(number, version), end_of(number, version).host_prefix.length)),
        InnerFilter(name, version, (remote,), (local,), theirs, own[:1], segment_bytes),
        Decap(name, "eth0", local, (remote,)),
    ]
    if encapsulation == "ipip":
        gateway = remote
    else:
        peer = vtep_mac(f"n{other}")
        gateway = link_local(peer) if version == 6 else end_of(other, version)
        objects += [FdbEntry(name, peer, remote), Neighbour(name, gateway, peer)]
    return [*objects, NextHop(_HOP, name, gateway, onlink=True), Route(block(other, version), next_hop=_HOP)]


def transferred(source: str, destination: str, address: Address, octets: int, *, within_s: float = 30.0) -> int:
    """How many of so many octets arrive from one namespace in another by TCP, within a deadline."""
    with ExitStack() as stack:
        listening = stack.enter_context(_socket(destination, address.version))
        listening.bind(("", 5001))
        listening.listen()
        listening.settimeout(within_s)
        found: list[int] = []
        receiver = threading.Thread(target=lambda: found.append(_received(listening, octets, within_s)))
        receiver.start()
        with closing(_socket(source, address.version)) as sending:
            sending.settimeout(within_s)
            try:
                sending.connect((str(address), 5001))
                sending.sendall(bytes(octets))
            except OSError:
                pass  # the number says it
            receiver.join()
        return found[0]


def _received(listening: socket.socket, octets: int, within_s: float) -> int:
    count = 0
    try:
        accepted, _ = listening.accept()
        with accepted:
            accepted.settimeout(within_s)
            while count < octets and (chunk := accepted.recv(1 << 16)):
                count += len(chunk)
    except TimeoutError:
        pass
    return count


def _socket(name: str, version: int) -> socket.socket:
    opened = netns.open_socket(name, _FAMILY[version], socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return opened
