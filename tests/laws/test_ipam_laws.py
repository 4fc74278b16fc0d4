"""
Addresses of workloads: none is given twice, none is lost, whatever is added, deleted and cut short, in any order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.cluster.allocations import Allocations, NodeAllocations
from bgpctl.core.cluster.configuration import Node, Pool
from bgpctl.core.cluster.encapsulation import IPIP, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.allocate import COOL_DOWN_S, allocate
from bgpctl.core.ipam.blocks import NodeBlocks, NotGiven, Rule
from bgpctl.core.ipam.ledger import Ledger, Moment, Request, Workload
from bgpctl.core.net.addresses import Address, InterfaceAddress, Mac, Prefix

POOL: Final = Pool("blue", Prefix.parse("10.244.0.0/24"), IPIP, Mode.ALWAYS, block_size=29)
HERE: Final = Node("a1", InterfaceAddress.parse("10.0.0.1/24"))
THERE: Final = Node("b1", InterfaceAddress.parse("10.0.0.2/24"))
BLOCKS: Final = (Prefix.parse("10.244.0.0/29"), Prefix.parse("10.244.0.8/29"))
BORROWED: Final = Prefix.parse("10.244.0.9/32")
RESERVED: Final = Prefix.parse("10.244.0.12/30")
INTENT: Final = Intent(
    pools=(POOL,),
    nodes=(HERE, THERE),
    allocations=Allocations({"a1": NodeAllocations(BLOCKS), "b1": NodeAllocations(borrowed=(BORROWED,))}),
    reserved=(RESERVED,),
)
NODE_BLOCKS: Final = NodeBlocks.of(INTENT, HERE)
NAMES: Final = st.sampled_from([f"w{number}" for number in range(7)])
CHOSEN: Final = frozenset(block.nth(index) for block in BLOCKS for index in range(8)) - {
    BLOCKS[0].first,
    BLOCKS[1].first,
    BORROWED.first,
    *map(RESERVED.nth, range(4)),
}
"""The addresses that are given without being named."""

STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("add"), NAMES, st.none()),
        st.tuples(st.just("add"), NAMES, st.sampled_from([block.nth(index) for block in BLOCKS for index in range(8)])),
        st.tuples(st.just("killed"), NAMES, st.none()),
        st.tuples(st.just("del"), NAMES, st.none()),
        st.tuples(st.just("wait"), st.integers(1, 70), st.none()),
        st.tuples(st.just("boot"), st.none(), st.none()),
        st.tuples(st.just("foreign"), st.sampled_from(sorted(CHOSEN)), st.none()),
    ),
    max_size=40,
)


class Host:
    """A node, as `attach/workloads.py` writes its ledger; `foreign` has addresses that another program uses."""

    def __init__(self) -> None:
        self.ledger = Ledger("a1")
        self.now = Moment("boot0", 0.0)
        self.foreign: frozenset[Address] = frozenset()

    def play(self, verb: str, what: object, address: Address | None) -> None:
        match verb, what:
            case "add", str(name):
                self.add(name, address, complete=True)
            case "killed", str(name):
                self.add(name, address, complete=False)
            case "del", str(name):
                self.ledger = self.ledger.without(name, self.now)
            case "wait", int(seconds):
                self.now = self.now._replace(since_boot_s=self.now.since_boot_s + seconds)
            case "boot", _:
                self.now = Moment(f"{self.now.boot}+", 0.0)
            case "foreign", Address() as other if self.ledger.holder(other) is None:
                self.foreign ^= {other}

    def add(self, name: str, address: Address | None, *, complete: bool) -> Workload | None:
        """A name that is there gets nothing; one whose addition was cut short is completed with its address."""
        known = self.ledger.workloads.get(name)
        if known is None:
            request = Request(name, name, ("blue",), (address,) if address else ())
            busy = [other.host_prefix for other in self.foreign]
            try:
                own = allocate(self.ledger, request, NODE_BLOCKS, busy, self.now)
            except NotGiven as error:
                self.check_refusal(error, address)
                return None
            self.check_choice(own, address)
            known = Workload(request, "cali0", Mac("0a:00:00:00:00:01"), own, 1500, 0.0)
        self.ledger = self.ledger.with_workload(replace(known, complete=complete or known.complete))
        return known

    @property
    def held(self) -> list[Address]:
        return [address for workload in self.ledger.workloads.values() for address in workload.addresses]

    def free(self) -> list[Address]:
        """The addresses that may be given without being named, also the ones that rest."""
        return sorted(CHOSEN - {*self.held} - self.foreign)

    def rests(self, address: Address) -> bool:
        return any(
            item.address == address
            and item.at.boot == self.now.boot
            and self.now.since_boot_s - item.at.since_boot_s < COOL_DOWN_S
            for item in self.ledger.freed
        )

    def check_refusal(self, error: NotGiven, address: Address | None) -> None:
        """Without a reason nothing is refused."""
        if address is None:
            assert error.rule is (Rule.COOLING_DOWN if self.free() else Rule.FULL)
            assert all(self.rests(found) for found in self.free())
        else:
            is_kept = address in {BLOCKS[0].first, BLOCKS[1].first, BORROWED.first}
            assert is_kept or address in {*self.held} | self.foreign

    def check_choice(self, own: tuple[Address, ...], address: Address | None) -> None:
        (chosen,) = own
        assert chosen not in {*self.held} | self.foreign
        if address:
            assert chosen == address
            return
        assert chosen in self.free()
        assert not self.rests(chosen)
        former = [item.address for item in self.ledger.freed]
        new = [found for found in self.free() if found not in former]
        assert chosen == min(new) if new else former.index(chosen) == min(map(former.index, self._rested(former)))

    def _rested(self, former: list[Address]) -> list[Address]:
        return [found for found in former if found in self.free() and not self.rests(found)]


@given(STEPS)
def test_no_address_is_given_twice_and_the_least_recently_used_is_next(
    steps: list[tuple[str, object, Address | None]],
) -> None:
    host = Host()
    for step in steps:
        host.play(*step)
        held, freed = host.held, [item.address for item in host.ledger.freed]
        assert len({*held}) == len(held)
        assert len({*freed}) == len(freed)
        assert not {*held} & {*freed}


@given(STEPS)
def test_no_address_is_lost(steps: list[tuple[str, object, Address | None]]) -> None:
    host = Host()
    for step in steps:
        host.play(*step)
    for name in list(host.ledger.workloads):
        host.play("del", name, None)
    host.play("wait", int(COOL_DOWN_S), None)
    host.foreign = frozenset()
    given_now = [host.add(f"new{number}", None, complete=True) for number in range(len(CHOSEN))]
    assert {address for workload in given_now if workload for address in workload.addresses} == CHOSEN
    assert host.add("one more", None, complete=True) is None
