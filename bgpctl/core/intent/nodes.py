"""
Nodes: what both forms say alike.

Refuses to know: which keys a form says it by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bgpctl.core.cluster.allocations import NodeAllocations, TunnelAddress, VtepMac
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.intent.draft import BlockDraft, Draft, Located, Stated, located
from bgpctl.core.intent.fields import Fields
from bgpctl.core.intent.values import interface_of_version, of_version
from bgpctl.core.net.addresses import Address, Asn, InterfaceAddress


@dataclass(frozen=True, slots=True)
class Keys:
    """By which keys a form says the parts of a node's tunnels."""

    ipip: str
    vxlan: str
    mac: str
    vxlan6: str
    mac6: str


@dataclass(frozen=True, slots=True)
class Tunnels:
    """The tunnel ends that were given to a node, and where each of them stands."""

    given: NodeAllocations
    parts: Mapping[str, Located]


def read_tunnels(ipip: Fields, rest: Fields, keys: Keys) -> Tunnels:
    """The tunnel ends; Calico has the IPIP one in another mapping than the rest."""
    addresses = (
        (Encapsulation.IPIP, ipip.value(keys.ipip, of_version(4), "address")),
        (Encapsulation.VXLAN, rest.value(keys.vxlan, of_version(4), "address")),
        (Encapsulation.VXLAN, rest.value(keys.vxlan6, of_version(6), "address")),
    )
    macs = ((4, rest.mac(keys.mac)), (6, rest.mac(keys.mac6)))
    return Tunnels(
        NodeAllocations(
            tunnel_addresses=frozenset(TunnelAddress(tunnel, address) for tunnel, address in addresses if address),
            vtep_macs=frozenset(VtepMac(version, mac) for version, mac in macs if mac),
        ),
        parts={
            "ipip": located(ipip, keys.ipip),
            "vxlan": located(rest, keys.vxlan),
            "mac": located(rest, keys.mac),
            "vxlan6": located(rest, keys.vxlan6),
            "mac6": located(rest, keys.mac6),
        },
    )


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


def read_underlay(fields: Fields, key4: str, key6: str) -> Underlay | None:
    """The two keys of a form; None if neither can be read."""
    v4 = fields.value(key4, interface_of_version(4), "address")
    v6 = fields.value(key6, interface_of_version(6), "address")
    if v4:
        return Underlay(v4, located(fields, key4), v6, located(fields, key6))
    return Underlay(v6, located(fields, key6)) if v6 else None


TUNNELS: Final = {item.value: item for item in Encapsulation if item is not Encapsulation.DIRECT}
ACCEPTS: Final = "bgpctl/accepts"
"""The annotation of a Node by which Calico's form says what the short one says by `accepts`."""


def read_accepts(annotations: Fields | None) -> frozenset[Encapsulation] | None:
    """Words with commas between them; an empty text says that the node accepts no tunnel."""
    return annotations.value(ACCEPTS, lambda leaf: _tunnels(leaf.text), "choice") if annotations else None


def _tunnels(text: str) -> frozenset[Encapsulation]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = next((word for word in words if word not in TUNNELS), None)
    if unknown is not None:
        raise ValueError(f"{unknown!r} is none of {', '.join(TUNNELS)}")
    return frozenset(TUNNELS[word] for word in words)


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
