"""
CPU of one change in the agent's core: a route that comes, goes, or moves to another next hop, by the size of the table.

The core alone is measured, without sockets and processes: an UPDATE, the observation after it, the operations, and the
observation that shows them, up to the time at which the agent sleeps again. The kernel is the model. A reflector's
change is one UPDATE of one client, which all others are told of.

With another checkout in AGAINST both are measured in turns in one run, so that their ratios hold on a busy machine:

    AGAINST=../before ROUNDS=3 python -m bench.change bench/results/change.json
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from bgpctl.core.agent.events import Applied, Apply, Event, IntentLoaded, Observe, Observed
from bgpctl.core.agent.state import State, begin
from bgpctl.core.agent.step import step
from bgpctl.core.bgp.path import Path as BgpPath
from bgpctl.core.bgp.speaker import EndOfRib, SessionUp, SpeakerAttached, Update
from bgpctl.core.cluster.configuration import Backend, Node, Peer, Pool
from bgpctl.core.cluster.encapsulation import IPIP, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.dataplane.effects import after_all
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Link, LinkAddress, Plain, Route

SIZES = tuple(int(size) for size in os.environ.get("SIZES", "1000 10000 50000").split())
REFLECTORS = tuple(
    (int(routes), int(clients))
    for routes, _, clients in (text.partition("/") for text in os.environ.get("REFLECTORS", "1000/20 5000/100").split())
)
"""Routes and clients."""
PEERS = 20
CHANGES = int(os.environ.get("CHANGES", "5"))
"""Of each kind; the median counts."""
ROUNDS = int(os.environ.get("ROUNDS", "1"))
AGAINST = os.environ.get("AGAINST")
POOL = Prefix.parse("10.128.0.0/9")
CLUSTER_ID = Address.parse("1.1.1.1")
KERNEL_PROTOCOL = 2


def cluster(peers: int, *, reflector: bool = False) -> Intent:
    """The first node and its peers in one subnet; IP in IP between all."""
    addresses = [InterfaceAddress(Address(4, (10 << 24) + number + 1), 16) for number in range(peers + 1)]
    nodes = [Node(f"n{number}", address) for number, address in enumerate(addresses)]
    intent = Intent(
        backend=Backend.BIRD,
        pools=(Pool("blue", POOL, IPIP, Mode.ALWAYS),),
        nodes=tuple(sorted(nodes, key=lambda node: node.name)),
    )
    if not reflector:
        return intent
    clients = tuple(sorted(node.name for node in nodes[1:]))
    return replace(
        intent,
        mesh=False,
        nodes=tuple(replace(node, cluster_id=CLUSTER_ID) if node.name == "n0" else node for node in intent.nodes),
        peers=(Peer("clients", None, None, ("n0",), remotes=clients),),
    )


def peer_of(number: int, peers: int) -> Address:
    return Address(4, (10 << 24) + number % peers + 2)


def block(number: int) -> Prefix:
    return Prefix(4, POOL.network + 64 * number, 26)


class Agent:
    """One node's core, with a kernel that does what it is asked to."""

    def __init__(self, routes: int, peers: int, *, reflector: bool) -> None:
        self.routes, self.peers = routes, peers
        self.cpu_s = 0.0
        self.now_s = 1.0
        self.state: State = begin("n0", 0.0)
        own = InterfaceAddress(Address(4, (10 << 24) + 1), 16)
        self.kernel = Dataplane.of(
            (
                Link("eth0", Plain("veth"), 1500, owned=False),
                LinkAddress("eth0", own),
                Route(own.network, link="eth0", metric=0, protocol=KERNEL_PROTOCOL),
            )
        )
        self.settle(IntentLoaded(cluster(peers, reflector=reflector)), SpeakerAttached(1, ()))
        for number in range(peers):
            peer = peer_of(number, peers)
            paths = tuple(BgpPath(block(index), peer) for index in range(number, routes, peers))
            self.settle(SessionUp(peer), Update(peer, paths), EndOfRib(peer, 4), look=False)
        self.settle()

    def settle(self, *events: Event, look: bool = True) -> None:
        """All that follows from the events, up to rest."""
        for event in events:
            self._step(event)
        while look and self.state.kernel.observing:
            for command in self._step(Observed(self.kernel)):
                if isinstance(command, Apply):
                    self.kernel = after_all(self.kernel, command.ops)
                    assert Observe() in self._step(Applied(()))

    def _step(self, event: Event) -> tuple[object, ...]:
        self.now_s += 0.001
        began_s = time.process_time()
        self.state, commands = step(self.state, event, self.now_s)
        self.cpu_s += time.process_time() - began_s
        return commands

    def cost_ms(self, event: Event) -> float:
        """CPU milliseconds of all that follows from the event."""
        before_s = self.cpu_s
        self.settle(event)
        return 1000 * (self.cpu_s - before_s)

    def added(self, number: int) -> Event:
        peer = peer_of(self.routes + number, self.peers)
        return Update(peer, (BgpPath(block(self.routes + number), peer),))

    def withdrawn(self, number: int) -> Event:
        return Update(peer_of(self.routes + number, self.peers), (), (block(self.routes + number),))

    def moved(self, number: int) -> Event:
        """A route inside the table leads to another next hop."""
        index = 37 * number + 5
        other = peer_of(index + 1, self.peers)
        return Update(peer_of(index, self.peers), (BgpPath(block(index), other),))


