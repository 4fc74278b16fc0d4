"""
The part of a plan that is about pairs of nodes, sessions and blocks, as lines.

Refuses to know: how a packet is followed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from bgpctl.core.cluster.count import count

_SHOWN: Final = 12
"""Of names, one line's worth."""


_OF_SESSIONS: Final = (
    ("begins", "+", ""),
    ("ends", "-", ""),
    ("restarts", "!", ": another AS number, none until both ends have it"),
)


def is_loss(found: Mapping[str, Any]) -> bool:
    """True if something that is reachable now would not be, or if that is not known because not all was followed."""
    pairs = any(item["known"] for item in found.get("lost", ()))
    blocks = any(item["used"] for item in found.get("moved_blocks", ()))
    restarts = any(item["restarts"] for item in found.get("sessions", ()))
    return pairs or blocks or restarts or _is_part(found)


def _is_part(found: Mapping[str, Any]) -> bool:
    return bool(found.get("pairs_followed", 0) < found.get("kinds_of_pairs", 0))


def changes(found: Mapping[str, Any]) -> bool:
    """True if anything of this part would change."""
    return any(found.get(name) for name in ("lost", "sessions", "moved_blocks"))


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Sessions, blocks, and the pairs that lose each other, each with the cause."""
    for item in found.get("sessions", ()):
        for verb, sign, more in _OF_SESSIONS:
            if item[verb]:
                yield f"{sign} {item['node']}: {count(len(item[verb]), 'BGP session')} with {_some(item[verb])}{more}"
        if item["alike"]:
            yield f"  = {_some(item['alike'])}: as many, with their own peers"
    yield from block_lines(found.get("moved_blocks", ()))
    for item in found.get("lost", ()):
        verb = "lose each other" if item["known"] else "may lose each other"
        place = f" ({item['place']})" if item["place"] else ""
        more = ", …" if item["pairs"] > 1 else ""
        yield f"! {count(item['pairs'], 'pair')} {verb}: {' to '.join(item['first'])}{more}: {item['because']}{place}"
    if _is_part(found):
        followed, kinds = found["pairs_followed"], found["kinds_of_pairs"]
        yield f"! only {followed} of {kinds} kinds of pairs were followed: what the others lose is not known"


def block_lines(moved: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Blocks that their node has no more. Used ones first, so that none of them is left out for one that is not."""
    for item in sorted(moved, key=lambda item: not item["used"])[:_SHOWN]:
        sign, more = ("!", ", and its workloads become unreachable") if item["used"] else ("~", ", and nothing uses it")
        yield f"{sign} block {item['block']}: from {item['was']} to {item['now'] or 'no node'}{more}"
    if len(moved) > _SHOWN:
        yield f"  and {count(len(moved) - _SHOWN, 'block')} more"


def _some(names: Sequence[str]) -> str:
    more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join((*names[:_SHOWN], *more))
