"""
natOutgoing in an nftables table of our own per IP version.

Refuses to know: which pools want it.
"""

from __future__ import annotations

from typing import Any, Final

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import Masquerade
from bgpctl.kernel import nft

_TABLE: Final = "bgpctl_nat"
_FAMILY: Final = {4: "ip", 6: "ip6"}
CHANGED: Final = {
    version: Masquerade((Prefix.parse(everything),), (), (0, 0))
    for version, everything in ((4, "0.0.0.0/0"), (6, "::/0"))
}
"""By IP version: stands for a table of ours that another program changed, and equals no wanted one."""


def put(wanted: Masquerade) -> None:
    """Masquerade as `wanted` describes, in place of an earlier one, at one moment. Raises OSError."""
    nft.replace(_TABLE, body(wanted), _FAMILY[wanted.version])


def remove(version: int) -> None:
    """Stop masquerading for this IP version. Raises OSError."""
    nft.remove(_TABLE, _FAMILY[version])


def observe(version: int) -> Masquerade | None:
    """The masquerading in force, CHANGED if another program changed it; None if there is none. Raises OSError."""
    listed = nft.listed(_TABLE, _FAMILY[version])
    return (parse(listed) or CHANGED[version]) if listed else None


def body(wanted: Masquerade) -> str:
    """The table's content: BGP keeps its source, UDP keeps clear of the ports of tunnels, the rest has any port."""
    # 17 is UDP: its name would need /etc/protocols, which a minimal host lacks.
    family = _FAMILY[wanted.version]
    outbound = f"{family} saddr @sources {family} daddr != @inside"
    kind = f"type ipv{wanted.version}_addr; flags interval"
    low, high = wanted.udp_ports
    return f"""\
    set sources {{ {kind}; elements = {{ {_elements(wanted.sources)} }}; }}
    set inside {{ {kind}; elements = {{ {_elements(wanted.inside)} }}; }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        {_bgp(wanted.bgp_ports)}
        {_by_link(wanted, outbound)}
        {outbound} meta l4proto 17 masquerade to :{low}-{high} fully-random
        {outbound} masquerade fully-random
    }}"""


def _by_link(wanted: Masquerade, outbound: str) -> str:
    """By the link with the node's address: masquerading would take the first address there, whichever that becomes."""
    if wanted.address is None:
        return ""
    own, (low, high) = str(wanted.address), wanted.udp_ports
    host = f"[{own}]" if wanted.version == 6 else own
    leaves = f'oifname "{wanted.link}" {outbound}'
    of_udp = f"{leaves} meta l4proto 17 snat to {host}:{low}-{high} fully-random"
    return f"{of_udp}\n        {leaves} snat to {own} fully-random"


def _bgp(ports: tuple[int, ...]) -> str:
    return f"meta l4proto 6 th dport {{ {', '.join(map(str, ports))} }} return" if ports else ""


@nft.of_ours
def parse(listed: list[dict[str, Any]]) -> Masquerade | None:
    """The reverse of `body`, from nft's JSON."""
    sets = {item["set"]["name"]: item["set"].get("elem", []) for item in listed if "set" in item}
    rules = [item["rule"]["expr"] for item in listed if "rule" in item]
    ports: tuple[int, ...] = ()
    if rules and "return" in rules[0][-1]:
        ports = _ports(rules[0][-2]["match"]["right"])
        rules = rules[1:]
    own: tuple[str, Address] | tuple[()] = ()
    match rules:
        case [[{"match": {"right": str(link)}}, *_, {"snat": {"port": {"range": [*found]}}}], last, *rest] if (
            last[-1].get("snat", {}).get("addr")
        ):
            own, rules = (link, Address.parse(last[-1]["snat"]["addr"])), rest
            rules = rules if found == _udp_ports(rest) and _is_by_link(last, link) else []
    match rules:
        case [[_, _, _, {"masquerade": {"port": {"range": [int(low), int(high)]}}}], [_, _, {"masquerade": _}]]:
            sources = prefixes(sets.get("sources", []))
            inside = prefixes(sets.get("inside", []))
            return Masquerade(sources, inside, (low, high), ports, *own) if sources else None
        case _:
            return None


def _udp_ports(rules: list[Any]) -> Any:
    """Of the rule that masquerades UDP, where it is the first."""
    found = rules[0][-1].get("masquerade") if rules else None
    return found["port"]["range"] if found and "port" in found else None


def _is_by_link(rule: list[Any], link: str) -> bool:
    found = rule[0].get("match", {})
    return bool(found.get("right") == link and found.get("left") == {"meta": {"key": "oifname"}})


def _ports(right: Any) -> tuple[int, ...]:
    """Nft shows a set of one element as that."""
    return tuple(sorted(right["set"])) if isinstance(right, dict) else (int(right),)


def _elements(prefixes: tuple[Prefix, ...]) -> str:
    return ", ".join(map(str, prefixes))


def prefixes(elements: list[Any]) -> tuple[Prefix, ...]:
    """The elements of a set, as nft shows them."""
    return tuple(sorted(map(_prefix, elements)))


def _prefix(element: Any) -> Prefix:
    match element:
        case {"prefix": {"addr": address, "len": length}}:
            return Prefix.parse(f"{address}/{length}")
        case _:
            return Prefix.parse(str(element))  # a single address
