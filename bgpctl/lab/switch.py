"""
`lab switch`: another encapsulation for a pool of a running lab, under load, and the packets that it costs.

Refuses to know: how the agents do it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bgpctl import client
from bgpctl.core.cluster.configuration import Pool
from bgpctl.core.cluster.encapsulation import words
from bgpctl.core.cluster.problems import Severity
from bgpctl.lab.lab import Lab, comes_true
from bgpctl.lab.labfile import load
from bgpctl.lab.load import Flow, Load, both_directions
from bgpctl.lab.progress import Progress
from bgpctl.lab.rewrite import with_encapsulation
from bgpctl.lab.topology import Topology

_BEFORE_S: Final = 0.5
"""Of traffic before the change and after it: gaps need something on both sides."""
_STARTS_WITHIN_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class SwitchReport:
    """`took_s`: from the change of the file until every node was done, None if that was not in time."""

    before: str
    after: str
    took_s: float | None
    flows: Sequence[Flow]
    summaries: Sequence[Mapping[str, Any]]

    @property
    def lost(self) -> int:
        return sum(flow.lost for flow in self.flows)

    @property
    def ok(self) -> bool:
        return self.took_s is not None and not self.lost


def switch(lab: Lab, pool: str, encapsulation: str, pps: int, progress: Progress, *, within_s: float) -> SwitchReport:
    """
    Change the lab's own copy of the cluster file while every pair of workloads talks.

    Raises:
        ValueError: the lab has no such pool, its encapsulation cannot be written, or the agents would reject it.
    """
    file = lab.topology.file
    text = file.read_text()
    changed = with_encapsulation(text, str(file), pool, encapsulation)
    _check(changed, file)
    now = load(file)
    was = next(item for item in (now if isinstance(now, Topology) else lab.topology).intent.pools if item.name == pool)
    kind, mode = words()[encapsulation]
    wanted = replace(was, encapsulation=kind, mode=mode)
    traffic = Load(lab.names, both_directions(lab.topology.workloads), pps)
    progress.stage("load")
    traffic.start()
    try:
        comes_true(lambda: all(flow.arrived >= _BEFORE_S * pps for flow in traffic.flows), _STARTS_WITHIN_S)
        progress.stage(f"{word_of(was)} > {encapsulation}")
        file.write_text(changed)
        began_s = time.monotonic()
        lab.publish()
        done = comes_true(lambda: _has_switched(lab, wanted, progress), within_s)
        took_s = round(time.monotonic() - began_s, 2) if done else None
        sent = [flow.sent for flow in traffic.flows]
        comes_true(
            lambda: all(f.sent - s >= _BEFORE_S * pps for f, s in zip(traffic.flows, sent, strict=True)), within_s
        )
    finally:
        flows = traffic.stop()
    return SwitchReport(word_of(was), encapsulation, took_s, flows, lab.summaries())


def _check(text: str, file: Path) -> None:
    draft = file.with_name(f"{file.stem}-changed{file.suffix}")
    draft.write_text(text)
    try:
        loaded = load(draft)
    finally:
        draft.unlink()
    errors = [str(item) for item in loaded if item.severity is Severity.ERROR] if isinstance(loaded, tuple) else []
    if errors:
        raise ValueError("\n".join(errors))


def word_of(pool: Pool) -> str:
    """The operator's word for the pool's encapsulation."""
    return pool.encapsulation.word(pool.mode)


def _has_switched(lab: Lab, wanted: Pool, progress: Progress) -> bool:
    nodes = [node.name for node in lab.topology.agents]
    done = sum(_is_done(lab, node, wanted) for node in nodes)
    progress.count(done, len(nodes))
    return done == len(nodes)


def _is_done(lab: Lab, node: str, wanted: Pool) -> bool:
    try:
        pools, summary = lab.read(node, "pools")["pools"], lab.read(node, "summary")
    except client.AgentAway:
        return False
    current = {pool["name"]: (pool["encapsulation"], pool["mode"]) for pool in pools}
    return current[wanted.name] == (wanted.encapsulation.name, wanted.mode.value) and bool(summary["converged"])


def tour(words: Sequence[str], start: str) -> Iterator[str]:
    """Visits every ordered pair of different words once, beginning and ending with `start`."""
    left = {word: [other for other in words if other != word] for word in words}
    path, done = [start], []
    while path:
        if left[path[-1]]:
            path.append(left[path[-1]].pop())
        else:
            done.append(path.pop())
    return reversed(done)