class Result(NamedTuple):
    """The least CPU of one kind of change."""

    table: str
    change: str
    cpu_ms: float


def measured() -> Iterator[Result]:
    gc.disable()  # the agent itself looks for cycles seldom, see agent/service.py
    for routes, peers, reflector in (
        *((size, PEERS, False) for size in SIZES),
        *((routes, clients, True) for routes, clients in REFLECTORS),
    ):
        name = f"{routes:,} routes, {peers} clients" if reflector else f"{routes:,} routes"
        agent = Agent(routes, peers, reflector=reflector)
        changes: tuple[tuple[str, Callable[[int], Event]], ...] = (
            ("added", agent.added),
            ("withdrawn", agent.withdrawn),
            ("moved", agent.moved),
        )
        yield Result(name, "whole table", round(1000 * agent.cpu_s, 1))
        for change, event in changes:
            costs = [agent.cost_ms(event(number)) for number in range(CHANGES)]
            yield Result(name, change, round(statistics.median(costs), 2))
        gc.collect()


def in_tree(tree: Path) -> list[Result]:
    """Measured with the code of a checkout, by this file."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "BENCH_INSIDE": "1"}
    done = subprocess.run(
        (sys.executable, "-P", str(Path(__file__).resolve())), env=environment, stdout=subprocess.PIPE, check=True
    )
    return [Result(*item) for item in json.loads(done.stdout)]


def least(rounds: list[list[Result]]) -> list[Result]:
    """The best of the rounds: whatever else the machine does only adds."""
    return [min(same, key=lambda result: result.cpu_ms) for same in zip(*rounds, strict=True)]


def main(output: Path | None) -> None:
    here = Path(__file__).resolve().parent.parent
    trees = [Path(AGAINST).resolve(), here] if AGAINST else [here]
    rounds: list[list[list[Result]]] = [[] for _ in trees]
    for _ in range(ROUNDS):
        for tree, results in zip(trees, rounds, strict=True):
            results.append(in_tree(tree))
    *before, now = map(least, rounds)
    print(f"{'':26}{'':14}" + ("  before ms" if before else "") + "     now ms" + ("    ratio" if before else ""))
    for index, result in enumerate(now):
        was_ms = [results[index].cpu_ms for results in before]
        columns = "".join(f"{value:11.2f}" for value in (*was_ms, result.cpu_ms))
        ratios = "".join(f"{value / result.cpu_ms:8.1f}x" for value in was_ms)
        print(f"{result.table:26}{result.change:14}{columns}{ratios}")
    if output:
        from bench.common import figures  # noqa: PLC0415 (this file also runs beside a checkout that has none)

        records = [
            {**result._asdict(), **({"before_cpu_ms": before[0][index].cpu_ms} if before else {})}
            for index, result in enumerate(now)
        ]
        figures.write(output, records)


if __name__ == "__main__":
    if os.environ.get("BENCH_INSIDE") == "1":
        json.dump([*measured()], sys.stdout)
    else:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
