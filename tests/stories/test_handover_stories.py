"""Plays: from a mesh to reflectors, and what the operator asks of one peer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgpctl.core.agent.events import Configure, IntentLoaded, PeerRequested, Speak, Woken
from bgpctl.core.agent.state import State
from bgpctl.core.bgp.session_handover import HANDOVER_MAX_S, SETTLE_S
from bgpctl.core.bgp.speaker import EndOfRib, SendEndOfRib, SessionDown, SessionUp, SpeakerAttached, Update
from bgpctl.core.cluster.configuration import Peer
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, InterfaceAddress
from tests.cluster import path, two_racks
from tests.stories.test_agent_stories import A2, B1, B2, Play, converged

INTENT = two_racks(ipip=Mode.CROSS_SUBNET)
CLUSTER = Address.parse("10.255.0.1")
EVERYBODY = ("a1", "a2", "b1", "b2")
BLOCKS = {"10.244.2.0/26", "10.244.3.0/26", "10.244.4.0/26"}


def reflected(intent: Intent, reflector: str = "a2") -> Intent:
    """One node becomes the reflector of all others."""
    nodes = tuple(replace(node, cluster_id=CLUSTER) if node.name == reflector else node for node in intent.nodes)
    peer = Peer("reflectors", None, None, EVERYBODY, remotes=(reflector,), peer_selector="reflector == 'yes'")
    return replace(intent, mesh=False, nodes=nodes, peers=(peer,))


def peers(state: State) -> set[Address]:
    assert state.bgp.config is not None
    return {session.peer for session in state.bgp.config.sessions}


ORIGINS = {"10.244.2.0/26": A2, "10.244.3.0/26": B1, "10.244.4.0/26": B2}


def reflects(play: Play, *blocks: str) -> None:
    """The reflector tells its own block and passes on these."""
    told = ("10.244.2.0/26", *blocks)
    play.tell(Update(A2, tuple(path(block, ORIGINS[block]) for block in told)), EndOfRib(A2, 4))
    play.rest()


def later(play: Play, seconds: float) -> None:
    play.now_s += seconds
    play.tell(Woken())
    play.rest()


def test_mesh_sessions_stay_until_the_reflector_tells_what_they_told() -> None:
    play = converged()
    play.tell(IntentLoaded(reflected(INTENT)), SpeakerAttached(1, ((A2, 60.0), (B1, 60.0), (B2, 60.0))))
    play.rest()
    assert peers(play.state) == {A2, B1, B2}
    reflects(play, "10.244.3.0/26")
    later(play, 2 * SETTLE_S)
    assert peers(play.state) == {A2, B1, B2}
    reflects(play, "10.244.4.0/26")
    later(play, SETTLE_S / 2)
    assert peers(play.state) == {A2, B1, B2}
    before = play.kernel
    later(play, SETTLE_S)
    assert peers(play.state) == {A2}
    assert play.kernel == before
    assert play.unicast() == BLOCKS


def test_the_session_with_a_nodes_former_address_stays_until_the_new_one_tells_the_same() -> None:
    play, new = converged(), Address.parse("10.1.0.104")
    nodes = tuple(
        replace(node, address=InterfaceAddress(new, 24)) if node.name == "b2" else node for node in INTENT.nodes
    )
    play.tell(IntentLoaded(replace(INTENT, nodes=nodes)))
    play.rest()
    assert peers(play.state) == {A2, B1, B2, new}
    play.tell(SessionDown(B2, "closing connection", notified=False))
    later(play, 2 * SETTLE_S)
    assert peers(play.state) == {A2, B1, B2, new}
    assert play.unicast() == BLOCKS
    play.tell(SessionUp(new), Update(new, (path("10.244.4.0/26", new),)), EndOfRib(new, 4))
    play.rest()
    later(play, 2 * SETTLE_S)
    assert peers(play.state) == {A2, B1, new}
    assert play.unicast() == BLOCKS


def test_the_session_with_a_reflectors_former_address_stays_too() -> None:
    play, new, wanted = Play(), Address.parse("10.0.0.102"), reflected(INTENT)
    play.tell(IntentLoaded(wanted), SpeakerAttached(1, ()))
    nodes = tuple(
        replace(node, address=InterfaceAddress(new, 24)) if node.name == "a2" else node for node in wanted.nodes
    )
    play.tell(IntentLoaded(replace(wanted, nodes=nodes)))
    assert peers(play.state) == {A2, new}


def test_what_the_reflector_takes_back_is_waited_for_anew() -> None:
    play = converged()
    play.tell(IntentLoaded(reflected(INTENT)), SpeakerAttached(1, ((A2, 60.0), (B1, 60.0), (B2, 60.0))))
    reflects(play, "10.244.3.0/26", "10.244.4.0/26")
    later(play, SETTLE_S / 2)
    play.tell(Update(A2, withdrawn=(path("10.244.4.0/26", B2).prefix,)))
    play.rest()
    later(play, SETTLE_S)
    assert peers(play.state) == {A2, B1, B2}


def test_what_no_reflector_ever_tells_is_given_up_in_the_end() -> None:
    play = converged()
    play.tell(IntentLoaded(reflected(INTENT)))
    later(play, HANDOVER_MAX_S + 1)
    assert peers(play.state) == {A2}


def told_to_b1(play: Play) -> set[str]:
    """The routes that this node announces to b1 as a former reflector."""
    return {str(prefix) for prefix in play.state.bgp.adj_rib_out.sent[B1]}


def test_a_former_reflector_reflects_on_until_its_clients_have_had_time_for_sessions_of_their_own() -> None:
    play = Play()
    play.tell(IntentLoaded(reflected(INTENT, "a1")), SpeakerAttached(1, ()))
    for peer, block in ((A2, "10.244.2.0/26"), (B1, "10.244.3.0/26"), (B2, "10.244.4.0/26")):
        play.tell(SessionUp(peer), Update(peer, (path(block, peer),)), EndOfRib(peer, 4))
    play.rest()
    reflects = told_to_b1(play)
    assert "10.244.4.0/26" in reflects
    play.tell(IntentLoaded(INTENT))
    play.rest()
    assert peers(play.state) == {A2, B1, B2}
    later(play, HANDOVER_MAX_S - 1)
    assert told_to_b1(play) == reflects
    later(play, 2)
    assert told_to_b1(play) == {"10.244.1.0/26"}


def test_a_former_reflector_hears_what_its_successor_reflects_under_the_same_cluster_id() -> None:
    play = Play()
    play.tell(IntentLoaded(reflected(INTENT, "a1")), SpeakerAttached(1, ()))
    play.tell(IntentLoaded(reflected(INTENT, "a2")))
    (spoken,) = (command for command in play.tell(SessionUp(A2)) if isinstance(command, Speak))
    assert SendEndOfRib(A2, 4) in spoken.commands, "without waiting for its former clients"
    told = replace(path("10.244.3.0/26", B1), originator=B1, cluster_list=(CLUSTER,))
    play.tell(Update(A2, (told,)))
    play.rest()
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
def test_nothing_stays_that_nobody_could_replace(intent: Intent) -> None:
    play = converged()
    play.tell(IntentLoaded(intent))
    assert not play.state.bgp.handover.sessions


def test_an_edit_taken_back_in_between_changes_nothing() -> None:
    play = converged()
    before = play.state.bgp.config
    play.tell(IntentLoaded(reflected(INTENT)), IntentLoaded(INTENT))
    assert play.state.bgp.config == before
    assert not play.state.bgp.handover.sessions


# What the operator asks ----------------------------------------------------------------------------------------


def test_a_peer_that_is_shut_has_no_session_until_it_is_wanted_up_again() -> None:
    play = converged()
    whole = play.state.bgp.config
    (configure, *_) = play.tell(PeerRequested(B1, up=False))
    assert isinstance(configure, Configure)
    play.rest()
    assert peers(play.state) == {A2, B2}
    assert play.unicast() == BLOCKS - {"10.244.3.0/26"}
    play.tell(IntentLoaded(INTENT))
    assert peers(play.state) == {A2, B2}
    play.tell(PeerRequested(B1, up=True))
    assert play.state.bgp.config == whole


def test_a_session_that_is_leaving_can_be_shut_at_once() -> None:
    play = converged()
    play.tell(IntentLoaded(reflected(INTENT)), PeerRequested(B1, up=False))
    assert peers(play.state) == {A2, B2}
    play.tell(SessionDown(B2, "closing connection", notified=True))
    assert peers(play.state) == {A2, B2}
