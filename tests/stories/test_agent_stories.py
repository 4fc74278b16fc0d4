"""Plays: events in, commands out, one state after the other."""

from __future__ import annotations

import errno
from dataclasses import replace

from bgpctl.core.bgp import (
    Announce,
    AskRefresh,
    EndOfRib,
    RefreshBegun,
    RefreshEnded,
    SendEndOfRib,
    SessionDown,
    SessionOpened,
    SessionUp,
    SpeakerAttached,
    SpeakerDetached,
    Update,
    Withdraw,
)
from bgpctl.core.cluster import Backend, Intent, Mode, Place, Problem
from bgpctl.core.effects import Failure, after
from bgpctl.core.loop import (
    Applied,
    Apply,
    Command,
    Configure,
    Event,
    IntentLoaded,
    IntentRejected,
    KernelChanged,
    Observe,
    Observed,
    Phase,
    Speak,
    State,
    WakeAt,
    Woken,
    begin,
    step,
)
from bgpctl.core.model import Asn, Dataplane, Prefix
from bgpctl.core.sessions import speaker_config
from tests.cluster import bare_kernel, member, node, path, two_racks

INTENT = two_racks(ipip=Mode.CROSS_SUBNET)
A2, B1, B2 = (member(INTENT, name).address.address for name in ("a2", "b1", "b2"))
OWN = Prefix.parse("10.244.1.0/26")


class Play:
    """One agent on node a1 with a pretended kernel that does what it is told."""

    def __init__(self, kernel: Dataplane | None = None) -> None:
        self.state: State = begin("a1", 0.0)
        self.kernel = kernel or bare_kernel(member(INTENT, "a1"))
        self.now_s = 0.0
        self.applied = 0

    def tell(self, *events: Event) -> tuple[Command, ...]:
        said: tuple[Command, ...] = ()
        for event in events:
            self.now_s += 0.001
            self.state, commands = step(self.state, event, self.now_s)
            said += commands
        return said

    def rest(self) -> None:
        """Answer Observe and Apply until there is nothing more to do."""
        commands = self.tell(KernelChanged()) if not self.state.looking else (Observe(),)
        while commands:
            (command, *_) = commands
            match command:
                case Observe():
                    commands = self.tell(Observed(self.kernel))
                case Apply():
                    for op in command.ops:
                        self.kernel = after(self.kernel, op)
                        self.applied += 1
                    commands = self.tell(Applied(()))
                case _:
                    return

    def unicast(self) -> set[str]:
        return {str(route.prefix) for route in self.kernel.routes if route.next_hop}


def hears(play: Play, peer_block: tuple[object, str]) -> None:
    peer, block = peer_block
    play.tell(
        SessionOpened(peer, Asn(64512), peer, 30, 120, forwarding_preserved=True),  # type: ignore[arg-type]
        SessionUp(peer),  # type: ignore[arg-type]
        Update(peer, (path(block, peer),)),  # type: ignore[arg-type]
        EndOfRib(peer, 4),  # type: ignore[arg-type]
    )


def converged(kernel: Dataplane | None = None) -> Play:
    play = Play(kernel)
    play.tell(IntentLoaded(INTENT), SpeakerAttached(1, ()))
    for pair in ((A2, "10.244.2.0/26"), (B1, "10.244.3.0/26"), (B2, "10.244.4.0/26")):
        hears(play, pair)
    play.rest()
    return play


def test_a_borrowed_address_is_announced_by_the_node_that_has_it() -> None:
    a1, *others = INTENT.nodes
    borrowed = Prefix.parse("10.244.2.9/32")
    play = converged()
    said = play.tell(IntentLoaded(replace(INTENT, nodes=(replace(a1, borrowed=(borrowed,)), *others))))
    assert Speak((Announce(borrowed),)) in said
    assert Speak((Withdraw(borrowed),)) in play.tell(IntentLoaded(INTENT))


