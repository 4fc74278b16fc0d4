"""Plays about BGP: hostile peers, reflectors, draining, what is told when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bgpctl.core.agent.events import (
    Command,
    DrainRequested,
    IntentLoaded,
    Observed,
    RefreshRequested,
    Speak,
    Woken,
)
from bgpctl.core.agent.state import Phase
from bgpctl.core.bgp.adj_rib_out import EOR_DEFERRAL_S
from bgpctl.core.bgp.import_policy import GRACEFUL_SHUTDOWN
from bgpctl.core.bgp.path import (
    Attributes,
    Path,
)
from bgpctl.core.bgp.peer_table import TableState
from bgpctl.core.bgp.speaker import (
    Announce,
    AskRefresh,
    EndOfRib,
    SendEndOfRib,
    SessionDown,
    SessionOpened,
    SessionUp,
    SpeakerAttached,
    SpeakerCommand,
    SpeakerDetached,
    Update,
    Withdraw,
)
from bgpctl.core.cluster.configuration import Filter, FilterRule, Peer
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import RejectCode
from bgpctl.core.net.addresses import Address, Asn, Prefix
from tests.cluster import allocated, path, two_racks
from tests.stories.test_agent_stories import A2, B1, B2, OURS, OWN, READY, Play, converged, hears

TOR = Address.parse("10.0.0.254")
MESH = two_racks(ipip=Mode.CROSS_SUBNET)
EDGE = replace(MESH, peers=(Peer("tor", TOR, Asn(65001), ("a1",)),))
CLUSTER_ID = Address.parse("1.1.1.1")


def speech(said: Iterable[Command]) -> list[SpeakerCommand]:
    return [command for item in said if isinstance(item, Speak) for command in item.commands]


def greets(play: Play, peer: Address, asn: int, *paths: Path) -> None:
    play.tell(
        SessionOpened(peer, Asn(asn), peer, 30, 120, forwarding_preserved=True),
        SessionUp(peer),
        Update(peer, tuple(paths)),
        EndOfRib(peer, 4),
    )


def at_the_edge(intent: Intent = EDGE) -> Play:
    """a1 in the mesh, everyone heard, and a session with a router in AS 65001."""
    play = Play()
    play.tell(IntentLoaded(intent), SpeakerAttached(1, ()))
    for pair in ((A2, "10.244.2.0/26"), (B1, "10.244.3.0/26"), (B2, "10.244.4.0/26")):
        hears(play, pair)
    greets(play, TOR, 65001)
    play.rest()
    assert play.state.phase is Phase.CONVERGED
    return play


def test_a_hostile_router_changes_nothing_and_every_path_of_it_has_its_reason() -> None:
    play = at_the_edge()
    before = play.kernel
    evil = ["0.0.0.0/0", "0.0.0.0/1", "10.244.1.0/26", "10.244.2.0/26", "10.244.2.9/32", "10.0.0.0/24", "10.1.0.4/32"]
    play.tell(Update(TOR, tuple(path(prefix, TOR, 65001) for prefix in evil)))
    play.tell(Update(TOR, (replace(path("10.244.9.0/26", TOR, 65001), next_hop=None),)))
    play.rest()
    assert play.kernel == before
    reasons = {str(item.prefix): item.rejection.reason for item in play.state.bgp.loc_rib.rejected}
    assert reasons == {
        "0.0.0.0/0": RejectCode.DEFAULT_ROUTE,
        "0.0.0.0/1": RejectCode.OWN_BLOCK,
        "10.244.1.0/26": RejectCode.OWN_BLOCK,
        "10.244.2.0/26": RejectCode.OTHERS_BLOCK,
        "10.244.2.9/32": RejectCode.OTHERS_BLOCK,
        "10.0.0.0/24": RejectCode.COVERS_NODE,
        "10.1.0.4/32": RejectCode.COVERS_NODE,
        "10.244.9.0/26": RejectCode.NO_NEXT_HOP,
    }


def test_a_flood_is_shut_out_as_a_whole_and_let_in_again_once_it_fits() -> None:
    play = at_the_edge()
    before = play.kernel
    limit = play.state.intent.policy.limit if play.state.intent.policy else 0
    flood = tuple(path(Prefix(4, (192 << 24) + number, 32), TOR, 65001) for number in range(limit + 1))
    play.tell(Update(TOR, flood))
    play.rest()
    assert play.kernel == before
    assert not play.state.bgp.adj_rib_in[TOR].paths
    play.now_s += 60
    play.tell(Woken())
    assert AskRefresh(TOR, 4) in speech(play.tell(Observed(play.kernel)))
    play.tell(Update(TOR, flood[:3]), EndOfRib(TOR, 4))
    play.rest()
    assert len(play.state.bgp.adj_rib_in[TOR].usable) == 3
    assert {item.rejection.reason for item in play.state.bgp.loc_rib.rejected} == {RejectCode.OUTSIDE_POOLS}


def test_what_a_filter_lets_in_from_outside_the_pools_is_routed_without_a_tunnel() -> None:
    wanted = Prefix.parse("192.0.2.0/24")
    asked = Filter("asked", import4=(FilterRule(accept=True, cidr=wanted),))
    tor = replace(EDGE.peers[0], filters=("asked",))
    play = at_the_edge(replace(EDGE, peers=(tor,), filters=(asked,)))
    play.tell(Update(TOR, (path(wanted, TOR, 65001), path("198.51.100.0/24", TOR, 65001))))
    play.rest()
    (route,) = [route for route in play.kernel.routes if route.prefix == wanted]
    (hop,) = [hop for hop in play.kernel.next_hops if hop.id == route.next_hop]
    assert (hop.link, hop.gateway) == ("eth0", TOR)
    assert "198.51.100.0/24" not in play.unicast()


def test_a_path_whose_next_hop_becomes_unreachable_gives_way_to_one_that_resolves() -> None:
    asked = Filter("asked", import4=(FilterRule(accept=True),))
    tor = replace(EDGE.peers[0], filters=("asked",))
    second = Peer("tor2", Address.parse("10.0.0.253"), Asn(65002), ("a1",), filters=("asked",))
    play = Play()
    play.tell(IntentLoaded(replace(EDGE, peers=(tor, second), filters=(asked,))), SpeakerAttached(1, ()))
    far, wanted = Address.parse("203.0.113.1"), Prefix.parse("192.0.2.0/24")
    greets(play, Address.parse("10.0.0.253"), 65002, path(wanted, far, 65002))
    greets(play, TOR, 65001, path(wanted, TOR, 65001, 65009))
    play.rest()
    assert play.state.bgp.loc_rib.best[wanted].best.path.next_hop == far
    default = next(route for route in play.kernel.routes if route.prefix.length == 0)
    play.kernel = play.kernel.drop((default,))
    play.rest()
    assert play.state.bgp.loc_rib.best[wanted].best.path.next_hop == TOR


def test_a_router_outside_is_told_the_blocks_of_all_nodes_and_only_what_changed() -> None:
    play = at_the_edge()
    assert {str(prefix) for prefix in play.state.bgp.adj_rib_out.sent[TOR]} == {
        "10.244.1.0/26",
        "10.244.2.0/26",
        "10.244.3.0/26",
        "10.244.4.0/26",
    }
    play.tell(Update(B1, withdrawn=(Prefix.parse("10.244.3.0/26"),)))
    assert speech(play.tell(Observed(play.kernel))) == [Withdraw(Prefix.parse("10.244.3.0/26"), TOR)]
    assert speech(play.tell(Observed(play.kernel))) == []


def test_a_peer_that_is_away_is_told_nothing_new_until_it_is_back() -> None:
    play = at_the_edge()
    play.tell(SessionDown(TOR, "closing connection", notified=False))
    play.tell(Update(B1, withdrawn=(Prefix.parse("10.244.3.0/26"),)))
    play.tell(Update(B2, (path("10.244.8.0/26", B2),)))
    assert speech(play.tell(Observed(play.kernel))) == [Withdraw(Prefix.parse("10.244.3.0/26"), TOR)]
    said = speech(play.tell(SessionUp(TOR)))
    assert Announce(Prefix.parse("10.244.8.0/26"), TOR, Attributes()) in said
    assert Announce(OWN, TOR, Attributes()) in said


def reflecting() -> Intent:
    """a1 reflects for a2, b1 and b2; no mesh."""
    nodes = tuple(replace(n, cluster_id=CLUSTER_ID) if n.name == "a1" else n for n in MESH.nodes)
    return replace(
        MESH, mesh=False, nodes=nodes, peers=(Peer("clients", None, None, ("a1",), remotes=("a2", "b1", "b2")),)
    )


def test_a_reflector_tells_each_client_what_the_others_told_and_forgets_with_them() -> None:
    play = Play()
    play.tell(IntentLoaded(reflecting()), SpeakerAttached(1, ()))
    for pair in ((A2, "10.244.2.0/26"), (B1, "10.244.3.0/26"), (B2, "10.244.4.0/26")):
        hears(play, pair)
    play.rest()
    block = Prefix.parse("10.244.3.0/26")
    assert play.state.bgp.adj_rib_out.sent[A2][block] == Attributes(
        next_hop=B1, originator=B1, cluster_list=(CLUSTER_ID,)
    )
    assert block not in play.state.bgp.adj_rib_out.sent[B1]
    play.tell(SessionDown(B1, "notification received (6,2)", notified=True))
    assert speech(play.tell(Observed(play.kernel))) == [Withdraw(block, A2), Withdraw(block, B2)]


def test_a_restarted_reflector_ends_its_table_only_when_all_clients_have_told_theirs() -> None:
    play = Play()
    play.tell(IntentLoaded(reflecting()), SpeakerAttached(1, ()))
    said = play.tell(SessionUp(A2), SessionUp(B1), EndOfRib(A2, 4), Observed(play.kernel))
    assert not [command for command in speech(said) if isinstance(command, SendEndOfRib)]
    said = play.tell(SessionUp(B2), EndOfRib(B2, 4), Update(B1, (path("10.244.3.0/26", B1),)), EndOfRib(B1, 4))
    said += play.tell(Observed(play.kernel))
    sent = speech(said)
    assert {command for command in sent if isinstance(command, SendEndOfRib)} == {
        SendEndOfRib(A2, 4),
        SendEndOfRib(B1, 4),
        SendEndOfRib(B2, 4),
    }
    told = next(c for c in sent if isinstance(c, Announce) and c.peer == A2 and str(c.prefix) == "10.244.3.0/26")
    assert sent.index(told) < sent.index(SendEndOfRib(A2, 4))


def test_a_client_that_never_comes_holds_nobodys_end_of_table_up_for_long() -> None:
    play = Play()
    play.tell(IntentLoaded(reflecting()), SpeakerAttached(1, ()))
    play.tell(SessionUp(A2), EndOfRib(A2, 4))
    play.rest()
    play.now_s += EOR_DEFERRAL_S
    play.tell(Woken())
    assert SendEndOfRib(A2, 4) in speech(play.tell(Observed(play.kernel)))


def test_a_node_told_of_no_one_else_ends_its_table_at_once() -> None:
    play = Play()
    play.tell(IntentLoaded(MESH), SpeakerAttached(1, ()))
    assert speech(play.tell(SessionUp(A2))) == [Announce(OWN, A2, OURS), SendEndOfRib(A2, 4)]


def test_after_the_speaker_was_away_everything_is_told_again() -> None:
    play = at_the_edge()
    play.tell(SpeakerDetached("end of file"))
    said = speech(play.tell(SpeakerAttached(2, ((A2, 10.0),))))
    assert said[:2] == [AskRefresh(A2, 4), Announce(OWN, A2, READY)]


def test_draining_says_goodbye_to_every_peer_and_coming_back_takes_it_back() -> None:
    play = converged()
    play.tell(DrainRequested(on=True))
    goodbye = replace(READY, local_pref=0, communities=(GRACEFUL_SHUTDOWN,))
    assert speech(play.tell(Observed(play.kernel))) == [Announce(OWN, peer, goodbye) for peer in (A2, B1, B2)]
    play.tell(DrainRequested(on=False))
    assert speech(play.tell(Observed(play.kernel))) == [Announce(OWN, peer, READY) for peer in (A2, B1, B2)]


def test_a_refresh_asked_for_keeps_every_route_until_the_table_is_through() -> None:
    play = converged()
    assert speech(play.tell(RefreshRequested(B1))) == [AskRefresh(B1, 4)]
    play.rest()
    assert "10.244.3.0/26" in play.unicast()
    assert play.state.bgp.adj_rib_in[B1].state is TableState.AWAITING_END_OF_RIB
    play.tell(EndOfRib(B1, 4))
    play.rest()
    assert "10.244.3.0/26" not in play.unicast()


def test_when_every_peer_is_gone_all_routes_stay_and_edits_are_still_carried_out() -> None:
    play = converged()
    for peer in (A2, B1, B2):
        play.tell(SessionDown(peer, "closing connection", notified=False))
    play.now_s += 121
    play.tell(Woken())
    play.rest()
    assert len(play.unicast()) == 3
    assert play.state.phase is Phase.DEGRADED
    play.tell(IntentLoaded(allocated(MESH, "a1", blocks=())))
    play.rest()
    assert OWN not in {route.prefix for route in play.kernel.routes}


def test_a_peer_that_restarts_again_and_again_keeps_its_routes_each_time() -> None:
    play = converged()
    for _ in range(5):
        play.tell(SessionDown(B1, "closing connection", notified=False))
        play.now_s += 100
        play.tell(Woken(), SessionOpened(B1, Asn(64512), B1, 30, 120, forwarding_preserved=True), SessionUp(B1))
        play.rest()
        assert "10.244.3.0/26" in play.unicast()
    play.tell(Update(B1, (path("10.244.3.0/26", B1),)), EndOfRib(B1, 4))
    play.rest()
    assert play.state.phase is Phase.CONVERGED
