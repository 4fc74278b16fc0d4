"""
Calico's address management: BlockAffinity, IPAMBlock, IPAMConfig, IPReservation.

Refuses to know: how addresses are allocated; the allocations are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from bgpctl.core.cluster.problems import Severity
from bgpctl.core.intent.draft import BlockDraft, Draft, Located, located, spec_of
from bgpctl.core.intent.field_kinds import (
    ANYTHING,
    BOOLEAN,
    NAME,
    PREFIX,
    UNREAD,
    FieldKind,
    bookkeeping,
    coded,
    integer,
    no_effect,
    placed,
    word,
)
from bgpctl.core.intent.fields import Fields, dns_name, is_name, parse_address, parse_prefix, scalar
from bgpctl.core.intent.nodes import take_block, take_borrowed
from bgpctl.core.intent.shapes import Shape, many, ref
from bgpctl.core.intent.tables import Row, Table, rows_for
from bgpctl.core.intent.tree import Scalar, shown
from bgpctl.core.net.addresses import Prefix

_VIRTUAL: Final = "a virtual affinity belongs to no node"


_FLAG: Final = replace(coded({"false": False, "true": True}), shape={"enum": ["true", "false", True, False, None]})
"""Calico writes a BlockAffinity's as a text."""


def _read_flag(fields: Fields, key: str) -> bool | None:
    """A boolean, or the text of one."""
    tree = fields.tree(key)
    is_boolean = isinstance(tree, Scalar) and isinstance(tree.value, bool)
    return fields.boolean(key) if is_boolean else _FLAG.read(fields, key)


# BlockAffinity -------------------------------------------------------------------------------------------------

AFFINITY: Final = Table(
    (
        Row("node", NAME, "node", needed=True),
        Row("cidr", PREFIX, "cidr", needed=True),
        Row("type", word("host", "virtual"), "type"),
        Row("state", word("confirmed", "pending", "pendingDeletion"), "state"),
        Row("deleted", _FLAG, "deleted"),
    ),
    what="a block affinity",
)


def read_affinity(draft: Draft, fields: Fields, _: str) -> None:
    """A node's claim to a block."""
    spec = spec_of(fields)
    found = AFFINITY.read(spec)
    node, cidr, kind, state, deleted = map(found.get, ("node", "cidr", "type", "state", "deleted"))
    if kind == "virtual":
        spec.no_effect(_VIRTUAL, "node", "type")
    spec.finish()
    # Calico routes to a block once the claim is confirmed; before and after that it is no node's.
    if state in ("pending", "pendingDeletion"):
        spec.wrong("state", f"no effect here: a claim that is {state} is not routed", "no-effect", Severity.INFO)
    elif node and cidr and not deleted and kind != "virtual":
        take_block(draft, BlockDraft(node, cidr, "affinity"), located(spec, "cidr"), located(spec, "node"))


# IPAMBlock -----------------------------------------------------------------------------------------------------

_WHO: Final = "only the node that has an address matters"
_WRITTEN_BY_IPAM: Final = ("affinityClaimTime", "sequenceNumber", "sequenceNumberForAllocation")


def _read_owner(fields: Fields, key: str) -> str | None:
    text = fields.text(key)
    if text is None:
        return None
    kind, _, name = text.partition(":")
    if kind == "virtual" and name:
        fields.wrong(key, f"no effect here: {_VIRTUAL}", "no-effect", Severity.INFO)
        return None
    if kind != "host" or not is_name(name):
        fields.wrong(key, f"{shown(text)} is neither host:NODE nor virtual:NAME", "affinity")
        return None
    return name


def _read_node(fields: Fields, key: str) -> str | None:
    """The node in the attributes of an address; None where they name none."""
    secondary = fields.fields(key)
    node = secondary.value("node", dns_name, "name") if secondary else None
    if secondary:
        secondary.ignore(*secondary.names())
    return node


def _read_holders(fields: Fields, key: str) -> list[str | None]:
    found: list[str | None] = []
    for item in fields.each(key):
        found.append(_HOLDER.read(item).get("node"))
        item.finish()
    return found


