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
from bgpctl.core.cluster.encapsulation import Encapsulation, tunnels
from bgpctl.core.intent.draft import BlockDraft, Draft, Located, Stated, located
from bgpctl.core.intent.fields import Fields
from bgpctl.core.intent.tunnel_keys import EndKeys
from bgpctl.core.intent.values import interface_of_version, of_version
from bgpctl.core.net.addresses import Address, Asn, InterfaceAddress


@dataclass(frozen=True, slots=True)
class Tunnels:
    """The tunnel ends that were given to a node, and where each of them stands."""

    given: NodeAllocations
    parts: Mapping[str, Located]


def read_tunnels(*places: tuple[Fields, Iterable[EndKeys]]) -> Tunnels:
    """The tunnel ends, which Calico has in two mappings."""
    addresses, macs, parts = set[TunnelAddress](), set[VtepMac](), dict[str, Located]()
    for fields, keys in places:
        for encapsulation, version, address_key, mac_key in keys:
            address = fields.value(address_key, of_version(version), "address")
            mac = fields.mac(mac_key) if mac_key else None
            parts[tunnel_part(encapsulation, version)] = located(fields, address_key)
            if mac_key:
                parts[mac_part(version)] = located(fields, mac_key)
            addresses |= {TunnelAddress(encapsulation, address)} if address else set()
            macs |= {VtepMac(version, mac)} if mac else set()
    return Tunnels(NodeAllocations(tunnel_addresses=frozenset(addresses), vtep_macs=frozenset(macs)), parts)


def written_ends(allocated: NodeAllocations, keys: Iterable[EndKeys]) -> dict[str, object]:
    """The reverse, of the ends that these keys are for."""
    written: dict[str, object] = {}
    for encapsulation, version, address_key, mac_key in keys:
        address = allocated.tunnel_address(encapsulation, version)
        written[address_key] = None if address is None else str(address)
        if mac_key:
            written[mac_key] = allocated.vtep_mac(version)
    return written


def tunnel_part(encapsulation: Encapsulation, version: int) -> str:
    """The name of the part that says the address of a tunnel end."""
    return f"{encapsulation.label(version)} address"


def mac_part(version: int) -> str:
    """The name of the part that says the MAC of tunnel ends."""
    return f"MAC over IPv{version}"


@dataclass(frozen=True, slots=True)
class Underlay:
    """A node's addresses with their places; `main` is the IPv4 one if there is one."""

    main: InterfaceAddress
    main_at: Located
    other: InterfaceAddress | None = None
    other_at: Located | None = None


def read_underlay(fields: Fields, key4: str, key6: str) -> Underlay | None:
    """The two keys of a form; None if neither can be read."""
    v4 = fields.value(key4, interface_of_version(4), "address")
    v6 = fields.value(key6, interface_of_version(6), "address")
    if v4:
        return Underlay(v4, located(fields, key4), v6, located(fields, key6))
    return Underlay(v6, located(fields, key6)) if v6 else None


ACCEPTS: Final = "bgpctl/accepts"
"""The annotation of a Node by which Calico's form says what the short one says by `accepts`."""


def read_accepts(annotations: Fields | None) -> frozenset[Encapsulation] | None:
    """Words with commas between them; an empty text says that the node accepts no tunnel."""
    return annotations.value(ACCEPTS, lambda leaf: _accepted(leaf.text), "choice") if annotations else None


def _accepted(text: str) -> frozenset[Encapsulation]:
    known = tunnels()
    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = next((word for word in words if word not in known), None)
    if unknown is not None:
        raise ValueError(f"{unknown!r} is none of {', '.join(known)}")
    return frozenset(known[word] for word in words)


@dataclass(frozen=True, slots=True)
class Rest:
    """The other keys of a node."""

    asn: Asn | None = None
    labels: tuple[tuple[str, str], ...] = ()
    cluster_id: Address | None = None
    accepts: frozenset[Encapsulation] | None = None


def take_node(draft: Draft, name: str, at: Located, underlay: Underlay | None, tunnels: Tunnels, rest: Rest) -> None:
    """Take a node in; without an underlay it could not be read."""
    is_new = draft.declare("node", name, at)
    if underlay is None:
        draft.miss("node")
        return
    node = Node(
        name=name,
        address=underlay.main,
        address6=underlay.other,
        asn=rest.asn,
        labels=rest.labels,
        cluster_id=rest.cluster_id,
        accepts=rest.accepts,
        place=at.place,
    )
    if is_new:
        draft.nodes[name] = Stated(node, at, {"address": underlay.main_at, "address6": underlay.other_at or at})
        draft.tunnel_ends[name] = Stated(tunnels.given, at, tunnels.parts)


def take_block(draft: Draft, block: BlockDraft, at: Located, node_at: Located | None = None) -> None:
    """Take in that a block is a node's; `node_at` is where the node is named."""
    draft.blocks.append(Stated(block, at, {"node": node_at} if node_at else {}))


def take_borrowed(draft: Draft, block: BlockDraft, at: Located, node_at: Located | None = None) -> None:
    """Take in that a node uses an address of another one's block."""
    draft.borrowed.append(Stated(block, at, {"node": node_at} if node_at else {}))
