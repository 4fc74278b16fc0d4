"""
The filter of what comes from workloads: two nftables tables of ours, one for IP of both versions, one for ARP.

The rules name no workload. A link of one is known by its group, and a source address is right if the route to it leads
back to the link that the packet came by. So a workload is filtered from its link's first packet, and attaching one
changes no table. The first chain stands before connection tracking, where a forged packet makes no entry, and behind
the reassembly of fragments where packets are tracked; so it is before any address is translated.

Dropped packets are counted by reason and link, in sets that the kernel fills. A set that is full counts no more links,
and the rule after it drops all the same. Counters outlive a replacement of the table, but for links that are gone.

The source of an RST or of a late ACK that connection tracking does not know is not translated, as everything else from
a masqueraded pool is. It would leave with an address that is unknown outside, so it is dropped.

Refuses to know: which links lead to workloads, their addresses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
_MOST_LINKS: Final = 65535

Dropped: TypeAlias = Mapping[str, Mapping[str, int]]
"""Packets by reason, by the name of the link that they came by."""


class _Chain(NamedTuple):
    """A chain at a hook. Its rules end in a verdict, which is all that is compared."""

    name: str
    hook: str
    priority: int
    rules: tuple[str, ...]


def put(wanted: WorkloadFilter, links: Iterable[str]) -> None:
    """
    Filter as `wanted` describes, in place of earlier tables; packets that they dropped from these links stay counted.

    Raises OSError.
    """
    before = {link: counted for link, counted in dropped().items() if link in frozenset(links)}
    nft.replace(TABLE, arp_body(before), _ARP)
    nft.replace(TABLE, body(wanted, before), _IP)


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
    sets: list[str] = [_set("ports", "inet_service", map(str, wanted.udp_ports))]
    for version in _VERSIONS:
        for name, wide in (("inside", wanted.inside), ("masqueraded", wanted.masqueraded)):
            elements = (str(prefix) for prefix in wide if prefix.version == version)
            sets.append(_set(f"{name}{version}", f"ipv{version}_addr; flags interval", elements))
    of_ip = (reason for reason in REASONS if reason != "discovery")
    counting = [*(_counting(reason, before) for reason in of_ip), _counting("discovery", {})]
    chains = _chains(wanted.bgp_port, _versions(wanted.masqueraded))
    return "\n".join((*sets, *counting, *map(_dropping, REASONS), *map(_chain, chains)))


def arp_body(before: Dropped) -> str:
    """The content of the table for ARP, which counts all that neighbour discovery had been counted before."""
    return "\n".join((_counting("discovery", before), _dropping("discovery"), _chain(_ARP_CHAIN)))


_ARP_CHAIN: Final = _Chain("input", "input", 0, (f"meta iifgroup {WORKLOADS} goto discovery",))


def _versions(prefixes: Iterable[Prefix]) -> tuple[int, ...]:
    return tuple(sorted({prefix.version for prefix in prefixes}))


def _chains(bgp_port: int, masqueraded: Iterable[int]) -> tuple[_Chain, ...]:
    """`masqueraded`: the IP versions in which a pool is; for others connections are not tracked because of us."""
    # Protocols by number: their names need /etc/protocols. 130 to 132 and 143 are MLD, which every host sends.
    from_workloads = (
        f"meta iifgroup != {WORKLOADS} accept",
        "icmpv6 type 133-137 goto discovery",
        "icmpv6 type { 130-132, 143 } drop",
        "fib saddr . iif oif missing goto source",
        "meta l4proto { 4, 41 } goto tunnel",
        *(f"meta l4proto 17 th dport @ports {ip} daddr != @inside{v} goto tunnel" for v, ip in _VERSIONS.items()),
        *(f"meta l4proto 6 th dport {bgp_port} {ip} daddr != @inside{v} goto bgp" for v, ip in _VERSIONS.items()),
    )
    to_node = (
        *(f"meta l4proto 6 th dport {bgp_port} {ip} saddr @inside{v} goto bgp" for v, ip in _VERSIONS.items()),
        # Only the comment is read: what is compared above would differ from one version of nft to the next.
        f'accept comment "{bgp_port}"',
    )
    outbound = tuple(
        f"{_VERSIONS[v]} saddr @masqueraded{v} {_VERSIONS[v]} daddr != @inside{v} ct state invalid goto invalid"
        for v in masqueraded
    )
    return (
        _Chain("prerouting", "prerouting", -300, from_workloads),
        _Chain("input", "input", 0, to_node),
        _Chain("forward", "forward", 0, outbound),
    )


def _chain(chain: _Chain) -> str:
    hook = f"type filter hook {chain.hook} priority {chain.priority}; policy accept;"
    return "\n".join((f"chain {chain.name} {{", hook, *chain.rules, "}"))


def _dropping(reason: str) -> str:
    return f"chain {reason} {{\nupdate @{reason} {{ iifname counter }}\ndrop\n}}"


def _counting(reason: str, before: Dropped) -> str:
    counted = ((link, of_link[reason]) for link, of_link in sorted(before.items()) if reason in of_link)
    elements = (f'"{link}" counter packets {packets} bytes 0' for link, packets in counted)
    return _set(reason, f"ifname; size {_MOST_LINKS}; flags dynamic", elements)


def _set(name: str, kind: str, elements: Iterable[str]) -> str:
    inside = ", ".join(elements)
    return f"set {name} {{ type {kind}; {f'elements = {{ {inside} }};' if inside else ''} }}"


@nft.of_ours
def parse(listed: list[dict[str, Any]]) -> WorkloadFilter | None:
    """The reverse of `body`, from nft's JSON; None for another program's rules."""
    (port,) = (int(item["rule"]["comment"]) for item in listed if "comment" in item.get("rule", {}))
    sets = {item["set"]["name"]: item["set"].get("elem", []) for item in listed if "set" in item}
    inside, masqueraded = (_of_both(sets, name) for name in ("inside", "masqueraded"))
    if not _is_as_made(listed, _chains(port, _versions(masqueraded))):
        return None
    return WorkloadFilter(inside, masqueraded, tuple(sorted(map(int, sets["ports"]))), port)


def _of_both(sets: Mapping[str, list[Any]], name: str) -> tuple[Prefix, ...]:
    return tuple(sorted(prefix for version in _VERSIONS for prefix in prefixes(sets[f"{name}{version}"])))


def _is_as_made(listed: list[dict[str, Any]], chains: Iterable[_Chain]) -> bool:
    """True if the chains are at these hooks, and the rules of each end in these verdicts."""
    hooks = {
        (item["chain"]["name"], item["chain"]["hook"], item["chain"]["prio"])
        for item in listed
        if "hook" in item.get("chain", {})
    }
    verdicts: dict[str, list[str]] = {}
    for rule in (item["rule"] for item in listed if "rule" in item):
        verdicts.setdefault(rule["chain"], []).append(_verdict(rule["expr"]))
    wanted = {chain.name: [_last_word(rule) for rule in chain.rules] for chain in chains if chain.rules}
    dropping = {reason: [f"@{reason}", "drop"] for reason in verdicts if reason in REASONS}
    reached = {verdict for found in wanted.values() for verdict in found}
    at = {(chain.name, chain.hook, chain.priority) for chain in chains}
    return hooks == at and verdicts == {**wanted, **dropping} and reached.intersection(REASONS) <= dropping.keys()


def _verdict(statements: list[dict[str, Any]]) -> str:
    """The last word of a rule, as `_last_word` has it; the set of one that counts."""
    kind, value = next(iter(statements[-1].items()), ("", None))
    match kind, value:
        case "goto", {"target": str(target)}:
            return target
        case "set", {"set": str(name)}:
            return name
        case _:
            return str(kind)


def _last_word(rule: str) -> str:
    return rule.split(" comment ", maxsplit=1)[0].rsplit(maxsplit=1)[-1]


def _counters(listed: list[dict[str, Any]]) -> Iterator[tuple[str, Mapping[str, int]]]:
    for item in (item["set"] for item in listed if "set" in item):
        if item["name"] in REASONS:
            yield item["name"], _counted(item) or {}


@nft.of_ours
def _counted(counting: dict[str, Any]) -> dict[str, int] | None:
    elements = (item["elem"] for item in counting.get("elem", []))
    return {str(item["val"]): int(item["counter"]["packets"]) for item in elements}
