"""Plays: from a mesh to reflectors, and the operator's commands for one peer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bgpctl.core.agent.events import (
    Configure,
    IntentLoaded,
    Observe,
    PeerRequested,
    Probed,
    SendProbes,
    Speak,
    WakeAt,
    Woken,
)
from bgpctl.core.agent.state import State
from bgpctl.core.bgp.session_handover import HANDOVER_MAX_S, SETTLE_S
from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.bgp.speaker import (
    Announce,
    AskRefresh,
    EndOfRib,
    SendEndOfRib,
    SessionDown,
    SessionUp,
    SpeakerAttached,
    Update,
    Withdraw,
)
from bgpctl.core.cluster.configuration import Peer
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.migration.probes import ProbeReply
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from tests.cluster import path, two_racks
from tests.kernel_text import assert_same
from tests.stories.mesh import (
    A2,
    B1,
    B2,
    BLOCKS,
    CONFIGURATION,
    INSIDE,
    NEXT_HOP,
    NEXT_HOPS,
    OURS,
    OWN,
    OWN_ROUTE,
    READVERTISED,
    READY,
    ROUTE,
    ROUTES,
    TUNNEL,
    converged,
    greeting,
    reflected_from,
    sessions_with,
)
from tests.stories.play import Expected, Play, placeholder

INTENT = two_racks(ipip=Mode.CROSS_SUBNET)
CLUSTER = Address.parse("10.255.0.1")
NODES = ("a1", "a2", "b1", "b2")
ORIGINS = {block: peer for peer, block in BLOCKS.items()}


def reflected(intent: Intent, reflector: str = "a2") -> Intent:
    """One node becomes the reflector of all others."""
    nodes = tuple(replace(node, cluster_id=CLUSTER) if node.name == reflector else node for node in intent.nodes)
    peer = Peer("reflectors", None, None, NODES, remotes=(reflector,), peer_selector="reflector == 'yes'")
    return replace(intent, mesh=False, nodes=nodes, peers=(peer,))


def peers(state: State) -> set[Address]:
    assert state.bgp.config is not None
    return {session.peer for session in state.bgp.config.sessions}


def reflects(play: Play, *blocks: str, then: Sequence[Expected] = ()) -> None:
    """The reflector announces its own block and these of others."""
    announced = (BLOCKS[A2], *blocks)
    play.give(Update(A2, tuple(path(block, ORIGINS[block]) for block in announced)), EndOfRib(A2, 4)).expect(Observe())
    play.settle(*then)


def later(play: Play, seconds: float, then: Sequence[Expected] = ()) -> None:
    """The agent wakes after this time."""
    play.now_s += seconds
    play.give(Woken()).expect(Observe())
    play.settle(*then)


def test_mesh_sessions_stay_until_the_reflector_announces_their_routes() -> None:
    play = converged()
    play.give(IntentLoaded(reflected(INTENT)), SpeakerAttached(1, ((A2, 60.0), (B1, 60.0), (B2, 60.0)))).expect(
        Configure(sessions_with(A2, B1, B2)),
        Observe(),
        Speak(
            (
                AskRefresh(A2, 4),
                AskRefresh(B1, 4),
                AskRefresh(B2, 4),
                Announce(OWN, A2, READY),
                Announce(OWN, B1, READY),
                Announce(OWN, B2, READY),
                SendEndOfRib(A2, 4),
                SendEndOfRib(B1, 4),
                SendEndOfRib(B2, 4),
            )
        ),
    )
    play.settle(WakeAt(play.in_s(30)))
    assert peers(play.state) == {A2, B1, B2}
    reflects(play, "10.244.3.0/26", then=[WakeAt(play.in_s(30))])
    later(play, 2 * SETTLE_S, then=[WakeAt(play.in_s(9.99))])
    assert peers(play.state) == {A2, B1, B2}
    reflects(play, "10.244.4.0/26", then=[WakeAt(play.in_s(9.99))])
    later(play, SETTLE_S / 2, then=[WakeAt(play.in_s(4.99))])
    assert peers(play.state) == {A2, B1, B2}
    before = play.kernel
    later(play, SETTLE_S, then=[Configure(sessions_with(A2))])
    assert peers(play.state) == {A2}
    assert_same(play.kernel, before)
    assert play.unicast() == set(ORIGINS)


def test_the_session_with_a_nodes_former_address_stays_until_the_new_one_announces_the_same() -> None:
    play, new = converged(), Address.parse("10.1.0.104")
    nodes = tuple(
        replace(node, address=InterfaceAddress(new, 24)) if node.name == "b2" else node for node in INTENT.nodes
    )
    play.give(IntentLoaded(replace(INTENT, nodes=nodes))).expect(Configure(sessions_with(A2, B1, B2, new)), Observe())
    play.settle(
        SendProbes(placeholder()),
        f"+ inner filter dev tunl0 {INSIDE} members 10.0.0.2,10.1.0.3,10.1.0.4,10.1.0.104 own 10.0.0.1",
        "+ decapsulation dev tunl0 underlay eth0 local 10.0.0.1 sources 10.0.0.2,10.1.0.3,10.1.0.4,10.1.0.104",
        Speak((Announce(OWN, B2, OURS),)),
    )
    assert peers(play.state) == {A2, B1, B2, new}
    play.give(SessionDown(B2, "closing connection", notified=False)).expect(Observe())
    play.settle()
    later(play, 2 * SETTLE_S)
    assert peers(play.state) == {A2, B1, B2, new}
    assert play.unicast() == set(ORIGINS)
    play.give(SessionUp(new), Update(new, (path("10.244.4.0/26", new),)), EndOfRib(new, 4)).expect(
        Speak((Announce(OWN, new, READY),)), Observe()
    )
    play.settle("+ nexthop id 0x424b3c39 via 10.1.0.104 dev tunl0 onlink proto 179", WakeAt(play.in_s(10)))
    asked = placeholder()
    play.give(Probed(())).expect(Observe())
    play.settle(WakeAt(play.in_s(0.5)))
    later(play, 0.5, then=[SendProbes(asked), WakeAt(play.in_s(9.49))])
    assert {probe.remote for probe in asked()} >= {B2, new}
    play.give(Probed(tuple(ProbeReply(probe, "eth0") for probe in asked() if probe.remote == new))).expect(Observe())
    play.settle("+ route 10.244.4.0/26 nhid 0x424b3c39 proto 179 metric 1024 table 254", WakeAt(play.in_s(0.5)))
    later(
        play,
        2 * SETTLE_S,
        then=[
            SendProbes(placeholder()),
            f"- {NEXT_HOP[B2]}",
            Speak((SendEndOfRib(new, 4),)),
            Configure(sessions_with(A2, B1, new)),
        ],
    )
    assert peers(play.state) == {A2, B1, new}
    assert play.unicast() == set(ORIGINS)


def test_the_session_with_a_reflectors_former_address_stays_too() -> None:
    play, new, wanted = Play(), Address.parse("10.0.0.102"), reflected(INTENT)
    play.give(IntentLoaded(wanted), SpeakerAttached(1, ())).expect(Configure(sessions_with(A2)), Observe())
    nodes = tuple(
        replace(node, address=InterfaceAddress(new, 24)) if node.name == "a2" else node for node in wanted.nodes
    )
    play.give(IntentLoaded(replace(wanted, nodes=nodes))).expect(Configure(sessions_with(A2, new)))
    assert peers(play.state) == {A2, new}


def test_a_prefix_that_the_reflector_withdraws_is_waited_for_anew() -> None:
    play = converged()
    play.give(IntentLoaded(reflected(INTENT)), SpeakerAttached(1, ((A2, 60.0), (B1, 60.0), (B2, 60.0)))).expect(
        Configure(sessions_with(A2, B1, B2)),
        Observe(),
        Speak(
            (
                AskRefresh(A2, 4),
                AskRefresh(B1, 4),
                AskRefresh(B2, 4),
                Announce(OWN, A2, READY),
                Announce(OWN, B1, READY),
                Announce(OWN, B2, READY),
                SendEndOfRib(A2, 4),
                SendEndOfRib(B1, 4),
                SendEndOfRib(B2, 4),
            )
        ),
    )
    play.settle(WakeAt(play.in_s(30)))
    reflects(play, "10.244.3.0/26", "10.244.4.0/26", then=[WakeAt(play.in_s(10))])
    later(play, SETTLE_S / 2, then=[WakeAt(play.in_s(5))])
    play.give(Update(A2, withdrawn=(path("10.244.4.0/26", B2).prefix,))).expect(Observe())
    play.settle(WakeAt(play.in_s(24.99)))
    later(play, SETTLE_S, then=[WakeAt(play.in_s(14.99))])
    assert peers(play.state) == {A2, B1, B2}


def test_a_prefix_that_no_reflector_announces_is_given_up_in_the_end() -> None:
    play = converged()
    play.give(IntentLoaded(reflected(INTENT))).expect(Configure(sessions_with(A2, B1, B2)), Observe())
    play.settle()
    later(
        play,
        HANDOVER_MAX_S + 1,
        then=[
            f"- {ROUTE[B1]}",
            f"- {ROUTE[B2]}",
            f"- {NEXT_HOP[B2]}",
            f"- {NEXT_HOP[B1]}",
            Configure(sessions_with(A2)),
        ],
    )
    assert peers(play.state) == {A2}


def advertised_to_b1(play: Play) -> set[str]:
    """The routes that this node announces to b1 as a former reflector."""
    return {str(prefix) for prefix in play.state.bgp.adj_rib_out.sent[B1]}


def test_a_former_reflector_reflects_on_until_its_clients_have_had_time_for_sessions_of_their_own() -> None:
    play = Play()
    play.give(IntentLoaded(reflected(INTENT, "a1")), SpeakerAttached(1, ())).expect(
        Configure(sessions_with(A2, B1, B2)), Observe()
    )
    for peer, block in BLOCKS.items():
        reply = greeting(peer) if peer == B2 else Speak((Announce(OWN, peer, OURS),))
        play.give(SessionUp(peer), Update(peer, (path(block, peer),)), EndOfRib(peer, 4)).expect(reply)
    play.settle(
        *TUNNEL,
        *NEXT_HOPS,
        *ROUTES,
        Speak(
            (
                Announce(Prefix.parse("10.244.3.0/26"), A2, reflected_from(B1, CLUSTER)),
                Announce(Prefix.parse("10.244.4.0/26"), A2, reflected_from(B2, CLUSTER)),
                Announce(Prefix.parse("10.244.2.0/26"), B1, reflected_from(A2, CLUSTER)),
                Announce(Prefix.parse("10.244.4.0/26"), B1, reflected_from(B2, CLUSTER)),
                Announce(Prefix.parse("10.244.2.0/26"), B2, reflected_from(A2, CLUSTER)),
                Announce(Prefix.parse("10.244.3.0/26"), B2, reflected_from(B1, CLUSTER)),
                SendEndOfRib(A2, 4),
                SendEndOfRib(B1, 4),
            )
        ),
        READVERTISED,
    )
    reflects = advertised_to_b1(play)
    assert "10.244.4.0/26" in reflects
    play.give(IntentLoaded(INTENT)).expect(Configure(sessions_with(A2, B1, B2)), Observe())
    play.settle()
    assert peers(play.state) == {A2, B1, B2}
    later(play, HANDOVER_MAX_S - 1, then=[WakeAt(play.in_s(1))])
    assert advertised_to_b1(play) == reflects
    later(
        play,
        2,
        then=[
            Speak(
                (
                    Withdraw(Prefix.parse("10.244.3.0/26"), A2),
                    Withdraw(Prefix.parse("10.244.4.0/26"), A2),
                    Withdraw(Prefix.parse("10.244.2.0/26"), B1),
                    Withdraw(Prefix.parse("10.244.4.0/26"), B1),
                    Withdraw(Prefix.parse("10.244.2.0/26"), B2),
                    Withdraw(Prefix.parse("10.244.3.0/26"), B2),
                )
            ),
            CONFIGURATION,
        ],
    )
    assert advertised_to_b1(play) == {"10.244.1.0/26"}


def test_a_former_reflector_accepts_its_successors_routes_under_the_same_cluster_id() -> None:
    play = Play()
    play.give(IntentLoaded(reflected(INTENT, "a1")), SpeakerAttached(1, ())).expect(
        Configure(sessions_with(A2, B1, B2)), Observe()
    )
    play.give(IntentLoaded(reflected(INTENT, "a2")))
    # The End-of-RIB does not wait for its former clients.
    play.give(SessionUp(A2)).expect(greeting(A2))
    reflected_path = replace(path("10.244.3.0/26", B1), originator=B1, cluster_list=(CLUSTER,))
    play.give(Update(A2, (reflected_path,)))
    play.settle(
        *TUNNEL,
        f"+ {NEXT_HOP[B1]}",
        f"+ {OWN_ROUTE}",
        f"+ {ROUTE[B1]}",
        WakeAt(play.in_s(10)),
        Speak((Announce(OWN, A2, READY),)),
    )
    assert "10.244.3.0/26" in play.unicast()


@pytest.mark.parametrize(
    "intent",
    [
        replace(INTENT, mesh=False),
        replace(INTENT, nodes=tuple(node for node in INTENT.nodes if node.name != "b1")),
        replace(INTENT, listen_port=1179),
    ],
    ids=["no BGP sessions at all", "a member is gone", "another port"],
)
def test_a_session_without_a_possible_successor_does_not_stay(intent: Intent) -> None:
    play = converged()
    play.give(IntentLoaded(intent)).expect(Configure(speaker_config(intent, "a1")), Observe())
    assert not play.state.bgp.handover.sessions


def test_an_edit_undone_in_between_changes_nothing() -> None:
    play = converged()
    before = play.state.bgp.config
    play.give(IntentLoaded(reflected(INTENT)), IntentLoaded(INTENT)).expect(
        Configure(sessions_with(A2, B1, B2)), Observe(), CONFIGURATION
    )
    assert play.state.bgp.config == before
    assert not play.state.bgp.handover.sessions


# The operator's commands ---------------------------------------------------------------------------------------


def test_a_peer_that_is_shut_has_no_session_until_it_is_wanted_up_again() -> None:
    play = converged()
    whole = play.state.bgp.config
    play.give(PeerRequested(B1, up=False)).expect(Configure(sessions_with(A2, B2)), Observe())
    play.settle(f"- {ROUTE[B1]}", f"- {NEXT_HOP[B1]}")
    assert peers(play.state) == {A2, B2}
    assert play.unicast() == set(ORIGINS) - {"10.244.3.0/26"}
    play.give(IntentLoaded(INTENT)).expect(Observe())
    assert peers(play.state) == {A2, B2}
    play.give(PeerRequested(B1, up=True)).expect(CONFIGURATION)
    assert play.state.bgp.config == whole


def test_a_former_session_can_be_shut_down_at_once() -> None:
    play = converged()
    play.give(IntentLoaded(reflected(INTENT)), PeerRequested(B1, up=False)).expect(
        Configure(sessions_with(A2, B1, B2)), Observe(), Configure(sessions_with(A2, B2))
    )
    assert peers(play.state) == {A2, B2}
    play.give(SessionDown(B2, "closing connection", notified=True))
    assert peers(play.state) == {A2, B2}
