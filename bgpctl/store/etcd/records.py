"""
The records of a cluster in an etcd, as values and as JSON.

Keys below `/bgpctl/v1/CLUSTER/`:

    meta                     {"format": 1, "uuid": …, "replaces": [uuid, …]}             names this content
    cluster/head             {"format": 1, "generation": 7, "files": […], "change": …}   the configuration in force
    cluster/nodes/NODE       {"format": 1, "node": {"address": "10.0.0.1/24", …}}        a member
    cluster/allocations/NODE {"format": 1, "blocks": […], "borrowed": […]}               what the member has claimed
    blobs/SHA256             {"format": 1, "text": …}                                    a part of a configuration file
    ipam/…                   addresses that nodes give themselves (ipam_records.py)

Configuration and allocations are apart: an operator replaces the first as a whole, in one transaction of which `head`
is the one visible key, and nodes claim the second a record at a time. Parts of files are named by their content, so
that an edit writes the parts that changed, and the former generation is still there.

Records outlive versions. A field that this version does not know stays when the record is written again (`more`), and a
record of a higher `format` is left as it is: it raises NewerFormat, and its reader keeps what it knew.

Refuses to know: etcd.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from bgpctl.core.intent.shapes import Shape
from bgpctl.store.change import Standing

FORMAT: Final = 1
META: Final = "meta"
WATCHED: Final = "cluster/"
WATCHED_LAST: Final = "ipam/borrowed/"
"""All keys from the first to the last of these are watched: the cluster's, claimed blocks, and borrowed addresses. The
addresses in blocks are not (`ipam/used/`): those of each workload would reach every agent."""
CLAIMED: Final = "ipam/blocks/"
HEAD: Final = "cluster/head"
NODES: Final = "cluster/nodes/"
ALLOCATIONS: Final = "cluster/allocations/"
BLOBS: Final = "blobs/"
_MOST_BLOB_BYTES: Final = 384 << 10
_BLOB_ENDS: Final = 4096
"""A part of a file ends with one line in so many, by the line's own content, so that an edit moves no other end."""


class BadRecord(Exception):
    """It is none of ours, or damaged."""


class NewerFormat(Exception):
    """It was written by a later version."""


@dataclass(frozen=True, slots=True)
class Meta:
    """`uuid` names the content of a store; one that was restored or made again `replaces` others."""

    uuid: str
    replaces: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class File:
    """A configuration file: its name on the host where it was applied, and its parts by their SHA-256."""

    name: str
    blobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeadChange:
    """
    The last change of the configuration.

    Attributes:
        generation: that it led to; another one in force now: it was edited since.
        previous: the files from before it.
        within_s: the time in which it has to be confirmed; None: it need not be.
    """

    generation: int
    previous: tuple[File, ...]
    standing: Standing
    within_s: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Head:
    """The configuration in force. `written`: a random word of its writer, who finds his own write by it."""

    generation: int = 0
    files: tuple[File, ...] = ()
    change: HeadChange | None = None
    written: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def waits(self) -> bool:
        """True if the last change is to be confirmed."""
        return self.change is not None and self.change.standing is Standing.WAITS

    @property
    def blobs(self) -> frozenset[str]:
        """The parts of all files, those of the former generation too."""
        files = (*self.files, *(self.change.previous if self.change else ()))
        return frozenset(blob for file in files for blob in file.blobs)


# Reading -------------------------------------------------------------------------------------------------------


def _read(text: str, *known: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of a record, and those that this version does not know. Raises BadRecord, NewerFormat."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"it is no JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("format"), int):
        raise BadRecord("it is no record of bgpctl: it has no format")
    if found["format"] > FORMAT:
        raise NewerFormat(f"it has format {found['format']}, and this version reads up to {FORMAT}")
    return found, {key: value for key, value in found.items() if key not in ("format", *known)}


