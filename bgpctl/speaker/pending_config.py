"""
The requested configuration: attempted until it is in place, and again whenever a password changes.

Refuses to know: whether ExaBGP runs, and whether it has loaded what is in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bgpctl.core.agent.backoff import Backoff, Cause
from bgpctl.core.bgp.speaker import SpeakerConfig
from bgpctl.speaker import launch
from bgpctl.speaker.launch import ConfigRejected, Rendered, RunDir

PASSWORDS_READ_EVERY_S: Final = 3.0
"""The files are small, and the operator who changed one waits for the session."""


class PendingConfig:
    """
    Where no ExaBGP runs, the first configuration is put in place unvalidated: ExaBGP's start shows whether it is valid,
    and to ask before takes as long as a start.

    Args:
        patched: ExaBGP runs with patches.py, which some options need.

    Attributes:
        in_place: the content of the configuration file; None before the first that was accepted.
        due_s: when `settle` has something to do next, on the caller's clock; None: nothing.
    """

    def __init__(self, run_dir: RunDir, *, patched: bool = True) -> None:
        self._run_dir = run_dir
        self._patched = patched
        self._rejection: str | None = None
        self._new = False
        self.drop()

    def drop(self) -> None:
        """No configuration is requested any more."""
        self._backoff = Backoff(Cause.CONFIG_REJECTED)
        self._asked: SpeakerConfig | None = None
        self.in_place: Rendered | None = None
        self._unproven = False
        self.due_s: float | None = None

    def ask(self, config: SpeakerConfig, now_s: float) -> None:
        """Request this configuration from now on."""
        self._asked, self._rejection, self._new = config, None, True
        self._backoff = Backoff(Cause.CONFIG_REJECTED)
        self.due_s = now_s

    def settle(self, now_s: float, runs: Callable[[], bool]) -> Rendered | ConfigRejected | None:
        """
        Attempt it if that is due: the one put in place, a rejection for a new reason, or None without news. `runs`
        answers whether an ExaBGP runs.
        """
        if self._asked is None or self.due_s is None or now_s < self.due_s:
            return None
        return self._take(self._asked, self._attempt(self._asked, runs), now_s)

    def _take(
        self, asked: SpeakerConfig, outcome: Rendered | ConfigRejected, now_s: float
    ) -> Rendered | ConfigRejected | None:
        rejection = str(outcome) if isinstance(outcome, ConfigRejected) else None
        changed = self._new or rejection != self._rejection or (rejection is None and outcome != self.in_place)
        self._new, self._rejection = False, rejection
        if isinstance(outcome, Rendered):
            self.in_place = outcome
        self.due_s = self._next_due_s(asked, outcome, now_s)
        return outcome if changed else None

    def loaded(self) -> None:
        """An ExaBGP has started with what is in place."""
        self._unproven = False

    def not_loaded(self, now_s: float) -> Rendered | ConfigRejected | None:
        """An ExaBGP has ended before it was there: what is in place is the reason if it was never validated."""
        if self._asked is None or self.in_place is None or not self._unproven:
            return None
        self._unproven = False
        try:
            launch.validate(self._run_dir.conf, self.in_place)
        except ConfigRejected as refused:
            self.in_place = None
            self._run_dir.conf.unlink(missing_ok=True)
            return self._take(self._asked, refused, now_s)
        return None

    def _next_due_s(self, config: SpeakerConfig, outcome: Rendered | ConfigRejected, now_s: float) -> float | None:
        if isinstance(outcome, ConfigRejected):
            self._backoff = self._backoff.after_attempt(now_s)
            return self._backoff.due_s
        self._backoff = Backoff(Cause.CONFIG_REJECTED)
        has_passwords = any(session.password_file for session in config.sessions)
        return now_s + PASSWORDS_READ_EVERY_S if has_passwords else None

    def _attempt(self, config: SpeakerConfig, runs: Callable[[], bool]) -> Rendered | ConfigRejected:
        accepted = None if self._unproven else self.in_place
        unproven = self.in_place is None and self._rejection is None and not runs()
        if named := [session.name for session in config.sessions if session.role and not self._patched]:
            # Without a word, routes would leak that the operator thinks are kept in.
            return ConfigRejected(f"ExaBGP as it is (--unpatched) has no roles: peer {named[0]} has localRole")
        if config.ranges and not self._patched:
            return ConfigRejected(f"ExaBGP as it is (--unpatched) accepts no range of peers: {config.ranges[0]}")
        try:
            rendered = launch.prepare(config, self._run_dir)
            launch.install(rendered, self._run_dir, accepted, validated=not unproven)
        except ConfigRejected as refused:
            return refused
        self._unproven = unproven or (self._unproven and rendered == self.in_place)
        return rendered
