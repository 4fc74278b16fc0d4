"""The filter of what workloads may send."""

from __future__ import annotations

from dataclasses import replace

from bgpctl.core.cluster.configuration import Peer, Pool
from bgpctl.core.cluster.encapsulation import IPIP, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.fabric import derive
from bgpctl.core.net.addresses import Address, Asn, Prefix
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


def test_the_filter_is_there_before_the_first_link_that_leads_to_a_workload() -> None:
    assert wanted(intent_of()) == wanted(intent_of(), CABLE) != frozenset()


def test_nothing_is_filtered_without_a_pool() -> None:
    assert wanted(replace(intent_of(), pools=()), CABLE) == frozenset()


def test_a_node_or_a_peer_with_an_address_of_a_pool_may_speak_bgp() -> None:
    covering = Pool("old", Prefix.parse("10.0.0.0/24"), IPIP, Mode.ALWAYS, disabled=True)
    inside = Peer("inside", Address.parse("10.244.1.9"), Asn(65001), ("a1",))
    outside = Peer("outside", Address.parse("10.9.0.1"), Asn(65001), ("a1",))
    intent = intent_of()
    (found,) = wanted(replace(intent, pools=(*intent.pools, covering), peers=(inside, outside)))
    assert found.neighbours == tuple(map(Address.parse, ("10.0.0.1", "10.244.1.9")))


def test_workloads_may_speak_every_protocol_inside_the_pools() -> None:
    (found,) = wanted(intent_of(bgp_port=1790), CABLE)
    assert found == WorkloadFilter((BLUE, RED), (BLUE,), (4789,), 1790)


def test_connections_are_not_tracked_where_no_pool_is_masqueraded() -> None:
    (found,) = wanted(intent_of(masqueraded=False), CABLE)
    assert found.masqueraded == ()
