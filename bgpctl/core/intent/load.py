"""
Documents → Intent, or all that is wrong with them.

Refuses to know: files and YAML.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from bgpctl.core.intent.calico import read_resource
from bgpctl.core.intent.check import check
from bgpctl.core.intent.draft import Draft, PeerDraft
from bgpctl.core.intent.selector import SelectorError, parse
from bgpctl.core.intent.short import read_short
from bgpctl.core.intent.tree import Mapping, Scalar, Tree, kind_of
from bgpctl.core.model import Intent, Node, Peer, Problem


def read(documents: Iterable[Tree]) -> Intent | tuple[Problem, ...]:
    """
    The intent of all documents together, in either form or both.

    Returns:
        The intent, or every problem found, in the order of the files.
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
    blocks: dict[str, set[Any]] = {}
    for block in draft.blocks:
        blocks.setdefault(block.node, set()).add(block.prefix)
    nodes = tuple(
        replace(node, blocks=tuple(sorted(blocks.get(name, ())))) for name, (node, _) in sorted(draft.nodes.items())
    )
    pools = tuple(pool for _, (pool, _) in sorted(draft.pools.items()))
    peers = tuple(_peer(draft, peer, nodes) for _, peer in sorted(draft.peers.items()))
    settings: dict[str, Any] = {name: value for name, (value, _) in draft.settings.items()}
    return Intent(pools=pools, nodes=nodes, peers=peers, **settings)


def _peer(draft: Draft, peer: PeerDraft, nodes: tuple[Node, ...]) -> Peer:
    try:
        selects = parse(peer.selector or "")
    except SelectorError as error:
        draft.problems.add(peer.at.place, peer.at.path, f"{peer.selector}: {error}", "selector")
        chosen: tuple[str, ...] = ()
    else:
        chosen = tuple(node.name for node in nodes if peer.node in (None, node.name) and selects(dict(node.labels)))
        if not chosen:
            message = f"{peer.selector or peer.node or 'the cluster'} selects no node"
            draft.problems.add(peer.at.place, peer.at.path, message, "selects-nothing")
    place = peer.at.place
    return Peer(peer.name, peer.address, peer.asn, chosen, peer.port, peer.password_file, place)