def test_the_first_intent_configures_the_speaker_and_asks_for_a_look() -> None:
    said = Play().tell(IntentLoaded(INTENT))
    assert said == (Configure(speaker_config(INTENT, "a1")), Observe())


def test_a_session_that_comes_up_is_told_our_blocks_and_then_end_of_rib() -> None:
    play = Play()
    play.tell(IntentLoaded(INTENT), SpeakerAttached(1, ()))
    assert Speak((Announce(OWN, B1), SendEndOfRib(B1, 4))) in play.tell(SessionUp(B1))


def test_all_routes_are_installed_once_all_peers_have_spoken() -> None:
    play = converged()
    assert play.state.phase is Phase.CONVERGED
    assert play.unicast() == {"10.244.2.0/26", "10.244.3.0/26", "10.244.4.0/26"}


def test_without_bgp_nothing_waits_for_peers() -> None:
    play = Play()
    vxlan = two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN)
    assert play.tell(IntentLoaded(vxlan))[0] == Configure(None)
    play.rest()
    assert play.state.phase is Phase.CONVERGED
    assert len(play.unicast()) == 3


def test_a_restarted_agent_adopts_everything_and_touches_nothing() -> None:
    old = converged()
    new = Play(old.kernel)
    new.tell(IntentLoaded(INTENT))
    new.rest()
    said = new.tell(SpeakerAttached(1, ((A2, 300.0), (B1, 300.0), (B2, 300.0))))
    assert [c for s in said if isinstance(s, Speak) for c in s.commands if isinstance(c, AskRefresh)] == [
        AskRefresh(A2, 4),
        AskRefresh(B1, 4),
        AskRefresh(B2, 4),
    ]
    new.rest()
    for peer, block in ((A2, "10.244.2.0/26"), (B1, "10.244.3.0/26"), (B2, "10.244.4.0/26")):
        new.tell(RefreshBegun(peer, 4), Update(peer, (path(block, peer),)), RefreshEnded(peer, 4))
        new.rest()
    assert new.state.phase is Phase.CONVERGED
    assert new.applied == 0
    assert new.kernel == old.kernel


def test_routes_of_a_peer_that_no_longer_has_them_go_once_it_has_spoken() -> None:
    new = Play(converged().kernel)
    new.tell(IntentLoaded(INTENT), SpeakerAttached(1, ((A2, 1.0), (B1, 1.0), (B2, 1.0))))
    for peer in (A2, B1):
        new.tell(RefreshBegun(peer, 4), RefreshEnded(peer, 4))
    new.rest()
    assert len(new.unicast()) == 3
    new.tell(RefreshBegun(B2, 4), Update(B2, (path("10.244.4.0/26", B2),)), RefreshEnded(B2, 4))
    new.rest()
    assert new.unicast() == {"10.244.4.0/26"}


def test_a_withdrawn_block_goes_and_comes_back() -> None:
    play = converged()
    play.tell(Update(B1, withdrawn=(Prefix.parse("10.244.3.0/26"),)))
    play.rest()
    assert "10.244.3.0/26" not in play.unicast()
    play.tell(Update(B1, (path("10.244.3.0/26", B1),)))
    play.rest()
    assert "10.244.3.0/26" in play.unicast()


def test_a_peer_that_dies_keeps_its_routes_for_its_restart_time() -> None:
    play = converged()
    play.tell(SessionDown(B1, "closing connection", notified=False))
    play.rest()
    assert "10.244.3.0/26" in play.unicast()
    play.now_s += 121
    play.tell(Woken())
    play.rest()
    assert "10.244.3.0/26" not in play.unicast()


def test_a_restarted_agent_still_retains_the_routes_of_a_member_that_dies() -> None:
    new = Play(converged().kernel)
    new.tell(IntentLoaded(INTENT), SpeakerAttached(1, ((A2, 1.0), (B1, 1.0), (B2, 1.0))))
    for peer, block in ((A2, "10.244.2.0/26"), (B1, "10.244.3.0/26"), (B2, "10.244.4.0/26")):
        new.tell(RefreshBegun(peer, 4), Update(peer, (path(block, peer),)), RefreshEnded(peer, 4))
    new.tell(SessionDown(B1, "closing connection", notified=False))
    new.rest()
    assert len(new.unicast()) == 3


