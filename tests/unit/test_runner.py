"""The runner with fake ports, some of which fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from bgpctl.agent import runner as runner_module
from bgpctl.agent.observe_throttle import ObserveThrottle
from bgpctl.agent.recheck_throttle import RecheckThrottle
from bgpctl.agent.runner import Ports, Runner
from bgpctl.core.agent.events import (
    Applied,
    KernelChanged,
    MirrorMismatch,
    PeerRequested,
    SelfCheckMismatch,
    Woken,
)
from bgpctl.core.agent.state import Phase
from bgpctl.core.agent.step import step
from bgpctl.core.cluster.configuration import Backend
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.problems import Place, Problem
from bgpctl.core.dataplane.drift import Mismatch
from bgpctl.core.dataplane.effects import Failure, Op, Remove
from bgpctl.core.dataplane.plan import NOT_WANTED
from bgpctl.core.net import dataplane
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.route_set import difference
from bgpctl.kernel.fake import FakeKernel
from bgpctl.ports import Unavailable
from bgpctl.process.clock import LinuxClock
from bgpctl.speaker.fake import FakeSpeaker
from bgpctl.store.memory import Memory, MemoryStore
from tests.cluster import bare_kernel, member, two_racks
from tests.kernel_text import assert_has
from tests.probers import NoProber
from tests.waiting import wait_until

INTENT = two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN)


class Kernel(FakeKernel):
    """One that can be lost: then nothing can be asked of it until it is back."""

    def __init__(self) -> None:
        super().__init__(bare_kernel(member(INTENT, "a1")))
        self.lost = False
        self.lost_while_applying = False
        self.observations = 0
        self.observe_takes_s = 0.0

    def observe(self) -> Dataplane:
        self.observations += 1
        ready_s = time.monotonic() + self.observe_takes_s
        while time.monotonic() < ready_s:
            pass
        self._ask()
        return super().observe()

    def apply(self, ops: Sequence[Op]) -> tuple[Failure, ...]:
        self.lost = self.lost or self.lost_while_applying
        self._ask()
        return super().apply(ops)

    def _ask(self) -> None:
        if self.lost:
            raise Unavailable("the netlink socket is gone")


@contextmanager
def running(kernel: Kernel) -> Iterator[Runner]:
    clock = LinuxClock()
    store = MemoryStore(Memory(), clock, lambda _: INTENT)
    runner = Runner("a1", Ports(lambda: kernel, FakeSpeaker(), store, clock, NoProber()))
    thread = threading.Thread(target=runner.run)
    thread.start()
    try:
        yield runner
    finally:
        runner.stop()
        thread.join()


def test_a_lost_kernel_is_reported_and_observed_again_until_it_is_back() -> None:
    kernel = Kernel()
    with running(kernel) as runner:
        wait_until(lambda: runner.state.phase is Phase.CONVERGED)
        kernel.lost = True
        runner.post(KernelChanged())
        wait_until(lambda: runner.state.phase is Phase.DEGRADED)
        assert runner.state.kernel.error == "the netlink socket is gone"
        observations = kernel.observations
        wait_until(lambda: kernel.observations > observations)
        kernel.lost = False
        wait_until(lambda: runner.state.phase is Phase.CONVERGED)
        assert not runner.state.kernel.error


def test_a_kernel_that_is_lost_while_it_is_changed_is_changed_once_it_is_back() -> None:
    kernel = Kernel()
    kernel.lost_while_applying = True
    with running(kernel) as runner:
        wait_until(lambda: bool(runner.state.kernel.error))
        assert runner.state.phase is Phase.DEGRADED
        kernel.lost = kernel.lost_while_applying = False
        wait_until(lambda: runner.state.phase is Phase.CONVERGED)
        assert runner.state.kernel.desired
        assert_has(kernel.observe(), runner.state.kernel.desired.dataplane)


REJECTED = (Problem(Place("cluster.yaml", 1, 1), "nodes", "it is none", "test"),)


def test_a_rejected_edit_is_settled_once_the_state_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    settled = []

    def noted(*given: Any) -> Any:
        settled.append(runner.settled)
        return step(*given)

    with running(Kernel()) as runner:
        wait_until(lambda: runner.settled == 1 and runner.state.phase is Phase.CONVERGED)
        monkeypatch.setattr(runner_module, "step", noted)
        assert runner.edited(REJECTED) == 2
        wait_until(lambda: runner.settled == 2)
        assert runner.state.intent.problems == REJECTED
    assert settled[0] == 1


def test_a_rejected_edit_after_one_that_no_kernel_was_compared_with_is_not_settled() -> None:
    kernel = Kernel()
    kernel.lost = True
    with running(kernel) as runner:
        wait_until(lambda: bool(runner.state.kernel.error))
        runner.edited(REJECTED)
        wait_until(lambda: runner.state.intent.problems == REJECTED)
        assert runner.settled == 0
        kernel.lost = False
        wait_until(lambda: runner.settled == 2)


def test_a_lost_kernel_is_not_asked_for_at_every_event() -> None:
    kernel = Kernel()
    kernel.lost = True
    with running(kernel) as runner:
        wait_until(lambda: bool(runner.state.kernel.error))
        observations, began_s = kernel.observations, time.monotonic()
        while time.monotonic() - began_s < 0.2:
            runner.post(KernelChanged())
        assert kernel.observations - observations <= 1


def test_while_another_program_changes_the_kernel_all_the_time_observing_in_vain_takes_a_small_part_of_it() -> None:
    kernel = Kernel()
    with running(kernel) as runner:
        wait_until(lambda: runner.state.phase is Phase.CONVERGED)
        kernel.observe_takes_s = 0.02
        kernel.tamper()
        observations, began_s = kernel.observations, time.monotonic()
        while time.monotonic() - began_s < 1.5:
            kernel.tamper()
        # More only if it were not paced: 1.5 s allow 75 observations. A busy machine has fewer.
        assert kernel.observations - observations <= 6


def test_operations_that_worked_are_observed_together_with_what_comes_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "_PROOF_WAITS_S", 3600.0)
    kernel = Kernel()
    with running(kernel) as runner:
        wait_until(lambda: happened(runner, Applied), within_s=30)
        runner.post(KernelChanged())
        wait_until(lambda: happened(runner, KernelChanged), within_s=30)
        assert (kernel.observations, runner.state.phase) == (1, Phase.CONVERGING)
        runner.post(Woken())
        wait_until(lambda: runner.state.phase is Phase.CONVERGED, within_s=30)
        assert kernel.observations == 2


def test_operations_of_which_one_failed_are_observed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "_PROOF_WAITS_S", 3600.0)
    kernel = Kernel()
    monkeypatch.setattr(kernel, "apply", lambda ops: (Failure(next(iter(ops)), 1, "not permitted"),))
    with running(kernel) as runner:
        wait_until(lambda: happened(runner, Applied), within_s=30)
        wait_until(lambda: kernel.observations == 2, within_s=30)


def happened(runner: Runner, kind: type) -> bool:
    return any(isinstance(entry.event, kind) for entry in runner.journal.record().entries)


def test_damage_is_observed_at_once_each_time() -> None:
    kernel = Kernel()
    with running(kernel) as runner:
        wait_until(lambda: runner.state.phase is Phase.CONVERGED)
        healthy = kernel.observe()
        kernel.observe_takes_s = 0.02
        for route in healthy.routes:
            if route.next_hop:
                kernel.tamper(Remove(route, NOT_WANTED))
                wait_until(lambda: FakeKernel.observe(kernel) == healthy)


def test_a_change_without_a_notification_is_found_by_a_dump_repaired_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bgpctl.agent.recheck_throttle._EVERY_S", 0.05)
    kernel = Kernel()
    with running(kernel) as runner:
        wait_until(lambda: runner.state.phase is Phase.CONVERGED)
        healthy = kernel.observe()
        route = next(route for route in healthy.routes if route.next_hop)
        kernel.tamper_unnotified(Remove(route, NOT_WANTED))

        def is_found() -> bool:
            runner.post(KernelChanged())
            return runner.state.kernel.mismatches == 1

        wait_until(is_found)
        wait_until(lambda: kernel.observe() == healthy)
        (found,) = (entry.event for entry in runner.journal.record().entries if isinstance(entry.event, MirrorMismatch))
        assert found.mismatch == Mismatch(Dataplane.of((route,)), Dataplane())


def test_a_decision_that_took_over_what_it_should_not_have_is_found_counted_and_repaired(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bgpctl.agent.recheck_throttle._EVERY_S", 0.01)
    kernel = Kernel()
    with running(kernel) as runner:
        wait_until(lambda: runner.state.phase is Phase.CONVERGED)
        healthy = kernel.observe()
        route = next(route for route in healthy.routes if route.next_hop)
        with monkeypatch.context() as patches:
            # The comparison does not see that the kernel's routes are others than before.
            patches.setattr(dataplane, "difference", lambda mine, theirs, before: before or difference(mine, theirs))
            kernel.tamper(Remove(route, NOT_WANTED))
            # A check on a busy machine takes 10 ms, and the next one follows after a thousand times as long.
            wait_until(lambda: runner.state.selfcheck_mismatches > 0, within_s=120)
            wait_until(lambda: kernel.observe() == healthy, within_s=120)
        found = [entry.event for entry in runner.journal.record().entries if isinstance(entry.event, SelfCheckMismatch)]
        assert all({"kernel.pending", "commands"} <= set(event.parts) for event in found)


def test_everything_is_dumped_once_a_minute_and_for_a_five_hundredth_of_the_time_at_most() -> None:
    pace = RecheckThrottle(100.0, 500)
    assert not pace.is_due(159.9)
    assert pace.is_due(160.0)
    pace.rechecked(160.01, 0.01)
    assert not pace.is_due(220.0)
    assert pace.is_due(220.02)
    pace.rechecked(300.2, 0.2)
    assert not pace.is_due(400.0)
    assert pace.is_due(400.3)


def test_the_pace_is_a_twentieth_of_the_time_and_two_seconds_at_most() -> None:
    throttle = ObserveThrottle()
    assert throttle.wait_s(5.0) == 0
    throttle.observed_in_vain(10.0, 10.01)
    assert throttle.wait_s(10.01) == pytest.approx(0.2)
    assert throttle.wait_s(10.3) == 0
    throttle.observed_in_vain(20.0, 23.0)
    assert throttle.wait_s(23.5) == pytest.approx(1.5)


def test_damage_is_repaired_while_events_never_end() -> None:
    """33 s were seen: a peer sends faster than the loop takes it in, and a decision waits for the end of the burst."""
    kernel = Kernel()
    with running(kernel) as runner:
        wait_until(lambda: runner.state.phase is Phase.CONVERGED)
        healthy = kernel.observe()
        flapping = PeerRequested(Address.parse("192.0.2.1"), up=True)
        ends = threading.Event()

        def flood() -> None:
            while not ends.is_set():
                for _ in range(1000):
                    runner.post(flapping)
                wait_until(lambda: runner.waiting <= 2000 or ends.is_set())

        flooding = threading.Thread(target=flood)
        flooding.start()
        try:
            wait_until(lambda: runner.waiting >= 1000)
            for route in (route for route in healthy.routes if route.next_hop):
                kernel.tamper(Remove(route, NOT_WANTED))
                wait_until(lambda: FakeKernel.observe(kernel) == healthy, within_s=15)
                assert runner.waiting, "the flood had no pause"
        finally:
            ends.set()
            flooding.join()
