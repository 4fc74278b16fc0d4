"""
Calico v1's resources: `apiVersion: v1` with ipPool, node and bgpPeer.

Refuses to know: today's resources; each is turned into one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from bgpctl.core.cluster.problems import Severity
from bgpctl.core.intent import bgp, tree
from bgpctl.core.intent.draft import Draft, located, spec_of
from bgpctl.core.intent.field_kinds import ADDRESS, PREFIX, UNREAD, FieldKind, word
from bgpctl.core.intent.fields import Fields, is_name, not_a_name
from bgpctl.core.intent.peers import Remote, read_peer
from bgpctl.core.intent.pools import calico_pool, read_pool
from bgpctl.core.intent.shapes import ref
from bgpctl.core.intent.tables import Row, Table


def read(draft: Draft, document: tree.Mapping, kind: str) -> None:
    """Take one resource of the v1 API in."""
    fields = Fields(document, kind, draft.problems, foreign=True)
    fields.one_of("apiVersion", ("v1",))
    fields.need(f"a {kind}", "apiVersion", "metadata")
    fields.wrong("kind", "a resource of Calico v1", "old-spelling", Severity.INFO)
    fields.ignore("kind")
    READERS[kind](draft, fields)
    fields.finish()


POOL_METADATA: Final = Table((Row("cidr", PREFIX, "cidr"),))
NODE_METADATA: Final = Table(
    (
        Row("name", FieldKind(Fields.text, ref("name")), "name", needed=True),
        Row("labels", FieldKind(UNREAD.read, ref("labels"))),
    ),
    what="a node",
)
PEER_METADATA: Final = Table(
    (
        Row("scope", word("global", "node"), "scope"),
        Row("node", FieldKind(UNREAD.read, ref("name"))),
        Row("peerIP", ADDRESS, "address", needed=True),
    ),
    what="a bgpPeer",
)

PEER_SPEC: Final = replace(
    bgp.BGP_PEER,
    rows=tuple(
        replace(row, kind=replace(row.kind, read=UNREAD.read)) if row.key == "peerIP" else row
        for row in bgp.BGP_PEER.rows
    ),
)
"""Today's, but that the address stands in the metadata, and is read there."""


def _dashed(*parts: object) -> str:
    """The name that Calico's own upgrade gives to a resource that had none."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(map(str, parts)).lower()).strip("-")


def _read_pool(draft: Draft, fields: Fields) -> None:
    """The pool's only name is its cidr, which stands in the metadata."""
    metadata, spec = spec_of(fields, "metadata"), spec_of(fields)
    merged = spec.joined(metadata, *POOL_METADATA.keys())
    metadata.finish()
    cidr = merged.prefix("cidr")
    read_pool(draft, merged, calico_pool(), _dashed(cidr) if cidr else "pool", located(fields))
    merged.finish()


def _read_node(draft: Draft, fields: Fields) -> None:
    metadata = spec_of(fields, "metadata")
    name = NODE_METADATA.read(metadata).get("name", "")
    metadata.finish()
    if is_name(name):
        bgp.read_node(draft, fields, name)
    else:
        draft.miss("node")
        if metadata.has("name"):
            metadata.wrong("name", not_a_name(name), "name")
        fields.ignore("spec")


def _read_peer(draft: Draft, fields: Fields) -> None:
    metadata, spec = spec_of(fields, "metadata"), spec_of(fields)
    found = PEER_METADATA.read(metadata)
    address = found.get("address")
    if found.get("scope") == "node":
        metadata.need("a bgpPeer", "node")
    joined = spec.joined(metadata, "peerIP", *(["node"] if metadata.has("node") else []))
    metadata.finish()
    name = _dashed(*([metadata.text("node")] if metadata.has("node") else []), address or "peer")
    read_peer(draft, joined, PEER_SPEC, name, located(fields), Remote("peerIP", address, None))
    joined.finish()


READERS: Final[Mapping[str, Callable[[Draft, Fields], None]]] = {
    "bgpPeer": _read_peer,
    "ipPool": _read_pool,
    "node": _read_node,
}
