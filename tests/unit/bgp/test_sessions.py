from dataclasses import replace
from typing import Any

import pytest

from bgpctl.core.bfd.session import Intervals
from bgpctl.core.bgp.bfd import BfdOptions
from bgpctl.core.bgp.sessions import HOLD_TIME_S, router_id, speaker_config, waits_for
from bgpctl.core.bgp.speaker import Session, SpeakerConfig
from bgpctl.core.cluster.configuration import EVERY_ASN, AsnRange, Backend, Bfd, Node, Peer, Role, TtlSecurity
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Asn, InterfaceAddress, Prefix
from tests.cluster import member, node, two_racks

INTENT = two_racks(ipip=Mode.CROSS_SUBNET)


def test_every_pair_of_the_mesh_has_exactly_one_active_side() -> None:
    sides = {}
    for here in INTENT.nodes:
        for session in configured(INTENT, here.name).sessions:
            sides[(here.address.address, session.peer)] = session.passive
    assert len(sides) == 12
    assert all(sides[(a, b)] is not sides[(b, a)] for a, b in sides)


def test_the_passive_end_is_decided_by_comparing_strings_as_calico_does() -> None:
    nine, ten = Address.parse("10.0.0.9"), Address.parse("10.0.0.10")
    assert waits_for(ten, nine)
    assert not waits_for(nine, ten)


def test_without_bgp_there_is_no_speaker_at_all() -> None:
    assert speaker_config(two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN), "a1") is None


def test_a_configured_peer_is_connected_to_with_its_own_as() -> None:
    tor = Peer("tor-a", Address.parse("10.0.0.254"), Asn(65001), ("a1", "a2"), port=1790)
    config = speaker_config(replace(INTENT, peers=(tor,), mesh=False), "a1")
    assert config is not None
    (session,) = config.sessions
    assert (str(session.peer), session.peer_asn, session.port, session.passive) == ("10.0.0.254", 65001, 1790, False)
    other = speaker_config(replace(INTENT, peers=(tor,), mesh=False), "b1")
    assert other is not None
    assert other.sessions == ()


# How the sessions follow from peers, by Calico's rules ---------------------------------------------------------

TOR = Address.parse("10.0.0.254")
FILE = "secrets/tor"
RACK_A, RACK_B = ("a1", "a2"), ("b1", "b2")
A1, A2, B1 = (member(INTENT, name).address.address for name in ("a1", "a2", "b1"))


def configured(intent: Intent, name: str) -> SpeakerConfig:
    config = speaker_config(intent, name)
    assert config is not None
    return config


def owed(intent: Intent, name: str) -> dict[str, Session]:
    """The sessions of a node by the peer's address."""
    return {str(session.peer): session for session in configured(intent, name).sessions}


def having(*peers: Peer, mesh: bool = False, **changes: Any) -> Intent:
    return replace(INTENT, peers=peers, mesh=mesh, **changes)


def changed(intent: Intent, name: str, **changes: Any) -> Intent:
    """The intent with one node changed."""
    nodes = tuple(replace(other, **changes) if other.name == name else other for other in intent.nodes)
    return replace(intent, nodes=nodes)


def external(name: str = "tor", nodes: tuple[str, ...] = RACK_A, **changes: Any) -> Peer:
    return replace(Peer(name, TOR, Asn(65001), nodes), **changes)


def selected(nodes: tuple[str, ...], remotes: tuple[str, ...], **changes: Any) -> Peer:
    return replace(Peer("selected", None, None, nodes, remotes=remotes, peer_selector="x == 'y'"), **changes)


@pytest.mark.parametrize(
    ("asked", "fact", "wanted"),
    [
        ({"port": 1790}, "port", 1790),
        ({"local_asn": Asn(65099)}, "local_asn", 65099),
        ({"restart_time_s": 300}, "restart_time_s", 300),
        ({"keepalive_s": 1}, "keepalive_s", 1),
        ({"keepalive_s": 1}, "hold_time_s", 240),
        ({"keepalive_s": 1, "hold_time_s": 9}, "hold_time_s", 9),
        ({"hold_time_s": 9}, "keepalive_s", None),
        ({}, "hold_time_s", HOLD_TIME_S),
        ({"password_file": FILE}, "password_file", FILE),
        ({"ttl_security": 1}, "ttl_security", 1),
        ({"from_node_address": False}, "bound", False),
        ({"local_role": Role.CUSTOMER}, "role", Role.CUSTOMER),
        ({"local_role": Role.CUSTOMER, "strict_role": True}, "strict_role", True),
        ({}, "role", None),
        ({}, "by", "tor"),
        ({}, "passive", False),
        ({}, "local", A1),
    ],
)
def test_options_of_a_peer_are_options_of_its_session(asked: dict[str, Any], fact: str, wanted: object) -> None:
    assert getattr(owed(having(external(**asked)), "a1")[str(TOR)], fact) == wanted


