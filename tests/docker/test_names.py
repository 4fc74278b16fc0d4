"""
Containers of two hosts find each other by name and address, by Docker's own resolver, which asks ours: with the cluster
in an etcd, and in files with the channel between agents. With docker-compose: tests/nightly/test_compose_names.py.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import dns.message
import dns.rdatatype
import dns.rrset
import pytest

from bgpctl.lab import etcd, netns
from tests.docker.plugin_rig import IMAGE, IN_ETCD, IN_FILES, RESOLVER, Host, hosts, in_blue, together
from tests.lab import etcd_faults
from tests.waiting import wait_until


@pytest.fixture(scope="module", params=["etcd", "files"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Host]]:
    if request.param == "etcd" and (missing := etcd.missing()):
        pytest.skip(missing)
    topology = {"etcd": IN_ETCD, "files": IN_FILES}[request.param]
    with hosts(tmp_path_factory.mktemp(request.param), ("a1", "a2"), topology, "--dns", RESOLVER) as made:
        in_blue(made)
        for host in made:
            host.start_resolver()
        yield made


def test_ten_containers_of_two_hosts_reach_each_other_by_name_and_address_by_ipip_and_vxlan(pair: list[Host]) -> None:
    of_host = {host.node: [f"c{number}-{host.node}" for number in range(5)] for host in pair}
    together(*(partial(host.start_all, "blue", *of_host[host.node]) for host in pair))
    addresses = {name: host.addresses(name) for host in pair for name in of_host[host.node]}
    assert len({address for own in addresses.values() for address in own}) == 20
    for host in pair:
        for name in of_host[host.node]:
            others = {other: own for other, own in addresses.items() if other != name}
            assert host.reaches(name, *(address for own in others.values() for address in own)) == ""
            wait_until(partial(knows_all, host, name, others), within_s=30)
    for host in pair:
        host.docker("rm", "-f", *of_host[host.node])
        assert (host.links(), host.ledger().workloads, host.ledger().reserved) == ([], {}, {})
    wait_until(lambda: not any(host.names() for host in pair), within_s=30)


@pytest.mark.parametrize("pair", ["etcd"], indirect=True)
def test_while_the_etcd_is_away_names_are_known_and_then_containers_start_again(pair: list[Host]) -> None:
    host, other = pair
    (member,) = host.lab.topology.stores
    other.start("web", "blue")
    host.start("early", "blue")
    wait_until(lambda: "web" in host.names(), within_s=30)
    host.kill_plugin()
    etcd_faults.killed(host.lab, member)
    host.start_plugin()
    try:
        assert host.reaches("early", "web.blue.bgpctl") == ""
        assert "is not heard" in host.refusal("run", "--rm", "--network", "blue", IMAGE, "true")
        host.docker("rm", "-f", "early")
    finally:
        host.lab.start_store(member)
    wait_until(lambda: host.try_docker("run", "--rm", "--network", "blue", IMAGE, "true").returncode == 0, within_s=60)
    host.start("late", "blue")
    wait_until(lambda: "late" in other.names() and "early" not in other.names(), within_s=60)
    for each, name in ((host, "late"), (other, "web")):
        each.docker("rm", "-f", name)


def knows_all(host: Host, name: str, others: dict[str, list[str]]) -> bool:
    """True if a container has the addresses of all of them by their names, and reaches them so."""
    wanted = {address for own in others.values() for address in own}
    script = 'for a; do nslookup "$a.blue.bgpctl" || exit 1; done'
    shown = host.try_docker("exec", name, "sh", "-c", script, "sh", *others).stdout.decode()
    return wanted <= set(shown.split()) and host.reaches(name, *(f"{other}.blue.bgpctl" for other in others)) == ""


def test_a_container_outside_our_networks_is_refused_and_asks_the_next_resolver(pair: list[Host]) -> None:
    host = pair[0]
    host.docker("network", "create", "plain")
    with other_resolver(host, "10.0.0.1"):
        for network in ("bridge", "plain"):
            resolvers = ("--dns", RESOLVER, "--dns", "10.0.0.1")
            run = ("run", "--rm", "--network", network, *resolvers, IMAGE, "ping", "-c", "1", "-W", "1", "www.example")
            wait_until(lambda: b"(192.0.2.1)" in host.try_docker(*run).stdout, within_s=60)  # noqa: B023 (called at once)
    host.docker("network", "rm", "plain")


@contextmanager
def other_resolver(host: Host, at: str) -> Iterator[None]:
    """A resolver of another program on this host, for which each name is 192.0.2.1."""

    def opened() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((at, 53))
        return made

    def run() -> None:
        while True:
            content, source = answering.recvfrom(512)
            if not content:
                return
            question = dns.message.from_wire(content)
            answer = dns.message.make_response(question)
            if question.question[0].rdtype == dns.rdatatype.A:
                answer.answer.append(dns.rrset.from_text(question.question[0].name, 5, "IN", "A", "192.0.2.1"))
            answering.sendto(answer.to_wire(), source)

    with netns.inside(host.namespace, opened) as answering:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield
        with suppress(OSError):
            answering.shutdown(socket.SHUT_RD)
        thread.join(15)
