"""
Docker with bgpctl's networks, on real daemons: Docker's traps, and what containers may do.

Containers of two hosts reach each other in test_names.py. What needs minutes is in tests/nightly/test_docker_plugin.py;
requests one by one are in tests/contract.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial

import pytest

from bgpctl.attach.wiring import NODE_MAC
from bgpctl.core.net.addresses import Address
from bgpctl.lab import netns
from tests.attack.workloads_rig import SYN, ip, tcp, udp
from tests.docker.plugin_rig import BOTH, IMAGE, NETWORK, Host, hosts, in_blue, left_clean
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Host]]:
    with hosts(tmp_path_factory.mktemp("pair")) as made:
        in_blue(made)
        yield made


@pytest.fixture
def one(pair: list[Host]) -> Iterator[Host]:
    """The first host, on which nothing may be left of a test."""
    with left_clean(pair[0]) as host:
        yield host


# Traps -----------------------------------------------------------------------------------------------------------


def test_docker_drops_what_is_forwarded_and_workloads_pass_all_the_same(one: Host) -> None:
    one.start("web", "blue")
    for program in ("iptables", "ip6tables"):
        shown = one.run(program, "-S", "FORWARD")
        assert ("-P FORWARD DROP" in shown, shown.count("cali+")) == (True, 2)
    wait_until(lambda: one.lab.read(one.node, "summary")["problems"] == [], within_s=30)


def test_a_network_is_created_beside_workloads_at_once(one: Host) -> None:
    """Each has a route on a link, which is in the pool: with that answer Docker asks again for ever."""
    one.start("web", "blue")
    one.docker("network", "create", *BOTH, "second")
    one.docker("network", "rm", "second")
    assert one.log("plugin").count("Traceback") == 0


def test_a_refusal_is_shown_to_the_one_who_asked_and_leaves_nothing(one: Host) -> None:
    create = ("network", "create", *NETWORK)
    assert "the cluster file has no pool red; it has: blue, six" in one.refusal(*create, "--ipam-opt", "pool=red", "x")
    assert "--internal network is not supported" in one.refusal(*create, "--internal", "--ipam-opt", "pool=blue", "x")
    assert "add --ipam-driver bgpctl" in one.refusal("network", "create", "-d", "bgpctl", "x")
    assert "--gateway is not supported" in one.refusal(
        *create, "--subnet", "10.244.0.0/16", "--gateway", "10.244.1.1", "x"
    )
    run = ("run", "--name", "web", "--network", "blue")
    assert "such as -p 8080:80" in one.refusal(*run, "-p", "80", IMAGE, "sleep", "9")
    one.docker("rm", "web")
    assert one.ledger().networks.keys() == {one.docker("network", "inspect", "-f", "{{.Id}}", "blue")}


@pytest.mark.parametrize("kind", ["source", "ip-in-ip", "vxlan", "bgp"])
def test_a_forged_packet_of_a_container_is_dropped_and_counted(one: Host, kind: str) -> None:
    one.start("web", "blue")
    own, outside = Address.parse(one.addresses("web")[0]), Address.parse("10.0.0.2")
    inner = udp(Address.parse("10.244.1.77"), Address.parse("10.244.2.2"))
    packet, reason = {
        "source": (udp(Address.parse("10.244.1.60"), outside), "source"),
        "ip-in-ip": (ip(4, own, outside, inner), "tunnel"),
        "vxlan": (udp(own, outside, port=4789), "tunnel"),
        "bgp": (tcp(own, outside, SYN, 179), "bgp"),
    }[kind]
    before = dropped(one, reason)
    with netns.open_socket(one.sandbox("web"), socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind(("eth0", 0))
        mac = out.getsockname()[4]
        out.send(bytes.fromhex(NODE_MAC.replace(":", "")) + mac + b"\x08\x00" + packet)
    wait_until(lambda: dropped(one, reason) == before + 1, within_s=15)


def dropped(host: Host, reason: str) -> int:
    """The packets of the host's only container that the agent's filter dropped for this reason."""
    device = host.links()[0]
    rows = [row for row in host.lab.read(host.node, "workloads")["workloads"] if row["device"] == device]
    return sum(item["packets"] for row in rows for item in row["dropped"] if item["reason"] == reason)


# Features --------------------------------------------------------------------------------------------------------


def test_an_address_is_given_as_asked_for_and_not_twice_nor_another_nodes(one: Host) -> None:
    one.docker("network", "create", *NETWORK, "--subnet", "10.244.0.0/16", "fixed")
    one.start("web", "fixed", "--ip", "10.244.1.77")
    assert one.addresses("web") == ["10.244.1.77"]
    run = ("run", "--rm", "--network", "fixed", "--ip")
    assert "10.244.1.77 is workload docker/" in one.refusal(*run, "10.244.1.77", IMAGE, "sleep", "9")
    assert "10.244.2.9 is in a block of node a2" in one.refusal(*run, "10.244.2.9", IMAGE, "sleep", "9")
    one.docker("rm", "-f", "web")
    one.docker("network", "rm", "fixed")


def test_a_container_finds_another_one_by_its_name(one: Host) -> None:
    one.start("web", "blue")
    one.start("peer", "blue")
    assert one.reaches("peer", "web") == ""


def test_a_published_port_is_reached_from_another_host(pair: list[Host], one: Host) -> None:
    script = "while :; do echo served | nc -l -p 80; done"
    one.docker("run", "-d", "--name", "web", "--network", "blue", "-p", "8080:80", IMAGE, "sh", "-c", script)
    for address in ("10.0.0.1", "fd00:10:a::1"):
        wait_until(partial(is_served, pair[1], address), within_s=15)
    run = ("run", "--rm", "--network", "blue", "-p", "8080:80", IMAGE, "sleep", "9")
    assert "port 8080/tcp of this host leads to docker/" in one.refusal(*run)


def is_served(host: Host, address: str) -> bool:
    def ask() -> bool:
        try:
            with socket.create_connection((address, 8080), timeout=2) as asking:
                return asking.recv(64) == b"served\n"
        except OSError:
            return False

    return netns.inside(host.namespace, ask)
