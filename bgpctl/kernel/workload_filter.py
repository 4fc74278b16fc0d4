"""
The filter of what comes from workloads: nftables tables of ours of one name, for IP of both versions and for ARP.

The rules name no workload. A link of one is known by its group, and a source address is right if the route to it leads
back to the link that the packet came by. So a workload is filtered from its link's first packet, and attaching one
changes no table. The first chain stands before connection tracking, where a forged packet makes no entry, and behind
the reassembly of fragments where packets are tracked; so it is before any address is translated.

A route lookup costs 300 ns for a packet, more than all else here together. So a source that was found right is known
for five seconds, in a set that the kernel fills; where that is full, each packet takes a route lookup.

Dropped packets are counted by reason and link, in sets as well. A set that is full counts no more links, and the rule
after it drops all the same. Counters outlive a replacement of the table, but for links that are gone.

The source of an RST or of a late ACK that connection tracking does not know is not translated, as everything else from
a masqueraded pool is. It would leave with an address that is unknown outside, so it is dropped. This asks connection
tracking, so it is a table for each IP version that is masqueraded: a chain for both has the packets of both tracked.

A BGP port that ExaBGP still listens at stays in the filter when another one is wanted.

All tables come into force at one moment. Then the name of a chain to which nothing leads gets two digests, of what was
written, and of what nft lists of it: so any other change is seen, whatever form a version of nft shows rules in.

Refuses to know: which links lead to workloads, their addresses.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.objects import WORKLOADS, WorkloadFilter
from bgpctl.kernel import nft, sockets
from bgpctl.kernel.masquerade import prefixes

TABLE: Final = "bgpctl_workloads"
_IP: Final = "inet"
_ARP: Final = "arp"
REASONS: Final = ("source", "tunnel", "bgp", "discovery", "invalid")
"""Also the names of the sets that count, and of the chains that drop."""
_VERSIONS: Final = {4: "ip", 6: "ip6"}
_FAMILIES: Final = (_IP, _ARP, *_VERSIONS.values())
_MARK: Final = "made_"
"""Begins the name of the chain that has the digests."""
_MOST: Final = "size 65535"

Dropped: TypeAlias = Mapping[str, Mapping[str, int]]
"""Packets by reason, by the name of the link that they came by."""


class _Chain(NamedTuple):
    """A chain, at a hook or jumped to."""

    name: str
    rules: tuple[str, ...]
    hook: str = ""
    priority: int = 0


class Found(NamedTuple):
    """
    Attributes:
        filter: the one in force; one that is equal to none that is wanted stands for tables that are not as we make
            them. None if there is none.
        former: BGP ports that are kept closed while a program listens at them.
    """

    filter: WorkloadFilter | None
    former: frozenset[int] = frozenset()

    @property
    def is_over(self) -> bool:
        """True if at a former port nothing listens any more."""
        return bool(self.former) and not self.former <= _listening()


CHANGED: Final = WorkloadFilter((), (), (), 0)


def put(wanted: WorkloadFilter, links: Iterable[str]) -> None:
    """
    Filter as `wanted` describes, in place of earlier tables; packets that they dropped from these links stay counted.

    Raises OSError.
    """
    there = frozenset(links)
    listed = _listed()
    before = {link: counted for link, counted in _dropped(listed).items() if link in there}
    ports = _ports(listed)
    former = (ports - {wanted.bgp_port}) & _listening() if ports else frozenset()
    bodies = _bodies(wanted, former, before)
    nft.replace_all(TABLE, bodies, also=frozenset(_FAMILIES) - bodies.keys())
    nft.add_chain(TABLE, _IP, _mark(wanted, former, _listed()))


def remove() -> None:
    """Let everything pass. Raises OSError."""
    nft.replace_all(TABLE, {}, also=_FAMILIES)


def observe() -> Found:
    """The filter in force. Raises OSError."""
    listed = _listed()
    if not listed:
        return Found(None)
    filtered, ports = parse(listed), _ports(listed)
    if filtered is None or ports is None:
        return Found(CHANGED)
    found = Found(filtered, ports - {filtered.bgp_port})
    is_as_made = _mark(filtered, found.former, listed) in _chain_names(listed)
    return found if is_as_made and not found.is_over else Found(CHANGED, found.former)


def dropped() -> Dropped:
    """The packets that were dropped, since the link was first among those that drop any. Raises OSError."""
    return _dropped(_listed())


def _listed() -> list[dict[str, Any]]:
    """All that nft lists of our tables."""
    return [item for family in _FAMILIES for item in nft.listed(TABLE, family)]


def _listening() -> frozenset[int]:
    return frozenset(sockets.ports("tcp", sockets.LISTENING))


def _dropped(listed: Iterable[dict[str, Any]]) -> Dropped:
    found: dict[str, dict[str, int]] = {}
    for reason, counted in _counters(listed):
        for link, packets in counted.items():
            of_link = found.setdefault(link, {})
            of_link[reason] = of_link.get(reason, 0) + packets
    return found


def _bodies(wanted: WorkloadFilter, former: Collection[int], before: Dropped) -> dict[str, str]:
    """
    The content of the table of each family. That for ARP has all that neighbour discovery had been counted before, the
    first for one IP version all that connection tracking had.
    """
    bodies = {_IP: body(wanted, former, before), _ARP: _arp_body(before)}
    for version in _Rules.of(wanted).masqueraded:
        bodies[_VERSIONS[version]] = _tracking_body(wanted, version, {} if _VERSIONS[4] in bodies else before)
    return bodies


def body(wanted: WorkloadFilter, former: Collection[int], before: Dropped) -> str:
    """The content of the table for IP of both versions. `before`: packets that were dropped earlier."""
    sets: list[str] = []
    for version, ip in _VERSIONS.items():
        sets.append(_addresses(f"inside{version}", version, wanted.inside))
        sets.append(_addresses(f"neighbours{version}", version, (item.host_prefix for item in wanted.neighbours)))
        sets.append(_set(f"known{version}", f"typeof iif . {ip} saddr; {_MOST}; flags dynamic,timeout"))
    reasons = [reason for reason in REASONS if reason != "invalid"]
    counting = (_counting(reason, {} if reason == "discovery" else before) for reason in reasons)
    chains = map(_chain, _chains(_Rules.of(wanted, former)))
    return "\n".join((*sets, *counting, *map(_dropping, reasons), *chains))


def _arp_body(before: Dropped) -> str:
    return "\n".join((_counting("discovery", before), _dropping("discovery"), _chain(_ARP_CHAIN)))


def _tracking_body(wanted: WorkloadFilter, version: int, before: Dropped) -> str:
    sets = (_addresses(name, version, getattr(wanted, name)) for name in ("inside", "masqueraded"))
    ip = _VERSIONS[version]
    invalid = f"{ip} saddr @masqueraded {ip} daddr != @inside ct state invalid goto invalid"
    chain = _chain(_Chain("forward", (invalid,), "forward"))
    return "\n".join((*sets, _counting("invalid", before), _dropping("invalid"), chain))


class _Rules(NamedTuple):
    """All of a filter that its rules name. `masqueraded`: the IP versions in which a pool is."""

    bgp_port: int
    channel_port: int
    former: tuple[int, ...]
    udp_ports: tuple[int, ...]
    masqueraded: tuple[int, ...]

    @classmethod
    def of(cls, wanted: WorkloadFilter, former: Collection[int] = ()) -> _Rules:
        versions = tuple(sorted({prefix.version for prefix in wanted.masqueraded}))
        return cls(wanted.bgp_port, wanted.channel_port, tuple(sorted(former)), wanted.udp_ports, versions)

    @property
    def members_only(self) -> str:
        """The match of packets that only members may send: of BGP, and of the channel between agents."""
        return f"meta l4proto 6 th dport {{ {', '.join(map(str, sorted(self.closed)))} }}"

    @property
    def closed(self) -> frozenset[int]:
        """The TCP ports of nodes that are for members only."""
        return frozenset((self.bgp_port, *self.former, self.channel_port)) - {0}

    @property
    def comment(self) -> str:
        """From it the ports are read: nft shows rules in a form that differs from one version to the next."""
        groups = ((self.bgp_port, *self.former), self.udp_ports, (self.channel_port,))
        bgp, udp, channel = (" ".join(map(str, ports)) for ports in groups)
        return f"{bgp} udp {udp} channel {channel}"


_ARP_CHAIN: Final = _Chain("input", (f"meta iifgroup {WORKLOADS} goto discovery",), "input")
# Protocols by number: their names need /etc/protocols. 130 to 132 and 143 are MLD, which every host sends.
_DISCOVERY: Final = ("icmpv6 type 133-137 goto discovery", "icmpv6 type { 130-132, 143 } drop")
_LINK_LOCAL: Final = "ip6 saddr fe80::/10 goto source"
"""Every such source seems to be right, since its network is on the link: a workload could have any number noted."""
_OF_PROTOCOL: Final = "4 : goto tunnel, 41 : goto tunnel, 6 : goto of_tcp, 17 : goto of_udp, 58 : goto of_icmpv6"


def _chains(rules: _Rules) -> Iterator[_Chain]:
    outside = [(f"{ip} daddr != @inside{version}", f"{ip} saddr @inside{version}") for version, ip in _VERSIONS.items()]
    known = [f"iif . {ip} saddr @known{version}" for version, ip in _VERSIONS.items()]
    noting = [f"add @known{version} {{ iif . {ip} saddr timeout 5s }}" for version, ip in _VERSIONS.items()]
    yield _Chain("of_icmpv6", _DISCOVERY)
    yield _Chain("of_tcp", tuple(f"{rules.members_only} {to} goto bgp" for to, _ in outside))
    to_tunnels = (f"meta l4proto 17 th dport {port} {to} goto tunnel" for port in rules.udp_ports for to, _ in outside)
    yield _Chain("of_udp", tuple(to_tunnels))
    yield _Chain("protocols", (*_usual(rules), f"meta l4proto vmap {{ {_OF_PROTOCOL} }}"))
    missing = "fib saddr . iif oif missing goto source"
    yield _Chain("unknown", (*_DISCOVERY, _LINK_LOCAL, missing, *noting, "goto protocols"))
    first = (f"meta iifgroup != {WORKLOADS} accept", *(f"{match} goto protocols" for match in known), "goto unknown")
    yield _Chain("prerouting", first, "prerouting", -300)
    strange = (f"{ip} saddr != @neighbours{version}" for version, ip in _VERSIONS.items())
    ends = zip((of_pool for _, of_pool in outside), strange, strict=True)
    to_node = (f"{rules.members_only} {of_pool} {other} goto bgp" for of_pool, other in ends)
    yield _Chain("input", ("meta l4proto != 6 accept", *to_node, f'accept comment "{rules.comment}"'), "input")


def _usual(rules: _Rules) -> Iterator[str]:
    """Most packets pass by these, which cost less than to look up a protocol."""
    for protocol, ports in ((6, rules.closed), (17, rules.udp_ports)):
        yield " ".join((f"meta l4proto {protocol}", *(f"th dport != {port}" for port in sorted(ports)), "accept"))


def _chain(chain: _Chain) -> str:
    hook = f"type filter hook {chain.hook} priority {chain.priority}; policy accept;" if chain.hook else ""
    return "\n".join((f"chain {chain.name} {{", hook, *chain.rules, "}"))


def _dropping(reason: str) -> str:
    return f"chain {reason} {{\nupdate @{reason} {{ iifname counter }}\ndrop\n}}"


def _counting(reason: str, before: Dropped) -> str:
    counted = ((link, of_link[reason]) for link, of_link in sorted(before.items()) if reason in of_link)
    elements = (f'"{link}" counter packets {packets} bytes 0' for link, packets in counted)
    return _set(reason, f"type ifname; {_MOST}; flags dynamic", elements)


def _addresses(name: str, version: int, wide: Iterable[Prefix]) -> str:
    elements = (str(prefix) for prefix in wide if prefix.version == version)
    return _set(name, f"type ipv{version}_addr; flags interval", elements)


def _set(name: str, kind: str, elements: Iterable[str] = ()) -> str:
    inside = ", ".join(elements)
    return f"set {name} {{ {kind}; {f'elements = {{ {inside} }};' if inside else ''} }}"


def _mark(wanted: WorkloadFilter, former: Collection[int], listed: Iterable[dict[str, Any]]) -> str:
    """The name of the chain that has the digests of both."""
    written = json.dumps(_bodies(wanted, former, {}))
    shown = json.dumps([_lasting(item) for item in listed if not _is_mark(item)], sort_keys=True)
    return _MARK + "_".join(hashlib.sha256(text.encode()).hexdigest()[:16] for text in (written, shown))


def _is_mark(item: Mapping[str, Any]) -> bool:
    return "metainfo" in item or str(item.get("chain", {}).get("name", "")).startswith(_MARK)


def _lasting(item: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Without what differs in another listing of the same: numbers, and elements that packets add."""
    (kind, value), *_ = item.items()
    # By name: nft 1.0.6 shows no flag of a dynamic set.
    passing = {"handle", "elem"} if kind == "set" and value["name"] in _FILLED_BY_PACKETS else {"handle"}
    return {kind: {name: inside for name, inside in value.items() if name not in passing}}


