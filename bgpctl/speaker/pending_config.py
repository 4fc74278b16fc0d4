"""
The configuration that was asked for, tried until it is in place, and again whenever a password changes.

Refuses to know: whether ExaBGP runs, and whether it has loaded what is in place.
"""

from __future__ import annotations

from typing import Final

from bgpctl.core.bgp.speaker import SpeakerConfig
from bgpctl.speaker import launch
from bgpctl.speaker.launch import ConfigRejected, Rendered, RunDir

RETRY_AFTER_S: Final = 3.0
"""Password files are read again, and a refused configuration is tried again, this often."""


class PendingConfig:
    """
    Attributes:
        in_place: what the configuration file says; None before the first that was accepted.
        due_s: when `settle` has something to do next, on the caller's clock; None: nothing.
    """

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        self._refusal: str | None = None
        self._new = False
        self.drop()

    def drop(self) -> None:
        """Want nothing."""
        self._asked: SpeakerConfig | None = None
        self.in_place: Rendered | None = None
        self.due_s: float | None = None

    def ask(self, config: SpeakerConfig, now_s: float) -> None:
        """Want this configuration from now on."""
        self._asked, self._refusal, self._new = config, None, True
        self.due_s = now_s

    def settle(self, now_s: float) -> Rendered | ConfigRejected | None:
        """Try if it is time: what was put in place, a refusal for a new reason, or None when there is no news."""
        if self._asked is None or self.due_s is None or now_s < self.due_s:
            return None
        outcome = self._try(self._asked)
        refusal = str(outcome) if isinstance(outcome, ConfigRejected) else None
        changed = self._new or refusal != self._refusal or (refusal is None and outcome != self.in_place)
        self._new, self._refusal = False, refusal
        if isinstance(outcome, Rendered):
            self.in_place = outcome
        may_change = refusal is not None or any(session.password_file for session in self._asked.sessions)
        self.due_s = now_s + RETRY_AFTER_S if may_change else None
        return outcome if changed else None

    def _try(self, config: SpeakerConfig) -> Rendered | ConfigRejected:
        try:
            rendered = launch.prepare(config, self._run_dir)
            launch.install(rendered, self._run_dir)
        except ConfigRejected as refused:
            return refused
        return rendered
