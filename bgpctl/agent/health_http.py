"""
Pages for other programs: liveness, readiness and metrics of the agent.

Refuses to know: how pages are served.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from bgpctl.agent import health
from bgpctl.agent.pages import Page, Pages, json_page
from bgpctl.agent.snapshot import Snapshot

if TYPE_CHECKING:
    from bgpctl.agent.metrics import Metrics

HANGS_AFTER_S: Final = 60.0
"""A loop without a beat for so long hangs: a change of 100,000 routes takes a few seconds."""


def pages(snapshot: Callable[[], Snapshot], silent_s: Callable[[], float]) -> Pages:
    """`snapshot` returns the current state, `silent_s` the time since the loop's last beat."""

    @cache
    def metrics() -> Metrics:
        from bgpctl.agent.metrics import Metrics  # noqa: PLC0415 (many agents are never scraped)

        return Metrics(snapshot)

    return {
        "/liveness": lambda: _liveness(silent_s()),
        "/readiness": partial(_readiness, snapshot),
        "/metrics": lambda: Page(HTTPStatus.OK, metrics().content_type, metrics().page()),
    }


def _liveness(silent_s: float) -> Page:
    alive = silent_s < HANGS_AFTER_S
    body = {"schema": "bgpctl/liveness/v1", "alive": alive, "silent_s": round(silent_s, 1)}
    return json_page(_status(well=alive), body)


def _readiness(snapshot: Callable[[], Snapshot]) -> Page:
    reasons = list(health.unready(snapshot().state))
    body = {"schema": "bgpctl/readiness/v1", "ready": not reasons, "reasons": reasons}
    return json_page(_status(well=not reasons), body)


def _status(*, well: bool) -> HTTPStatus:
    return HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
