"""
A running lab: built, with one agent per node, found again by its state directory, torn down from any half-built state.

Refuses to know: the checks.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from subprocess import Popen
from typing import Any, Final

from bgpctl import client
from bgpctl.core.cluster.problems import Problem
from bgpctl.lab import build, etcd, foreign, interrupts, stores
from bgpctl.lab.build import Names, Port
from bgpctl.lab.daemons.session_options import Place
from bgpctl.lab.labfile import load
from bgpctl.lab.progress import UNSEEN, Progress
from bgpctl.lab.runtime import NETNS, Namespaces, Runtime
from bgpctl.lab.runtime import of as runtime_of
from bgpctl.lab.topology import Topology
from bgpctl.process import run_directory

STATE: Final = Path("/run/bgpctl/lab")
_NAMESPACES: Final = Namespaces()
_FORMER_KEY: Final = "cells"
"""The runtime of a lab of an earlier version: `lab down` must find its containers."""
_POLL_S: Final = 0.05
_POLL_PER_AGENT_S: Final = 0.01
"""An answer costs an agent 2 ms, and in a large lab all of them share the CPU with those that are yet to start."""
_START_TICKS: Final = 22
_RECORD: Final = "lab.json"
_OTHER_LOG: Final = "log"
AGENT_LOG: Final = "agent.log"
"""In the run directory of a lab's agent."""
_KEY_DAYS: Final = 365


class Exists(Exception):
    """A lab of this name is there already."""


class Unknown(Exception):
    """There is no lab of this name."""


@dataclass(slots=True)
class Lab:
    """One lab. `agents` and `stores`, the members of its etcd, are those that this process started."""

    topology: Topology
    names: Names
    ports: Mapping[str, Port]
    runtime: Runtime = _NAMESPACES
    agents: dict[str, Popen[bytes]] = field(default_factory=dict)
    stores: dict[str, Popen[bytes]] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return STATE / self.names.lab

    def run_dir(self, node: str) -> Path:
        """The run directory of a node's agent."""
        return run_dir_of(self.names, node)

    def log(self, node: str) -> Path:
        """The log of a node's agent or other daemon."""
        return self.place(node).file(_OTHER_LOG) if node in self.topology.runs else self.run_dir(node) / AGENT_LOG

    def place(self, name: str) -> Place:
        """Where another daemon lives."""
        return Place(self.names.of(name), self.directory / "nodes" / name)

    def keys(self, node: str) -> Path:
        """The keys of a node for the channel between agents; absent where the cluster file has no port for it."""
        return keys_of(self.names, node)

    def start_agent(self, node: str) -> None:
        """Start the node's agent; it belongs to the lab's namespaces and ends with them. Raises RuntimeError."""
        command = ("agent", "run", "--node", node)
        self.run_dir(node).mkdir(parents=True, exist_ok=True)
        where = (*self._source(node), "--run-dir", str(self.run_dir(node)))
        keys = ("--keys", str(self.keys(node))) if self.topology.intent.channel_port else ()
        how = (*self.topology.driver_options(node), *self.topology.prover_options, *keys)
        started = self.runtime.start(self.names.of(node), (*command, *where, *how), self.log(node))
        if started:
            self.agents[node] = started

    def _source(self, node: str) -> tuple[str, str]:
        """Where the node's agent reads the cluster."""
        if self.topology.stores:
            return "--store", str(stores.write_options(self.topology, self.directory, self.run_dir(node)))
        return "-f", str(self.topology.file.resolve())

    def start_stores(self) -> None:
        """Start the etcd, if the lab has one, and put the cluster into it. Raises RuntimeError."""
        if self.topology.stores:
            self.stores.update(stores.start(self.topology, self.names, self.directory))
            stores.fill(self.topology, self.names, self.directory)

    def start_store(self, name: str) -> None:
        """Start a member of the etcd again, with what it has kept."""
        self.stores[name] = stores.start_one(self.topology, self.names, self.directory, name)

    def publish(self) -> None:
        """Apply the lab's file, which was edited, to its etcd; agents without one read the file."""
        if self.topology.stores and isinstance(now := load(self.topology.file), Topology):
            stores.apply(self.topology, self.names, self.directory, now.intent)

    def read(self, node: str, view: str) -> dict[str, Any]:
        """One view of a node's agent, which may be of another version. Raises client.AgentAway."""
        return client.read(self.run_dir(node) / client.SOCKET, view, any_version=True)

    def ask(self, node: str, verb: str, **query: str) -> dict[str, Any]:
        """Have a node's agent do something, as an operator on that node would. Raises client.AgentAway."""
        return client.ask(self.run_dir(node) / client.SOCKET, verb, query)

    def summaries(self) -> list[dict[str, Any]]:
        """Each agent's summary; of one that does not answer, the reason."""
        return [self._summary(node.name) for node in self.topology.agents]

    def _summary(self, node: str) -> dict[str, Any]:
        try:
            return self.read(node, "summary")
        except client.AgentAway as away:
            return {**_SILENT, "node": node, "problems": [str(away)]}

    def wait(self, within_s: float, progress: Callable[[int], None] = lambda _: None) -> bool:
        """
        Wait until every agent has converged and every other daemon has routes to all blocks in its kernel; `progress`
        is called with the number of agents that have.
        """
        agents = [node.name for node in self.topology.agents]
        asked = agents

        def converged() -> bool:
            nonlocal asked
            waiting = [node for node in asked if not self._summary(node)["converged"]]
            progress(len(agents) - len(waiting))
            others = (foreign.knows(self.topology, name, self.names.of(name)) for name in self.topology.runs)
            # Those that had converged are asked once more at the end: they may have begun again meanwhile.
            done, asked = not waiting and asked == agents, waiting or agents
            return done and all(others)

        return comes_true(converged, within_s, max(_POLL_S, _POLL_PER_AGENT_S * len(agents)))


