"""Devices that are not wanted any more, and for whose sake they stay."""

from __future__ import annotations

from dataclasses import replace

from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.dataplane.effects import after_all
from bgpctl.core.dataplane.plan import plan
from bgpctl.core.fabric.vxlan import Vxlan
from bgpctl.core.migration.drain import DRAIN_S
from bgpctl.core.migration.probes import NO_RESULTS, ProbeResults, with_replies
from bgpctl.core.net.dataplane import Dataplane
from tests.cluster import allocated, prefixes, two_racks
from tests.migration import Migrating, answered, names, replies

IPIP, VXLAN = two_racks(ipip=Mode.ALWAYS), two_racks(vxlan=Mode.ALWAYS)


def borrowing(intent: Intent) -> Intent:
    """b2 has an address of b1's block."""
    return allocated(intent, "b2", borrowed=prefixes("10.244.3.9/32"))


def test_an_unannounced_prefix_stays_while_a_device_is_to_go_borrowed_addresses_too() -> None:
    migrating = Migrating.between(borrowing(VXLAN), borrowing(IPIP), silent=("b2",))
    step = migrating.step()
    reached = after_all(migrating.kernel, plan(step.desired, migrating.kernel).ops)
    kept = {str(route.prefix) for route in reached.routes if route.next_hop}
    assert {"10.244.4.0/26", "10.244.3.9/32"} <= kept
    assert "b2" in names(step)[1]


def moved() -> Migrating:
    """All next hops of a1 have moved to VXLAN; the IPIP device is still there."""
    migrating = Migrating.between(IPIP, VXLAN)
    for results in (NO_RESULTS, answered(migrating.step())):
        ops = plan(migrating.step(results).desired, migrating.kernel).ops
        migrating = migrating.on(after_all(migrating.kernel, ops))
    return migrating


def seen_twice(migrating: Migrating, link: str, seconds: float, kernel: Dataplane | None = None) -> ProbeResults:
    """All return probes were answered by `link`, as it was in `kernel`, twice, so many seconds apart."""
    asked, seen_in = migrating.step(), kernel or migrating.kernel
    once = with_replies(NO_RESULTS, replies(asked, link), seen_in, 0.0)
    return with_replies(once, replies(asked, link), seen_in, seconds)


def test_a_device_goes_once_every_member_was_seen_to_send_by_another_one_for_long_enough() -> None:
    migrating = moved()
    everyone = {"a2", "b1", "b2"}
    assert names(migrating.step()) == (set(), everyone)
    too_short = migrating.step(seen_twice(migrating, "vxlan.bgpctl", DRAIN_S - 0.1), DRAIN_S - 0.1)
    assert names(too_short) == (set(), everyone)
    assert too_short.desired.dataplane.link("tunl0")
    enough = migrating.step(seen_twice(migrating, "vxlan.bgpctl", DRAIN_S), DRAIN_S)
    assert enough.settled
    assert enough.desired.dataplane.link("tunl0") is None


def test_a_member_that_is_seen_to_send_by_the_device_keeps_it() -> None:
    migrating = moved()
    assert names(migrating.step(seen_twice(migrating, "tunl0", DRAIN_S), DRAIN_S))[1] == {"a2", "b1", "b2"}


def test_a_member_seen_by_a_device_that_has_another_port_by_now_has_not_been_seen() -> None:
    migrating = moved()
    before = migrating.kernel.put(
        replace(link, kind=replace(link.kind, port=link.kind.port + 1))
        for link in migrating.kernel.links
        if isinstance(link.kind, Vxlan)
    )
    results = seen_twice(migrating, "vxlan.bgpctl", DRAIN_S, before)
    assert names(migrating.step(results, DRAIN_S))[1] == {"a2", "b1", "b2"}


def test_a_node_without_a_block_is_sent_nothing_and_waits_for_no_sender() -> None:
    empty = [allocated(intent, "a1", blocks=()) for intent in (IPIP, VXLAN)]
    migrating = Migrating.between(*empty)
    step = migrating.step(answered(migrating.step()))
    assert step.settled
