"""One step of a switch: what is held back, and what the operator is told of it."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

from bgpctl.core.cluster import Intent, Mode
from bgpctl.core.effects import after
from bgpctl.core.fabric import derive
from bgpctl.core.foresight import assumed_kernel, converged
from bgpctl.core.model import Dataplane, Prefix, key_of
from bgpctl.core.plan import plan
from bgpctl.core.switch import NO_EVIDENCE, Switch, hold
from bgpctl.core.why import Because
from tests.cluster import learned_from_all, member, two_racks

IPIP, VXLAN = two_racks(ipip=Mode.ALWAYS), two_racks(vxlan=Mode.ALWAYS)


def borrowing(intent: Intent) -> Intent:
    """b2 has an address of b1's block."""
    address = (Prefix.parse("10.244.3.9/32"),)
    nodes = tuple(replace(node, borrowed=address) if node.name == "b2" else node for node in intent.nodes)
    return replace(intent, nodes=nodes)


def first_step(before: Intent, wanted: Intent, *, unheard: tuple[str, ...] = ()) -> tuple[Switch, Dataplane]:
    here = member(wanted, "a1")
    kernel = converged(before, here, assumed_kernel(here))
    choices = learned_from_all(wanted, here, without=unheard)
    switch = hold(derive(wanted, here, {}, choices, kernel), kernel, wanted, here, NO_EVIDENCE, 0.0)
    return switch, kernel


def test_a_next_hop_stays_and_so_does_every_reason_that_rests_on_it() -> None:
    switch, _ = first_step(IPIP, VXLAN)
    assert {hop.link for hop in switch.desired.dataplane.next_hops} == {"tunl0"}
    routes = [route for route in switch.desired.dataplane.routes if route.next_hop]
    assert {switch.desired.why[key_of(route)].because for route in routes} == {Because.HELD}
    assert {waiting.member for waiting in switch.flips} == {"a2", "b1", "b2"}


def test_what_nobody_tells_yet_stays_while_a_device_is_to_go_borrowed_addresses_too() -> None:
    switch, kernel = first_step(borrowing(VXLAN), borrowing(IPIP), unheard=("b2",))
    reached = reduce(after, plan(switch.desired, kernel).ops, kernel)
    kept = {str(route.prefix) for route in reached.routes if route.next_hop}
    assert {"10.244.4.0/26", "10.244.3.9/32"} <= kept
    assert "b2" in {waiting.member for waiting in switch.drains}


def test_a_node_with_nothing_to_change_waits_for_nobody() -> None:
    switch, _ = first_step(IPIP, IPIP)
    assert switch.settled
    assert switch.trials == ()