@pytest.mark.parametrize(("node_name", "count"), [("a1", 1), ("a2", 1), ("b1", 0)])
def test_only_the_nodes_of_a_peer_peer_with_it(node_name: str, count: int) -> None:
    assert len(owed(having(external()), node_name)) == count


def test_a_peer_selector_makes_a_session_with_each_of_the_remotes_in_its_own_as() -> None:
    intent = changed(having(selected(RACK_A, RACK_B)), "b1", asn=Asn(65100))
    sessions = owed(intent, "a1")
    assert {peer: session.peer_asn for peer, session in sessions.items()} == {"10.1.0.3": 65100, "10.1.0.4": 64512}
    assert [session.name for session in sessions.values()] == ["b1", "b2"]


def test_the_remotes_get_the_mirror_image() -> None:
    intent = having(selected(RACK_A, ("b1",), local_asn=Asn(65099), ttl_security=2, password_file=FILE))
    ours, theirs = owed(intent, "a1")[str(B1)], owed(intent, "b1")[str(A1)]
    assert (ours.local_asn, ours.peer_asn) == (theirs.peer_asn, theirs.local_asn) == (65099, 64512)
    assert ours.passive is not theirs.passive
    assert (theirs.ttl_security, theirs.password_file, theirs.by) == (2, FILE, "selected")


def test_manual_reverse_peering_makes_no_mirror_image() -> None:
    assert owed(having(selected(RACK_A, RACK_B, reverse=False)), "b1") == {}


def test_an_explicit_peering_beats_a_generated_one() -> None:
    explicit = Peer("explicit", A1, None, ("b1",), restart_time_s=7)
    session = owed(having(explicit, selected(RACK_A, ("b1",))), "b1")[str(A1)]
    assert (session.by, session.restart_time_s) == ("explicit", 7)


@pytest.mark.parametrize("names", [("one", "two"), ("two", "one")])
def test_a_global_peer_beats_one_of_some_nodes_to_the_same_address(names: tuple[str, str]) -> None:
    everywhere = external(names[0], ("a1", "a2", "b1", "b2"))
    somewhere = external(names[1], node_selector="rack == 'a'")
    assert owed(having(everywhere, somewhere), "a1")[str(TOR)].by == names[0]


def test_a_configured_peer_takes_the_place_of_the_mesh_session() -> None:
    sessions = owed(having(selected(RACK_A, ("b1",)), mesh=True), "a1")
    assert len(sessions) == 3
    assert [session.by for session in sessions.values()] == [None, "selected", None]


@pytest.mark.parametrize("peer", [selected(("a1",), ("a1",)), Peer("self", A1, None, ("a1",))])
def test_no_node_peers_with_itself(peer: Peer) -> None:
    assert owed(having(peer), "a1") == {}


def test_a_peer_that_is_a_node_is_reached_at_the_nodes_port_and_as() -> None:
    session = owed(having(Peer("b1", B1, None, ("a1",)), listen_port=1179), "a1")[str(B1)]
    assert (session.port, session.peer_asn, session.passive) == (1179, 64512, waits_for(A1, B1))


def test_an_address_without_an_as_that_no_node_has_is_no_peer() -> None:
    assert owed(having(external(asn=None)), "a1") == {}


def test_the_mesh_has_its_own_password_and_restart_time() -> None:
    intent = replace(INTENT, mesh_password_file=FILE, mesh_restart_time_s=200)
    facts = {(session.password_file, session.restart_time_s) for session in owed(intent, "a1").values()}
    assert facts == {(FILE, 200)}


# Reflectors ----------------------------------------------------------------------------------------------------

CLUSTER = Address.parse("10.255.0.1")
REFLECTED = changed(having(selected(("a1", "a2", "b1", "b2"), ("a2",)), mesh=True), "a2", cluster_id=CLUSTER)


