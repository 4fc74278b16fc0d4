"""
Sessions that begin, end or restart by another cluster file, and blocks that a node has no more.

Refuses to know: packets, words, what is in any kernel now.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple, TypeAlias

from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.bgp.speaker import Session
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.simulate.reach import classes


class Sessions(NamedTuple):
    """
    Sessions of one node, by the names of the other ends, and the nodes like it.

    Attributes:
        begins, ends: with them.
        restarts: those that stay, with another AS number at one end: until both ends have it there is none.
    """

    node: str
    begins: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    restarts: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()


def sessions(before: Intent, wanted: Intent, node: str | None = None) -> tuple[Sessions, ...]:
    """Of nodes of one class the first one's. A node that one file alone has is of a class of its own."""
    if before == wanted:
        return ()
    found: dict[Hashable, list[str]] = {}
    for name, number in ({node: node} if node else _every_class(before, wanted)).items():
        found.setdefault(number, []).append(name)
    names = [{address: item.name for item in intent.nodes for address in item.addresses} for intent in (before, wanted)]
    ends = (
        (_ends(before, first, names[0]), _ends(wanted, first, names[1]), first, more) for first, *more in found.values()
    )
    changes = (_changes(was, will, first)._replace(alike=tuple(more)) for was, will, first, more in ends)
    return tuple(item for item in changes if item.begins or item.ends or item.restarts)


def _every_class(before: Intent, wanted: Intent) -> Mapping[str, Hashable]:
    both = classes(before, wanted)
    names = dict.fromkeys((*before.by_name, *wanted.by_name))
    return {name: both.get(name, name) for name in names}


_Ends: TypeAlias = Mapping[str, tuple[Session, ...]]
"""By the name of the other end; of both IP versions."""


def _ends(intent: Intent, name: str, names: Mapping[Address, str]) -> _Ends:
    config = speaker_config(intent, name)
    found: dict[str, tuple[Session, ...]] = {}
    for item in config.sessions if config else ():
        end = names.get(item.peer, item.name)
        found[end] = (*found.get(end, ()), item)
    return found


def _changes(was: _Ends, will: _Ends, name: str) -> Sessions:
    restarts = (end for end in was.keys() & will.keys() if _numbers(was[end]) != _numbers(will[end]))
    begins, ends = will.keys() - was.keys(), was.keys() - will.keys()
    return Sessions(name, *(tuple(sorted(names)) for names in (begins, ends, restarts)))


def _numbers(ends: tuple[Session, ...]) -> frozenset[tuple[int, int]]:
    return frozenset((end.local_asn, end.peer_asn) for end in ends)


class MovedBlock(NamedTuple):
    """A block, or a part of it, that another node has, or none."""

    block: Prefix
    was: str
    now: str | None


def moved_blocks(before: Intent, wanted: Intent) -> tuple[MovedBlock, ...]:
    """Blocks that their node has no more as a whole, in their order."""
    was, now = _owners(before), _owners(wanted)
    return tuple(
        MovedBlock(block, was[block].name, now[block].name if block in now else None)
        for block in sorted(was)
        if (block not in now or now[block].name != was[block].name)
        and not _is_kept(block, wanted.allocations.of(was[block].name).blocks)
    )


def _is_kept(block: Prefix, blocks: tuple[Prefix, ...]) -> bool:
    """True if these cover it, as one that has grown does, or all its parts."""
    return any(other.covers(block) for other in blocks) or block.size == sum(
        other.size for other in blocks if block.covers(other)
    )


def _owners(intent: Intent) -> Mapping[Prefix, Node]:
    return {block: node for node in intent.nodes for block in intent.blocks_of(node)}
