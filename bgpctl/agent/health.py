"""
Whether this node is ready to be used, and if not, why: everything that is wanted is in the kernel, and nobody is
waited for.

Refuses to know: who asks.
"""

from __future__ import annotations

from collections.abc import Iterator

from bgpctl.agent import words
from bgpctl.core.agent.loop import State, unmet
from bgpctl.core.bgp.peer_table import TableState

_WAITED_FOR = frozenset({TableState.AWAITING_SESSION, TableState.AWAITING_END_OF_RIB})
"""A peer that was there and is gone is explained, and forwarding goes on: one dead node does not unready the others."""


def unready(state: State) -> Iterator[str]:
    """Each reason why not; none means ready. Without BGP there is nothing about BGP in it."""
    if state.intent is None:
        yield "there is no good cluster file yet"
    if state.kernel_error:
        yield words.kernel_lost(state.kernel_error)
    elif state.desired is None:
        yield "the kernel has not been looked at yet"
    if state.pending.ops:
        yield f"{len(state.pending.ops)} kernel objects are still to be changed"
    yield from map(words.unmet, unmet(state))
    yield from _bgp(state)


def _bgp(state: State) -> Iterator[str]:
    if state.config is None:
        return
    if not state.attached:
        yield "the BGP speaker does not answer yet"
    for session in state.config.sessions:
        table = state.adj_rib_in.get(session.peer)
        if table and table.state in _WAITED_FOR:
            yield f"peer {session.name} has not told all its routes yet"
