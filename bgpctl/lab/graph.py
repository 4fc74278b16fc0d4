"""
A running lab as a graph: segments, the parts on each, and the sessions and tunnels between nodes as agents have them.

Refuses to know: how it is drawn.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bgpctl import client
from bgpctl.lab.lab import Lab
from bgpctl.lab.topology import Topology


class Kind(enum.Enum):
    """The kinds of lines between two parts."""

    SESSION = "bgp"
    TUNNEL = "tunnel"


class Part(NamedTuple):
    """
    A node, router or host on `segments`. `state`: of a node its agent's, of another daemon its name; None of what has
    neither. `workloads`: their names and addresses.
    """

    name: str
    addresses: tuple[str, ...]
    segments: tuple[str, ...]
    state: str | None
    workloads: tuple[tuple[str, str], ...] = ()


class Line(NamedTuple):
    """Between two parts, in the order of their names. `label`: the encapsulation of a tunnel, `bgp` of a session."""

    kind: Kind
    ends: tuple[str, str]
    label: str
    up: bool


class Graph(NamedTuple):
    """A lab. `segments`: the name of each and its subnets; `parts` in the order of the file."""

    lab: str
    segments: Mapping[str, str]
    parts: tuple[Part, ...]
    lines: tuple[Line, ...]

    def of(self, name: str, kind: Kind) -> list[tuple[str, Line]]:
        """The lines of one kind at a part, each with its other end."""
        return [(_other(line, name), line) for line in self.lines if line.kind is kind and name in line.ends]


def _other(line: Line, name: str) -> str:
    return line.ends[1] if line.ends[0] == name else line.ends[0]


def graph_of(lab: Lab) -> Graph:
    """The lab as it is now; an agent that does not answer has no lines of its own, and the state `silent`."""
    topology = lab.topology
    summaries = {summary["node"]: summary for summary in lab.summaries()}
    segments = {item.name: ", ".join(map(str, item.subnets)) for item in topology.segments}
    views = {node.name: _views(lab, node.name) for node in topology.agents}
    return Graph(lab.names.lab, segments, tuple(_parts(topology, summaries)), _lines(topology, views))


def _views(lab: Lab, node: str) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    try:
        return {view: lab.read(node, view)[view] for view in ("peers", "tunnels")}
    except client.AgentAway:
        return {"peers": (), "tunnels": ()}


def _parts(topology: Topology, summaries: Mapping[str, Mapping[str, Any]]) -> Iterator[Part]:
    for router in topology.routers:
        found = (topology.segment_of(item.address) for item in router.addresses)
        segments = dict.fromkeys(segment.name for segment in found if segment)
        yield Part(router.name, _texts(router.addresses), tuple(segments), _daemon(topology, router.name))
    for node in topology.intent.nodes:
        segment = topology.segment_of(node.address.address)
        state = summaries[node.name]["state"] if node.name in summaries else _daemon(topology, node.name)
        workloads = tuple(
            (item.name, ", ".join(map(str, item.addresses))) for item in topology.workloads if item.node == node.name
        )
        addresses = _texts(own for own in (node.address, node.address6) if own)
        yield Part(node.name, addresses, (segment.name,) if segment else (), state, workloads)
    for host in topology.hosts:
        segment = topology.segment_of(host.addresses[0].address) if host.addresses else None
        yield Part(host.name, _texts(host.addresses), (segment.name,) if segment else (), None)


def _texts(addresses: Any) -> tuple[str, ...]:
    return tuple(str(item.address) for item in addresses)


def _daemon(topology: Topology, name: str) -> str | None:
    return f"runs {topology.runs[name].value}" if name in topology.runs else None


def _lines(topology: Topology, views: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> tuple[Line, ...]:
    """A line between two nodes is up if each end that is ours has it up."""
    owner = _owners(topology)
    found: dict[tuple[Kind, tuple[str, str], str], bool] = {}
    for node, view in views.items():
        seen = [(Kind.SESSION, row["address"], "bgp", row["established"]) for row in view["peers"]]
        seen += [(Kind.TUNNEL, far, row["kind"], row["up"]) for row in view["tunnels"] for far in row["remotes"]]
        for kind, address, label, up in seen:
            ends = sorted((node, owner.get(address, address)))
            key = kind, (ends[0], ends[1]), label
            found[key] = found.get(key, True) and bool(up)
    return tuple(Line(kind, ends, label, up) for (kind, ends, label), up in sorted(found.items(), key=_order))


def _order(item: tuple[tuple[Kind, tuple[str, str], str], bool]) -> tuple[str, tuple[str, str], str]:
    (kind, ends, label), _ = item
    return kind.value, ends, label


def _owners(topology: Topology) -> dict[str, str]:
    """The part that has each underlay address."""
    found = {str(item.address): router.name for router in topology.routers for item in router.addresses}
    for node in topology.intent.nodes:
        found |= {str(own.address): node.name for own in (node.address, node.address6) if own}
    return found | {str(item.address): host.name for host in topology.hosts for item in host.addresses}
