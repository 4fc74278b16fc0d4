"""
Nodes: the part that both forms share.

Refuses to know: the keys of each form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bgpctl.core.cluster.allocations import NodeAllocations, TunnelAddress, VtepMac
from bgpctl.core.cluster.configuration import Node, TtlSecurity
from bgpctl.core.cluster.encapsulation import Encapsulation, tunnels
from bgpctl.core.cluster.tunnel_addresses import every_tunnel
from bgpctl.core.intent.draft import BlockDraft, Draft, Located, Stated, located
from bgpctl.core.intent.field_kinds import (
    ASN,
    INTERFACE,
    LABELS,
    MAC,
    FieldKind,
    address_of,
    enumeration,
    interface_of,
    placed,
)
from bgpctl.core.intent.fields import Fields, parse_prefix
from bgpctl.core.intent.shapes import many, ref
from bgpctl.core.intent.tables import Row, Table, Values, Written
from bgpctl.core.intent.tree import Scalar
from bgpctl.core.intent.tunnel_keys import EndKeys, per_encapsulations, short_end_keys
from bgpctl.core.intent.values import host
from bgpctl.core.net.addresses import InterfaceAddress


@dataclass(frozen=True, slots=True)
class Tunnels:
    """The tunnel ends that were given to a node, and where each of them stands."""

    given: NodeAllocations
    parts: Mapping[str, Located]


def tunnel_part(encapsulation: Encapsulation, version: int) -> str:
    """The name of the part with the address of a tunnel end."""
    return f"{encapsulation.label(version)} address"


def mac_part(version: int) -> str:
    """The name of the part with the MAC of tunnel ends."""
    return f"MAC over IPv{version}"


def tunnel_rows(ends: Iterable[EndKeys]) -> tuple[Row, ...]:
    """The rows of tunnel ends that stand in one mapping of a form."""
    return tuple(row for keys in ends for row in _end_rows(keys))


def _end_rows(keys: EndKeys) -> Iterator[Row]:
    block = "block" if keys.version == 4 else f"IPv{keys.version} block"
    about = f"Instead of the one derived from its first {block}."
    yield Row(keys.address, address_of(keys.version), tunnel_part(keys.encapsulation, keys.version), about)
    if keys.mac:
        yield Row(keys.mac, MAC, mac_part(keys.version), "Instead of the one derived from its name.")


def tunnels_of(*read: tuple[Fields, Iterable[EndKeys], Values]) -> Tunnels:
    """The tunnel ends among the values of one or two mappings: Calico has the IPIP one in another than the rest."""
    addresses, macs, parts = set[TunnelAddress](), set[VtepMac](), dict[str, Located]()
    for fields, ends, found in read:
        for encapsulation, version, address_key, mac_key in ends:
            address, mac = tunnel_part(encapsulation, version), mac_part(version)
            parts[address] = located(fields, address_key)
            addresses |= {TunnelAddress(encapsulation, found[address])} if address in found else set()
            if mac_key:
                parts[mac] = located(fields, mac_key)
                macs |= {VtepMac(version, found[mac])} if mac in found else set()
    return Tunnels(NodeAllocations(tunnel_addresses=frozenset(addresses), vtep_macs=frozenset(macs)), parts)


def written_ends(allocated: NodeAllocations) -> Values:
    """The tunnel ends by the attributes of their rows."""
    addresses = {tunnel_part(*tunnel): allocated.tunnel_address(*tunnel) for tunnel in every_tunnel()}
    return {**addresses, **{mac_part(version): allocated.vtep_mac(version) for version in (4, 6)}}


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


ACCEPTS: Final = "bgpctl/accepts"
"""The annotation of a Node that stands in Calico's form for the key `accepts` of the short one."""


def _accepted(leaf: Scalar) -> frozenset[Encapsulation]:
    """Words with commas between them; an empty text: the node accepts no tunnel."""
    known = tunnels()
    words = [word.strip() for word in leaf.text.split(",") if word.strip()]
    unknown = next((word for word in words if word not in known), None)
    if unknown is not None:
        raise ValueError(f"{unknown!r} is none of {', '.join(known)}")
    return frozenset(known[word] for word in words)


def _names(accepted: Iterable[Encapsulation]) -> list[str]:
    return sorted(item.name for item in accepted)


TTL_SECURITY: Final = "bgpctl/ttl-security"
"""The annotation for `ttlSecurity`."""

ANNOTATIONS: Final = Table(
    (
        Row(
            ACCEPTS,
            FieldKind(
                lambda fields, key: fields.value(key, _accepted, "choice"),
                {},
                lambda accepted: ", ".join(_names(accepted)),
            ),
            "accepts",
        ),
        Row(TTL_SECURITY, enumeration(TtlSecurity), "ttl_security"),
    )
)
"""Ours on a Node in Calico's form."""


def _read_accepts(fields: Fields, key: str) -> frozenset[Encapsulation] | None:
    """A list of tunnels; an empty one: it accepts none."""
    known = tunnels()
    words = fields.words(key, known)
    return frozenset(known[word] for word in words) if fields.has(key) else None


@per_encapsulations
def short_node() -> Table:
    """A node of the short form."""
    return Table(
        (
            Row(
                "address",
                INTERFACE,
                "address",
                "On the underlay, with its mask; IPv4 if the node has both.",
                needed=True,
            ),
            Row("address6", interface_of(6), "address6", "The IPv6 address of a node that has both."),
            Row("asNumber", ASN, "asn", "Its AS, if not that of the cluster."),
            Row(
                "clusterID",
                address_of(4),
                "cluster_id",
                "Makes it a route reflector (RFC 4456); in the form of an IPv4 address.",
            ),
            Row(
                "accepts",
                FieldKind(_read_accepts, many({"enum": list(tunnels())}), _names),
                "accepts",
                "The tunnels that it accepts packets from; other nodes migrate to no other tunnel.",
            ),
            Row(
                "ttlSecurity",
                enumeration(TtlSecurity),
                "ttl_security",
                "BGP with members of its network (RFC 5082): sends TTL 255, or requires it too, of those that send it.",
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
            *tunnel_rows(short_end_keys()),
        ),
        Node,
        "a node",
        "A member of the cluster.",
    )


def written_short_node(node: Node, allocated: NodeAllocations) -> Written:
    """The node in the short form, with its allocations."""
    owned = {"blocks": allocated.blocks or None, "borrowed": allocated.borrowed or None}
    return short_node().write(node, **owned, **written_ends(allocated))


_REST: Final = ("asn", "labels", "cluster_id", "accepts", "ttl_security")


def take_recorded_node(
    draft: Draft, name: str, at: Located, underlay: Underlay | None, tunnels: Tunnels, found: Values
) -> None:
    """Take a node in as a datastore has it, which may have leftovers (leftovers.py)."""
    draft.recorded.add(name)
    take_node(draft, name, at, underlay, tunnels, found)


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
