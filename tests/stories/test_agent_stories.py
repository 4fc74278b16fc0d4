"""Plays: events in, commands out, one state after the other."""

from __future__ import annotations

import errno
import itertools
from dataclasses import replace

import pytest

from bgpctl.core.agent.events import (
    Applied,
    Apply,
    Command,
    Configure,
    Event,
    IntentLoaded,
    IntentRejected,
    KernelChanged,
    KernelLost,
    Observe,
    Observed,
    Probed,
    SendProbes,
    Speak,
    WakeAt,
    Woken,
)
from bgpctl.core.agent.state import Phase, State, begin
from bgpctl.core.agent.step import step
from bgpctl.core.bgp.filters import NORMAL_LOCAL_PREF
from bgpctl.core.bgp.path import (
    Attributes,
)
from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.bgp.speaker import (
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
from bgpctl.core.cluster.configuration import Backend, Peer
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Place, Problem
from bgpctl.core.dataplane.effects import Failure, after
from bgpctl.core.migration.drain import DRAIN_S
from bgpctl.core.migration.probes import ProbeReply
from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Route
from tests.cluster import allocated, bare_kernel, member, path, prefixes, two_racks

INTENT = two_racks(ipip=Mode.CROSS_SUBNET)
A2, B1, B2 = (member(INTENT, name).address.address for name in ("a2", "b1", "b2"))
OWN = Prefix.parse("10.244.1.0/26")
OURS = Attributes(local_pref=NORMAL_LOCAL_PREF)
READY = replace(OURS, extended=(0x030C000000000007,))
"""Once IP in IP can be received, members are told so."""


class Play:
    """One agent on node a1 with a pretended kernel that does what it is told."""

    def __init__(self, kernel: Dataplane | None = None) -> None:
        self.state: State = begin("a1", 0.0)
        self.kernel = kernel or bare_kernel(member(INTENT, "a1"))
        self.now_s = 0.0
        self.applied = 0
        self.said: list[Command] = []

    def tell(self, *events: Event) -> tuple[Command, ...]:
        said: tuple[Command, ...] = ()
        for event in events:
            self.now_s += 0.001
            self.state, commands = step(self.state, event, self.now_s)
            said += commands
        self.said += said
        return said

    def rest(self) -> None:
        """Answer Observe and Apply until there is nothing more to do."""
        commands = self.tell(KernelChanged()) if not self.state.kernel.observing else (Observe(),)
        while command := next((c for c in commands if isinstance(c, Observe | Apply)), None):
            match command:
                case Observe():
                    commands = self.tell(Observed(self.kernel))
                case Apply():
                    for op in command.ops:
                        self.kernel = after(self.kernel, op)
                        self.applied += 1
                    commands = self.tell(Applied(()))

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
    borrowed = Prefix.parse("10.244.2.9/32")
    play = converged()
    edited = allocated(INTENT, "a1", borrowed=(borrowed,))
    said = play.tell(IntentLoaded(edited), Observed(play.kernel))
    assert Speak(tuple(Announce(borrowed, peer, READY) for peer in (A2, B1, B2))) in said
    said = play.tell(IntentLoaded(INTENT), Observed(play.kernel))
    assert Speak(tuple(Withdraw(borrowed, peer) for peer in (A2, B1, B2))) in said


def test_the_first_intent_configures_the_speaker_and_asks_for_a_look() -> None:
    said = Play().tell(IntentLoaded(INTENT))
    assert said == (Configure(speaker_config(INTENT, "a1")), Observe())


def test_a_session_that_comes_up_is_told_our_blocks_and_then_end_of_rib() -> None:
    play = Play()
    play.tell(IntentLoaded(INTENT), SpeakerAttached(1, ()))
    assert Speak((Announce(OWN, B1, OURS), SendEndOfRib(B1, 4))) in play.tell(SessionUp(B1))


def test_all_routes_are_installed_once_all_peers_have_spoken() -> None:
    play = converged()
    assert play.state.phase is Phase.CONVERGED
    assert play.unicast() == {"10.244.2.0/26", "10.244.3.0/26", "10.244.4.0/26"}


def test_without_bgp_nothing_waits_for_peers() -> None:
    play = Play()
    vxlan = two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN)
    play.tell(IntentLoaded(vxlan))
    play.rest()
    assert Configure(None) in play.said
    assert play.state.phase is Phase.CONVERGED
    assert len(play.unicast()) == 3


