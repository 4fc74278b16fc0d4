"""The words for reasons: the one file where decisions become sentences.

Refuses to know: how a decision was made.
"""

from __future__ import annotations

import errno
from typing import assert_never

from bgpctl.core.cluster import Encapsulation, Node
from bgpctl.core.effects import Failure, Put
from bgpctl.core.model import (
    Decap,
    FdbEntry,
    Link,
    LinkAddress,
    Masquerade,
    Neighbour,
    NextHop,
    NextHopGroup,
    Route,
    RouteType,
    Sysctl,
    Thing,
)
from bgpctl.core.why import Because, Hold, Lack, Missing, Why, Withheld


def why(reason: Why, node: Node) -> str:
    """Why an object is wanted on `node`."""
    match reason.because:
        case Because.OWN_BLOCK:
            return "own block: unassigned addresses stop here"
        case Because.FORWARDING:
            return "workload packets are forwarded"
        case Because.NAT_OUTGOING:
            return "a pool has natOutgoing"
        case Because.NOT_WANTED:
            return "nothing wants it any more"
        case Because.TUNNEL:
            return f"a pool uses {_name(reason.encapsulation)}"
        case Because.BEST_PATH:
            return f"best path, from {reason.source}; {_way(reason, node)}"
        case Because.MEMBER:
            return f"member {reason.source}; {_way(reason, node)}" if reason.pool else f"member {reason.source}"
        case _:
            assert_never(reason.because)


def _way(reason: Why, node: Node) -> str:
    inside = "inside" if reason.same_subnet else "not in"
    way = "direct" if reason.encapsulation is Encapsulation.DIRECT else f"through {_name(reason.encapsulation)}"
    own = node.underlay(reason.remote.version) if reason.remote else None
    return f"pool {reason.pool}: {way}, {reason.remote} is {inside} {own.network if own else 'any subnet of ours'}"


def _name(encapsulation: Encapsulation | None) -> str:
    match encapsulation:
        case Encapsulation.IPIP:
            return "IPIP"
        case Encapsulation.VXLAN:
            return "VXLAN"
        case Encapsulation.DIRECT | None:
            return "no encapsulation"
        case _:
            assert_never(encapsulation)


def missing(item: Missing) -> str:
    """Why something wanted cannot be had, and who can change that."""
    match item.lack:
        case Lack.UNDERLAY_UNKNOWN:
            return f"no link that is up carries this node's address {item.subject}: check `ip address`"
        case Lack.NEXT_HOP_UNRESOLVED:
            return f"no route leads to next hop {item.subject} ({item.detail}): check `ip route get {item.subject}`"
        case Lack.NO_TUNNEL_ADDRESS:
            return (
                f"{item.subject} is unreachable: node {item.detail} has no tunnel address and no block to take it from"
            )
        case Lack.NO_ADDRESS:
            return f"{item.subject} is unreachable: node {item.detail} has no underlay address of its IP version"
        case Lack.KEY_TAKEN:
            where = "see `ip link`, `ip nexthop` and `ip route`"
            return f"{item.subject} is taken by somebody else's object ({item.detail}): {where}"
        case _:
            assert_never(item.lack)


def withheld(item: Withheld) -> str:
    """Why nothing is removed for now."""
    match item.hold:
        case Hold.FACTS_UNKNOWN:
            return f"nothing is removed until a link carries {item.subject}"
        case Hold.SPEAKER_AWAY:
            return f"nothing is removed until {item.subject} answers"
        case Hold.PEER_UNHEARD:
            return f"nothing is removed until {item.subject} has told all its routes"
        case _:
            assert_never(item.hold)


def failure(item: Failure) -> str:
    """What the kernel refused."""
    verb = "put" if isinstance(item.op, Put) else "remove"
    name = errno.errorcode.get(item.errno, str(item.errno))
    said = f" ({item.text})" if item.text else ""
    hint = f": {item.hint}" if item.hint else ""
    return f"cannot {verb} {thing(item.op.thing)}: {name}{said}{hint}"


def thing(item: Thing) -> str:
    """A kernel object as `ip` would name it."""
    match item:
        case Link():
            return f"link {item.name} mtu {item.mtu_bytes}"
        case Sysctl():
            return f"sysctl {item.name}={item.value}"
        case LinkAddress():
            return f"address {item.address} dev {item.link}"
        case Decap():
            return f"decapsulation on {item.underlay} into {item.link} for {len(item.sources)} sources"
        case Masquerade():
            return f"masquerade from {', '.join(map(str, item.sources))}"
        case FdbEntry():
            return f"fdb {item.mac} dst {item.remote} dev {item.link}"
        case Neighbour():
            return f"neighbour {item.address} lladdr {item.mac} dev {item.link}"
        case NextHop():
            return f"nexthop {item.id:#x} via {item.gateway} dev {item.link}"
        case NextHopGroup():
            return f"nexthop {item.id:#x} group {'/'.join(f'{member:#x}' for member in item.members)}"
        case Route():
            kind = "" if item.type is RouteType.UNICAST else f"{item.type.name.lower()} "
            return f"route {kind}{item.prefix}" + (f" nhid {item.next_hop:#x}" if item.next_hop else "")
        case _:
            assert_never(item)
