"""The names of workloads in a real etcd: told, followed, and kept while it is away, wiped or damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpctl.core.ipam.names import Named
from bgpctl.core.net.addresses import Address
from bgpctl.store.etcd import workload_names
from bgpctl.store.etcd.gateway import Gateway
from bgpctl.store.etcd.kv import Kv
from bgpctl.store.etcd.rights import permissions
from bgpctl.store.etcd.workload_names import WORKLOADS, WorkloadNames, key_of
from tests.etcds import Etcd
from tests.waiting import wait_until

WEB = (Named("blue", ("web",), (Address.parse("10.244.1.1"),)),)
DB = (Named("blue", ("db",), (Address.parse("10.244.2.2"),)),)
WITHIN_S = 30


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Etcd]:
    made = Etcd(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def nodes(store: Etcd) -> Iterator[tuple[WorkloadNames, WorkloadNames]]:
    one, other = (WorkloadNames(Kv(Gateway(store.options("blue")), "blue"), name) for name in ("a1", "a2"))
    try:
        yield one, other
    finally:
        one.close()
        other.close()


def knows(node: WorkloadNames, **names: tuple[Named, ...]) -> None:
    wait_until(lambda: node.others().names == names and not node.others().unheard, within_s=WITHIN_S)


def test_a_node_hears_what_another_one_tells_and_of_each_change(nodes: tuple[WorkloadNames, WorkloadNames]) -> None:
    one, other = nodes
    one.publish(WEB)
    other.publish(DB)
    knows(one, a2=DB)
    knows(other, a1=WEB)
    other.publish((*DB, *WEB))
    knows(one, a2=(*DB, *WEB))
    other.publish(())
    knows(one, a2=())


def test_what_is_known_stays_while_the_etcd_is_away_and_comes_again_after_it_was_wiped(
    store: Etcd, nodes: tuple[WorkloadNames, WorkloadNames]
) -> None:
    one, other = nodes
    (member,) = store.members
    one.publish(WEB)
    other.publish(DB)
    knows(one, a2=DB)
    store.kill(member)
    other.publish((*DB, *WEB))
    assert one.others().names == {"a2": DB}
    store.wipe(member)
    store.start(member)
    store.wait()
    knows(one, a2=(*DB, *WEB))
    knows(other, a1=WEB)


def test_a_member_that_is_paused_is_noticed(store: Etcd, nodes: tuple[WorkloadNames, WorkloadNames]) -> None:
    one, other = nodes
    (member,) = store.members
    other.publish(DB)
    knows(one, a2=DB)
    store.pause(member)
    wait_until(lambda: one._watch is None, within_s=WITHIN_S)
    store.resume(member)
    other.publish(WEB)
    knows(one, a2=WEB)


def test_a_record_that_is_not_understood_leaves_what_was_known(
    store: Etcd, nodes: tuple[WorkloadNames, WorkloadNames]
) -> None:
    one, other = nodes
    other.publish(DB)
    knows(one, a2=DB)
    store.kv("blue").commit(
        {}, {f"{WORKLOADS}a7/other": "of another kind", key_of("a9"): '{"format": 2}', key_of("a8"): "no JSON"}
    )
    knows(one, a2=DB, a8=(), a9=())
    store.kv("blue").commit({}, {key_of("a2"): "damaged"})
    knows(one, a2=DB, a8=(), a9=())  # and the node writes its own again
    wait_until(lambda: store.kv("blue").read(key_of("a2")).entries[key_of("a2")].value[0] == "{", within_s=WITHIN_S)


def test_names_of_a_node_that_was_removed_go_after_a_while(
    store: Etcd, nodes: tuple[WorkloadNames, WorkloadNames], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = nodes
    other.publish(DB)
    knows(one, a2=DB)
    other.close()
    store.kv("blue").commit({}, {}, [key_of("a2")])
    wait_until(lambda: key_of("a2") in one._gone_s, within_s=WITHIN_S)
    assert one.others().names == {"a2": DB}
    monkeypatch.setattr(workload_names, "_GONE_S", 0.0)
    knows(one)


def test_before_the_store_was_read_not_all_is_known(store: Etcd) -> None:
    (member,) = store.members
    store.kill(member)
    early = WorkloadNames(store.kv("blue"), "a1")
    try:
        early.publish(WEB)
        assert early.others().unheard
        store.start(member)
        store.wait()
        knows(early)
        key = key_of("a1")
        wait_until(lambda: key in store.kv("blue").read(key).entries, within_s=WITHIN_S)
    finally:
        early.close()


def test_a_node_that_joined_has_the_rights_that_names_need() -> None:
    rights = permissions("a1")
    assert any(right.writes and key_of("a1").startswith(right.key) for right in rights)
    assert not any(right.writes and key_of("a2").startswith(right.key) for right in rights)
    assert any(right.key == WORKLOADS for right in rights)
