"""
Blocks and addresses in a shared IPAM that several nodes write at once: no block twice, no address twice, and nothing is
left over once each node has brought the shared IPAM up to date, whatever interleaves and whoever is killed.

Before each access of a node, others may do something as a whole; so they come between its reading and its writing. Each
condition of the transactions is left out in turn, which has to be found.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.cluster.allocations import Allocations, NodeAllocations
from bgpctl.core.cluster.configuration import Node, Pool
from bgpctl.core.cluster.encapsulation import VXLAN, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.blocks import NotGiven
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.store.etcd import ipam_records, records
from bgpctl.store.etcd.ipam import Ipam, Lost, Taken, View, claim_first_block, claims_of, lendable
from bgpctl.store.etcd.kv import Guard, Listing
from bgpctl.store.memory_kv import MemoryKv

CIDR: Final = Prefix.parse("10.244.0.0/27")
SIZES: Final = (29, 30)
NAMES: Final = ("a", "b", "c")
HANDLES: Final = ("v", "w")
NODES: Final = tuple(Node(name, InterfaceAddress.parse(f"10.0.0.{n}/24")) for n, name in enumerate(NAMES, 1))
ALLOCATIONS: Final = records.ALLOCATIONS

Step = tuple[str, str, str, int]
"""A verb, a node, a handle, and the access before which the node is killed; 0: it is not."""


def steps(most: int) -> st.SearchStrategy[list[Step]]:
    verbs = ("add", "add", "add", "del", "first", "claim", "late", "shrink", "declare", "settle")
    one = st.tuples(
        st.sampled_from(verbs), st.sampled_from(NAMES), st.sampled_from(HANDLES), st.sampled_from((0, 0, 0, 2, 3, 4, 5))
    )
    return st.lists(one, max_size=most)


class Killed(Exception):
    """The node's program ended."""


class Without(MemoryKv):
    """Keys whose transactions leave out one of the conditions; before the next one something is done `meanwhile`."""

    def __init__(self, left_out: str = "") -> None:
        super().__init__()
        self.left_out = left_out
        self.meanwhile: Callable[[], object] | None = None

    def commit(
        self,
        conditions: Mapping[str, int],
        puts: Mapping[str, str],
        removed: Collection[str] = (),
        guards: Collection[Guard] = (),
    ) -> int | None:
        act, self.meanwhile = self.meanwhile, None
        if act:
            act()
        kept = {key: revision for key, revision in conditions.items() if _kind(key, revision) != self.left_out}
        held = [guard for guard in guards if _kind(guard.first, -1) != self.left_out]
        return super().commit(kept, puts, removed, held)


def _kind(key: str, revision: int) -> str:
    if key.startswith(ipam_records.BLOCKS):
        return {-1: "none inside", 0: "none around"}.get(revision, "holder")
    kinds = {ipam_records.USED: "addresses", ipam_records.HANDLES: "handle", ipam_records.NODES: "own blocks"}
    return next((kind for under, kind in kinds.items() if key.startswith(under)), "declared blocks")


@dataclass
class Access:
    """The keys as one node reads and writes them: others come in between, and it may be killed."""

    world: World
    kill_at: int = 0
    number: int = 0

    def _come(self) -> None:
        self.number += 1
        if self.number == self.kill_at:
            raise Killed
        self.world.intrude()

    def read(self, *keys: str) -> Listing:
        self._come()
        return self.world.kv.read(*keys)

    def list(self, under: str, through: str = "") -> Listing:
        self._come()
        return self.world.kv.list(under, through)

    def commit(
        self,
        conditions: Mapping[str, int],
        puts: Mapping[str, str],
        removed: Collection[str] = (),
        guards: Collection[Guard] = (),
    ) -> int | None:
        self._come()
        return self.world.kv.commit(conditions, puts, removed, guards)


