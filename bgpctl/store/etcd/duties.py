"""
What an agent does for its node in the store while it hears it: a sign of life, and the list of revoked certificates.

The sign of life is `alive/NODE`, a key that etcd removes 30 s after the node was last heard. It is a hint for people
and for `bgpctl cluster remove`, which removes no node that gives one. Nothing in a kernel follows from it: a node that
is cut off from the store goes on forwarding.

The list of revoked certificates is signed by the cluster's authority, so that the store is not trusted with it. It is
kept as a file beside the node's keys, for the channel between agents.

Refuses to know: who reads the sign, how certificates are checked (bgpctl/channel.py).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final, Protocol

from bgpctl import filesystem
from bgpctl.store.etcd.follower import FAULTS
from bgpctl.store.etcd.kv import Kv

log = logging.getLogger("bgpctl.store")

ALIVE: Final = "alive/"
REVOCATIONS: Final = "revoked"
_LASTS_S: Final = 30
_EVERY_S: Final = 10.0
_SIGN: Final = '{"format": 1}'


class Duty(Protocol):
    """One thread calls `beat` about once a second, with a clock that never goes back, and `end` at the end."""

    def beat(self, now_s: float) -> None:
        """Do it if it is time; a store that does not answer is asked again later."""

    def end(self) -> None:
        """The node's agent ends."""


class Presence(Duty):
    """The sign of life of one node."""

    def __init__(self, kv: Kv, node: str) -> None:
        self._kv = kv
        self._key = f"{ALIVE}{node}"
        self._lease = ""
        self._due_s = 0.0

    def beat(self, now_s: float) -> None:
        if now_s < self._due_s:
            return
        self._due_s = now_s + _EVERY_S
        try:
            is_there = bool(self._kv.read(self._key).entries)  # a removal of the node may have taken it
            if not is_there or not self._lease or not self._kv.prolong(self._lease):
                self._lease = self._kv.lease(_LASTS_S)
                self._kv.put_leased(self._key, _SIGN, self._lease)
        except FAULTS as error:
            self._lease = ""
            log.debug("the node's sign of life is not renewed: %s", error)

    def end(self) -> None:
        """Its time ends too, by itself, if the store does not answer."""
        try:
            self._kv.commit({}, {}, [self._key] if self._lease else [])
        except FAULTS as error:
            log.debug("the node's sign of life ends by itself: %s", error)


class Revocations(Duty):
    """The list of revoked certificates as the file `path`; its directory is there where the node has keys."""

    def __init__(self, kv: Kv, path: Path) -> None:
        self._kv = kv
        self._path = path
        self._last = ""
        self._due_s = 0.0

    def beat(self, now_s: float) -> None:
        if now_s < self._due_s:
            return
        self._due_s = now_s + _EVERY_S
        try:
            entry = self._kv.read(REVOCATIONS).entries.get(REVOCATIONS)
            if entry and entry.value != self._last and self._path.parent.exists():
                with filesystem.ours(self._path.parent) as directory:
                    filesystem.replace(directory, self._path.name, entry.value.encode(), mode=0o644)
                self._last = entry.value
        except FAULTS as error:
            log.debug("the list of revoked certificates is not read: %s", error)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error.strerror)

    def end(self) -> None:
        """The file stays."""
