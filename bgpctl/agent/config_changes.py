"""
An operator's next configuration: plan it, apply it, confirm it, undo it.

A proposal passes through here unread, from the command line to the store.

Refuses to know: the contents of a proposal and how it is kept and undone (the store), who may request it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

from bgpctl import client
from bgpctl.agent import plan_words, words
from bgpctl.agent.api import CONTENT
from bgpctl.agent.errors import BadRequest, NotNow
from bgpctl.core.agent.state import State
from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.cluster.encapsulation import tunnels
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.simulate.expected import paths
from bgpctl.core.simulate.membership import MovedBlock
from bgpctl.core.simulate.preview import Present, Preview, preview, with_other_driver
from bgpctl.ports import NotPossibleNow, Proposal, Store

Edit: TypeAlias = Callable[[State, Store, Mapping[str, str]], None]
"""Raises BadRequest, NotPossibleNow."""


def plan(state: State, store: Store, query: Mapping[str, str], connected: Iterable[Address]) -> dict[str, Any]:
    """
    The changes that a proposal would make here; `connected` has connections with this node. A query for
    another driver of an encapsulation, by `NAME_driver`, is for one that the agent would be started with.

    Raises:
        BadRequest: it is not valid.
        NotNow: kernel state was not read yet.
    """
    try:
        wanted = _good(state, store, _proposal(query))
    except NotPossibleNow as error:
        raise NotNow(str(error)) from error
    node = wanted.node(state.node)
    observed = state.kernel.observed
    if node is None or observed is None:
        raise NotNow("no plan: kernel state was not read yet")
    for name in tunnels():
        driver = query.get(f"{name}_driver")
        observed = with_other_driver(observed, name, driver) if driver else observed
    before = state.intent.in_force
    arriving = paths(wanted, node, state.bgp.adj_rib_in, state.memo.costs, state.memo.decision)
    away = frozenset(_away(before, state.proofs.unreachable)) if before else frozenset[Prefix]()
    present = Present(arriving, frozenset(state.bgp.loc_rib.best), away, tuple(connected))
    planned = preview(wanted, node, observed, present, before)
    cluster = plan_words.body(before, wanted, is_used=partial(_is_used, planned, observed, away)) if before else {}
    return {"schema": client.schema("plan"), "nodes": [words.preview(planned)], **cluster}


def _away(intent: Intent, unreachable: Container[Address]) -> Iterator[Prefix]:
    """The prefixes of members that are known not to answer."""
    for node in intent.nodes:
        if any(address in unreachable for address in node.addresses):
            yield from intent.prefixes_of(node)


def _is_used(planned: Preview, observed: Dataplane, away: Container[Prefix], moved: MovedBlock) -> bool:
    """True if something in a block that moves is reachable now: a workload here, or a member to which a route leads."""
    if moved.was == planned.node:
        return any(moved.block.covers(prefix) or prefix.covers(moved.block) for prefix in planned.outside)
    is_routed = any(route.prefix == moved.block and route.next_hop for route in observed.routes)
    return is_routed and moved.block not in away


def edit(verb: str, state: State, store: Store, query: Mapping[str, str]) -> dict[str, Any]:
    """Do one of EDITS to the store, whose watch does the rest. Raises BadRequest, NotNow."""
    try:
        EDITS[verb](state, store, query)
    except NotPossibleNow as error:
        raise NotNow(str(error)) from error
    return {"schema": client.schema("change"), "verb": verb, "files": list(store.names)}


def _apply(state: State, store: Store, query: Mapping[str, str]) -> None:
    proposal = _proposal(query)
    _good(state, store, proposal)
    store.propose(proposal, _within_s(query))


EDITS: Final[Mapping[str, Edit]] = {
    "apply": _apply,
    "confirm": lambda _state, store, _query: store.confirm(),
    "undo": lambda _state, store, _query: store.undo(),
}


def _proposal(query: Mapping[str, str]) -> Proposal:
    return Proposal(query.get(CONTENT, ""))


def _within_s(query: Mapping[str, str]) -> float | None:
    text = query.get("within_s")
    try:
        within_s = float(text) if text else None
    except ValueError:
        within_s = math.nan
    if within_s is not None and not 0 < within_s < math.inf:
        raise BadRequest(f"{text} s is not a time within which a change can be confirmed")
    return within_s


def _good(state: State, store: Store, proposal: Proposal) -> Intent:
    """The intent that a proposal makes. Raises BadRequest unless this agent could work by it."""
    loaded = store.preview(proposal)
    if isinstance(loaded, tuple):
        raise BadRequest(f"nothing was applied: {loaded[0]}")
    if loaded.node(state.node) is None:
        raise BadRequest(f"nothing was applied: this agent's node {state.node} is not among the nodes")
    config = speaker_config(loaded, state.node)
    files = {session.password_file for session in config.sessions if session.password_file} if config else frozenset()
    for problem in store.missing(proposal, files):
        raise BadRequest(f"nothing was applied: {problem}")
    return loaded
