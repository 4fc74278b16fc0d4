"""
The labs of this host, each as one value: also those that are being built, and those that a crash left in part.

Refuses to know: how they are shown.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from bgpctl import client
from bgpctl.lab import lab as labs

_ANSWER_WITHIN_S: Final = 1.0


class Listed(NamedTuple):
    """
    A lab. `converged`: by node with an agent of ours, whether it has; `state`: `building`, `in part` if its builder is
    gone, `converged` or `converging`.
    """

    name: str
    topology: str | None
    runtime: str
    state: str
    converged: Mapping[str, bool]
    age_s: float

    @property
    def detail(self) -> str:
        """The state with numbers."""
        if self.state in {"building", "in part"}:
            return self.state
        return f"{sum(self.converged.values())}/{len(self.converged)} converged"


def listed() -> list[Listed]:
    """All labs, by name. Each agent is asked, and has a second to answer."""
    return [_listed(name) for name in labs.lab_names()]


def _listed(name: str) -> Listed:
    record = labs.record_of(name)
    directory = labs.STATE / name
    converged = {node: _has_converged(run_dir) for node, run_dir in _agents(directory)}
    made_at_s = record.get("made_at_s") or _changed_at_s(directory)
    state = _state(record, converged)
    runtime = str(record.get("runtime", "netns"))
    return Listed(name, record.get("topology"), runtime, state, converged, max(0.0, time.time() - made_at_s))


def _state(record: Mapping[str, Any], converged: Mapping[str, bool]) -> str:
    # A lab of an earlier version has no such mark: it was whole if it was ever found.
    if not record.get("whole", bool(record)):
        return "building" if record and labs.is_owned(record) else "in part"
    return "converged" if all(converged.values()) else "converging"


def _changed_at_s(directory: Path) -> float:
    with contextlib.suppress(OSError):
        return directory.stat().st_mtime
    return time.time()


def _agents(directory: Path) -> Iterator[tuple[str, Path]]:
    """The nodes whose agent was started, and where it runs."""
    with contextlib.suppress(OSError):
        for place in sorted((directory / "nodes").iterdir()):
            if (place / labs.AGENT_LOG).exists():
                yield place.name, place


def _has_converged(run_dir: Path) -> bool:
    try:
        found = client.read(run_dir / client.SOCKET, "summary", timeout_s=_ANSWER_WITHIN_S, any_version=True)
    except client.AgentAway:
        return False
    return bool(found["converged"])
