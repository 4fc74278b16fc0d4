"""Which received paths are never used, which only a filter lets in, and what a filter makes of them."""

from dataclasses import replace

import pytest

from bgpctl.core.bgp.filters import local_pref
from bgpctl.core.bgp.import_policy import GRACEFUL_SHUTDOWN, Policy, verdict
from bgpctl.core.bgp.path import AsSet, Path
from bgpctl.core.bgp.session_policy import SessionPolicy
from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.bgp.speaker import Session
from bgpctl.core.cluster.allocations import TunnelAddress
from bgpctl.core.cluster.configuration import Filter, FilterRule, MatchOperator
from bgpctl.core.cluster.encapsulation import IPIP, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.ownership import BlockOwnership
from bgpctl.core.cluster.reasons import RejectCode, Rejection
from bgpctl.core.net.addresses import Address, Asn, Prefix
from tests.cluster import allocated, blocks, member, path, prefixes, two_racks

INTENT = two_racks(ipip=Mode.CROSS_SUBNET)
GOOD = path("10.244.2.0/26", "10.0.0.2")
TOR = Address.parse("10.0.0.254")
ELSEWHERE = "192.0.2.0/24"


def from_member(received: Path, intent: Intent = INTENT) -> Path | Rejection:
    """The verdict of a1 on a path that a2 sent."""
    config = speaker_config(intent, "a1")
    assert config is not None
    policy = Policy.of(intent, member(intent, "a1"), config)
    return verdict(policy.ownership, policy.session_policies[Address.parse("10.0.0.2")], received)


def from_outside(
    received: Path, *rules: FilterRule, allowed_own_as: int = 0, route_server: bool = False
) -> Path | Rejection:
    """The verdict of a1 on a path from a router in AS 65001, with these import rules."""
    session = Session(TOR, "tor", Address.parse("10.0.0.1"), Asn(64512), Asn(65001), passive=False)
    filters = (Filter("edge", import4=rules),) if rules else ()
    policy = SessionPolicy(session, filters=filters, allowed_own_as=allowed_own_as, route_server=route_server)
    return verdict(BlockOwnership(INTENT, member(INTENT, "a1")), policy, received)


def reason(of: Path | Rejection) -> RejectCode | None:
    return of.reason if isinstance(of, Rejection) else None


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (GOOD, None),
        (path("10.244.9.0/26", "10.0.0.2"), RejectCode.NOBODYS_BLOCK),
        (path("10.244.2.0/23", "10.0.0.2"), RejectCode.NOBODYS_BLOCK),  # it covers two blocks
        (replace(GOOD, next_hop=None), RejectCode.NO_NEXT_HOP),
        (path("10.244.2.0/26", "0.0.0.0"), RejectCode.BAD_NEXT_HOP),
        (path("10.244.2.0/26", "127.0.0.1"), RejectCode.BAD_NEXT_HOP),
        (path("10.244.2.0/26", "224.0.0.5"), RejectCode.BAD_NEXT_HOP),
        (path("10.244.2.0/26", "fd00::1"), RejectCode.BAD_NEXT_HOP),
        (path("10.244.2.0/26", "10.0.0.1"), RejectCode.OWN_NEXT_HOP),
        (replace(GOOD, origin="invalid"), RejectCode.BAD_ORIGIN),
        (path("10.244.2.0/26", "10.0.0.2", 65001, 64512), RejectCode.OWN_AS),
        (replace(GOOD, as_path=(AsSet((Asn(65001), Asn(64512))),)), RejectCode.OWN_AS),
        (replace(GOOD, originator=Address.parse("10.0.0.1")), RejectCode.OWN_ORIGINATOR),
        (path("0.0.0.0/0", "10.0.0.2"), RejectCode.DEFAULT_ROUTE),
        (path(ELSEWHERE, "10.0.0.2"), RejectCode.OUTSIDE_POOLS),
        (path("127.1.0.0/16", "10.0.0.2"), RejectCode.MARTIAN),
        (path("10.0.0.128/25", "10.0.0.2"), RejectCode.ON_UNDERLAY),
        (path("10.0.0.0/24", "10.0.0.2"), RejectCode.COVERS_NODE),
        (path("10.244.1.0/26", "10.0.0.2"), RejectCode.OWN_BLOCK),
        (path("10.244.0.0/16", "10.0.0.2"), RejectCode.OWN_BLOCK),
        (path("10.244.1.5/32", "10.0.0.2"), RejectCode.OWN_BLOCK),
        (path("10.244.3.0/26", "10.0.0.2"), RejectCode.OTHERS_BLOCK),
        (path("10.244.3.7/32", "10.0.0.2"), RejectCode.OTHERS_BLOCK),
        (path("10.244.3.0/26", "10.1.0.3"), None),
        (replace(path("10.244.3.0/26", "10.0.0.2"), originator=Address.parse("10.1.0.3")), RejectCode.OTHERS_BLOCK),
        (path("10.244.9.0/26", "10.1.0.77"), RejectCode.NOBODYS_BLOCK),
    ],
)
def test_each_path_of_a_node_gets_its_verdict(received: Path, expected: RejectCode | None) -> None:
    assert reason(from_member(received)) is expected


