"""
One node's agent put together from the real doors: run it, or clean up after it.

Refuses to know: how any of the parts works.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bgpctl import client
from bgpctl.agent import asks, views, words
from bgpctl.agent.alone import alone
from bgpctl.agent.api import Answer, Api
from bgpctl.agent.errors import Nonsense
from bgpctl.agent.runner import Doors, Runner
from bgpctl.agent.snapshot import Snapshot
from bgpctl.core.effects import Failure, Op, Remove
from bgpctl.core.foresight import foresee
from bgpctl.core.loop import State
from bgpctl.core.model import Traffic
from bgpctl.core.plan import NOT_WANTED
from bgpctl.core.plan import cleanup as removal_of_ours
from bgpctl.kernel import traffic
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.kernel.trials import PacketProber
from bgpctl.ports import Unavailable
from bgpctl.speaker.exabgp import ExabgpSpeaker
from bgpctl.store.file import FileStore

log = logging.getLogger("bgpctl.agent")

_YOUNG_OBJECTS = 100_000

_SYSCTLS_BEFORE = "sysctls.json"


class MonotonicClock:
    """CLOCK_MONOTONIC, which all processes of a host share and which no clock adjustment moves."""

    def now_s(self) -> float:
        return time.monotonic()


def collect_seldom() -> None:
    """
    Have Python look for cycles after 100,000 new objects instead of 700.

    A table of routes is many tuples that live long and have no cycles: at 100,000 routes more than half of the CPU
    time of a round went into going through them again and again.
    """
    gc.set_threshold(_YOUNG_OBJECTS)


def run(
    node: str, files: Sequence[Path], run_dir: Path, ipip_driver: str, *, next_hop_objects: bool, protocol: int
) -> None:
    """
    Run the agent of `node` in the foreground until SIGTERM or SIGINT, then leave forwarding and sessions in place.
    `ipip_driver` is one of `kernel.ipip.DRIVERS`; without `next_hop_objects` each route has its gateways itself;
    `protocol` marks our routes and next hops in the kernel.

    Raises:
        AlreadyRunning: another agent holds this network namespace or `run_dir`.
        Unavailable: the run directory or the API socket cannot be used. A kernel that cannot be opened is no error:
            it is asked for again and again, and the summary says so.
    """
    collect_seldom()
    with alone(run_dir):
        clock = MonotonicClock()
        open_kernel = partial(
            LinuxKernel,
            ipip_driver,
            next_hop_objects=next_hop_objects,
            memory=run_dir / _SYSCTLS_BEFORE,
            protocol=protocol,
        )
        doors = Doors(open_kernel, ExabgpSpeaker(run_dir), FileStore(files), clock, PacketProber())
        runner = Runner(node, doors)
        api = Api(run_dir / client.SOCKET, _answer(runner, clock), _act(runner))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: runner.stop())
        log.info("started", extra={"facts": {"node": node, "pid": os.getpid(), "run_dir": run_dir}})
        try:
            runner.run()
        finally:
            api.close()
        log.info("stopped, forwarding and BGP sessions stay", extra={"facts": {"node": node}})


def _answer(runner: Runner, clock: MonotonicClock) -> Answer:
    def answer(view: str, query: Mapping[str, str]) -> dict[str, Any]:
        if view == "plan":
            return _plan(runner.state, query)
        return views.answer(view, Snapshot(runner.state, clock.now_s(), query, _traffic))

    return answer


def _plan(state: State, query: Mapping[str, str]) -> dict[str, Any]:
    """What these files would change here. Raises Nonsense if they are not valid, or the kernel was not seen yet."""
    loaded = FileStore([Path(file) for file in query.get("files", "").splitlines()]).load()
    node = None if isinstance(loaded, tuple) else loaded.node(state.node)
    if isinstance(loaded, tuple) or node is None or state.observed is None:
        raise Nonsense(f"no plan: invalid file, no node {state.node} in it, or the kernel was not seen yet")
    foreseen = foresee(loaded, node, state.observed, state.selected.chosen.values())
    return {"schema": "bgpctl/plan/v1", "nodes": [words.foresight(foreseen)]}


def _act(runner: Runner) -> Answer:
    def act(verb: str, query: Mapping[str, str]) -> dict[str, Any]:
        asked = asks.events(verb, runner.state, query)
        for event in asked:
            runner.post(event)
        log.info("asked by the operator", extra={"facts": {"verb": verb, **query}})
        return {"schema": "bgpctl/asked/v1", "verb": verb, "events": len(asked)}

    return act


def _traffic() -> Mapping[str, Traffic]:
    try:
        return traffic.read()
    except (OSError, Unavailable) as error:
        log.warning("traffic cannot be counted", extra={"facts": {"error": str(error)}})
        return {}


def clean_up(run_dir: Path, protocol: int) -> tuple[tuple[Op, ...], tuple[Failure, ...]]:
    """
    End the node's BGP speaker, remove everything that is ours from this network namespace, routes and next hops by
    `protocol`, and put back the sysctls that were changed.

    Returns:
        What was removed, and what the kernel refused.

    Raises:
        AlreadyRunning: an agent runs; it would put everything back.
        Unavailable: the kernel cannot be opened.
    """
    with alone(run_dir):
        speaker = ExabgpSpeaker(run_dir)
        speaker.shutdown()
        speaker.close()
        kernel = LinuxKernel(memory=run_dir / _SYSCTLS_BEFORE, protocol=protocol)
        try:
            restored = (Remove(before, NOT_WANTED) for before in kernel.changed_sysctls())
            ops = (*removal_of_ours(kernel.observe()), *restored)
            return ops, kernel.apply(ops)
        finally:
            kernel.close()
