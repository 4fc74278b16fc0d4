"""
Lab files: a cluster file with `segments`, `routers`, `hosts`, `workloads`, `checks`, drivers of
encapsulations and `runs` beside it.

Refuses to know: whether what it says makes sense together (validate.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from bgpctl.core.cluster.configuration import Node, Pool, Use
from bgpctl.core.cluster.encapsulation import words
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Place, Problem
from bgpctl.core.intent import read
from bgpctl.core.intent.fields import Fields, Problems, parse_interface, parse_prefix, scalar
from bgpctl.core.intent.tree import Mapping, Tree
from bgpctl.core.intent.tree import Sequence as Listed
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.kernel.encapsulations import IMPLEMENTATIONS
from bgpctl.kernel.protocol import Implementation
from bgpctl.lab import validate
from bgpctl.lab.topology import (
    AbsenceCheck,
    Check,
    DropCheck,
    Host,
    PacketCheck,
    Program,
    Router,
    Scope,
    SeenAs,
    Segment,
    SourceCheck,
    SwitchCheck,
    Topology,
    Workload,
)
from bgpctl.lab.wire import shapes
from bgpctl.store.yaml import BadYaml, documents

_TRACES: Final = ("tcp-179", "exabgp")
_MOST_CANDIDATES: Final = 256
_MOST_DROPS: Final = 1 << 31


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
    """`intent` is None if the cluster part is wrong: what depends on its nodes is not judged then."""

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
        known = _Known(
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
        topology = Topology(self._path.stem, self._path, intent, *stations, checks, drivers, runs)
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
            routes = tuple(_routes(router))
            yield Router(name, _stations("a router", router), routes, router.place)

    def _hosts(self, fields: Fields) -> Iterator[Host]:
        for name, host in fields.entries("hosts"):
            yield Host(name, _stations("a host", host), host.place)

    def _claims(self, fields: Fields) -> Iterator[_Claim]:
        for name, workload in fields.entries("workloads"):
            workload.need("a workload", "node")
            node = workload.text("node")
            given = [workload.address(key) for key in ("address", "address6")]
            addresses = tuple(sorted(address for address in given if address))
            workload.finish()
            if len(addresses) > 1 and [address.version for address in addresses] != [4, 6]:
                workload.wrong("address6", "address6 is the IPv6 address beside an IPv4 one in address", "family")
            if node and self._is_no_node(node):
                workload.wrong("node", f"{node} is not a node of this file", "unknown-node")
            elif node:
                yield _Claim(name, node, addresses, workload.place)

    def _checks(self, fields: Fields, known: _Known) -> Iterator[Check]:
        for name, check in fields.entries("checks"):
            found = _check(name, check, known)
            check.finish()
            if found:
                yield found

    def _drivers(self, parts: Sequence[Fields]) -> dict[str, dict[str, str]]:
        """By node, and by the name of the encapsulation."""
        found: dict[str, dict[str, str]] = {}
        for name, item in IMPLEMENTATIONS.items():
            for node, driver in (said for fields in parts for said in self._drivers_of(fields, item)):
                found.setdefault(node, {})[name] = driver
        return found

    def _drivers_of(self, fields: Fields, item: Implementation) -> Iterator[tuple[str, str]]:
        group = fields.fields(f"{item.encapsulation.name}-drivers")
        for node in group.names() if group else ():
            driver = group.one_of(node, item.drivers) if group else None
            if group and self._is_no_node(node):
                group.wrong(node, f"{node} is not a node of this file", "unknown-node")
            elif driver:
                yield node, driver

    def _runs(self, fields: Fields, routers: Sequence[str]) -> Iterator[tuple[str, Program]]:
        group = fields.fields("runs")
        for name in group.names() if group else ():
            program = group.choice(name, Program) if group else None
            if group and name not in routers and self._is_no_node(name):
                group.wrong(name, f"{name} is neither a node nor a router of this file", "unknown-node")
            elif program:
                yield name, program


def _names(fields: Fields, key: str) -> list[str]:
    group = fields.tree(key)
    return list(group.items) if isinstance(group, Mapping) else []


def _subnets(group: Fields, name: str) -> tuple[Prefix, ...]:
    """One, or a list."""
    if isinstance(group.tree(name), Listed):
        return group.values(name, lambda leaf: parse_prefix(leaf.text), "cidr")
    subnet = group.prefix(name)
    return (subnet,) if subnet else ()


def _routes(router: Fields) -> Iterator[tuple[Prefix, Address]]:
    """`routes` of a router: network to gateway."""
    group = router.fields("routes")
    if group is None:
        return
    for name in group.names():
        gateway = group.address(name)
        try:
            prefix = parse_prefix(name)
        except ValueError as error:
            group.wrong(name, str(error), "cidr")
            continue
        if gateway and gateway.version == prefix.version:
            yield prefix, gateway
        elif gateway:
            group.wrong(name, f"{gateway} is of another IP version than {prefix}", "family")


def _stations(what: str, fields: Fields) -> tuple[InterfaceAddress, ...]:
    fields.need(what, "addresses")
    found = fields.values("addresses", lambda leaf: parse_interface(leaf.text), "address")
    fields.finish()
    return found


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


class _Known(NamedTuple):
    """The names that checks can speak of; `places` are segments and routers, `pools` None if they are not known."""

    places: Sequence[str]
    routers: Sequence[str]
    workloads: Sequence[str]
    hosts: Sequence[str]
    pools: Sequence[str] | None


def _check(name: str, fields: Fields, known: _Known) -> Check | None:
    if fields.has("absent"):
        return _absence(name, fields)
    if fields.has("seen-as"):
        return _source(name, fields, known)
    if fields.has("switch"):
        return _switch(name, fields, known)
    if fields.has("drops"):
        fields.need("a check of drops", "at")
        drops, router = fields.integer("drops", 0, _MOST_DROPS), fields.one_of("at", known.routers)
        return DropCheck(name, router, drops) if router and drops is not None else None
    if not any(map(fields.has, ("at", "packets", "are"))):
        message = "a check is {at, packets, are}, {at, drops}, {from, to, seen-as}, {switch, to, lost} or {absent}"
        fields.problems.add(fields.place, fields.path, message, "missing")
        return None
    fields.need("a check of packets", "at", "packets", "are")
    at, scope, shape = (
        fields.one_of("at", known.places),
        fields.choice("packets", Scope),
        fields.one_of("are", shapes()),
    )
    pool = fields.text("pool") if known.pools is None else fields.one_of("pool", known.pools)
    return PacketCheck(name, at, scope, shape, pool) if at and scope and shape else None


def _source(name: str, fields: Fields, known: _Known) -> SourceCheck | None:
    fields.need("a check of a source", "from", "to")
    source, seen_as = fields.one_of("from", known.workloads), fields.choice("seen-as", SeenAs)
    destination = fields.one_of("to", [*known.workloads, *known.hosts])
    return SourceCheck(name, source, destination, seen_as) if source and destination and seen_as else None


def _switch(name: str, fields: Fields, known: _Known) -> SwitchCheck | None:
    fields.need("a check of a switch", "to", "lost")
    pool = fields.text("switch") if known.pools is None else fields.one_of("switch", known.pools)
    encapsulation, lost = fields.one_of("to", words()), fields.integer("lost", 0, _MOST_DROPS)
    return SwitchCheck(name, pool, encapsulation, lost) if pool and encapsulation and lost is not None else None


def _absence(name: str, fields: Fields) -> AbsenceCheck:
    found = [
        scalar(item, path, fields.problems, lambda leaf: leaf.text, "type") for path, item in fields.items("absent")
    ]
    known = ", ".join(_TRACES)
    for word in found:
        if word and word not in _TRACES:
            fields.wrong("absent", f"{word} is unknown; known: {known}", "choice")
    if not found:
        fields.wrong("absent", f"names what is to be absent; known: {known}", "missing")
    return AbsenceCheck(name, tuple(word for word in found if word))
