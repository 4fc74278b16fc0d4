"""
The resolver of this node (`bgpctl resolver`) as its file in the run directory shows it: for members, and as metrics.

It is a program of its own. Without it there are no names, and nothing else is different.

Refuses to know: DNS, where names come from.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from bgpctl.agent.snapshot import Json, Snapshot
from bgpctl.core.ipam.names import STATUS_SCHEMA, full_name


def names(snapshot: Snapshot) -> Json:
    """
    The names of workloads, `node` None for this node's own, and the resolver, which is None without one. With `own` in
    the query, as members ask, this node's own alone.
    """
    found = snapshot.cluster.resolver()
    rows = [
        {**row, "full_names": [full for name in row["names"] if (full := full_name(name, row["network"]))]}
        for row in found.get("names", ())
        if row["node"] is None or "own" not in snapshot.query
    ]
    about = {key: found[key] for key in ("addresses", "resolvers", "questions", "incomplete")} if found else None
    return {"names": rows, "resolver": about}


def questions(snapshot: Snapshot) -> dict[str, int]:
    """The questions that it had, by what became of them."""
    found = snapshot.cluster.resolver().get("questions")
    return {str(outcome): int(number) for outcome, number in found.items()} if isinstance(found, dict) else {}


def read(content: Callable[[], bytes | None]) -> dict[str, Any]:
    """The file as it is; empty if there is none that is understood."""
    try:
        found = json.loads(content() or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and found.get("schema") == STATUS_SCHEMA else {}
