"""
Lab files: a cluster file with `segments`, `routers`, `hosts`, `workloads`, `checks`, drivers of
encapsulations, `runs` and `etcd` beside it.

Refuses to know: whether its parts are consistent (validate.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bgpctl.core.cluster.configuration import Node, Pool, Use
from bgpctl.core.cluster.encapsulation import Encapsulation, tunnels
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Place, Problem
from bgpctl.core.intent import read
from bgpctl.core.intent.fields import Fields, Problems, parse_prefix
from bgpctl.core.intent.short import driver_key
from bgpctl.core.intent.tree import Mapping, Tree
from bgpctl.core.intent.tree import Sequence as Listed
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.lab import validate
from bgpctl.lab.tables import HOST, PROGRAM, ROUTER, STORES, WORKLOAD, Known, check_tables, driver_of
from bgpctl.lab.topology import (
    AbsenceCheck,
    Check,
    DropCheck,
    Host,
    PacketCheck,
    Program,
    Router,
    Segment,
    SourceCheck,
    SwitchCheck,
    Topology,
    Workload,
)
from bgpctl.store.yaml import BadYaml, documents

_MOST_CANDIDATES: Final = 256


def load(path: Path) -> Topology | tuple[Problem, ...]:
    """The topology in one file, or all that is wrong with it, cluster part included."""
    try:
        trees = documents(path.read_text(encoding="utf-8"), str(path))
    except BadYaml as bad:
        return (bad.problem,)
    except (OSError, UnicodeDecodeError) as error:
        return (Problem(Place(str(path), 1, 1), "", f"cannot be read: {error}", "unreadable"),)
    problems = Problems()
    intent = read(trees)
    if isinstance(intent, tuple):
        problems.found += intent
        _Reader(path, None, problems).read(trees)
        return problems.sorted()
    topology = _Reader(path, intent, problems).read(trees)
    return problems.sorted() or topology


def is_lab(path: Path) -> bool:
    """True if the file can be read and describes more than a cluster."""
    try:
        trees = documents(path.read_text(encoding="utf-8"), str(path))
    except (BadYaml, OSError, UnicodeDecodeError):
        return False
    return any(isinstance(tree, Mapping) and "segments" in tree.items for tree in trees)


@dataclass(frozen=True, slots=True)
class _Claim:
    """A workload as the file has it: the addresses may be left to us."""

    name: str
    node: str
    addresses: tuple[Address, ...]
    place: Place


class _Reader:
    """`intent` is None if the cluster part is wrong: checks that depend on its nodes are not made then."""

    def __init__(self, path: Path, intent: Intent | None, problems: Problems) -> None:
        self._path = path
        self._intent = intent
        self._problems = problems

    def read(self, trees: Sequence[Tree]) -> Topology:
        parts = [Fields(tree, "", self._problems) for tree in trees if isinstance(tree, Mapping)]
        segments = tuple(segment for fields in parts for segment in self._segments(fields))
        routers = tuple(router for fields in parts for router in self._routers(fields))
        hosts = tuple(host for fields in parts for host in self._hosts(fields))
        claims = [claim for fields in parts for claim in self._claims(fields)]
        segment_names = [name for fields in parts for name in _names(fields, "segments")]
        router_names = [router.name for router in routers]
        known = Known(
            [*segment_names, *router_names],
            router_names,
            [claim.name for claim in claims],
            [host.name for host in hosts],
            [pool.name for pool in self._intent.pools] if self._intent else None,
        )
        checks = tuple(check for fields in parts for check in self._checks(fields, known))
        drivers = self._drivers(parts)
        runs = dict(program for fields in parts for program in self._runs(fields, router_names))
        workloads = tuple(_allot(self._intent, claims, self._problems)) if self._intent else ()
        intent = self._intent or Intent()
        stations = (segments, routers, hosts, workloads)
        stores = tuple(name for fields in parts for name in self._stores(fields, hosts))
        topology = Topology(self._path.stem, self._path, intent, *stations, checks, drivers, runs, stores)
        self._problems.found += validate.problems(topology, all_segments_known=len(segments) == len(segment_names))
        return topology

    def _is_no_node(self, name: str | None) -> bool:
        return self._intent is not None and self._intent.node(name or "") is None

    def _segments(self, fields: Fields) -> Iterator[Segment]:
        group = fields.fields("segments")
        for name in group.names() if group else ():
            subnets = _subnets(group, name) if group else ()
            if group and subnets:
                yield Segment(name, subnets, group.at(name))

    def _routers(self, fields: Fields) -> Iterator[Router]:
        for name, router in fields.entries("routers"):
            found = ROUTER.read(router)
            router.finish()
            yield Router(name, found.get("addresses", ()), found["routes"], router.place)

    def _hosts(self, fields: Fields) -> Iterator[Host]:
        for name, host in fields.entries("hosts"):
            found = HOST.read(host)
            host.finish()
            yield Host(name, found.get("addresses", ()), host.place)

    def _claims(self, fields: Fields) -> Iterator[_Claim]:
        for name, workload in fields.entries("workloads"):
            found = WORKLOAD.read(workload)
            node = found.get("node")
            addresses = tuple(sorted(found[key] for key in ("address", "address6") if key in found))
            workload.finish()
            if len(addresses) > 1 and [address.version for address in addresses] != [4, 6]:
                workload.wrong("address6", "address6 is the IPv6 address beside an IPv4 one in address", "family")
            if node and self._is_no_node(node):
                workload.wrong("node", f"{node} is not a node of this file", "unknown-node")
            elif node:
                yield _Claim(name, node, addresses, workload.place)

    def _checks(self, fields: Fields, known: Known) -> Iterator[Check]:
        for name, check in fields.entries("checks"):
            found = _check(name, check, known)
            check.finish()
            if found:
                yield found

    def _drivers(self, parts: Sequence[Fields]) -> dict[str, dict[str, str]]:
        """By node, and by the name of the encapsulation."""
        found: dict[str, dict[str, str]] = {}
        for name, item in tunnels().items():
            for node, driver in (pair for fields in parts for pair in self._drivers_of(fields, item)):
                found.setdefault(node, {})[name] = driver
        return found

    def _drivers_of(self, fields: Fields, encapsulation: Encapsulation) -> Iterator[tuple[str, str]]:
        group = fields.fields(driver_key(encapsulation))
        for node in group.names() if group else ():
            driver = driver_of(encapsulation).read(group, node) if group else None
            if group and self._is_no_node(node):
                group.wrong(node, f"{node} is not a node of this file", "unknown-node")
            elif driver:
                yield node, driver

    def _runs(self, fields: Fields, routers: Sequence[str]) -> Iterator[tuple[str, Program]]:
        group = fields.fields("runs")
        for name in group.names() if group else ():
            program = PROGRAM.read(group, name) if group else None
            if group and name not in routers and self._is_no_node(name):
                group.wrong(name, f"{name} is neither a node nor a router of this file", "unknown-node")
            elif program:
                yield name, program

    def _stores(self, fields: Fields, hosts: Sequence[Host]) -> Iterator[str]:
        known = {host.name for host in hosts}
        for name, at in STORES.read(fields, "etcd") or ():
            if name in known:
                yield name
            else:
                self._problems.add(at.place, at.path, f"{name} is not a host of this file", "unknown-host")


def _names(fields: Fields, key: str) -> list[str]:
    group = fields.tree(key)
    return list(group.items) if isinstance(group, Mapping) else []


def _subnets(group: Fields, name: str) -> tuple[Prefix, ...]:
    """One, or a list."""
    if isinstance(group.tree(name), Listed):
        return group.values(name, lambda leaf: parse_prefix(leaf.text), "cidr")
    subnet = group.prefix(name)
    return (subnet,) if subnet else ()


def _allot(intent: Intent, claims: Sequence[_Claim], problems: Problems) -> Iterator[Workload]:
    """The claims with addresses: where the file gives none, of each IP version the next free one of the node's."""
    taken = {address for claim in claims for address in claim.addresses}
    for claim in claims:
        node = intent.node(claim.node)
        free = [_free(intent, node, version, taken) for version in (4, 6)] if node else []
        addresses = claim.addresses or tuple(address for address in free if address)
        if addresses:
            taken.update(addresses)
            yield Workload(claim.name, claim.node, addresses, claim.place)
        else:
            message = f"no address is free in the blocks of node {claim.node}"
            problems.add(claim.place, f"workloads.{claim.name}", message, "not-in-block")


