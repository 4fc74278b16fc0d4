"""
Processes that claim blocks, take addresses and release them at one etcd, each as a node with its ledger on disk.

A worker's ledger is a file with the addresses that its workloads have, written as attach/workloads.py writes its own:
after an address was taken, and before it is freed. So a worker that is killed goes on with what its file has.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from bgpctl.core.cluster.configuration import Node, Pool
from bgpctl.core.cluster.encapsulation import VXLAN, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.blocks import NotGiven
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.store.etcd import ipam_audit, records
from bgpctl.store.etcd.follower import FAULTS
from bgpctl.store.etcd.gateway import Gateway
from bgpctl.store.etcd.ipam import Ipam, Lost, Taken, View, lendable
from bgpctl.store.etcd.kv import Kv
from bgpctl.store.etcd.options import options_of

POOL: Final = Pool("blue", Prefix.parse("10.244.0.0/21"), VXLAN, Mode.ALWAYS, block_size=29)
_MOST: Final = 12
"""Workloads of one worker: more than a block has, so that blocks come and go."""
_ANSWER_S: Final = 5.0


def intent(number: int) -> Intent:
    nodes = [Node(f"n{index}", InterfaceAddress.parse(f"10.0.{index}.1/16")) for index in range(number)]
    return Intent(pools=(POOL,), nodes=tuple(nodes))


@dataclass
class Worker:
    """One node. `had`: what its ledger has, by address."""

    ipam: Ipam
    cluster: Intent
    file: Path
    had: dict[Address, str] = field(default_factory=dict)

    def view(self) -> View:
        return View(self.cluster, self.ipam.kv.read(records.META).revision)

    def write(self) -> None:
        draft = self.file.with_suffix(".new")
        draft.write_text(json.dumps({str(address): handle for address, handle in self.had.items()}))
        draft.replace(self.file)

    def settle(self) -> None:
        """Free addresses that the shared IPAM has, and the ledger has not."""
        for address, (_, number) in self.ipam.held().items():
            if address not in self.had:
                self.ipam.release(address, number)

    def step(self, chance: random.Random) -> None:
        if len(self.had) < _MOST and chance.random() < 0.6:
            self.add(f"w{chance.randrange(1 << 30)}", chance)
        elif self.had:
            address = chance.choice(sorted(self.had))
            number = self.ipam.held()[address][1]
            del self.had[address]
            self.write()
            self.ipam.release(address, number)
        if chance.random() < 0.05:
            for block in self.ipam.claims().of(self.ipam.node):
                self.ipam.release_block(block)

    def add(self, handle: str, chance: random.Random) -> None:
        claims = self.ipam.claims()
        own = claims.of(self.ipam.node)
        free = [address for block in own for address in lendable(block, POOL) if address not in self.had]
        if not free and (chance.random() < 0.7 or not claims.blocks):
            self.ipam.claim(self.view, POOL.name)
        elif free:
            address = chance.choice(free)
            self.ipam.take(address, handle, claims, rested=False)
            self.had[address] = handle
            self.write()
        else:
            self.had[self.ipam.borrow(self.cluster, POOL, lambda _: handle, claims)] = handle
            self.write()


def worker_of(store: str, node: str, number: int, directory: Path) -> Worker:
    kv = Kv(Gateway(options_of(store), _ANSWER_S), "c")
    found = Worker(Ipam(kv, node), intent(number), directory / f"{node}.json")
    if found.file.exists():
        found.had = {Address.parse(key): handle for key, handle in json.loads(found.file.read_text()).items()}
    return found


def main(words: Sequence[str]) -> None:
    """`STORE NODE NUMBER-OF-NODES DIRECTORY OPERATIONS`. Each operation that was done is one line of output."""
    store, node, number, directory, operations = words
    found = worker_of(store, node, int(number), Path(directory))
    chance = random.Random(f"{node}{os.getpid()}")
    done = 0
    is_settled = False
    while done < int(operations):
        with contextlib.suppress(Taken, Lost, NotGiven, *FAULTS):
            if not is_settled:
                found.settle()
                is_settled = True
            is_settled = False  # until the operation is over: after a failure the shared IPAM may differ
            found.step(chance)
            is_settled = True
            done += 1
            print(done, flush=True)


# Those who start them ------------------------------------------------------------------------------------------------


def start(store: str, node: str, number: int, directory: Path, operations: int) -> subprocess.Popen[bytes]:
    command = (sys.executable, "-m", "tests.ipam_workers", store, node, f"{number}", f"{directory}", f"{operations}")
    output = (directory / f"{node}.out").open("ab")
    with output:
        return subprocess.Popen(command, stdout=output, cwd=Path(__file__).parents[1])


def done(directory: Path) -> int:
    """The operations that were done, by all."""
    return sum(len(file.read_text().splitlines()) for file in directory.glob("*.out"))


def end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.send_signal(signal.SIGKILL)
            worker.wait()


def check(store: str, number: int, directory: Path) -> tuple[int, int]:
    """Settle each node, and hold the shared IPAM to the ledgers. The numbers of blocks and addresses."""
    every: dict[Address, tuple[str, str]] = {}
    for index in range(number):
        found = worker_of(store, f"n{index}", number, directory)
        found.settle()
        assert not every.keys() & found.had.keys(), "an address has two ledgers"
        every |= {address: (f"n{index}", handle) for address, handle in found.had.items()}
    assignments = ipam_audit.read(found.ipam.kv)
    blocks = sorted(claim.block for claim in assignments.claims.blocks.values())
    assert not any(one.overlaps(two) for one, two in pairwise(blocks))
    assert {item.address: (item.node, item.handle) for item in assignments.allocations} == every
    assert not assignments.replaced
    return len(blocks), len(every)


if __name__ == "__main__":
    main(sys.argv[1:])
