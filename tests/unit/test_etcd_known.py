"""The known of a store is replaced only by what goes on from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgpctl.store.etcd import records, snapshot
from bgpctl.store.etcd.known import Known, objection
from bgpctl.store.etcd.kv import Entry, Event
from bgpctl.store.etcd.records import File, Head, Meta

A, B = "cluster/nodes/a", "cluster/nodes/b"
HEAD = Entry(records.written_head(Head(3, (File("/c", ("x",)),), written="one")), 8)
KNOWN = Known("u1", 10, {A: Entry("1", 5), B: Entry("2", 10), "cluster/head": HEAD}, {"x": "text"})
SAME = Meta("u1")


def found(uuid: str, revision: int, **entries: Entry) -> Known:
    keys = {"a": A, "b": B, "head": "cluster/head"}
    return Known(uuid, revision, {keys[name]: entry for name, entry in entries.items()})


def test_what_goes_on_from_the_known_is_taken_deletions_too() -> None:
    assert objection(KNOWN, 10, SAME, found("u1", 11, a=Entry("1", 5), head=HEAD)) is None
    assert objection(Known(), 0, Meta("u9"), found("u9", 1)) is None


@pytest.mark.parametrize(
    ("meta", "other", "why"),
    [
        (None, found("", 1), "has lost its content"),
        (None, found("", 12), "has lost its content"),
        (Meta("u2"), found("u2", 12, a=Entry("1", 3)), "its uuid is u2, and u1 is known"),
        (SAME, found("u1", 9, a=Entry("1", 5)), "gone back to revision 9, after 14"),
        (SAME, found("u1", 13, a=Entry("1", 5)), "gone back to revision 13, after 14"),
        (SAME, found("u1", 20, b=Entry("0", 7), head=HEAD), "cluster/nodes/b in the store is older"),
        (SAME, found("u1", 20, a=Entry("1", 5), b=Entry("2", 10)), "has lost its configuration"),
    ],
)
def test_what_was_wiped_or_restored_or_is_another_store_is_held_off(meta: Meta | None, other: Known, why: str) -> None:
    assert why in (objection(KNOWN, 14, meta, other) or "nothing")


def test_a_store_that_replaces_the_known_one_or_has_all_of_it_is_taken() -> None:
    assert objection(KNOWN, 14, Meta("u2", ("u0", "u1")), found("u2", 2)) is None
    again = Entry(records.written_head(Head(1, (File("/c", ("x",)),), written="two")), 2)
    assert objection(KNOWN, 14, Meta("u2"), found("u2", 2, a=Entry("1", 2), b=Entry("2", 2), head=again)) is None
    other = Entry(records.written_head(Head(1, (File("/c", ("y",)),), written="two")), 2)
    assert objection(KNOWN, 14, Meta("u2"), found("u2", 2, a=Entry("1", 2), b=Entry("2", 2), head=other)) is not None


def test_events_that_a_whole_reading_has_seen_already_change_nothing() -> None:
    after = KNOWN.after([Event(A, None, 9), Event(A, "3", 10)])
    assert after == KNOWN
    assert KNOWN.after([Event(A, "3", 11), Event(B, None, 11)]).entries[A] == Entry("3", 11)
    assert B not in KNOWN.after([Event(B, None, 11)]).entries


def test_the_known_is_on_disk_as_it_was_and_only_of_its_cluster(tmp_path: Path) -> None:
    file = tmp_path / "made" / "s.json"
    snapshot.save(file, "blue", KNOWN)
    assert snapshot.load(file, "blue") == KNOWN
    assert snapshot.load(file, "red") is None
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "cluster": "blue"}'])
def test_a_damaged_file_is_moved_aside_and_is_no_content(tmp_path: Path, content: str) -> None:
    file = tmp_path / "s.json"
    file.write_text(content)
    assert snapshot.load(file, "blue") is None
    assert (tmp_path / "s.json.damaged").read_text() == content


def test_a_file_that_other_users_can_write_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    snapshot.save(file, "blue", KNOWN)
    tmp_path.chmod(0o777)
    assert snapshot.load(file, "blue") is None