def read_meta(text: str) -> Meta:
    """Raises BadRecord, NewerFormat."""
    found, more = _read(text, "uuid", "replaces")
    return Meta(_text(found, "uuid"), tuple(_texts(found, "replaces")), more)


def read_head(text: str) -> Head:
    """Raises BadRecord, NewerFormat."""
    found, more = _read(text, "generation", "files", "change", "written")
    change = found.get("change")
    return Head(_number(found, "generation"), _files(found, "files"), _change(change), found.get("written", ""), more)


def read_blob(text: str) -> str:
    """Raises BadRecord, NewerFormat."""
    return _text(_read(text, "text")[0], "text")


def document_of(name: str, node: str | None, allocations: str | None) -> str:
    """
    The records of a member and of its allocations as one document: an entry of `nodes` in the short form. One that the
    configuration describes has Calico's resources for its allocations.

    Raises:
        BadRecord, NewerFormat.
    """
    given = _read(allocations)[0] if allocations else {}
    blocks, borrowed = _texts(given, "blocks"), _texts(given, "borrowed")
    if node is None:
        return json.dumps([*_affinities(name, blocks), *_borrowed(name, borrowed)])
    more = {key: value for key, value in (("blocks", blocks), ("borrowed", borrowed)) if value}
    return json.dumps({"nodes": {name: {**_mapping(_read(node)[0], "node"), **more}}})


def _affinities(node: str, blocks: Iterable[str]) -> Iterator[dict[str, Any]]:
    for cidr in blocks:
        name = f"{node}-{cidr.replace('.', '-').replace(':', '-').replace('/', '-')}"
        spec = {"node": node, "cidr": cidr, "state": "confirmed"}
        yield {"apiVersion": "projectcalico.org/v3", "kind": "BlockAffinity", "metadata": {"name": name}, "spec": spec}


def _borrowed(node: str, addresses: Iterable[str]) -> Iterator[dict[str, Any]]:
    """As Calico has them: addresses in a block of another node, each with its holder."""
    for address in addresses:
        host = address.partition("/")[0]
        length = 128 if ":" in host else 32
        attributes = [{"secondary": {"node": node}}]
        spec = {"cidr": f"{host}/{length}", "allocations": [0], "attributes": attributes}
        name = f"{node}-{host.replace('.', '-').replace(':', '-')}"
        yield {"apiVersion": "projectcalico.org/v3", "kind": "IPAMBlock", "metadata": {"name": name}, "spec": spec}


