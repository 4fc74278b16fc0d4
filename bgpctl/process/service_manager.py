"""
systemd, or any program that runs this one as systemd does: sd_notify(3), a watchdog, SIGTERM. Silent without one.

Refuses to know: what an agent does.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from bgpctl.ports import ServiceManager

_BEAT_S: Final = 5.0


class Systemd(ServiceManager):
    """Made from the variables that systemd sets. `beat_s` is at most half of what the watchdog allows."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        path = variables.get("NOTIFY_SOCKET", "")
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self.pid = os.getpid()
        for_us = variables.get("WATCHDOG_PID", str(self.pid)) == str(self.pid)
        self._watchdog_s = int(variables.get("WATCHDOG_USEC", "0")) / 1e6 if for_us else 0.0
        self.beat_s = min(_BEAT_S, self._watchdog_s / 2 or _BEAT_S)
        self._last = ""
        self._last_s = 0.0

    def beat(self, status: str, at_s: float, *, started: bool) -> None:
        state = f"STATUS={status}" + ("\nREADY=1" if started else "")
        if state == self._last and at_s - self._last_s < self.beat_s / 2:
            return
        alive = "WATCHDOG=1" if self._watchdog_s else ""
        self._send("\n".join(filter(None, ("" if state == self._last else state, alive))))
        self._last, self._last_s = state, at_s

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def on_stop(self, stop: Callable[[], None]) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop())

    def _send(self, text: str) -> None:
        if not self._address or not text:
            return
        # No listener, its buffer is full, or no descriptor is left for a socket: the message is dropped.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(text.encode(), socket.MSG_DONTWAIT, self._address)
