"""
The next answer from the last one, where records of a few nodes changed: at the cost of these, not of the cluster.

A *fragment* is everything that one record says: a document, or an entry of `nodes` in the short form. A cluster that
was read without an error is a *basis*. If the fragments that differ from it are about nodes and what was given to them,
the nodes that they name are put together again, checked by themselves, and checked against all others in an index.

Nothing is reported from here but remarks. Whatever is an error, or might be one, and whatever may concern more than
the nodes themselves has the answer None, which means: read and check all. So this file need not know how errors are
put into words, and has to be right in one thing: that all is well. tests/laws/test_edit_laws.py holds its answer to
that of a whole check, to the last remark.

Refuses to know: how records are kept and found (store), places.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final, NamedTuple

from bgpctl.core.cluster.allocations import NodeAllocations
from bgpctl.core.cluster.configuration import Node, Peer, Pool
from bgpctl.core.cluster.intent import Intent, with_edits
from bgpctl.core.cluster.problems import Problem, Severity
from bgpctl.core.cluster.tunnel_addresses import labels_of, selects
from bgpctl.core.intent import index as indexes
from bgpctl.core.intent.check import check_records
from bgpctl.core.intent.draft import BlockDraft, Draft, Limits, PeerDraft, Stated
from bgpctl.core.intent.fields import Problems
from bgpctl.core.intent.index import Index, Member
from bgpctl.core.intent.services import concerns
from bgpctl.core.net.addresses import Address, Prefix

_MOST: Final = 500
"""Beyond so many changed nodes a whole check is about as quick."""
_NOTHING: Final = Member()


class Basis(NamedTuple):
    """
    A good intent, with all that an edit is checked against.

    Attributes:
        rest: what is said of everything but nodes.
        has_found: a check has a remark on it, beside those of the reader.
    """

    intent: Intent
    rest: Draft
    members: Mapping[str, Member]
    taken: Index
    has_found: bool


def basis_of(intent: Intent, draft: Draft, index: Index, members: Mapping[str, Member], *, has_found: bool) -> Basis:
    """Of a whole reading without errors."""
    rest = replace(draft, problems=Problems(), nodes={}, tunnel_ends={}, blocks=[], borrowed=[], _declared={})
    return Basis(intent, rest, members, index, has_found)


def edited(basis: Basis, gone: Sequence[Draft], new: Sequence[Draft]) -> Basis | None:
    """
    The basis with the fragments `new` in place of `gone`, which are the very objects that it was made of. None if that
    is not known to be without errors: then all fragments have to be combined anew.
    """
    if not all(map(_is_of_nodes, chain(gone, new))):
        return None
    before = {name: basis.members.get(name, _NOTHING) for part in (*gone, *new) for name in _names(part)}
    after = _members(before, gone, new) if len(before) <= _MOST else None
    if after is None:
        return None
    intent = _intent(basis.intent, after)
    index = indexes.changed(basis.taken, basis.intent, before, intent, after)
    if index is None or _concerns_others(basis, intent, before):
        return None
    found = _same_findings(basis, intent, before, after, gone, new)
    if found is None:
        return None
    has_found = basis.has_found or len(found) > 0
    members = {**basis.members, **after}
    for name in [name for name, member in after.items() if member == _NOTHING]:
        members.pop(name)
    return Basis(intent, basis.rest, members, index, has_found)


def may_move(draft: Draft) -> bool:
    """True of a fragment about nodes with no remark: its place in the files is in no answer."""
    return _is_of_nodes(draft) and not draft.problems.found


def _is_of_nodes(draft: Draft) -> bool:
    others = (
        *(draft.pools, draft.peers, draft.filters, draft.services),
        *(draft.settings, draft.reserved, draft.operator_pools),
    )
    is_silent = not any(others) and not draft.udp_ports and not draft.default_pool and draft.limits == Limits()
    has_errors = any(problem.severity is Severity.ERROR for problem in draft.problems.found)
    return is_silent and draft.is_complete() and not has_errors and draft.declares_only_nodes()


def _names(draft: Draft) -> Iterable[str]:
    return chain(draft.nodes, (item.value.node for item in chain(draft.blocks, draft.borrowed)))


# Nodes ---------------------------------------------------------------------------------------------------------


def _members(before: Mapping[str, Member], gone: Iterable[Draft], new: Iterable[Draft]) -> dict[str, Member] | None:
    """The nodes as they are now; None if one is given twice, or something to one that is not there."""
    old = {id(item) for part in gone for item in (*part.nodes.values(), *part.blocks, *part.borrowed)}
    found = {name: _without(member, old) for name, member in before.items()}
    for part in new:
        for name, stated in part.nodes.items():
            if found[name].node:
                return None
            found[name] = found[name]._replace(node=stated, ends=part.tunnel_ends[name])
        for block in part.blocks:
            member = found[block.value.node]
            found[block.value.node] = member._replace(blocks=(*member.blocks, block))
        for block in part.borrowed:
            member = found[block.value.node]
            found[block.value.node] = member._replace(borrowed=(*member.borrowed, block))
    has_stray = any(not member.node and member != _NOTHING for member in found.values())
    return None if has_stray else found


def _without(member: Member, old: set[int]) -> Member:
    stays = id(member.node) not in old
    return Member(
        member.node if stays else None,
        member.ends if stays else None,
        tuple(block for block in member.blocks if id(block) not in old),
        tuple(block for block in member.borrowed if id(block) not in old),
    )


def _intent(before: Intent, after: Mapping[str, Member]) -> Intent:
    """With these nodes, of the very objects of `before` wherever those are equal."""
    nodes: dict[str, Node | None] = {}
    given: dict[str, NodeAllocations | None] = {}
    for name, member in after.items():
        node, allocated = member.node.value if member.node else None, _allocated(member)
        if node != before.node(name):
            nodes[name] = node
        if allocated != before.allocations.by_node.get(name):
            given[name] = allocated
    return with_edits(before, nodes, given)


def _allocated(member: Member) -> NodeAllocations | None:
    if member.ends is None:
        return None
    found = replace(member.ends.value, blocks=_prefixes(member.blocks), borrowed=_prefixes(member.borrowed))
    return None if found == NodeAllocations() else found


def _prefixes(stated: Iterable[Stated[BlockDraft]]) -> tuple[Prefix, ...]:
    return tuple(sorted({item.value.prefix for item in stated}))


# Others --------------------------------------------------------------------------------------------------------


def _concerns_others(basis: Basis, intent: Intent, names: Iterable[str]) -> bool:
    """True if the edit may change what holds of pools, of peers, of services, or of the cluster as such."""
    was, counts = len(basis.intent.nodes), len(intent.nodes)
    pairs = [(basis.intent.node(name), intent.node(name)) for name in names]
    others = any((old is None) != (new is None) for old, new in pairs)
    if (basis.has_found and others) or min(was, 2) != min(counts, 2):
        return True
    own = {address for pair in pairs for node in pair if node for address in node.addresses}
    if any(pool.cidr.holds(address) for pool in intent.pools for address in own):
        return True
    if any(_selects(pool, old) != _selects(pool, new) for pool in intent.pools for old, new in pairs):
        return True  # the pool may have selected no node, or may select none now
    services = [stated.value for stated in basis.rest.services.values()]
    if any(concerns(service, old, new) for service in services for old, new in pairs):
        return True
    peers = zip(basis.intent.peers, (stated.value for _, stated in sorted(basis.rest.peers.items())), strict=True)
    return any(_concerns(peer, stated, own, pairs) for peer, stated in peers)


def _selects(pool: Pool, node: Node | None) -> bool:
    return node is not None and pool.node_selector != "all()" and selects(pool, node)


def _concerns(
    peer: Peer, stated: PeerDraft, own: set[Address], pairs: Iterable[tuple[Node | None, Node | None]]
) -> bool:
    """True if the peer is one of the nodes, names one, or is selected by another set of nodes."""
    named = {node.name for pair in pairs for node in pair if node}
    if peer.address in own or stated.node in named:
        return True
    return any(_selection(stated, old) != _selection(stated, new) for old, new in pairs)


def _selection(stated: PeerDraft, node: Node | None) -> tuple[bool, ...]:
    """True if a node peers, if it could with an address of that IP version, and if it is peered with."""
    if node is None:
        return False, False, False
    labels, address = labels_of(node), stated.peer.address
    is_selected = stated.node in (None, node.name) and stated.selector(labels)
    is_able = not address or node.underlay(address.version) is not None
    is_remote = stated.peer_selector is not None and stated.peer_selector(labels)
    return is_selected and is_able, is_selected and not is_able, is_remote


# Remarks -------------------------------------------------------------------------------------------------------


def _same_findings(
    basis: Basis,
    intent: Intent,
    before: Mapping[str, Member],
    after: Mapping[str, Member],
    gone: Iterable[Draft],
    new: Iterable[Draft],
) -> list[Problem] | None:
    """
    The remarks of the checks on these nodes, which are those of before. None if there is an error, or another remark:
    what was taken over may know only a former place in its file.
    """
    found = _found(basis.rest, intent, after)
    if any(problem.severity is Severity.ERROR for problem in found):
        return None
    old = {*_found(basis.rest, basis.intent, before), *(item for part in gone for item in part.problems.found)}
    added = {*found, *(item for part in new for item in part.problems.found)}
    return found if old == added else None


def _found(rest: Draft, intent: Intent, members: Mapping[str, Member]) -> list[Problem]:
    """The findings of the checks of records about these nodes."""
    nodes = {name: member.node for name, member in members.items() if member.node}
    known = [member for member in members.values() if member.node]
    part = replace(
        rest,
        problems=Problems(),
        nodes=nodes,
        tunnel_ends={name: member.ends for name, member in members.items() if member.ends},
        blocks=[block for member in known for block in member.blocks],
        borrowed=[block for member in known for block in member.borrowed],
        _declared={("node", name): stated.at for name, stated in nodes.items()},
    )
    check_records(intent, part)
    return part.problems.found
