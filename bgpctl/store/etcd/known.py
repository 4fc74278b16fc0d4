"""
All that is known of a cluster's store, and the rules by which something else replaces it.

An etcd that was wiped, or restored from a backup, has the same members and the same cluster id as before, answers as
always, and accepts a watch from a revision that it has not reached (docs/decisions/0041). So what an etcd has is taken
for the cluster's present only if it goes on from what is known:

- its uuid, which is a record of ours, is the known one, or it replaces that one, as an operator made it;
- with the same uuid no revision has gone back: neither that of the store, nor that of a record; and there still is a
  configuration, which no operation of ours removes.

Anything else is held off: what is known stays in force, and nothing is deleted, until the store has it again or an
operator has said that the store is right. A store in which everything known is there as it was, is taken whatever its
uuid: nothing would be deleted.

Refuses to know: how a store is read, what records mean but for `meta`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from bgpctl.store.etcd.kv import Entry, Event
from bgpctl.store.etcd.records import HEAD, BadRecord, Meta, NewerFormat, read_head


@dataclass(frozen=True, slots=True)
class Known:
    """
    Attributes:
        uuid: of the content; "" of a store that has none yet.
        revision: of the etcd; all changes up to it are in `entries`.
        entries: the watched records by key.
        blobs: the texts of parts of files, those that the head names, by SHA-256.
        since, changed: it follows by events from what was known at that revision, and these keys differ; None: it was
            read as a whole.
    """

    uuid: str = ""
    revision: int = 0
    entries: Mapping[str, Entry] = field(default_factory=dict)
    blobs: Mapping[str, str] = field(default_factory=dict)
    since: int = field(default=0, compare=False)
    changed: frozenset[str] | None = field(default=None, compare=False)

    def after(self, events: Collection[Event]) -> Known:
        """With changes that came by watch: a deletion is one that etcd reports, with a revision of its own."""
        entries, revision = dict(self.entries), self.revision
        changed = frozenset(event.key for event in events)
        for event in events:
            if event.revision <= self.revision:
                continue  # read as a whole meanwhile
            revision = max(revision, event.revision)
            if event.value is None:
                entries.pop(event.key, None)
            else:
                entries[event.key] = Entry(event.value, event.revision, event.created)
        return replace(self, revision=revision, entries=entries, since=self.revision, changed=changed)

    def with_blobs(self, blobs: Mapping[str, str]) -> Known:
        """With the parts of files that the head names."""
        return replace(self, blobs=blobs)

    @property
    def head(self) -> Entry | None:
        """The record of the configuration in force."""
        return self.entries.get(HEAD)


def objection(known: Known, seen: int, meta: Meta | None, found: Known) -> str | None:
    """
    Why `found`, with `meta`, is not the present of what is `known`; None if it is. `seen` is the highest revision that
    a store of the known uuid has had.
    """
    if not known.uuid:
        return None
    if meta and (known.uuid in meta.replaces or _has_all(known, found)):
        return None
    if meta is None:
        return "the store has lost its content: bgpctl's keys are not there"
    if meta.uuid != known.uuid:
        return f"the store has other content: its uuid is {meta.uuid}, and {known.uuid} is known"
    if found.revision < max(seen, known.revision):
        return f"the store has gone back to revision {found.revision}, after {max(seen, known.revision)}"
    if known.head and not found.head:
        return f"the store has lost its configuration: {HEAD} is not there"
    older = [key for key, entry in found.entries.items() if key in known.entries and _is_older(entry, known, key)]
    return f"{older[0]} in the store is older than what is known" if older else None


def _is_older(entry: Entry, known: Known, key: str) -> bool:
    return entry.revision < known.entries[key].revision


def _has_all(known: Known, found: Known) -> bool:
    """True if every known record is there with its value: then what differs is new."""
    there = found.entries
    return all(key in there and _is_same(key, entry, there[key]) for key, entry in known.entries.items())


def _is_same(key: str, one: Entry, other: Entry) -> bool:
    """Of two heads the files count: an import gives them another generation."""
    if one.value == other.value or key != HEAD:
        return one.value == other.value
    try:
        return read_head(one.value).files == read_head(other.value).files
    except (BadRecord, NewerFormat):
        return False
