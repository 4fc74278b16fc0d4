"""The checks beside the loop: one at a time of each service, and a report only when a status changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from queue import SimpleQueue

from bgpctl.agent.checks import Checks
from bgpctl.agent.service_memory import ServiceMemory, announced, forget
from bgpctl.core.agent.events import ServicesJudged
from bgpctl.core.cluster.configuration import Check, Service
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address
from bgpctl.core.services.health import Outcome, Status, Verdict
from bgpctl.ports import Checker, Instance, Unavailable
from bgpctl.process.clock import LinuxClock
from bgpctl.process.fake import FakeClock, FakeRunDirectory
from tests.cluster import member, two_racks
from tests.waiting import wait_until

WEB = Service("web", Address.parse("192.0.2.80"), Check(tcp=80), nodes=("a1",), interval_ms=10, rise=2, fall=3)
DNS = replace(WEB, name="dns", address=Address.parse("192.0.2.53"))
UP = Verdict("web", WEB.address, Status.UP, 5.0)


class Scripted(Checker):
    """Answers as `fails` says; counts how many checks of a service are in work at once."""

    def __init__(self) -> None:
        self.fails = ""
        self.lacks = ""
        self.held = threading.Event()
        self.held.set()
        self.asked: list[tuple[Service, Instance]] = []
        self.most = 0
        self._in_work: dict[str, int] = {}
        self._lock = threading.Lock()

    def check(self, service: Service, instance: Instance, is_cancelled: Callable[[], bool]) -> Outcome:
        with self._lock:
            self.asked.append((service, instance))
            self._in_work[service.name] = self._in_work.get(service.name, 0) + 1
            self.most = max(self.most, *self._in_work.values())
        while not self.held.wait(0.001) and not is_cancelled():
            pass
        with self._lock:
            self._in_work[service.name] -= 1
        if self.lacks:
            raise Unavailable(self.lacks)
        return Outcome(self.fails)


class Rig:
    """Checks whose reports wait to be taken."""

    def __init__(self, *known: Verdict) -> None:
        self.checker = Scripted()
        self.reports: SimpleQueue[ServicesJudged] = SimpleQueue()
        self.checks = Checks(self.checker, LinuxClock(), self.reports.put, {verdict.name: verdict for verdict in known})

    def follow(self, *services: Service) -> None:
        intent: Intent = replace(two_racks(), services=services)
        self.checks.follow(intent, member(intent, "a1"))

    def verdict(self) -> Verdict:
        (found,) = self.reports.get(timeout=30).verdicts
        return found


@contextmanager
def rig(*known: Verdict) -> Iterator[Rig]:
    found = Rig(*known)
    try:
        yield found
    finally:
        found.checks.stop()


def test_a_status_is_reported_when_it_changes_and_not_before() -> None:
    with rig() as it:
        it.follow(WEB)
        assert it.verdict()[:3] == ("web", WEB.address, Status.UP)
        it.checker.fails = "connection refused"
        found = it.verdict()
        assert (found.status, found.failure) == (Status.DOWN, "connection refused")
        count = len(it.checker.asked)
        wait_until(lambda: len(it.checker.asked) > count + 5)
        assert it.reports.empty()
        assert it.checks.health()["web"].failed == 3


def test_a_check_that_takes_long_delays_no_other_service() -> None:
    with rig() as it:
        it.checker.held.clear()
        it.follow(WEB, DNS)
        wait_until(lambda: {service.name for service, _ in it.checker.asked} == {"web", "dns"})
        it.checker.held.set()
        assert {it.verdict().name, it.verdict().name} == {"web", "dns"}


def test_there_is_never_more_than_one_check_of_a_service_whatever_is_edited_meanwhile() -> None:
    with rig() as it:
        it.checker.held.clear()
        it.follow(WEB)
        wait_until(lambda: len(it.checker.asked) == 1)
        it.follow(replace(WEB, check=Check(tcp=81)))
        it.follow()
        it.follow(WEB)
        it.checker.held.set()
        assert it.verdict().status is Status.UP
        assert it.checker.most == 1


def test_an_instance_is_what_the_last_agent_left_until_its_checks_say_more() -> None:
    with rig(UP) as it:
        it.checker.held.clear()
        it.follow(WEB)
        assert it.checks.health()["web"].status is Status.UP
        it.checker.held.set()
        wait_until(lambda: len(it.checker.asked) > 4)
        assert it.reports.empty()


def test_a_verdict_on_another_address_counts_for_nothing() -> None:
    with rig(UP._replace(address=DNS.address)) as it:
        it.follow(WEB)
        assert it.verdict().status is Status.UP


def test_a_lack_of_our_own_is_no_failed_check() -> None:
    with rig(UP) as it:
        it.checker.lacks = "no descriptor is left"
        it.follow(WEB)
        wait_until(lambda: len(it.checker.asked) > 5)
        assert it.checks.health()["web"].failed == 0
        assert it.reports.empty()


def test_the_instance_is_the_node_or_the_workload_in_its_block() -> None:
    workload = Address.parse("10.244.1.7")
    with rig() as it:
        it.follow(WEB, replace(DNS, workloads=(workload,)))
        wait_until(lambda: len({service.name for service, _ in it.checker.asked}) == 2)
        found = {service.name: instance for service, instance in it.checker.asked}
        assert found == {
            "web": Instance(WEB.address, is_here=True),
            "dns": Instance(workload, is_here=False),
        }


# What the next agent finds ---------------------------------------------------------------------------------------


def test_verdicts_are_recalled_in_the_same_boot_only() -> None:
    directory, clock = FakeRunDirectory(), FakeClock()
    memory = ServiceMemory(directory, clock)
    assert memory.recall() == ()
    down = Verdict("dns", DNS.address, Status.DOWN, 7.5, "exit code 1")
    memory.keep([UP, down])
    assert ServiceMemory(directory, clock).recall() == (UP, down)
    assert announced(directory) == (WEB.prefix,)
    clock.boot()
    assert memory.recall() == ()


def test_what_is_no_memory_is_none() -> None:
    directory, clock = FakeRunDirectory(), FakeClock()
    for content in (b"", b"{", b"[]", b'{"boot": 1}', b'{"boot": "boot 1", "services": [{"name": 1}]}', b'"x"'):
        directory.files["services.json"] = content
        assert ServiceMemory(directory, clock).recall() == ()
    forget(directory)
    assert announced(directory) == ()
