"""A store that is followed by events is the store that is read as a whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bgpctl.store.etcd import records
from bgpctl.store.etcd.documents import Documents
from bgpctl.store.etcd.known import Known
from bgpctl.store.etcd.kv import Entry, Event
from bgpctl.store.etcd.records import File

NAMES = ("a", "b", "c")
VALUES = st.sampled_from(
    [
        None,
        records.written_node({"address": "10.0.0.1/24"}),
        records.written_node({"address": "10.0.0.2/24"}),
    ]
)
GIVEN = st.sampled_from([None, records.written_allocations(["10.244.1.0/26"], []), records.written_allocations([], [])])
CHANGES = st.one_of(
    st.tuples(st.sampled_from([f"{records.NODES}{name}" for name in NAMES]), VALUES),
    st.tuples(st.sampled_from([f"{records.ALLOCATIONS}{name}" for name in NAMES]), GIVEN),
)
TEXTS = st.sampled_from(["asNumber: 1\n", "asNumber: 2\n"])


@given(st.lists(st.tuples(st.lists(CHANGES, min_size=1, max_size=3), TEXTS, st.booleans(), st.booleans()), max_size=8))
def test_documents_by_events_are_those_of_a_whole_reading_whatever_is_missed_in_between(
    steps: list[tuple[list[tuple[str, str | None]], str, bool, bool]],
) -> None:
    known, followed = Known("u"), Documents()
    for number, (changes, text, is_whole, is_seen) in enumerate(steps, 1):
        known = known.after([Event(key, value, number) for key, value in dict(changes).items()])
        known = known.with_blobs({"x": text})
        if is_whole:
            known = Known(known.uuid, known.revision, dict(known.entries), known.blobs)
        if is_seen:
            followed.update(known, [File("/c", ("x",))])
            anew = Documents()
            anew.update(known, [File("/c", ("x",))])
            assert followed.texts == anew.texts


@given(st.lists(st.lists(CHANGES, min_size=1, max_size=3), max_size=8), st.integers(0, 8))
def test_events_after_a_whole_reading_lead_to_the_same_whether_some_were_in_it_already(
    steps: list[list[tuple[str, str | None]]], read_at: int
) -> None:
    batches = [[Event(key, value, number) for key, value in dict(step).items()] for number, step in enumerate(steps, 1)]
    entries: dict[str, Entry] = {}
    for batch in batches:
        for event in batch:
            entries.pop(event.key, None)
            if event.value is not None:
                entries[event.key] = Entry(event.value, event.revision)
    known = Known("u")
    for batch in batches[:read_at]:
        known = known.after(batch)
    for batch in batches:  # a watch from the beginning repeats them
        known = known.after(batch)
    assert known.entries == entries
