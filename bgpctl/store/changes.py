"""
Changes of the content of a store: proposed, confirmed in time, undone.

An operator who is cut off by his own change cannot undo it. So a change may carry a time by which it has to be
confirmed, and it returns by itself if it was not. The contents from before are kept before anything is written, and
neither a killed agent nor a reboot of the host loses them. The last change is a value (store/change.py) whose record
stands beside the contents; every arrow below is one write that happens as a whole or not at all:

    → record "writing" → contents → record "waits" → record "stays"                      confirmed in time
                                                   → record "writing" → contents → …     not confirmed: undone
                                  → record "stays" → record "writing" → contents → …     undone, which is a change too

A record "writing" whose lock is free is that of an agent that was killed in between: the change is undone, whichever
direction it had. Contents other than those of the record were edited by hand: the edit is kept, and the change is given
up. Time is CLOCK_BOOTTIME, which runs while a host sleeps and cannot be set; after a reboot an unconfirmed change is
undone at once.

Agents that read the same files, as those of a lab do, share one record, and wait for each other at its lock.

Refuses to know: the meaning of the contents, and where they are kept (store/files.py, store/memory.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import Final, Protocol

from bgpctl.ports import Clock, Loaded, NotPossibleNow
from bgpctl.store.change import Change, Contents, Standing, Verdict, left_s, undone, verdict_on, written

log = logging.getLogger("bgpctl.store")

ENDED: Final = {
    Standing.RETURNED: ": the last change was not confirmed in time, or interrupted, and is undone",
    Standing.OVERTAKEN: ": the files were edited since, and the edit is kept",
}


class Medium(Protocol):
    """
    Contents, and beside them the record of their last change. Methods raise NotPossibleNow.

    Attributes:
        names: of the contents, for the operator.
    """

    names: tuple[str, ...]

    def read(self) -> Contents:
        """The contents as they are."""

    def write(self, contents: Contents) -> None:
        """Replace the contents, each as a whole."""

    def last(self) -> Change | None:
        """The record; None where nothing was changed yet."""

    def remember(self, change: Change) -> None:
        """Replace the record."""

    def record_identity(self) -> Hashable:
        """Equal as long as the record was not replaced. Cheap."""

    def locked(self) -> AbstractContextManager[object]:
        """The lock of contents and record."""


class Changes:
    """
    The changes of one medium, by whichever agent they were made. Any thread may call.

    Args:
        understand: the meaning of contents.
    """

    def __init__(self, medium: Medium, clock: Clock, understand: Callable[[Contents], Loaded]) -> None:
        self._medium = medium
        self._clock = clock
        self._understand = understand
        self._at_rest: Hashable = None
        """The last record that called for nothing."""

    def left_s(self) -> float | None:
        """The seconds until the last change is undone unless confirmed; None if no change waits."""
        change = self._medium.last()
        return left_s(change, self._clock.since_boot_s()) if change and change.standing is Standing.WAITS else None

    def propose(self, contents: Contents, within_s: float | None) -> None:
        """
        Put `contents` in force; unless confirmed within `within_s` seconds they are undone.

        Raises:
            NotPossibleNow: they are bad, or there is nothing good to return to; a change waits for its confirmation;
                the contents cannot be written.
        """
        problems = self._understand(contents)
        if isinstance(problems, tuple):
            raise NotPossibleNow(f"nothing was applied: {problems[0]}")
        with self._medium.locked():
            self._refuse_second()
            before = self._medium.read()
            if within_s is not None and isinstance(self._understand(before), tuple):
                raise NotPossibleNow(
                    "the cluster file is not valid now, so there would be nothing to return to: correct it first,"
                    " or apply without --confirm-within"
                )
            self._make(before, contents, within_s)

    def _make(self, before: Contents, contents: Contents, within_s: float | None) -> None:
        confirm_by_s = None if within_s is None else self._clock.since_boot_s() + within_s
        change = Change(before, contents, self._clock.boot_id(), confirm_by_s)
        self._medium.remember(change)
        try:
            self._medium.write(contents)
        except NotPossibleNow:
            with suppress(NotPossibleNow):  # as far as it can be: of several files some may have been written
                self._restore(change, Standing.RETURNED)
            raise
        self._medium.remember(written(change))

    def confirm(self) -> None:
        """Let the last change stay. Raises NotPossibleNow if none waits."""
        with self._medium.locked():
            change = self._medium.last()
            if change is None or change.standing is not Standing.WAITS:
                why = ENDED.get(change.standing, "") if change else ""
                raise NotPossibleNow(f"no change waits to be confirmed{why}")
            self._medium.remember(replace(change, standing=Standing.STAYS))

    def undo(self) -> None:
        """
        Restore the contents from before the last change; a second time restores it.

        Raises:
            NotPossibleNow: there was no change, it was undone already, or the contents were edited since.
        """
        with self._medium.locked():
            change = self._medium.last()
            if change is None:
                raise NotPossibleNow("nothing was applied yet")
            if change.standing is Standing.RETURNED:
                raise NotPossibleNow(f"nothing to undo{ENDED[Standing.RETURNED]}")
            if self._medium.read() != change.after:
                names = ", ".join(self._medium.names)
                raise NotPossibleNow(f"{names} was edited since; what was applied is not in force")
            self._restore(change, Standing.STAYS)

    def settle(self) -> None:
        """Undo the last change if its time is over. Cheap while nothing waits."""
        record = self._medium.record_identity()
        if record == self._at_rest:
            return
        try:
            if self._medium.last():
                with self._medium.locked():
                    if change := self._medium.last():
                        self._settle(change)
        except (NotPossibleNow, OSError) as error:
            log.warning("an unconfirmed change cannot be undone: %s", error)
        else:
            self._at_rest = record if self.left_s() is None else None

    def _settle(self, change: Change) -> None:
        match verdict_on(change, self._medium.read(), self._clock.boot_id(), self._clock.since_boot_s()):
            case Verdict.RETURN:
                log.warning("a change was not confirmed in time, or interrupted: previous contents restored")
                self._restore(change, Standing.RETURNED)
            case Verdict.GIVE_UP:
                log.warning("the files were edited: the unconfirmed change is not undone")
                self._medium.remember(replace(change, standing=Standing.OVERTAKEN))
            case Verdict.NOTHING:
                pass

    def _refuse_second(self) -> None:
        if change := self._medium.last():
            self._settle(change)  # it may have been cut short, or it is over
        if self.left_s() is not None:
            raise NotPossibleNow("another change waits to be confirmed: bgpctl confirm, or bgpctl undo")

    def _restore(self, change: Change, standing: Standing) -> None:
        """An agent that is killed in between leaves a change that is being written, and that is undone afterwards."""
        self._medium.remember(replace(change, standing=Standing.WRITING))
        self._medium.write(change.before)
        self._medium.remember(undone(change, self._clock.boot_id(), standing))
