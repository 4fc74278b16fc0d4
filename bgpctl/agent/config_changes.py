"""
What the operator asks about other contents of the cluster files, and the wish to have them: plan, apply, confirm, undo.

Contents come by themselves, never as names of files: the agent may read what whoever asks may not, and under systemd
it does not see his home.

Refuses to know: how a change is kept and taken back (store/changes.py), who may ask.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from bgpctl.agent import words
from bgpctl.agent.api import CONTENT
from bgpctl.agent.errors import BadRequest
from bgpctl.core.agent.state import State
from bgpctl.core.cluster.configuration import Intent
from bgpctl.core.net.addresses import Address
from bgpctl.core.simulate.preview import preview, with_other_driver
from bgpctl.ports import Loaded
from bgpctl.store.change import Contents
from bgpctl.store.changes import Changes, NotPossibleNow, read
from bgpctl.store.file import FileStore

Edit: TypeAlias = Callable[[State, Changes, Mapping[str, str]], None]
"""Raises Nonsense, Impossible."""


def plan(state: State, changes: Changes, query: Mapping[str, str], talking: Iterable[Address]) -> dict[str, Any]:
    """
    What these contents would change here; `talking` has connections with this node, `ipip_driver` is another driver
    that the agent would be started with.

    Raises:
        Nonsense: they are not valid, or the kernel was not seen yet.
    """
    wanted = _good(state, _understood(changes, _contents(query)))
    node = wanted.node(state.node)
    observed, driver = state.kernel.observed, query.get("ipip_driver")
    if node is None or observed is None:
        raise BadRequest("no plan: the kernel was not seen yet")
    if driver:
        observed = with_other_driver(observed, driver)
    foreseen = preview(wanted, node, observed, state.bgp.loc_rib.best.values(), talking)
    return {"schema": "bgpctl/plan/v1", "nodes": [words.preview(foreseen)]}


def edit(verb: str, state: State, changes: Changes, query: Mapping[str, str]) -> dict[str, Any]:
    """Do one of EDITS to the cluster files, whose watch does the rest. Raises Nonsense."""
    try:
        EDITS[verb](state, changes, query)
    except NotPossibleNow as error:
        raise BadRequest(str(error)) from error
    return {"schema": "bgpctl/change/v1", "verb": verb, "files": list(map(str, changes.paths))}


def _apply(state: State, changes: Changes, query: Mapping[str, str]) -> None:
    contents = _contents(query)
    _good(state, _understood(changes, contents))
    within_s = _within_s(query)
    if within_s is not None and isinstance(_understood(changes, read(changes.paths)), tuple):
        raise BadRequest(
            "what the cluster file says now is refused, so there would be nothing to go back to: mend it first, or"
            " apply without --confirm-within"
        )
    changes.make(contents, within_s)


EDITS: Final[Mapping[str, Edit]] = {
    "apply": _apply,
    "confirm": lambda _state, changes, _query: changes.confirm(),
    "undo": lambda _state, changes, _query: changes.undo(),
}


def _contents(query: Mapping[str, str]) -> Contents:
    try:
        found = json.loads(query.get(CONTENT, ""))
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise BadRequest("the content is the new cluster files, as a JSON list of texts")
    return tuple(found)


def _within_s(query: Mapping[str, str]) -> float | None:
    text = query.get("within_s")
    try:
        within_s = float(text) if text else None
    except ValueError:
        within_s = math.nan
    if within_s is not None and not 0 < within_s < math.inf:
        raise BadRequest(f"{text} s is no time to confirm a change in")
    return within_s


def _understood(changes: Changes, contents: Contents) -> Loaded:
    """What they would mean in the place of the files: those that they name are looked for beside them."""
    if len(contents) != len(changes.paths):
        raise BadRequest(f"this agent reads {len(changes.paths)} files: {', '.join(map(str, changes.paths))}")
    return FileStore(changes.paths).understand(contents)


def _good(state: State, loaded: Loaded) -> Intent:
    """Raises Nonsense unless this agent could live with it."""
    if isinstance(loaded, tuple):
        raise BadRequest(f"nothing was done: {loaded[0]}")
    if loaded.node(state.node) is None:
        raise BadRequest(f"nothing was done: this agent's node {state.node} is not among the nodes")
    return loaded
