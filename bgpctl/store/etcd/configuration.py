"""
The configuration of a cluster as files in an etcd: the next generation of them, in one transaction.

A generation is a head that names the parts of its files (records.py). Its parts are written before it, in the same
transaction where they fit, so that whatever head is read, its files are whole. A head is written on the condition that
the one before it is still there; two operators at once are told apart by that, and a lost answer is recognized by the
random word in the head. Parts that neither the files nor those from before them have, go in the same transaction.

Refuses to know: the meaning of the files, when a change is undone.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from bgpctl.ports import NotPossibleNow
from bgpctl.store.etcd import records
from bgpctl.store.etcd.kv import MOST_BYTES, MOST_OPERATIONS, Entry, Kv
from bgpctl.store.etcd.records import File, Head, Meta

_MOST_BLOBS: Final = MOST_OPERATIONS // 3
"""Of a generation: the transaction may have to write those of the new one, and to remove those of an old one."""
_MOST_REPLACED: Final = 100


class Present(NamedTuple):
    """The configuration as it is in the store, with the revisions of head and meta; 0 and None: there is none."""

    head: Head
    revision: int = 0
    meta: Meta | None = None
    meta_revision: int = 0

    @property
    def uuid(self) -> str:
        """Of the content; "" of a store that has none."""
        return self.meta.uuid if self.meta else ""

    def successor(self, *replaces: str) -> Meta:
        """Another uuid, which replaces the one there is, those that it has replaced, and others."""
        former = (self.meta.uuid, *self.meta.replaces) if self.meta else ()
        return Meta(str(uuid.uuid4()), (*replaces, *former)[:_MOST_REPLACED])


class Overtaken(Exception):
    """Another writer came first."""


def present(kv: Kv) -> Present:
    """Read from a majority. Raises one of follower.FAULTS."""
    found = kv.read(records.META, records.HEAD).entries
    meta, head = found.get(records.META), found.get(records.HEAD)
    return Present(
        records.read_head(head.value) if head else Head(),
        head.revision if head else 0,
        records.read_meta(meta.value) if meta else None,
        meta.revision if meta else 0,
    )


def files_of(names: Sequence[str], texts: Sequence[str]) -> tuple[tuple[File, ...], dict[str, str]]:
    """Files as a head names them, and the parts that they are made of. Raises NotPossibleNow."""
    parts = [records.named(records.blobs_of(text)) for text in texts]
    files = tuple(File(name, tuple(part)) for name, part in zip(names, parts, strict=True))
    blobs = {key: text for part in parts for key, text in part.items()}
    if len(blobs) > _MOST_BLOBS:
        raise NotPossibleNow(
            "the files are too large for one generation:"
            " have the nodes in records of their own, by bgpctl cluster import"
        )
    return files, blobs


def commit(
    kv: Kv,
    was: Present,
    head: Head,
    blobs: Mapping[str, str],
    meta: Meta | None = None,
    more: Mapping[str, str] | None = None,
) -> Entry:
    """
    Write the head with its parts in place of the one that `was`, and `more` with it. A store without content gets a
    uuid, or `meta`.

    Raises:
        Overtaken: it was replaced meanwhile.
        One of follower.FAULTS.
    """
    value = records.written_head(replace(head, written=secrets.token_hex(8)))
    new = {f"{records.BLOBS}{key}": records.written_blob(text) for key, text in blobs.items()}
    gone = [f"{records.BLOBS}{name}" for name in sorted(was.head.blobs - head.blobs)]
    metas = _metas(was, meta)
    first, last = _staged(new)
    for puts in first:
        kv.commit({}, puts)
    conditions = {records.HEAD: was.revision, records.META: was.meta_revision}
    revision = kv.commit(conditions, {**(more or {}), **metas, **last, records.HEAD: value}, gone)
    if revision is not None:
        return Entry(value, revision)
    now = kv.read(records.HEAD).entries.get(records.HEAD)
    if now and now.value == value:
        return now  # it was written, and the answer was lost
    raise Overtaken("the configuration was changed at the same time: try again")


def _metas(was: Present, meta: Meta | None) -> dict[str, str]:
    wanted = meta or (None if was.uuid else Meta(str(uuid.uuid4())))
    return {records.META: records.written_meta(wanted)} if wanted else {}


def _staged(blobs: Mapping[str, str]) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Parts that have to be written before the head, in transactions that etcd allows, and those that go with it."""
    batches = list(batches_of(blobs, MOST_OPERATIONS // 3))
    return (batches, {}) if len(batches) > 1 else ([], batches[0] if batches else {})


def batches_of(puts: Mapping[str, str], most: int = MOST_OPERATIONS) -> Iterator[dict[str, str]]:
    """The same in batches, which fit into transactions that etcd allows."""
    batch: dict[str, str] = {}
    size = 0
    for key, value in puts.items():
        if batch and (len(batch) == most or size + len(value) > MOST_BYTES // 2):
            yield batch
            batch, size = {}, 0
        batch[key] = value
        size += len(value)
    if batch:
        yield batch