_SECONDARY: Final[Shape] = {"type": ["object", "null"], "properties": {"node": ref("name")}}
_HOLDER: Final = Table(
    (
        *rows_for(dict.fromkeys(("handle_id", "releasedAt", "alternateOwnerAttrs"), UNREAD)),
        Row("secondary", FieldKind(_read_node, _SECONDARY), "node"),
    )
)
_HOLDERS: Final = FieldKind(_read_holders, many(_HOLDER.shape(nullable=True)))
_NUMBERS: Final = FieldKind(ANYTHING.read, many({"type": ["integer", "null"], "minimum": 0}), None)
BLOCK: Final = Table(
    (
        Row("cidr", PREFIX, "cidr", needed=True),
        Row(
            "affinity",
            FieldKind(_read_owner, {"type": ["string", "null"], "pattern": "^(host|virtual):."}),
            "owner",
            "The owner: host:NODE or virtual:NAME.",
        ),
        Row("allocations", _NUMBERS, about="Per address, the number of its attributes."),
        Row("attributes", no_effect("of the attributes of an address, the node matters", _HOLDERS), "holders"),
        Row("deleted", replace(_FLAG, read=_read_flag), "deleted"),
        *rows_for(dict.fromkeys(("unallocated", "strictAffinity"), no_effect(_WHO))),
        *rows_for(dict.fromkeys(_WRITTEN_BY_IPAM, bookkeeping(*_WRITTEN_BY_IPAM))),
    ),
    what="an IPAM block",
)


def read_block(draft: Draft, fields: Fields, _: str) -> None:
    """A block, its owner, and those of its addresses that other nodes have."""
    spec = spec_of(fields)
    found = BLOCK.read(spec)
    cidr, owner, deleted, nodes = found.get("cidr"), found.get("owner"), found.get("deleted"), found["holders"]
    indexes = [*_indexes(spec, len(nodes))]
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
            take_borrowed(draft, BlockDraft(node, cidr.nth(index).host_prefix, "block"), at)


def _indexes(spec: Fields, attributes: int) -> Iterator[tuple[Located, int, int]]:
    """(place, number of the address in the block, number of its attributes) of each allocated address."""
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


# IPAMConfig and IPReservation ----------------------------------------------------------------------------------

_GIVEN: Final = "blocks are given by the cluster file"
_RESTS: Final = "an address rests for 60 s before another workload gets it"
CONFIG: Final = Table(
    (
        Row("strictAffinity", BOOLEAN, "strict", "Forbids borrowing."),
        Row("maxBlocksPerHost", integer(0, 1 << 31), "most_blocks"),
        Row("autoAllocateBlocks", no_effect(_GIVEN, BOOLEAN)),
        Row("ipCooldownSeconds", no_effect(_RESTS, integer(0, 1200))),
        Row("autoAllocateBlocksForVMs", no_effect(_GIVEN)),
        Row("kubeVirtVMAddressPersistence", no_effect(_GIVEN)),
    )
)


def read_config(draft: Draft, fields: Fields, _: str) -> None:
    """The limits of address management; its allocations are checked against them."""
    spec = spec_of(fields)
    found = CONFIG.read(spec)
    strict, most = found.get("strict"), found.get("most_blocks")
    draft.limits = replace(
        draft.limits,
        strict_at=located(spec, "strictAffinity") if strict else draft.limits.strict_at,
        most_blocks=most or draft.limits.most_blocks,
        most_blocks_at=located(spec, "maxBlocksPerHost") if most else draft.limits.most_blocks_at,
    )
    spec.finish()


def _reserved(leaf: Scalar) -> Prefix:
    """A network, or one address."""
    return parse_prefix(leaf.text if "/" in leaf.text else str(parse_address(leaf.text).host_prefix))


RESERVATION: Final = Table((Row("reservedCIDRs", placed(_reserved, "cidr", ref("interface")), "reserved"),))


def read_reservation(draft: Draft, fields: Fields, _: str) -> None:
    """Addresses that may not be assigned automatically."""
    spec = spec_of(fields)
    draft.reserved += RESERVATION.read(spec)["reserved"]
    spec.finish()
