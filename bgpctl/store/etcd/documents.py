"""
The records of a store as documents by key: the configuration's files, and one document of each member.

One change costs one record's work: where a store follows from the one before by events, only the members that these
name are read. A record that cannot be read, because it is damaged or of a later format, leaves the document as it was.

Refuses to know: what documents mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from bgpctl.store.etcd import records
from bgpctl.store.etcd.known import Known
from bgpctl.store.etcd.kv import Entry
from bgpctl.store.etcd.records import BadRecord, File, NewerFormat

MEMBERS: Final = "nodes/"
"""Begins the key of a member's document."""


class Documents:
    """
    The documents of one store, read again and again. One thread calls.

    Attributes:
        texts: by key: the name of a file, or `nodes/NAME`.
        unread: the reason, of each record that is left as it is.
    """

    def __init__(self) -> None:
        self.texts: Mapping[str, str] = {}
        self.unread: dict[str, str] = {}
        self._members: dict[str, tuple[Entry | None, Entry | None]] = {}
        self._of_members: dict[str, str] = {}
        self._of: Known | None = None

    def update(self, known: Known, files: Sequence[File]) -> None:
        """Read what differs from the last time."""
        for name in self._changed(known):
            self._read(known, name)
        self.texts = {**self._configuration(known, files), **self._of_members}
        self._of = known

    def _changed(self, known: Known) -> Iterable[str]:
        former = self._of
        if former and known.changed is not None and (known.uuid, known.since) == (former.uuid, former.revision):
            return {name for key in known.changed if (name := _member(key))}
        return {name for key in known.entries if (name := _member(key))} | self._members.keys()

    def _read(self, known: Known, name: str) -> None:
        pair = known.entries.get(f"{records.NODES}{name}"), known.entries.get(f"{records.ALLOCATIONS}{name}")
        key = f"{MEMBERS}{name}"
        if pair == (None, None):
            self._members.pop(name, None)
            self._of_members.pop(key, None)
            self.unread.pop(key, None)
        elif pair != self._members.get(name):
            self._members[name] = pair
            try:
                text = records.document_of(name, *(entry.value if entry else None for entry in pair))
            except (BadRecord, NewerFormat) as error:
                self.unread[key] = f"{key} is left as it is: {error}"
            else:
                self._of_members[key] = text
                self.unread.pop(key, None)

    def _configuration(self, known: Known, files: Sequence[File]) -> Mapping[str, str]:
        """A part that is missing was removed with a later head, which comes next: until then the former text stays."""
        found = {}
        for file in files:
            if all(blob in known.blobs for blob in file.blobs):
                found[file.name] = "".join(known.blobs[blob] for blob in file.blobs)
            elif file.name in self.texts:
                found[file.name] = self.texts[file.name]
        return found


def _member(key: str) -> str | None:
    """The member that a record is about; None if it is about none."""
    prefix = next((prefix for prefix in (records.NODES, records.ALLOCATIONS) if key.startswith(prefix)), None)
    return key.removeprefix(prefix) if prefix else None