def test_bgp_ends_once_every_member_has_left_the_tunnel_that_it_served() -> None:
    play = converged()
    play.tell(IntentLoaded(two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN)))
    play.rest()
    assert play.state.phase.value == "switching"
    assert {hop.link for hop in play.kernel.next_hops} == {"tunl0", "eth0"}
    for link in ("tunl0", "vxlan.bgpctl", "vxlan.bgpctl"):
        assert Configure(None) not in play.said
        assert play.kernel.link("tunl0")
        trials = next(command.probes for command in reversed(play.said) if isinstance(command, SendProbes))
        play.now_s += DRAIN_S
        play.tell(Probed(tuple(ProbeReply(trial, link) for trial in trials)))
        play.rest()
        assert {hop.link for hop in play.kernel.next_hops} == {"vxlan.bgpctl"}
    assert play.kernel.link("tunl0") is None
    assert Configure(None) in play.said
    assert play.state.phase is Phase.CONVERGED


def test_an_agent_that_waits_for_members_and_has_nothing_to_probe_sleeps() -> None:
    play = Play()
    play.tell(IntentLoaded(two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN)))
    play.rest()
    play.tell(IntentLoaded(INTENT), SpeakerAttached(1, ()))
    play.now_s += 130
    play.tell(Woken())
    play.rest()
    assert play.state.phase is Phase.SWITCHING
    (wake,) = (command for command in play.tell(KernelChanged(), Observed(play.kernel)) if isinstance(command, WakeAt))
    assert wake.at_s > play.now_s
    assert play.unicast() == {"10.244.2.0/26", "10.244.3.0/26", "10.244.4.0/26"}


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


def test_a_dead_node_that_never_spoke_does_not_hold_up_what_others_take_back() -> None:
    of_b1, unknown = "10.244.3.0/26", "10.244.4.0/26"
    new = Play(converged().kernel)
    new.tell(IntentLoaded(INTENT), SpeakerAttached(1, ((A2, 1.0), (B1, 1.0))))
    for peer, block in ((A2, "10.244.2.0/26"), (B1, of_b1)):
        new.tell(RefreshBegun(peer, 4), Update(peer, (path(block, peer),)), RefreshEnded(peer, 4))
    new.rest()
    assert new.state.phase is Phase.LEARNING
    new.tell(Update(B1, withdrawn=(Prefix.parse(of_b1),)))
    new.rest()
    assert new.unicast() == {"10.244.2.0/26", unknown}
    new.tell(Update(B1, (path(of_b1, B1),)))
    new.rest()
    assert new.unicast() == {"10.244.2.0/26", of_b1, unknown}


def test_what_a_peer_took_back_while_we_could_not_remove_it_goes_later() -> None:
    new = Play(converged().kernel)
    new.tell(IntentLoaded(INTENT), SpeakerAttached(1, ((B1, 1.0),)))
    new.tell(RefreshBegun(B1, 4), Update(B1, (path("10.244.3.0/26", B1),)), RefreshEnded(B1, 4), Observed(new.kernel))
    new.tell(Update(B1, withdrawn=(Prefix.parse("10.244.3.0/26"),)), Observed(new.kernel), KernelLost("gone"))
    new.now_s += 1
    new.tell(Woken())
    new.rest()
    assert new.unicast() == {"10.244.2.0/26", "10.244.4.0/26"}


def test_sessions_given_up_by_an_edit_take_no_route_along_before_the_new_peers_have_spoken() -> None:
    play = converged()
    outside = Peer("tor", Address.parse("10.0.0.254"), Asn(65001), ("a1",))
    play.tell(IntentLoaded(replace(INTENT, mesh=False, peers=(outside,))))
    play.rest()
    assert len(play.unicast()) == 3


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
    assert play.state.phase is Phase.DEGRADED


