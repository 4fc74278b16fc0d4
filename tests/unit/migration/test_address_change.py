"""A member is known by another address: what is sent to it moves once packets arrive there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest

from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.migration.address_change import ROUNDS
from bgpctl.core.migration.next_step import MigrationStep
from bgpctl.core.migration.probes import NO_RESULTS, ProbeReply, ProbeResults, with_replies
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.core.net.dataplane import Dataplane
from tests.cluster import allocated, member, two_racks, with_ipv6
from tests.migration import Migrating, names

IPIP, VXLAN = two_racks(ipip=Mode.ALWAYS), two_racks(vxlan=Mode.ALWAYS)
CROSSING = two_racks(vxlan=Mode.CROSS_SUBNET)
FORMER, NEW = Address.parse("10.0.0.2"), Address.parse("10.0.0.130")
A2, B1 = Prefix.parse("10.244.2.0/26"), Prefix.parse("10.244.3.0/26")


def moved(intent: Intent, address: Address = NEW) -> Intent:
    """Node a2 has another address in the file."""
    nodes = (replace(n, address=InterfaceAddress(address, 24)) if n.name == "a2" else n for n in intent.nodes)
    return replace(intent, nodes=tuple(nodes))


def end_of(kernel: Dataplane, block: Prefix) -> Address | None:
    """The underlay address that packets to the block go to."""
    (route,) = (route for route in kernel.routes if route.prefix == block)
    (hop,) = (hop for hop in kernel.next_hops if hop.id == route.next_hop)
    macs = {entry.mac for entry in kernel.neighbours if (entry.link, entry.address) == (hop.link, hop.gateway)}
    return next((entry.remote for entry in kernel.fdb if entry.mac in macs and entry.link == hop.link), hop.gateway)


def round_of(
    results: ProbeResults, step: MigrationStep, kernel: Dataplane, answering: Collection[Address]
) -> ProbeResults:
    """One more round of probes, half a second after the last."""
    replies = [ProbeReply(probe, "eth0") for probe in step.probes if probe.remote in answering]
    return with_replies(results, replies, kernel, results.round_s + 0.5)


@pytest.mark.parametrize("intent", [IPIP, VXLAN, CROSSING], ids=["IPIP", "VXLAN", "direct"])
def test_it_moves_once_the_new_address_answers(intent: Intent) -> None:
    migrating, results = Migrating.between(intent, moved(intent)), NO_RESULTS
    for _ in range(2 * ROUNDS):
        step = migrating.step(results, results.round_s)
        assert end_of(step.desired.dataplane, A2) == FORMER
        assert end_of(step.desired.dataplane, B1) == end_of(migrating.kernel, B1)
        assert names(step)[0] == {"a2"}
        assert {FORMER, NEW} <= {probe.remote for probe in step.probes}
        results = round_of(results, step, migrating.kernel, {FORMER})
    results = round_of(results, step, migrating.kernel, {FORMER, NEW})
    assert end_of(migrating.step(results, results.round_s).desired.dataplane, A2) == NEW


def test_it_is_said_which_address_is_waited_for() -> None:
    (waiting,) = Migrating.between(VXLAN, moved(VXLAN)).step().cutovers
    assert (waiting.link, waiting.wanted) == (f"vxlan.bgpctl to {FORMER}", f"vxlan.bgpctl to {NEW}")


def test_if_neither_address_answers_the_file_counts_after_some_rounds() -> None:
    migrating, results = Migrating.between(VXLAN, moved(VXLAN)), NO_RESULTS
    ends = []
    for _ in range(ROUNDS + 1):
        step = migrating.step(results, results.round_s)
        ends.append(end_of(step.desired.dataplane, A2))
        results = round_of(results, step, migrating.kernel, ())
    assert ends == [FORMER] * ROUNDS + [NEW]


def test_an_address_that_another_member_has_now_is_left_at_once() -> None:
    """Else packets to one member would go to the other, which answers there."""
    two = (
        replace(node, address=InterfaceAddress(FORMER, 24)) if node.name == "b1" else node
        for node in moved(VXLAN).nodes
    )
    step = Migrating.between(VXLAN, replace(VXLAN, nodes=tuple(two))).step()
    assert end_of(step.desired.dataplane, A2) == NEW


def test_a_block_that_another_member_has_now_follows_it_at_once() -> None:
    given = allocated(allocated(VXLAN, "a2", blocks=()), "b1", blocks=(B1, A2))
    migrating = Migrating.between(VXLAN, given)
    step = migrating.step()
    assert end_of(step.desired.dataplane, A2) == end_of(migrating.kernel, B1)
    assert step.settled


def test_the_tunnels_of_ipv6_wait_too() -> None:
    both = with_ipv6(VXLAN, vxlan=Mode.ALWAYS)
    former, new = Address.parse("fd00:10:a::2"), Address.parse("fd00:10:a::82")
    nodes = (replace(n, address6=InterfaceAddress(new, 64)) if n.name == "a2" else n for n in both.nodes)
    block = next(block for block in both.blocks_of(member(both, "a2")) if block.version == 6)
    migrating = Migrating.between(both, replace(both, nodes=tuple(nodes)))
    assert end_of(migrating.kernel, block) == former
    assert end_of(migrating.step().desired.dataplane, block) == former
