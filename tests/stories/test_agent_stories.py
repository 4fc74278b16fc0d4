"""Plays: events in, commands out, one state after the other."""

from __future__ import annotations

import errno
import itertools
from dataclasses import replace

import pytest

from bgpctl.agent.metrics import Metrics
from bgpctl.agent.snapshot import Snapshot
from bgpctl.core.agent.events import (
    Applied,
    Apply,
    Configure,
    IntentLoaded,
    IntentRejected,
    KernelChanged,
    KernelLost,
    MirrorMismatch,
    Observe,
    Observed,
    Probed,
    SendProbes,
    Speak,
    WakeAt,
    Woken,
)
from bgpctl.core.agent.state import Phase
from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.bgp.speaker import (
    Announce,
    AskRefresh,
    RefreshBegun,
    RefreshEnded,
    SendEndOfRib,
    SessionDown,
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
from bgpctl.core.dataplane.drift import Mismatch
from bgpctl.core.dataplane.effects import Failure, after
from bgpctl.core.migration.drain import DRAIN_S
from bgpctl.core.migration.probes import ProbeReply
from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.core.net.dataplane import Dataplane
from tests.cluster import allocated, path, prefixes, two_racks
from tests.kernel_text import assert_same
from tests.stories.mesh import (
    A2,
    B1,
    B2,
    CONFIGURATION,
    INSIDE,
    INTENT,
    MEMBERS,
    NEXT_HOP,
    OURS,
    OWN,
    OWN_ROUTE,
    READVERTISED,
    READY,
    ROUTE,
    ROUTES,
    TO_MEMBERS,
    TOR,
    VXLAN_DEVICE,
    VXLAN_MEMBERS,
    VXLAN_NEXT_HOPS,
    WORKLOAD_FILTER,
    converged,
    greeting,
    resumed,
    session_up,
    sessions_with,
    undo,
)
from tests.stories.play import Play, placeholder


def test_a_borrowed_address_is_announced_by_the_node_that_has_it() -> None:
    borrowed = Prefix.parse("10.244.2.9/32")
    play = converged()
    edited = allocated(INTENT, "a1", borrowed=(borrowed,))
    play.give(IntentLoaded(edited)).expect(Observe())
    rest = (
        "10.244.0.0/24,10.244.1.64/26,10.244.1.128/25,10.244.2.0/29,10.244.2.8/32,10.244.2.10/31,10.244.2.12/30,"
        "10.244.2.16/28,10.244.2.32/27,10.244.2.64/26,10.244.2.128/25,10.244.3.0/24,10.244.4.0/22,10.244.8.0/21,"
        "10.244.16.0/20,10.244.32.0/19,10.244.64.0/18,10.244.128.0/17"
    )
    play.settle(
        f"+ inner filter dev tunl0 to 10.244.1.0/26,10.244.2.9/32 from {rest} {TO_MEMBERS}",
        Speak(tuple(Announce(borrowed, peer, READY) for peer in MEMBERS)),
    )
    play.give(IntentLoaded(INTENT)).expect(Observe())
    play.settle(
        f"+ inner filter dev tunl0 {INSIDE} {TO_MEMBERS}", Speak(tuple(Withdraw(borrowed, peer) for peer in MEMBERS))
    )


def test_the_first_intent_configures_the_speaker_and_requests_an_observation() -> None:
    Play().give(IntentLoaded(INTENT)).expect(Configure(speaker_config(INTENT, "a1")), Observe())


def test_a_session_that_comes_up_gets_our_blocks_and_then_end_of_rib() -> None:
    play = Play()
    play.give(IntentLoaded(INTENT), SpeakerAttached(1, ())).expect(CONFIGURATION, Observe())
    play.give(SessionUp(B1)).expect(Speak((Announce(OWN, B1, OURS), SendEndOfRib(B1, 4))))


def test_all_routes_are_installed_once_all_peers_have_spoken() -> None:
    play = converged()
    assert play.state.phase is Phase.CONVERGED
    assert play.unicast() == {"10.244.2.0/26", "10.244.3.0/26", "10.244.4.0/26"}


def test_without_bgp_nothing_waits_for_peers() -> None:
    play = Play()
    vxlan = two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN)
    play.give(IntentLoaded(vxlan)).expect(Observe())
    play.settle(
        *VXLAN_DEVICE,
        "+ sysctl net/ipv4/ip_forward=1",
        VXLAN_MEMBERS[0],
        WORKLOAD_FILTER,
        *VXLAN_MEMBERS[1:],
        *VXLAN_NEXT_HOPS,
        *ROUTES,
        Configure(None),
    )
    assert play.state.phase is Phase.CONVERGED
    assert len(play.unicast()) == 3


