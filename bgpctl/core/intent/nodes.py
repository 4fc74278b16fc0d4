"""
Nodes: what both forms say alike.

Refuses to know: which keys a form says it by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from bgpctl.core.cluster.allocations import NodeAllocations, TunnelAddress, VtepMac
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.intent.draft import BlockDraft, Draft, Located, Stated
from bgpctl.core.intent.field_kinds import ASN, INTERFACE, LABELS, MAC, FieldKind, address_of, interface_of, placed
from bgpctl.core.intent.fields import Fields, parse_prefix
from bgpctl.core.intent.shapes import many, ref
from bgpctl.core.intent.tables import Row, Table, Values, Written
from bgpctl.core.intent.tree import Scalar
from bgpctl.core.intent.values import host
from bgpctl.core.net.addresses import InterfaceAddress


@dataclass(frozen=True, slots=True)
class Tunnels:
    """The tunnel ends that were given to a node, and where each of them stands."""

    given: NodeAllocations
    parts: Mapping[str, Located]


_ADDRESSES: Final = (
    ("ipip", Encapsulation.IPIP, 4, "Instead of the one derived from its first block."),
    ("vxlan", Encapsulation.VXLAN, 4, "Instead of the one derived from its first block."),
    ("vxlan6", Encapsulation.VXLAN, 6, "Instead of the one derived from its first IPv6 block."),
)
_MACS: Final = (("mac", 4), ("mac6", 6))
_ENDS: Final = frozenset(part for part, *_ in (*_ADDRESSES, *_MACS))


def tunnel_rows(**keys: str) -> tuple[Row, ...]:
    """The ends of tunnels that a form says in one mapping, by their keys there."""
    addresses = {
        part: Row(keys[part], address_of(version), part, about)
        for part, _, version, about in _ADDRESSES
        if part in keys
    }
    mac = "Instead of the one derived from its name."
    macs = {part: Row(keys[part], MAC, part, mac) for part, _ in _MACS if part in keys}
    rows = {**addresses, **macs}
    return tuple(rows[part] for part in keys)


def tunnels_of(*read: tuple[Fields, Table, Values]) -> Tunnels:
    """The tunnel ends among the values of one or two mappings: Calico has the IPIP one in another than the rest."""
    found: Values = {part: value for _, _, values in read for part, value in values.items()}
    ends = frozenset(TunnelAddress(kind, found[part]) for part, kind, _, _ in _ADDRESSES if part in found)
    macs = frozenset(VtepMac(version, found[part]) for part, version in _MACS if part in found)
    parts = {part: at for fields, table, _ in read for part, at in table.parts(fields, _ENDS).items()}
    return Tunnels(NodeAllocations(tunnel_addresses=ends, vtep_macs=macs), parts)


def written_ends(allocated: NodeAllocations) -> Values:
    """The tunnel ends by the attributes of their rows."""
    addresses = {part: allocated.tunnel_address(kind, version) for part, kind, version, _ in _ADDRESSES}
    return {**addresses, **{part: allocated.vtep_mac(version) for part, version in _MACS}}


def tunnel_part(encapsulation: Encapsulation, version: int) -> str:
    """The name of the part that says the address of a tunnel end."""
    return encapsulation.value if version == 4 else f"{encapsulation.value}{version}"


@dataclass(frozen=True, slots=True)
class Underlay:
    """A node's addresses with their places; `main` is the IPv4 one if there is one."""

    main: InterfaceAddress
    main_at: Located
    other: InterfaceAddress | None = None
    other_at: Located | None = None


def underlay_of(fields: Fields, table: Table, found: Values) -> Underlay | None:
    """The addresses of a form that has a key per IP version; None if neither can be read."""
    at = table.parts(fields, ("ipv4", "ipv6"))
    v4, v6 = found.get("ipv4"), found.get("ipv6")
    if v4:
        return Underlay(v4, at["ipv4"], v6, at["ipv6"])
    return Underlay(v6, at["ipv6"]) if v6 else None


TUNNELS: Final = {item.value: item for item in Encapsulation if item is not Encapsulation.DIRECT}
ACCEPTS: Final = "bgpctl/accepts"
"""The annotation of a Node by which Calico's form says what the short one says by `accepts`."""


