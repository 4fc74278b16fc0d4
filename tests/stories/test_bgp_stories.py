"""Plays about BGP: hostile peers, reflectors, draining, the time of announcements."""

from __future__ import annotations

from dataclasses import replace

from bgpctl.core.agent.events import (
    Configure,
    DrainRequested,
    IntentLoaded,
    Observe,
    RefreshRequested,
    Speak,
    WakeAt,
    Woken,
)
from bgpctl.core.agent.state import Phase
from bgpctl.core.bgp.adj_rib_out import EOR_DEFERRAL_S
from bgpctl.core.bgp.import_policy import GRACEFUL_SHUTDOWN
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
    SpeakerDetached,
    Update,
    Withdraw,
)
from bgpctl.core.cluster.configuration import Filter, FilterRule, Peer
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import RejectCode
from bgpctl.core.net.addresses import Address, Asn, Prefix
from tests.cluster import allocated, path, prefixes
from tests.kernel_text import assert_same
from tests.stories.mesh import (
    A2,
    B1,
    B2,
    BLOCKS,
    CONFIGURATION,
    EDGE,
    INTENT,
    MEMBERS,
    NEXT_HOP,
    NEXT_HOPS,
    OURS,
    OUTSIDE,
    OWN,
    OWN_ROUTE,
    READVERTISED,
    READY,
    ROUTE,
    ROUTES,
    TO_MEMBERS,
    TOR,
    TUNNEL,
    at_the_edge,
    converged,
    greeting,
    reflected_from,
    session_up,
    sessions_with,
)
from tests.stories.play import Play

CLUSTER_ID = Address.parse("1.1.1.1")
TOR2 = Address.parse("10.0.0.253")


def test_a_hostile_router_changes_nothing_and_every_path_of_it_has_its_reason() -> None:
    play = at_the_edge()
    before = play.kernel
    evil = ["0.0.0.0/0", "0.0.0.0/1", "10.244.1.0/26", "10.244.2.0/26", "10.244.2.9/32", "10.0.0.0/24", "10.1.0.4/32"]
    play.give(Update(TOR, tuple(path(prefix, TOR, 65001) for prefix in evil))).expect(Observe())
    play.give(Update(TOR, (replace(path("10.244.9.0/26", TOR, 65001), next_hop=None),)))
    play.settle()
    assert_same(play.kernel, before)
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


def test_a_table_over_the_prefix_limit_is_rejected_as_a_whole_and_accepted_again_once_it_fits() -> None:
    play = at_the_edge()
    before = play.kernel
    limit = play.state.intent.policy.limit if play.state.intent.policy else 0
    flood = tuple(path(Prefix(4, (192 << 24) + number, 32), TOR, 65001) for number in range(limit + 1))
    play.give(Update(TOR, flood)).expect(Observe())
    play.settle()
    assert_same(play.kernel, before)
    assert not play.state.bgp.adj_rib_in[TOR].paths
    play.now_s += 60
    play.give(Woken()).expect(Observe())
    play.settle(WakeAt(play.in_s(30)), Speak((AskRefresh(TOR, 4),)))
    play.give(Update(TOR, flood[:3]), EndOfRib(TOR, 4)).expect(Observe())
    play.settle()
    assert len(play.state.bgp.adj_rib_in[TOR].usable) == 3
    assert {item.rejection.reason for item in play.state.bgp.loc_rib.rejected} == {RejectCode.OUTSIDE_POOLS}


def test_an_accepted_route_outside_the_pools_has_no_tunnel() -> None:
    wanted = Prefix.parse("192.0.2.0/24")
    asked = Filter("asked", import4=(FilterRule(accept=True, cidr=wanted),))
    tor = replace(EDGE.peers[0], filters=("asked",))
    play = at_the_edge(replace(EDGE, peers=(tor,), filters=(asked,)))
    play.give(Update(TOR, (path(wanted, TOR, 65001), path("198.51.100.0/24", TOR, 65001)))).expect(Observe())
    play.settle(
        "+ nexthop id 0x42cf1863 via 10.0.0.254 dev eth0 onlink proto 179",
        "+ route 192.0.2.0/24 nhid 0x42cf1863 proto 179 metric 1024 table 254",
    )
    (route,) = [route for route in play.kernel.routes if route.prefix == wanted]
    (hop,) = [hop for hop in play.kernel.next_hops if hop.id == route.next_hop]
    assert (hop.link, hop.gateway) == ("eth0", TOR)
    assert "198.51.100.0/24" not in play.unicast()