def _files(found: Mapping[str, Any], key: str) -> tuple[File, ...]:
    items = found.get(key, [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise BadRecord(f"{key} is no list of files")
    return tuple(File(_text(item, "name"), tuple(_texts(item, "blobs"))) for item in items)


def _change(found: Any) -> HeadChange | None:
    if not isinstance(found, dict):
        return None
    within_s = found.get("within_s")
    more = {key: value for key, value in found.items() if key not in _CHANGE}
    try:
        standing = Standing(str(found.get("standing")))
    except ValueError as error:
        raise BadRecord(f"change.standing is none of {', '.join(Standing)}") from error
    if within_s is not None and not isinstance(within_s, int | float):
        raise BadRecord("change.within_s is no time")
    return HeadChange(_number(found, "generation"), _files(found, "previous"), standing, within_s, more)


_CHANGE: Final = ("generation", "previous", "standing", "within_s")


def _text(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key)
    if not isinstance(value, str):
        raise BadRecord(f"{key} is no text")
    return value


def _texts(found: Mapping[str, Any], key: str) -> list[str]:
    value = found.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadRecord(f"{key} is no list of texts")
    return value


def _number(found: Mapping[str, Any], key: str) -> int:
    value = found.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRecord(f"{key} is no number")
    return value


def _mapping(found: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = found.get(key)
    if not isinstance(value, dict):
        raise BadRecord(f"{key} is no mapping")
    return value


# Writing -------------------------------------------------------------------------------------------------------


def written_meta(meta: Meta) -> str:
    """As JSON."""
    return json.dumps({**meta.more, "format": FORMAT, "uuid": meta.uuid, "replaces": list(meta.replaces)})


def written_head(head: Head) -> str:
    """As JSON."""
    change = head.change
    fields = {"generation": head.generation, "files": _written_files(head.files), "written": head.written}
    if change:
        fields["change"] = {
            **change.more,
            "generation": change.generation,
            "previous": _written_files(change.previous),
            "standing": change.standing.value,
            "within_s": change.within_s,
        }
    return json.dumps({**head.more, "format": FORMAT, **fields})


def _written_files(files: Iterable[File]) -> list[dict[str, Any]]:
    return [{"name": file.name, "blobs": list(file.blobs)} for file in files]


def written_node(spec: Mapping[str, Any]) -> str:
    """The record of a member: its entry of `nodes` in the short form, without what it has been given."""
    return json.dumps({"format": FORMAT, "node": spec})


def written_allocations(blocks: Iterable[str], borrowed: Iterable[str]) -> str:
    """The record of what a member has been given."""
    return json.dumps({"format": FORMAT, "blocks": list(blocks), "borrowed": list(borrowed)})


def blobs_of(text: str) -> tuple[str, ...]:
    """A text in parts; an edit changes those in which it is."""
    parts: list[str] = []
    part: list[str] = []
    size = 0
    for line in text.splitlines(keepends=True):
        part.append(line)
        size += len(line)
        if size > _MOST_BLOB_BYTES or zlib.crc32(line.encode("utf-8", "surrogateescape")) % _BLOB_ENDS == 0:
            parts.append("".join(part))
            part, size = [], 0
    return (*parts, "".join(part)) if part else tuple(parts)


def named(blobs: Iterable[str]) -> dict[str, str]:
    """Parts by their SHA-256."""
    return {sha256(blob.encode("utf-8", "surrogateescape")).hexdigest(): blob for blob in blobs}


def written_blob(text: str) -> str:
    """As JSON."""
    return json.dumps({"format": FORMAT, "text": text})


# The schema ----------------------------------------------------------------------------------------------------

_TEXT: Final[Shape] = {"type": "string"}
_LIST: Final[Shape] = {"type": "array", "items": _TEXT}
_FILES_SHAPE: Final[Shape] = {
    "type": "array",
    "items": {"type": "object", "required": ["name", "blobs"], "properties": {"name": _TEXT, "blobs": _LIST}},
}
_CHANGE_SHAPE: Final[Shape] = {
    "type": "object",
    "required": ["generation", "previous", "standing"],
    "properties": {
        "generation": {"type": "integer"},
        "previous": _FILES_SHAPE,
        "standing": {"enum": [standing.value for standing in Standing]},
        "within_s": {"type": ["number", "null"]},
    },
}
_RECORDS: Final[Mapping[str, tuple[tuple[str, ...], Shape]]] = {
    "meta": (("uuid",), {"uuid": _TEXT, "replaces": _LIST}),
    "head": (
        ("generation", "files"),
        {"generation": {"type": "integer"}, "files": _FILES_SHAPE, "change": _CHANGE_SHAPE, "written": _TEXT},
    ),
    "node": (("node",), {"node": {"type": "object"}}),
    "allocations": (("blocks",), {"blocks": _LIST, "borrowed": _LIST}),
    "blob": (("text",), {"text": _TEXT}),
}


def shape() -> Shape:
    """The JSON Schema of all records; each is one of its definitions. Fields of other versions are allowed."""
    definitions = {
        name: {
            "type": "object",
            "required": ["format", *required],
            "properties": {"format": {"const": FORMAT}, **properties},
        }
        for name, (required, properties) in _RECORDS.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "bgpctl: records of a cluster in an etcd",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in definitions],
        "$defs": definitions,
    }
