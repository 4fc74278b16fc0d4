"""
Drift: objects to be restored although the desired state is unchanged.

Refuses to know: how something is restored, whether that succeeded, and how often it is attempted
(core/agent/attempts.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bgpctl.core.dataplane.effects import Op, Put
from bgpctl.core.dataplane.ops import RouteOps, by_kind
from bgpctl.core.fabric import Desired
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import key_of
from bgpctl.core.net.route_set import RouteSet


class Mismatch(NamedTuple):
    """Objects of a mirror of the kernel that are not there, and objects there that the mirror lacked."""

    absent: Dataplane
    unknown: Dataplane


def repairs_in(before: Desired | None, pending: Iterable[Op], ops: Sequence[Op]) -> tuple[Op, ...]:
    """The repairs among `ops`: they restore what was in place when `before` was wanted and `pending` was called for."""
    if before is None or not ops:
        return ()
    parts = (part for _, part in by_kind(ops) if not _are_all_new(part, before))
    repairs = [op for part in parts for op in part if _was_in_place(op, before)]
    known = frozenset(pending) if repairs else frozenset()
    return tuple(op for op in repairs if op not in known)


def _are_all_new(ops: Sequence[Op], before: Desired) -> bool:
    """True if none of many routes to be put was wanted before. A table that comes costs a third of the time so."""
    return isinstance(ops, RouteOps) and ops.verb is Put and not before.dataplane.route_set & RouteSet.of(ops.routes)


def _was_in_place(op: Op, before: Desired) -> bool:
    if isinstance(op, Put):
        return is_wanted(op, before)
    return not before.prune_holds and is_wanted(op, before)


def is_wanted(op: Op, desired: Desired) -> bool:
    """True if `op` leads to what is desired: it puts a wanted object, or removes one that is not wanted."""
    if isinstance(op, Put):
        return op.object in desired.dataplane
    return key_of(op.object) not in desired.reasons
