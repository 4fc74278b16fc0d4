"""
Clients that are answered: this node's workloads, each by its own link and at a bounded rate.

A source address proves nothing at a datagram: a packet from outside may have any. So the link that it came by counts
too, which has to be the workload's own. By TCP a source address is proven, since the handshake has led there.

Refuses to know: messages, sockets.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from bgpctl.core.net.addresses import Address

RATE: Final = 200.0
"""Questions in a second of one workload, for long."""
BURST: Final = 400.0
_REFUSALS: Final = ""
"""The client that all are together who are not served."""


@dataclass(slots=True)
class _Bucket:
    left: float
    at_s: float


@dataclass(slots=True)
class Clients:
    """`devices`: the node's end of the cable by each address of a workload, as it is now. Any thread may call."""

    devices: Callable[[], Mapping[Address, str]]
    now_s: Callable[[], float]
    _buckets: dict[str, _Bucket] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def device_of(self, source: Address, link: str | None) -> str | None:
        """The link of the workload that has this address; None for all others. `link`: where a datagram came in."""
        device = self.devices().get(source)
        return device if link in {None, device} else None

    def may_ask(self, device: str) -> bool:
        """True if the workload has not asked too often."""
        return self._take(device, RATE, BURST)

    def may_be_refused(self) -> bool:
        """True if one who is not served gets an answer that says so: they all share a small rate."""
        return self._take(_REFUSALS, RATE / 10, BURST / 10)

    def _take(self, key: str, rate: float, burst: float) -> bool:
        now_s = self.now_s()
        with self._lock:
            bucket = self._buckets.get(key)
            if bucket is None:
                self._forget(now_s)
                bucket = self._buckets[key] = _Bucket(burst, now_s)
            bucket.left = min(burst, bucket.left + (now_s - bucket.at_s) * rate)
            bucket.at_s = now_s
            if bucket.left < 1:
                return False
            bucket.left -= 1
            return True

    def _forget(self, now_s: float) -> None:
        """Forget those that have all again by now, so that no more are kept than ask."""
        full_s = BURST / RATE
        for key in [key for key, bucket in self._buckets.items() if now_s - bucket.at_s > full_s]:
            del self._buckets[key]
