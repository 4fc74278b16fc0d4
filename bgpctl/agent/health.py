"""
Readiness of this node, with the reasons against it: everything that is wanted is in the kernel, and nobody is waited
for.

Refuses to know: who asks.
"""

from __future__ import annotations

from collections.abc import Iterator

from bgpctl.agent import words
from bgpctl.core.agent.state import State
from bgpctl.core.bgp.peer_table import TableState

_WAITED_FOR = frozenset({TableState.AWAITING_SESSION, TableState.AWAITING_END_OF_RIB})
"""A peer that was there and is gone is explained, and forwarding goes on: one dead node does not unready the others."""


def unready(state: State) -> Iterator[str]:
    """Each reason why not; none means ready. Without BGP there is nothing about BGP in it."""
    if state.intent.in_force is None:
        yield "there is no good cluster file yet"
    if state.kernel.error:
        yield words.kernel_lost(state.kernel.error)
    elif state.kernel.desired is None:
        yield "the kernel has not been looked at yet"
    pending = len(state.kernel.pending.ops)
    if pending:
        yield f"{pending} kernel objects are still to be changed"
    yield from map(words.unmet, state.kernel.unmet)
    yield from _bgp(state)


def _bgp(state: State) -> Iterator[str]:
    if state.bgp.config is None:
        return
    if not state.bgp.attached:
        yield "the BGP speaker does not answer yet"
    for session in state.bgp.config.sessions:
        table = state.bgp.adj_rib_in.get(session.peer)
        if table and table.state in _WAITED_FOR:
            yield f"peer {session.name} has not told all its routes yet"
