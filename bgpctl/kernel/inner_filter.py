"""
The filter of what comes out of a tunnel device: an nftables table of ours for each, at the device's own ingress.

There it costs other packets nothing, is the same for every encapsulation and driver, and sees what is no IP as well.
The kernel drops the chain with its device, and since Linux 6.16 keeps it for the next one of that name, anyone's. So
a table goes with its device, and one whose device is gone is reported, to be removed.

Refuses to know: which packets should pass, and who may send tunnel packets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import product
from typing import Any, Final

from bgpctl.core.fabric.encapsulations import BEHAVIOURS
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import Drops, InnerFilter
from bgpctl.core.net.spans import Span, spans
from bgpctl.kernel import counted_drops, nft
from bgpctl.kernel.masquerade import prefixes

_FAMILY: Final = "netdev"
_NAMES: Final = frozenset(
    name for item in BEHAVIOURS.values() for version in (4, 6) for name in item.link_names(version)
)
"""The names that devices of ours may have."""
_PREFIX: Final = "bgpctl_inner_"
_IP: Final = {4: "ip", 6: "ip6"}
_ECHO: Final = {4: "icmp type 8", 6: "icmpv6 type 128"}
_DISCOVERY: Final = {4: (), 6: ("icmpv6 type 133-137 goto discovery",)}
"""Router and neighbour discovery and redirects: neighbours are our own entries alone."""
_VERDICTS: Final = ("accept", "accept", "accept", "accept", "goto", "goto", "goto")
"""Of the rules behind the usual ones."""
_REASONS: Final = {4: ("source", "destination", "other"), 6: ("discovery", "source", "destination", "other")}
_MOST_HOLES: Final = 2
_MOST_USUAL: Final = 4
"""Rules; a search in both sets costs as much as about ten of them."""
_SETS: Final = ("members", "own", "sources", "destinations")


def put(wanted: InnerFilter) -> None:
    """Let pass what `wanted` describes, in place of an earlier table, at one moment. Raises OSError."""
    nft.replace(_table(wanted.link), body(wanted, dropped(wanted.link)), _FAMILY)


def dropped(link: str) -> tuple[Drops, ...]:
    """The packets that the filter of a device has dropped; empty without one. Raises OSError."""
    return counted_drops.counted(nft.listed(_table(link), _FAMILY))


def remove(link: str) -> None:
    """Let everything pass; absent is no error. Raises OSError."""
    nft.remove(_table(link), _FAMILY)


def remove_with(link: str) -> None:
    """Remove the table of a device that is gone, if there is one; nft is not needed otherwise. Raises OSError."""
    if (_FAMILY, _table(link)) in nft.tables():
        remove(link)


def observe(links: Collection[str]) -> frozenset[InnerFilter]:
    """
    The filters of these devices that are as we make them. One that lets nothing pass, and is equal to none that we put,
    stands for each table whose device is gone. Raises OSError.
    """
    ours = [name for family, name in nft.tables() if family == _FAMILY and name.startswith(_PREFIX)]
    links_by_table = {_table(link): link for link in (*_NAMES, *links)}
    found = (_read(name, links_by_table.get(name, name.removeprefix(_PREFIX)), links) for name in ours)
    return frozenset(item for item in found if item)


def _read(table: str, link: str, links: Collection[str]) -> InnerFilter | None:
    if link not in links:
        return InnerFilter(link, 4, (), (), (), ())
    found = parse(nft.listed(table, _FAMILY))
    return found if found and found.link == link else None


def links_with_tables(tables: Collection[str]) -> tuple[str, ...]:
    """Of the names that devices of ours may have those that a table is for."""
    return tuple(sorted(link for link in _NAMES if _table(link) in tables))


def body(wanted: InnerFilter, before: Iterable[Drops] = ()) -> str:
    """The table's content."""
    ip, kind = _IP[wanted.version], f"ipv{wanted.version}_addr"
    rules = (
        *_clamp(wanted.most_segment_bytes),
        *_DISCOVERY[wanted.version],
        *(
            f"{ip} daddr {to} {ip} saddr {around} {_none_of(ip, holes)} accept"
            for to, (around, holes) in _usual(wanted)
        ),
        f"{ip} saddr @sources {ip} daddr @destinations accept",
        f"{ip} saddr @members {ip} daddr @destinations accept",
        *(f"{ip} saddr @{name} {ip} daddr @own {_ECHO[wanted.version]} accept" for name in ("sources", "members")),
        f"meta protocol != {ip} goto other",
        f"{ip} saddr != @sources {ip} saddr != @members goto source",
        f'goto destination comment "{wanted.link}"',  # nft's JSON shows a chain without its device
    )
    counting = counted_drops.declared(_REASONS[wanted.version], wanted.version, before)
    hook = f'type filter hook ingress device "{wanted.link}" priority 0; policy accept;'
    sets = (_set(name, kind, getattr(wanted, name)) for name in _SETS)
    return "\n".join((*sets, counting, "chain ingress {", hook, *rules, "}"))


