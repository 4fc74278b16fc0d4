"""
Documents → Intent, or all that is wrong with them.

Refuses to know: files and YAML.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from bgpctl.core.cluster.allocations import Allocations, NodeAllocations
from bgpctl.core.cluster.configuration import Configuration, Node, Peer
from bgpctl.core.cluster.intent import Intent, joined, sharing
from bgpctl.core.cluster.problems import Problem, Severity
from bgpctl.core.cluster.tunnel_addresses import HOSTNAME, labels_of
from bgpctl.core.intent.calico import read_list, read_resource
from bgpctl.core.intent.check import check_against_each_other, check_cluster, check_records
from bgpctl.core.intent.draft import BlockDraft, Draft, PeerDraft, Stated
from bgpctl.core.intent.edit import Basis, basis_of
from bgpctl.core.intent.index import index_of, members_of
from bgpctl.core.intent.installation import adopt_operator_pools
from bgpctl.core.intent.leftovers import drop_leftovers
from bgpctl.core.intent.services import selected
from bgpctl.core.intent.short import read_nodes, read_short
from bgpctl.core.intent.tree import Mapping as Document
from bgpctl.core.intent.tree import Scalar, Sequence, Tree, kind_of
from bgpctl.core.net.addresses import Address, Prefix

Loaded: TypeAlias = Intent | tuple[Problem, ...]
"""As in ports.py."""


def read(documents: Iterable[Tree]) -> Loaded:
    """
    The intent of all documents together, in either form or both.

    Returns:
        The intent, with remarks on it in `remarks`; or, if anything is wrong, every problem found.
        Both in the order of their places.
    """
    return combined(map(fragment, documents))


def fragment(document: Tree) -> Draft:
    """Everything that one document says, whatever the others say."""
    draft = Draft()
    _read_document(draft, document)
    return draft


def node_fragment(nodes: Document) -> Draft:
    """Everything that some nodes of the short form say, which stand under `nodes` of a document."""
    draft = Draft()
    read_nodes(draft, nodes)
    return draft


def combined(fragments: Iterable[Draft]) -> Loaded:
    """The answer of `read` for documents that were read before. The fragments stay as they are."""
    return whole(fragments)[0]


def whole(fragments: Iterable[Draft], before: Intent | None = None) -> tuple[Loaded, Basis | None]:
    """
    The answer of `read` for all fragments, and what its next edit is checked against (edit.py): None where that has to
    be a whole reading again. Objects that are equal to those of the intent `before` are the same ones.
    """
    draft = Draft()
    for part in fragments:
        draft.take(part)
    adopt_operator_pools(draft)
    has_leftovers = drop_leftovers(draft)
    intent = replace(
        joined(_configuration(draft), _allocations(draft)),
        reserved=_reserved(draft),
        is_strict=draft.limits.strict_at is not None,
        most_blocks=draft.limits.most_blocks,
    )
    members = members_of(draft)
    index = index_of(intent, members)
    read_before = len(draft.problems.found)
    check_records(intent, draft)
    if index is None:
        check_against_each_other(intent, draft)
    check_cluster(intent, draft)
    found = draft.problems.sorted()
    if any(problem.severity is Severity.ERROR for problem in found):
        return found, None
    intent = replace(sharing(intent, before) if before else intent, remarks=found)
    if index is None or has_leftovers or not draft.is_complete():
        return intent, None
    return intent, basis_of(intent, draft, index, members, has_found=len(draft.problems.found) > read_before)


def _read_document(draft: Draft, document: Tree) -> None:
    match document:
        case Scalar(value=None):
            return
        case Document(items=items) if "kind" in items:
            read_resource(draft, document)
        case Document(items=items) if isinstance(items.get("items"), Sequence):
            read_list(draft, document)
        case Sequence(place=place):
            read_list(draft, Document(place, {"items": document}, {"items": place}))
        case Document():
            read_short(draft, document)
        case _:
            message = f"a document is a mapping or a list of resources, not {kind_of(document)}"
            draft.problems.add(document.place, "", message, "type")


def _configuration(draft: Draft) -> Configuration:
    nodes = tuple(node.value for _, node in sorted(draft.nodes.items()))
    pools = tuple(pool.value for _, pool in sorted(draft.pools.items()))
    filters = tuple(stated.value for _, stated in sorted(draft.filters.items()))
    settings: dict[str, Any] = {name: stated.value for name, stated in draft.settings.items()}
    without_peers = Configuration(pools=pools, nodes=nodes, filters=filters, **settings)
    owners = {address: node.name for node in nodes for address in node.addresses}
    peers = tuple(_peer(without_peers, owners, draft, peer.value) for _, peer in sorted(draft.peers.items()))
    services = tuple(selected(without_peers, stated.value) for _, stated in sorted(draft.services.items()))
    return replace(without_peers, peers=_without_suppressed(draft, peers), services=services)


def _allocations(draft: Draft) -> Allocations:
    """Of the nodes that are known; a block of another one is a problem."""
    blocks, borrowed = _by_node(draft.blocks), _by_node(draft.borrowed)
    found = {
        name: replace(given.value, blocks=blocks.get(name, ()), borrowed=borrowed.get(name, ()))
        for name, given in sorted(draft.tunnel_ends.items())
    }
    return Allocations({name: allocated for name, allocated in found.items() if allocated != NodeAllocations()})


def _reserved(draft: Draft) -> tuple[Prefix, ...]:
    return tuple(sorted({prefix for prefix, _ in draft.reserved}))


def _without_suppressed(draft: Draft, peers: tuple[Peer, ...]) -> tuple[Peer, ...]:
    """A peer of all nodes beats one of some nodes at the same address, as in Calico."""
    everywhere = {(peer.address, peer.port): peer for peer in peers if peer.address and peer.node_selector == "all()"}
    found = []
    for peer in peers:
        twin = everywhere.get((peer.address, peer.port)) if peer.address else None
        if twin and peer.node_selector != "all()":
            message = f"{peer.address} is a peer of all nodes already, as {twin.name} at {twin.place}, which counts"
            draft.wrong(draft.peers[peer.name].part("address"), message, "global-peer", Severity.WARNING)
            draft.suppressed.add(peer.name)
            found.append(replace(peer, nodes=()))
        else:
            found.append(peer)
    return tuple(found)


def _by_node(stated: Iterable[Stated[BlockDraft]]) -> Mapping[str, tuple[Prefix, ...]]:
    found: dict[str, set[Prefix]] = {}
    for block in stated:
        found.setdefault(block.value.node, set()).add(block.value.prefix)
    return {node: tuple(sorted(prefixes)) for node, prefixes in found.items()}


def _peer(configuration: Configuration, owners: Mapping[Address, str], draft: Draft, stated: PeerDraft) -> Peer:
    """
    The peer with its nodes and remotes selected, as Calico selects: not the node whose own address it is, and no node
    that has no address of its IP version.
    """
    peer = stated.peer
    remote = owners.get(peer.address) if peer.address else None
    selected = [node for node in configuration.nodes if _selects(stated, node) and node.name != remote]
    at = peer.address or peer.listen_range
    able = {node.name for node in selected if not at or node.underlay(at.version)}
    chosen = tuple(node.name for node in selected if node.name in able)
    draft.unable[peer.name] = tuple(node.name for node in selected if node.name not in able)
    selector = stated.peer_selector
    remotes = tuple(node.name for node in configuration.nodes if selector and selector(labels_of(node)))
    # Another node listens where all nodes do, as in Calico.
    port = stated.port or (configuration.listen_port if remote or remotes else peer.port)
    return replace(peer, nodes=chosen, remotes=remotes, port=port, node_selector=_selector(configuration, stated))


def _selects(draft: PeerDraft, node: Node) -> bool:
    return draft.node in (None, node.name) and draft.selector(labels_of(node))


def _selector(configuration: Configuration, draft: PeerDraft) -> str:
    """One that chooses the node that was named, where one was."""
    node = configuration.node(draft.node) if draft.node else None
    if draft.node is None:
        return draft.peer.node_selector
    name = labels_of(node)[HOSTNAME] if node else draft.node
    return f"{HOSTNAME} == '{name}'"
