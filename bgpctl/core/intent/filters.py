"""
BGP filters and advertised communities: the same keys in both forms.

Refuses to know: the effect of a filter on a path (core/bgp/import_policy.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Final, TypeAlias

from bgpctl.core.cluster.configuration import Advertisement, Community, Filter, FilterRule, MatchOperator
from bgpctl.core.intent.draft import Draft, Located, Stated, located
from bgpctl.core.intent.field_kinds import (
    COMMUNITY,
    PREFIX,
    TEXT,
    FieldKind,
    coded,
    enumeration,
    integer,
    records,
    several,
    written_community,
)
from bgpctl.core.intent.fields import Fields, asn
from bgpctl.core.intent.shapes import Shape, many, numbers, ref
from bgpctl.core.intent.tables import Row, Table, Written
from bgpctl.core.intent.tree import shown
from bgpctl.core.intent.values import community
from bgpctl.core.net.addresses import Asn

_BITS: Final = {4: 32, 6: 128}
_LONGEST_LINK_NAME: Final = 15
"""IFNAMSIZ - 1."""
_MOST_OPERATIONS: Final = 10
_MOST_ASNS: Final = 10
_PRIORITY: Final = integer(1, 2147483646)


# Conditions of a rule ------------------------------------------------------------------------------------------


def _read_length(version: int, fields: Fields, key: str) -> tuple[int, int] | None:
    """An absent length is that of the cidr, and that of a host."""
    length = fields.fields(key)
    if length is None:
        return None
    cidr = fields.prefix("cidr")
    low, high = length.integer("min", 0, _BITS[version]), length.integer("max", 0, _BITS[version])
    length.finish()
    if not fields.has("cidr"):
        fields.wrong(key, "prefixLength restricts cidr, which is not given", "half-a-match")
    least = (cidr.length if cidr else 0) if low is None else low
    most = _BITS[version] if high is None else high
    if least > most:
        length.wrong("max" if high is not None else "min", f"no length is from {least} to {most}", "range")
    return least, most


def _length(version: int) -> FieldKind[tuple[int, int]]:
    shape: Shape = {
        "type": ["object", "null"],
        "properties": {"min": numbers(0, _BITS[6]), "max": numbers(0, _BITS[6])},
        "additionalProperties": False,
    }
    return FieldKind(partial(_read_length, version), shape, lambda length: {"min": length[0], "max": length[1]})


def _read_interface(fields: Fields, key: str) -> str | None:
    text = fields.text(key)
    if text is not None and not 0 < len(text) <= _LONGEST_LINK_NAME:
        fields.wrong(key, f"{shown(text)} is not a link name (1 to {_LONGEST_LINK_NAME} characters)", "range")
    return text


_INTERFACE: Final = FieldKind(
    _read_interface,
    {"type": ["string", "number", "boolean", "null"], "minLength": 1, "maxLength": _LONGEST_LINK_NAME},
)


def _read_communities(fields: Fields, key: str) -> Community | None:
    match = fields.fields(key)
    if match is None:
        return None
    values = match.values("values", lambda leaf: community(leaf.text), "community")
    if len(list(match.items("values"))) != 1:
        match.wrong("values", "exactly one community can be asked for", "one-community")
    match.finish()
    return values[0] if values else None


_COMMUNITIES: Final = FieldKind(
    _read_communities,
    {
        "type": ["object", "null"],
        "required": ["values"],
        "properties": {"values": {"type": "array", "items": ref("community"), "minItems": 1, "maxItems": 1}},
        "additionalProperties": False,
    },
    lambda value: {"values": [written_community(value)]},
)


# Operations of a rule ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Operations:
    communities: list[Community] = field(default_factory=list)
    prepend: tuple[Asn, ...] = ()
    priority: int | None = None


def _read_prefix(fields: Fields, key: str) -> tuple[Asn, ...]:
    asns = fields.values(key, asn, "asn")
    if len(asns) > _MOST_ASNS:
        fields.wrong(key, f"{len(asns)} AS numbers; at most {_MOST_ASNS}", "too-many")
    return asns


_PREPENDED: Final = FieldKind(_read_prefix, many(ref("asn"), maxItems=_MOST_ASNS), list)
_OPERATIONS: Final = {
    "addCommunity": Table((Row("value", COMMUNITY, "value"),)),
    "prependASPath": Table((Row("prefix", _PREPENDED, "prefix"),)),
    "setPriority": Table((Row("value", _PRIORITY, "value"),)),
}


def _read_operations(fields: Fields, key: str) -> _Operations:
    found = _Operations()
    operations = list(fields.each(key))
    for operation in operations:
        _read_operation(operation, found)
    if operations and _ACTION.read(fields, "action") is False:
        fields.wrong(key, "operations need action Accept: a rejected path cannot be changed", "reject-operation")
    if len(operations) > _MOST_OPERATIONS:
        fields.wrong(key, f"{len(operations)} operations; at most {_MOST_OPERATIONS}", "too-many")
    return found


def _read_operation(fields: Fields, found: _Operations) -> None:
    given = [key for key in _OPERATIONS if fields.has(key)]
    if len(given) != 1:
        message = f"an operation is exactly one of {', '.join(_OPERATIONS)}"
        fields.problems.add(fields.place, fields.path, message, "one-operation")
    for key, table in _OPERATIONS.items():
        operation = fields.fields(key)
        if operation:
            operation.need(key, *table.keys())
            _take_operation(key, found, table.read(operation))
            operation.finish()
    fields.finish()


def _take_operation(key: str, found: _Operations, values: dict[str, object]) -> None:
    match key, values:
        case "addCommunity", {"value": tuple(value)}:
            found.communities.append(value)
        case "prependASPath", {"prefix": tuple(prefix)}:
            # Done one after the other: an AS prepended later stands further in front.
            found.prepend = (*prefix, *found.prepend)
        case "setPriority", {"value": int(value)}:
            found.priority = value
        case _:
            pass


def _written_operations(rule: FilterRule) -> Iterator[Written]:
    add, prepend, priority = _OPERATIONS
    added: Iterator[Written] = ({add: {"value": written_community(one)}} for one in rule.add_communities)
    # An AS prepended later stands further in front, so the end of a long prefix comes first.
    prepended: Iterator[Written] = ({prepend: {"prefix": list(part)}} for part in reversed(_parts(rule.prepend)))
    yield from chain(added, prepended)
    if rule.set_priority is not None:
        yield {priority: {"value": rule.set_priority}}


def _parts(asns: tuple[Asn, ...]) -> list[tuple[Asn, ...]]:
    return [asns[start : start + _MOST_ASNS] for start in range(0, len(asns), _MOST_ASNS)]


OPERATION_SHAPE: Final[Shape] = {
    "type": "object",
    "properties": {key: table.shape(nullable=True) for key, table in _OPERATIONS.items()},
    "additionalProperties": False,
    "minProperties": 1,
}


# Filters -------------------------------------------------------------------------------------------------------

_ACTION: Final = coded({"Accept": True, "Reject": False})


def _no_operator(_: FilterRule) -> None:
    """It is never left out beside a cidr, and is nothing without one."""


def _rule_table(version: int) -> Table:
    """The rules of one IP version."""
    operations = FieldKind(_read_operations, many(ref("filterOperation"), maxItems=_MOST_OPERATIONS), list)
    return Table(
        (
            Row("action", _ACTION, "accept", needed=True),
            Row("cidr", PREFIX, "cidr"),
            Row(
                "matchOperator",
                enumeration(MatchOperator),
                "operator",
                "The comparison of a prefix with cidr.",
                implied=_no_operator,
            ),
            Row("prefixLength", _length(version), "length", "Least and greatest length; with cidr."),
            Row("source", coded({"RemotePeers": True}), "from_peers", "Only paths that were learned by BGP."),
            Row("interface", _INTERFACE, "interface", "A glob over the name of the link that the route leaves by."),
            Row("peerType", coded({"eBGP": True, "iBGP": False}), "external"),
            Row("communities", _COMMUNITIES, "community"),
            Row("asPathPrefix", several(asn, "asn", ref("asn")), "as_path", "The first AS numbers of the AS path."),
            Row("priority", _PRIORITY, "priority", "The metric of the route."),
            Row("operations", operations, "operations", "Changes to a path that is accepted."),
        ),
        FilterRule,
        "a filter rule",
    )


RULES: Final = {version: _rule_table(version) for version in (4, 6)}


def _rules(version: int) -> FieldKind[tuple[FilterRule, ...]]:
    return records(partial(_read_rule, version), ref("filterRule"), _written_rule)


def _read_rule(version: int, fields: Fields) -> FilterRule:
    found = RULES[version].read(fields)
    cidr, operations = found.get("cidr"), found.pop("operations")
    if cidr and cidr.version != version:
        fields.wrong("cidr", f"{cidr} is IPv{cidr.version}, in a list for IPv{version}", "family")
    if fields.has("cidr") != fields.has("matchOperator"):
        fields.wrong("cidr", "cidr and matchOperator are given together or not at all", "half-a-match")
    fields.finish()
    return FilterRule(
        accept=found.pop("accept", False),
        add_communities=tuple(operations.communities),
        prepend=operations.prepend,
        set_priority=operations.priority,
        **found,
    )


def _written_rule(rule: FilterRule) -> Written:
    operator = rule.operator if rule.cidr else None
    return RULES[4].write(rule, operator=operator, operations=list(_written_operations(rule)) or None)


FILTER: Final = Table(
    (
        Row("importV4", _rules(4), "import4", "For IPv4 paths from the peer."),
        Row("exportV4", _rules(4), "export4", "For IPv4 paths to the peer."),
        Row("importV6", _rules(6), "import6", "For IPv6 paths from the peer."),
        Row("exportV6", _rules(6), "export6", "For IPv6 paths to the peer."),
    ),
    Filter,
    about="Rules of which the first that matches decides.",
)
"""The keys of Calico's BGPFilter."""


