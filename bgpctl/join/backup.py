"""
A cluster's content of an etcd as one file, and back again: what operators and nodes have written, and no sign of life.

The file has secrets: digests of join files, and what passes between nodes. Content that was put back has another uuid,
which replaces that of the backup, so that agents take it although it is older than what they know
(docs/decisions/0041), and nobody takes old data for new.

Users are no part of it: etcd gives no password away. Nodes keep those that they have where the etcd is the same.

Refuses to know: the meaning of the records, but for `meta`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from bgpctl.join.refused import JoinRefused
from bgpctl.store.etcd import records
from bgpctl.store.etcd.configuration import batches_of
from bgpctl.store.etcd.duties import ALIVE
from bgpctl.store.etcd.kv import MOST_OPERATIONS, Kv

_FORMAT: Final = 1
_MOST_REPLACED: Final = 100


def content_of(kv: Kv, cluster: str) -> str:
    """All of one revision, as JSON. Raises JoinRefused: there is nothing; or one of follower.FAULTS."""
    listing = kv.list_all()
    entries = {key: entry.value for key, entry in listing.entries.items() if not key.startswith(ALIVE)}
    if records.META not in entries:
        raise JoinRefused("the store holds no cluster, so there is nothing to back up")
    found = {"bgpctl-backup": _FORMAT, "cluster": cluster, "revision": listing.revision, "entries": entries}
    return json.dumps(found, indent=1) + "\n"


def read(text: str, name: str) -> Mapping[str, str]:
    """The entries of a backup. Raises JoinRefused with the place and the rule."""
    try:
        found: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise JoinRefused(f"{name}:{error.lineno}:{error.colno}: it is no backup: no JSON: {error.msg}") from error
    if not isinstance(found, dict) or found.get("bgpctl-backup") != _FORMAT:
        raise JoinRefused(f"{name}: it is no backup of format {_FORMAT}; bgpctl cluster backup writes one")
    entries = found.get("entries")
    if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
        raise JoinRefused(f"{name}: entries is no mapping of texts; the file may have been cut off")
    if records.META not in entries or records.HEAD not in entries:
        raise JoinRefused(f"{name}: it has no {records.META} or no {records.HEAD}; the file may have been cut off")
    return entries


def restore(kv: Kv, entries: Mapping[str, str]) -> str:
    """
    Put a backup in place of what the store has: the uuid of the new content. The configuration comes into force once
    all that it names is there, and what the backup has not goes last. Raises JoinRefused, or one of follower.FAULTS.
    """
    there = kv.list_all().entries
    now = records.read_meta(there[records.META].value) if records.META in there else None
    was = records.read_meta(entries[records.META])
    known = (was.uuid, *((now.uuid, *now.replaces) if now else ()), *was.replaces)
    meta = replace(was, uuid=str(uuid4()), replaces=tuple(dict.fromkeys(known))[:_MOST_REPLACED])
    last = {records.META: records.written_meta(meta), records.HEAD: entries[records.HEAD]}
    gone = [key for key in there if key not in entries and not key.startswith(ALIVE)]
    for batch in batches_of({key: value for key, value in entries.items() if key not in last}):
        kv.commit({}, batch)
    kv.commit({}, last)
    for begin in range(0, len(gone), MOST_OPERATIONS):
        kv.commit({}, {}, gone[begin : begin + MOST_OPERATIONS])
    return meta.uuid
