"""
Tells when somebody else changed the dataplane.

Refuses to know: what changed. Own changes are recognised by the port id of the socket that made them.
"""

from __future__ import annotations

import errno
import os
import selectors
import struct
import threading
from collections.abc import Callable
from typing import Final

from bgpctl.kernel.netlink import Channel

_GROUPS: Final = (1, 3, 4, 5, 7, 9, 11, 32)
"""RTNLGRP_ LINK, NEIGH, TC, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE, NEXTHOP."""
_RTM_NEWNEIGH: Final = (28, 29)
_NUD_PERMANENT: Final = 0x80


class Watch:
    """Calls `changed` from a thread of its own until closed."""

    def __init__(self, changed: Callable[[], None], is_own: Callable[[int], bool]) -> None:
        self._changed = changed
        self._is_own = is_own
        self._channel = Channel(_GROUPS, timeout_s=None)
        self._end = os.eventfd(0)
        self._thread = threading.Thread(target=self._run, name="kernel-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        os.eventfd_write(self._end, 1)
        self._thread.join()
        self._channel.close()
        os.close(self._end)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            selector.register(self._end, selectors.EVENT_READ)
            while not any(key.fileobj == self._end for key, _ in selector.select()):
                if self._news():
                    self._changed()

    def _news(self) -> bool:
        try:
            return any([self._matters(*item) for item in self._channel.notifications()])
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return True  # events were lost: anything may have changed
            raise

    def _matters(self, kind: int, port_id: int, body: bytes) -> bool:
        if self._is_own(port_id):
            return False
        if kind in _RTM_NEWNEIGH:
            return bool(struct.unpack_from("=H", body, 8)[0] & _NUD_PERMANENT)
        return True
