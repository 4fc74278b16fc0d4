"""
CPU of one node's edit in a VXLAN cluster, by its size: from the store to the operations, and up to rest again.

Three paths lead to the same intent. *Records*: the source gives the record that changed. *Short form*: one file with
one document is written anew. *Documents*: one file with a document of Calico's for each node. The agent's part is the
same for all: the edit, the observation after it, the operations, and the observation that shows them. The kernel is the
model, and nothing is read from a disk.

With another checkout in AGAINST both are measured in turns in one run, so that their ratios hold on a busy machine:

    AGAINST=../before ROUNDS=3 python -m bench.edit bench/results/edit.json
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from bgpctl.core.agent.events import Applied, Apply, Event, IntentLoaded, Observe, Observed
from bgpctl.core.agent.state import State, begin
from bgpctl.core.agent.step import step
from bgpctl.core.cluster.intent import Intent, sharing
from bgpctl.core.dataplane.effects import after_all
from bgpctl.core.net.addresses import Address, InterfaceAddress
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Link, LinkAddress, Plain, Route
from bgpctl.store import texts

SIZES = tuple(int(size) for size in os.environ.get("SIZES", "100 1000 5000").split())
EDITS = int(os.environ.get("EDITS", "5"))
"""Of each kind; the median counts."""
ROUNDS = int(os.environ.get("ROUNDS", "1"))
AGAINST = os.environ.get("AGAINST")
FILE = Path("/cluster.yaml")
KERNEL_PROTOCOL = 2
POOL = "calico_backend: vxlan\npools: {blue: {cidr: 10.128.0.0/9, encapsulation: VXLANCrossSubnet}}\n"

Understand = Callable[[list[str]], Intent]
"""The intent of the nodes' texts in the form that is measured."""


def address(number: int) -> str:
    return str(InterfaceAddress(Address(4, (10 << 24) + number + 1), 16))


def blocks(number: int, more: int = 0) -> list[str]:
    found = [number, *([60_000 + more] if more else [])]
    return [f"{Address(4, (10 << 24) + (128 << 16) + 64 * index)}/26" for index in found]


def short(number: int, more: int = 0) -> str:
    """A node of the short form, with a further block if `more`."""
    return f"n{number:05}: {{address: {address(number)}, blocks: [{', '.join(blocks(number, more))}]}}"


def calico(number: int, more: int = 0) -> str:
    node = f"{{kind: Node, metadata: {{name: n{number:05}}}, spec: {{bgp: {{ipv4Address: {address(number)}}}}}}}\n"
    return node + "".join(
        f"--- {{kind: BlockAffinity, metadata: {{name: x}}, spec: {{node: n{number:05}, cidr: {block}, "
        "state: confirmed}}\n"
        for block in blocks(number, more)
    )


class Agent:
    """One node's core, with a kernel that does what it is asked to."""

    def __init__(self) -> None:
        self.cpu_s = 0.0
        self.now_s = 1.0
        self.state: State = begin("n00000", 0.0)
        own = InterfaceAddress(Address(4, (10 << 24) + 1), 16)
        self.kernel = Dataplane.of(
            (
                Link("eth0", Plain("veth"), 1500, owned=False),
                LinkAddress("eth0", own),
                Route(own.network, link="eth0", metric=0, protocol=KERNEL_PROTOCOL),
            )
        )

    def settle(self, event: Event) -> int:
        """All that follows from the event, up to rest; the number of operations."""
        done = 0
        self._step(event)
        while self.state.kernel.observing:
            for command in self._step(Observed(self.kernel)):
                if isinstance(command, Apply):
                    self.kernel = after_all(self.kernel, command.ops)
                    done += len(command.ops)
                    assert Observe() in self._step(Applied(()))
        return done

    def _step(self, event: Event) -> tuple[object, ...]:
        self.now_s += 0.001
        began_s = time.process_time()
        self.state, commands = step(self.state, event, self.now_s)
        self.cpu_s += time.process_time() - began_s
        return commands


class Result(NamedTuple):
    """CPU of one kind of edit in the store and in the core; of the start also the largest memory of the process."""

    nodes: str
    change: str
    store_ms: float
    core_ms: float
    peak_mb: float = 0.0

    @property
    def cpu_ms(self) -> float:
        return round(self.store_ms + self.core_ms, 2)


def in_file(understand: Callable[[str], object], wrap: Callable[[list[str]], str]) -> Understand:
    def read(nodes: list[str]) -> Intent:
        loaded = understand(wrap(nodes))
        assert isinstance(loaded, Intent), loaded
        return loaded

    return read


def file_reader() -> Callable[[str], object]:
    """As a file store does it; before there were bases it shared the objects of two intents itself."""
    reader, good = texts.Reader(), Intent()

    def understand(text: str) -> object:
        nonlocal good
        loaded = reader.understand([FILE], [text])
        if isinstance(loaded, Intent) and not hasattr(texts, "whole"):
            loaded = sharing(loaded, good)
            good = loaded
        return loaded

    return understand


