"""CNI and Docker on a node that has no block: their containers get addresses of one that it claims at a real etcd."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bgpctl.attach import netns
from bgpctl.cli.cni import answered
from bgpctl.cli.shared_ipam import opened
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.store.etcd import importing
from bgpctl.store.etcd.addresses import ClaimedAddresses
from tests.contract.docker_rig import Container, Engine
from tests.contract.kernel_rig import own_namespace, shell
from tests.documents import load as understood
from tests.etcds import Etcd

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

CLUSTER = """\
calico_backend: vxlan
pools: {blue: {cidr: 10.244.0.0/24, encapsulation: VXLAN, blockSize: 28}}
nodes: {a1: {address: 10.0.0.1/24}}
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """An etcd with the cluster, in the thread's own namespace."""
    with own_namespace():
        shell("link set lo up", "link add eth0 type veth peer name far", "link set eth0 up", "link set far up")
        shell("addr add 10.0.0.1/24 dev eth0")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        etcd = Etcd(tmp_path)
        intent = understood(CLUSTER)
        assert isinstance(intent, Intent)
        importing.put(etcd.kv("c"), "/etc/c.yaml", importing.parts_of(intent))
        file = tmp_path / "store.yaml"
        file.write_text(
            f"endpoints: ['http://127.0.0.1:{etcd.members[0].client_port}']\ncluster: c\nsnapshot: c.json\n"
        )
        try:
            yield str(file)
        finally:
            etcd.close()


@pytest.fixture
def spaces() -> Iterator[list[str]]:
    names = [f"cw{os.getpid()}-{number}" for number in range(2)]
    netns.ip([f"netns add {name}" for name in names])
    yield names
    netns.ip([f"netns delete {name}" for name in names])


def shared(store: str, state: Path) -> ClaimedAddresses:
    return opened(store, "a1", state)


def held(found: ClaimedAddresses) -> dict[str, str]:
    return {str(address): handle for address, (handle, _) in found.ipam.held().items()}


def test_a_container_of_cni_has_an_address_of_a_claimed_block_until_it_is_deleted(
    store: str, spaces: list[str], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    conflist = {"cniVersion": "1.0.0", "name": "blue", "type": "bgpctl-cni", "pool": "blue", "store": store}
    text = json.dumps({**conflist, "node": "a1", "stateDir": str(state)})

    def call(command: str, space: str) -> tuple[dict[str, object], int]:
        where = {"CNI_CONTAINERID": space, "CNI_IFNAME": "eth0", "CNI_NETNS": f"/run/netns/{space}"}
        return answered({"CNI_COMMAND": command, **where}, text)

    addresses = []
    for space in spaces:
        answer, code = call("ADD", space)
        assert code == 0, answer
        addresses.append(str(json.loads(json.dumps(answer))["ips"][0]["address"]).partition("/")[0])
    found = shared(store, state)
    assert sorted(held(found)) == sorted(addresses)
    (block,) = found.ipam.claims().of("a1")
    assert all(block.holds(Address.parse(address)) for address in addresses)
    assert call("STATUS", spaces[0]) == ({}, 0)
    assert call("DEL", spaces[0]) == ({}, 0)
    assert [*held(found)] == addresses[1:]


def test_a_container_of_docker_has_an_address_of_a_claimed_block_until_it_is_released(
    store: str, spaces: list[str], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    found = shared(store, state)
    intent, node = found.cluster()
    docker = Engine(state, intent, node)
    docker.driver = replace(docker.driver, cluster=found.cluster, shared=found)
    network = docker.network("blue")
    container = Container(spaces[0])
    docker.connect(container, network)
    (address,) = container.addresses[network]
    assert held(found) == {str(address): f"docker/{address}"}
    assert found.ipam.claims().of("a1") == (Prefix(4, address.value & ~15, 28),)
    docker.driver.settle()
    assert [*held(found)] == [str(address)]
    docker.disconnect(container, network)
    assert held(found) == {}
