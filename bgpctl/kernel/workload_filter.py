"""
The filter of what comes from workloads: two nftables tables of ours, one for IP of both versions, one for ARP.

The rules name no workload. A link of one is known by its group, and a source address is right if the route to it leads
back to the link that the packet came by. So a workload is filtered from its link's first packet, and attaching one
changes no table. The first chain stands before connection tracking, where a forged packet makes no entry, and behind
the reassembly of fragments where packets are tracked; so it is before any address is translated.

A route lookup costs 300 ns for a packet, more than all else here together. So a source that was found right is known
for five seconds, in a set that the kernel fills; where that is full, each packet takes a route lookup.

Dropped packets are counted by reason and link, in sets as well. A set that is full counts no more links, and the rule
after it drops all the same. Counters outlive a replacement of the table, but for links that are gone.

The source of an RST or of a late ACK that connection tracking does not know is not translated, as everything else from
a masqueraded pool is. It would leave with an address that is unknown outside, so it is dropped.

Refuses to know: which links lead to workloads, their addresses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.objects import WORKLOADS, WorkloadFilter
from bgpctl.kernel import nft
from bgpctl.kernel.masquerade import prefixes

TABLE: Final = "bgpctl_workloads"
_IP: Final = "inet"
_ARP: Final = "arp"
REASONS: Final = ("source", "tunnel", "bgp", "discovery", "invalid")
"""Also the names of the sets that count, and of the chains that drop."""
_VERSIONS: Final = {4: "ip", 6: "ip6"}
_MOST: Final = "size 65535"

Dropped: TypeAlias = Mapping[str, Mapping[str, int]]
"""Packets by reason, by the name of the link that they came by."""


class _Chain(NamedTuple):
    """A chain, at a hook or jumped to. Each rule ends in a verdict, and these are all that is compared."""

    name: str
    rules: tuple[str, ...]
    hook: str = ""
    priority: int = 0


def put(wanted: WorkloadFilter, links: Iterable[str]) -> None:
    """
    Filter as `wanted` describes, in place of earlier tables; packets that they dropped from these links stay counted.

    Raises OSError.
    """
    there = frozenset(links)
    before = {link: counted for link, counted in dropped().items() if link in there}
    nft.replace(TABLE, body(wanted, before), _IP)
    nft.replace(TABLE, arp_body(before), _ARP)


def remove() -> None:
    """Let everything pass. Raises OSError."""
    for family in (_IP, _ARP):
        nft.remove(TABLE, family)


def observe() -> WorkloadFilter | None:
    """
    The filter in force; one that is equal to none that is wanted stands for tables that are not as we make them. None
    if there is none. Raises OSError.
    """
    of_ip, of_arp = (nft.listed(TABLE, family) for family in (_IP, _ARP))
    if not of_ip and not of_arp:
        return None
    return (parse(of_ip) if _is_as_made(of_arp, (_ARP_CHAIN,)) else None) or WorkloadFilter((), (), (), 0)


def dropped() -> Dropped:
    """The packets that were dropped, since the link was first among those that drop any. Raises OSError."""
    found: dict[str, dict[str, int]] = {}
    for family in (_IP, _ARP):
        for reason, counted in _counters(nft.listed(TABLE, family)):
            for link, packets in counted.items():
                of_link = found.setdefault(link, {})
                of_link[reason] = of_link.get(reason, 0) + packets
    return found


def body(wanted: WorkloadFilter, before: Dropped) -> str:
    """The content of the table for IP. `before`: packets that were dropped earlier; those of ARP are not among them."""
    sets: list[str] = []
    for version, ip in _VERSIONS.items():
        for name, wide in (("inside", wanted.inside), ("masqueraded", wanted.masqueraded)):
            elements = (str(prefix) for prefix in wide if prefix.version == version)
            sets.append(_set(f"{name}{version}", f"type ipv{version}_addr; flags interval", elements))
        sets.append(_set(f"known{version}", f"typeof iif . {ip} saddr; {_MOST}; flags dynamic,timeout"))
    of_ip = (reason for reason in REASONS if reason != "discovery")
    counting = [*(_counting(reason, before) for reason in of_ip), _counting("discovery", {})]
    return "\n".join((*sets, *counting, *map(_dropping, REASONS), *map(_chain, _chains(_Rules.of(wanted)))))


def arp_body(before: Dropped) -> str:
    """The content of the table for ARP, which counts all that neighbour discovery had been counted before."""
    return "\n".join((_counting("discovery", before), _dropping("discovery"), _chain(_ARP_CHAIN)))


class _Rules(NamedTuple):
    """All of a filter that its rules name. `masqueraded`: the IP versions in which a pool is."""

    bgp_port: int
    channel_port: int
    udp_ports: tuple[int, ...]
    masqueraded: tuple[int, ...]

    @classmethod
    def of(cls, wanted: WorkloadFilter) -> _Rules:
        versions = tuple(sorted({prefix.version for prefix in wanted.masqueraded}))
        return cls(wanted.bgp_port, wanted.channel_port, wanted.udp_ports, versions)

    @property
    def comment(self) -> str:
        """From it the ports are read: nft shows rules in a form that differs from one version to the next."""
        return " ".join(map(str, (self.bgp_port, self.channel_port, *self.udp_ports)))

    @property
    def tcp_ports(self) -> str:
        """The ports that only members connect to: of BGP, and of the channel between agents."""
        return f"{{ {self.bgp_port}, {self.channel_port} }}" if self.channel_port else str(self.bgp_port)


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
    yield _Chain("of_tcp", tuple(f"meta l4proto 6 th dport {rules.tcp_ports} {to} goto bgp" for to, _ in outside))
    to_tunnels = (f"meta l4proto 17 th dport {port} {to} goto tunnel" for port in rules.udp_ports for to, _ in outside)
    yield _Chain("of_udp", tuple(to_tunnels))
    yield _Chain("protocols", (f"meta l4proto vmap {{ {_OF_PROTOCOL} }}",))
    missing = "fib saddr . iif oif missing goto source"
    yield _Chain("unknown", (*_DISCOVERY, _LINK_LOCAL, missing, *noting, "goto protocols"))
    first = (f"meta iifgroup != {WORKLOADS} accept", *(f"{match} goto protocols" for match in known), "goto unknown")
    yield _Chain("prerouting", first, "prerouting", -300)
    to_node = (f"meta l4proto 6 th dport {rules.tcp_ports} {of_pool} goto bgp" for _, of_pool in outside)
    yield _Chain("input", (*to_node, f'accept comment "{rules.comment}"'), "input")
    if rules.masqueraded:  # for others connections are not tracked because of us
        yield _Chain("forward", tuple(map(_invalid, rules.masqueraded)), "forward")


def _invalid(version: int) -> str:
    ip = _VERSIONS[version]
    return f"{ip} saddr @masqueraded{version} {ip} daddr != @inside{version} ct state invalid goto invalid"


def _chain(chain: _Chain) -> str:
    hook = f"type filter hook {chain.hook} priority {chain.priority}; policy accept;" if chain.hook else ""
    return "\n".join((f"chain {chain.name} {{", hook, *chain.rules, "}"))


def _dropping(reason: str) -> str:
    return f"chain {reason} {{\nupdate @{reason} {{ iifname counter }}\ndrop\n}}"


def _counting(reason: str, before: Dropped) -> str:
    counted = ((link, of_link[reason]) for link, of_link in sorted(before.items()) if reason in of_link)
    elements = (f'"{link}" counter packets {packets} bytes 0' for link, packets in counted)
    return _set(reason, f"type ifname; {_MOST}; flags dynamic", elements)


def _set(name: str, kind: str, elements: Iterable[str] = ()) -> str:
    inside = ", ".join(elements)
    return f"set {name} {{ {kind}; {f'elements = {{ {inside} }};' if inside else ''} }}"


@nft.of_ours
def parse(listed: list[dict[str, Any]]) -> WorkloadFilter | None:
    """The reverse of `body`, from nft's JSON; None for another program's rules."""
    (comment,) = (item["rule"]["comment"] for item in listed if "comment" in item.get("rule", {}))
    bgp_port, channel_port, *udp_ports = map(int, comment.split())
    sets = {item["set"]["name"]: item["set"].get("elem", []) for item in listed if "set" in item}
    inside, masqueraded = (_of_both(sets, name) for name in ("inside", "masqueraded"))
    found = WorkloadFilter(inside, masqueraded, tuple(udp_ports), bgp_port, channel_port)
    return found if _is_as_made(listed, tuple(_chains(_Rules.of(found)))) else None


def _of_both(sets: Mapping[str, list[Any]], name: str) -> tuple[Prefix, ...]:
    return tuple(sorted(prefix for version in _VERSIONS for prefix in prefixes(sets[f"{name}{version}"])))


def _is_as_made(listed: list[dict[str, Any]], chains: Collection[_Chain]) -> bool:
    """True if the chains are at these hooks, and the rules of each end in these verdicts."""
    hooks = {
        (item["chain"]["name"], item["chain"]["hook"], item["chain"]["prio"])
        for item in listed
        if "hook" in item.get("chain", {})
    }
    verdicts: dict[str, list[str]] = {}
    for rule in (item["rule"] for item in listed if "rule" in item):
        verdicts.setdefault(rule["chain"], []).append(_verdict(rule["expr"]))
    wanted = {chain.name: list(map(_wanted_verdict, chain.rules)) for chain in chains if chain.rules}
    dropping = {reason: [f"@{reason}", "drop"] for reason in verdicts if reason in REASONS}
    reached = {verdict for found in wanted.values() for verdict in found}
    at = {(chain.name, chain.hook, chain.priority) for chain in chains if chain.hook}
    return hooks == at and verdicts == {**wanted, **dropping} and reached.intersection(REASONS) <= dropping.keys()


def _verdict(statements: list[dict[str, Any]]) -> str:
    """The target of a rule, the set that it fills, the targets that it chooses from, or its last word."""
    kind, value = next(iter(statements[-1].items()), ("", None))
    match kind, value:
        case "goto", {"target": str(target)}:
            return target
        case "set", {"set": str(name)}:
            return name
        case "vmap", {"data": {"set": list(choices)}}:
            return " ".join(sorted(choice["goto"]["target"] for _, choice in choices))
        case _:
            return str(kind)


def _wanted_verdict(rule: str) -> str:
    if " vmap " in rule:
        return " ".join(sorted(choice.split()[-1] for choice in rule.rstrip(" }").split(",")))
    if rule.startswith("add "):
        return rule.split()[1]
    return rule.split(" comment ", maxsplit=1)[0].rsplit(maxsplit=1)[-1]


def _counters(listed: list[dict[str, Any]]) -> Iterator[tuple[str, Mapping[str, int]]]:
    for item in (item["set"] for item in listed if "set" in item):
        if item["name"] in REASONS:
            yield item["name"], _counted(item) or {}


@nft.of_ours
def _counted(counting: dict[str, Any]) -> dict[str, int] | None:
    elements = (item["elem"] for item in counting.get("elem", []))
    return {str(item["val"]): int(item["counter"]["packets"]) for item in elements}