def run_dir_of(names: Names, node: str) -> Path:
    """The run directory of the agent of a lab's node."""
    return STATE / names.lab / "nodes" / node


def logged(names: Names) -> list[str]:
    """The nodes and routers of a lab whose daemon has a log."""
    try:
        found = sorted(place.name for place in (STATE / names.lab / "nodes").iterdir())
    except OSError:
        return []
    return [name for name in found if log_of(names, name)]


def log_of(names: Names, node: str) -> Path | None:
    """The log of the agent or other daemon of a lab's node, whatever its file has become; None if there is none."""
    logs = (run_dir_of(names, node) / AGENT_LOG, run_dir_of(names, node) / _OTHER_LOG)
    return next((log for log in logs if log.is_file()), None)


def keys_of(names: Names, node: str) -> Path:
    """The keys of the agent of a lab's node."""
    return STATE / names.lab / "keys" / "nodes" / node


def comes_true(holds: Callable[[], bool], within_s: float, every_s: float = _POLL_S) -> bool:
    """Wait for a condition, which is checked so often; whether it came true in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


_SILENT: Final[Mapping[str, Any]] = {
    "backend": None,
    "pools": 0,
    "peers": {"wanted": 0, "established": 0},
    "routes": {"received": 0, "best": 0, "wanted": 0, "installed": 0},
    "tunnels": [],
    "mtu_bytes": None,
    "repaired_1h": 0,
    "state": "silent",
    "converged": False,
    "config_rejected": False,
    "unconfirmed_s": None,
    "waiting": [],
    "unready": [],
    "state_age_s": 0.0,
}


def up(
    topology: Topology,
    name: str,
    *,
    keep: bool,
    runtime: Runtime = _NAMESPACES,
    progress: Progress = UNSEEN,
) -> Lab:
    """
    Build the lab and start its agents. One that is not kept ends, at the latest, when the next lab begins after the
    end of this process.

    Raises:
        Exists: the name is taken.
        ValueError: it is no name for a lab.
        RuntimeError: the parts or the network could not be built, names are too long, or a program is missing; nothing
            is left of it.
        KeyboardInterrupt: nothing is left of it, unless a second one cut the removal; then its directory is there.
    """
    if missing := foreign.missing(topology.runs.values()):
        raise RuntimeError(f"{topology.name} needs programs that are not installed here: {', '.join(missing)}")
    if topology.stores and (to_install := etcd.missing()):
        raise RuntimeError(f"{topology.name} needs a program that is not installed here: {to_install}")
    if (topology.runs or topology.stores) and runtime.word != NETNS:
        raise RuntimeError(f"{topology.name} has parts that run another daemon: use --backend {NETNS}")
    names = Names(name)
    directory = STATE / name
    lab = Lab(topology, names, {}, runtime)
    _check_lengths(lab)
    with interrupts.held() as held:
        try:
            directory.mkdir(parents=True)
        except FileExistsError:
            raise Exists(f"lab {name} exists: bgpctl lab down --name {name}") from None
        try:
            return _built(lab, held, progress, keep=keep)
        except BaseException:
            progress.stage("remove")
            down(name, progress)
            raise


def _built(lab: Lab, held: interrupts.Held, progress: Progress, *, keep: bool) -> Lab:
    """The lab in the directory that it has; an interrupt is heeded between steps."""
    topology = _own_copy(lab.topology, lab.directory)
    lab = replace(lab, topology=topology)
    if topology.intent.channel_port:
        _make_keys(lab)
    _record(lab, keep=keep)
    held.check()
    lab = replace(lab, ports=build.build(topology, lab.names, lab.runtime))
    _record(lab, keep=keep)
    progress.stage("start etcd") if topology.stores else None
    lab.start_stores()
    for other in topology.runs:
        held.check()
        foreign.start(topology, other, lab.place(other))
    progress.stage("start agents")
    for number, node in enumerate(topology.agents):
        held.check()
        progress.count(number, len(topology.agents))
        lab.start_agent(node.name)
    held.check()
    _record(lab, keep=keep, whole=True)
    return lab


def _make_keys(lab: Lab) -> None:
    """A CA of this lab alone, and the keys of each agent."""
    from bgpctl.process import keys  # noqa: PLC0415 (cryptography takes a tenth of a second to import)

    keys.make_ca(lab.directory / "keys", days=_KEY_DAYS)
    for node in lab.topology.agents:
        keys.issue(lab.directory / "keys", node.name, days=_KEY_DAYS)


def _check_lengths(lab: Lab) -> None:
    for node in lab.topology.intent.nodes:
        if not run_directory.fits(lab.run_dir(node.name)):
            most = run_directory.LONGEST_PATH_BYTES
            raise RuntimeError(
                f"names are too long: {lab.run_dir(node.name)} has more than the {most} bytes"
                " that the run directory of an agent may have; choose a shorter one with --name"
            )


def _own_copy(topology: Topology, directory: Path) -> Topology:
    """The file as it is now, for the agents: what becomes of the original does not matter, and the lab may edit it."""
    copy = directory / "cluster.yaml"
    shutil.copyfile(topology.file, copy)
    for secret in _secrets(topology):
        place = directory / secret.relative_to(topology.file.parent)
        if ".." in place.parts:
            raise RuntimeError(f"a lab copies password files, and {secret} is not below its file")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(secret, place)
    return replace(topology, file=copy)


def _secrets(topology: Topology) -> set[Path]:
    """The password files that are named from where the file is."""
    intent = topology.intent
    files = {intent.mesh_password_file, *(peer.password_file for peer in intent.peers)}
    return {path for path in map(Path, filter(None, files)) if path.is_relative_to(topology.file.parent)}


def down(name: str, progress: Progress = UNSEEN) -> None:
    """
    End everything of the lab and delete it; absent is no error.

    Raises:
        ValueError: it is no name for a lab.
        RuntimeError: its containers cannot be removed.
    """
    names = Names(name)
    with interrupts.held():
        if record := record_of(name):
            with contextlib.suppress(FileNotFoundError):  # it is removed by another command too
                _write(STATE / name, {**record, "whole": False})
        _runtime_of(name).remove(names.prefix)
        build.tear_down(names, progress.count)
        shutil.rmtree(STATE / names.lab, ignore_errors=True)  # the last of it: while it is there, the lab is found
        for directory in (STATE, STATE.parent):
            with contextlib.suppress(OSError):  # another lab, or the host's own agent, lives there
                directory.rmdir()


def find(name: str) -> Lab:
    """
    A running lab.

    Raises:
        Unknown: there is none of that name, or its file is no longer valid.
    """
    record = record_of(name)
    if not record:
        known = ", ".join(lab_names()) or "none"
        raise Unknown(f"no lab {name} is up (up: {known})")
    topology = load(Path(record["file"]))
    if not isinstance(topology, Topology):
        raise Unknown(_listed(topology))
    ports = {port: Port(*owner) for port, owner in record["ports"].items()}
    return Lab(topology, Names(name), ports, _runtime_of(name))


def _runtime_of(name: str) -> Runtime:
    """Where it lives; in namespaces, if a crash left no record of it. Raises RuntimeError."""
    record = record_of(name)
    return runtime_of(record.get("runtime") or record.get(_FORMER_KEY, NETNS)) if record else _NAMESPACES


def _listed(problems: Sequence[Problem]) -> str:
    return "\n".join(map(str, problems))


def lab_names() -> list[str]:
    """The labs there are, also those of which a crash left only a part."""
    try:
        return sorted(path.name for path in STATE.iterdir())
    except FileNotFoundError:
        return []


def remove_orphans() -> list[str]:
    """Tear down labs that were not to be kept and whose owner is gone; returns their names."""
    removed = []
    for name in lab_names():
        record = record_of(name)
        if record and not record["keep"] and not is_owned(record):
            with contextlib.suppress(RuntimeError):  # its engine is away: it stays until that is back
                down(name)
                removed.append(name)
    return removed


def _record(lab: Lab, *, keep: bool, whole: bool = False) -> None:
    record = {
        "file": str(lab.topology.file.resolve()),
        "topology": lab.topology.name,
        "runtime": lab.runtime.word,
        "keep": keep,
        "whole": whole,
        "made_at_s": record_of(lab.names.lab).get("made_at_s") or time.time(),
        "owner": {"pid": os.getpid(), "started": _started(os.getpid())},
        "ports": {name: [port.owner, port.segment] for name, port in lab.ports.items()},
    }
    _write(lab.directory, record)


def _write(directory: Path, record: Mapping[str, Any]) -> None:
    path = directory / _RECORD
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(record))
    fresh.replace(path)


def record_of(name: str) -> Mapping[str, Any]:
    """The record of a lab; empty if a crash left nothing that can be read."""
    try:
        found = json.loads((STATE / name / _RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_owned(record: Mapping[str, Any]) -> bool:
    """True while the process that builds the lab, or built it, runs."""
    return bool(_started(record["owner"]["pid"]) == record["owner"]["started"])


def _started(pid: int) -> int | None:
    """The start time of a process, in ticks since boot (proc(5)); a later one with its pid has another."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[_START_TICKS - 3])
