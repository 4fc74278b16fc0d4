"""
The names that this node knows: of its own workloads by the ledger, of others' by what their nodes publish.

The ledger is read again as soon as it was replaced, which each question finds out at the cost of one system call: a
workload is in it before it can ask. Where it cannot be read, or the cluster file has errors, the last good content
counts.

Refuses to know: how names come from other nodes, DNS messages.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bgpctl.attach import ledger_file
from bgpctl.attach.ledger_file import LedgerUnusable
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.ledger import Ledger
from bgpctl.core.ipam.names import Named, Others, Zone, named, zone
from bgpctl.core.net.addresses import Address
from bgpctl.ports import Unavailable

log = logging.getLogger("bgpctl.dns")

Cluster = Callable[[], tuple[Intent, Node]]
"""The cluster and this node as they are now. Raises Unavailable."""


class Source(Protocol):
    """Names of other nodes' workloads. Any thread may call."""

    def publish(self, names: tuple[Named, ...]) -> None:
        """Let other nodes know this node's own."""

    def others(self) -> Others:
        """The names of all others; the same object until it changes."""

    def close(self) -> None:
        """End its threads."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """The parts that a zone was made of."""

    ledger: object = None
    intent: Intent | None = None
    others: Others | None = None


@dataclass(slots=True)
class Names:
    """`directory`: of the ledger. Any thread may call."""

    directory: Path
    cluster: Cluster
    source: Source
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _ledger: Ledger = field(default_factory=Ledger)
    _version: object = None
    _devices: Mapping[Address, str] = field(default_factory=dict)
    _seen: _Seen = field(default_factory=_Seen)
    _zone: Zone = field(default_factory=lambda: zone((), lambda _: False, is_complete=False))
    _own: tuple[Named, ...] = ()
    _problem: str = ""

    def devices(self) -> Mapping[Address, str]:
        """The node's end of the cable of each address of this node's workloads."""
        with self._lock:
            self._read()
            return self._devices

    def zone(self) -> Zone:
        """All names, as they are known now."""
        with self._lock:
            self._read()
            intent, others = self._intent(), self.source.others()
            seen = _Seen(self._version, intent, others)
            if intent is not None and (seen.ledger, id(intent), id(others)) != self._key():
                self._seen = seen
                self._own = named(self._ledger, intent)
                every = (*self._own, *(name for names in others.names.values() for name in names))
                self._zone = zone(every, self.is_ours, is_complete=not others.unheard)
                self.source.publish(self._own)
            return self._zone

    def is_ours(self, address: Address) -> bool:
        """True for an address of a pool."""
        intent = self._seen.intent
        return intent is not None and intent.pool_of(address.host_prefix) is not None

    @property
    def own(self) -> tuple[Named, ...]:
        """Of this node's workloads, as of the last zone."""
        return self._own

    def _key(self) -> tuple[object, int, int]:
        return self._seen.ledger, id(self._seen.intent), id(self._seen.others)

    def _intent(self) -> Intent | None:
        try:
            return self.cluster()[0]
        except Unavailable as error:
            self._tell(str(error))
            return self._seen.intent

    def _read(self) -> None:
        version = ledger_file.version(self.directory)
        if version == self._version:
            return
        try:
            ledger = ledger_file.read(self.directory)
        except LedgerUnusable as error:
            self._tell(str(error))
            return
        self._version, self._ledger = version, ledger
        found = ledger.workloads.values()
        self._devices = {address: workload.device for workload in found for address in workload.addresses}

    def _tell(self, problem: str) -> None:
        """Once, however often it is met."""
        if problem != self._problem:
            log.warning("%s", problem)
        self._problem = problem