def _tunnels(leaf: Scalar) -> frozenset[Encapsulation]:
    """Words with commas between them; an empty text says that the node accepts no tunnel."""
    words = [word.strip() for word in leaf.text.split(",") if word.strip()]
    unknown = next((word for word in words if word not in TUNNELS), None)
    if unknown is not None:
        raise ValueError(f"{unknown!r} is none of {', '.join(TUNNELS)}")
    return frozenset(TUNNELS[word] for word in words)


def _words(tunnels: Iterable[Encapsulation]) -> list[str]:
    return sorted(item.value for item in tunnels)


ACCEPTS_ROW: Final = Row(
    ACCEPTS,
    FieldKind(
        lambda fields, key: fields.value(key, _tunnels, "choice"),
        {},
        lambda tunnels: ", ".join(_words(tunnels)),
    ),
    "accepts",
)


def _read_accepts(fields: Fields, key: str) -> frozenset[Encapsulation] | None:
    """A list of tunnels; an empty one says that it accepts none."""
    words = fields.words(key, TUNNELS)
    return frozenset(TUNNELS[word] for word in words) if fields.has(key) else None


_ACCEPTED: Final = FieldKind(_read_accepts, many({"enum": list(TUNNELS)}), _words)

SHORT_NODE: Final = Table(
    (
        Row("address", INTERFACE, "address", "On the underlay, with its mask; IPv4 if the node has both.", needed=True),
        Row("address6", interface_of(6), "address6", "The IPv6 address of a node that has both."),
        Row("asNumber", ASN, "asn", "Its AS, if not that of the cluster."),
        Row(
            "clusterID",
            address_of(4),
            "cluster_id",
            "Makes it a route reflector (RFC 4456); looks like an IPv4 address.",
        ),
        Row(
            "accepts",
            _ACCEPTED,
            "accepts",
            "The tunnels it takes packets from, where others have to be told: nobody changes over to another.",
        ),
        Row("labels", LABELS, "labels"),
        Row(
            "blocks",
            placed(lambda leaf: parse_prefix(leaf.text), "cidr", ref("prefix")),
            "blocks",
            "Blocks of pools that are this node's.",
        ),
        Row(
            "borrowed",
            placed(host, "address", ref("interface")),
            "borrowed",
            "Addresses of this node's workloads in blocks of other nodes.",
        ),
        *tunnel_rows(
            ipip="ipipTunnelAddress",
            vxlan="vxlanTunnelAddress",
            mac="vxlanTunnelMACAddress",
            vxlan6="vxlanTunnelAddressV6",
            mac6="vxlanTunnelMACAddressV6",
        ),
    ),
    Node,
    "a node",
    "A member of the cluster.",
)


def written_short_node(node: Node, allocated: NodeAllocations) -> Written:
    """The node in the short form, with what it was allocated."""
    owned = {"blocks": allocated.blocks or None, "borrowed": allocated.borrowed or None}
    return SHORT_NODE.write(node, **owned, **written_ends(allocated))


_REST: Final = ("asn", "labels", "cluster_id", "accepts")


def take_node(draft: Draft, name: str, at: Located, underlay: Underlay | None, tunnels: Tunnels, found: Values) -> None:
    """Take a node in, the rest of which is among the values; without an underlay it could not be read."""
    is_new = draft.declare("node", name, at)
    if underlay is None:
        draft.miss("node")
        return
    rest = {key: found[key] for key in _REST if key in found}
    node = Node(name, underlay.main, underlay.other, **rest, place=at.place)
    if is_new:
        draft.nodes[name] = Stated(node, at, {"address": underlay.main_at, "address6": underlay.other_at or at})
        draft.tunnel_ends[name] = Stated(tunnels.given, at, tunnels.parts)


def take_block(draft: Draft, block: BlockDraft, at: Located, node_at: Located | None = None) -> None:
    """Take in that a block is a node's; `node_at` is where the node is named."""
    draft.blocks.append(Stated(block, at, {"node": node_at} if node_at else {}))


def take_borrowed(draft: Draft, block: BlockDraft, at: Located, node_at: Located | None = None) -> None:
    """Take in that a node uses an address of another one's block."""
    draft.borrowed.append(Stated(block, at, {"node": node_at} if node_at else {}))