def test_bgp_ends_once_every_member_has_left_the_tunnel_that_it_served() -> None:
    play, probes = converged(), placeholder()

    def answered_by(link: str) -> None:
        assert play.kernel.link("tunl0")
        play.now_s += DRAIN_S
        play.give(Probed(tuple(ProbeReply(probe, link) for probe in probes()))).expect(Observe())

    play.give(IntentLoaded(two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN))).expect(Observe())
    play.settle(SendProbes(probes), *VXLAN_DEVICE, *VXLAN_MEMBERS)
    assert play.state.phase.value == "migrating"
    assert {hop.link for hop in play.kernel.next_hops} == {"tunl0", "eth0"}
    answered_by("tunl0")
    play.settle(*VXLAN_NEXT_HOPS, WakeAt(play.in_s(0.5)))
    assert {hop.link for hop in play.kernel.next_hops} == {"vxlan.bgpctl"}
    answered_by("vxlan.bgpctl")
    play.settle(WakeAt(play.in_s(0.5)))
    answered_by("vxlan.bgpctl")
    play.settle(
        "- decapsulation dev tunl0 underlay eth0 local 10.0.0.1 sources 10.0.0.2,10.1.0.3,10.1.0.4",
        f"- inner filter dev tunl0 {INSIDE} {TO_MEMBERS}",
        "- address 10.244.1.0/32 dev tunl0",
        "- link tunl0 type ipip mtu 1480 up",
        Configure(None),
    )
    assert {hop.link for hop in play.kernel.next_hops} == {"vxlan.bgpctl"}
    assert play.kernel.link("tunl0") is None
    assert play.state.phase is Phase.CONVERGED
    memo = play.state.memo
    assert (memo.decision, memo.announceable, memo.advertised) == (None, None, {})  # they would keep former tables


def test_an_agent_that_waits_for_members_and_has_nothing_to_probe_sleeps() -> None:
    play = Play()
    play.give(IntentLoaded(two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN))).expect(Observe())
    play.settle(
        *VXLAN_DEVICE,
        "+ sysctl net/ipv4/ip_forward=1",
        VXLAN_MEMBERS[0],
        WORKLOAD_FILTER,
        *VXLAN_MEMBERS[1:],
        *VXLAN_NEXT_HOPS,
        *ROUTES,
        Configure(None),
    )
    play.give(IntentLoaded(INTENT), SpeakerAttached(1, ())).expect(CONFIGURATION, Observe())
    play.now_s += 130
    play.give(Woken())
    play.settle(
        "+ link tunl0 type ipip mtu 1480 up",
        "+ address 10.244.1.0/32 dev tunl0",
        "+ sysctl net/ipv4/conf/tunl0/forwarding=1",
        "+ sysctl net/ipv4/conf/tunl0/rp_filter=2",
        f"+ inner filter dev tunl0 {INSIDE} {TO_MEMBERS}",
        "+ decapsulation dev tunl0 underlay eth0 local 10.0.0.1 sources 10.0.0.2,10.1.0.3,10.1.0.4",
    )
    assert play.state.phase is Phase.MIGRATING
    wake_s = placeholder()
    play.give(KernelChanged()).expect(Observe())
    play.give(Observed(play.kernel)).expect(WakeAt(wake_s))
    assert wake_s() > play.now_s
    assert play.unicast() == {"10.244.2.0/26", "10.244.3.0/26", "10.244.4.0/26"}


def test_a_dump_that_differs_from_notifications_is_counted_and_its_observation_repairs() -> None:
    play = converged()
    lost = next(route for route in play.kernel.routes if route.next_hop)
    play.kernel = play.kernel.drop((lost,))
    play.give(MirrorMismatch(Mismatch(Dataplane.of((lost,)), Dataplane()))).expect(Observe())
    assert play.state.kernel.mismatches == 1
    play.settle(f"+ route {lost.prefix} nhid {lost.next_hop:#x} proto 179 metric 1024 table 254")
    assert play.state.phase is Phase.CONVERGED
    page = Metrics(lambda: Snapshot(play.state, play.now_s, {})).page().decode()
    assert "\nbgpctl_mirror_mismatch_total 1.0\n" in page


