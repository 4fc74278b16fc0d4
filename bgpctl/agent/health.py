"""
Readiness of this node, with the reasons against it: everything that is wanted is in the kernel, and no peer is
awaited.

Refuses to know: who reads it.
"""

from __future__ import annotations

from collections.abc import Iterator

from bgpctl.agent import words
from bgpctl.core.agent.state import State
from bgpctl.core.bgp.peer_table import TableState
from bgpctl.core.cluster.count import count

_INCOMPLETE = frozenset({TableState.AWAITING_SESSION, TableState.AWAITING_END_OF_RIB})
"""A peer that is down is no reason: forwarding goes on, and one dead node does not make the others unready."""


def unready(state: State) -> Iterator[str]:
    """Each reason against readiness; none means ready. Without BGP none of them is about BGP."""
    if state.intent.in_force is None:
        yield "no valid cluster file was loaded yet"
    if state.kernel.error:
        yield words.kernel_lost(state.kernel.error)
    elif state.kernel.desired is None:
        yield "kernel state was not read yet"
    pending = len(state.kernel.pending.ops)
    if pending:
        yield f"{count(pending, 'kernel object')} still to be changed"
    yield from map(words.unmet, state.kernel.unmet)
    yield from _bgp(state)


def _bgp(state: State) -> Iterator[str]:
    if state.bgp.config is None:
        return
    if not state.bgp.attached:
        yield "ExaBGP does not answer yet"
    for session in state.bgp.config.sessions:
        table = state.bgp.adj_rib_in.get(session.peer)
        if table and table.state in _INCOMPLETE:
            yield f"no End-of-RIB from peer {session.name} yet"
