"""
Chains of other programs, from nft's JSON (libnftables-json(5)) → nouns. Pure.

What is not understood becomes a condition or a verdict OTHER, so that the answer is that it is not known.

Refuses to know: what follows for a packet (core/trace/netfilter.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.trace.netfilter import Addresses, Chain, Condition, Field, Numbers, Rule, Value, Values, Verdict

_FAMILIES: Final = frozenset({"ip", "ip6", "inet"})
_PROTOCOLS: Final = {
    "icmp": 1,
    "ipencap": 4,
    "tcp": 6,
    "udp": 17,
    "gre": 47,
    "esp": 50,
    "icmpv6": 58,
    "ipv6-icmp": 58,
    "sctp": 132,
}
_META: Final = {
    "iifname": Field.ARRIVES,
    "iif": Field.ARRIVES,
    "oifname": Field.LEAVES,
    "oif": Field.LEAVES,
    "l4proto": Field.PROTOCOL,
    "mark": Field.MARK,
    "nfproto": Field.VERSION,
    "protocol": Field.VERSION,
}
_PAYLOAD: Final = {
    ("ip", "saddr"): (Field.SOURCE, 4),
    ("ip", "daddr"): (Field.DESTINATION, 4),
    ("ip", "protocol"): (Field.PROTOCOL, 4),
    ("ip6", "saddr"): (Field.SOURCE, 6),
    ("ip6", "daddr"): (Field.DESTINATION, 6),
    ("ip6", "nexthdr"): (Field.PROTOCOL, 6),
}
_VERSIONS: Final = {"ipv4": 4, "ip": 4, "ipv6": 6, "ip6": 6}
_VERDICTS: Final = {
    "accept": Verdict.ACCEPT,
    "drop": Verdict.DROP,
    "reject": Verdict.REJECT,
    "return": Verdict.RETURN,
    "jump": Verdict.JUMP,
    "goto": Verdict.GOTO,
    "masquerade": Verdict.MASQUERADE,
    "snat": Verdict.SNAT,
    "dnat": Verdict.DNAT,
    "redirect": Verdict.DNAT,
    "queue": Verdict.OTHER,
    "vmap": Verdict.OTHER,
    "tproxy": Verdict.OTHER,
    "fwd": Verdict.OTHER,
    "dup": Verdict.CONTINUE,
}
_XT_TARGETS: Final = {
    "MASQUERADE": Verdict.MASQUERADE,
    "SNAT": Verdict.SNAT,
    "DNAT": Verdict.DNAT,
    "REDIRECT": Verdict.DNAT,
    "REJECT": Verdict.REJECT,
    **dict.fromkeys(
        ("LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "CHECKSUM", "CLASSIFY", "CT", "TRACE"), Verdict.CONTINUE
    ),
}
"""Targets of iptables (iptables-extensions(8)) that are in nftables' rules as they are."""
_XT_ASIDE: Final = frozenset({"comment"})
_ASIDE: Final = frozenset({"counter", "log", "notrack", "mangle", "flow", "ct helper", "continue", "set", "meter"})
"""Statements that pass the packet on."""
_OTHER: Final = Condition(Field.OTHER)


def chains(ruleset: Iterable[Mapping[str, Any]], ours: str) -> tuple[Chain, ...]:
    """The base chains for IP packets of all tables whose names do not begin with `ours`."""
    items = list(ruleset)
    sets = {_of(item["set"]): item["set"].get("elem", []) for item in items if "set" in item}
    # A chain without rules is one as well, and can be jumped to.
    rules: dict[tuple[str, str, str], list[Rule]] = {_of(item["chain"]): [] for item in items if "chain" in item}
    for item in items:
        if "rule" in item:
            found = item["rule"]
            key = (found["family"], found["table"], found["chain"])
            rules.setdefault(key, []).append(_rule(found, sets))
    found = (item["chain"] for item in items if "chain" in item)
    return tuple(_chain(item, rules) for item in found if _is_theirs(item, ours) and "hook" in item)


def sets_marks(ruleset: Iterable[Mapping[str, Any]]) -> bool:
    """True if a rule writes a mark, which is not followed."""
    return any(map(_sets_mark, _parts(ruleset)))


def _sets_mark(part: Mapping[str, Any]) -> bool:
    by_target = _xt(part.get("xt")) in {("MARK", True), ("CONNMARK", True)}
    return by_target or "mark" in str(part.get("mangle", {}).get("key"))


