"""Addresses for workloads in a cluster on a real etcd: claimed, borrowed, given without the store, made to agree."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import count
from pathlib import Path

import pytest
from click.testing import CliRunner

from bgpctl.cli.main import main
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.allocate import allocate
from bgpctl.core.ipam.blocks import NodeBlocks, NotGiven, Rule
from bgpctl.core.ipam.ledger import Ledger, Moment, Request
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.ports import NotPossibleNow
from bgpctl.process.clock import LinuxClock
from bgpctl.store.etcd import importing, ipam_records, records
from bgpctl.store.etcd.addresses import ClaimedAddresses
from bgpctl.store.etcd.gateway import PATIENT_S
from bgpctl.store.etcd.ipam import Ipam
from bgpctl.store.etcd.store import EtcdStore
from bgpctl.store.texts import proposal_of
from tests.documents import load as understood
from tests.etcds import Etcd

SETTINGS = "calico_backend: vxlan\npools: {blue: {cidr: 10.244.0.0/%d, encapsulation: VXLAN, blockSize: 30}}\n"
MEMBERS = "nodes:\n  a: {address: 10.0.0.1/24}\n  b: {address: 10.0.0.2/24}\n"
STRICT = "---\nkind: IPAMConfig\nmetadata: {name: default}\nspec: {strictAffinity: true}\n"
NOW = Moment("boot", 100.0)
CLUSTERS = count()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    made = Etcd(tmp_path_factory.mktemp("etcd"))
    yield made
    made.close()


class Host:
    """One node with its shared, and the addresses of its workloads."""

    def __init__(self, cluster: Cluster, node: str) -> None:
        directory = cluster.directory / node
        directory.mkdir(mode=0o700)
        options = cluster.etcd.options(cluster.name, cluster.directory / f"{node}.json")
        self.store = EtcdStore(options, LinuxClock(), answer_s=PATIENT_S)
        self.ipam = Ipam(self.store.kv, node)
        self.shared = ClaimedAddresses(self.store, self.ipam, directory)
        self.had: dict[Address, str] = {}

    def add(self, handle: str, *asked: str) -> Address:
        request = Request(handle, "", () if asked else ("blue",), tuple(map(Address.parse, asked)))

        def choose(intent: Intent, borrowed: tuple[Address, ...], avoid: Collection[Address]) -> tuple[Address, ...]:
            node = intent.node(self.ipam.node)
            assert node
            busy = [address.host_prefix for address in {*avoid, *self.had}]
            whole = Request(handle, "", request.pools, (*request.addresses, *borrowed))
            return allocate(Ledger(), whole, NodeBlocks.of(intent, node), busy, NOW)

        _, (found,) = self.shared.give(lambda _: handle, request.addresses, choose)
        self.had[found] = handle
        return found

    def settle(self, *in_use: Address) -> None:
        self.shared.settle(self.had, lambda _: [address.host_prefix for address in in_use])


class Cluster:
    def __init__(self, etcd: Etcd, directory: Path, pool: int, more: str = "") -> None:
        self.etcd = etcd
        self.directory = directory
        self.name = f"k{next(CLUSTERS)}"
        self.kv = etcd.kv(self.name)
        intent = understood(SETTINGS % pool + MEMBERS + more)
        assert isinstance(intent, Intent)
        importing.put(self.kv, "/etc/c.yaml", importing.parts_of(intent))
        self.a, self.b = Host(self, "a"), Host(self, "b")

    def ipam(self, *words: str) -> tuple[int, str]:
        store = f"etcd://127.0.0.1:{self.etcd.members[0].client_port}/{self.name}"
        done = CliRunner().invoke(main, ["ipam", *words, "--store", store])
        return done.exit_code, done.output


def test_a_node_claims_blocks_as_it_needs_them_and_borrows_at_last(running: Etcd, tmp_path: Path) -> None:
    cluster = Cluster(running, tmp_path, 29)  # two blocks, each with three addresses for workloads
    first, theirs = cluster.a.add("w0"), cluster.b.add("w0")
    own = [first, cluster.a.add("w1"), cluster.a.add("w2")]
    assert len({Prefix(4, address.value & ~3, 30) for address in own}) == 1
    borrowed = cluster.a.add("w3")
    assert Prefix(4, theirs.value & ~3, 30).holds(borrowed)
    intent, _ = cluster.b.shared.cluster()
    assert intent.allocations.of("a").borrowed == (borrowed.host_prefix,)
    last = cluster.b.add("w1")
    assert last not in {borrowed, theirs}
    with pytest.raises(NotGiven) as full:
        cluster.b.add("w2")
    assert full.value.rule is Rule.FULL
    assert "no other node's block of pool blue has a free address" in str(full.value)


def test_with_strict_affinity_nothing_is_borrowed_and_the_node_goes_on_alone(tmp_path: Path) -> None:
    etcd = Etcd(tmp_path)
    try:
        cluster = Cluster(etcd, tmp_path, 28, STRICT)
        first = cluster.a.add("w0")
        cluster.a.store.load()
        cluster.a.store.close()  # what an agent has written to disk
        etcd.kill(etcd.members[0])
        second = cluster.a.add("w1")
        assert Prefix(4, first.value & ~3, 30).holds(second)
        del cluster.a.had[first]
        cluster.a.settle()
        third = cluster.a.add("w2")
        with pytest.raises(NotGiven) as refused:
            cluster.a.add("w3"), cluster.a.add("w4")
        assert refused.value.rule is Rule.STORE_AWAY
        assert "no block can be claimed" in str(refused.value)
        etcd.start(etcd.members[0])
        etcd.wait()
        cluster.a.settle()
        assert {address: handle for address, (handle, _) in cluster.a.ipam.held().items()} == cluster.a.had
        assert third == first  # it was freed while the store was away, and given to another workload
    finally:
        etcd.close()


def test_without_strict_affinity_a_store_that_is_away_gives_no_address(tmp_path: Path) -> None:
    etcd = Etcd(tmp_path)
    try:
        cluster = Cluster(etcd, tmp_path, 28)
        cluster.a.add("w0")
        cluster.a.store.close()
        etcd.kill(etcd.members[0])
        with pytest.raises(NotGiven, match="may have borrowed any free address"):
            cluster.a.add("w1")
    finally:
        etcd.close()


def test_an_address_that_is_asked_for_is_claimed_with_its_block_or_borrowed(running: Etcd, tmp_path: Path) -> None:
    cluster = Cluster(running, tmp_path, 28)
    assert str(cluster.a.add("w0", "10.244.0.9")) == "10.244.0.9"
    assert cluster.a.ipam.claims().of("a") == (Prefix.parse("10.244.0.8/30"),)
    assert str(cluster.b.add("w0", "10.244.0.10")) == "10.244.0.10"
    with pytest.raises(NotGiven) as taken:
        cluster.b.add("w1", "10.244.0.9")
    assert taken.value.rule is Rule.ADDRESS_IN_USE


def test_no_block_is_claimed_for_an_address_of_a_pool_that_is_not_for_workloads(running: Etcd, tmp_path: Path) -> None:
    more = "---\npools: {off: {cidr: 10.245.0.0/28, encapsulation: VXLAN, blockSize: 30, allowedUses: [Tunnel]}}\n"
    cluster = Cluster(running, tmp_path, 28, more)
    with pytest.raises(NotGiven) as refused:
        cluster.a.add("w0", "10.245.0.1")
    assert refused.value.rule is Rule.POOL_NOT_USABLE
    assert cluster.a.ipam.claims().blocks == {}


def test_what_a_killed_program_left_is_released_unless_the_kernel_has_it_in_use(running: Etcd, tmp_path: Path) -> None:
    cluster = Cluster(running, tmp_path, 28)
    left = cluster.a.add("w0")
    cluster.a.had.clear()
    cluster.a.settle(left)
    assert left in cluster.a.ipam.held()
    cluster.a.settle()
    assert cluster.a.ipam.held() == {}


def test_a_block_that_the_store_has_lost_is_claimed_again(running: Etcd, tmp_path: Path) -> None:
    cluster = Cluster(running, tmp_path, 28)
    address = cluster.a.add("w0")
    block = Prefix(4, address.value & ~3, 30)
    cluster.kv.commit({}, {}, cluster.kv.list("ipam/").entries)
    cluster.a.settle()
    assert cluster.a.ipam.claims().of("a") == (block,)
    assert cluster.a.ipam.held()[address][0] == "w0"


def test_a_holder_that_changes_without_a_release_is_refused_and_named(running: Etcd, tmp_path: Path) -> None:
    cluster = Cluster(running, tmp_path, 28)
    block = Prefix(4, cluster.a.add("w0").value & ~3, 30)
    before = cluster.b.store.load()
    key = f"{ipam_records.BLOCKS}{ipam_records.word_of(block)}"
    cluster.kv.commit({}, {key: ipam_records.written_block("b", home=False)})
    assert cluster.b.store.load() == before
    assert any("changed its holder without a release" in text for text in cluster.b.store.status().problems)
    code, output = cluster.ipam("check")
    assert (code, "replaced" in output) == (1, True)


def test_a_claim_cannot_make_the_cluster_invalid_and_an_edit_cannot_take_a_claimed_pool(
    running: Etcd, tmp_path: Path
) -> None:
    cluster = Cluster(running, tmp_path, 28)
    cluster.a.add("w0")
    for node, block in (("ghost", "10.244.0.0/28"), ("b", "192.0.2.0/28"), ("b", "10.244.0.0/29")):
        key = f"{ipam_records.BLOCKS}{ipam_records.word_of(Prefix.parse(block))}"
        cluster.kv.commit({}, {key: ipam_records.written_block(node, home=True), f"{key}x": "{}"})
    loaded = cluster.b.store.load()
    assert isinstance(loaded, Intent)
    assert loaded.allocations.of("a").blocks
    assert any("ghost is no node of the cluster" in text for text in cluster.b.store.status().problems)
    with pytest.raises(NotPossibleNow, match="it is in no pool"):
        cluster.b.store.propose(proposal_of((SETTINGS.replace("10.244", "10.245") % 28,)))


def test_a_block_that_a_node_has_claimed_is_not_declared_for_another_one(running: Etcd, tmp_path: Path) -> None:
    cluster = Cluster(running, tmp_path, 28)
    block = Prefix(4, cluster.a.add("w0").value & ~3, 30)
    declared = understood(SETTINGS % 28 + MEMBERS.replace("10.0.0.2/24", f"10.0.0.2/24, blocks: [{block}]"))
    assert isinstance(declared, Intent)
    with pytest.raises(NotPossibleNow, match=f"node a has claimed {block}"):
        importing.put(cluster.kv, "/etc/c.yaml", importing.parts_of(declared))


def test_an_operator_sees_and_releases_what_a_node_left_that_is_gone(running: Etcd, tmp_path: Path) -> None:
    cluster = Cluster(running, tmp_path, 28)
    address = cluster.a.add("w0")
    code, output = cluster.ipam("show")
    assert (code, output.split()[7:11]) == (0, [str(Prefix(4, address.value & ~3, 30)), "blue", "a", "1"])
    assert cluster.ipam("check")[0] == 0
    cluster.kv.commit({}, {}, [f"{records.NODES}a", f"{records.ALLOCATIONS}a"])
    code, output = cluster.ipam("check")
    assert code == 1
    assert "the block is freed" in " ".join(output.split())
    assert cluster.ipam("release")[0] == 0
    assert cluster.kv.list("ipam/").entries == {}
    assert cluster.ipam("check")[0] == 0