_FILLED_BY_PACKETS: Final = frozenset((*REASONS, *(f"known{version}" for version in _VERSIONS)))


def _chain_names(listed: Iterable[Mapping[str, Any]]) -> set[str]:
    return {item["chain"]["name"] for item in listed if "chain" in item}


@nft.of_ours
def _ports(listed: list[dict[str, Any]]) -> frozenset[int] | None:
    """The BGP ports that are closed to the pools."""
    return frozenset(map(int, _comment(listed).partition(" udp ")[0].split()))


def _comment(listed: list[dict[str, Any]]) -> str:
    comments = (str(item["rule"]["comment"]) for item in listed if "comment" in item.get("rule", {}))
    (comment,) = filter(_COMMENT.fullmatch, comments)
    return comment


_COMMENT: Final = re.compile(r"[0-9 ]+ udp [0-9 ]*channel [0-9]+")
"""Rules of another program may have others; our ports are known all the same."""


@nft.of_ours
def parse(listed: list[dict[str, Any]]) -> WorkloadFilter | None:
    """The filter that the tables are for, from nft's JSON; None for another program's. They may not be as made."""
    bgp, _, others = _comment(listed).partition(" udp ")
    udp, _, channel = others.partition("channel ")
    found = [item["set"] for item in listed if "set" in item]
    sets = {(item["family"], item["name"]): item.get("elem", []) for item in found}
    inside, near = (_of_both([sets[_IP, f"{name}{version}"] for version in _VERSIONS]) for name in _WIDE)
    masqueraded = _of_both([sets.get((ip, "masqueraded"), []) for ip in _VERSIONS.values()])
    neighbours = tuple(item.first for item in near)
    udp_ports, bgp_port = tuple(map(int, udp.split())), int(bgp.split()[0])
    return WorkloadFilter(inside, masqueraded, udp_ports, bgp_port, neighbours, int(channel))


_WIDE: Final = ("inside", "neighbours")


def _of_both(elements: Iterable[list[Any]]) -> tuple[Prefix, ...]:
    return tuple(sorted(prefix for of_version in elements for prefix in prefixes(of_version)))


def _counters(listed: Iterable[dict[str, Any]]) -> Iterator[tuple[str, Mapping[str, int]]]:
    for item in (item["set"] for item in listed if "set" in item):
        if item["name"] in REASONS:
            yield item["name"], _counted(item) or {}


@nft.of_ours
def _counted(counting: dict[str, Any]) -> dict[str, int] | None:
    elements = (item["elem"] for item in counting.get("elem", []))
    return {str(item["val"]): int(item["counter"]["packets"]) for item in elements}
