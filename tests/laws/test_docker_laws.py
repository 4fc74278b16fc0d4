"""
Addresses of Docker's endpoints: none is another's while Docker has it, whichever requests are lost, late or repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.cluster.allocations import Allocations, NodeAllocations
from bgpctl.core.cluster.configuration import Node, Pool
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.allocate import allocate
from bgpctl.core.ipam.blocks import NodeBlocks, NotGiven
from bgpctl.core.ipam.ledger import Endpoint, Ledger, Moment, Request, Workload
from bgpctl.core.ipam.leftovers import AGE_S, observed
from bgpctl.core.net.addresses import Address, InterfaceAddress, Mac, Prefix

BLOCK: Final = Prefix.parse("10.66.0.0/29")
HERE: Final = Node("a1", InterfaceAddress.parse("10.0.0.1/24"))
INTENT: Final = Intent(
    pools=(Pool("blue", BLOCK, block_size=29),),
    nodes=(HERE,),
    allocations=Allocations({"a1": NodeAllocations((BLOCK,))}),
)
BLOCKS: Final = NodeBlocks.of(INTENT, HERE)
ADDRESSES: Final = st.sampled_from([BLOCK.nth(index) for index in range(1, 8)])
STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["run", "half-run", "round"]), st.none()),
        st.tuples(st.sampled_from(["run", "half-run", "release"]), ADDRESSES),
        st.tuples(st.sampled_from(["stop", "half-stop", "lost-stop", "twice-stop"]), st.integers(0, 9)),
        st.tuples(st.just("wait"), st.integers(1, 100)),
    ),
    max_size=40,
)


class Host:
    """The driver's ledger, and the endpoints that Docker has, each with its address."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.docker: dict[str, Address] = {}
        self.now_s = 1000.0
        self._absent: Mapping[object, Moment] = {}
        self._ids = count()

    def now(self) -> Moment:
        return Moment("boot", self.now_s)

    def reserve(self, address: Address | None) -> Address | None:
        """RequestAddress; None if there is none."""
        request = Request("", "", () if address else ("blue",), (address,) if address else ())
        try:
            (found,) = allocate(self.ledger, request, BLOCKS, (), self.now())
        except NotGiven:
            return None
        self.ledger = self.ledger.with_reserved((found,), self.now())
        return found

    def run(self, address: Address | None) -> None:
        found = self.reserve(address)
        if found:
            name = f"e{next(self._ids)}"
            request = Request(name, "", (), (found,))
            made = Workload(request, name, Mac(""), (found,), 1450, 0.0, endpoint=Endpoint(name, "n"))
            self.ledger = self.ledger.with_workload(made)
            self.docker[name] = found

    def stop(self, number: int, how: str) -> None:
        """Docker forgets an endpoint, whatever the driver hears of it."""
        if not self.docker:
            return
        name = sorted(self.docker)[number % len(self.docker)]
        address = self.docker.pop(name)
        for _ in range({"lost-stop": 0, "twice-stop": 2}.get(how, 1)):
            self.ledger = self.ledger.without_endpoint(name, self.now())
            if how != "half-stop":
                self.release(address)

    def release(self, address: Address) -> None:
        self.ledger = self.ledger.without_reserved(address, self.now())

    def round(self) -> None:
        """Leftovers are collected, as attach/docker/rounds.py does."""
        endpoints = {(found.name, found.addresses[0]) for found in self.ledger.workloads.values()}
        reserved = set(self.ledger.reserved.items())
        absent: list[object] = [item for item in endpoints if item[0] not in self.docker]
        absent += [item for item in reserved if item[0] not in self.docker.values()]
        found = observed(self._absent, absent, self.now())
        self._absent = found.absent
        for item in found.leftovers:
            assert isinstance(item, tuple)
            if item in endpoints:
                self.ledger = self.ledger.without_endpoint(item[0], self.now())
                self.release(item[1])
            else:
                self.ledger = self.ledger.without_reserved(item[0], self.now(), item[1])

    def act(self, step: str, value: object) -> None:
        acts: Mapping[str, Callable[[], object]] = {
            "run": lambda: self.run(value),  # type: ignore[arg-type]
            "half-run": lambda: self.reserve(value),  # type: ignore[arg-type]
            "release": lambda: self.release(value),  # type: ignore[arg-type]
            "round": self.round,
        }
        if step == "wait":
            self.now_s += value  # type: ignore[operator]
        elif step in acts:
            acts[step]()
        else:
            self.stop(value, step)  # type: ignore[arg-type]


@given(STEPS)
def test_an_address_that_docker_has_is_its_endpoints_alone_and_leftovers_go(steps: list[tuple[str, object]]) -> None:
    host = Host()
    for step, value in steps:
        host.act(step, value)
        assert len(set(host.docker.values())) == len(host.docker)
        for name, address in host.docker.items():
            workload = host.ledger.of_endpoint(name)
            assert workload
            assert workload.addresses == (address,)
    host.round()
    host.now_s += AGE_S
    host.round()
    assert host.ledger.reserved == {}
    assert {name: found.addresses[0] for name, found in host.ledger.workloads.items()} == host.docker