def _parts(ruleset: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for item in ruleset:
        yield from (part for part in item.get("rule", {}).get("expr", []) if isinstance(part, dict))


def _of(item: Mapping[str, Any]) -> tuple[str, str, str]:
    return item["family"], item["table"], item["name"]


def _is_theirs(chain: Mapping[str, Any], ours: str) -> bool:
    return chain["family"] in _FAMILIES and not chain["table"].startswith(ours)


def _chain(item: Mapping[str, Any], rules: Mapping[tuple[str, str, str], list[Rule]]) -> Chain:
    family, table, name = _of(item)
    others = {key[2]: tuple(found) for key, found in rules.items() if key[:2] == (family, table)}
    policy = Verdict.DROP if item.get("policy") == "drop" else Verdict.ACCEPT
    kind, hook, priority = item.get("type", "filter"), item["hook"], int(item.get("prio", 0))
    return Chain(family, table, name, kind, hook, priority, policy, others.get(name, ()), tuple(others.items()))


def _rule(item: Mapping[str, Any], sets: Mapping[tuple[str, str, str], Any]) -> Rule:
    named = {name: elements for (family, table, name), elements in sets.items() if (family, table) == _home(item)}
    conditions: list[Condition] = []
    verdict, target = Verdict.CONTINUE, ""
    for part in item.get("expr", []):
        kind, body = next(iter(part.items()))
        if kind == "match":
            conditions += _match(body, named)
        elif kind in _VERDICTS:
            verdict, target = _VERDICTS[kind], _target(body)
        elif kind == "xt":
            name, is_target = _xt(body)
            if is_target:
                verdict = _XT_TARGETS.get(name, Verdict.OTHER)
            elif name not in _XT_ASIDE:
                conditions.append(_OTHER)
        elif kind not in _ASIDE:
            conditions.append(_OTHER)
    return Rule(int(item.get("handle", 0)), tuple(conditions), verdict, target)


def _xt(body: Any) -> tuple[str, bool]:
    """The name of an extension of iptables, and whether it is a target; older nft have no names for them."""
    found = body if isinstance(body, dict) else {}
    return str(found.get("name", "")), found.get("type") == "target"


def _home(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["family"], item["table"]


def _target(body: Any) -> str:
    return str(body.get("target") or body.get("addr") or "") if isinstance(body, dict) else ""


def _match(body: Mapping[str, Any], sets: Mapping[str, Any]) -> Iterator[Condition]:
    inverted = body.get("op") == "!="
    field, version, more = _left(body.get("left"))
    yield from more
    values = _values(field, body.get("right"), sets) if body.get("op") in ("==", "!=", "in") else None
    yield _OTHER if field is Field.OTHER or values is None else Condition(field, values, inverted, version)


def _left(left: Any) -> tuple[Field, int, tuple[Condition, ...]]:
    """The field that is compared, its IP version, and the conditions that come with it."""
    match left:
        case {"meta": {"key": str(key)}} if key in _META:
            return _META[key], 0, ()
        case {"ct": {"key": "state"}}:
            return Field.STATE, 0, ()
        case {"payload": {"protocol": ("tcp" | "udp" | "sctp" | "th") as name, "field": ("sport" | "dport") as end}}:
            needs = (Condition(Field.PROTOCOL, (_one(_PROTOCOLS[name]),)),) if name in _PROTOCOLS else ()
            return (Field.SOURCE_PORT if end == "sport" else Field.DESTINATION_PORT), 0, needs
        case {"payload": {"protocol": str(name), "field": str(field)}} if (name, field) in _PAYLOAD:
            return *_PAYLOAD[name, field], ()
        case _:
            return Field.OTHER, 0, ()


def _values(field: Field, right: Any, sets: Mapping[str, Any]) -> Values | None:
    """None for what is not understood."""
    if isinstance(right, str) and right.startswith("@"):
        if right[1:] not in sets:
            return None
        right = {"set": sets[right[1:]]}
    elements = right.get("set", [right]) if isinstance(right, dict) else right if isinstance(right, list) else [right]
    found = [_value(field, element) for element in elements]
    return None if None in found else tuple(value for value in found if value is not None)


def _value(field: Field, element: Any) -> Value | None:
    match field, element:
        case ((Field.SOURCE | Field.DESTINATION), {"prefix": {"addr": str(address), "len": int(length)}}):
            return Prefix.parse(f"{address}/{length}")
        case ((Field.SOURCE | Field.DESTINATION), {"range": [str(low), str(high)]}):
            return Addresses(Address.parse(low), Address.parse(high))
        case ((Field.SOURCE | Field.DESTINATION), str()):
            return _prefix(element)
        case ((Field.ARRIVES | Field.LEAVES | Field.STATE), str()):
            return element
        case Field.VERSION, str() if element in _VERSIONS:
            return _one(_VERSIONS[element])
        case Field.PROTOCOL, str() if element in _PROTOCOLS:
            return _one(_PROTOCOLS[element])
        case _, int():
            return _one(element)
        case _, {"range": [int(low), int(high)]}:
            return Numbers(low, high)
        case _:
            return None


def _one(number: int) -> Numbers:
    return Numbers(number, number)


def _prefix(text: str) -> Prefix | None:
    try:
        return Prefix.parse(text)
    except ValueError:
        return None
