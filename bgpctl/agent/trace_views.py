"""
Views for `bgpctl explain` and `bgpctl verify`: the kernel with all that decides about a packet, and of the RIBs the
reasons why a route to a block is not there; the configuration in force.

Refuses to know: packets, how the kernel is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Final

from bgpctl.agent import trace_codec
from bgpctl.agent.errors import BadRequest
from bgpctl.agent.snapshot import Json, Snapshot
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Reason
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import MAIN_TABLE, METRIC, PROTOCOL
from bgpctl.core.proof.verdict import BROKEN, Verdict
from bgpctl.core.trace.announced import Obstacle, ObstacleCode
from bgpctl.core.trace.answers import NodeAnswer
from bgpctl.core.trace.snapshot import LostPath, Unread
from bgpctl.core.trace.snapshot import Snapshot as Kernel
from bgpctl.ports import Unavailable

MOST_OBJECTS: Final = 250_000
"""Of a kernel that is given as an answer; 100,000 routes take 16 MB of JSON."""
MOST_PROBLEMS: Final = 20
"""Of an agent's, that are given with it."""


def kernel(snapshot: Snapshot, read: Callable[[Dataplane], Kernel], problems: Iterable[str]) -> Json:
    """
    The answer about this node's kernel (core/trace/answers.py), with what the agent has to say (`problems`).

    Raises:
        BadRequest: it was not observed yet, cannot be read, or has too many objects.
    """
    state, intent = snapshot.state, snapshot.state.intent.in_force
    if state.kernel.observed is None or intent is None:
        raise BadRequest("it has not observed its kernel yet, or has no configuration")
    found = replace(_read(snapshot, read), lost=tuple(_lost(snapshot)))
    reasons = dict(_reasons(snapshot, found))
    absent = dict(_absent(snapshot, intent))
    said = tuple(islice(problems, MOST_PROBLEMS))
    answer = NodeAnswer(state.node, snapshot.cluster.digest(intent), found, reasons, absent, said)
    body: Json = trace_codec.encode(answer)
    return body


def _lost(snapshot: Snapshot) -> Iterator[LostPath]:
    """The paths in use by which probes are lost, all or the large ones."""
    for item in snapshot.state.proofs.known.values():
        if not item.used or item.verdict not in BROKEN or item.proof is None:
            continue
        is_narrow = item.verdict is Verdict.NARROW
        passes_bytes = item.proof.passes_bytes or item.path.full_bytes - 1 if is_narrow else 0
        yield LostPath(item.path.probe.hop.link, item.path.probe.remote, passes_bytes)


def _read(snapshot: Snapshot, read: Callable[[Dataplane], Kernel]) -> Kernel:
    try:
        found = read(snapshot.observed)
    except Unavailable as error:
        raise BadRequest(f"its kernel cannot be read: {error}") from error
    size = found.dataplane.size + sum(len(rules) for chain in found.chains for _, rules in chain.others)
    if size > MOST_OBJECTS:
        raise BadRequest(f"its kernel has {size} objects, and no more than {MOST_OBJECTS} are given as an answer")
    lost = snapshot.state.kernel.error
    return replace(found, unread=(*found.unread, Unread("routes and links", lost))) if lost else found


def _reasons(snapshot: Snapshot, found: Kernel) -> Iterator[tuple[Prefix, Reason]]:
    desired = snapshot.state.kernel.desired
    for route in found.dataplane.routes if desired else ():
        if route.protocol == PROTOCOL and desired:
            reason = desired.reasons.get(("route", route.table, route.prefix, route.metric))
            if reason and (route.table, route.metric) == (MAIN_TABLE, METRIC):
                yield route.prefix, reason


def _absent(snapshot: Snapshot, intent: Intent) -> Iterator[tuple[Prefix, Obstacle]]:
    ours = {route.prefix for route in snapshot.observed.routes if route.protocol == PROTOCOL}
    for node in intent.nodes:
        for prefix in intent.prefixes_of(node) if node.name != snapshot.state.node else ():
            if prefix not in ours and (found := _obstacle(snapshot, intent, node, prefix)):
                yield prefix, found


def _obstacle(snapshot: Snapshot, intent: Intent, owner: Node, prefix: Prefix) -> Obstacle | None:
    """Why there is no route to the owner's prefix; None where the agent does not know it either."""
    here, bgp, pool = snapshot.state.node, snapshot.state.bgp, intent.pool_of(prefix)
    desired = snapshot.state.kernel.desired
    if desired and ("route", MAIN_TABLE, prefix, METRIC) in desired.reasons:
        return Obstacle(ObstacleCode.NOT_INSTALLED, here, owner.name)
    if pool is None or not pool.encapsulation.by_bgp or bgp.config is None:
        return None
    for item in bgp.loc_rib.rejections.get(prefix) or ():
        return Obstacle(ObstacleCode.IMPORT, here, snapshot.name_of(item.peer), rejection=item.rejection)
    sessions = {snapshot.member_at(session.peer) or session.name: session.peer for session in snapshot.sessions}
    up = {name for name, peer in sessions.items() if peer in bgp.adj_rib_in and peer not in bgp.peers_down}
    if owner.name in sessions and owner.name not in up:
        return Obstacle(ObstacleCode.SESSION_DOWN, here, owner.name)
    if not up:
        return Obstacle(ObstacleCode.SESSION_DOWN, here, next(iter(sessions), "any peer"))
    return Obstacle(ObstacleCode.NOT_RECEIVED, here, owner.name)


def intent(snapshot: Snapshot) -> Json:
    """The configuration in force with its places in the files, for a command on this node; null without one."""
    found = snapshot.state.intent.in_force
    return {"node": snapshot.state.node, "intent": trace_codec.encode_intent(found) if found else None}