def read_filter(draft: Draft, fields: Fields, name: str, at: Located) -> None:
    """Take a filter in."""
    found = FILTER.read(fields)
    if draft.declare("filter", name, at):
        draft.filters[name] = Stated(Filter(name, **found, place=at.place), at)


# Advertised communities ----------------------------------------------------------------------------------------

_NAMED: Final = Table(
    (Row("name", TEXT, "name", needed=True), Row("value", COMMUNITY, "value", needed=True)), what="a community"
)
_Names: TypeAlias = Mapping[str, Stated[Community | None]]
"""A value that cannot be read still has its name taken."""


def _community_names(fields: Fields) -> _Names:
    names: dict[str, Stated[Community | None]] = {}
    for item in fields.each("communities"):
        found = _NAMED.read(item)
        item.finish()
        name = found.get("name")
        if name in names:
            item.wrong("name", f"community {shown(name)} is already given at {names[name].at.place}", "duplicate")
        elif name is not None:
            names[name] = Stated(found.get("value"), located(item, "name"))
    return names


def _advert_table(names: _Names) -> Table:
    """The keys of an advertisement where these are the names of communities."""
    references = several(lambda leaf: _reference(leaf.text, names), "community", ref("text"), written_community)
    return Table(
        (Row("cidr", PREFIX, "cidr", needed=True), Row("communities", references, "communities", needed=True)),
        Advertisement,
        "a prefix advertisement",
    )