def test_a_path_whose_next_hop_becomes_unreachable_is_replaced_by_one_that_resolves() -> None:
    asked = Filter("asked", import4=(FilterRule(accept=True),))
    tor = replace(EDGE.peers[0], filters=("asked",))
    second = Peer("tor2", TOR2, Asn(65002), ("a1",), filters=("asked",))
    play = Play()
    play.give(IntentLoaded(replace(EDGE, peers=(tor, second), filters=(asked,))), SpeakerAttached(1, ())).expect(
        Configure(sessions_with(A2, TOR2, TOR, B1, B2)), Observe()
    )
    far, wanted = Address.parse("203.0.113.1"), Prefix.parse("192.0.2.0/24")
    session_up(play, TOR2, path(wanted, far, 65002), asn=65002, then=[Speak((Announce(OWN, TOR2, OUTSIDE),))])
    session_up(play, TOR, path(wanted, TOR, 65001, 65009), asn=65001, then=[greeting(TOR, OUTSIDE)])
    play.settle(
        *TUNNEL,
        "+ nexthop id 0x42e035c4 via 10.0.0.254 dev eth0 onlink proto 179",
        f"+ {OWN_ROUTE}",
        "+ route 192.0.2.0/24 nhid 0x42e035c4 proto 179 metric 1024 table 254",
        Speak((SendEndOfRib(TOR2, 4),)),
    )
    assert play.state.bgp.loc_rib.best[wanted].best.path.next_hop == far
    default = next(route for route in play.kernel.routes if route.prefix.length == 0)
    play.kernel = play.kernel.drop((default,))
    play.settle(
        "+ nexthop id 0x42cf1863 via 10.0.0.254 dev eth0 onlink proto 179",
        "+ route 192.0.2.0/24 nhid 0x42cf1863 proto 179 metric 1024 table 254",
    )
    assert play.state.bgp.loc_rib.best[wanted].best.path.next_hop == TOR


def test_an_external_router_gets_the_blocks_of_all_nodes_and_then_only_changes() -> None:
    play = at_the_edge()
    assert {str(prefix) for prefix in play.state.bgp.adj_rib_out.sent[TOR]} == {
        "10.244.1.0/26",
        "10.244.2.0/26",
        "10.244.3.0/26",
        "10.244.4.0/26",
    }
    play.give(Update(B1, withdrawn=(Prefix.parse("10.244.3.0/26"),))).expect(Observe())
    play.settle(f"- {ROUTE[B1]}", f"- {NEXT_HOP[B1]}", Speak((Withdraw(Prefix.parse("10.244.3.0/26"), TOR),)))
    play.settle()


def test_a_peer_that_is_down_gets_no_update_until_it_is_back() -> None:
    play = at_the_edge(allocated(EDGE, "b2", blocks=prefixes("10.244.4.0/26", "10.244.8.0/26")))
    play.give(SessionDown(TOR, "closing connection", notified=False)).expect(Observe())
    play.give(Update(B1, withdrawn=(Prefix.parse("10.244.3.0/26"),)))
    play.give(Update(B2, (path("10.244.8.0/26", B2),)))
    play.settle(
        "+ route 10.244.8.0/26 nhid 0x422940f1 proto 179 metric 1024 table 254",
        f"- {ROUTE[B1]}",
        Speak((Withdraw(Prefix.parse("10.244.3.0/26"), TOR),)),
    )
    play.give(SessionUp(TOR)).expect(
        Speak(
            (
                Announce(OWN, TOR, OUTSIDE),
                Announce(Prefix.parse("10.244.2.0/26"), TOR, OUTSIDE),
                Announce(Prefix.parse("10.244.4.0/26"), TOR, OUTSIDE),
                Announce(Prefix.parse("10.244.8.0/26"), TOR, OUTSIDE),
                SendEndOfRib(TOR, 4),
            )
        ),
        Observe(),
    )


