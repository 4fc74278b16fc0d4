"""
The parts of a map: each node's own answer, by its agent's socket or by the channel between agents.

Nothing of an answer is believed before it was read as a whole; its text is made printable first.

Refuses to know: what is put together of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from bgpctl import client
from bgpctl.agent.views import MAP
from bgpctl.cli import asking
from bgpctl.cli.render import printable
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import InterfaceAddress
from bgpctl.ui.document import Ground, Json, Place, Rack

Parts: TypeAlias = dict[str, Json | str]
"""By node: its part, or the reason in words why there is none."""

_WITHIN_S: Final = 5.0
_TEXT: Final = (str, type(None))
_PART: Final = {
    "state": str,
    "configuration": _TEXT,
    "problems": [str],
    "waiting": [{"reason": str}],
    "sessions": [{"with": str, "established": bool, "error": _TEXT, "next": _TEXT}],
    "tunnels": [{"device": str, "encapsulation": str, "up": bool, "mtu_bytes": int, "to": [str]}],
    "direct": [str],
    "unproven": dict,
    "workloads": [{"device": str, "addresses": [str]}],
    "events": [{"age_s": (int, float), "event": str}],
}
"""The shape of a part: a member may be of another version, or in other hands."""


def of_all(intent: Intent, here: str, run_dir: Path, keys: Path) -> Parts:
    """Of this node and all members; some of them are asked at once."""
    others = [node.name for node in intent.nodes if node.name != here]
    answers = asking.of_members(intent, here, others, keys, MAP, _WITHIN_S)
    return {here: of_socket(run_dir), **{name: _understood(answer) for name, answer in answers.items()}}


def of_socket(run_dir: Path) -> Json | str:
    """Of the node whose agent has this run directory."""
    try:
        return _understood(client.read(run_dir / client.SOCKET, MAP, any_version=True))
    except (client.AgentAway, client.BadRequest) as error:
        return str(error)


def nodes_of(run_dir: Path) -> Sequence[Json]:
    """The members as the agent of this node knows them. Raises AgentAway."""
    found: Sequence[Json] = client.read(run_dir / client.SOCKET, "nodes")["nodes"]
    if not found:
        raise client.AgentAway("the agent of this node has no configuration yet: bgpctl show summary")
    return found


def own_alone(rows: Sequence[Json], run_dir: Path, reason: str) -> tuple[Ground, Parts]:
    """The members by name, of which this node's part alone may be read."""
    here = next(row["name"] for row in rows if row["this"])
    networks = {row["name"]: str(InterfaceAddress.parse(row["address"]).network) for row in rows}
    racks = tuple(Rack(network, network) for network in dict.fromkeys(networks.values()))
    places = (
        Place(row["name"], "node", (networks[row["name"]],), (row["address"],), tuple(row["blocks"])) for row in rows
    )
    ground = Ground(f"the cluster of {here}", "agents", racks, tuple(places), ())
    return ground, {**dict.fromkeys(networks, reason), here: of_socket(run_dir)}


def _understood(answer: Mapping[str, Any] | str) -> Json | str:
    if isinstance(answer, str):
        return answer
    found: Json = printable(dict(answer))
    if found.get("schema") != client.schema(MAP):
        return f"its agent is of another version: it answered {found.get('schema')}"
    is_part = _has(found, _PART) and _has([*found["unproven"].values()], [str])
    return found if is_part else "its answer is no part of a map"


def _has(value: Any, shape: Any) -> bool:
    match shape:
        case dict():
            return isinstance(value, dict) and all(_has(value.get(key), item) for key, item in shape.items())
        case list():
            return isinstance(value, list) and all(_has(item, shape[0]) for item in value)
        case _:
            return isinstance(value, shape)
