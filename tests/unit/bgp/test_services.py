"""Service addresses in the policies: who may announce one, and to whom it goes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgpctl.core.bgp.export_policy import ExportInput, announceable, routes_for
from bgpctl.core.bgp.import_policy import Policy, verdict
from bgpctl.core.bgp.path import Path
from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.cluster.configuration import (
    Advertisement,
    Check,
    Filter,
    FilterRule,
    MatchOperator,
    Peer,
    Pool,
    Service,
    Use,
)
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import RejectCode, Rejection
from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.core.net.table import Table
from tests.cluster import member, path, two_racks

A2, B1, TOR = map(Address.parse, ("10.0.0.2", "10.1.0.3", "10.0.0.254"))
WEB = Service("web", Address.parse("192.0.2.80"), Check(tcp=80), nodes=("a2", "b1"), communities=((64512, 80),))
INTENT = replace(
    two_racks(ipip=Mode.CROSS_SUBNET), peers=(Peer("tor", TOR, Asn(65001), ("a1", "a2")),), services=(WEB,)
)


def policy(name: str, intent: Intent = INTENT) -> Policy:
    config = speaker_config(intent, name)
    assert config is not None
    return Policy.of(intent, member(intent, name), config)


def received(at: str, peer: Address, found: Path, intent: Intent = INTENT) -> RejectCode | None:
    here = policy(at, intent)
    answer = verdict(here.ownership, here.session_policies[peer], found)
    return answer.reason if isinstance(answer, Rejection) else None


def test_a_member_with_an_instance_may_announce_it_and_no_other_one() -> None:
    assert received("a1", A2, path("192.0.2.80/32", A2)) is None
    assert received("a1", A2, path("192.0.2.80/32", "10.1.0.4")) is RejectCode.NO_INSTANCE
    assert received("a1", A2, path("192.0.2.81/32", A2)) is RejectCode.OUTSIDE_POOLS
    assert received("a1", A2, path("192.0.2.0/24", A2)) is RejectCode.OUTSIDE_POOLS


def test_a_node_with_an_instance_takes_no_path_to_another_one() -> None:
    """It delivers to its own, also while that is not well, so it must not pass the path on as one through itself."""
    assert received("a2", B1, path("192.0.2.80/32", B1)) is RejectCode.OWN_SERVICE


def test_a_router_may_pass_on_what_began_in_the_as_of_an_instance() -> None:
    own_as = replace(INTENT, nodes=tuple(replace(n, asn=Asn(64601)) if n.name != "a1" else n for n in INTENT.nodes))
    assert received("a1", TOR, path("192.0.2.80/32", TOR, 65001, 64601), own_as) is None
    assert received("a1", TOR, path("192.0.2.80/32", TOR, 65001, 64999), own_as) is RejectCode.NO_INSTANCE


def test_a_filter_of_the_operator_keeps_a_service_out() -> None:
    rule = FilterRule(accept=False, cidr=Prefix.parse("192.0.2.0/24"), operator=MatchOperator.IN)
    kept = replace(
        INTENT,
        mesh=False,
        filters=(Filter("keep", import4=(rule,)),),
        peers=(Peer("all", None, None, ("a1",), remotes=("a2",), filters=("keep",)),),
    )
    assert received("a1", A2, path("192.0.2.80/32", A2), kept) is RejectCode.FILTER


def sent(at: str, peer: Address, services: tuple[Service, ...], intent: Intent = INTENT) -> object:
    given = ExportInput(
        policy(at, intent), announceable(Table()), lambda _: None, draining=False, accepts={}, services=services
    )
    return routes_for(given, given.policy.session_policies[peer]).routes.get(Prefix.parse("192.0.2.80/32"))


@pytest.mark.parametrize("peer", [TOR, B1])
def test_only_an_instance_that_is_well_is_announced(peer: Address) -> None:
    assert sent("a2", peer, ()) is None
    found = sent("a2", peer, (WEB,))
    assert found is not None
    assert found.communities == ((64512, 80),)  # type: ignore[attr-defined]


def test_advertisements_and_filters_apply_to_services_too() -> None:
    marked = replace(INTENT, advertisements=(Advertisement(Prefix.parse("192.0.2.0/24"), ((1, 2),)),))
    assert sent("a2", TOR, (WEB,), marked).communities == ((64512, 80), (1, 2))  # type: ignore[attr-defined]
    rule = FilterRule(accept=False, community=(64512, 80))
    kept = replace(
        INTENT, filters=(Filter("keep", export4=(rule,)),), peers=(replace(INTENT.peers[0], filters=("keep",)),)
    )
    assert sent("a2", TOR, (WEB,), kept) is None
    assert sent("a2", B1, (WEB,), kept) is not None


def test_an_address_of_a_pool_for_load_balancers_is_a_service_as_any() -> None:
    pool = Pool("services", Prefix.parse("192.0.2.0/24"), allowed_uses=(Use.LOAD_BALANCER,))
    intent = replace(INTENT, pools=(*INTENT.pools, pool))
    assert received("a1", A2, path("192.0.2.80/32", A2), intent) is None
    assert sent("a2", TOR, (WEB,), intent) is not None