def reflecting() -> Intent:
    """a1 reflects for a2, b1 and b2; no mesh."""
    nodes = tuple(replace(n, cluster_id=CLUSTER_ID) if n.name == "a1" else n for n in INTENT.nodes)
    return replace(
        INTENT, mesh=False, nodes=nodes, peers=(Peer("clients", None, None, ("a1",), remotes=("a2", "b1", "b2")),)
    )


def test_a_reflector_reflects_each_clients_routes_and_withdraws_with_them() -> None:
    play = Play()
    play.give(IntentLoaded(reflecting()), SpeakerAttached(1, ())).expect(
        Configure(sessions_with(A2, B1, B2)), Observe()
    )
    for peer, block in BLOCKS.items():
        session_up(
            play, peer, path(block, peer), then=[Speak((Announce(OWN, peer, OURS),))] if peer != B2 else [greeting(B2)]
        )
    play.settle(
        *TUNNEL,
        *NEXT_HOPS,
        *ROUTES,
        Speak(
            (
                Announce(Prefix.parse("10.244.3.0/26"), A2, reflected_from(B1, CLUSTER_ID)),
                Announce(Prefix.parse("10.244.4.0/26"), A2, reflected_from(B2, CLUSTER_ID)),
                Announce(Prefix.parse("10.244.2.0/26"), B1, reflected_from(A2, CLUSTER_ID)),
                Announce(Prefix.parse("10.244.4.0/26"), B1, reflected_from(B2, CLUSTER_ID)),
                Announce(Prefix.parse("10.244.2.0/26"), B2, reflected_from(A2, CLUSTER_ID)),
                Announce(Prefix.parse("10.244.3.0/26"), B2, reflected_from(B1, CLUSTER_ID)),
                SendEndOfRib(A2, 4),
                SendEndOfRib(B1, 4),
            )
        ),
        READVERTISED,
    )
    of_b1 = Prefix.parse("10.244.3.0/26")
    assert play.state.bgp.adj_rib_out.sent[A2][of_b1] == reflected_from(B1, CLUSTER_ID)
    assert of_b1 not in play.state.bgp.adj_rib_out.sent[B1]
    play.give(SessionDown(B1, "notification received (6,2)", notified=True)).expect(Observe())
    play.settle(
        f"- {ROUTE[B1]}",
        f"- {NEXT_HOP[B1]}",
        Speak((Withdraw(Prefix.parse("10.244.3.0/26"), A2), Withdraw(Prefix.parse("10.244.3.0/26"), B2))),
    )


def test_a_restarted_reflector_sends_end_of_rib_only_after_that_of_all_clients() -> None:
    play = Play()
    play.give(IntentLoaded(reflecting()), SpeakerAttached(1, ())).expect(
        Configure(sessions_with(A2, B1, B2)), Observe()
    )
    play.give(SessionUp(A2), SessionUp(B1), EndOfRib(A2, 4)).expect(
        Speak((Announce(OWN, A2, OURS),)), Speak((Announce(OWN, B1, OURS),))
    )
    play.settle(
        *TUNNEL, f"+ {OWN_ROUTE}", WakeAt(play.in_s(20)), Speak((Announce(OWN, A2, READY), Announce(OWN, B1, READY)))
    )
    play.give(SessionUp(B2), EndOfRib(B2, 4), Update(B1, (path("10.244.3.0/26", B1),)), EndOfRib(B1, 4)).expect(
        Speak((Announce(OWN, B2, READY),)), Observe()
    )
    play.settle(
        f"+ {NEXT_HOP[B1]}",
        f"+ {ROUTE[B1]}",
        Speak(
            (
                Announce(Prefix.parse("10.244.3.0/26"), A2, reflected_from(B1, CLUSTER_ID)),
                Announce(Prefix.parse("10.244.3.0/26"), B2, reflected_from(B1, CLUSTER_ID)),
                SendEndOfRib(A2, 4),
                SendEndOfRib(B1, 4),
                SendEndOfRib(B2, 4),
            )
        ),
    )