_ADVERT: Final = _advert_table({})


def _read_adverts(fields: Fields, key: str) -> tuple[Advertisement, ...] | None:
    """`communities` (names) and `prefixAdvertisements` (where they go), as in Calico's BGPConfiguration."""
    names = _community_names(fields)
    table, used = _advert_table(names), set[str]()
    adverts = tuple(advert for item in fields.each(key) for advert in _read_advert(item, table, names, used))
    for name in names.keys() - used:
        at, message = names[name].at, f"community {shown(name)} is in no prefixAdvertisements, so it is never announced"
        fields.problems.add(at.place, at.path, message, "unused-community")
    return adverts if fields.has(key) else None


def _read_advert(fields: Fields, table: Table, names: _Names, used: set[str]) -> Iterator[Advertisement]:
    found = table.read(fields)
    texts = found.get("communities", ())
    used.update(text for text in texts if text in names)
    resolved = [names[text].value if text in names else community(text) for text in texts]
    fields.finish()
    if "cidr" in found:
        yield Advertisement(found["cidr"], tuple(value for value in resolved if value))


def _reference(text: str, names: _Names) -> str:
    if text not in names:
        try:
            community(text)
        except ValueError as error:
            known = ", ".join(sorted(names)) or "none"
            raise ValueError(f"{error}, and not a name either (known: {known})") from None
    return text


_NAMES_OF_COMMUNITIES: Final[FieldKind[None]] = FieldKind(
    lambda fields, key: fields.ignore(key), many(_NAMED.shape()), None
)
"""Read with the advertisements, which are what refers to them."""
_ADVERTS: Final = FieldKind(
    _read_adverts, many(_ADVERT.shape()), lambda adverts: [_ADVERT.write(advert) for advert in adverts]
)
ADVERTISEMENTS: Final = (
    Row("communities", _NAMES_OF_COMMUNITIES, about="Names for communities; each has to be advertised somewhere."),
    Row(
        "prefixAdvertisements",
        _ADVERTS,
        "advertisements",
        "Communities on routes announced inside a prefix: names or literals.",
    ),
)
