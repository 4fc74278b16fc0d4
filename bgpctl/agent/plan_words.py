"""
The effects of another cluster file on the cluster, as JSON: pairs that lose each other, sessions, blocks.

Refuses to know: how a packet is followed, this node's own plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bgpctl.agent import trace_words
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.simulate import losses, membership
from bgpctl.core.simulate.membership import MovedBlock
from bgpctl.core.simulate.pair import Failure
from bgpctl.core.trace.announced import ObstacleCode


def _every(_: MovedBlock) -> bool:
    return True


def body(
    before: Intent, wanted: Intent, node: str | None = None, is_used: Callable[[MovedBlock], bool] = _every
) -> dict[str, Any]:
    """
    Losses by cause, sessions and blocks that come and go. `node`: only what concerns this one; `is_used`: whether
    anything in a block is reachable now.
    """
    verdict = losses.compared(before, wanted, node)
    sessions = membership.sessions(before, wanted, node)
    moved = (item for item in membership.moved_blocks(before, wanted) if node in (None, item.was, item.now))
    return {
        "lost": _by_cause(verdict.losses, before, wanted),
        "pairs_followed": verdict.followed,
        "kinds_of_pairs": verdict.kinds,
        "sessions": [
            {name: [*value] if isinstance(value, tuple) else value for name, value in item._asdict().items()}
            for item in sessions
        ],
        "moved_blocks": [{**item._asdict(), "block": str(item.block), "used": is_used(item)} for item in moved],
    }


def _by_cause(found: Sequence[losses.Loss], before: Intent, wanted: Intent) -> list[dict[str, Any]]:
    causes: dict[Any, dict[str, Any]] = {}
    for loss in found:
        first = {**_cause(loss.failure, before, wanted), "pairs": 0, "first": [loss.source, loss.destination]}
        causes.setdefault(_key(loss.failure), first)["pairs"] += loss.pairs
    return [*causes.values()]


def _key(failure: Failure) -> Any:
    """The cause without the names of the nodes."""
    kept_back = failure.obstacle
    if kept_back:
        return kept_back.code, kept_back.detail, kept_back.place, kept_back.rejection and kept_back.rejection.reason
    cause = getattr(failure.journey.end, "cause", None)
    return cause.code if cause else None


def _cause(failure: Failure, before: Intent, wanted: Intent) -> dict[str, Any]:
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