def test_a_restarted_agent_adopts_everything_and_touches_nothing() -> None:
    old = converged()
    new = Play(old.kernel)
    new.give(IntentLoaded(INTENT)).expect(CONFIGURATION, Observe())
    new.settle()
    new.give(SpeakerAttached(1, ((A2, 300.0), (B1, 300.0), (B2, 300.0)))).expect(
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
        Observe(),
    )
    new.settle(WakeAt(new.in_s(30)))
    for peer, block in ((A2, "10.244.2.0/26"), (B1, "10.244.3.0/26"), (B2, "10.244.4.0/26")):
        new.give(RefreshBegun(peer, 4), Update(peer, (path(block, peer),)), RefreshEnded(peer, 4)).expect(Observe())
        new.settle(*[] if peer == B2 else [WakeAt(new.in_s(30))])
    assert new.state.phase is Phase.CONVERGED
    assert_same(new.kernel, old.kernel)


def test_routes_of_a_peer_that_no_longer_has_them_go_once_it_has_spoken() -> None:
    new = Play(converged().kernel)
    new.give(IntentLoaded(INTENT), SpeakerAttached(1, ((A2, 1.0), (B1, 1.0), (B2, 1.0)))).expect(
        CONFIGURATION, Observe(), resumed(A2, B1, B2)
    )
    for peer in (A2, B1):
        new.give(RefreshBegun(peer, 4), RefreshEnded(peer, 4))
    new.settle(f"- {ROUTE[A2]}", f"- {ROUTE[B1]}", READVERTISED, WakeAt(new.in_s(29.993)))
    assert new.unicast() == {"10.244.4.0/26"}  # which B2 may still announce
    new.give(RefreshBegun(B2, 4), Update(B2, (path("10.244.4.0/26", B2),)), RefreshEnded(B2, 4)).expect(Observe())
    new.settle(f"- {NEXT_HOP[B1]}", f"- {NEXT_HOP[A2]}")
    assert new.unicast() == {"10.244.4.0/26"}


def test_a_dead_node_without_a_session_does_not_delay_withdrawals_of_others() -> None:
    of_b1, unknown = "10.244.3.0/26", "10.244.4.0/26"
    new = Play(converged().kernel)
    new.give(IntentLoaded(INTENT), SpeakerAttached(1, ((A2, 1.0), (B1, 1.0)))).expect(
        CONFIGURATION, Observe(), resumed(A2, B1)
    )
    for peer, block in ((A2, "10.244.2.0/26"), (B1, of_b1)):
        new.give(RefreshBegun(peer, 4), Update(peer, (path(block, peer),)), RefreshEnded(peer, 4))
    new.settle(Speak((Announce(OWN, A2, READY), Announce(OWN, B1, READY))))
    assert new.state.phase is Phase.LEARNING
    new.give(Update(B1, withdrawn=(Prefix.parse(of_b1),))).expect(Observe())
    new.settle(f"- {ROUTE[B1]}")
    assert new.unicast() == {"10.244.2.0/26", unknown}
    new.give(Update(B1, (path(of_b1, B1),))).expect(Observe())
    new.settle(f"+ {ROUTE[B1]}")
    assert new.unicast() == {"10.244.2.0/26", of_b1, unknown}


def test_a_prefix_withdrawn_while_we_could_not_remove_it_goes_later() -> None:
    new = Play(converged().kernel)
    new.give(IntentLoaded(INTENT), SpeakerAttached(1, ((B1, 1.0),))).expect(CONFIGURATION, Observe(), resumed(B1))
    new.give(
        RefreshBegun(B1, 4), Update(B1, (path("10.244.3.0/26", B1),)), RefreshEnded(B1, 4), Observed(new.kernel)
    ).expect(WakeAt(new.in_s(60)), Speak((Announce(OWN, B1, READY),)))
    new.give(Update(B1, withdrawn=(Prefix.parse("10.244.3.0/26"),)), Observed(new.kernel), KernelLost("gone")).expect(
        Observe(), f"- {ROUTE[B1]}", WakeAt(new.in_s(1))
    )
    new.now_s += 1
    new.give(Woken()).expect(Observe())
    new.settle(f"- {ROUTE[B1]}")
    assert new.unicast() == {"10.244.2.0/26", "10.244.4.0/26"}


