"""
The requested configuration: attempted until it is in place, and again whenever a password changes.

Refuses to know: whether ExaBGP runs, and whether it has loaded what is in place.
"""

from __future__ import annotations

from typing import Final

from bgpctl.core.agent.backoff import Backoff, Cause
from bgpctl.core.bgp.speaker import SpeakerConfig
from bgpctl.speaker import launch
from bgpctl.speaker.launch import ConfigRejected, Rendered, RunDir

PASSWORDS_READ_EVERY_S: Final = 3.0
"""The files are small, and the operator who changed one waits for the session."""


class PendingConfig:
    """
    Attributes:
        in_place: the content of the configuration file; None before the first that was accepted.
        due_s: when `settle` has something to do next, on the caller's clock; None: nothing.
    """

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        self._rejection: str | None = None
        self._new = False
        self.drop()

    def drop(self) -> None:
        """No configuration is requested any more."""
        self._backoff = Backoff(Cause.CONFIG_REJECTED)
        self._asked: SpeakerConfig | None = None
        self.in_place: Rendered | None = None
        self.due_s: float | None = None

    def ask(self, config: SpeakerConfig, now_s: float) -> None:
        """Request this configuration from now on."""
        self._asked, self._rejection, self._new = config, None, True
        self._backoff = Backoff(Cause.CONFIG_REJECTED)
        self.due_s = now_s

    def settle(self, now_s: float) -> Rendered | ConfigRejected | None:
        """Attempt it if that is due: the one put in place, a rejection for a new reason, or None without news."""
        if self._asked is None or self.due_s is None or now_s < self.due_s:
            return None
        outcome = self._attempt(self._asked)
        rejection = str(outcome) if isinstance(outcome, ConfigRejected) else None
        changed = self._new or rejection != self._rejection or (rejection is None and outcome != self.in_place)
        self._new, self._rejection = False, rejection
        if isinstance(outcome, Rendered):
            self.in_place = outcome
        self.due_s = self._next_due_s(self._asked, outcome, now_s)
        return outcome if changed else None

    def _next_due_s(self, config: SpeakerConfig, outcome: Rendered | ConfigRejected, now_s: float) -> float | None:
        if isinstance(outcome, ConfigRejected):
            self._backoff = self._backoff.after_attempt(now_s)
            return self._backoff.due_s
        self._backoff = Backoff(Cause.CONFIG_REJECTED)
        has_passwords = any(session.password_file for session in config.sessions)
        return now_s + PASSWORDS_READ_EVERY_S if has_passwords else None

    def _attempt(self, config: SpeakerConfig) -> Rendered | ConfigRejected:
        try:
            rendered = launch.prepare(config, self._run_dir)
            launch.install(rendered, self._run_dir, self.in_place)
        except ConfigRejected as refused:
            return refused
        return rendered
