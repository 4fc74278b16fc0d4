"""
The verdicts on services as a file of the run directory: what the next agent begins with.

ExaBGP goes on announcing while there is no agent. The next one has to know which of these announcements were good, or
it would withdraw them all until its checks have passed often enough.

Refuses to know: where the directory is.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.services.health import Status, Verdict
from bgpctl.ports import Clock, RunDirectory, Unavailable

log = logging.getLogger("bgpctl.agent")

_FILE: Final = "services.json"


class ServiceMemory:
    """The verdicts of one boot; those of another one count no more."""

    def __init__(self, directory: RunDirectory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock

    def recall(self) -> tuple[Verdict, ...]:
        """The verdicts that were kept; none if they cannot be read."""
        boot, verdicts = _kept(self._directory)
        return verdicts if boot == self._clock.boot_id() else ()

    def keep(self, verdicts: Iterable[Verdict]) -> None:
        """Keep these in place of the former ones."""
        body = {"boot": self._clock.boot_id(), "services": list(map(_written, verdicts))}
        try:
            self._directory.write(_FILE, json.dumps(body).encode())
        except Unavailable as error:
            log.warning("verdicts on services are not kept: %s", error)


def announced(directory: RunDirectory) -> tuple[Prefix, ...]:
    """The addresses that the speaker may announce for an agent that is gone."""
    _, verdicts = _kept(directory)
    return tuple(sorted({verdict.address.host_prefix for verdict in verdicts if verdict.status is Status.UP}))


def _kept(directory: RunDirectory) -> tuple[str, tuple[Verdict, ...]]:
    """The boot, and the verdicts; nothing where the file is not what it should be."""
    content = directory.read(_FILE)
    try:
        found = json.loads(content) if content else {}
        return str(found["boot"]), tuple(map(_read, found["services"]))
    except (ValueError, KeyError, TypeError):
        return "", ()


def forget(directory: RunDirectory) -> None:
    """Leave nothing to a next agent, as there is no speaker any more that announces anything."""
    if directory.read(_FILE):
        directory.write(_FILE, b"{}")


def _written(verdict: Verdict) -> Mapping[str, Any]:
    return {
        "name": verdict.name,
        "address": str(verdict.address),
        "status": verdict.status.value,
        "since_s": verdict.since_s,
        "failure": verdict.failure,
    }


def _read(item: Mapping[str, Any]) -> Verdict:
    return Verdict(
        str(item["name"]),
        Address.parse(item["address"]),
        Status(item["status"]),
        float(item["since_s"]),
        str(item["failure"]),
    )
