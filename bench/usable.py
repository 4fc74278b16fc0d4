"""
From a new block on one node to its route in the kernel of every other node: bgpctl beside BIRD and FRR.

All nodes run the same program, in one mesh or behind two reflectors, and have ROUTES other routes (10,000) in their
tables, which one more peer announces. Then one node after the other gets a block. The time runs from the node's new
configuration (bgpctl: the file is in place; BIRD: `configure`; FRR: `network …`, both by the daemon's own socket) to
the kernel's notification in each other node's namespace. CPU is that of all processes of all nodes: from their start to
rest, and for one block. Divided by the number of cores it is the least time that the last node can need here, where
the nodes have no cores of their own.

    CASES="4/mesh 50/reflectors" ROUTES=10000 CHANGES=10 python -m bench.usable bench/results/usable.json
"""

from __future__ import annotations

import os
import random
import selectors
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from bench.common import control, figures
from bench.common.ending import ends_orderly
from bench.common.fib_watch import FibWatch, routes_in_kernel
from bench.common.many import FEED, MASK, REFLECTORS, Many, many, node_address
from bench.common.peers import Peers, announce
from bench.common.processes import Meter, spent
from bench.common.rounds import interleaved
from bench.common.subjects import CLUSTER_ID
from bgpctl import client
from bgpctl.core.net.addresses import Prefix
from bgpctl.lab import netns
from bgpctl.lab.daemons import bird, frr
from bgpctl.lab.daemons.session_options import Neighbor, Origin, Router
from tests.waiting import wait_until

CASES: Final = os.environ.get("CASES", "4/mesh 50/reflectors 4/reflectors 20/mesh 20/reflectors 50/mesh").split()
"""The most important ones are first: the last may find no time left."""
ROUTES: Final = int(os.environ.get("ROUTES", "10000"))
CHANGES: Final = int(os.environ.get("CHANGES", "10"))
ROUNDS: Final = int(os.environ.get("ROUNDS", "1"))
WITHIN_S: Final = float(os.environ.get("CONVERGED_WITHIN_S", "120"))
PAUSE_S: Final = (0.3, 0.6)
IDLE_S: Final = 2.0
REST_WITHIN_S: Final = 60.0
CHECKED_S: Final = 125.0
"""By then each of many agents has made its last decision again: a minute after its start, on cores that all share."""
BLOCKS: Final = Prefix.parse("11.0.0.0/9")
OTHERS: Final = Prefix.parse("11.128.0.0/9")
_AT_REST: Final = ("converged", "degraded")


class Case(NamedTuple):
    """So many nodes, in a mesh or behind reflectors."""

    nodes: int
    kind: str

    def __str__(self) -> str:
        return f"{self.nodes} nodes, {self.kind}"


def block(number: int, of: Prefix = BLOCKS) -> Prefix:
    return Prefix(4, of.network + 64 * number, 26)


class Program(Protocol):
    """The program that runs on all nodes."""

    def start(self, number: int) -> None:
        """Start a node with the one block that has its number."""

    def add(self, number: int, prefix: Prefix) -> None:
        """Give a node one more block."""

    def ready(self, number: int) -> bool:
        """True once a node that has all routes is at rest."""


class Bgpctl:
    """Each node has a cluster file of its own: an operator's edits reach nodes at different times."""

    def __init__(self, nodes: Many) -> None:
        self._nodes = nodes
        self._blocks = {number: [block(number)] for number in range(nodes.nodes)}

    def start(self, number: int) -> None:
        place = self._nodes.place(number)
        place.file("cluster.yaml").write_text(self._text(number))
        command = (sys.executable, "-m", "bgpctl", "agent", "run", "--node", f"n{number}")
        files = ("-f", place.file("cluster.yaml"), "--run-dir", place.directory)
        netns.spawn(place.namespace, [*command, *map(str, files)], place.file("log"))

    def add(self, number: int, prefix: Prefix) -> None:
        self._blocks[number].append(prefix)
        file = self._nodes.place(number).file("cluster.yaml")
        fresh = file.with_suffix(".new")
        fresh.write_text(self._text(number))
        fresh.replace(file)

    def ready(self, number: int) -> bool:
        """Files that differ, as these do, are a reason to call a node degraded, and none to wait."""
        try:
            return client.read(self._nodes.place(number).file(client.SOCKET), "summary")["state"] in _AT_REST
        except client.AgentAway:
            return False

    def _own_blocks(self, number: int) -> str:
        return f", blocks: [{', '.join(map(str, self._blocks[number]))}]"

    def _text(self, own: int) -> str:
        """The file of one node: of the others' blocks it knows nothing, BGP brings them."""
        hub = f", clusterID: {CLUSTER_ID}, labels: {{hub: 'yes'}}"
        rows = [
            f"  n{number}: {{address: {node_address(number)}/{MASK}"
            f"{self._own_blocks(number) if number == own else ''}"
            f"{hub if self._nodes.reflected and number < REFLECTORS else ''}}}"
            for number in range(self._nodes.nodes)
        ]
        selected = [
            "mesh: false",
            "peers:",
            '  clients: {nodes: "!has(hub)", peerSelector: has(hub)}',
            "  hubs: {nodes: has(hub), peerSelector: has(hub)}",
        ]
        head = ["calico_backend: bird", "pools: {blue: {cidr: 11.0.0.0/8, encapsulation: None}}"]
        more = selected if self._nodes.reflected else []
        return "\n".join([*head, *more, "nodes:", f"  feed: {{address: {FEED}/{MASK}}}", *rows, ""])


