"""The filter of what workloads may send."""

from __future__ import annotations

from dataclasses import replace

from bgpctl.core.cluster.configuration import Pool
from bgpctl.core.cluster.encapsulation import IPIP, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.fabric import derive
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Link, Plain, WorkloadFilter
from tests.cluster import node

BLUE = Prefix.parse("10.244.0.0/16")
RED = Prefix.parse("10.245.0.0/16")
CABLE = Link("cali1", Plain("veth"), 1480, owned=False, workload=True)


def wanted(intent: Intent, *links: Link) -> frozenset[WorkloadFilter]:
    dataplane = derive(intent, intent.nodes[0], {}, (), Dataplane.of(links)).dataplane
    return frozenset(dataplane.workload_filters)


def intent_of(*, masqueraded: bool = True, bgp_port: int = 179) -> Intent:
    pools = (
        Pool("red", RED, IPIP, Mode.ALWAYS),
        Pool("blue", BLUE, IPIP, Mode.ALWAYS, nat_outgoing=masqueraded),
    )
    return Intent(pools=pools, nodes=(node("a1", "10.0.0.1/24"),), listen_port=bgp_port)


def test_nothing_is_filtered_where_no_link_leads_to_a_workload() -> None:
    assert wanted(intent_of(), replace(CABLE, workload=False)) == frozenset()


def test_workloads_may_speak_every_protocol_inside_the_pools() -> None:
    (found,) = wanted(intent_of(bgp_port=1790), CABLE)
    assert found == WorkloadFilter((BLUE, RED), (BLUE,), (4789,), 1790)


def test_connections_are_not_tracked_where_no_pool_is_masqueraded() -> None:
    (found,) = wanted(intent_of(masqueraded=False), CABLE)
    assert found.masqueraded == ()