def test_sessions_given_up_by_an_edit_take_no_route_along_before_the_new_peers_have_spoken() -> None:
    play = converged()
    outside = Peer("tor", Address.parse("10.0.0.254"), Asn(65001), ("a1",))
    play.give(IntentLoaded(replace(INTENT, mesh=False, peers=(outside,)))).expect(
        Configure(sessions_with(TOR)), Observe()
    )
    play.settle()
    assert len(play.unicast()) == 3


def test_a_withdrawn_block_goes_and_comes_back() -> None:
    play = converged()
    play.give(Update(B1, withdrawn=(Prefix.parse("10.244.3.0/26"),))).expect(Observe())
    play.settle(f"- {ROUTE[B1]}", f"- {NEXT_HOP[B1]}")
    assert "10.244.3.0/26" not in play.unicast()
    play.give(Update(B1, (path("10.244.3.0/26", B1),))).expect(Observe())
    play.settle(f"+ {NEXT_HOP[B1]}", f"+ {ROUTE[B1]}")
    assert "10.244.3.0/26" in play.unicast()


def test_a_peer_that_dies_keeps_its_routes_for_its_restart_time() -> None:
    play = converged()
    play.give(SessionDown(B1, "closing connection", notified=False)).expect(Observe())
    play.settle()
    assert "10.244.3.0/26" in play.unicast()
    play.now_s += 121
    play.give(Woken()).expect(Observe())
    play.settle(f"- {ROUTE[B1]}", f"- {NEXT_HOP[B1]}")
    assert "10.244.3.0/26" not in play.unicast()


def test_a_restarted_agent_still_retains_the_routes_of_a_member_that_dies() -> None:
    new = Play(converged().kernel)
    new.give(IntentLoaded(INTENT), SpeakerAttached(1, ((A2, 1.0), (B1, 1.0), (B2, 1.0)))).expect(
        CONFIGURATION, Observe(), resumed(A2, B1, B2)
    )
    for peer, block in ((A2, "10.244.2.0/26"), (B1, "10.244.3.0/26"), (B2, "10.244.4.0/26")):
        new.give(RefreshBegun(peer, 4), Update(peer, (path(block, peer),)), RefreshEnded(peer, 4))
    new.give(SessionDown(B1, "closing connection", notified=False))
    new.settle(Speak((Announce(OWN, A2, READY), Announce(OWN, B2, READY))))
    assert len(new.unicast()) == 3


def test_a_lost_speaker_takes_no_route_along() -> None:
    play = converged()
    play.give(SpeakerDetached("end of file")).expect(Observe())
    play.settle()
    assert len(play.unicast()) == 3
    assert play.state.phase is Phase.DEGRADED


def test_a_speaker_that_is_away_for_long_takes_no_route_along_before_a_peer_is_back() -> None:
    play = converged()
    play.give(SpeakerDetached("end of file")).expect(Observe())
    play.now_s += 1000
    play.give(Woken())
    play.settle()
    play.give(SpeakerAttached(2, ())).expect(Observe())
    play.settle()
    assert len(play.unicast()) == 3
    play.now_s += 121
    play.give(Woken()).expect(Observe())
    play.settle()
    assert len(play.unicast()) == 3
    session_up(play, A2, path("10.244.2.0/26", A2), then=[Observe(), greeting(A2, READY)])
    play.now_s += 121
    play.give(Woken())
    play.settle(f"- {ROUTE[B1]}", f"- {ROUTE[B2]}", f"- {NEXT_HOP[B2]}", f"- {NEXT_HOP[B1]}")
    assert play.unicast() == {"10.244.2.0/26"}


def test_a_failure_is_not_forgotten_while_other_things_go_on() -> None:
    play = Play()
    play.give(IntentLoaded(INTENT), SpeakerAttached(1, ())).expect(CONFIGURATION, Observe())
    ops = placeholder()
    play.give(Observed(play.kernel)).expect(Apply(ops))
    *others, refused = ops()
    for op in others:
        play.kernel = after(play.kernel, op)
    play.give(Applied((Failure(refused, errno.EPERM),))).expect(Observe())
    play.give(Observed(play.kernel)).expect(WakeAt(play.in_s(0.1)))
    session_up(play, B1, path("10.244.3.0/26", B1), then=[Observe(), greeting(B1, READY)])
    later = placeholder()
    play.give(Observed(play.kernel)).expect(Apply(later))
    assert refused not in later()
    play.give(Applied(())).expect(Observe())
    assert [failure.op for failure in play.state.attempts.failures] == [refused]


