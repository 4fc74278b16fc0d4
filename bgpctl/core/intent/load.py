"""
Documents → Intent, or all that is wrong with them.

Refuses to know: files and YAML.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from bgpctl.core.cluster import Intent, Node, Peer, Problem
from bgpctl.core.intent.calico import read_resource
from bgpctl.core.intent.check import check
from bgpctl.core.intent.draft import Draft, PeerDraft, Stated
from bgpctl.core.intent.short import read_short
from bgpctl.core.intent.tree import Mapping, Scalar, Tree, kind_of
from bgpctl.core.model import Prefix


def read(documents: Iterable[Tree]) -> Intent | tuple[Problem, ...]:
    """
    The intent of all documents together, in either form or both.

    Returns:
        The intent, or every problem found, in the order of their places.
    """
    draft = Draft()
    for document in documents:
        _read_document(draft, document)
    intent = _assemble(draft)
    check(intent, draft)
    return draft.problems.sorted() or intent


def _read_document(draft: Draft, document: Tree) -> None:
    match document:
        case Scalar(value=None):
            return
        case Mapping(items=items) if "kind" in items:
            read_resource(draft, document)
        case Mapping():
            read_short(draft, document)
        case _:
            message = f"a document is a mapping, not {kind_of(document)}"
            draft.problems.add(document.place, "", message, "type")


def _assemble(draft: Draft) -> Intent:
    blocks: dict[str, set[Prefix]] = {}
    for block in draft.blocks:
        blocks.setdefault(block.value.node, set()).add(block.value.prefix)
    nodes = tuple(
        replace(node.value, blocks=tuple(sorted(blocks.get(name, ())))) for name, node in sorted(draft.nodes.items())
    )
    pools = tuple(pool.value for _, pool in sorted(draft.pools.items()))
    peers = tuple(_peer(peer, nodes) for _, peer in sorted(draft.peers.items()))
    settings: dict[str, Any] = {name: stated.value for name, stated in draft.settings.items()}
    return Intent(pools=pools, nodes=nodes, peers=peers, **settings)


def _peer(stated: Stated[PeerDraft], nodes: Sequence[Node]) -> Peer:
    peer = stated.value
    chosen = tuple(node.name for node in nodes if _selects(peer, node))
    return Peer(peer.name, peer.address, peer.asn, chosen, peer.port, peer.password_file, place=stated.at.place)


def _selects(peer: PeerDraft, node: Node) -> bool:
    # Every node of a Kubernetes cluster has this label, so that a selector can name one node.
    labels = {"kubernetes.io/hostname": node.name, **dict(node.labels)}
    return peer.node in (None, node.name) and peer.selector(labels)
