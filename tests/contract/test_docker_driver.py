"""The driver for Docker on the running kernel, by Docker's requests: real links, packets and a real ledger."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bgpctl.attach import netns, status
from bgpctl.attach.docker import engine as engines
from bgpctl.attach.docker.engine import NoAnswer, Place
from bgpctl.attach.docker.messages import Rejected
from bgpctl.attach.docker.rounds import EVERY_S, Rounds
from bgpctl.attach.status import State
from bgpctl.attach.wiring import gateway
from bgpctl.core.ipam.leftovers import AGE_S
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import WorkloadFilter
from bgpctl.kernel import workload_filter
from tests.cluster import two_racks, with_ipv6
from tests.contract.docker_rig import Container, Engine
from tests.contract.kernel_rig import own_namespace, shell
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

INTENT = with_ipv6(two_racks())
FIRST, FIRST6 = Address.parse("10.244.1.1"), Address.parse("fd00:10:244::141")
WEB = {"Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8080, "HostPortEnd": 8080}


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[Engine]:
    with own_namespace():
        shell("link set lo up", "link add eth0 type veth peer name far", "link set eth0 up", "link set far up")
        shell("addr add 10.0.0.1/24 dev eth0", "addr add fd00:10:a::1/64 dev eth0 nodad")
        for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            Path("/proc/sys", name).write_text("1")
        node = INTENT.node("a1")
        assert node
        yield Engine(tmp_path / "state", INTENT, node)


@pytest.fixture
def spaces() -> Iterator[list[Container]]:
    names = [f"dk{os.getpid()}-{number}" for number in range(3)]
    netns.ip([f"netns add {name}" for name in names])
    try:
        yield [Container(name) for name in names]
    finally:
        netns.ip([f"netns delete {name}" for name in names])


def reaches(container: Container, address: Address, *words: str) -> bool:
    command = ("ip", "netns", "exec", container.space, "ping", "-c", "1", "-W", "1", *words, str(address))
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def links() -> list[str]:
    return [item["ifname"] for item in netns.ip_shows(("link", "show")) if item["ifname"].startswith(("cali", "temp"))]


def rounds_of(docker: Engine, monkeypatch: pytest.MonkeyPatch) -> Rounds:
    """Docker answers with what the rig knows."""
    monkeypatch.setattr(engines, "seen", lambda _path: docker.seen())
    return Rounds(docker.driver, Path("/no/docker"))


# Packets ---------------------------------------------------------------------------------------------------------


def test_two_containers_reach_each_other_with_both_ip_versions_and_full_size(
    docker: Engine, spaces: list[Container]
) -> None:
    network = docker.network("blue", "six")
    one, other, _ = spaces
    docker.connect(one, network)
    docker.connect(other, network)
    assert one.addresses[network] == (FIRST, FIRST6)
    (workload, _) = docker.joined
    for address, header_bytes in zip(other.addresses[network], (28, 48), strict=True):
        full = ("-M", "do", "-s", str(workload.mtu_bytes - header_bytes))
        wait_until(partial(reaches, one, address, *full), within_s=15)
    found = {item.workload.name: item.state for item in status.statuses(docker.directory)}
    assert found == {item.name: State.UP for item in docker.joined}


def test_a_second_network_of_a_container_has_another_gateway_and_both_answer(
    docker: Engine, spaces: list[Container]
) -> None:
    """
    With the same gateway Docker fails: file exists. With the default route alone, answers leave by the wrong link, and
    are dropped for their source.
    """
    pools = tuple(pool.cidr for pool in INTENT.pools)
    workload_filter.put(WorkloadFilter(pools, (), (), 179), ())
    first, second = docker.network("blue", "six"), docker.network("blue", "six")
    one, other, _ = spaces
    docker.connect(other, first)
    for network, number in ((first, 1), (second, 2)):
        inner = docker.connect(one, network)
        known = netns.ip_shows(("neighbour", "show", "dev", inner, "nud", "permanent"), one.space)
        assert {item["dst"] for item in known} == {str(gateway(version, number)) for version in (4, 6)}
        for address in one.addresses[network]:
            wait_until(partial(reaches, other, address), within_s=15)
    docker.disconnect(one, first)
    docker.connect(one, first)
    assert [item.endpoint.gateway for item in docker.joined if item.endpoint] == [1, 1, 2, 1]


def test_the_mtu_and_the_mac_are_as_asked_for(docker: Engine, spaces: list[Container]) -> None:
    network = docker.network("blue", **{"bgpctl.mtu": "1300"})
    inner = docker.connect(spaces[0], network, mac="02:00:00:00:00:77")
    (link,) = netns.ip_shows(("link", "show", inner), spaces[0].space)
    assert (link["address"], link["mtu"]) == ("02:00:00:00:00:77", 1300)


def test_a_published_port_leads_to_the_container_until_it_ends(docker: Engine, spaces: list[Container]) -> None:
    network = docker.network("blue")
    server, client, _ = spaces
    docker.connect(client, network)
    docker.connect(server, network, ports=[WEB])
    with Serving(server, 80):
        wait_until(lambda: asks(client, ("10.0.0.1", 8080)) == b"served", within_s=15)
        assert asks(None, ("10.0.0.1", 8080)) == b"served"
    with pytest.raises(Rejected, match=r"port 8080/tcp of this host leads to docker/.* already"):
        docker.connect(spaces[2], network, ports=[WEB])
    docker.disconnect(server, network)
    assert "8080" not in subprocess.run(("nft", "list", "ruleset"), capture_output=True, text=True, check=True).stdout


def test_a_port_at_which_a_program_listens_is_not_published(docker: Engine, spaces: list[Container]) -> None:
    network = docker.network("blue")
    with socket.create_server(("10.0.0.1", 8080)), pytest.raises(Rejected, match=r"8080/tcp .* cannot be published"):
        docker.connect(spaces[0], network, ports=[WEB])


class Serving:
    """A program in a container that answers each connection."""

    def __init__(self, container: Container, port: int) -> None:
        self._socket = netns.inside(container.space, lambda: socket.create_server(("", port)))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while True:
            try:
                found, _ = self._socket.accept()
            except OSError:
                return
            with found:
                found.sendall(b"served")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(15)


def asks(container: Container | None, place: tuple[str, int]) -> bytes:
    def ask() -> bytes:
        try:
            with socket.create_connection(place, timeout=2) as asking:
                return asking.recv(64)
        except OSError as error:
            return str(error).encode()

    return netns.inside(container.space if container else None, ask)


@pytest.mark.parametrize("program", ["iptables", "ip6tables"])
def test_dockers_firewall_lets_workloads_pass_and_an_operators_rule_still_decides(
    docker: Engine, spaces: list[Container], program: str
) -> None:
    subprocess.run((program, "-P", "FORWARD", "DROP"), check=True)
    network = docker.network("blue", "six")
    one, other, _ = spaces
    docker.connect(one, network)
    docker.connect(other, network)
    address = other.addresses[network][program == "ip6tables"]
    wait_until(partial(reaches, one, address), within_s=15)
    shown = subprocess.run((program, "-S", "FORWARD"), capture_output=True, text=True, check=True).stdout
    assert shown.count("cali+") == 2
    subprocess.run((program, "-I", "FORWARD", "-d", str(address), "-j", "DROP"), check=True)
    assert not reaches(one, address)


# Requests that come twice, late or not at all --------------------------------------------------------------------


def test_nothing_is_left_after_the_end_of_each_container(docker: Engine, spaces: list[Container]) -> None:
    network = docker.network("blue", "six")
    for container in spaces:
        docker.connect(container, network)
    assert len(links()) == 3
    for container in spaces:
        docker.disconnect(container, network)
    docker.call("NetworkDriver.DeleteNetwork", NetworkID=network)
    ledger = docker.ledger()
    assert (links(), ledger.workloads, ledger.reserved, ledger.networks) == ([], {}, {}, {})


def test_each_request_may_come_twice_and_a_removal_of_nothing_succeeds(docker: Engine, spaces: list[Container]) -> None:
    network = docker.network("blue")
    endpoint, (own,) = docker.create(network)
    interface = {"Address": own, "AddressIPv6": "", "MacAddress": ""}
    body = {"NetworkID": network, "EndpointID": endpoint}
    again = [docker.call("NetworkDriver.CreateEndpoint", **body, Interface=interface, Options={}) for _ in range(2)]
    joins = [docker.call("NetworkDriver.Join", **body, SandboxKey=spaces[0].sandbox) for _ in range(2)]
    assert (again[0], joins[0]) == (again[1], joins[1])
    assert len(links()) == 2
    for _ in range(2):
        for method in ("RevokeExternalConnectivity", "Leave", "DeleteEndpoint"):
            assert docker.call(f"NetworkDriver.{method}", **body) == {}
        assert docker.call("IpamDriver.ReleaseAddress", PoolID="blue", Address=own.partition("/")[0]) == {}
    assert docker.call("IpamDriver.ReleaseAddress", PoolID="blue", Address="169.254.1.1") == {}
    assert (links(), docker.ledger().workloads) == ([], {})


def test_a_release_that_comes_late_takes_no_address_from_its_new_owner(docker: Engine, spaces: list[Container]) -> None:
    network = docker.network("blue")
    docker.connect(spaces[0], network, address=str(FIRST))
    docker.call("IpamDriver.ReleaseAddress", PoolID="blue", Address=str(FIRST))
    with pytest.raises(Rejected, match=f"{FIRST} is workload docker/"):
        docker.create(network, address=str(FIRST))


def test_after_a_boot_removals_succeed_and_without_a_cluster_file_too(docker: Engine, spaces: list[Container]) -> None:
    network = docker.network("blue")
    docker.connect(spaces[0], network)
    netns.ip([f"link delete {docker.joined[0].device}"])

    def unreadable() -> tuple[()]:
        raise Rejected("cluster.yaml:1:1: cannot be read")

    docker.driver = replace(docker.driver, cluster=unreadable)  # type: ignore[arg-type]
    docker.disconnect(spaces[0], network)
    assert docker.ledger().workloads == {}
    with pytest.raises(Rejected, match=r"cluster.yaml:1:1: cannot be read"):
        docker.create(network)


def test_what_docker_did_not_have_removed_is_collected_after_a_minute_and_not_before(
    docker: Engine, spaces: list[Container], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = docker.network("blue")
    kept, lost, _ = spaces
    docker.connect(kept, network)
    docker.connect(lost, network)
    docker.create(network)  # an endpoint that Docker does not show
    docker.call("IpamDriver.RequestAddress", PoolID="blue", Address="", Options=None)
    docker.forget(lost, network)
    rounds = rounds_of(docker, monkeypatch)
    for _ in range(int(AGE_S // EVERY_S) + 1):
        rounds.run()
        assert (len(links()), len(docker.ledger().reserved)) == (2, 1)
        docker.clock.skip(EVERY_S)
    rounds.run()
    assert [item.addresses for item in docker.ledger().workloads.values()] == [kept.addresses[network]]
    assert (len(links()), len(docker.ledger().reserved)) == (1, 0)
    assert network in docker.ledger().networks


def test_nothing_is_collected_while_docker_does_not_answer(
    docker: Engine, spaces: list[Container], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = docker.network("blue")
    docker.connect(spaces[0], network)
    docker.forget(spaces[0], network)
    rounds = rounds_of(docker, monkeypatch)
    rounds.run()

    def silent(_path: Path) -> None:
        raise NoAnswer("Docker does not answer")

    monkeypatch.setattr(engines, "seen", silent)
    docker.clock.skip(10 * AGE_S)
    rounds.run()
    assert len(links()) == 1


def test_without_its_ledger_a_node_gives_no_address_twice_and_adopts_its_containers(
    docker: Engine, spaces: list[Container], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = docker.network("blue", "six")
    one, other, _ = spaces
    docker.connect(one, network)
    before = docker.ledger().of_endpoint(one.endpoints[network])
    (docker.directory / "workloads.json").unlink()
    docker.restart()
    docker.connect(other, network)
    assert not set(one.addresses[network]) & set(other.addresses[network])
    monkeypatch.setattr(engines, "place", lambda *_: Place(network, one.sandbox, gateway(4, 1)))
    rounds_of(docker, monkeypatch).run()
    after = docker.ledger().of_endpoint(one.endpoints[network])
    assert before
    assert after
    assert (after.addresses, after.mac, after.device, after.endpoint) == (
        before.addresses,
        before.mac,
        before.device,
        before.endpoint,
    )
    docker.disconnect(one, network)
    assert len(links()) == 1


def test_a_cable_that_nobody_knows_is_collected(
    docker: Engine, spaces: list[Container], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = docker.network("blue")
    docker.connect(spaces[0], network)
    docker.forget(spaces[0], network)
    (docker.directory / "workloads.json").unlink()
    rounds = rounds_of(docker, monkeypatch)
    rounds.run()
    assert len(links()) == 1
    docker.clock.skip(AGE_S)
    rounds.run()
    assert links() == []


def test_what_is_not_as_it_was_made_is_mended(
    docker: Engine, spaces: list[Container], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = docker.network("blue", "six")
    one, other, _ = spaces
    docker.connect(one, network)
    docker.connect(other, network)
    device = next(item.device for item in docker.joined if item.addresses == other.addresses[network])
    rounds = rounds_of(docker, monkeypatch)
    for damage in (
        f"link set {device} down",
        f"neighbour flush dev {device} nud permanent",
        f"route flush dev {device}",
    ):
        netns.ip([damage])
        rounds.run()
        for address in other.addresses[network]:
            wait_until(partial(reaches, one, address), within_s=15)


def test_an_endpoint_whose_address_was_not_given_is_refused(docker: Engine) -> None:
    network = docker.network("blue")
    for address, text in (
        ("10.244.1.9/32", "was not given on node a1"),
        ("", "its network needs --ipam-driver bgpctl"),
    ):
        interface = {"Address": address, "AddressIPv6": "", "MacAddress": ""}
        with pytest.raises(Rejected, match=text):
            docker.call("NetworkDriver.CreateEndpoint", NetworkID=network, EndpointID="a" * 64, Interface=interface)


@pytest.mark.parametrize(
    ("method", "body", "text"),
    [
        ("IpamDriver.RequestPool", {"Pool": "10.9.0.0/16", "V6": False}, "no pool of IPv4 for workloads that"),
        ("IpamDriver.RequestAddress", {"PoolID": "blue", "Address": "10.244.2.9"}, "is in a block of node a2"),
        (
            "IpamDriver.RequestAddress",
            {
                "PoolID": "blue",
                "Address": "10.244.1.5",
                "Options": {"RequestAddressType": "com.docker.network.gateway"},
            },
            "--gateway is not supported: the gateway is 169.254.1.1",
        ),
        ("NetworkDriver.Join", {"EndpointID": "a" * 64, "SandboxKey": "/run/x"}, "there is no endpoint aaaaaaaaaaaa"),
        ("NetworkDriver.Explode", {}, "NetworkDriver.Explode is not known"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_words(
    docker: Engine, method: str, body: dict[str, object], text: str
) -> None:
    with pytest.raises(Rejected, match=text):
        docker.call(method, **body)
    assert docker.ledger().reserved == {}