def test_a_bad_edit_changes_nothing_and_is_remembered() -> None:
    play = converged()
    problem = Problem(Place("cluster.yaml", 12, 15), "pools.blue", "both modes set", "both-modes")
    before = play.state.kernel.desired
    play.give(IntentRejected((problem,))).expect()
    play.settle()
    assert play.state.kernel.desired == before
    assert play.state.intent.problems == (problem,)


def test_an_edited_block_is_withdrawn_and_announced() -> None:
    play = converged()
    edited = allocated(INTENT, "a1", blocks=prefixes("10.244.9.0/26"))
    play.give(IntentLoaded(edited)).expect(Observe())
    new = Prefix.parse("10.244.9.0/26")
    rest = (
        "10.244.0.0/21,10.244.8.0/24,10.244.9.64/26,10.244.9.128/25,10.244.10.0/23,10.244.12.0/22,10.244.16.0/20,"
        "10.244.32.0/19,10.244.64.0/18,10.244.128.0/17"
    )
    changes = [change for peer in (A2, B1, B2) for change in (Withdraw(OWN, peer), Announce(new, peer, READY))]
    play.settle(
        "+ address 10.244.9.0/32 dev tunl0",
        "- address 10.244.1.0/32 dev tunl0",
        f"+ inner filter dev tunl0 to 10.244.9.0/26 from {rest} {TO_MEMBERS}",
        "+ route blackhole 10.244.9.0/26 proto 179 metric 1024 table 254",
        f"- {OWN_ROUTE}",
        Speak(tuple(changes)),
    )


def test_an_edit_that_leaves_the_sessions_alone_does_not_configure_the_speaker() -> None:
    play = converged()
    always: Intent = two_racks(ipip=Mode.ALWAYS)
    play.give(IntentLoaded(always)).expect(Observe())


def test_damage_is_mended_and_counted() -> None:
    play = converged()
    healthy = play.kernel
    play.kernel = healthy.drop(route for route in healthy.routes if route.next_hop)
    play.settle(f"+ {ROUTE[A2]}", f"+ {ROUTE[B1]}", f"+ {ROUTE[B2]}")
    assert_same(play.kernel, healthy)
    assert len(play.state.attempts.repairs) == 1


def test_an_operation_that_the_kernel_refuses_is_retried_ever_more_slowly_and_delays_nothing_else() -> None:
    play = Play()
    play.give(IntentLoaded(two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN))).expect(Observe())
    ops = placeholder()
    play.give(Observed(play.kernel)).expect(Apply(ops))
    *others, refused = ops()
    for op in others:
        play.kernel = after(play.kernel, op)
    play.give(Applied((Failure(refused, errno.EPERM),))).expect(Observe())
    pauses_s = []
    for _ in range(6):
        wake_s = placeholder()
        play.give(Observed(play.kernel)).expect(WakeAt(wake_s))
        assert play.state.phase is Phase.DEGRADED
        pauses_s.append(wake_s() - play.now_s)
        play.now_s = wake_s()
        play.give(Woken()).expect(Observe())
        play.give(Observed(play.kernel)).expect(Apply((refused,)))
        play.give(Applied((Failure(refused, errno.EPERM),))).expect(Observe())
    assert pauses_s == pytest.approx([0.1, 0.5, 2, 10, 30, 30], abs=0.01)
    undo(play, "10.244.3.0/26")
    play.give(Observed(play.kernel)).expect(f"+ {ROUTE[B1]}")


def test_a_new_failure_begins_with_the_shortest_pause_once_those_before_are_over() -> None:
    play = Play()
    play.give(IntentLoaded(two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN))).expect(Observe())
    ops = placeholder()
    play.give(Observed(play.kernel)).expect(Apply(ops))
    *others, refused = ops()
    for op in others:
        play.kernel = after(play.kernel, op)
    for _ in range(4):
        play.give(Applied((Failure(refused, errno.EPERM),))).expect(Observe())
        play.now_s += 60
        play.give(Observed(play.kernel)).expect(Apply((refused,)))
    play.kernel = after(play.kernel, refused)
    undo(play, "10.244.3.0/26")
    play.give(Applied(())).expect(Observe())
    repair = placeholder()
    play.give(Observed(play.kernel)).expect(Apply(repair))
    play.give(Applied((Failure(repair()[0], errno.EPERM),))).expect(Observe())
    wake_s = placeholder()
    play.give(Observed(play.kernel)).expect(WakeAt(wake_s))
    assert wake_s() - play.now_s == pytest.approx(0.1, abs=0.01)