def test_a_speaker_that_is_away_for_long_takes_no_route_along_before_a_peer_is_back() -> None:
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
    assert len(play.unicast()) == 3
    hears(play, (A2, "10.244.2.0/26"))
    play.now_s += 121
    play.tell(Woken())
    play.rest()
    assert play.unicast() == {"10.244.2.0/26"}


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
    assert [failure.op for failure in play.state.attempts.failures] == [refused]


def test_a_bad_edit_changes_nothing_and_is_remembered() -> None:
    play = converged()
    problem = Problem(Place("cluster.yaml", 12, 15), "pools.blue", "both modes set", "both-modes")
    before = play.state.kernel.desired
    assert play.tell(IntentRejected((problem,))) == ()
    play.rest()
    assert play.applied > 0
    assert play.state.kernel.desired == before
    assert play.state.intent.problems == (problem,)


def test_an_edited_block_is_withdrawn_and_announced() -> None:
    play = converged()
    edited = allocated(INTENT, "a1", blocks=prefixes("10.244.9.0/26"))
    said = play.tell(IntentLoaded(edited), Observed(play.kernel))
    new = Prefix.parse("10.244.9.0/26")
    changes = [change for peer in (A2, B1, B2) for change in (Withdraw(OWN, peer), Announce(new, peer, READY))]
    assert Speak(tuple(changes)) in said


def test_an_edit_that_leaves_the_sessions_alone_does_not_configure_the_speaker() -> None:
    play = converged()
    always: Intent = two_racks(ipip=Mode.ALWAYS)
    assert not [c for c in play.tell(IntentLoaded(always)) if isinstance(c, Configure)]


def test_damage_is_mended_and_counted() -> None:
    play = converged()
    healthy = play.kernel
    play.kernel = healthy.drop(route for route in healthy.routes if route.next_hop)
    play.rest()
    assert play.kernel == healthy
    assert len(play.state.attempts.repairs) == 1


def test_what_the_kernel_refuses_is_tried_again_ever_more_slowly_and_holds_up_nothing_else() -> None:
    play = Play()
    play.tell(IntentLoaded(two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN)))
    (apply,) = play.tell(Observed(play.kernel))
    assert isinstance(apply, Apply)
    *others, refused = apply.ops
    for op in others:
        play.kernel = after(play.kernel, op)
    play.tell(Applied((Failure(refused, errno.EPERM),)))
    pauses_s = []
    for _ in range(6):
        (wake,) = play.tell(Observed(play.kernel))
        assert isinstance(wake, WakeAt)
        assert play.state.phase is Phase.DEGRADED
        pauses_s.append(wake.at_s - play.now_s)
        play.now_s = wake.at_s
        play.tell(Woken())
        (again,) = play.tell(Observed(play.kernel))
        assert again == Apply((refused,))
        play.tell(Applied((Failure(refused, errno.EPERM),)))
    assert pauses_s == pytest.approx([0.1, 0.5, 2, 10, 30, 30], abs=0.01)
    undo(play, "10.244.3.0/26")
    (urgent,) = play.tell(Observed(play.kernel))
    assert isinstance(urgent, Apply)
    assert [str(op.thing.prefix) for op in urgent.ops if isinstance(op.thing, Route)] == ["10.244.3.0/26"]


def test_a_new_failure_begins_with_the_shortest_pause_once_those_before_are_over() -> None:
    play = Play()
    play.tell(IntentLoaded(two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN)))
    (apply,) = play.tell(Observed(play.kernel))
    assert isinstance(apply, Apply)
    *others, refused = apply.ops
    for op in others:
        play.kernel = after(play.kernel, op)
    for _ in range(4):
        play.tell(Applied((Failure(refused, errno.EPERM),)))
        play.now_s += 60
        assert Apply((refused,)) in play.tell(Observed(play.kernel))
    play.kernel = after(play.kernel, refused)
    undo(play, "10.244.3.0/26")
    (apply,) = play.tell(Applied(()), Observed(play.kernel))[1:]
    assert isinstance(apply, Apply)
    play.tell(Applied((Failure(apply.ops[0], errno.EPERM),)))
    (wake,) = play.tell(Observed(play.kernel))
    assert isinstance(wake, WakeAt)
    assert wake.at_s - play.now_s == pytest.approx(0.1, abs=0.01)