def test_a_reflector_is_in_no_mesh_on_either_side() -> None:
    intent = replace(REFLECTED, peers=())
    assert owed(intent, "a2") == {}
    assert set(owed(intent, "a1")) == {"10.1.0.3", "10.1.0.4"}


def test_the_peers_of_a_reflector_are_its_clients_and_it_is_a_client_of_none() -> None:
    assert [session.client for session in owed(REFLECTED, "a2").values()] == [True, True, True]
    assert not owed(REFLECTED, "a1")[str(A2)].client


@pytest.mark.parametrize(
    ("changes", "client"),
    [
        ({"cluster_id": CLUSTER}, False),
        ({"cluster_id": Address.parse("10.255.0.2")}, True),
        ({"asn": Asn(65100)}, False),
    ],
    ids=["a reflector of the same cluster", "one of another cluster", "another AS"],
)
def test_peers_that_are_no_client_of_a_reflector(changes: dict[str, Any], *, client: bool) -> None:
    intent = changed(REFLECTED, "a1", **changes)
    assert owed(intent, "a2")[str(A1)].client is client


def test_an_internal_peer_outside_the_cluster_is_a_client_too() -> None:
    intent = changed(having(external(asn=Asn(64512), nodes=("a2",))), "a2", cluster_id=CLUSTER)
    assert owed(intent, "a2")[str(TOR)].client


# IPv6 ----------------------------------------------------------------------------------------------------------


def with_ipv6(member_: Node, address: str) -> Node:
    return replace(member_, address6=InterfaceAddress.parse(address))


def test_nodes_that_both_have_ipv6_have_a_second_session_for_it() -> None:
    one, two, three = node("n1", "10.0.0.1/24"), node("n2", "10.0.0.2/24"), node("n3", "10.0.0.3/24")
    intent = Intent(nodes=(with_ipv6(one, "fd00::1/64"), with_ipv6(two, "fd00::2/64"), three))
    config = configured(intent, "n1")
    assert [str(session.peer) for session in config.sessions] == ["10.0.0.2", "10.0.0.3", "fd00::2"]
    assert [session.version for session in config.sessions] == [4, 4, 6]
    assert [str(session.local) for session in config.sessions] == ["10.0.0.1", "10.0.0.1", "fd00::1"]
    assert (str(config.router_id), str(config.listen), str(config.listen6)) == ("10.0.0.1", "10.0.0.1", "fd00::1")


def test_an_ipv6_peer_needs_an_ipv6_address_here() -> None:
    peer = Peer("tor6", Address.parse("fd00::fe"), Asn(65001), ("a1", "a2"))
    intent = changed(having(peer), "a1", address6=InterfaceAddress.parse("fd00::1/64"))
    assert [str(peer) for peer in owed(intent, "a1")] == ["fd00::fe"]
    assert owed(intent, "a2") == {}


def test_a_node_without_ipv4_takes_its_router_id_from_its_name() -> None:
    one, two = node("n1", "fd00::1/64"), node("n2", "fd00::2/64")
    assert router_id(one).version == 4
    assert router_id(one) != router_id(two)
    assert str(configured(Intent(nodes=(one, two)), "n1").listen) == "fd00::1"


SENDS, REQUIRES = TtlSecurity.SENDS, TtlSecurity.REQUIRES


@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [
        (None, REQUIRES, (None, False)),
        (SENDS, None, (None, True)),
        (SENDS, REQUIRES, (None, True)),
        (REQUIRES, None, (None, True)),
        (REQUIRES, SENDS, (1, True)),
        (REQUIRES, REQUIRES, (1, True)),
    ],
)
def test_gtsm_is_required_of_members_in_the_own_network_that_send_the_greatest_ttl(
    own: TtlSecurity | None, others: TtlSecurity | None, expected: tuple[int | None, bool]
) -> None:
    parts = {"a1": own, "a2": others, "b1": others, "b2": others}
    intent = replace(INTENT, nodes=tuple(replace(item, ttl_security=parts[item.name]) for item in INTENT.nodes))
    found = {item.name: (item.ttl_security, item.greatest_ttl) for item in configured(intent, "a1").sessions}
    assert found == {"a2": expected, "b1": (None, expected[1]), "b2": (None, expected[1])}


# BFD -----------------------------------------------------------------------------------------------------------