@dataclass
class Daemon:
    """The configuration of another daemon's nodes."""

    nodes: Many

    def __post_init__(self) -> None:
        self.routers = {number: self._router(number) for number in range(self.nodes.nodes)}

    def ready(self, number: int) -> bool:
        return number in self.routers

    def _router(self, number: int) -> Router:
        own, hub = node_address(number), self.nodes.reflected and number < REFLECTORS
        hubs = {node_address(other) for other in range(REFLECTORS)}
        neighbors = tuple(
            Neighbor(peer, own, passive=str(peer) > str(own), client=hub and peer not in hubs)
            for peer in self.nodes.neighbors(number)
        )
        return Router(own, neighbors, {block(number): Origin()}, cluster_id=CLUSTER_ID if hub else None)


class Bird(Daemon):
    """Its file is written anew and read by `configure`."""

    def start(self, number: int) -> None:
        place = self.nodes.place(number)
        place.file("bird.conf").write_text(bird.configuration(self.routers[number]))
        bird.start(place)
        wait_until(place.file("bird.ctl").exists, within_s=30)

    def add(self, number: int, prefix: Prefix) -> None:
        router = self.routers[number]
        grown = Router(
            router.router_id, router.neighbors, {**router.routes, prefix: Origin()}, cluster_id=router.cluster_id
        )
        self.routers[number] = grown
        place = self.nodes.place(number)
        place.file("bird.conf").write_text(bird.configuration(grown))
        control.bird(place.file("bird.ctl"), "configure")


class Frr(Daemon):
    """Configured by one more `network`."""

    def start(self, number: int) -> None:
        place = self.nodes.place(number)
        frr.write(place, self.routers[number])
        for program in ("zebra", "bgpd"):
            frr.start(place, program)
            wait_until(place.file(f"{program}.vty").exists, within_s=30)

    def add(self, number: int, prefix: Prefix) -> None:
        router = self.routers[number]
        network = (f"router bgp {router.asn}", "address-family ipv4 unicast", f"network {prefix}", "end")
        control.frr(self.nodes.place(number).file("bgpd.vty"), ("enable", "configure terminal", *network))


PROGRAMS: Final[dict[str, Callable[[Many], Program]]] = {"bgpctl": Bgpctl, "FRR": Frr, "BIRD": Bird}


def measure(subject: str, case: Case) -> Iterator[dict[str, Any]]:
    """One row: all latencies of all changes, one for each other node."""
    with many(case.nodes, reflected=case.kind == "reflectors") as nodes:
        feed = Peers(nodes.feed, [FEED], nodes=nodes.feeds)
        try:
            feed.announce(FEED, announce([block(number, OTHERS) for number in range(ROUTES)], FEED))
            program, began_s = PROGRAMS[subject](nodes), time.monotonic()
            with ThreadPoolExecutor(4) as pool:
                [*pool.map(program.start, range(case.nodes))]
            wanted = ROUTES + case.nodes - 1
            converged_s = all_ready(nodes, program, wanted) - began_s
            meter = Meter(pid for number in range(case.nodes) for pid in netns.processes(nodes.node(number)))
            start_cpu_s = meter.total_s()
            latencies: list[float] = []
            # A case is measured before the agents make their last decision again, or after.
            if subject == "bgpctl" and converged_s > WITHIN_S / 8:
                time.sleep(max(0.0, began_s + CHECKED_S - time.monotonic()))
            meter.quiet(within_s=REST_WITHIN_S, busy=0.5, for_s=IDLE_S)
            cpu = spent(meter, meter.idle(IDLE_S), lambda: latencies.extend(changes(nodes, program)))
            yield {
                "subject": subject,
                "nodes": case.nodes,
                "kind": case.kind,
                "converged_s": converged_s,
                "start_cpu_s": start_cpu_s,
                "cpu_ms": 1000 * sum(cpu.values()) / CHANGES,
                "latencies_ms": latencies,
            }
        finally:
            feed.close()