def test_a_lost_kernel_is_no_convergence_until_it_is_seen_again() -> None:
    play = converged()
    lost_at_s = play.now_s
    (wake,) = play.tell(KernelLost("the netlink socket is gone"))
    assert isinstance(wake, WakeAt)
    assert 0.5 < wake.at_s - lost_at_s < 2
    assert play.state.phase.value == "degraded"
    assert play.tell(KernelChanged(), Update(B1, withdrawn=(Prefix.parse("10.244.3.0/26"),))) == ()
    assert play.tell(Woken()) == (Observe(),)
    play.rest()
    assert play.state.phase is Phase.CONVERGED
    assert "10.244.3.0/26" not in play.unicast()


def test_operations_under_way_when_the_kernel_is_lost_are_done_once_it_is_back() -> None:
    play = Play()
    play.tell(IntentLoaded(two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN)))
    (apply, *_) = play.tell(Observed(play.kernel))
    assert isinstance(apply, Apply)
    play.tell(KernelLost("the netlink socket is gone"))
    play.now_s += 1
    assert play.tell(Woken()) == (Observe(),)
    assert apply in play.tell(Observed(play.kernel))


def undo(play: Play, prefix: str) -> None:
    """Another program removes the route."""
    play.kernel = play.kernel.drop(route for route in play.kernel.routes if str(route.prefix) == prefix)


def test_what_somebody_keeps_undoing_is_put_back_ever_more_slowly_and_told() -> None:
    play = converged()
    mended_at_s: list[float] = []
    while play.now_s < 300:
        undo(play, "10.244.3.0/26")
        play.rest()
        if "10.244.3.0/26" in play.unicast():
            mended_at_s.append(play.now_s)
        play.now_s += 0.1
    pauses_s = [later - earlier for earlier, later in itertools.pairwise(mended_at_s)]
    assert pauses_s == pytest.approx([0.1, 0.1, 0.5, 2, 10, *[30] * (len(pauses_s) - 5)], abs=0.25)
    assert play.state.phase is Phase.DEGRADED
    assert "10.244.4.0/26" in play.unicast()


def test_while_a_contested_repair_rests_the_agent_sleeps_until_it_is_due() -> None:
    play = converged()
    for _ in range(3):
        undo(play, "10.244.3.0/26")
        play.rest()
    undo(play, "10.244.3.0/26")
    said = play.tell(KernelChanged(), Observed(play.kernel))
    (wake,) = (command for command in said if isinstance(command, WakeAt))
    assert 0.4 < wake.at_s - play.now_s <= 0.5
    undo(play, "10.244.4.0/26")
    play.rest()
    assert play.unicast() == {"10.244.2.0/26", "10.244.4.0/26"}
    play.now_s = wake.at_s
    play.tell(Woken())
    play.rest()
    assert len(play.unicast()) == 3


def test_a_contest_that_is_over_is_forgotten() -> None:
    play = converged()
    for _ in range(4):
        undo(play, "10.244.3.0/26")
        play.rest()
        play.now_s += 0.6
    assert play.state.phase.value == "degraded"
    play.now_s += 120
    play.rest()
    assert play.state.phase is Phase.CONVERGED


def test_a_peer_that_changes_its_mind_all_the_time_is_no_contest() -> None:
    play = converged()
    for _ in range(10):
        play.tell(Update(B1, withdrawn=(Prefix.parse("10.244.3.0/26"),)))
        play.rest()
        play.tell(Update(B1, (path("10.244.3.0/26", B1),)))
        play.rest()
        assert len(play.unicast()) == 3
    assert play.state.attempts.repairs == ()
    assert play.state.phase is Phase.CONVERGED
