"""
The map of a cluster as one JSON document, `bgpctl/map/v1` (docs/how-to/map.md): put together from each node's own part,
or from a cluster file alone. Pure functions.

Refuses to know: how nodes are asked, how a map is drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.encapsulation import DIRECT
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.fabric import encapsulation_to
from bgpctl.core.net.addresses import Address

Json: TypeAlias = dict[str, Any]
SCHEMA: Final = "bgpctl/map/v1"

_HEALTH: Final[Mapping[str, str]] = {
    "converged": "good",
    "starting": "changing",
    "learning": "changing",
    "converging": "changing",
    "migrating": "changing",
    "degraded": "bad",
}
_OTHER_CONFIGURATION: Final = "it has another configuration than most nodes: compare the cluster files"
_MOST_EVENTS: Final = 60
_NO_LINKS: Final[Mapping[str, Any]] = {
    "sessions": {"up": [], "down": []},
    "tunnels": [],
    "direct": [],
    "unproven": {},
}


class Rack(NamedTuple):
    """Nodes that reach each other without a router. `subnet`: in words."""

    name: str
    subnet: str


class Place(NamedTuple):
    """
    Attributes:
        kind: `node`, `router` or `host`.
        racks: the names of those that it is in.
        runs: the program in place of an agent, None for a node of ours.
    """

    name: str
    kind: str
    racks: tuple[str, ...]
    addresses: tuple[str, ...]
    blocks: tuple[str, ...] = ()
    runs: str | None = None


class End(NamedTuple):
    """A workload of a node; or `kind` is `block`, and its address stands for all of a block of which none is known."""

    node: str
    name: str
    address: str
    kind: str = "workload"


class Ground(NamedTuple):
    """All of a map that does not change while nodes run. `ends` that are known by name."""

    title: str
    source: str
    racks: tuple[Rack, ...]
    places: tuple[Place, ...]
    ends: tuple[End, ...]


# Ground ----------------------------------------------------------------------------------------------------------


def racks_of(intent: Intent) -> tuple[Rack, ...]:
    """One for each network of a node, in the order of the nodes, by the label `rack` where all of its nodes agree."""
    found: dict[str, list[Node]] = {}
    for node in intent.nodes:
        found.setdefault(str(node.address.network), []).append(node)
    names = [_label(nodes) or subnet for subnet, nodes in found.items()]
    unique = [name if names.count(name) == 1 else subnet for name, subnet in zip(names, found, strict=True)]
    return tuple(Rack(name, subnet) for name, subnet in zip(unique, found, strict=True))


def _label(nodes: Sequence[Node]) -> str | None:
    labels = {dict(node.labels).get("rack") for node in nodes}
    return f"rack {labels.pop()}" if len(labels) == 1 and None not in labels else None


def ground_of(title: str, source: str, intent: Intent, ends: Iterable[End] = ()) -> Ground:
    """The nodes of a configuration, each in the rack of its network."""
    racks = racks_of(intent)
    by_subnet = {rack.subnet: rack.name for rack in racks}
    places = (place_of(intent, node, (by_subnet[str(node.address.network)],)) for node in intent.nodes)
    return Ground(title, source, racks, tuple(places), tuple(ends))


def place_of(intent: Intent, node: Node, racks: tuple[str, ...], runs: str | None = None) -> Place:
    """A node in these racks."""
    addresses = tuple(str(own) for own in (node.address, node.address6) if own)
    return Place(node.name, "node", racks, addresses, tuple(map(str, intent.blocks_of(node))), runs)


# Running nodes ---------------------------------------------------------------------------------------------------


def of_parts(ground: Ground, parts: Mapping[str, Json | str], now_s: float) -> Json:
    """
    The map of nodes that were asked.

    Args:
        ground: all that does not change.
        parts: by node its answer, the view `map-part`, or the reason in words why there is none.
        now_s: seconds since 1970.
    """
    given = {name: part for name, part in parts.items() if isinstance(part, dict)}
    digests = Counter(part["configuration"] for part in given.values() if part["configuration"])
    usual = digests.most_common(1)[0][0] if digests else None
    nodes = [_place(ground, place, parts.get(place.name), usual) for place in ground.places]
    return _document(ground, nodes, _events(given, now_s))


def _document(ground: Ground, nodes: list[Json], events: list[Json]) -> Json:
    return {
        "schema": SCHEMA,
        "title": ground.title,
        "source": ground.source,
        "racks": [rack._asdict() for rack in ground.racks],
        "nodes": nodes,
        "events": events,
    }


def _place(ground: Ground, place: Place, part: Json | str | None, usual: str | None) -> Json:
    fixed = {
        "name": place.name,
        "kind": place.kind,
        "racks": list(place.racks),
        "addresses": list(place.addresses),
        "blocks": list(place.blocks),
    }
    known = [end for end in ground.ends if end.node == place.name]
    if isinstance(part, dict):
        return {**fixed, **_asked(part, usual), "workloads": _workloads(known, part)}
    workloads = [_workload(end) for end in known]
    if place.kind != "node" or place.runs:
        return {**fixed, **_silent(f"runs {place.runs}" if place.runs else None, "none", []), "workloads": workloads}
    reason = part or "it was not asked yet"
    return {**fixed, **_silent("not asked", "unknown", [reason]), "workloads": workloads}


def _silent(state: str | None, health: str, why: list[str]) -> Json:
    return {"state": state, "health": health, "why": why, "agrees": None, **_NO_LINKS}


def _asked(part: Json, usual: str | None) -> Json:
    agrees = part["configuration"] == usual
    why = [*part["problems"], *(item["reason"] for item in part["waiting"] if item["reason"] not in part["problems"])]
    sessions = part["sessions"]
    return {
        "state": part["state"],
        "health": _HEALTH.get(part["state"], "unknown"),
        "why": [*why, *([] if agrees else [_OTHER_CONFIGURATION])],
        "agrees": agrees,
        "sessions": {
            "up": [item["with"] for item in sessions if item["established"]],
            "down": [
                {key: item[key] for key in ("with", "error", "next")} for item in sessions if not item["established"]
            ],
        },
        "tunnels": [{key: value for key, value in item.items() if key != "traffic"} for item in part["tunnels"]],
        "direct": part["direct"],
        "unproven": part["unproven"],
    }


def _workloads(known: Iterable[End], part: Json) -> list[Json]:
    """All that are known by name, then all that the node sees, by their devices."""
    found = {end.address: _workload(end) for end in known}
    for row in part["workloads"]:
        for prefix in row["addresses"]:
            address = prefix.partition("/")[0]
            found.setdefault(address, {"name": row["device"], "address": address, "kind": "workload"})
    real = [item for item in found.values() if item["kind"] == "workload"]
    return real or list(found.values())


def _workload(end: End) -> Json:
    return {"name": end.name, "address": end.address, "kind": end.kind}


def _events(given: Mapping[str, Json], now_s: float) -> list[Json]:
    """The newest first."""
    found = [
        {"node": name, "at_s": round(now_s - item["age_s"], 1), "event": item["event"]}
        for name, part in given.items()
        for item in part["events"]
    ]
    return sorted(found, key=lambda item: -float(item["at_s"]))[:_MOST_EVENTS]


# A cluster file alone --------------------------------------------------------------------------------------------


def of_intent(ground: Ground, intent: Intent) -> Json:
    """The map of nodes as a cluster file has them, once all have converged."""
    names = {address: node.name for node in intent.nodes for address in node.addresses}
    nodes = []
    for place in ground.places:
        node = intent.node(place.name)
        found = _place(ground, place, None, None)
        nodes.append({**found, **_declared(intent, node, names)} if node and not place.runs else found)
    return _document(ground, nodes, [])


def _declared(intent: Intent, node: Node, names: Mapping[Address, str]) -> Json:
    config = speaker_config(intent, node.name)
    up = [names.get(session.peer, session.name) for session in config.sessions] if config else []
    by_name: dict[str, set[str]] = {}
    for name, member in _sent(intent, node):
        by_name.setdefault(name, set()).add(member)
    direct = by_name.pop(DIRECT.name, set())
    return {
        "state": "declared",
        "health": "declared",
        "why": [],
        "sessions": {"up": list(dict.fromkeys(up)), "down": []},
        "tunnels": [_tunnel(name, members) for name, members in sorted(by_name.items())],
        "direct": sorted(direct),
    }


def _tunnel(name: str, members: Iterable[str]) -> Json:
    return {"device": None, "encapsulation": name, "up": True, "mtu_bytes": None, "to": sorted(members)}


def _sent(intent: Intent, node: Node) -> Iterator[tuple[str, str]]:
    """The name of the encapsulation by which each member with a block is sent to."""
    for other in intent.nodes:
        blocks = intent.blocks_of(other) if other.name != node.name else ()
        pools = {pool.name: (pool, block.version) for block in blocks if (pool := intent.pool_of(block))}
        for pool, version in pools.values():
            remote = other.underlay(version)
            if remote:
                yield encapsulation_to(pool, node, remote.address).name, other.name