def test_bfd_is_multihop_for_a_peer_outside_the_nodes_own_network() -> None:
    wanted = {
        "10.0.0.254": (None, False),
        "10.9.9.9": (None, True),
        "10.0.0.253": (True, True),
        "10.8.8.8": (False, False),
    }
    peers = tuple(
        Peer(f"t{index}", Address.parse(ip), Asn(65001), ("a1",), bfd=Bfd(100, 200, 4, multihop))
        for index, (ip, (multihop, _)) in enumerate(wanted.items())
    )
    config = configured(replace(INTENT, peers=peers, mesh=False), "a1")
    found = {str(session.peer): session.bfd for session in config.sessions}
    for ip, (_, is_multihop) in wanted.items():
        assert found[ip] == BfdOptions(Intervals(100_000, 200_000, 4), multihop=is_multihop)


def test_both_ends_of_a_peering_of_nodes_have_bfd() -> None:
    peer = Peer("all", None, None, RACK_A, remotes=RACK_B, peer_selector="rack == 'b'", bfd=Bfd())
    intent = replace(INTENT, peers=(peer,), mesh=False)
    assert all(session.bfd for name in ("a1", "b1") for session in configured(intent, name).sessions)
    assert all(not session.bfd for session in configured(INTENT, "a1").sessions)


# Ranges --------------------------------------------------------------------------------------------------------

RANGE = Prefix.parse("10.9.0.0/16")


def accepted(peers: tuple[Peer, ...], connected: dict[str, int]) -> dict[str, tuple[str, int]]:
    """The sessions of a1 with those that connected: the name and AS of each."""
    found = {Address.parse(address): Asn(asn) for address, asn in connected.items()}
    config = speaker_config(replace(INTENT, peers=peers, mesh=False), "a1", found)
    assert config is not None
    assert all(session.passive and session.accepted for session in config.sessions)
    return {str(session.peer): (session.name, session.peer_asn) for session in config.sessions}


def of_range(**options: Any) -> Peer:
    return replace(Peer("edge", None, Asn(65001), RACK_A, listen_range=RANGE), **options)


def test_of_a_range_those_that_connect_with_its_as_have_sessions() -> None:
    connected = {"10.9.0.1": 65001, "10.9.0.2": 65002, "10.8.0.1": 65001}
    assert accepted((of_range(),), connected) == {"10.9.0.1": ("edge-10.9.0.1", 65001)}


def test_a_range_of_as_numbers_is_for_peers_in_another_as() -> None:
    every = of_range(asn=None, asn_range=EVERY_ASN)
    connected = {"10.9.0.1": 65001, "10.9.0.2": INTENT.asn, "10.9.0.3": 4200000000}
    assert accepted((every,), connected).keys() == {"10.9.0.1", "10.9.0.3"}
    few = of_range(asn=None, asn_range=AsnRange(Asn(65000), Asn(65009)))
    assert accepted((few,), connected).keys() == {"10.9.0.1"}


def test_beyond_the_limit_of_a_range_who_came_first_stays() -> None:
    connected = {"10.9.0.3": 65001, "10.9.0.1": 65001, "10.9.0.2": 65001}
    assert accepted((of_range(limit=2),), connected).keys() == {"10.9.0.3", "10.9.0.1"}


def test_the_longest_range_that_takes_the_as_counts() -> None:
    narrow = of_range(name="narrow", listen_range=Prefix.parse("10.9.9.0/24"))
    names = accepted((of_range(), narrow), {"10.9.9.1": 65001, "10.9.8.1": 65001})
    assert {name for name, _ in names.values()} == {"narrow-10.9.9.1", "edge-10.9.8.1"}


def test_neither_a_node_nor_an_address_of_a_pool_is_accepted_by_a_range() -> None:
    wide = of_range(listen_range=Prefix.parse("10.0.0.0/8"))
    assert accepted((wide,), {str(A2): 65001, "10.244.9.9": 65001}) == {}
    assert configured(replace(INTENT, peers=(wide,)), "a1").ranges == (wide.listen_range,)
    assert configured(replace(INTENT, peers=(wide,)), "b1").ranges == ()


def test_a_peer_that_is_named_is_none_of_a_range() -> None:
    named = Peer("named", Address.parse("10.9.0.1"), Asn(65007), RACK_A)
    found = {Address.parse("10.9.0.1"): Asn(65001)}
    config = speaker_config(replace(INTENT, peers=(of_range(), named), mesh=False), "a1", found)
    assert config is not None
    assert [(session.name, session.peer_asn) for session in config.sessions] == [("named", 65007)]
