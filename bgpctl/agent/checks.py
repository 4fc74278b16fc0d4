"""
Checks beside the loop: one thread for each service of which this node has an instance.

So a check that takes long delays no other one, there is never more than one of a service at a time, and the loop waits
for none. The loop hears of an instance only when its status changes; how its last checks went can be asked at any time.

Refuses to know: how an instance is checked (ports.py: Checker), what its status means (core/services/health.py).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from bgpctl.core.agent.events import ServicesJudged
from bgpctl.core.cluster.configuration import Node, Service
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.services.health import Health, Status, Verdict, counted
from bgpctl.ports import Checker, Clock, Instance, Unavailable

log = logging.getLogger("bgpctl.agent")

_LEVELS: Final = {Status.UP: logging.INFO, Status.DOWN: logging.WARNING, Status.CHECKING: logging.INFO}

_ENDING_S: Final = 0.5
"""In this time a program that is in work is ended."""


class _Task(NamedTuple):
    """A service, and where this node's instance of it is."""

    service: Service
    instance: Instance


class Checks:
    """
    Its methods, but for `health`, are for the loop's thread.

    Args:
        report: called from another thread.
        known: verdicts that an earlier agent left, by service; an instance is what it was until its checks say more.
    """

    def __init__(
        self,
        checker: Checker,
        clock: Clock,
        report: Callable[[ServicesJudged], None],
        known: Mapping[str, Verdict],
    ) -> None:
        self._checker = checker
        self._clock = clock
        self._report = report
        self._known = dict(known)
        self._workers: dict[str, _Worker] = {}
        self._ending: dict[str, _Worker] = {}

    def follow(self, intent: Intent, node: Node) -> None:
        """These are the configuration and this node from now on."""
        tasks = {service.name: _task(intent, node, service) for service in intent.services_of(node)}
        for name in [name for name in self._workers if name not in tasks]:
            worker = self._workers.pop(name)
            worker.stop()
            self._ending[name] = worker
        for name, task in tasks.items():
            worker = self._workers.get(name) or self._begun(task)
            worker.follow(task)

    def _begun(self, task: _Task) -> _Worker:
        name = task.service.name
        known = self._known.pop(name, None)
        is_same = known is not None and known.address == task.service.address
        health = Health(known.status, known.since_s, failure=known.failure) if known and is_same else None
        worker = _Worker(self._checker, self._clock, self._report, health, self._ending.pop(name, None))
        self._workers[name] = worker
        return worker

    def health(self) -> Mapping[str, Health]:
        """How each instance is now, by service; from any thread."""
        return {name: found for name, worker in dict(self._workers).items() if (found := worker.health)}

    def stop(self) -> None:
        """End all threads. One that waits for an answer now goes with the process."""
        for worker in self._workers.values():
            worker.stop()
        for worker in (*self._workers.values(), *self._ending.values()):
            worker.join(_ENDING_S)


def _task(intent: Intent, node: Node, service: Service) -> _Task:
    workload = intent.workload_of(service, node)
    return _Task(service, Instance(workload or service.address, is_here=workload is None))


class _Worker:
    """The thread of one service. `before`: the thread that it takes the place of, which may have a check in work."""

    def __init__(
        self,
        checker: Checker,
        clock: Clock,
        report: Callable[[ServicesJudged], None],
        health: Health | None,
        before: _Worker | None,
    ) -> None:
        self.health = health
        self._checker = checker
        self._clock = clock
        self._report = report
        self._before = before
        self._changed = threading.Condition()
        self._task: _Task | None = None
        self._is_new = False
        self._stopped = False
        self._thread: threading.Thread | None = None

    def follow(self, task: _Task) -> None:
        """Check this from now on; with another address it is another instance, of which nothing is known."""
        with self._changed:
            if self._task and self._task.service.address != task.service.address:
                self.health = None
            self._is_new = self._is_new or self._task != task
            self._task = task
            self._changed.notify()
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=f"check {task.service.name}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the host, or our limit, has no thread left: the next change tries again
                facts = {"service": task.service.name, "error": str(error)}
                log.warning("a service cannot be checked", extra={"facts": facts})
            else:
                self._thread = thread

    def stop(self) -> None:
        """End the thread after the check in work, whose outcome counts no more."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def join(self, most_s: float | None = None) -> None:
        """Wait until the thread has ended, at most so long."""
        if self._thread:
            self._thread.join(most_s)

    def _run(self) -> None:
        if self._before:
            self._before.join()
            self._before = None
        due_s = self._clock.now_s()
        while task := self._turn(due_s):
            began_s = self._clock.now_s()
            self._check(task)
            due_s = began_s + task.service.interval_ms / 1000

    def _turn(self, due_s: float) -> _Task | None:
        """The next check, once it is time; at once if it is new. None when stopped."""
        with self._changed:
            wait_s = max(0.0, due_s - self._clock.now_s())
            self._changed.wait_for(lambda: self._stopped or self._is_new, wait_s)
            self._is_new = False
            return None if self._stopped else self._task

    def _check(self, task: _Task) -> None:
        try:
            outcome = self._checker.check(task.service, task.instance, lambda: self._stopped)
        except Unavailable as error:
            log.warning("%s", error)
            return
        at_s = self._clock.now_s()
        with self._changed:
            if self._stopped or not self._task or self._task.service.address != task.service.address:
                return
            before = self.health or Health(Status.CHECKING, at_s)
            self.health = now = counted(before, task.service, outcome, at_s)
        if now.status is not before.status:
            facts = {"service": task.service.name, "address": task.service.address, "failure": now.failure}
            log.log(_LEVELS[now.status], "service is %s", now.status.value, extra={"facts": facts})
            self._report(ServicesJudged((now.verdict(task.service),)))