def test_a_lost_kernel_is_no_convergence_until_it_is_seen_again() -> None:
    play = converged()
    lost_at_s, wake_s = play.now_s, placeholder()
    play.give(KernelLost("the netlink socket is gone")).expect(WakeAt(wake_s))
    assert 0.5 < wake_s() - lost_at_s < 2
    assert play.state.phase.value == "degraded"
    play.give(KernelChanged(), Update(B1, withdrawn=(Prefix.parse("10.244.3.0/26"),))).expect()
    play.give(Woken()).expect(Observe())
    play.settle(f"- {ROUTE[B1]}", f"- {NEXT_HOP[B1]}")
    assert play.state.phase is Phase.CONVERGED
    assert "10.244.3.0/26" not in play.unicast()


def test_operations_under_way_when_the_kernel_is_lost_are_done_once_it_is_back() -> None:
    play = Play()
    play.give(IntentLoaded(two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN))).expect(Observe())
    ops = placeholder()
    play.give(Observed(play.kernel)).expect(Apply(ops))
    play.give(KernelLost("the netlink socket is gone")).expect(WakeAt(play.in_s(1)))
    play.now_s += 1
    play.give(Woken()).expect(Observe())
    play.give(Observed(play.kernel)).expect(Apply(ops))


PAUSES_S = (0, 0.1, 0.5, 2, 10, 30)
"""Between one repair of an object and the next."""


def test_objects_that_another_program_keeps_removing_are_restored_ever_more_slowly_and_reported() -> None:
    play = converged()
    mended_at_s: list[float] = []
    due_s = 0.0
    while play.now_s < 300:
        undo(play, "10.244.3.0/26")
        if play.now_s < due_s:
            play.settle(WakeAt(play.in_s(due_s - play.now_s)))
        else:
            play.settle(f"+ {ROUTE[B1]}")
            mended_at_s.append(play.now_s)
            due_s = play.now_s + PAUSES_S[min(len(mended_at_s), len(PAUSES_S)) - 1]
        play.now_s += 0.1
    pauses_s = [later - earlier for earlier, later in itertools.pairwise(mended_at_s)]
    assert pauses_s == pytest.approx([0.1, 0.1, 0.5, 2, 10, *[30] * (len(pauses_s) - 5)], abs=0.25)
    assert play.state.phase is Phase.DEGRADED
    assert "10.244.4.0/26" in play.unicast()


def test_while_a_contested_repair_rests_the_agent_sleeps_until_it_is_due() -> None:
    play = converged()
    for _ in range(3):
        undo(play, "10.244.3.0/26")
        play.settle(f"+ {ROUTE[B1]}")
    undo(play, "10.244.3.0/26")
    wake_s = placeholder()
    play.give(KernelChanged()).expect(Observe())
    play.give(Observed(play.kernel)).expect(WakeAt(wake_s))
    assert 0.4 < wake_s() - play.now_s <= 0.5
    undo(play, "10.244.4.0/26")
    play.settle(f"+ {ROUTE[B2]}", WakeAt(play.in_s(0.49)))
    assert play.unicast() == {"10.244.2.0/26", "10.244.4.0/26"}
    play.now_s = wake_s()
    play.give(Woken()).expect(Observe())
    play.settle(f"+ {ROUTE[B1]}")
    assert len(play.unicast()) == 3


def test_a_contest_that_is_over_is_forgotten() -> None:
    play = converged()
    for _ in range(4):
        undo(play, "10.244.3.0/26")
        play.settle(f"+ {ROUTE[B1]}")
        play.now_s += 0.6
    assert play.state.phase.value == "degraded"
    play.now_s += 120
    play.settle()
    assert play.state.phase is Phase.CONVERGED


def test_a_peer_that_changes_its_mind_all_the_time_is_no_contest() -> None:
    play = converged()
    for _ in range(10):
        play.give(Update(B1, withdrawn=(Prefix.parse("10.244.3.0/26"),))).expect(Observe())
        play.settle(f"- {ROUTE[B1]}", f"- {NEXT_HOP[B1]}")
        play.give(Update(B1, (path("10.244.3.0/26", B1),))).expect(Observe())
        play.settle(f"+ {NEXT_HOP[B1]}", f"+ {ROUTE[B1]}")
        assert len(play.unicast()) == 3
    assert play.state.attempts.repairs == ()
    assert play.state.phase is Phase.CONVERGED
