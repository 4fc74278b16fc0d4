"""One step of a migration as a whole: its reasons, and that it is none where nothing changes."""

from __future__ import annotations

from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.reasons import ReasonCode
from bgpctl.core.net.objects import key_of
from tests.cluster import two_racks
from tests.migration import Migrating, names

IPIP, VXLAN = two_racks(ipip=Mode.ALWAYS), two_racks(vxlan=Mode.ALWAYS)


def test_a_next_hop_stays_and_so_does_every_reason_that_rests_on_it() -> None:
    step = Migrating.between(IPIP, VXLAN).step()
    assert {hop.link for hop in step.desired.dataplane.next_hops} == {"tunl0"}
    routes = [route for route in step.desired.dataplane.routes if route.next_hop]
    assert {step.desired.reasons[key_of(route)].code for route in routes} == {ReasonCode.KEPT}
    assert names(step)[0] == {"a2", "b1", "b2"}


def test_a_node_with_nothing_to_change_waits_for_no_member() -> None:
    step = Migrating.between(IPIP, IPIP).step()
    assert step.settled
    assert step.probes == ()


def test_both_devices_receive_while_one_of_them_sends() -> None:
    step = Migrating.between(IPIP, VXLAN).step()
    assert {"tunl0", "vxlan.bgpctl"} <= {link.name for link in step.desired.dataplane.links}
    assert step.desired.dataplane.decaps


def test_every_pending_member_is_probed_once_there_and_once_back() -> None:
    probes = Migrating.between(IPIP, VXLAN).step().probes
    assert len(probes) == len(set(probes)) == 6
    assert sum(probe.shows_return_path for probe in probes) == 3
