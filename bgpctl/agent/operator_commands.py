"""
Requests of the operator to a running agent, as events: pure functions from a verb to its events.

Refuses to know: who may send a request, and how it arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from bgpctl.agent.errors import BadRequest, Unknown
from bgpctl.core.agent.events import DrainRequested, Event, PeerRequested, RefreshRequested
from bgpctl.core.agent.state import State
from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.net.addresses import Address

OperatorCommand: TypeAlias = Callable[[State, Mapping[str, str]], tuple[Event, ...]]
"""Raises BadRequest."""


def names(state: State) -> Mapping[Address, str]:
    """Every peer by its address: those with a session, former ones too, and those that are shut down."""
    intent = state.intent.in_force
    wanted = speaker_config(intent, state.node) if intent else None
    configs = (config for config in (wanted, state.bgp.config) if config)
    return {session.peer: session.name for config in configs for session in config.sessions}


def _peers(state: State, query: Mapping[str, str]) -> tuple[Address, ...]:
    """The peers of one name or address; a node has two when it speaks both IP versions."""
    wanted = query.get("peer", "")
    found = tuple(peer for peer, name in sorted(names(state).items()) if wanted in (name, str(peer)))
    if not found:
        raise BadRequest(f"no peer {wanted}; see: bgpctl show peers")
    return found


def _up(state: State, query: Mapping[str, str]) -> tuple[Event, ...]:
    return tuple(PeerRequested(peer, up=True) for peer in _peers(state, query))


def _down(state: State, query: Mapping[str, str]) -> tuple[Event, ...]:
    return tuple(PeerRequested(peer, up=False) for peer in _peers(state, query))


def _refresh(state: State, query: Mapping[str, str]) -> tuple[Event, ...]:
    peers = _peers(state, query)
    tables = state.bgp.adj_rib_in
    down = [str(peer) for peer in peers if peer not in tables or not tables[peer].established]
    if len(down) == len(peers):
        raise BadRequest(f"no session with {', '.join(down)}; see: bgpctl show peers")
    return tuple(RefreshRequested(peer) for peer in peers)


COMMANDS: Final[Mapping[str, OperatorCommand]] = {
    "peer-up": _up,
    "peer-down": _down,
    "peer-refresh": _refresh,
    "drain": lambda _state, _query: (DrainRequested(on=True),),
    "undrain": lambda _state, _query: (DrainRequested(on=False),),
}


def events(verb: str, state: State, query: Mapping[str, str]) -> tuple[Event, ...]:
    """The events of `verb` in this state. Raises Unknown, BadRequest."""
    if verb not in COMMANDS:
        raise Unknown(verb)
    return COMMANDS[verb](state, query)