def _usual(wanted: InnerFilter) -> tuple[tuple[Prefix, Span], ...]:
    """
    Destinations and sources of most packets, which the first rule with sets lets pass too; none where they would be
    many rules, as where addresses are borrowed.
    """
    sources = spans(wanted.sources, _MOST_HOLES)
    found = tuple(product(wanted.destinations, sources))
    return found if len(found) <= _MOST_USUAL else ()


def _none_of(ip: str, prefixes: Iterable[Prefix]) -> str:
    return " ".join(f"{ip} saddr != {prefix}" for prefix in prefixes)


def _clamp(bytes_: int) -> tuple[str, ...]:
    """The SYN of either end comes in by a tunnel at the other one: so both directions have it."""
    size = "tcp option maxseg size"
    return (f"tcp flags & syn == syn {size} > {bytes_} {size} set {bytes_}",) if bytes_ else ()


def _set(name: str, kind: str, elements: Iterable[object]) -> str:
    inside = ", ".join(map(str, elements))
    flags = "flags interval;" if name in {"sources", "destinations"} else ""
    return f"set {name} {{ type {kind}; {flags} {f'elements = {{ {inside} }};' if inside else ''} }}"


def _table(link: str) -> str:
    """In its name nftables takes neither hyphen nor dot."""
    return _PREFIX + link.translate({45: "_", 46: "_"})


@nft.of_ours
def parse(listed: list[dict[str, Any]]) -> InnerFilter | None:
    """The reverse of `body`, from nft's JSON; None for rules of another program, or without a device."""
    sets = {item["set"]["name"]: item["set"] for item in listed if "set" in item}
    rules = counted_drops.rules_of(listed, "ingress")
    if not sets.keys() >= set(_SETS) or not rules:
        return None
    version, link = 4 if sets["own"]["type"] == "ipv4_addr" else 6, str(rules[-1].get("comment", ""))
    clamp = rules[0]["expr"][-1].get("mangle", {}).get("value", 0)
    if not counted_drops.is_as_declared(listed, _REASONS[version]):
        return None
    members, own = (tuple(sorted(map(Address.parse, sets[name].get("elem", [])))) for name in ("members", "own"))
    sources, destinations = (prefixes(sets[name].get("elem", [])) for name in ("sources", "destinations"))
    found = InnerFilter(link, version, members, own, sources, destinations, clamp)
    first = bool(clamp) + len(_DISCOVERY[version])
    usual = _usual(found)
    passing, others = rules[first : first + len(usual)], rules[first + len(usual) :]
    if [_verdict(rule) for rule in rules[bool(clamp) : first]] != ["goto"] * len(_DISCOVERY[version]):
        return None
    if [_matches(rule["expr"]) for rule in passing] != [_as_matches(*item) for item in usual]:
        return None
    return found if tuple(map(_verdict, others)) == _VERDICTS else None


def _verdict(rule: Mapping[str, Any]) -> str:
    return next(iter(rule["expr"][-1]), "")


def _as_matches(to: Prefix, sources: Span) -> list[tuple[str, str, Prefix]]:
    inside = [("daddr", "==", to), ("saddr", "==", sources.around)]
    return inside + [("saddr", "!=", hole) for hole in sources.holes]


def _matches(expressions: list[dict[str, Any]]) -> list[tuple[str, str, Prefix]]:
    """Field, operator and prefix of each match of a rule that accepts. Raises LookupError for many others."""
    *matches, verdict = expressions
    verdict["accept"]
    return [_match(**item["match"]) for item in matches]


def _match(op: str, left: Mapping[str, Any], right: object) -> tuple[str, str, Prefix]:
    (prefix,) = prefixes([right])
    return left["payload"]["field"], op, prefix