def record_reader() -> Understand | None:
    if importlib.util.find_spec("bgpctl.store.records") is None:
        return None  # a checkout from before there were records
    store = importlib.import_module("bgpctl.store.records")
    reader, source, known = store.RecordReader(), store.MemoryRecords({}), list[str]()
    loaded: list[object] = []
    source.watch(lambda records: loaded.append(reader.understand(records)))
    reader.understand(source.read())

    def understand(nodes: list[str]) -> Intent:
        # The source knows what changed; to find it here is not its work.
        changed = {
            f"node/{index:05}": f"nodes: {{{text}}}"
            for index, text in enumerate(nodes)
            if known[index : index + 1] != [text]
        }
        known[:] = nodes
        global BEGAN_S  # noqa: PLW0603
        BEGAN_S = time.process_time()
        source.edit({**({"all": POOL} if len(changed) == len(nodes) else {}), **changed})
        intent = loaded.pop()
        assert isinstance(intent, Intent), intent
        return intent

    return understand


BEGAN_S = 0.0


def forms() -> Iterator[tuple[str, Callable[[int, int], str], Understand]]:
    records = record_reader()
    if records:
        yield "records", short, records
    shorts = lambda nodes: POOL + "nodes:\n" + "".join(f"  {node}\n" for node in nodes)  # noqa: E731
    yield "short form", short, in_file(file_reader(), shorts)
    yield "documents", calico, in_file(file_reader(), lambda nodes: "---\n".join((POOL, *nodes)))


def measured() -> Iterator[Result]:
    gc.disable()  # the agent itself looks for cycles seldom, see agent/service.py
    only = os.environ.get("FORM")
    for size in SIZES:
        for form, write, understand in forms():
            if only and form != only:
                continue
            yield from _of_form(f"{size:,}", form, [write(number, 0) for number in range(size)], write, understand)
            gc.collect()


def _of_form(
    size: str, form: str, nodes: list[str], write: Callable[[int, int], str], understand: Understand
) -> Iterator[Result]:
    agent = Agent()

    def cost(expected: int) -> tuple[float, float]:
        global BEGAN_S  # noqa: PLW0603
        BEGAN_S = time.process_time()
        intent = understand(nodes)
        store_s, before_s = time.process_time() - BEGAN_S, agent.cpu_s
        done = agent.settle(IntentLoaded(intent))
        assert done >= expected, done
        return 1000 * store_s, 1000 * (agent.cpu_s - before_s)

    first = cost(3 * len(nodes) - 3)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield Result(size, f"{form}: first", round(first[0], 1), round(first[1], 1), round(peak_mb))
    costs = []
    for edit in range(EDITS):
        number = (37 * edit + 5) % len(nodes)
        nodes[number] = write(number, edit + 1)
        costs.append(cost(1))
    yield _median(size, f"{form}: block added", costs)
    costs = []
    for _ in range(EDITS):
        nodes.append(write(len(nodes), 0))
        costs.append(cost(3))
    yield _median(size, f"{form}: node added", costs)


def _median(size: str, change: str, costs: list[tuple[float, float]]) -> Result:
    store_ms, core_ms = (statistics.median(column) for column in zip(*costs, strict=True))
    return Result(size, change, round(store_ms, 2), round(core_ms, 2))


def in_tree(tree: Path) -> dict[str, Result]:
    """Measured with the code of a checkout, by this file, in one process for each form: memory is measured too."""
    found = {}
    for form in ("records", "short form", "documents"):
        environment = {**os.environ, "PYTHONPATH": str(tree), "BENCH_INSIDE": "1", "FORM": form}
        command = (sys.executable, "-P", str(Path(__file__).resolve()))
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        found.update({f"{item[0]} {item[1]}": Result(*item) for item in json.loads(done.stdout)})
    return found


def least(rounds: list[dict[str, Result]]) -> dict[str, Result]:
    """The best of the rounds: whatever else the machine does only adds."""
    return {key: min((item[key] for item in rounds), key=lambda result: result.cpu_ms) for key in rounds[0]}


def main(output: Path | None) -> None:
    here = Path(__file__).resolve().parent.parent
    trees = [Path(AGAINST).resolve(), here] if AGAINST else [here]
    rounds: list[list[dict[str, Result]]] = [[] for _ in trees]
    for _ in range(ROUNDS):
        for tree, results in zip(trees, rounds, strict=True):
            results.append(in_tree(tree))
    *before, now = map(least, rounds)
    print(f"{'nodes':8}{'':26}{'before ms':>11}{'store ms':>11}{'core ms':>11}{'together':>11}{'peak MB':>9}")
    records = []
    for key, result in now.items():
        was = before[0].get(key) if before else None
        was_ms = f"{was.cpu_ms:11.1f}" if was else f"{'':11}"
        peak = f"{result.peak_mb:9.0f}" if result.peak_mb else ""
        figures = f"{result.store_ms:11.2f}{result.core_ms:11.2f}{result.cpu_ms:11.2f}"
        print(f"{result.nodes:8}{result.change:26}{was_ms}{figures}{peak}")
        records.append({**result._asdict(), **({"before_ms": was.cpu_ms} if was else {})})
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    if os.environ.get("BENCH_INSIDE") == "1":
        json.dump([*measured()], sys.stdout)
    else:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