def test_a_client_that_never_connects_delays_end_of_rib_only_for_a_while() -> None:
    play = Play()
    play.give(IntentLoaded(reflecting()), SpeakerAttached(1, ())).expect(
        Configure(sessions_with(A2, B1, B2)), Observe()
    )
    play.give(SessionUp(A2), EndOfRib(A2, 4)).expect(Speak((Announce(OWN, A2, OURS),)))
    play.settle(*TUNNEL, f"+ {OWN_ROUTE}", WakeAt(play.in_s(20)), Speak((Announce(OWN, A2, READY),)))
    play.now_s += EOR_DEFERRAL_S
    play.give(Woken()).expect(Observe())
    play.settle(Speak((SendEndOfRib(A2, 4),)))


def test_a_node_without_other_sources_sends_end_of_rib_at_once() -> None:
    play = Play()
    play.give(IntentLoaded(INTENT), SpeakerAttached(1, ())).expect(CONFIGURATION, Observe())
    play.give(SessionUp(A2)).expect(Speak((Announce(OWN, A2, OURS), SendEndOfRib(A2, 4))))


def test_after_the_speaker_was_away_everything_is_announced_again() -> None:
    play = at_the_edge()
    play.give(SpeakerDetached("end of file")).expect(Observe())
    play.give(SpeakerAttached(2, ((A2, 10.0),))).expect(Speak((AskRefresh(A2, 4), Announce(OWN, A2, READY))))


def test_draining_advertises_gshut_to_every_peer_and_coming_back_removes_it() -> None:
    play = converged()
    play.give(DrainRequested(on=True)).expect(Observe())
    gshut = replace(READY, local_pref=0, communities=(GRACEFUL_SHUTDOWN,))
    play.settle(Speak(tuple(Announce(OWN, peer, gshut) for peer in MEMBERS)))
    play.give(DrainRequested(on=False)).expect(Observe())
    play.settle(READVERTISED)


def test_a_refresh_asked_for_keeps_every_route_until_the_table_is_through() -> None:
    play = converged()
    play.give(RefreshRequested(B1)).expect(Speak((AskRefresh(B1, 4),)), Observe())
    play.settle(WakeAt(play.in_s(30)))
    assert "10.244.3.0/26" in play.unicast()
    assert play.state.bgp.adj_rib_in[B1].state is TableState.AWAITING_END_OF_RIB
    play.give(EndOfRib(B1, 4)).expect(Observe())
    play.settle(f"- {ROUTE[B1]}", f"- {NEXT_HOP[B1]}")
    assert "10.244.3.0/26" not in play.unicast()


def test_when_every_peer_is_gone_all_routes_stay_and_edits_are_still_carried_out() -> None:
    play = converged()
    play.give(*(SessionDown(peer, "closing connection", notified=False) for peer in MEMBERS)).expect(Observe())
    play.now_s += 121
    play.give(Woken())
    play.settle()
    assert len(play.unicast()) == 3
    assert play.state.phase is Phase.DEGRADED
    play.give(IntentLoaded(allocated(INTENT, "a1", blocks=()))).expect(Observe())
    play.settle(
        "- address 10.244.1.0/32 dev tunl0",
        f"+ inner filter dev tunl0 to  from 10.244.0.0/16 {TO_MEMBERS}",
        f"- {OWN_ROUTE}",
        Speak(tuple(Withdraw(OWN, peer) for peer in MEMBERS)),
    )
    assert OWN not in {route.prefix for route in play.kernel.routes}


def test_a_peer_that_restarts_again_and_again_keeps_its_routes_each_time() -> None:
    play = converged()
    for _ in range(5):
        play.give(SessionDown(B1, "closing connection", notified=False)).expect(Observe())
        play.now_s += 100
        play.give(Woken(), SessionOpened(B1, Asn(64512), B1, 30, 120, forwarding_preserved=True), SessionUp(B1)).expect(
            greeting(B1, READY)
        )
        play.settle(WakeAt(play.in_s(30)))
        assert "10.244.3.0/26" in play.unicast()
    play.give(Update(B1, (path("10.244.3.0/26", B1),)), EndOfRib(B1, 4)).expect(Observe())
    play.settle()
    assert play.state.phase is Phase.CONVERGED
