"""
The keys of a lab file beside those of the cluster.

Refuses to know: the cluster's own keys (core/intent), whether the values are consistent (validate.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from bgpctl.core.cluster.encapsulation import Encapsulation, tunnels, words
from bgpctl.core.intent.field_kinds import (
    ADDRESS,
    ANYTHING,
    TEXT,
    FieldKind,
    enumeration,
    integer,
    placed,
    several,
    word,
)
from bgpctl.core.intent.fields import Fields, parse_interface, parse_prefix, scalar
from bgpctl.core.intent.shapes import Shape, ref
from bgpctl.core.intent.short import driver_key
from bgpctl.core.intent.tables import Row, Table
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.kernel.encapsulations import implementation_of
from bgpctl.lab.topology import Program, Scope, SeenAs
from bgpctl.lab.wire import shapes

_TRACES: Final = ("tcp-179", "exabgp")
_MOST_PACKETS: Final = 1 << 31


# Routers, hosts and workloads ----------------------------------------------------------------------------------


def _read_routes(fields: Fields, key: str) -> tuple[tuple[Prefix, Address], ...]:
    """Network to gateway."""
    group = fields.fields(key)
    found = [_read_route(group, name) for name in group.names()] if group else []
    return tuple(route for route in found if route)


def _read_route(group: Fields, name: str) -> tuple[Prefix, Address] | None:
    gateway = group.address(name)
    try:
        prefix = parse_prefix(name)
    except ValueError as error:
        group.wrong(name, str(error), "cidr")
        return None
    if gateway and gateway.version != prefix.version:
        group.wrong(name, f"{gateway} is of another IP version than {prefix}", "family")
        return None
    return (prefix, gateway) if gateway else None


def _mapping(items: Shape) -> Shape:
    return {"type": ["object", "null"], "additionalProperties": items}


_INTERFACES: Final = replace(
    several(lambda leaf: parse_interface(leaf.text), "address", ref("interface")),
    shape={"type": "array", "items": ref("interface")},
)
_ADDRESSES: Final = Row("addresses", _INTERFACES, "addresses", needed=True)
_ROUTES: Final = Row(
    "routes", FieldKind(_read_routes, _mapping(ref("address"))), "routes", "Networks and the gateway to each."
)
ROUTER: Final = Table((_ADDRESSES, _ROUTES), what="a router")
HOST: Final = Table((_ADDRESSES,), what="a host")
WORKLOAD: Final = Table(
    (
        Row("node", TEXT, "node", needed=True),
        Row("address", ADDRESS, "address"),
        Row("address6", ADDRESS, "address6"),
    ),
    what="a workload",
)
PROGRAM: Final = enumeration(Program)


def driver_of(encapsulation: Encapsulation) -> FieldKind[str]:
    """The drivers that a node's agent may be started with."""
    return word(*implementation_of(encapsulation).drivers)


# Checks --------------------------------------------------------------------------------------------------------


class Known(NamedTuple):
    """The names that checks can speak of; `places` are segments and routers, `pools` None if they are not known."""

    places: Sequence[str] = ()
    routers: Sequence[str] = ()
    workloads: Sequence[str] = ()
    hosts: Sequence[str] = ()
    pools: Sequence[str] | None = ()


def _named(names: Sequence[str]) -> FieldKind[str]:
    """One of the names of a file, which an editor does not know."""
    return replace(word(*names), shape=ref("text"))


def _read_absent(fields: Fields, key: str) -> tuple[str, ...]:
    found = [scalar(item, path, fields.problems, lambda leaf: leaf.text, "type") for path, item in fields.items(key)]
    known = ", ".join(_TRACES)
    for trace in found:
        if trace and trace not in _TRACES:
            fields.wrong(key, f"{trace} is unknown; known: {known}", "choice")
    if not found:
        fields.wrong(key, f"names the traces that must be absent; known: {known}", "missing")
    return tuple(trace for trace in found if trace)


