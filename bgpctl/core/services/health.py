"""
Rise and fall: the status of a node's instance of a service, by the outcomes of its checks in a row.

One check says little: a server that restarts refuses a connection or two, and one that is about to fail answers now and
then. So a status changes after `rise` checks in a row that passed, or `fall` in a row that failed, and stays as it is
in between. Before the first change nothing is known, and the address is not announced.

Outcomes are counted up to the point where more of them change nothing, so that an instance at rest has one value.

Refuses to know: how a check is done (process/checks.py), when (agent/checks.py), what follows (core/agent/services.py).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from bgpctl.core.cluster.configuration import Service
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.replacing import replace


class Status(enum.Enum):
    """CHECKING: neither `rise` checks in a row have passed yet, nor `fall` failed."""

    CHECKING = "checking"
    UP = "up"
    DOWN = "down"


class Outcome(NamedTuple):
    """The outcome of one check: why it failed, in words; empty if it passed."""

    failure: str = ""


class Verdict(NamedTuple):
    """
    A status of an instance, with its address: as another one the service would not be the same any more.

    Attributes:
        since_s: when the status last changed.
        failure: of the last check that failed before; empty if none did.
    """

    name: str
    address: Address
    status: Status
    since_s: float
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """
    Attributes:
        since_s: when `status` last changed.
        passed, failed: so many checks in a row, of which one is 0; no more than can change the status.
        failure: why the last one failed that did; `failed_at_s`: when that was.
    """

    status: Status
    since_s: float
    passed: int = 0
    failed: int = 0
    failure: str = ""
    failed_at_s: float = 0.0

    def verdict(self, service: Service) -> Verdict:
        """The verdict that the loop gets."""
        return Verdict(service.name, service.address, self.status, self.since_s, self.failure)


def counted(health: Health, service: Service, outcome: Outcome, at_s: float) -> Health:
    """After one more check, which ended at `at_s`."""
    if outcome.failure:
        failed = min(health.failed + 1, service.fall)
        after = replace(health, passed=0, failed=failed, failure=outcome.failure, failed_at_s=at_s)
        return _turned(after, Status.DOWN, at_s) if failed == service.fall else after
    passed = min(health.passed + 1, service.rise)
    after = replace(health, passed=passed, failed=0)
    return _turned(after, Status.UP, at_s) if passed == service.rise else after


def _turned(health: Health, status: Status, at_s: float) -> Health:
    return health if health.status is status else replace(health, status=status, since_s=at_s)
