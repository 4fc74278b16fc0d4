"""
Rules of nodes: their addresses on the underlay and on the tunnels, and that no other node has them.

Refuses to know: the state of any host.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from bgpctl.core.cluster import tunnel_addresses
from bgpctl.core.cluster.allocations import TunnelAddress
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.encapsulation import DIRECT, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Severity
from bgpctl.core.intent.breach import Breach, note, some
from bgpctl.core.intent.draft import Draft, Located
from bgpctl.core.intent.nodes import mac_part, tunnel_part
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix

_HOST_LENGTH: Final = {4: 32, 6: 128}
_LINK_LOCAL6: Final = Prefix.parse("fe80::/10")
_MULTICAST: Final = (Prefix.parse("224.0.0.0/3"), Prefix.parse("ff00::/8"))
ADDRESS: Final = "address"
"""The kind of everything that is an address, on the underlay or on a tunnel, or borrowed."""
_LOOPBACK: Final = (Prefix.parse("127.0.0.0/8"), Prefix.parse("::1/128"))


def check_node_records(intent: Intent, draft: Draft) -> None:
    """Note every rule that a node of `draft` breaks by itself."""
    for node in draft.nodes.values():
        note(draft, node, _node_rules(intent, node.value))
    for name, ends in draft.tunnel_ends.items():
        note(draft, ends, _tunnel_rules(intent, draft, draft.nodes[name].value))
    _reserved(intent, draft)


def check_node_owners(intent: Intent, draft: Draft) -> None:
    """Note every rule that a node breaks together with another one."""
    _same_addresses(intent, draft)
    for version in (4, 6):
        _asymmetric_masks(intent, draft, version)


def _node_rules(intent: Intent, node: Node) -> Iterator[Breach]:
    for part, own in (("address", node.address), ("address6", node.address6)):
        if own:
            yield from _underlay_rules(intent, part, own)
    yield from _accepts_rules(intent, node)


def _accepts_rules(intent: Intent, node: Node) -> Iterator[Breach]:
    if node.accepts is None:
        return
    for pool in intent.pools:
        tunnel, has_block = pool.encapsulation, any(pool.cidr.covers(block) for block in intent.blocks_of(node))
        if has_block and tunnel != DIRECT and tunnel not in node.accepts:
            message = f"accepts has no {tunnel.name}, which pool {pool.name} wants: no member will change over to it"
            yield Breach("accepts", message, "not-accepted", Severity.WARNING)


def _underlay_rules(intent: Intent, part: str, own: InterfaceAddress) -> Iterator[Breach]:
    version = own.address.version
    if _is_unusable(own):
        yield Breach(part, f"{own} is not an address that a node can have in {own.network}", "unusable-address")
    crossing = [pool.name for pool in intent.pools if pool.mode is Mode.CROSS_SUBNET and pool.cidr.version == version]
    if own.length == _HOST_LENGTH[version] and crossing:
        example = f"{own.address}/{24 if version == 4 else 64}"
        message = (
            f"{own.address} has no mask, so no node is in its subnet, and CrossSubnet (pool {some(crossing)}) "
            f"encapsulates to all; where nodes share a subnet, write its mask, as in {example}"
        )
        yield Breach(part, message, "no-mask", Severity.WARNING)


def _is_unusable(own: InterfaceAddress) -> bool:
    """
    True if it is the first or the last of its network, unspecified, loopback, multicast and above, or link-local.

    RFC 1122, 3.2.1.3, for IPv4; RFC 4291, 2.6.1: the first IPv6 address is that of all routers.
    """
    network, address = own.network, own.address
    ends = {network.network, network.network + network.size - 1} if address.version == 4 else {network.network}
    is_edge = own.length < _HOST_LENGTH[address.version] - 1 and address.value in ends
    special = (*_MULTICAST, *_LOOPBACK, _LINK_LOCAL6)
    return is_edge or address.value == 0 or any(prefix.holds(address) for prefix in special)


def _tunnel_rules(intent: Intent, draft: Draft, node: Node) -> Iterator[Breach]:
    """A given tunnel address comes from a pool that could have given it."""
    given = intent.allocations.of(node.name)
    for encapsulation, version in tunnel_addresses.every_tunnel() if draft.knows_all("pool") else ():
        address = given.tunnel_address(encapsulation, version)
        if address:
            yield from _origin_rules(intent, node, TunnelAddress(encapsulation, address))


def _origin_rules(intent: Intent, node: Node, given: TunnelAddress) -> Iterator[Breach]:
    encapsulation, address = given
    part = tunnel_part(encapsulation, address.version)
    pool = intent.pool_of(address.host_prefix)
    if pool and tunnel_addresses.is_eligible(pool, node, encapsulation, address.version):
        return
    word = encapsulation.title
    eligible = [p for p in intent.pools if tunnel_addresses.is_eligible(p, node, encapsulation, address.version)]
    known = some([f"{p.name} {p.cidr}" for p in eligible])
    if pool and pool.encapsulation == encapsulation:
        message = f"tunnel address {address} is in pool {pool.name}, which gives node {node.name} none (its allowedUses"
        yield Breach(part, f"{message} and nodeSelector); eligible: {known}", "tunnel-outside")
    else:
        yield Breach(part, f"tunnel address {address} is in no {word} pool ({known})", "tunnel-outside")


# One node against the others -----------------------------------------------------------------------------------


class _Holding(NamedTuple):
    """Something that only one node can have. `derived` ones are sorted last: the one that was given is to be blamed."""

    given: bool
    kind: str
    value: object
    what: str
    node: str
    at: Located


def _same_addresses(intent: Intent, draft: Draft) -> None:
    owners: dict[tuple[str, object], _Holding] = {}
    holdings = [held for node in intent.nodes for held in _holdings(intent, draft, node)]
    for borrowed in draft.borrowed:
        address, node = borrowed.value.prefix.first, borrowed.value.node
        holdings.append(_Holding(True, ADDRESS, address, "a borrowed address", node, borrowed.at))
    for held in sorted(holdings, key=lambda held: (held.given, held.at.place)):
        owner = owners.setdefault((held.kind, held.value), held)
        if owner.node != held.node:
            message = f"{held.value} is also {owner.what} of node {owner.node} at {owner.at.place}"
            draft.wrong(held.at, message, "duplicate-address")


def _holdings(intent: Intent, draft: Draft, node: Node) -> Iterator[_Holding]:
    stated, ends = draft.nodes[node.name], draft.tunnel_ends[node.name]
    given = intent.allocations.of(node.name)
    for part, own in (("address", node.address), ("address6", node.address6)):
        if own:
            yield _Holding(True, ADDRESS, own.address, "the address", node.name, stated.part(part))
    for encapsulation, version in tunnel_addresses.every_tunnel():
        address = intent.tunnel_address(node, encapsulation, version)
        is_given = given.tunnel_address(encapsulation, version) is not None
        if address:
            what = f"the {encapsulation.title} tunnel address"
            yield _Holding(is_given, ADDRESS, address, what, node.name, ends.part(tunnel_part(encapsulation, version)))
    for version, what in ((4, "the VTEP MAC"), (6, "the IPv6 VTEP MAC")):
        mac, is_given, part = intent.vtep_mac(node, version), given.vtep_mac(version) is not None, mac_part(version)
        yield _Holding(is_given, part, mac, what, node.name, ends.part(part))


def _reserved(intent: Intent, draft: Draft) -> None:
    """Calico would never have handed out such an address; one that we derive can be given instead."""
    for prefix, at in draft.reserved:
        for name, stated in draft.nodes.items():
            derived = _derived_addresses(intent, stated.value)
            taken = next((address for address in derived if prefix.holds(address)), None)
            if taken:
                message = f"{taken}, the tunnel address derived for node {name}, is reserved; give it another one"
                draft.wrong(at, message, "reserved", Severity.WARNING)


def _derived_addresses(intent: Intent, node: Node) -> Iterator[Address]:
    given = intent.allocations.of(node.name)
    for tunnel in tunnel_addresses.every_tunnel():
        address = intent.tunnel_address(node, *tunnel)
        if address and given.tunnel_address(*tunnel) is None:
            yield address


def _asymmetric_masks(intent: Intent, draft: Draft, version: int) -> None:
    """
    Same-subnet is asked of the local mask, so two nodes can disagree, and then encapsulate in one direction only.

    If so, the network of one lies inside that of the other; a node is compared with the networks around its own.
    """
    own = {name: stated.value.underlay(version) for name, stated in draft.nodes.items()}
    nodes = {name: here for name, here in own.items() if here and here.length < _HOST_LENGTH[version]}
    members: dict[Prefix, list[str]] = {}
    for name, here in nodes.items():
        members.setdefault(here.network, []).append(name)
    lengths = sorted({network.length for network in members})
    crossing = any(pool.mode is Mode.CROSS_SUBNET and pool.cidr.version == version for pool in intent.pools)
    for name, here in nodes.items():
        wider = [InterfaceAddress(here.address, length).network for length in lengths if length < here.length]
        around = (other for network in wider for other in members.get(network, ()))
        other = next((other for other in around if not here.network.holds(nodes[other].address)), None)
        if other:
            message = f"node {other} ({nodes[other]}) has this node in its subnet, but {here} leaves it outside"
            stated = draft.nodes[name]
            at = stated.part("address" if here is stated.value.address else "address6")
            draft.wrong(at, message, "asymmetric-masks", Severity.ERROR if crossing else Severity.WARNING)
