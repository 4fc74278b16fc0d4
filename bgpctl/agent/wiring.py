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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bgpctl import client
from bgpctl.agent import config_changes, health_http, journal, operator_commands, views
from bgpctl.agent.api import CONTENT, Answer, Api
from bgpctl.agent.journal import Entry
from bgpctl.agent.notify import Notifier
from bgpctl.agent.pages import TcpPages
from bgpctl.agent.runner import Ports, Runner
from bgpctl.agent.singleton_lock import alone
from bgpctl.agent.snapshot import Snapshot
from bgpctl.core.agent.state import State
from bgpctl.core.dataplane.effects import Failure, Op, Remove
from bgpctl.core.dataplane.plan import NOT_WANTED
from bgpctl.core.dataplane.plan import cleanup as removal_of_ours
from bgpctl.core.net.objects import Traffic
from bgpctl.kernel import sockets, traffic
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.kernel.probes import PacketProber
from bgpctl.ports import Unavailable
from bgpctl.speaker.exabgp import ExabgpSpeaker
from bgpctl.store.changes import Changes
from bgpctl.store.file import FileStore

log = logging.getLogger("bgpctl.agent")

_YOUNG_OBJECTS = 100_000

_JOURNAL = "journal.pickle"
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
    node: str,
    files: Sequence[Path],
    run_dir: Path,
    ipip_driver: str,
    *,
    next_hop_objects: bool,
    protocol: int,
    health: tuple[str, int] | None,
) -> None:
    """
    Run the agent of `node` in the foreground until SIGTERM or SIGINT, then leave forwarding and sessions in place.
    `ipip_driver` is one of `kernel.ipip.DRIVERS`; without `next_hop_objects` each route has its gateways itself;
    `protocol` marks our routes and next hops in the kernel; `health` is where the pages are served by TCP too.

    Raises:
        AlreadyRunning: another agent holds this network namespace or `run_dir`.
        Unavailable: the run directory, the API socket or the port cannot be used. A kernel that cannot be opened is
            no error: it is asked for again and again, and the summary says so.
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
        changes = Changes(files)
        doors = Ports(open_kernel, ExabgpSpeaker(run_dir), FileStore(files, changes), clock, PacketProber())
        notifier = Notifier(os.environ)
        runner = Runner(node, doors, partial(_beat, notifier, clock), notifier.beat_s)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: runner.stop())
        log.info("started", extra={"facts": {"node": node, "pid": os.getpid(), "run_dir": run_dir}})
        with _serving(runner, changes, clock, run_dir, health):
            runner.run()
            notifier.stopping()
        log.info("stopped, forwarding and BGP sessions stay", extra={"facts": {"node": node}})


def _beat(notifier: Notifier, clock: MonotonicClock, state: State) -> None:
    notifier.beat(state.phase.value, clock.now_s(), started=state.kernel.desired is not None)


@contextmanager
def _serving(
    runner: Runner, changes: Changes, clock: MonotonicClock, run_dir: Path, health: tuple[str, int] | None
) -> Iterator[None]:
    def look() -> Snapshot:
        return Snapshot(runner.state, clock.now_s(), {}, _traffic)

    pages = health_http.pages(look, lambda: clock.now_s() - runner.beat_s)
    with ExitStack() as stack:
        api = Api(run_dir / client.SOCKET, _answer(runner, changes, clock), _act(runner, changes, run_dir), pages)
        stack.callback(api.close)
        if health:
            stack.callback(TcpPages(*health, pages).close)
        yield


def _answer(runner: Runner, changes: Changes, clock: MonotonicClock) -> Answer:
    def happened() -> tuple[Entry, ...]:
        return runner.journal.record().entries

    def answer(view: str, query: Mapping[str, str]) -> dict[str, Any]:
        if view == "plan":
            return config_changes.plan(runner.state, changes, query, sockets.talking())
        state, now_s = runner.state, clock.now_s()
        return views.answer(view, Snapshot(state, now_s, query, _traffic, happened, changes.left_s()))

    return answer


def _act(runner: Runner, changes: Changes, run_dir: Path) -> Answer:
    def act(verb: str, query: Mapping[str, str]) -> dict[str, Any]:
        if verb == "journal":
            return _save_journal(runner, run_dir / _JOURNAL)
        log.info("asked by the operator", extra={"facts": {"verb": verb, **_without_content(query)}})
        if verb in config_changes.EDITS:
            return config_changes.edit(verb, runner.state, changes, query)
        asked = operator_commands.events(verb, runner.state, query)
        for event in asked:
            runner.post(event)
        return {"schema": "bgpctl/asked/v1", "verb": verb, "events": len(asked)}

    return act


def _without_content(query: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if name != CONTENT}


def _save_journal(runner: Runner, path: Path) -> dict[str, Any]:
    record = runner.journal.record()
    journal.save(record, path)
    return {"schema": "bgpctl/journal/v1", "file": str(path), "events": len(record.entries)}


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
