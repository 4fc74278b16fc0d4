"""
BGP filters and advertised communities: the same keys in both forms.

Refuses to know: what a filter does to a path (core/bgp/import_policy.py).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from bgpctl.core.cluster.configuration import Advertisement, Community, Filter, FilterRule, MatchOperator
from bgpctl.core.intent.draft import Draft, Located, Stated, located
from bgpctl.core.intent.fields import Fields, asn, parse_prefix
from bgpctl.core.intent.tree import shown
from bgpctl.core.intent.values import community
from bgpctl.core.net.addresses import Asn, Prefix

_BITS: Final = {4: 32, 6: 128}
_LONGEST_LINK_NAME: Final = 15
"""IFNAMSIZ - 1."""
_MOST_OPERATIONS: Final = 10
_MAX_PRIORITY: Final = 2147483646


class _Action(enum.Enum):
    ACCEPT = "Accept"
    REJECT = "Reject"


def read_filter(draft: Draft, fields: Fields, name: str, at: Located) -> None:
    """Take a filter in, by the keys of Calico's BGPFilter."""
    import4, export4 = _rules(fields, "importV4", 4), _rules(fields, "exportV4", 4)
    import6, export6 = _rules(fields, "importV6", 6), _rules(fields, "exportV6", 6)
    if draft.declare("filter", name, at):
        found = Filter(name, import4, export4, import6, export6, place=at.place)
        draft.filters[name] = Stated(found, at)


def _rules(fields: Fields, key: str, version: int) -> tuple[FilterRule, ...]:
    return tuple(_rule(rule, version) for rule in fields.each(key))


def _rule(fields: Fields, version: int) -> FilterRule:
    fields.need("a filter rule", "action")
    action = fields.choice("action", _Action)
    cidr, operator = fields.prefix("cidr"), fields.choice("matchOperator", MatchOperator)
    if cidr and cidr.version != version:
        fields.wrong("cidr", f"{cidr} is IPv{cidr.version}, in a list for IPv{version}", "family")
    if fields.has("cidr") != fields.has("matchOperator"):
        fields.wrong("cidr", "cidr and matchOperator are given together or not at all", "half-a-match")
    length = _length(fields, cidr, version)
    peers = fields.one_of("peerType", ("eBGP", "iBGP"))
    operations = _operations(fields, action)
    rule = FilterRule(
        accept=action is _Action.ACCEPT,
        cidr=cidr,
        operator=operator or MatchOperator.IN,
        length=length,
        from_peers=fields.one_of("source", ("RemotePeers",)) is not None,
        interface=_interface(fields),
        external=None if peers is None else peers == "eBGP",
        community=_community(fields),
        as_path=fields.values("asPathPrefix", asn, "asn"),
        priority=fields.integer("priority", 1, _MAX_PRIORITY),
        add_communities=tuple(operations.communities),
        prepend=operations.prepend,
        set_priority=operations.priority,
    )
    fields.finish()
    return rule


def _length(fields: Fields, cidr: Prefix | None, version: int) -> tuple[int, int] | None:
    """An absent length is that of the cidr, and that of a host."""
    length = fields.fields("prefixLength")
    if length is None:
        return None
    low, high = length.integer("min", 0, _BITS[version]), length.integer("max", 0, _BITS[version])
    length.finish()
    if not fields.has("cidr"):
        fields.wrong("prefixLength", "prefixLength says more about cidr, which is not given", "half-a-match")
    least = (cidr.length if cidr else 0) if low is None else low
    most = _BITS[version] if high is None else high
    if least > most:
        length.wrong("max" if high is not None else "min", f"no length is from {least} to {most}", "range")
    return least, most


def _interface(fields: Fields) -> str | None:
    text = fields.text("interface")
    if text is not None and not 0 < len(text) <= _LONGEST_LINK_NAME:
        fields.wrong("interface", f"{shown(text)} is not a link name (1 to {_LONGEST_LINK_NAME} characters)", "range")
    return text


def _community(fields: Fields) -> Community | None:
    match = fields.fields("communities")
    if match is None:
        return None
    values = match.values("values", lambda leaf: community(leaf.text), "community")
    if len(list(match.items("values"))) != 1:
        match.wrong("values", "exactly one community can be asked for", "one-community")
    match.finish()
    return values[0] if values else None


