"""Routes for each peer: own blocks, routes received from others, and the marks on both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

import pytest

from bgpctl.core.bgp.decision import Candidate, Choice
from bgpctl.core.bgp.export_policy import ExportInput, announceable, routes_for, sources
from bgpctl.core.bgp.filters import NORMAL_LOCAL_PREF, local_pref
from bgpctl.core.bgp.import_policy import GRACEFUL_SHUTDOWN, Policy
from bgpctl.core.bgp.path import AsSet, Attributes, Path, RawAttribute
from bgpctl.core.bgp.received import Received
from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.bgp.wire.encode import EXTENDED_MESSAGE_BYTES, MESSAGE_BYTES, Room, encode, fits
from bgpctl.core.cluster.configuration import Advertisement, Filter, FilterRule, NextHopMode, Peer
from bgpctl.core.cluster.encapsulation import IPIP, VXLAN, Encapsulation, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.core.net.table import Table
from tests.cluster import allocated, member, path, two_racks

OWN = Prefix.parse("10.244.1.0/26")
A2, B1, TOR, TOR2 = map(Address.parse, ("10.0.0.2", "10.1.0.3", "10.0.0.254", "10.0.0.253"))
CLUSTER_ID = Address.parse("1.1.1.1")


Accepts: TypeAlias = Mapping[int, frozenset[Encapsulation]]
NOTHING: Accepts = {}


def tor(name: str, address: Address, asn: int, **more: object) -> Peer:
    return Peer(name, address, Asn(asn), ("a1",), **more)  # type: ignore[arg-type]


EDGE = replace(two_racks(ipip=Mode.CROSS_SUBNET), peers=(tor("tor", TOR, 65001), tor("tor2", TOR2, 65002)))
"""a1 in the mesh and with two external peers."""
REFLECTING = replace(
    EDGE,
    mesh=False,
    nodes=tuple(replace(n, cluster_id=CLUSTER_ID) if n.name == "a1" else n for n in EDGE.nodes),
    peers=(*EDGE.peers, Peer("clients", None, None, ("a1",), remotes=("a2", "b1", "b2"))),
)
"""a1 reflects between the other nodes."""


def export_input(
    intent: Intent, *learned: Candidate, draining: bool = False, link: str | None = None, accepts: Accepts = NOTHING
) -> ExportInput:
    config = speaker_config(intent, "a1")
    assert config is not None
    policy = Policy.of(intent, member(intent, "a1"), config)
    best = Table.of((candidate.path.prefix, Choice(candidate)) for candidate in learned)
    return ExportInput(policy, announceable(best), lambda _: link, draining=draining, accepts=accepts)


def adj_rib_out(intent: Intent, peer: Address, *learned: Candidate, **more: object) -> Mapping[Prefix, Attributes]:
    given = export_input(intent, *learned, **more)  # type: ignore[arg-type]
    return routes_for(given, given.policy.session_policies[peer]).routes


def inside(peer: Address, received: Path) -> Candidate:
    return Candidate(peer, Asn(64512), internal=True, received=Received(received, 0.0), router_id=peer)


def outside(received: Path, peer: Address = TOR) -> Candidate:
    return Candidate(peer, Asn(65001), internal=False, received=Received(received, 0.0))


FROM_A2 = inside(A2, replace(path("10.244.2.0/26", A2), local_pref=NORMAL_LOCAL_PREF, med=5))
FROM_TOR = outside(path("10.244.9.0/26", TOR, 65001))


def test_own_blocks_go_to_everyone_with_calicos_preference_inside() -> None:
    assert adj_rib_out(EDGE, A2) == {OWN: Attributes(local_pref=NORMAL_LOCAL_PREF)}
    assert adj_rib_out(EDGE, TOR) == {OWN: Attributes(as_path=(Asn(64512),))}


def test_accepted_tunnels_are_advertised_to_members_only() -> None:
    both: Accepts = {4: frozenset({IPIP, VXLAN}), 6: frozenset()}
    marks = (0x030C_0000_0000_0007, 0x030C_0000_0000_0008)
    assert adj_rib_out(EDGE, A2, accepts=both) == {OWN: Attributes(local_pref=NORMAL_LOCAL_PREF, extended=marks)}
    assert adj_rib_out(EDGE, TOR, accepts=both) == {OWN: Attributes(as_path=(Asn(64512),))}


def test_extended_communities_are_reflected_but_those_that_stay_in_an_as_do_not_leave_it() -> None:
    target, non_transitive, ipip = 0x0002_FDE9_0000_0001, 0x4304_0000_0000_0001, 0x030C_0000_0000_0007
    learned = inside(A2, replace(path("10.244.2.0/26", A2), extended=(target, non_transitive, ipip)))
    assert adj_rib_out(REFLECTING, B1, learned)[learned.path.prefix].extended == (target, non_transitive, ipip)
    assert adj_rib_out(REFLECTING, TOR, learned)[learned.path.prefix].extended == (target,)


def test_a_pool_that_is_not_exported_stays_in() -> None:
    pool = replace(EDGE.pools[0], disable_bgp_export=True)
    assert adj_rib_out(replace(EDGE, pools=(pool,)), A2) == {}
    assert adj_rib_out(replace(EDGE, pools=()), A2) == {}


def test_a_borrowed_address_is_announced_beside_the_blocks() -> None:
    lent = Prefix.parse("10.244.3.7/32")
    assert set(adj_rib_out(allocated(EDGE, "a1", borrowed=(lent,)), A2)) == {OWN, lent}


def test_without_a_reflector_routes_of_nodes_are_advertised_only_to_external_peers() -> None:
    assert FROM_A2.path.prefix not in adj_rib_out(EDGE, B1, FROM_A2)
    assert adj_rib_out(EDGE, TOR, FROM_A2)[FROM_A2.path.prefix] == Attributes(as_path=(Asn(64512),))


def test_an_external_route_goes_inside_with_its_next_hop_and_never_back() -> None:
    block = FROM_TOR.path.prefix
    assert adj_rib_out(EDGE, A2, FROM_TOR)[block] == Attributes(next_hop=TOR, as_path=(Asn(65001),))
    assert adj_rib_out(EDGE, TOR2, FROM_TOR)[block] == Attributes(as_path=(Asn(64512), Asn(65001)))
    assert block not in adj_rib_out(EDGE, TOR, FROM_TOR)


def test_the_origin_of_a_path_is_passed_on_as_it_was() -> None:
    begun = outside(replace(FROM_TOR.path, origin="incomplete"))
    assert {adj_rib_out(EDGE, peer, begun)[begun.path.prefix].origin for peer in (A2, TOR2)} == {"incomplete"}


def test_sets_and_attributes_that_no_decision_reads_are_passed_on_as_they_were() -> None:
    aggregate = replace(
        path("10.244.9.0/26", "10.0.0.254", 65001),
        as_path=(Asn(65001), AsSet((Asn(65010), Asn(65011)))),
        passed_on=(RawAttribute(0x40, 6, b""), RawAttribute(0xE0, 200, b"x")),
    )
    inside_ = adj_rib_out(EDGE, A2, outside(aggregate))[aggregate.prefix]
    assert (inside_.as_path, inside_.passed_on) == (aggregate.as_path, aggregate.passed_on)
    outside_ = adj_rib_out(EDGE, TOR2, outside(aggregate))[aggregate.prefix]
    assert (outside_.as_path, outside_.passed_on) == ((64512, *aggregate.as_path), aggregate.passed_on)


def test_a_route_whose_attributes_fill_a_message_is_kept_in() -> None:
    small, large = (
        replace(path("10.244.9.0/26", "10.0.0.254", 65001), communities=((65001, 1),) * n) for n in (900, 1050)
    )
    assert small.prefix in adj_rib_out(EDGE, A2, outside(small))
    assert large.prefix not in adj_rib_out(EDGE, A2, outside(large))


def test_a_path_with_an_unreachable_next_hop_is_not_advertised() -> None:
    assert FROM_A2.path.prefix not in adj_rib_out(EDGE, TOR, FROM_A2._replace(cost=None))


def test_a_route_outside_the_pools_is_not_passed_on_without_a_filter() -> None:
    abroad = outside(path("192.0.2.0/24", TOR, 65001))
    assert abroad.path.prefix not in adj_rib_out(EDGE, TOR2, abroad)
    wide = Filter("wide", export4=(FilterRule(accept=True, cidr=abroad.path.prefix),))
    peers = (EDGE.peers[0], tor("tor2", TOR2, 65002, filters=("wide",)))
    widened = replace(EDGE, filters=(wide,), peers=peers)
    assert set(adj_rib_out(widened, TOR2, abroad)) == {OWN, abroad.path.prefix}


def test_an_export_filter_narrows_marks_and_matches_the_link() -> None:
    rules = (
        FilterRule(accept=False, from_peers=True, interface="tunl*"),
        FilterRule(accept=True, cidr=OWN, add_communities=((65001, 7),), prepend=(Asn(64512),), set_priority=9),
    )
    peers = (tor("tor", TOR, 65001, filters=("edge",)),)
    narrowed = replace(EDGE, filters=(Filter("edge", export4=rules),), peers=peers)
    marked = Attributes(as_path=(Asn(64512), Asn(64512)), communities=((65001, 7),))
    assert adj_rib_out(narrowed, TOR, FROM_A2, link="tunl0") == {OWN: marked}
    assert set(adj_rib_out(narrowed, TOR, FROM_A2, link="eth0")) == {OWN, FROM_A2.path.prefix}


def test_a_filters_priority_is_a_preference_inside() -> None:
    peers = (Peer("inner", A2, Asn(64512), ("a1",), filters=("low",)),)
    low = Filter("low", export4=(FilterRule(accept=True, set_priority=2000),))
    assert adj_rib_out(replace(EDGE, filters=(low,), peers=peers), A2)[OWN] == Attributes(local_pref=local_pref(2000))


def test_communities_of_prefix_advertisements_are_added() -> None:
    advertised = (
        Advertisement(Prefix.parse("10.244.0.0/16"), ((64512, 1),)),
        Advertisement(Prefix.parse("10.244.1.0/26"), ((64512, 1), (64512, 2, 3))),
        Advertisement(Prefix.parse("10.245.0.0/16"), ((64512, 9),)),
    )
    assert adj_rib_out(replace(EDGE, advertisements=advertised), TOR)[OWN].communities == ((64512, 1), (64512, 2, 3))


@pytest.mark.parametrize(
    ("community", "listeners"),
    [((65535, 65281), {A2}), ((65535, 65282), set()), ((65535, 65283), {A2}), ((65535, 0), {A2, TOR2})],
)
def test_well_known_communities_keep_a_path_in(community: tuple[int, int], listeners: set[Address]) -> None:
    marked = outside(replace(FROM_TOR.path, communities=(community,)))
    receivers = {peer for peer in (A2, TOR2) if marked.path.prefix in adj_rib_out(EDGE, peer, marked)}
    assert receivers == listeners


@pytest.mark.parametrize(
    ("mode", "towards_a2", "towards_tor"),
    [(NextHopMode.AUTO, TOR2, None), (NextHopMode.SELF, None, None), (NextHopMode.KEEP, TOR2, TOR2)],
)
def test_the_next_hop_mode_decides_the_advertised_next_hop(
    mode: NextHopMode, towards_a2: Address | None, towards_tor: Address | None
) -> None:
    peers = (tor("tor", TOR, 65001, next_hop_mode=mode), tor("a2", A2, 64512, next_hop_mode=mode), EDGE.peers[1])
    intent = replace(EDGE, peers=peers)
    learned = outside(path("10.244.9.0/26", TOR2, 65002), TOR2)
    assert adj_rib_out(intent, A2, learned)[learned.path.prefix].next_hop == towards_a2
    assert adj_rib_out(intent, TOR, learned)[learned.path.prefix].next_hop == towards_tor


def test_a_reflector_passes_on_with_originator_and_cluster_list_and_the_next_hop_kept() -> None:
    assert adj_rib_out(REFLECTING, B1, FROM_A2)[FROM_A2.path.prefix] == Attributes(
        next_hop=A2, local_pref=NORMAL_LOCAL_PREF, med=5, originator=A2, cluster_list=(CLUSTER_ID,)
    )


def test_a_reflector_adds_to_what_another_one_reflected_and_spares_the_originator() -> None:
    other = Address.parse("2.2.2.2")
    reflected = inside(B1, replace(path("10.244.2.0/26", A2), originator=A2, cluster_list=(other,)))
    b2 = member(REFLECTING, "b2").address.address
    assert adj_rib_out(REFLECTING, b2, reflected)[reflected.path.prefix].cluster_list == (CLUSTER_ID, other)
    assert reflected.path.prefix not in adj_rib_out(REFLECTING, A2, reflected)
    assert reflected.path.prefix not in adj_rib_out(REFLECTING, B1, reflected)


@pytest.mark.parametrize("intent", [EDGE, REFLECTING])
def test_peers_that_share_what_is_derived_get_what_each_gets_alone(intent: Intent) -> None:
    """Whichever is asked first; a path by another reflector goes to neither its peer nor its originator."""
    other = replace(path("10.244.3.0/26", B1), originator=A2, cluster_list=(Address.parse("2.2.2.2"),))
    marked = outside(replace(FROM_TOR.path, communities=tuple((65001, number) for number in range(1030))))
    learned = (FROM_A2, inside(B1, other), outside(path("10.244.8.0/26", TOR2, 65002), TOR2), marked)
    peers = [*export_input(intent).policy.session_policies]
    assert len(peers) > 3
    for order in (peers, peers[::-1]):
        together = export_input(intent, *learned)
        for peer in order:
            found = routes_for(together, together.policy.session_policies[peer])
            alone = export_input(intent, *learned)
            expected = routes_for(alone, alone.policy.session_policies[peer])
            assert (found.routes, found.too_large) == (expected.routes, expected.too_large)


def test_between_two_that_are_no_clients_nothing_is_reflected() -> None:
    nodes = tuple(replace(n, cluster_id=CLUSTER_ID) if n.name != "b2" else n for n in REFLECTING.nodes)
    three = replace(REFLECTING, nodes=nodes)
    b2 = member(three, "b2").address.address
    assert FROM_A2.path.prefix not in adj_rib_out(three, B1, FROM_A2)
    assert FROM_A2.path.prefix in adj_rib_out(three, b2, FROM_A2)
    assert FROM_A2.path.prefix in adj_rib_out(three, B1, inside(b2, FROM_A2.path))


def test_a_draining_node_advertises_everything_with_gshut() -> None:
    inner, outer = adj_rib_out(EDGE, A2, FROM_TOR, draining=True), adj_rib_out(EDGE, TOR, FROM_A2, draining=True)
    assert {a.communities for a in (*inner.values(), *outer.values())} == {(GRACEFUL_SHUTDOWN,)}
    assert {a.local_pref for a in inner.values()} == {0}
    assert {a.local_pref for a in outer.values()} == {None}


def test_a_session_carries_its_own_ip_version_only() -> None:
    six = Prefix.parse("fd00:1::/122")
    assert set(adj_rib_out(allocated(EDGE, "a1", blocks=(OWN, six)), A2)) == {OWN}


def test_our_end_of_rib_waits_for_external_routers_and_a_reflectors_for_its_clients_too() -> None:
    edge, reflecting = export_input(EDGE).policy, export_input(REFLECTING).policy
    assert set(sources(edge, edge.session_policies[A2])) == {TOR, TOR2}
    assert set(sources(edge, edge.session_policies[TOR])) == {TOR2}
    b2 = member(EDGE, "b2").address.address
    assert set(sources(reflecting, reflecting.session_policies[A2])) == {TOR, TOR2, B1, b2}


# Another policy that announces the same --------------------------------------------------------------------------


def policy_of(intent: Intent) -> Policy:
    return export_input(intent).policy


def test_another_nodes_blocks_change_no_announcement() -> None:
    edited = allocated(REFLECTING, "b1", blocks=(Prefix.parse("10.244.77.0/26"),))
    assert policy_of(edited).announces_as(policy_of(REFLECTING))


@pytest.mark.parametrize(
    "edited",
    [
        allocated(REFLECTING, "a1", blocks=(Prefix.parse("10.244.77.0/26"),)),
        replace(REFLECTING, pools=tuple(replace(pool, disable_bgp_export=True) for pool in REFLECTING.pools)),
        replace(REFLECTING, advertisements=(Advertisement(OWN, ((64512, 7),)),)),
        replace(REFLECTING, peers=REFLECTING.peers[1:]),
        EDGE,
    ],
    ids=["own blocks", "pools", "advertisements", "sessions", "cluster id"],
)
def test_whatever_export_policy_asks_changes_announcements(edited: Intent) -> None:
    assert not policy_of(edited).announces_as(policy_of(REFLECTING))


def test_a_route_that_a_peers_messages_have_no_room_for_is_kept_in_and_named() -> None:
    marked = replace(FROM_TOR.path, communities=tuple((65001, number) for number in range(1030)))
    given = export_input(EDGE, outside(marked))
    session_policy, block = given.policy.session_policies[A2], marked.prefix
    short = routes_for(given, session_policy)
    assert (block in short.routes, short.too_large) == (False, frozenset({block}))
    assert OWN in short.routes
    long = routes_for(given, session_policy, short, Room(EXTENDED_MESSAGE_BYTES))
    assert (block in long.routes, long.too_large) == (True, frozenset())
    again = routes_for(given, session_policy, long, Room(MESSAGE_BYTES))
    assert (again.routes, again.too_large) == (short.routes, short.too_large)
    changed = routes_for(export_input(EDGE, FROM_TOR), session_policy, again)
    assert (block in changed.routes, changed.too_large) == (True, frozenset())


def test_a_message_is_used_to_its_last_octet() -> None:
    def attributes(count: int) -> Attributes:
        return Attributes(A2, (Asn(64512),), communities=tuple((64512, number) for number in range(count)))

    most = next(count for count in range(900, 1100) if not fits(attributes(count + 1), 4, Room()))
    size = 19 + 4 + len(encode(attributes(most), four_octet=True)) + 5
    assert 4096 - 4 < size <= 4096
    assert fits(attributes(most), 4, Room(four_octet=False))


def test_the_local_pref_of_an_internal_session_needs_room_too() -> None:
    """RFC 4271, section 5.1.5: it is sent also where a route has none."""

    def attributes(count: int, local_pref: int | None = None) -> Attributes:
        return Attributes(A2, (Asn(64512),), communities=((64512, 7),) * count, local_pref=local_pref)

    most = next(count for count in range(900, 1100) if not fits(attributes(count + 1, local_pref=100), 4, Room()))
    room = Room(internal=True)
    assert fits(attributes(most), 4, room)
    assert not fits(attributes(most + 1), 4, room)
    assert fits(attributes(most + 1), 4, Room())
