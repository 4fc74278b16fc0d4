"""
The needs of tunnel devices for each other member: entries, and the links by which packets leave for it.

Nothing here depends on two members at once. So if only some members changed, those of all others are taken over, unless
two members want an object with the same key, of which the first one counts.

Refuses to know: which encapsulations there are, why a member changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple, TypeAlias

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Reason
from bgpctl.core.fabric.desired import Reasoned, gather
from bgpctl.core.fabric.encapsulations import BEHAVIOURS
from bgpctl.core.fabric.facts import Underlay, outer_link
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Key, key_of
from bgpctl.core.net.table import is_same

Devices: TypeAlias = tuple[tuple[str, int, str], ...]
"""Tunnel devices that are wanted: the name of the encapsulation, the IP version, the name of the link."""


Outer: TypeAlias = tuple[tuple[int, str | None], ...]
"""By IP version the link by which packets leave for a member."""


class EntriesInput(NamedTuple):
    """All that entries depend on. Of the intent each member is compared by itself."""

    intent: Intent
    node: Node
    foreign: Dataplane
    underlays: tuple[Underlay, ...]
    devices: Devices


class _Part(NamedTuple):
    """Of one member its objects, and its outer links."""

    objects: tuple[Reasoned, ...]
    outer: Outer


class Entries(NamedTuple):
    """
    Of all other members.

    Attributes:
        dataplane: the objects, with their `reasons` by key.
        outer: how many members have the same links, by these.
        is_distinct: no two members want an object with the same key.
    """

    made_from: EntriesInput
    parts: Mapping[str, _Part]
    dataplane: Dataplane
    reasons: Mapping[Key, Reason]
    outer: Counter[Outer]
    is_distinct: bool

    def outer_links(self, version: int) -> set[str | None]:
        """The links by which packets of one IP version leave."""
        return {link for outer in self.outer for of, link in outer if of == version}


def entries(read: EntriesInput, before: Entries | None, changed: frozenset[str] | None) -> Entries:
    """The entries; `changed` are the nodes that differ from the intent `before`, None if more than nodes does."""
    if before and is_same(before.made_from, read):
        return before
    known = before if before and before.is_distinct and is_same(before.made_from, read, but="intent") else None
    edited = _edited(read, known, changed) if known and changed is not None else None
    if edited:
        return edited
    found = _whole(read)
    return found._replace(dataplane=found.dataplane.sharing(before.dataplane)) if before else found


def _whole(read: EntriesInput) -> Entries:
    parts = dict(_parts(read, read.intent.nodes))
    found = gather(chain.from_iterable(part.objects for part in parts.values()), (), ())
    count = sum(len(part.objects) for part in parts.values())
    outer = Counter(part.outer for part in parts.values())
    return Entries(read, parts, found.dataplane, found.reasons, outer, count == len(found.reasons))


def _edited(read: EntriesInput, before: Entries, changed: Iterable[str]) -> Entries | None:
    """None if two members want an object with the same key."""
    nodes = [node for name in changed if (node := read.intent.node(name))]
    old = {name: before.parts[name] for name in changed if name in before.parts}
    new = dict(_parts(read, nodes))
    if old == new:
        return before._replace(made_from=read)
    gone = [item for part in old.values() for item in part.objects]
    come = [item for part in new.values() for item in part.objects]
    reasons = dict(before.reasons)
    for obj, _ in gone:
        del reasons[key_of(obj)]
    for obj, reason in come:
        if reasons.setdefault(key_of(obj), reason) is not reason:
            return None
    if len(reasons) != len(before.reasons) - len(gone) + len(come):
        return None
    parts = {**before.parts, **new}
    for name in old.keys() - new.keys():
        del parts[name]
    dataplane = before.dataplane.minus_all(_objects(gone)).plus_all(_objects(come))
    outer = Counter(before.outer)
    outer.update(part.outer for part in new.values())
    outer.subtract(part.outer for part in old.values())
    return Entries(read, parts, dataplane, reasons, +outer, is_distinct=True)


def _objects(reasoned: Iterable[Reasoned]) -> Dataplane:
    return Dataplane.of(obj for obj, _ in reasoned)


def _parts(read: EntriesInput, members: Iterable[Node]) -> Iterator[tuple[str, _Part]]:
    behaviours = [(BEHAVIOURS[name], version, link) for name, version, link in read.devices]
    for member in members:
        if member is not read.node and member != read.node:
            wanted = chain.from_iterable(
                item.member_objects(read.intent, member, link, version) for item, version, link in behaviours
            )
            yield member.name, _Part(tuple(wanted), tuple(_outer(read, member)))


def _outer(read: EntriesInput, member: Node) -> Iterator[tuple[int, str | None]]:
    for underlay in read.underlays:
        there = member.underlay(underlay.version)
        if there:
            yield underlay.version, outer_link(read.foreign, underlay, there.address)
