"""
The part of a plan that is about pairs of nodes, sessions and blocks: as JSON, and as lines.

Refuses to know: how a packet is followed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from bgpctl.agent import trace_words
from bgpctl.core.cluster.count import count
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.simulate import reach
from bgpctl.core.trace.announced import ObstacleCode

_SHOWN: Final = 12
"""Of names, one line's worth."""


def body(before: Intent, wanted: Intent, node: str | None) -> dict[str, Any]:
    """Losses by cause, sessions and blocks that come and go."""
    verdict = reach.compared(before, wanted, node)
    sessions = reach.sessions(before, wanted, node)
    moved = (item for item in reach.moved_blocks(before, wanted) if node in (None, item.was, item.now))
    return {
        "lost": _by_cause(verdict.losses, before, wanted),
        "pairs_followed": verdict.followed,
        "kinds_of_pairs": verdict.kinds,
        "sessions": [
            {**item._asdict(), "begins": [*item.begins], "ends": [*item.ends], "alike": [*item.alike]}
            for item in sessions
        ],
        "moved_blocks": [{**item._asdict(), "block": str(item.block)} for item in moved],
    }


def _by_cause(losses: Sequence[reach.Loss], before: Intent, wanted: Intent) -> list[dict[str, Any]]:
    found: dict[Any, dict[str, Any]] = {}
    for loss in losses:
        first = {**_cause(loss.failure, before, wanted), "pairs": 0, "first": [loss.source, loss.destination]}
        found.setdefault(_key(loss.failure), first)["pairs"] += loss.pairs
    return [*found.values()]


def _key(failure: reach.Failure) -> Any:
    """The cause without the names of the nodes."""
    kept_back = failure.obstacle
    if kept_back:
        return kept_back.code, kept_back.detail, kept_back.place, kept_back.rejection and kept_back.rejection.reason
    cause = getattr(failure.journey.end, "cause", None)
    return cause.code if cause else None


def _cause(failure: reach.Failure, before: Intent, wanted: Intent) -> dict[str, Any]:
    """Of one loss. `known`: false if a router that was not asked may have a route."""
    if failure.obstacle is None:
        text = trace_words.journey(failure.journey, wanted)["because"]
        return {"because": text, "place": None, "known": failure.known}
    words = trace_words.missing(failure.obstacle, failure.destination)
    off = failure.obstacle.code is ObstacleCode.NO_SESSION and before.mesh and not wanted.mesh
    return {
        "because": words["text"] + (" (mesh: false)" if off else ""),
        "place": words["place"],
        "known": failure.known,
    }


def is_loss(found: Mapping[str, Any]) -> bool:
    """True if a pair that reaches each other now would not."""
    return any(item["known"] for item in found.get("lost", ()))


def changes(found: Mapping[str, Any]) -> bool:
    """True if anything of this part would change."""
    return any(found.get(name) for name in ("lost", "sessions", "moved_blocks"))


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Sessions, blocks, and the pairs that lose each other, each with the cause."""
    for item in found.get("sessions", ()):
        for verb, sign in (("begins", "+"), ("ends", "-")):
            if item[verb]:
                yield f"{sign} {item['node']}: {count(len(item[verb]), 'BGP session')} with {_some(item[verb])}"
        if item["alike"]:
            yield f"  = {_some(item['alike'])}: as many, with their own peers"
    for item in found.get("moved_blocks", ()):
        yield f"~ block {item['block']}: from {item['was']} to {item['now'] or 'no node'}"
    for item in found.get("lost", ()):
        verb = "lose each other" if item["known"] else "may lose each other"
        place = f" ({item['place']})" if item["place"] else ""
        more = ", …" if item["pairs"] > 1 else ""
        yield f"! {count(item['pairs'], 'pair')} {verb}: {' to '.join(item['first'])}{more}: {item['because']}{place}"
    if found.get("pairs_followed", 0) < found.get("kinds_of_pairs", 0):
        yield f"! only {found['pairs_followed']} of {found['kinds_of_pairs']} kinds of pairs were followed"


def _some(names: Sequence[str]) -> str:
    more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join((*names[:_SHOWN], *more))