def test_a_borrowed_address_inside_our_block_is_used() -> None:
    intent = allocated(INTENT, "a2", borrowed=prefixes("10.244.1.5/32"))
    assert reason(from_member(path("10.244.1.5/32", "10.0.0.2"), intent)) is None


def test_where_the_file_has_the_blocks_of_this_node_alone_bgp_brings_those_of_others() -> None:
    alone = replace(INTENT, allocations=blocks(a1=["10.244.1.0/26"]))
    received = [path(prefix, "10.0.0.2") for prefix in ("10.244.2.0/26", "10.244.1.0/26", "10.244.0.0/16")]
    assert [reason(from_member(one, alone)) for one in received] == [None, RejectCode.OWN_BLOCK, RejectCode.OWN_BLOCK]


def test_a_reflector_rejects_a_route_with_its_own_cluster_id() -> None:
    here = replace(member(INTENT, "a1"), cluster_id=Address.parse("1.1.1.1"))
    session = Session(TOR, "peer", Address.parse("10.0.0.1"), Asn(64512), Asn(64512), passive=False)
    looped = replace(GOOD, cluster_list=(Address.parse("2.2.2.2"), Address.parse("1.1.1.1")))
    assert reason(verdict(BlockOwnership(INTENT, here), SessionPolicy(session), looped)) is RejectCode.OWN_CLUSTER


def test_a_prefix_that_covers_a_node_is_never_used_even_inside_a_pool() -> None:
    wide = two_racks(ipip=Mode.ALWAYS, cidr="10.0.0.0/8")
    assert reason(from_member(path("10.1.0.0/24", "10.0.0.2"), wide)) is RejectCode.COVERS_NODE


def test_an_address_that_this_node_borrowed_is_not_taken_from_others_but_the_block_around_it_is() -> None:
    intent = allocated(INTENT, "a1", borrowed=prefixes("10.244.2.9/32"))
    received = [path(prefix, "10.0.0.2") for prefix in ("10.244.2.9/32", "10.244.2.8/32", "10.244.2.0/26")]
    assert [reason(from_member(one, intent)) for one in received] == [RejectCode.OWN_BLOCK, None, None]


def test_a_tunnel_address_from_elsewhere_belongs_to_its_node() -> None:
    end = TunnelAddress(IPIP, Address.parse("10.244.3.9"))
    intent = allocated(INTENT, "a2", tunnel_addresses=frozenset({end}))
    assert reason(from_member(path("10.244.3.9/32", "10.0.0.2"), intent)) is None
    assert reason(from_member(path("10.244.3.9/32", "10.1.0.3"), intent)) is RejectCode.OTHERS_BLOCK


def test_blocks_of_a_vxlan_pool_are_not_taken_from_bgp() -> None:
    assert reason(from_member(GOOD, two_racks(vxlan=Mode.ALWAYS))) is RejectCode.NOT_BY_BGP


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (path("10.244.2.0/26", "10.0.0.254", 65001, 64512), RejectCode.OWN_AS),
        (path("10.244.2.0/26", "10.0.0.254", 65002, 65001), RejectCode.FIRST_AS),
        (path("10.244.2.0/26", "10.0.0.254"), RejectCode.FIRST_AS),
        (path("10.244.2.0/26", "10.0.0.254", 65001), RejectCode.OTHERS_BLOCK),
        (path("10.244.2.5/32", "10.0.0.254", 65001), RejectCode.OTHERS_BLOCK),
        (path("10.244.9.0/26", "10.0.0.254", 65001), RejectCode.NO_POLICY),
        (path("0.0.0.0/0", "10.0.0.254", 65001), RejectCode.DEFAULT_ROUTE),
        (path("0.0.0.0/1", "10.0.0.254", 65001), RejectCode.OWN_BLOCK),
        (path(ELSEWHERE, "10.0.0.254", 65001), RejectCode.OUTSIDE_POOLS),
        (path("10.1.0.4/32", "10.0.0.254", 65001), RejectCode.COVERS_NODE),
    ],
)
def test_a_router_outside_gets_nothing_in_without_a_filter(received: Path, expected: RejectCode | None) -> None:
    assert reason(from_outside(received)) is expected


def test_a_block_that_comes_round_through_a_router_outside_is_used_when_it_began_at_its_owner() -> None:
    received = path("10.244.2.0/26", "10.0.0.254", 65001, 64512)
    assert reason(from_outside(received, allowed_own_as=1)) is None


