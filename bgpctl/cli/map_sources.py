"""
The answers of the live map: of running nodes, of a lab, of files alone. Each is asked as the command of the same name
asks.

Refuses to know: how a map is put together, served and drawn.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bgpctl import client
from bgpctl.cli import asking, lab_asking, map_parts
from bgpctl.cli.asking import Asker
from bgpctl.cli.explain import address, explained, explained_by, of_one_version
from bgpctl.cli.refusals import NotFound
from bgpctl.cli.verify import live, verified
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, InterfaceAddress
from bgpctl.core.simulate.declared import blocks_of, everything, node_at
from bgpctl.core.trace.packet import DEFAULT_BYTES
from bgpctl.core.trace.verify import verify
from bgpctl.lab import lab as labs
from bgpctl.lab.lab import Lab
from bgpctl.lab.topology import Topology
from bgpctl.ui.document import End, Ground, Json, Place, Rack, ground_of, of_intent, of_parts, place_of
from bgpctl.ui.latest import NotPermitted, Unanswerable

_FEWEST_S: Final = 1.0
_NODES_PER_S: Final = 20
"""Nodes that are asked in a second: a handshake costs a member some milliseconds."""


@contextmanager
def _answerable() -> Iterator[None]:
    """Errors of the commands as those of the map."""
    try:
        yield
    except client.Denied as error:
        raise NotPermitted(str(error)) from error
    except (client.AgentAway, client.BadRequest) as error:
        raise Unanswerable(str(error)) from error
    except NotFound as error:
        raise Unanswerable(error.message) from error


class _Asked:
    """Running nodes, which are asked again and again."""

    def __init__(self, nodes: int) -> None:
        self.every_s = max(_FEWEST_S, nodes / _NODES_PER_S)

    def _asker(self) -> Asker:
        raise NotImplementedError

    def _ends(self, intent: Intent, source: str, destination: str) -> tuple[Address, Address]:
        return of_one_version((address(source, intent), address(destination, intent)))

    def explain(self, source: str, destination: str, size_bytes: int) -> Json:
        """As `bgpctl explain`."""
        with _answerable():
            asker = self._asker()
            return explained_by(asker, self._ends(asker.intent, source, destination), size_bytes)

    def verify(self) -> Json:
        """As `bgpctl verify`."""
        with _answerable():
            asker = self._asker()
            return _with_ends(asker.intent, live(lambda: asker, 0.0))


class AgentSource(_Asked):
    """
    The node of this host by its agent's socket, and the members by the channel between agents.

    Raises:
        AgentAway: that agent does not answer, or has no configuration yet.
    """

    def __init__(self, run_dir: Path, keys: Path) -> None:
        self._run_dir, self._keys = run_dir, keys
        super().__init__(len(map_parts.nodes_of(run_dir)))

    def _asker(self) -> Asker:
        return asking.of_agent(self._run_dir, self._keys)

    def map(self) -> Json:
        """Each member's part by one question; a user who may not ask members gets this node's alone."""
        with _answerable():
            try:
                intent, here = asking.configuration(self._run_dir)
            except client.Denied as denied:
                rows = map_parts.nodes_of(self._run_dir)
                return of_parts(*map_parts.own_alone(rows, self._run_dir, str(denied)), time.time())
            parts = map_parts.of_all(intent, here, self._run_dir, self._keys)
        ground = ground_of(f"the cluster of {here}", "agents", intent, _of_blocks(intent))
        return of_parts(ground, parts, time.time())


class LabSource(_Asked):
    """A running lab; each agent by its own socket."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(len(lab.topology.agents))
        self._lab = lab
        self._ground = _ground_of(f"lab {lab.names.lab}", "lab", lab.topology)

    def _asker(self) -> Asker:
        """By the lab's file as it is now: a switch edits it."""
        try:
            return lab_asking.of_lab(labs.find(self._lab.names.lab))
        except (labs.Unknown, RuntimeError) as error:
            raise Unanswerable(str(error)) from error

    def _ends(self, intent: Intent, source: str, destination: str) -> tuple[Address, Address]:
        del intent
        return lab_asking.ends(self._lab, source, destination)

    def map(self) -> Json:
        """Each agent's part."""
        agents = self._lab.topology.agents
        parts = {node.name: map_parts.of_socket(self._lab.run_dir(node.name)) for node in agents}
        return of_parts(self._ground, parts, time.time())


class FileSource:
    """Files alone: a cluster as it is once all nodes have converged."""

    every_s = math.inf

    def __init__(self, intent: Intent, files: Sequence[Path], topology: Topology | None = None) -> None:
        self._intent = intent
        self._command = " ".join(("bgpctl explain {ends}", *(f"-f {file}" for file in files)))
        title = " ".join(file.name for file in files)
        if topology:
            self._ground = _ground_of(title, "files", topology)
        else:
            self._ground = ground_of(title, "files", intent, _of_blocks(intent))

    def map(self) -> Json:
        """Computed once."""
        return of_intent(self._ground, self._intent)

    def explain(self, source: str, destination: str, size_bytes: int) -> Json:
        """As `bgpctl explain -f`."""
        with _answerable():
            ends = of_one_version((address(source, self._intent), address(destination, self._intent)))
            return explained(self._intent, ends, size_bytes, {})

    def verify(self) -> Json:
        """As `bgpctl verify -f`."""
        return _with_ends(self._intent, verified(verify(*everything(self._intent)), self._command))


def _with_ends(intent: Intent, body: Mapping[str, Any]) -> Json:
    """With the nodes of each example."""

    def owner(text: str) -> str | None:
        found = node_at(intent, Address.parse(text))
        return found.name if found else None

    classes = [{**item, "ends": [owner(item["source"]), owner(item["destination"])]} for item in body["classes"]]
    return {**body, "classes": classes}


def _of_blocks(intent: Intent) -> list[End]:
    """For each block the address that stands for its workloads."""
    return [
        End(node.name, f"any of {block.prefix}", str(block.address), "block")
        for node in intent.nodes
        for block in blocks_of(intent, node, DEFAULT_BYTES)
    ]


# Labs ------------------------------------------------------------------------------------------------------------


def _ground_of(title: str, source: str, topology: Topology) -> Ground:
    """The segments of a lab are its racks."""
    racks = tuple(Rack(item.name, ", ".join(map(str, item.subnets))) for item in topology.segments)
    named = [End(item.node, item.name, str(address)) for item in topology.workloads for address in item.addresses]
    with_workloads = {end.node for end in named}
    blocks = [end for end in _of_blocks(topology.intent) if end.node not in with_workloads]
    return Ground(title, source, racks, tuple(_places(topology)), (*named, *blocks))


def _places(topology: Topology) -> Iterator[Place]:
    def racks(addresses: Iterable[InterfaceAddress]) -> tuple[str, ...]:
        found = (topology.segment_of(item.address) for item in addresses)
        return tuple(dict.fromkeys(segment.name for segment in found if segment))

    runs = {name: program.value for name, program in topology.runs.items()}
    for kind, others in (("router", topology.routers), ("host", topology.hosts)):
        for item in others:
            addresses = tuple(map(str, item.addresses))
            yield Place(item.name, kind, racks(item.addresses), addresses, runs=runs.get(item.name))
    for node in topology.intent.nodes:
        yield place_of(topology.intent, node, racks([node.address]), runs.get(node.name))