@dataclass
class World:
    """
    Attributes:
        between: what others do, one step before each access.
        had: the addresses of each node's workloads, as its ledger has them.
        busy: nodes that are at something: one program at a time works with a ledger.
    """

    kv: MemoryKv
    between: Iterator[Step | None]
    had: dict[str, dict[Address, str]] = field(default_factory=lambda: {name: {} for name in NAMES})
    numbers: list[tuple[Address, int]] = field(default_factory=list)
    busy: set[str] = field(default_factory=set)
    size: int = SIZES[0]
    now_s: float = 1e9

    # The cluster -------------------------------------------------------------------------------------------------

    def view(self) -> View:
        listing = self.kv.list(records.WATCHED)
        given = {
            key.removeprefix(ALLOCATIONS): NodeAllocations(tuple(map(Prefix.parse, entry.value.split())))
            for key, entry in listing.entries.items()
        }
        pool = Pool("blue", CIDR, VXLAN, Mode.ALWAYS, block_size=self.size)
        return View(Intent(pools=(pool,), nodes=NODES, allocations=Allocations(given)), listing.revision)

    def node(self, name: str, kill_at: int = 0) -> Ipam:
        return Ipam(Access(self, kill_at), name, now_s=lambda: self.now_s, pause=lambda _: None)

    # Steps -------------------------------------------------------------------------------------------------------

    def intrude(self) -> None:
        step = next(self.between, None)
        if step:
            self.play(step)

    def play(self, step: Step) -> None:
        verb, name, handle, kill_at = step
        if name in self.busy and verb not in {"first", "declare", "late"}:
            return
        was_busy = name in self.busy
        self.busy.add(name)
        self.now_s += 20
        acts: Mapping[str, Callable[[], object]] = {
            "add": lambda: self.add(name, handle, kill_at),
            "del": lambda: self.delete(name, handle, kill_at),
            "first": lambda: claim_first_block(Access(self, kill_at), self._read, name, "blue"),
            "claim": lambda: self.node(name, kill_at).claim(self._read, "blue"),
            "late": lambda: self.late(name, kill_at),
            "shrink": lambda: self.shrink(name, kill_at),
            "declare": lambda: self.declare(name),
            "settle": lambda: self.settle(name, kill_at),
        }
        try:
            acts[verb]()
        except (Killed, NotGiven, Taken, Lost):
            pass
        finally:
            if not was_busy:
                self.busy.discard(name)

    def _read(self) -> View:
        found = self.view()
        self.intrude()
        return found

    def add(self, name: str, handle: str, kill_at: int) -> None:
        """As addresses.py does: from the node's blocks, from a new one, or borrowed."""
        ipam = self.node(name, kill_at)
        for _ in range(4):
            claims = ipam.claims()
            own = [claim.block for claim in claims.blocks.values() if claim.node == name]
            pool = self.view().intent.pools[0]
            used = {address for block in own for address in lendable(block, pool)} - self.had[name].keys()
            for address in sorted(used):
                try:
                    ipam.take(address, handle, claims)
                except Taken:
                    continue
                self.had[name][address] = handle
                return
            try:
                ipam.claim(self._read, "blue")
            except NotGiven:
                address = ipam.borrow(self.view().intent, pool, lambda _: handle, claims)
                self.had[name][address] = handle
                return

    def delete(self, name: str, handle: str, kill_at: int) -> None:
        """The ledger first."""
        gone = [address for address, own in self.had[name].items() if own == handle]
        for address in gone:
            del self.had[name][address]
        ipam = self.node(name, kill_at)
        recorded = ipam.held()
        for address in gone:
            if address in recorded:
                self.numbers.append((address, recorded[address][1]))
                ipam.release(*self.numbers[-1])

    def late(self, name: str, kill_at: int) -> None:
        """Releases that were under way for long arrive."""
        for address, number in self.numbers[-3:]:
            self.node(name, kill_at).release(address, number)

    def shrink(self, name: str, kill_at: int) -> None:
        """Blocks are freed, however short they have been empty; the cluster's block size is another one then."""
        ipam = self.node(name, kill_at)
        for block in ipam.claims().of(name):
            ipam.release_block(block)
        self.size = SIZES[self.size == SIZES[0]]

    def declare(self, name: str) -> None:
        """An operator gives a node a block, if nobody has claimed any of it then."""
        block = Prefix(4, CIDR.network + 8 * NAMES.index(name), 29)
        absent = dict.fromkeys(ipam_records.around(block), 0)
        MemoryKv.commit(self.kv, absent, {f"{ALLOCATIONS}{name}": str(block)}, (), [ipam_records.none_inside(block)])

    def settle(self, name: str, kill_at: int = 0) -> None:
        """Free addresses that the ledger does not have."""
        ipam = self.node(name, kill_at)
        for address, (_, number) in ipam.held().items():
            if address not in self.had[name]:
                self.numbers.append((address, number))
                ipam.release(address, number)

    # What holds --------------------------------------------------------------------------------------------------

    def check(self) -> None:
        entries = self.kv.entries
        claims = claims_of(entries)
        blocks = [claim.block for claim in claims.blocks.values()]
        declared = [Prefix.parse(e.value) for key, e in entries.items() if key.startswith(ALLOCATIONS)]
        assert not any(one.overlaps(two) for one, two in combinations([*blocks, *declared], 2))
        homes = [claim.node for claim in claims.blocks.values() if claim.home]
        assert len({*homes}) == len(homes)
        index = [f"ipam/nodes/{c.node}/{ipam_records.word_of(c.block)}" for c in claims.blocks.values()]
        assert sorted(index) == sorted(key for key in entries if key.startswith(ipam_records.NODES))
        every = [address for had in self.had.values() for address in had]
        assert len({*every}) == len(every)

    def check_end(self) -> None:
        """The shared IPAM has exactly what the ledgers have."""
        assert consistent(self.kv) == {
            address: (name, handle) for name, had in self.had.items() for address, handle in had.items()
        }