def all_ready(nodes: Many, program: Program, wanted: int) -> float:
    """The time (time.monotonic) at which each node has all routes and is at rest. Raises TimeoutError."""
    deadline_s = time.monotonic() + WITHIN_S
    left = [*range(nodes.nodes)]
    while left:
        left = [
            number for number in left if routes_in_kernel(nodes.node(number), 4) < wanted or not program.ready(number)
        ]
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{len(left)} nodes were not ready within {WITHIN_S:g} s")
        time.sleep(0.1)
    return time.monotonic()


def changes(nodes: Many, program: Program) -> list[float]:
    """Milliseconds until each other node has each new block."""
    chance = random.Random(nodes.nodes)  # noqa: S311 (the same pauses each time)
    first = REFLECTORS if nodes.reflected else 0
    found: list[float] = []
    with ExitStack() as stack:
        watches = {number: FibWatch(nodes.node(number), 4) for number in range(nodes.nodes)}
        for watch in watches.values():
            stack.callback(watch.close)
        for change in range(CHANGES):
            sender = first + change % (nodes.nodes - first)
            prefix = block(1000 + change)
            others = {number: watch for number, watch in watches.items() if number != sender}
            began_s = time.perf_counter()
            program.add(sender, prefix)
            found += [1000 * (at_s - began_s) for at_s in seen(others.values(), prefix)]
            time.sleep(chance.uniform(*PAUSE_S))
    return found


def seen(watches: Iterable[FibWatch], prefix: Prefix, within_s: float = 30.0) -> Iterator[float]:
    """The time at which each of the namespaces has the route, in the order in which they have it."""
    with selectors.DefaultSelector() as selector:
        for watch in watches:
            selector.register(watch, selectors.EVENT_READ)
        while waiting := len(selector.get_map()):
            ready = selector.select(within_s)
            if not ready:
                raise TimeoutError(f"{waiting} nodes have no {prefix}")
            for key, _ in ready:
                at_s = key.fileobj.new(prefix)  # type: ignore[union-attr]
                if at_s is not None:
                    selector.unregister(key.fileobj)
                    yield at_s


def summary(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Percentiles of all latencies of a case."""
    rows = []
    ordered = sorted(samples, key=lambda sample: (sample["nodes"], sample["kind"]))
    for key, taken in figures.grouped(ordered, "nodes", "kind", "subject").items():
        latencies = [value for sample in taken for value in sample["latencies_ms"]]
        percentiles = {f"p{percent}_ms": figures.percentile(latencies, percent) for percent in (50, 99)}
        columns = ("converged_s", "start_cpu_s", "cpu_ms")
        medians = {column: figures.median(sample[column] for sample in taken) for column in columns}
        rows.append({**key, **medians, **percentiles})
    return rows


def show(sample: dict[str, Any]) -> str:
    (row,) = summary([sample])
    return (
        f"{row['nodes']:>3} nodes, {row['kind']:10} {row['subject']:7} {row['p50_ms']:7.1f} ms p50,"
        f" {row['p99_ms']:7.1f} ms p99, {row['cpu_ms']:.0f} ms CPU of all nodes; all converged in"
        f" {row['converged_s']:.1f} s, {row['start_cpu_s']:.0f} s CPU"
    )


def main(output: Path | None) -> None:
    cases = [Case(int(nodes), kind) for nodes, kind in (case.split("/") for case in CASES)]
    samples, absent = interleaved(PROGRAMS, cases, ROUNDS, measure, show)
    if output:
        head = {"routes": ROUTES, "changes": CHANGES, "rounds": ROUNDS, "absent": absent}
        figures.write(output, {**head, "rows": summary(samples)})


if __name__ == "__main__":
    ends_orderly()
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
