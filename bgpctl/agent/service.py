"""
One node's agent as a service: its loop, and the servers of its views.

Refuses to know: implementations of ports (wiring.py), the contents of a view, the effect of a verb.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from bgpctl import client
from bgpctl.agent import health_http, operator_commands, resolver_views, views
from bgpctl.agent.api import CONTENT, Answer, Api
from bgpctl.agent.errors import BadRequest
from bgpctl.agent.journal import Entry
from bgpctl.agent.others import Others
from bgpctl.agent.pages import TcpPages
from bgpctl.agent.runner import Ports, Runner
from bgpctl.agent.service_memory import ServiceMemory
from bgpctl.agent.snapshot import Snapshot, Source
from bgpctl.core.agent.state import State
from bgpctl.core.ipam.names import STATUS_FILE
from bgpctl.core.net.objects import Drops, Traffic
from bgpctl.ports import Clock, Host, RunDirectory, ServiceManager, Store, Unavailable

log = logging.getLogger("bgpctl.agent")

_YOUNG_OBJECTS: Final = 500_000
_JOURNAL: Final = "journal.jsonl"
_EDITS: Final = ("apply", "confirm", "undo")
"""The verbs of config_changes, which is imported by the first of them."""


@dataclass(frozen=True, slots=True)
class Process:
    """The ports beside those of the loop: the node's host, the service manager and the run directory."""

    host: Host
    service_manager: ServiceManager
    run_directory: RunDirectory


def collect_seldom() -> None:
    """
    Have Python search for cycles after 500,000 new objects instead of 700.

    A table of routes is many tuples that live long and have no cycles: at 100,000 routes more than half of the CPU
    time of a round went into going through them again and again. Called before the cluster file is read: 5,000 nodes
    are many objects too. The modules stay as long as the agent runs, and no search goes through them.
    """
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)


@dataclass(frozen=True, slots=True)
class Servers:
    """
    Where the agent is asked: the API at `socket`, by members of `plan_group` for plans of foreign content too, and the
    pages by TCP at `health`. `keys` has this node's keys for the channel between agents.
    """

    socket: Path
    health: tuple[str, int] | None = None
    plan_group: int | None = None
    keys: Path = client.KEYS


def run(node: str, ports: Ports, process: Process, servers: Servers) -> None:
    """
    Run the agent of `node` in the foreground until it is asked to stop, then leave forwarding and sessions in place.

    Raises:
        AlreadyRunning: another agent has this network namespace or the run directory.
        Unavailable: the run directory, the API socket or the port cannot be used. A kernel that cannot be opened is
            no error: it is opened again and again, and the summary has the error.
    """
    manager = process.service_manager
    with process.run_directory.hold():
        clock = ports.clock
        resolver = partial(resolver_views.read, partial(process.run_directory.read, STATUS_FILE))
        date_s, watch = lambda: clock.date().timestamp(), ports.prober.watch
        others = Others(lambda: runner, servers.keys, date_s, clock.now_s, watch, resolver)
        memory = ServiceMemory(process.run_directory, clock)
        runner = Runner(node, ports, partial(_beat, manager, ports.clock, others), manager.beat_s, memory)
        manager.on_stop(runner.stop)
        log.info("started", extra={"facts": {"node": node, "pid": manager.pid, "run_dir": servers.socket.parent}})
        with _serving(runner, ports, process, servers, others):
            runner.run()
            manager.stopping()
        log.info("stopped, forwarding and BGP sessions stay", extra={"facts": {"node": node}})


def _beat(manager: ServiceManager, clock: Clock, others: Others, state: State) -> None:
    others.beat(state)
    manager.beat(state.phase.value, clock.now_s(), started=state.kernel.desired is not None)


