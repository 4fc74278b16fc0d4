"""
The words for a packet's steps, for what ends it, and the command that mends it or shows more.

Refuses to know: how a packet is followed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from bgpctl.agent import bgp_words, words
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import (
    DEFAULT_TABLE,
    LOCAL_TABLE,
    MAIN_TABLE,
    PROTOCOL,
    Decap,
    InnerFilter,
    Masquerade,
    Route,
    RouteType,
    Rule,
)
from bgpctl.core.trace.announced import Obstacle, ObstacleCode
from bgpctl.core.trace.difference import Difference
from bgpctl.core.trace.journey import Journey
from bgpctl.core.trace.netfilter import Fate
from bgpctl.core.trace.packet import ICMP, ICMPV6, IP_IN_IP, TCP, UDP, Packet
from bgpctl.core.trace.sightings import point_of
from bgpctl.core.trace.steps import Break, Broken, Cause, Delivered, Step, StepCode, Subject, Unknown

_PROTOCOLS: Final = {ICMP: "ICMP", ICMPV6: "ICMPv6", IP_IN_IP: "IP in IP", TCP: "TCP", UDP: "UDP"}
_TABLES: Final = {DEFAULT_TABLE: "default", MAIN_TABLE: "main", LOCAL_TABLE: "local"}
_MAKERS: Final = {2: "kernel", 3: "boot", 4: "static", 9: "ra", 11: "zebra", 12: "bird", 16: "dhcp", 186: "bgp"}
"""Of rt_protos.d, those that are often met."""
_VERBS: Final[Mapping[StepCode, str]] = {
    StepCode.MADE: "made",
    StepCode.ARRIVES: "in",
    StepCode.DECAPSULATED: "decap",
    StepCode.ROUTED: "fib",
    StepCode.TRANSLATED: "nat",
    StepCode.ENCAPSULATED: "encap",
    StepCode.CUT: "cut",
    StepCode.LEAVES: "out",
    StepCode.CROSSES: "wire",
    StepCode.RECEIVED: "here",
}


def journey(found: Journey, intent: Intent | None) -> dict[str, Any]:
    """A journey as JSON: its steps, and how it ends."""
    nodes = {node.name: node for node in intent.nodes} if intent else {}
    steps = [_step(step, nodes.get(step.node), intent) for step in found.steps]
    return {"steps": steps, **_ending(found)}


def _step(step: Step, node: Node | None, intent: Intent | None) -> dict[str, Any]:
    pool = next((pool for pool in intent.pools if step.why and pool.name == step.why.pool), None) if intent else None
    point = point_of(step)
    return {
        "node": step.node,
        "step": _VERBS[step.code],
        "link": point.link if point else None,
        "direction": point.direction.value if point else None,
        "text": _text(step),
        "why": words.reason(step.why, node) if step.why and node else None,
        "place": str(pool.place) if pool and pool.place else None,
        "suspect": cause(step.suspect) if step.suspect else None,
        "next": next_command(step.suspect) if step.suspect else None,
    }


def _ending(found: Journey) -> dict[str, Any]:
    match found.end:
        case Delivered(declared_block=True):
            return _end("delivered", found.node, "its block is here; workloads are not in the files")
        case Delivered(link=""):
            return _end("delivered", found.node, "the kernel of this node takes it")
        case Delivered(link=link):
            return _end("delivered", found.node, f"given to its host on {link}")
        case Broken(cause=why):
            return _end("broken", found.node, cause(why), next_command(why))
        case Unknown(unread=unread):
            return _end("unknown", found.node, f"cannot know: {unread.subject}: {unread.reason}")
        case _:
            raise AssertionError("a journey ends at a node that was asked, or is unknown")


def _end(outcome: str, node: str, text: str, command: str | None = None) -> dict[str, Any]:
    return {"outcome": outcome, "at": node, "because": text, "next": command}


# Steps -------------------------------------------------------------------------------------------------------------


def _text(step: Step) -> str:
    packet = step.packet
    match step.code:
        case StepCode.MADE | StepCode.ARRIVES:
            where = f" on {step.link}" if step.link else ""
            return f"{_packet(packet)}{where}"
        case StepCode.DECAPSULATED:
            return f"{_packet(packet)} out of {step.link}"
        case StepCode.ROUTED:
            return _routed(step)
        case StepCode.TRANSLATED:
            by = f" by {_object(step.subject)}" if step.subject else ", as connection tracking knows it"
            return f"now {packet.source} > {packet.destination}{by}"
        case StepCode.ENCAPSULATED:
            return f"{_outer(packet)} by {step.link}"
        case StepCode.CUT:
            return f"cut into fragments for {step.link}"
        case StepCode.LEAVES:
            return f"{step.link} to {step.gateway}"
        case StepCode.CROSSES:
            return f"router {step.gateway} was not asked; taken to pass {packet.destination}"
        case StepCode.RECEIVED:
            return f"received at {packet.destination}"


def _routed(step: Step) -> str:
    route = step.subject
    if not isinstance(route, Route):
        return "no route"
    led = f" via {step.gateway}" if step.gateway and step.gateway != step.packet.destination else ""
    device = f" dev {step.link}" if step.link else ""
    some = f" (one of {step.choices} next hops)" if step.choices > 1 else ""
    rule = f", rule {step.rule.priority}" if step.rule and step.rule.table not in _TABLES else ""
    kind = "" if route.type is RouteType.UNICAST else f"{route.type.name.lower()} "
    return f"{kind}{route.prefix}{led}{device}{_of_route(route)}{some}{rule}"


def _of_route(route: Route) -> str:
    table = "" if route.table == MAIN_TABLE else f" table {_TABLES.get(route.table, route.table)}"
    maker = "" if route.protocol == PROTOCOL else f" proto {_MAKERS.get(route.protocol, route.protocol)}"
    return f"{table}{maker}"


def _packet(packet: Packet) -> str:
    name = _PROTOCOLS.get(packet.protocol, f"protocol {packet.protocol}")
    return f"{name} {packet.source} > {packet.destination}, {packet.size_bytes} bytes"


def _outer(packet: Packet) -> str:
    inner = packet.inner.size_bytes if packet.inner else packet.size_bytes
    numbers = "".join(f" {name} {number}" for name, number in packet.wire)
    name = _PROTOCOLS.get(packet.protocol, "")
    return f"{name}{numbers} {packet.source} > {packet.destination}, {inner}+{packet.size_bytes - inner} bytes"


def difference(found: Difference) -> str:
    """How a node sends a packet on, and how it would by the files."""
    return f"{found.live.node} differs from the files: {_sent(found.live)}; by the files: {_sent(found.declared)}"


def _sent(step: Step) -> str:
    return f"{_VERBS[step.code]} {_text(step)}"


# Causes ------------------------------------------------------------------------------------------------------------


def cause(found: Cause) -> str:
    """Why a packet is lost, or may be."""
    numbers = {name: str(number) for name, number in found.numbers}
    facts = {"subject": _object(found.subject), "other": _object(found.other), "packets": _packets(found), **numbers}
    return _CAUSES[found.code].format(**facts)


def next_command(found: Cause) -> str | None:
    """The command that mends it, or shows more."""
    make = _NEXT.get(found.code)
    return make(found) if make else None


_CAUSES: Final[Mapping[Break, str]] = {
    Break.NO_ROUTE: "no route leads to {subject}",
    Break.REFUSED_BY_ROUTE: "the route {subject} drops it",
    Break.REFUSED_BY_RULE: "{subject} drops it",
    Break.NO_WORKLOAD: "no workload has the address: {subject} drops what goes to unassigned ones",
    Break.NO_NEXT_HOP: "the next hop of {subject} is not there",
    Break.LINK_DOWN: "{subject} is down",
    Break.NO_LINK: "there is no link {subject}",
    Break.NO_NEIGHBOUR: "{other} has no neighbour entry for the tunnel end {subject}",
    Break.NEIGHBOUR_SILENT: "no neighbour answers on {other} for {subject}: the file's mask may be too wide",
    Break.NOT_ON_LINK: "no neighbour answers on {other} for {subject}, in no network of it: the file's mask is wrong",
    Break.NO_TUNNEL_END: "{other} has no forwarding entry for the tunnel end {subject}",
    Break.TOO_BIG: "{size} bytes do not fit {subject}, which has an MTU of {mtu}, and it may not be cut",
    Break.OUTER_TOO_BIG: "outer packet: {size} bytes do not fit {subject} with an MTU of {mtu}, and may not be cut",
    Break.NOT_FORWARDING: "packets that arrive by {subject} are not forwarded",
    Break.REVERSE_PATH: "rp_filter of {other}: the route back to the source, {subject}, does not lead there",
    Break.MARTIAN: "the source {subject} is an address of this node, or of no host",
    Break.CHAIN: "{subject}",
    Break.NOT_A_SENDER: "tunnel packets from {other} are not let in: {subject}",
    Break.INNER_REFUSED: "{subject} does not let it out of the tunnel",
    Break.WORKLOAD_REFUSED: "the workload on {subject} may not send this: another's source, or a tunnel packet",
    Break.NOT_A_TUNNEL: "no tunnel of this node takes packets to {subject}",
    Break.NO_SOURCE: "{subject} has no address to send from",
    Break.LOST_PATH: "no probe to {subject} by {other} is answered: the underlay or a firewall drops {packets}",
    Break.NARROW_PATH: "{size} bytes do not pass to {subject} by {other}: probes of {mtu} bytes do, no larger ones",
    Break.LOOP: "it goes round in a circle by {subject}",
    Break.NODE_DOWN: "node {subject} is down",
    Break.CUT: "the underlay carries nothing between {subject} and {other}",
    Break.SHADOWED: "the foreign route {subject} is used in place of ours, {other}",
    Break.FOREIGN_MASQUERADE: "{subject} gives it another source",
}


def _packets(found: Cause) -> str:
    """The packets on the underlay, by the fields that a firewall compares."""
    numbers = dict(found.numbers)
    if numbers.get("port"):
        return f"{_PROTOCOLS.get(numbers['protocol'], '')} port {numbers['port']}"
    return f"IP protocol {numbers['protocol']}" if "protocol" in numbers else "packets"


def _object(found: Subject) -> str:
    match found:
        case Route():
            metric = f" metric {found.metric}"
            via = f" via {found.gateway}" if found.gateway else ""
            device = f" dev {found.link}" if found.link else ""
            kind = "" if found.type is RouteType.UNICAST else f"{found.type.name.lower()} "
            return f"{kind}{found.prefix}{via}{device}{_of_route(found)}{metric}"
        case Rule():
            return f"rule {found.priority} ({found.action.name.lower()})"
        case Fate():
            return _fate(found)
        case Decap():
            return f"{found.link} takes packets of {len(found.sources)} members"
        case InnerFilter():
            return f"the filter of {found.link}"
        case Masquerade():
            return "natOutgoing"
        case None:
            return "nothing"
        case _:
            return str(found)


def _fate(found: Fate) -> str:
    chain = f"chain {found.chain.family} {found.chain.table} {found.chain.name}"
    verb = found.verdict.value
    if found.rule is None:
        return f"{chain} ({found.chain.hook}) has the policy {verb}"
    return f"rule {found.rule.handle} of {chain} ({found.chain.hook}): {verb}"


def _remove_route(found: Cause) -> str:
    route = found.subject
    if not isinstance(route, Route):
        return "ip rule"
    family = "-6 " if route.prefix.version == 6 else ""
    table = "" if route.table == MAIN_TABLE else f" table {route.table}"
    return f"ip {family}route del {route.prefix}{table} proto {route.protocol} metric {route.metric}"


def _show_chain(found: Cause) -> str:
    if not isinstance(found.subject, Fate):
        return "nft list ruleset"
    chain = found.subject.chain
    return f"nft -a list table {chain.family} {chain.table}"


def _mtu(found: Cause) -> str:
    numbers = dict(found.numbers)
    return f"send at most {numbers['mtu']} bytes: bgpctl show pools"


_NEXT: Final[Mapping[Break, Callable[[Cause], str]]] = {
    Break.NO_ROUTE: lambda found: f"ip route get {found.subject}",
    Break.REFUSED_BY_ROUTE: _remove_route,
    Break.REFUSED_BY_RULE: lambda _: "ip rule",
    Break.NO_WORKLOAD: lambda _: "bgpctl show blocks",
    Break.NO_NEXT_HOP: lambda _: "ip nexthop",
    Break.LINK_DOWN: lambda found: f"ip link set {found.subject} up",
    Break.NO_NEIGHBOUR: lambda found: f"ip neighbour show dev {found.other}",
    Break.NOT_ON_LINK: lambda found: f"ip address show dev {found.other}",
    Break.NEIGHBOUR_SILENT: lambda found: f"ip neighbour show {found.subject} dev {found.other}",
    Break.NO_TUNNEL_END: lambda found: f"bridge fdb show dev {found.other}",
    Break.TOO_BIG: _mtu,
    Break.OUTER_TOO_BIG: _mtu,
    Break.NOT_FORWARDING: lambda _: "sysctl net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
    Break.REVERSE_PATH: lambda found: f"sysctl net/ipv4/conf/{found.other}/rp_filter=2",
    Break.CHAIN: _show_chain,
    Break.NOT_A_SENDER: lambda _: "bgpctl show nodes",
    Break.INNER_REFUSED: lambda _: "bgpctl show tunnels",
    Break.LOST_PATH: lambda _: "bgpctl show summary",
    Break.NARROW_PATH: lambda _: "bgpctl show summary",
    Break.SHADOWED: _remove_route,
    Break.FOREIGN_MASQUERADE: _show_chain,
}


# What is not there -------------------------------------------------------------------------------------------------

_OBSTACLES: Final[Mapping[ObstacleCode, str]] = {
    ObstacleCode.NO_POOL: "no pool contains it",
    ObstacleCode.NO_BLOCK: "no node has a block of pool {detail} for it",
    ObstacleCode.NO_SESSION: "no BGP session brings routes of {peer} to {at}",
    ObstacleCode.EXPORT_DISABLED: "pool {detail} has disableBGPExport: {at} does not announce it to {peer}",
    ObstacleCode.EXPORT_FILTER: "filter {detail} keeps {at} from announcing it to {peer}",
    ObstacleCode.NOT_ANNOUNCED: "{at} does not announce it to {peer}",
    ObstacleCode.ROUTER: "it can only come by router {peer}, which was not asked",
    ObstacleCode.SESSION_DOWN: "the BGP session of {at} with {peer} is not established",
    ObstacleCode.PEER_SILENT: "no BGP session with {peer}, because {detail}: the file's mask may be too wide",
    ObstacleCode.NOT_RECEIVED: "{at} has received no path to a block of {peer}",
    ObstacleCode.NOT_INSTALLED: "{at} has a path to {peer} and no route of it: bgpctl show summary has the reason",
}


def missing(found: Obstacle, destination: Address) -> dict[str, Any]:
    """Why a node has no route to a destination, and where the files say so."""
    if found.rejection:
        text = f"{found.at} rejects the path from {found.peer}: {bgp_words.rejection(found.rejection)}"
    else:
        text = _OBSTACLES[found.code].format(at=found.at, peer=found.peer, detail=found.detail)
    place = str(found.place) if found.place else None
    command = f"bgpctl show rib rejected {destination}" if found.rejection else "bgpctl show peers"
    return {"node": found.at, "text": text, "place": place, "next": command}