@dataclass(slots=True)
class _Operations:
    communities: list[Community] = field(default_factory=list)
    prepend: tuple[Asn, ...] = ()
    priority: int | None = None


def _operations(fields: Fields, action: _Action | None) -> _Operations:
    found = _Operations()
    operations = list(fields.each("operations"))
    for operation in operations:
        _operation(operation, found)
    if operations and action is _Action.REJECT:
        fields.wrong(
            "operations", "what is rejected cannot be changed: operations need action Accept", "reject-operation"
        )
    if len(operations) > _MOST_OPERATIONS:
        fields.wrong("operations", f"{len(operations)} operations; at most {_MOST_OPERATIONS}", "too-many")
    return found


_OPERATIONS: Final = ("addCommunity", "prependASPath", "setPriority")


def _operation(fields: Fields, found: _Operations) -> None:
    given = [key for key in _OPERATIONS if fields.has(key)]
    if len(given) != 1:
        message = f"an operation is exactly one of {', '.join(_OPERATIONS)}"
        fields.problems.add(fields.place, fields.path, message, "one-operation")
    add, prepend, priority = (fields.fields(key) for key in _OPERATIONS)
    if add:
        add.need("addCommunity", "value")
        value = add.value("value", lambda leaf: community(leaf.text), "community")
        found.communities += [value] if value else []
        add.finish()
    if prepend:
        prepend.need("prependASPath", "prefix")
        asns = prepend.values("prefix", asn, "asn")
        if len(asns) > _MOST_OPERATIONS:
            prepend.wrong("prefix", f"{len(asns)} AS numbers; at most {_MOST_OPERATIONS}", "too-many")
        # Done one after the other: what is put in front later stands further in front.
        found.prepend = (*asns, *found.prepend)
        prepend.finish()
    if priority:
        priority.need("setPriority", "value")
        found.priority = priority.integer("value", 1, _MAX_PRIORITY)
        priority.finish()
    fields.finish()


def read_advertisements(draft: Draft, fields: Fields) -> None:
    """Take in `communities` (names) and `prefixAdvertisements` (where they go), as in Calico's BGPConfiguration."""
    names = _community_names(fields)
    used: set[str] = set()
    adverts = tuple(_adverts(fields, names, used))
    for name in names.keys() - used:
        message = f"community {shown(name)} is in no prefixAdvertisements, so it is never announced"
        draft.wrong(names[name].at, message, "unused-community")
    if fields.has("prefixAdvertisements"):
        draft.set("advertisements", adverts, located(fields, "prefixAdvertisements"))


_Names: TypeAlias = Mapping[str, Stated[Community | None]]
"""A value that cannot be read still has its name taken."""


def _community_names(fields: Fields) -> _Names:
    names: dict[str, Stated[Community | None]] = {}
    for item in fields.each("communities"):
        item.need("a community", "name", "value")
        name, value = item.text("name"), item.value("value", lambda leaf: community(leaf.text), "community")
        item.finish()
        if name in names:
            item.wrong("name", f"community {shown(name)} is already given at {names[name].at.place}", "duplicate")
        elif name is not None:
            names[name] = Stated(value, located(item, "name"))
    return names


def _adverts(fields: Fields, names: _Names, used: set[str]) -> Iterator[Advertisement]:
    for item in fields.each("prefixAdvertisements"):
        item.need("a prefix advertisement", "cidr", "communities")
        cidr = item.value("cidr", lambda leaf: parse_prefix(leaf.text), "cidr")
        texts = item.values("communities", lambda leaf: _reference(leaf.text, names), "community")
        used.update(text for text in texts if text in names)
        resolved = [names[text].value if text in names else community(text) for text in texts]
        item.finish()
        if cidr:
            yield Advertisement(cidr, tuple(value for value in resolved if value))


def _reference(text: str, names: _Names) -> str:
    if text not in names:
        try:
            community(text)
        except ValueError as error:
            known = ", ".join(sorted(names)) or "none"
            raise ValueError(f"{error}, and not a name either (known: {known})") from None
    return text