def _free(intent: Intent, node: Node, version: int, taken: set[Address]) -> Address | None:
    kept = intent.tunnel_addresses(node)
    # Never the first: it becomes the tunnel's as soon as the pool is given an encapsulation.
    blocks = [
        block
        for block in intent.blocks_of(node)
        if block.version == version and _is_for_workloads(intent.pool_of(block))
    ]
    candidates = (block.nth(index) for block in blocks for index in range(1, min(block.size, _MOST_CANDIDATES)))
    return next((address for address in candidates if address not in taken and address not in kept), None)


def _is_for_workloads(pool: Pool | None) -> bool:
    """True if the pool still gives addresses to workloads."""
    return pool is not None and not pool.disabled and Use.WORKLOAD in pool.allowed_uses


def _check(name: str, fields: Fields, known: Known) -> Check | None:
    tables = check_tables(known)
    kind = next((key for key in ("absent", "seen-as", "switch", "drops") if fields.has(key)), "packets")
    if kind == "packets" and not any(map(fields.has, ("at", "packets", "are"))):
        message = "a check is {at, packets, are}, {at, drops}, {from, to, seen-as}, {switch, to, lost} or {absent}"
        fields.problems.add(fields.place, fields.path, message, "missing")
        return None
    found = tables[kind].read(fields)
    needed = [row.attribute for row in tables[kind].rows if row.needed]
    return _CHECKS[kind](name, **found) if all(key in found for key in needed) else None


_CHECKS: Final[dict[str, Callable[..., Check]]] = {
    "absent": AbsenceCheck,
    "seen-as": SourceCheck,
    "switch": SwitchCheck,
    "drops": DropCheck,
    "packets": PacketCheck,
}