def consistent(kv: MemoryKv) -> Mapping[Address, tuple[str, str]]:
    """The node and the handle of each address, once blocks, addresses, handles and loans agree."""
    claims = claims_of(kv.entries)
    holders = {claim.block: claim.node for claim in claims.blocks.values()}
    used: dict[Address, ipam_records.Use] = {}
    handles: dict[Address, tuple[str, str, int]] = {}
    for key, entry in kv.entries.items():
        if key.startswith(ipam_records.USED):
            assert ipam_records.block_of(key.removeprefix(ipam_records.USED)) in holders
            used |= ipam_records.read_used(entry.value).used
        if key.startswith(ipam_records.HANDLES):
            node, _, handle = key.removeprefix(ipam_records.HANDLES).partition("/")
            handles |= {own: (node, handle, n) for own, n in ipam_records.read_handle(entry.value).items()}
    assert handles == {address: (use.node, use.handle, use.number) for address, use in used.items()}
    lent = {own for own, use in used.items() if next(n for b, n in holders.items() if b.holds(own)) != use.node}
    assert {loan.prefix.first for loan in claims.loans.values()} == lent
    return {address: (use.node, use.handle) for address, use in used.items()}


def run(own: list[Step], between: list[Step | None]) -> None:
    world = World(MemoryKv(), iter(between))
    for step in own:
        world.play(step)
        world.check()
    world.between = iter(())
    world.busy.clear()
    for name in NAMES:
        world.settle(name)
    world.check()
    world.check_end()


BETWEEN: Final = steps(30).flatmap(
    lambda found: st.lists(st.booleans(), min_size=len(found), max_size=len(found)).map(
        lambda gaps: [
            item for step, gap in zip(found, gaps, strict=True) for item in ((None, step) if gap else (step,))
        ]
    )
)


@given(steps(12), BETWEEN)
def test_no_block_and_no_address_is_given_twice_and_nothing_is_left_over(
    own: list[Step], between: list[Step | None]
) -> None:
    run(own, between)


# Each condition is needed --------------------------------------------------------------------------------------------

BLOCK: Final = Prefix.parse("10.244.0.8/29")
HALF: Final = Prefix.parse("10.244.0.12/30")
OTHER: Final = Prefix.parse("10.244.0.24/29")
Act = Callable[[World, Ipam], object]


def _take(address: Address, handle: str) -> Act:
    return lambda _, ipam: ipam.take(address, handle, ipam.claims())


PLAYS: Final[Mapping[str, tuple[Act | None, Act, str, Act]]] = {
    # The condition; what was before, what node a does; and who does what between its reading and its writing.
    "none inside": (
        None,
        lambda world, ipam: ipam.reclaim(BLOCK, world.view(), home=True),
        "b",
        lambda world, ipam: ipam.reclaim(HALF, world.view(), home=True),
    ),
    "none around": (
        None,
        lambda world, ipam: ipam.reclaim(HALF, world.view(), home=True),
        "b",
        lambda world, ipam: ipam.reclaim(BLOCK, world.view(), home=True),
    ),
    "declared blocks": (
        None,
        lambda world, ipam: ipam.reclaim(BLOCK, world.view(), home=True),
        "b",
        lambda world, _: world.declare("b"),
    ),
    "own blocks": (
        None,
        lambda world, ipam: ipam.claim(world.view, "blue", OTHER),
        "a",
        lambda world, ipam: claim_first_block(ipam.kv, world.view, "a", "blue"),
    ),
    "holder": (
        lambda world, _: world.node("b").reclaim(BLOCK, world.view(), home=True),
        _take(BLOCK.nth(3), "v"),
        "b",
        lambda _, ipam: ipam.release_block(BLOCK),
    ),
    "addresses": (
        lambda world, ipam: ipam.reclaim(BLOCK, world.view(), home=True),
        _take(BLOCK.nth(3), "v"),
        "b",
        _take(BLOCK.nth(3), "w"),
    ),
    "handle": (
        lambda world, ipam: [
            *(ipam.reclaim(block, world.view(), home=block == BLOCK) for block in (BLOCK, OTHER)),
            _take(OTHER.nth(3), "v")(world, ipam),
        ],
        _take(BLOCK.nth(4), "v"),
        "a",
        lambda _, ipam: ipam.release(OTHER.nth(3), 1),
    ),
}


def _played(left_out: str, *, kept: bool) -> None:
    before, act, name, meanwhile = PLAYS[left_out]
    kv = Without()
    world = World(kv, iter(()))
    if before:
        before(world, world.node("a"))
    kv.left_out = "" if kept else left_out
    kv.meanwhile = lambda: meanwhile(world, Ipam(kv, name, now_s=lambda: world.now_s))
    with suppress(Taken, Lost):
        act(world, world.node("a"))
    world.check()
    consistent(kv)


@pytest.mark.parametrize("left_out", PLAYS)
def test_each_condition_of_the_transactions_is_needed(left_out: str) -> None:
    _played(left_out, kept=True)
    with pytest.raises(AssertionError):
        _played(left_out, kept=False)