_ABSENT: Final = FieldKind(_read_absent, {"type": "array", "items": {"enum": list(_TRACES)}, "minItems": 1})
_COUNT: Final = replace(integer(0, _MOST_PACKETS), shape={"type": "integer", "minimum": 0})


def check_tables(known: Known) -> Mapping[str, Table]:
    """The kinds of checks, each by the key that identifies it."""
    pool = TEXT if known.pools is None else _named(known.pools)
    return {
        "absent": Table(
            (Row("absent", _ABSENT, "absent", needed=True),),
            what="a check of absence",
            about="Processes and packets that must be absent.",
        ),
        "seen-as": Table(
            (
                Row("from", _named(known.workloads), "source", needed=True),
                Row("to", _named([*known.workloads, *known.hosts]), "destination", needed=True),
                Row("seen-as", enumeration(SeenAs), "seen_as", needed=True),
            ),
            what="a check of a source",
            about="With which source address the packets of a workload arrive: its own or its node's.",
        ),
        "switch": Table(
            (
                Row("switch", pool, "pool", needed=True),
                Row("to", word(*words()), "encapsulation", needed=True),
                Row("lost", _COUNT, "lost", needed=True),
            ),
            what="a check of a switch",
            about="A pool gets another encapsulation under load, and how many packets are lost.",
        ),
        "drops": Table(
            (
                Row("at", _named(known.routers), "router", needed=True),
                Row("drops", _COUNT, "drops", needed=True),
            ),
            what="a check of drops",
            about="Packets that a router has dropped for want of a route.",
        ),
        "packets": Table(
            (
                Row("at", _named(known.places), "at", needed=True),
                Row("packets", enumeration(Scope), "scope", needed=True),
                Row("pool", pool, "pool"),
                Row("are", word(*shapes()), "shape", needed=True),
            ),
            what="a check of packets",
            about="Packets of workloads, and their encapsulation at a segment or router.",
        ),
    }


# The file ------------------------------------------------------------------------------------------------------


def _shown(shape: Shape) -> FieldKind[Any]:
    """A mapping that labfile.py reads entry by entry."""
    return FieldKind(ANYTHING.read, _mapping(shape), None)


def _check_shape() -> Shape:
    shapes_of_kinds = (table.shape() for table in check_tables(Known()).values())
    return {
        "type": "object",
        "anyOf": [{key: part for key, part in shape.items() if key != "type"} for shape in shapes_of_kinds],
    }


def _driver_row(encapsulation: Encapsulation) -> Row:
    title, has_choice = encapsulation.title, bool(implementation_of(encapsulation).drivers)
    about = f"The driver of {title} on a node." if has_choice else f"Nothing: {title} has one driver."
    return Row(driver_key(encapsulation), _shown(driver_of(encapsulation).shape), about=about)


STORES: Final = placed(lambda leaf: leaf.text, "name", {"type": "string"})
"""Names of hosts."""


def lab_table() -> Table:
    """The keys of the file."""
    return Table(
        (
            Row(
                "segments",
                _shown({"anyOf": [ref("prefix"), {"type": "array", "items": ref("prefix")}]}),
                about="Subnets of layer-2 segments by name: nodes, routers and hosts join by their address.",
            ),
            Row(
                "routers",
                _shown(ROUTER.shape()),
                about="Routers by name: they forward between segments, and know nothing else but their routes.",
            ),
            Row(
                "hosts",
                _shown(HOST.shape()),
                about="Hosts outside the cluster by name; their default gateway is a router.",
            ),
            Row(
                "workloads",
                _shown(WORKLOAD.shape()),
                about="Workloads by name; without an address the next free one of the node's blocks.",
            ),
            Row("checks", _shown(_check_shape()), about="Assertions about the running lab, by name."),
            *map(_driver_row, tunnels().values()),
            Row("runs", _shown(PROGRAM.shape), about="The BGP daemon of a router, or of a node instead of an agent."),
            Row("etcd", FieldKind(ANYTHING.read, STORES.shape, None), about="Hosts with an etcd that agents read."),
        )
    )
