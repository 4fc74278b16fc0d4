"""
Calico's BGPFilter rules, evaluated on one route.

Refuses to know: the default where no rule matches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final, assert_never

from bgpctl.core.bgp.path import Attributes
from bgpctl.core.cluster.configuration import Filter, FilterRule, MatchOperator
from bgpctl.core.net.addresses import Prefix

NORMAL_PRIORITY: Final = 1024
"""Calico's default route priority, a kernel metric: the lower the better."""
_PRIORITY_BASE: Final = 2**31 - 1


def local_pref(priority: int) -> int:
    """Calico carries priorities between its nodes as LOCAL_PREF, which prefers the higher."""
    return _PRIORITY_BASE - priority


NORMAL_LOCAL_PREF: Final = local_pref(NORMAL_PRIORITY)


@dataclass(frozen=True, slots=True)
class Subject:
    """
    A route as a rule sees it.

    Attributes:
        learned: by BGP, not made here.
        external: the peer that it comes from or goes to is in another AS.
        link: that it leaves by, where that is known.
    """

    prefix: Prefix
    attributes: Attributes
    learned: bool
    external: bool
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """The first rule that matched, and the filter it stands in."""

    filter: str
    rule: FilterRule


def on_import(filters: Iterable[Filter], subject: Subject) -> Match | None:
    """The import rule that decides about `subject`, None where none matches."""
    version = subject.prefix.version
    return _first(((f.name, f.import4 if version == 4 else f.import6) for f in filters), subject)


def on_export(filters: Iterable[Filter], subject: Subject) -> Match | None:
    """The export rule that decides about `subject`, None where none matches."""
    version = subject.prefix.version
    return _first(((f.name, f.export4 if version == 4 else f.export6) for f in filters), subject)


def _first(lists: Iterator[tuple[str, tuple[FilterRule, ...]]], subject: Subject) -> Match | None:
    return next((Match(name, rule) for name, rules in lists for rule in rules if matches(rule, subject)), None)


def matches(rule: FilterRule, subject: Subject) -> bool:
    """True if every condition of the rule is met."""
    attributes = subject.attributes
    return (
        _prefix_matches(rule, subject.prefix)
        and (subject.learned or not rule.from_peers)
        and (rule.interface is None or (subject.link is not None and fnmatchcase(subject.link, rule.interface)))
        and rule.external in {None, subject.external}
        and (rule.community is None or rule.community in attributes.communities)
        and attributes.as_path[: len(rule.as_path)] == rule.as_path
        and rule.priority in {None, _priority(attributes)}
    )


def _prefix_matches(rule: FilterRule, prefix: Prefix) -> bool:
    if rule.cidr is None:
        return True
    least, most = rule.length or (0, 128)
    fits = least <= prefix.length <= most
    match rule.operator:
        case MatchOperator.EQUAL:
            return prefix == rule.cidr and fits
        case MatchOperator.NOT_EQUAL:
            return not (prefix == rule.cidr and fits)
        case MatchOperator.IN:
            return rule.cidr.covers(prefix) and fits
        case MatchOperator.NOT_IN:
            return not (rule.cidr.covers(prefix) and fits)
        case _:
            assert_never(rule.operator)


def _priority(attributes: Attributes) -> int:
    return NORMAL_PRIORITY if attributes.local_pref is None else _PRIORITY_BASE - attributes.local_pref


def operated(rule: FilterRule, attributes: Attributes) -> Attributes:
    """The attributes after the operations of an accepting rule."""
    added = tuple(community for community in rule.add_communities if community not in attributes.communities)
    return replace(
        attributes,
        communities=(*attributes.communities, *added),
        as_path=(*rule.prepend, *attributes.as_path),
        local_pref=attributes.local_pref if rule.set_priority is None else local_pref(rule.set_priority),
    )
