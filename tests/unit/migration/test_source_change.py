"""A node's underlay address changes under IPIP: what it accepts meanwhile, and from which address it sends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.fabric.ipip import LINK as IPIP_LINK
from bgpctl.core.migration.drain import DRAIN_S
from bgpctl.core.migration.probes import NO_RESULTS, ProbeReply, ProbeResults, with_replies
from bgpctl.core.net.addresses import Address, InterfaceAddress
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Decap, LinkAddress
from tests.cluster import two_racks
from tests.migration import Migrating, answered, names

IPIP = two_racks(ipip=Mode.ALWAYS)
FORMER, NEW = Address.parse("10.0.0.1"), Address.parse("10.0.0.129")
B1, B1_NEW = Address.parse("10.1.0.3"), Address.parse("10.1.0.131")


def moved(name: str, address: Address) -> Intent:
    nodes = (replace(node, address=InterfaceAddress(address, 24)) if node.name == name else node for node in IPIP.nodes)
    return replace(IPIP, nodes=tuple(nodes))


def readdressed() -> Migrating:
    """a1 is to have another address, which is on its link beside the former one."""
    migrating = Migrating.between(IPIP, moved("a1", NEW))
    own = LinkAddress("eth0", InterfaceAddress(NEW, 24))
    return migrating.on(migrating.kernel.put((own,)))


def decap(dataplane: Dataplane) -> Decap:
    (found,) = dataplane.decaps
    return found


def test_a_node_receives_at_both_addresses_and_sends_from_the_former_until_all_accept_the_new_one() -> None:
    migrating = readdressed()
    step = migrating.step()
    assert (decap(step.desired.dataplane).local, decap(step.desired.dataplane).also) == (FORMER, (NEW,))
    assert {(pending.link, pending.wanted) for pending in step.cutovers} == {
        (f"{IPIP_LINK} from {FORMER}", f"{IPIP_LINK} from {NEW}")
    }
    assert {probe.local for probe in step.probes} == {NEW}
    then = migrating.step(answered(step))
    assert then.settled
    assert (decap(then.desired.dataplane).local, decap(then.desired.dataplane).also) == (NEW, (FORMER,))


@pytest.mark.parametrize("missing", range(3))
def test_one_member_that_did_not_answer_in_the_last_round_keeps_the_former_address(missing: int) -> None:
    migrating = readdressed()
    step = migrating.step()
    everything = [ProbeReply(probe, "eth0") for probe in step.probes]
    once = with_replies(NO_RESULTS, everything, migrating.kernel, 0.0)
    again = with_replies(once, everything[:missing] + everything[missing + 1 :], migrating.kernel, 0.5)
    waiting = migrating.step(again, 0.5)
    assert decap(waiting.desired.dataplane).local == FORMER
    assert len(waiting.cutovers) == 1


def test_a_former_address_that_is_on_no_link_any_more_is_not_sent_from() -> None:
    migrating = readdressed()
    gone = (item for item in migrating.kernel.addresses if item.address.address == FORMER)
    step = migrating.on(migrating.kernel.drop(gone)).step()
    assert decap(step.desired.dataplane).local == NEW
    assert step.cutovers == ()


def test_a_next_hop_does_not_move_to_ipip_while_the_former_address_is_sent_from() -> None:
    migrating = readdressed()
    (hop,) = (hop for hop in migrating.kernel.next_hops if hop.gateway == B1)
    migrating = migrating.on(migrating.kernel.put((hop._replace(link="eth0"),)))
    first = migrating.step()
    to_b1 = {probe.path: 0.0 for probe in first.probes if probe.remote == B1}
    step = migrating.step(ProbeResults(to_b1, {}))
    assert decap(step.desired.dataplane).local == FORMER
    assert {hop.link for hop in step.desired.dataplane.next_hops if hop.gateway == B1} == {"eth0"}
    assert "b1" in names(step)[0]


def test_the_former_address_is_sent_from_until_next_hops_that_go_are_gone() -> None:
    migrating = replace(readdressed(), silent=("b2",))
    results = answered(migrating.step())
    step = migrating.step(results)
    assert decap(step.desired.dataplane).local == FORMER
    assert [pending.member for pending in step.cutovers] == ["b2"]
    going = (hop for hop in migrating.kernel.next_hops if hop.gateway == Address.parse("10.1.0.4"))
    gone = migrating.on(migrating.kernel.drop(going)).step(results)
    assert decap(gone.desired.dataplane).local == NEW


def seen_from(migrating: Migrating, source: Address, seconds: float) -> ProbeResults:
    """Return probes were answered by IPIP from the wanted addresses, and by b1 from `source`."""
    results = NO_RESULTS
    for at_s in (0.0, seconds):
        back = [probe for probe in migrating.step().probes if probe.shows_return_path]
        replies = [ProbeReply(p, IPIP_LINK, source if p.remote in {B1, B1_NEW} else p.remote) for p in back]
        results = with_replies(results, replies, migrating.kernel, at_s)
    return results


def test_a_members_former_address_is_accepted_until_it_is_seen_to_send_from_the_new_one() -> None:
    migrating = Migrating.between(IPIP, moved("b1", B1_NEW))
    step = migrating.step()
    assert {B1, B1_NEW} <= set(decap(step.desired.dataplane).sources)
    former = migrating.step(seen_from(migrating, B1, DRAIN_S), DRAIN_S)
    assert B1 in decap(former.desired.dataplane).sources
    assert {pending.member for pending in former.drains if str(B1) in pending.link} == {"b1"}
    seen = migrating.step(seen_from(migrating, B1_NEW, DRAIN_S), DRAIN_S)
    assert B1 not in decap(seen.desired.dataplane).sources
    assert seen.drains == ()


def test_a_member_that_no_source_announces_may_send_from_a_former_address_all_the_same() -> None:
    migrating = replace(Migrating.between(IPIP, moved("b1", B1_NEW)), silent=("b1",))
    step = migrating.step(seen_from(migrating, B1_NEW, DRAIN_S), DRAIN_S)
    assert B1 in decap(step.desired.dataplane).sources
    assert "b1" in names(step)[1]
