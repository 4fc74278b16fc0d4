"""
The last decision made again, in a spare moment and beside the loop.

A state is a value, so another thread may derive all that follows from it while the loop goes on. It takes two seconds
of CPU with 50,000 routes; hence the pause.

Refuses to know: what a difference means, and how it is repaired.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from bgpctl.agent.recheck_throttle import RecheckThrottle
from bgpctl.core.agent.events import SelfCheckMismatch
from bgpctl.core.agent.memo import Memo
from bgpctl.core.agent.selfcheck import Decision, differences
from bgpctl.core.net.replacing import replace
from bgpctl.ports import Clock

_NO_MEMO: Final = Memo()
_PAUSE: Final = 1000
"""A tenth of a percent of one CPU."""


class SelfCheck:
    """
    Its methods are for the loop's thread.

    Args:
        report: called from another thread, with a difference if there is one.
    """

    def __init__(self, clock: Clock, report: Callable[[SelfCheckMismatch], None]) -> None:
        self._clock = clock
        self._report = report
        self._throttle = RecheckThrottle(clock.now_s(), _PAUSE)
        self._last: Decision | None = None
        self._running: threading.Thread | None = None

    def decided(self, decision: Decision) -> None:
        """The one to check next. What was taken over for it is let go: it would keep former tables."""
        self._last = decision._replace(before=replace(decision.before, memo=_NO_MEMO))

    def spare_moment(self) -> None:
        """The loop has nothing to do: check, if it is time for that."""
        is_running = self._running is not None and self._running.is_alive()
        if self._last is None or is_running or not self._throttle.is_due(self._clock.now_s()):
            return
        self._running = threading.Thread(target=self._check, args=(self._last,), name="selfcheck", daemon=True)
        self._last = None
        with suppress(RuntimeError):  # the host, or our limit, has no thread left: another decision is checked
            self._running.start()

    def _check(self, decision: Decision) -> None:
        began_s = self._clock.now_s()
        parts = differences(decision)
        self._throttle.rechecked(ended_s := self._clock.now_s(), ended_s - began_s)
        if parts:
            self._report(SelfCheckMismatch(parts))
