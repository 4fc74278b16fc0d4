"""Packets that cross two routers while one of them restarts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bgpctl.lab.load import Flow
from tests.interop.rig import Rig, has_block
from tests.interop.world import ADDRESS, BLOCK, Part
from tests.waiting import SLOWNESS, wait_until

US, ONE = ADDRESS["us"], ADDRESS["one"]
PPS = int(1000 / SLOWNESS)
AFTERWARDS = PPS // 4
"""So many packets are sent before and after whatever happens."""


@dataclass(slots=True)
class Traffic:
    """The fate of the packets between the workloads of two nodes."""

    flows: Sequence[Flow]

    @property
    def sent(self) -> int:
        return sum(flow.sent for flow in self.flows)

    @property
    def lost(self) -> int:
        return sum(flow.lost for flow in self.flows)

    def lost_from(self, part: Part) -> int:
        """Of the packets that the workload of this node sent."""
        return sum(flow.lost for flow in self.flows if flow.source == f"web-{part}")


@contextmanager
def traffic(rig: Rig) -> Iterator[Traffic]:
    """1,000 packets a second and direction, for the block and a little longer."""
    load = rig.world.traffic("us", "one", pps=PPS)
    load.start()
    try:
        wait_until(lambda: all(flow.arrived > AFTERWARDS for flow in load.flows))
        yield Traffic(load.flows)
        enough = [flow.sent + AFTERWARDS for flow in load.flows]
        wait_until(lambda: all(flow.sent > than for flow, than in zip(load.flows, enough, strict=True)))
    finally:
        load.stop()


def settled(rig: Rig) -> bool:
    """The session is up, and both know the other's block and use it where they can."""
    one, world = rig.running("one"), rig.world
    if not (world.established(ONE) and one.established(US) and has_block(one, BLOCK["us"], US)):
        return False
    return world.gateways(BLOCK["us"], "one") == {str(US)} and world.gateways(BLOCK["one"]) == {str(ONE)}
