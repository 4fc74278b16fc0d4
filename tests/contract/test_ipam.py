"""Blocks and addresses by transaction: the same of keys in memory and of a real etcd."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from bgpctl.core.cluster.allocations import Allocations, NodeAllocations
from bgpctl.core.cluster.configuration import Node, Pool
from bgpctl.core.cluster.encapsulation import VXLAN, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.allocate import COOL_DOWN_S
from bgpctl.core.ipam.blocks import NotGiven, Rule
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.store.etcd import ipam_records, records
from bgpctl.store.etcd.ipam import EMPTY_S, Ipam, Keys, Lost, Taken, View, claim_first_block
from bgpctl.store.memory_kv import MemoryKv
from tests import ipam_workers
from tests.etcds import Etcd
from tests.waiting import wait_until

POOL: Final = Pool("blue", Prefix.parse("10.244.0.0/26"), VXLAN, Mode.ALWAYS, block_size=28)
NODES: Final = tuple(Node(name, InterfaceAddress.parse(f"10.0.0.{n}/24")) for n, name in enumerate("abcde", 1))
INTENT: Final = Intent(pools=(POOL,), nodes=NODES)


class Cluster:
    """Some nodes on the same keys, and a clock that stands still."""

    def __init__(self, kv: Keys) -> None:
        self.kv = kv
        self.now_s = 1e9
        self.intent = INTENT
        self.nodes = {node.name: Ipam(kv, node.name, now_s=lambda: self.now_s) for node in NODES}

    def view(self) -> View:
        return View(self.intent, self.kv.read(records.META).revision)

    def claim(self, node: str) -> Prefix:
        return self.nodes[node].claim(self.view, "blue")

    def take(self, node: str, address: Address, handle: str = "web", *, rested: bool = True) -> None:
        self.nodes[node].take(address, handle, self.nodes[node].claims(), rested=rested)

    def number(self, node: str, address: Address) -> int:
        return self.nodes[node].held()[address][1]

    def present(self) -> list[str]:
        return sorted(self.kv.list("ipam/").entries)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    made = Etcd(tmp_path_factory.mktemp("etcd"))
    yield made
    made.close()


@pytest.fixture(params=["memory", "etcd"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Cluster:
    if request.param == "memory":
        return Cluster(MemoryKv())
    etcd: Etcd = request.getfixturevalue("running")
    return Cluster(etcd.kv(f"c{abs(hash(tmp_path))}"))


def test_nodes_claim_blocks_of_their_own_until_none_is_left_and_all_keys_come_and_go_together(cluster: Cluster) -> None:
    blocks = {node: cluster.claim(node) for node in "abcd"}
    assert len({*blocks.values()}) == 4
    with pytest.raises(NotGiven) as full:
        cluster.claim("e")
    assert full.value.rule is Rule.FULL
    words = [ipam_records.word_of(block) for block in blocks.values()]
    index = [f"ipam/nodes/{node}/{word}" for node, word in zip(blocks, words, strict=True)]
    assert cluster.present() == sorted([*(f"ipam/blocks/{word}" for word in words), *index])
    assert all(claim.home for claim in cluster.nodes["a"].claims().blocks.values())
    assert all(cluster.nodes[node].release_block(block) for node, block in blocks.items())
    assert cluster.present() == []


def test_no_block_is_claimed_that_contains_another_one_or_is_in_one(cluster: Cluster) -> None:
    own = Prefix.parse("10.244.0.16/28")
    assert cluster.nodes["a"].reclaim(own, cluster.view(), home=True)
    for other in ("10.244.0.0/27", "10.244.0.0/26", "10.244.0.16/29", "10.244.0.24/29", "10.244.0.16/28"):
        assert not cluster.nodes["b"].reclaim(Prefix.parse(other), cluster.view(), home=True), other
    assert cluster.nodes["b"].reclaim(Prefix.parse("10.244.0.32/27"), cluster.view(), home=True)


def test_the_size_of_blocks_stays_as_long_as_there_is_one(cluster: Cluster) -> None:
    cluster.claim("a")
    cluster.intent = replace(INTENT, pools=(replace(POOL, block_size=29),))
    assert cluster.claim("b").length == 28
    for node, block in [(claim.node, claim.block) for claim in cluster.nodes["a"].claims().blocks.values()]:
        assert cluster.nodes[node].release_block(block)
    assert cluster.claim("b").length == 29


def test_a_claim_is_decided_anew_if_the_cluster_has_changed_since_it_was_read(cluster: Cluster) -> None:
    seen: list[int] = []

    def view() -> View:
        found = cluster.view()
        if not seen:
            cluster.kv.commit({}, {f"{records.ALLOCATIONS}e": "declared meanwhile"})
        seen.append(found.revision)
        return found

    cluster.nodes["a"].claim(view, "blue")
    assert len(seen) == 2


def test_a_node_has_no_more_blocks_than_is_configured_and_none_that_is_declared(cluster: Cluster) -> None:
    declared = tuple(Prefix.parse(f"10.244.0.{first}/28") for first in (0, 16))
    given = {"e": NodeAllocations(declared)}
    cluster.intent = replace(INTENT, allocations=Allocations(given), most_blocks=1)
    block = cluster.claim("a")
    assert not any(block.overlaps(other) for other in declared)
    for node in "ae":
        with pytest.raises(NotGiven) as refused:
            cluster.claim(node)
        assert refused.value.rule is Rule.MOST_BLOCKS


def test_claims_that_do_not_count_keep_no_node_from_a_block(cluster: Cluster) -> None:
    for node, block in (("ghost", "10.244.0.0/28"), ("e", "10.244.0.0/16"), ("e", "0.0.0.0/0")):
        key = f"{ipam_records.BLOCKS}{ipam_records.word_of(Prefix.parse(block))}"
        cluster.kv.commit({}, {key: ipam_records.written_block(node, home=True), f"{key}x": "{}"})
    assert len({cluster.claim(node) for node in "abc"}) == 3
    assert {block.length for node in "abc" for block in cluster.nodes[node].claims().of(node)} == {28}


@pytest.mark.parametrize("more", [{"disabled": True}, {"node_selector": "rack == 'b'"}])
def test_no_block_is_claimed_of_a_pool_that_is_disabled_or_for_other_nodes(
    cluster: Cluster, more: dict[str, Any]
) -> None:
    cluster.intent = replace(INTENT, pools=(replace(POOL, **more),))
    with pytest.raises(NotGiven) as refused:
        claim_first_block(cluster.kv, cluster.view, "a", "blue")
    assert refused.value.rule is Rule.POOL_NOT_USABLE
    assert cluster.present() == []


def test_the_first_block_is_claimed_once(cluster: Cluster) -> None:
    block = claim_first_block(cluster.kv, cluster.view, "a", "blue")
    assert claim_first_block(cluster.kv, cluster.view, "a", "blue") == block
    assert cluster.nodes["a"].claims().of("a") == (block,)


def test_an_address_is_one_workloads_and_the_same_request_again_changes_nothing(cluster: Cluster) -> None:
    address = cluster.claim("a").nth(3)
    cluster.take("a", address)
    number = cluster.number("a", address)
    cluster.take("a", address)
    assert cluster.number("a", address) == number
    for node, handle in (("a", "other"), ("b", "web")):
        with pytest.raises(Taken):
            cluster.take(node, address, handle)


def test_a_late_release_releases_nothing_and_a_released_address_rests(cluster: Cluster) -> None:
    address = cluster.claim("a").nth(3)
    cluster.take("a", address)
    first = cluster.number("a", address)
    assert cluster.nodes["a"].release(address, first)
    assert not cluster.nodes["a"].release(address, first)
    with pytest.raises(Taken):
        cluster.take("a", address, "next")
    cluster.take("a", address, "asked", rested=False)
    assert not cluster.nodes["a"].release(address, first)
    assert cluster.nodes["a"].held()[address][0] == "asked"
    assert cluster.nodes["a"].release(address, cluster.number("a", address))
    cluster.now_s += COOL_DOWN_S
    cluster.take("a", address, "next")


def test_a_handle_has_all_addresses_of_its_workload_and_goes_with_the_last(cluster: Cluster) -> None:
    block = cluster.claim("a")
    for index in (2, 3):
        cluster.take("a", block.nth(index))
    key = ipam_records.handle_key("a", "web")
    assert {*ipam_records.read_handle(cluster.kv.read(key).entries[key].value)} == {block.nth(2), block.nth(3)}
    for index in (2, 3):
        cluster.nodes["a"].release(block.nth(index), cluster.number("a", block.nth(index)))
    assert key not in cluster.present()


def test_a_block_with_addresses_is_not_released_and_a_released_one_gives_none(cluster: Cluster) -> None:
    block = cluster.claim("a")
    claims = cluster.nodes["a"].claims()
    cluster.take("a", block.nth(1))
    assert not cluster.nodes["a"].release_block(block)
    assert not cluster.nodes["b"].release_block(block)
    cluster.nodes["a"].release(block.nth(1), cluster.number("a", block.nth(1)))
    assert cluster.nodes["a"].release_block(block)
    with pytest.raises(Lost):
        cluster.nodes["a"].take(block.nth(2), "web", claims)


def test_only_blocks_that_have_been_empty_for_long_and_are_not_the_first_are_to_go(cluster: Cluster) -> None:
    first, second = cluster.claim("a"), cluster.claim("a")
    for block in (first, second):
        cluster.take("a", block.nth(1))
        cluster.nodes["a"].release(block.nth(1), cluster.number("a", block.nth(1)))
    assert [*cluster.nodes["a"].empty(cluster.nodes["a"].claims())] == []
    cluster.now_s += EMPTY_S
    assert [*cluster.nodes["a"].empty(cluster.nodes["a"].claims(), [second])] == []
    assert [*cluster.nodes["a"].empty(cluster.nodes["a"].claims())] == [second]


def test_an_address_is_borrowed_but_for_the_holders_first_and_returned(cluster: Cluster) -> None:
    block = cluster.claim("a")
    lent = [cluster.nodes["b"].borrow(INTENT, POOL, lambda _: "web", cluster.nodes["b"].claims()) for _ in range(15)]
    assert {*lent} == {block.nth(index) for index in range(1, 16)}
    with pytest.raises(NotGiven):
        cluster.nodes["b"].borrow(INTENT, POOL, lambda _: "more", cluster.nodes["b"].claims())
    loans = cluster.nodes["a"].claims().loans.values()
    assert {(loan.prefix.first, loan.node) for loan in loans} == {(address, "b") for address in lent}
    with pytest.raises(Taken):
        cluster.take("a", lent[0])
    assert not cluster.nodes["a"].release_block(block)
    for address, (_, number) in cluster.nodes["b"].held().items():
        assert cluster.nodes["b"].release(address, number)
    assert cluster.nodes["a"].claims().loans == {}
    assert cluster.nodes["a"].release_block(block)
    assert cluster.present() == []


def test_eight_processes_give_no_block_and_no_address_twice_and_lose_none(
    running: Etcd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, number, operations = running.options("c").name, 8, 125
    workers = [ipam_workers.start(store, f"n{index}", number, tmp_path, operations) for index in range(number)]
    try:
        wait_until(lambda: all(worker.poll() == 0 for worker in workers), within_s=180)
    finally:
        ipam_workers.end(workers)
    assert ipam_workers.done(tmp_path) == number * operations
    blocks, addresses = ipam_workers.check(store, number, tmp_path)
    with capsys.disabled():
        print(f"\n{number} processes, {number * operations} operations: {blocks} blocks, {addresses} addresses")
