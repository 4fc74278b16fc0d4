"""
Calico's address management: BlockAffinity, IPAMBlock, IPAMConfig, IPReservation.

Refuses to know: how addresses are handed out; what is handed out is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from bgpctl.core.cluster.problems import Severity
from bgpctl.core.intent.draft import BlockDraft, Draft, Located, located, spec_of
from bgpctl.core.intent.fields import Fields, dns_name, is_name, parse_address, parse_prefix, scalar
from bgpctl.core.intent.nodes import take_block, take_borrowed
from bgpctl.core.intent.tree import Scalar, shown
from bgpctl.core.net.addresses import Prefix

_VIRTUAL: Final = "a virtual affinity belongs to no node"


def read_affinity(draft: Draft, fields: Fields, _: str) -> None:
    """A node's claim to a block."""
    spec = spec_of(fields)
    kind = spec.one_of("type", ("host", "virtual"))
    node, cidr = spec.name("node"), spec.prefix("cidr")
    spec.need("a block affinity", "node", "cidr")
    state = spec.one_of("state", ("confirmed", "pending", "pendingDeletion"))
    deleted = _flag(spec, "deleted")
    if kind == "virtual":
        spec.no_effect(_VIRTUAL, "node", "type")
    spec.finish()
    # Calico routes to a block once the claim is confirmed; before and after that it is nobody's.
    if state in ("pending", "pendingDeletion"):
        spec.wrong("state", f"no effect here: a claim that is {state} is not routed", "no-effect", Severity.INFO)
    elif node and cidr and not deleted and kind != "virtual":
        take_block(draft, BlockDraft(node, cidr, "affinity"), located(spec, "cidr"), located(spec, "node"))


def _flag(spec: Fields, key: str) -> bool:
    """Calico writes this one as a text."""
    return spec.one_of(key, ("false", "true")) == "true"


def read_block(draft: Draft, fields: Fields, _: str) -> None:
    """A block, who has it, and which of its addresses other nodes have."""
    spec = spec_of(fields)
    cidr = spec.prefix("cidr")
    spec.need("an IPAM block", "cidr")
    owner = _owner(spec)
    deleted = _flag(spec, "deleted") if not _is_boolean(spec, "deleted") else bool(spec.boolean("deleted"))
    nodes = list(_holders(spec))
    indexes = [*_indexes(spec, len(nodes))]
    what_for = "only who has an address matters"
    spec.no_effect(what_for, "unallocated", "strictAffinity")
    spec.no_effect("of the attributes of an address, the node matters", "attributes")
    spec.bookkeeping("affinityClaimTime", "sequenceNumber", "sequenceNumberForAllocation")
    spec.finish()
    if cidr is None or deleted:
        return
    if owner:
        take_block(draft, BlockDraft(owner, cidr, "block"), located(spec, "cidr"), located(spec, "affinity"))
    for at, index, number in indexes:
        node = nodes[number]
        if index >= cidr.size:
            draft.wrong(at, f"{cidr} has no address number {index}", "allocation")
        elif node and node != owner:
            take_borrowed(draft, BlockDraft(node, cidr.nth(index).host_prefix), at)


def _is_boolean(spec: Fields, key: str) -> bool:
    tree = spec.tree(key)
    return isinstance(tree, Scalar) and isinstance(tree.value, bool)


def _owner(spec: Fields) -> str | None:
    text = spec.text("affinity")
    if text is None:
        return None
    kind, _, name = text.partition(":")
    if kind == "virtual" and name:
        spec.wrong("affinity", f"no effect here: {_VIRTUAL}", "no-effect", Severity.INFO)
        return None
    if kind != "host" or not is_name(name):
        spec.wrong("affinity", f"{shown(text)} is neither host:NODE nor virtual:NAME", "affinity")
        return None
    return name


def _indexes(spec: Fields, attributes: int) -> Iterator[tuple[Located, int, int]]:
    """(place, number of the address in the block, number of its attributes) of what is allocated."""
    for index, (path, item) in enumerate(spec.items("allocations")):
        if isinstance(item, Scalar) and item.value is None:
            continue
        number = scalar(item, path, spec.problems, _count, "type")
        if number is not None and number >= attributes:
            spec.problems.add(item.place, path, f"there are no attributes number {number}", "allocation")
        elif number is not None:
            yield Located(item.place, path), index, number


def _count(leaf: Scalar) -> int:
    if not isinstance(leaf.value, int) or isinstance(leaf.value, bool) or leaf.value < 0:
        raise ValueError(f"{shown(leaf.text)} is not a number of attributes")
    return leaf.value


def _holders(spec: Fields) -> Iterator[str | None]:
    """The node that has what carries the attributes; None where they do not say it."""
    for item in spec.each("attributes"):
        item.ignore("handle_id", "releasedAt", "alternateOwnerAttrs")
        secondary = item.fields("secondary")
        node = secondary.value("node", dns_name, "name") if secondary else None
        if secondary:
            secondary.ignore(*secondary.names())
        item.finish()
        yield node


def read_config(draft: Draft, fields: Fields, _: str) -> None:
    """The limits of address management; what it did is checked against it."""
    spec = spec_of(fields)
    strict, most = spec.boolean("strictAffinity"), spec.integer("maxBlocksPerHost", 0, 1 << 31)
    draft.limits = replace(
        draft.limits,
        strict_at=located(spec, "strictAffinity") if strict else draft.limits.strict_at,
        most_blocks=most or draft.limits.most_blocks,
        most_blocks_at=located(spec, "maxBlocksPerHost") if most else draft.limits.most_blocks_at,
    )
    spec.integer("ipCooldownSeconds", 0, 1200)
    spec.boolean("autoAllocateBlocks")
    given = "blocks are given by the cluster file"
    spec.no_effect(given, "autoAllocateBlocks", "autoAllocateBlocksForVMs", "kubeVirtVMAddressPersistence")
    spec.no_effect("addresses are not handed out from here", "ipCooldownSeconds")
    spec.finish()


def read_reservation(draft: Draft, fields: Fields, _: str) -> None:
    """Addresses that nobody may be given automatically."""
    spec = spec_of(fields)
    for path, item in spec.items("reservedCIDRs"):
        prefix = scalar(item, path, spec.problems, _reserved, "cidr")
        if prefix:
            draft.reserved.append((prefix, Located(item.place, path)))
    spec.finish()


def _reserved(leaf: Scalar) -> Prefix:
    """A network, or one address."""
    return parse_prefix(leaf.text if "/" in leaf.text else str(parse_address(leaf.text).host_prefix))