def test_a_path_that_would_go_through_a_tunnel_to_a_router_goes_to_the_owner_of_its_block() -> None:
    intent = two_racks(ipip=Mode.ALWAYS)
    session = Session(TOR, "tor", Address.parse("10.0.0.1"), Asn(64512), Asn(65001), passive=False)
    policy = SessionPolicy(session, filters=(Filter("edge", import4=(ACCEPT_ALL,)),), allowed_own_as=1)
    ownership = BlockOwnership(intent, member(intent, "a1"))
    owned = verdict(ownership, policy, path("10.244.2.0/26", "10.0.0.254", 65001, 64512))
    assert isinstance(owned, Path)
    assert owned.next_hop == Address.parse("10.0.0.2")
    unowned = verdict(ownership, policy, path("10.244.9.0/26", "10.0.0.254", 65001))
    assert unowned == Rejection(RejectCode.NOT_A_MEMBER, "10.0.0.254")


ACCEPT_ALL = FilterRule(accept=True)


@pytest.mark.parametrize("prefix", ["0.0.0.0/0", ELSEWHERE, "10.244.9.0/26"])
def test_a_filter_accepts_the_paths_that_match(prefix: str) -> None:
    assert reason(from_outside(path(prefix, "10.0.0.254", 65001), ACCEPT_ALL)) is None


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("10.244.1.0/26", RejectCode.OWN_BLOCK),
        ("10.244.2.0/26", RejectCode.OTHERS_BLOCK),
        ("10.0.0.0/24", RejectCode.COVERS_NODE),
        ("224.0.0.0/4", RejectCode.MARTIAN),
    ],
)
def test_no_filter_accepts_a_prefix_of_others(prefix: str, expected: RejectCode) -> None:
    assert reason(from_outside(path(prefix, "10.0.0.254", 65001), ACCEPT_ALL)) is expected


def test_a_rejecting_rule_is_named() -> None:
    rules = (FilterRule(accept=False, cidr=Prefix.parse(ELSEWHERE)), ACCEPT_ALL)
    assert from_outside(path(ELSEWHERE, "10.0.0.254", 65001), *rules) == Rejection(RejectCode.FILTER, "edge")
    assert reason(from_outside(path("198.51.100.0/24", "10.0.0.254", 65001), *rules)) is None


def test_a_path_that_no_rule_matches_is_treated_as_without_a_filter() -> None:
    rule = FilterRule(accept=True, cidr=Prefix.parse(ELSEWHERE), operator=MatchOperator.EQUAL)
    assert reason(from_outside(path("192.0.2.128/25", "10.0.0.254", 65001), rule)) is RejectCode.OUTSIDE_POOLS


def test_a_filter_changes_accepted_paths() -> None:
    rule = FilterRule(accept=True, add_communities=((65001, 7),), prepend=(Asn(64999),), set_priority=512)
    seen = from_outside(path(ELSEWHERE, "10.0.0.254", 65001), rule)
    assert isinstance(seen, Path)
    assert (seen.communities, seen.as_path, seen.local_pref) == (((65001, 7),), (64999, 65001), local_pref(512))


def test_an_external_peer_sets_no_internal_attribute() -> None:
    claims = replace(path(ELSEWHERE, "10.0.0.254", 65001), local_pref=999, originator=TOR, cluster_list=(TOR,))
    seen = from_outside(claims, ACCEPT_ALL)
    assert isinstance(seen, Path)
    assert (seen.local_pref, seen.originator, seen.cluster_list) == (None, None, ())


def test_a_peer_that_is_about_to_go_is_the_last_choice() -> None:
    seen = from_member(replace(GOOD, local_pref=200, communities=(GRACEFUL_SHUTDOWN,)))
    assert isinstance(seen, Path)
    assert seen.local_pref == 0


def test_the_prefix_limit_leaves_room_for_every_block_of_the_pools() -> None:
    config = speaker_config(INTENT, "a1")
    assert config is not None
    assert Policy.of(INTENT, member(INTENT, "a1"), config).limit == 10_000 + 1024


def test_a_route_servers_path_begins_with_another_as() -> None:
    """RFC 7947, section 2.2.2.1; a path without any AS is none of an external peer, and a loop stays one."""
    others = path(ELSEWHERE, "10.0.0.254", 65002, 65003)
    assert reason(from_outside(others)) is RejectCode.FIRST_AS
    assert reason(from_outside(others, FilterRule(accept=True), route_server=True)) is None
    assert reason(from_outside(path(ELSEWHERE, "10.0.0.254"), route_server=True)) is RejectCode.FIRST_AS
    looped = path(ELSEWHERE, "10.0.0.254", 65002, 64512)
    assert reason(from_outside(looped, route_server=True)) is RejectCode.OWN_AS
