"""
The names of Docker's containers and networks, noted as labels of their workloads, by which names lead to them.

No request of Docker's has a name, and Docker must not be asked while it waits for an answer. So a thread asks it after
a container was connected, until it runs; and again with each round, because a container may be given another name.

Refuses to know: DNS.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Container, Mapping
from pathlib import Path
from typing import Final

from bgpctl.attach import ledger_file
from bgpctl.attach.docker import engine
from bgpctl.attach.docker.driver import Driver
from bgpctl.attach.docker.engine import Called, NoAnswer
from bgpctl.attach.docker.messages import Rejected
from bgpctl.attach.docker.waiting import Waiting
from bgpctl.attach.ledger_file import LedgerUnusable
from bgpctl.core.ipam.ledger import Workload
from bgpctl.core.ipam.names import ALIASES, CONTAINER, NETWORK

log = logging.getLogger("bgpctl.docker")

_PAUSE_S: Final = 0.2
_GIVEN_UP_S: Final = 30.0
"""After that the next round asks (rounds.py)."""


def labels_of(found: Called) -> Mapping[str, str]:
    """The labels of a workload of these names."""
    names = {CONTAINER: found.container, NETWORK: found.network, ALIASES: ",".join(sorted(set(found.aliases)))}
    return {key: value for key, value in names.items() if value}


class Calling:
    """Notes names. Any thread may add; one notes. `docker` is the path of Docker's socket."""

    def __init__(self, driver: Driver, docker: Path) -> None:
        self.driver = driver
        self.docker = docker
        self._waiting = Waiting[None](self._note, _PAUSE_S, _GIVEN_UP_S)
        self.end = self._waiting.end
        self.run = self._waiting.run

    def add(self, workload: Workload) -> None:
        """Have the names of a workload noted as soon as Docker has them."""
        if workload.endpoint:
            self._waiting.add(workload.endpoint.id, None)

    def note_all(self) -> None:
        """Note the names of all endpoints, as they are now."""
        try:
            endpoints = [
                found.endpoint.id for found in ledger_file.read(self.driver.directory).of_docker() if found.endpoint
            ]
        except LedgerUnusable as error:
            log.warning("%s", error)
            return
        if endpoints:
            self._note(endpoints)

    def _note(self, endpoints: Container[str]) -> Collection[str]:
        """The endpoints whose names are noted now."""
        try:
            called = engine.called(self.docker, endpoints.__contains__)
            known = {
                found.endpoint.id: found
                for found in ledger_file.read(self.driver.directory).of_docker()
                if found.endpoint
            }
            for endpoint in known.keys() & called.keys():
                labels = labels_of(called[endpoint])
                if dict(known[endpoint].request.labels) != labels:
                    self.driver.call(endpoint, labels)
        except (NoAnswer, LedgerUnusable, Rejected) as error:
            log.debug("names are not known: %s", error)
            return ()
        return called.keys()
