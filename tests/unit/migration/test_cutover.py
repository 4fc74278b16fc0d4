"""One step of a switch: what is held back, and what the operator is told of it."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

from bgpctl.core.bgp.encap_community import AcceptedTunnels, accepted_by_kernel
from bgpctl.core.cluster.configuration import Intent, Mode
from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.cluster.reasons import ReasonCode
from bgpctl.core.dataplane.effects import Remove, after
from bgpctl.core.dataplane.plan import plan
from bgpctl.core.fabric import derive
from bgpctl.core.migration.next_step import MigrationStep, next_step
from bgpctl.core.migration.probes import NO_RESULTS, ProbeResults
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.objects import Dataplane, Link, key_of
from bgpctl.core.simulate.preview import assumed_kernel, converged, preview
from tests.cluster import learned_from_all, member, two_racks

IPIP, VXLAN = two_racks(ipip=Mode.ALWAYS), two_racks(vxlan=Mode.ALWAYS)


def borrowing(intent: Intent) -> Intent:
    """b2 has an address of b1's block."""
    address = (Prefix.parse("10.244.3.9/32"),)
    nodes = tuple(replace(node, borrowed=address) if node.name == "b2" else node for node in intent.nodes)
    return replace(intent, nodes=nodes)


def first_step(before: Intent, wanted: Intent, *, unheard: tuple[str, ...] = ()) -> tuple[MigrationStep, Dataplane]:
    here = member(wanted, "a1")
    kernel = converged(before, here, assumed_kernel(here))
    choices = learned_from_all(wanted, here, without=unheard)
    switch = next_step(derive(wanted, here, {}, choices, kernel), kernel, wanted, here, NO_RESULTS, 0.0)
    return switch, kernel


def answered(switch: MigrationStep) -> ProbeResults:
    """Every request has been."""
    return ProbeResults({trial.path: 0.0 for trial in switch.probes}, {})


def test_a_member_that_says_it_accepts_another_tunnel_keeps_the_old_way_whatever_is_answered() -> None:
    switch, kernel = first_step(IPIP, VXLAN)
    here = member(VXLAN, "a1")
    said = {"a2": {Encapsulation.IPIP, Encapsulation.VXLAN}, "b1": {Encapsulation.IPIP}}
    wanted = derive(VXLAN, here, {}, learned_from_all(VXLAN, here), kernel)
    then = next_step(
        wanted, kernel, VXLAN, here, answered(switch), 0.0, lambda node, _: frozenset(said.get(node.name, ()))
    )
    assert [(waiting.member, waiting.accepts) for waiting in then.cutovers] == [
        ("b1", AcceptedTunnels(frozenset({Encapsulation.IPIP}), in_file=False))
    ]


def test_what_the_file_says_that_a_member_accepts_counts_too_and_blocks_the_plan() -> None:
    nodes = tuple(
        replace(node, accepts=frozenset({Encapsulation.IPIP})) if node.name == "b1" else node for node in VXLAN.nodes
    )
    wanted, here = replace(VXLAN, nodes=nodes), member(VXLAN, "a1")
    found = preview(wanted, here, converged(IPIP, here, assumed_kernel(here)))
    assert [(waiting.member, waiting.link) for waiting in found.blocked] == [("b1", "tunl0")]
    assert {waiting.member for waiting in found.kept} == {"b1"}
    there = member(wanted, "b1")
    its_own = preview(wanted, there, converged(IPIP, there, assumed_kernel(there)))
    assert its_own.blocked == ()
    assert {(waiting.member, waiting.link) for waiting in its_own.kept} == {(n, "tunl0") for n in ("a1", "a2", "b2")}
    for steps in (found.steps, its_own.steps):
        assert not any(isinstance(op, Remove) and isinstance(op.thing, Link) for step in steps for op, _ in step.ops)


def test_what_a_node_receives_is_what_it_says() -> None:
    here = member(IPIP, "a1")
    both = (kernel := converged(IPIP, here, assumed_kernel(here)), converged(VXLAN, here, kernel))
    assert [set(accepted_by_kernel(item)[4]) for item in (assumed_kernel(here), *both)] == [
        set(),
        {Encapsulation.IPIP},
        {Encapsulation.VXLAN},
    ]


def test_a_next_hop_stays_and_so_does_every_reason_that_rests_on_it() -> None:
    switch, _ = first_step(IPIP, VXLAN)
    assert {hop.link for hop in switch.desired.dataplane.next_hops} == {"tunl0"}
    routes = [route for route in switch.desired.dataplane.routes if route.next_hop]
    assert {switch.desired.reasons[key_of(route)].code for route in routes} == {ReasonCode.KEPT}
    assert {waiting.member for waiting in switch.cutovers} == {"a2", "b1", "b2"}


def test_what_nobody_tells_yet_stays_while_a_device_is_to_go_borrowed_addresses_too() -> None:
    switch, kernel = first_step(borrowing(VXLAN), borrowing(IPIP), unheard=("b2",))
    reached = reduce(after, plan(switch.desired, kernel).ops, kernel)
    kept = {str(route.prefix) for route in reached.routes if route.next_hop}
    assert {"10.244.4.0/26", "10.244.3.9/32"} <= kept
    assert "b2" in {waiting.member for waiting in switch.drains}


def test_a_node_with_nothing_to_change_waits_for_nobody() -> None:
    switch, _ = first_step(IPIP, IPIP)
    assert switch.settled
    assert switch.probes == ()