@contextmanager
def _serving(runner: Runner, ports: Ports, process: Process, servers: Servers, others: Others) -> Iterator[None]:
    traffic, drops, clock = partial(_traffic, process.host), partial(_drops, process.host), ports.clock

    def snapshot() -> Snapshot:
        source = Source(store=ports.store.status(), health=runner.health)
        return Snapshot(runner.state, clock.now_s(), {}, traffic, source=source, drops=drops, cluster=others.cluster())

    pages = health_http.pages(snapshot, lambda: clock.now_s() - runner.beat_s)
    with ExitStack() as stack:
        answer, act = _answer(runner, ports, process.host, others), _act(runner, ports, process.run_directory)
        others.serve(answer)
        stack.callback(others.close)
        stack.callback(Api(servers.socket, answer, act, pages, views.GUARDED, content_group=servers.plan_group).close)
        if servers.health:
            stack.callback(TcpPages(*servers.health, pages).close)
        yield


def _answer(runner: Runner, ports: Ports, host: Host, others: Others) -> Answer:
    def happened() -> tuple[Entry, ...]:
        return runner.journal.record().entries

    def answer(view: str, query: Mapping[str, str]) -> dict[str, Any]:
        store = ports.store
        if view == "plan":
            from bgpctl.agent import config_changes  # noqa: PLC0415 (25 modules that follow packets)

            return config_changes.plan(runner.state, store, query, host.connected())
        traffic, drops, cluster = partial(_traffic, host), partial(_drops, host), others.cluster()
        now_s, source = ports.clock.now_s(), Source(store.unconfirmed_s(), store.status(), runner.health)
        snapshot = Snapshot(runner.state, now_s, query, traffic, happened, source, drops, cluster)
        if view == views.KERNEL:
            return views.kernel(snapshot, host.snapshot)
        return views.answer(view, snapshot)

    return answer


def _act(runner: Runner, ports: Ports, run_directory: RunDirectory) -> Answer:
    def act(verb: str, query: Mapping[str, str]) -> dict[str, Any]:
        if verb == "journal":
            return _save_journal(runner, ports.clock, run_directory)
        log.info("request of an operator", extra={"facts": {"verb": verb, **_without_content(query)}})
        if verb in _EDITS:
            return _edit(verb, runner, ports.store, query)
        events = operator_commands.events(verb, runner.state, query)
        for event in events:
            runner.post(event)
        return {"schema": client.schema("asked"), "verb": verb, "events": len(events)}

    return act


def _edit(verb: str, runner: Runner, store: Store, query: Mapping[str, str]) -> dict[str, Any]:
    """Read the store here, and not only when its watch notices a change: the generation is known at once."""
    from bgpctl.agent import config_changes  # noqa: PLC0415

    done = config_changes.edit(verb, runner.state, store, query)
    return {**done, "generation": runner.generation if verb == "confirm" else runner.edited(store.load())}


def _without_content(query: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if name != CONTENT}


def _save_journal(runner: Runner, clock: Clock, run_directory: RunDirectory) -> dict[str, Any]:
    # 25 ms at every start, for what is asked now and then.
    from importlib.metadata import version  # noqa: PLC0415

    from bgpctl.agent import journal_file  # noqa: PLC0415

    record = runner.journal.record()
    content = journal_file.dump(record, version("bgpctl"), clock.date().isoformat(timespec="seconds"))
    try:
        file = run_directory.write(_JOURNAL, content)
    except Unavailable as error:
        raise BadRequest(str(error)) from error
    return {"schema": client.schema("journal-file"), "file": file, "events": len(record.entries)}


def _traffic(host: Host) -> Mapping[str, Traffic]:
    try:
        return host.traffic()
    except Unavailable as error:
        log.warning("traffic cannot be counted", extra={"facts": {"error": str(error)}})
        return {}


def _drops(host: Host) -> Mapping[str, tuple[Drops, ...]]:
    try:
        return host.drops()
    except Unavailable as error:
        log.warning("dropped packets cannot be counted", extra={"facts": {"error": str(error)}})
        return {}