def test_a_lost_speaker_takes_no_route_along() -> None:
    play = converged()
    play.tell(SpeakerDetached("end of file"))
    play.rest()
    assert len(play.unicast()) == 3
    assert play.state.phase is Phase.LEARNING


def test_a_speaker_that_is_away_for_long_takes_no_route_along_when_it_returns() -> None:
    play = converged()
    play.tell(SpeakerDetached("end of file"))
    play.now_s += 1000
    play.tell(Woken())
    play.rest()
    play.tell(SpeakerAttached(2, ()))
    play.rest()
    assert len(play.unicast()) == 3
    play.now_s += 121
    play.tell(Woken())
    play.rest()
    assert play.unicast() == set()


def test_a_failure_is_not_forgotten_while_other_things_go_on() -> None:
    play = Play()
    play.tell(IntentLoaded(INTENT), SpeakerAttached(1, ()))
    (apply,) = play.tell(Observed(play.kernel))
    assert isinstance(apply, Apply)
    *others, refused = apply.ops
    for op in others:
        play.kernel = after(play.kernel, op)
    play.tell(Applied((Failure(refused, errno.EPERM),)))
    play.tell(Observed(play.kernel))
    hears(play, (B1, "10.244.3.0/26"))
    (apply,) = play.tell(Observed(play.kernel))
    assert isinstance(apply, Apply)
    assert refused not in apply.ops
    play.tell(Applied(()))
    assert [failure.op for failure in play.state.failures] == [refused]


def test_a_bad_edit_changes_nothing_and_is_remembered() -> None:
    play = converged()
    problem = Problem(Place("cluster.yaml", 12, 15), "pools.blue", "both modes set", "both-modes")
    before = play.state.desired
    assert play.tell(IntentRejected((problem,))) == ()
    play.rest()
    assert play.applied > 0
    assert play.state.desired == before
    assert play.state.problems == (problem,)


def test_an_edited_block_is_withdrawn_and_announced() -> None:
    play = converged()
    others = tuple(item for item in INTENT.nodes if item.name != "a1")
    edited = replace(INTENT, nodes=(node("a1", "10.0.0.1/24", "10.244.9.0/26"), *others))
    said = play.tell(IntentLoaded(edited))
    assert Speak((Withdraw(OWN), Announce(Prefix.parse("10.244.9.0/26")))) in said


def test_an_edit_that_leaves_the_sessions_alone_does_not_configure_the_speaker() -> None:
    play = converged()
    always: Intent = two_racks(ipip=Mode.ALWAYS)
    assert not [c for c in play.tell(IntentLoaded(always)) if isinstance(c, Configure)]


def test_damage_is_mended_and_counted() -> None:
    play = converged()
    healthy = play.kernel
    play.kernel = replace(healthy, routes=frozenset(r for r in healthy.routes if not r.next_hop))
    play.rest()
    assert play.kernel == healthy
    assert len(play.state.repairs) == 1


def test_what_the_kernel_refuses_is_tried_again_ever_more_slowly_and_holds_up_nothing_else() -> None:
    play = Play()
    play.tell(IntentLoaded(two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN)))
    (apply,) = play.tell(Observed(play.kernel))
    assert isinstance(apply, Apply)
    *others, refused = apply.ops
    for op in others:
        play.kernel = after(play.kernel, op)
    play.tell(Applied((Failure(refused, errno.EPERM),)))
    (wake,) = play.tell(Observed(play.kernel))
    assert isinstance(wake, WakeAt)
    assert 0 < wake.at_s - play.now_s <= 0.1
    assert play.state.phase is Phase.DEGRADED
    play.now_s = wake.at_s
    play.tell(Woken())
    (again,) = play.tell(Observed(play.kernel))
    assert again == Apply((refused,))
