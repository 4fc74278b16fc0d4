"""
What systemd wants to hear (sd_notify(3)): ready, how it goes, still alive, about to end. Silent without systemd.

Refuses to know: what an agent does.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

_BEAT_S: Final = 5.0


class Notifier:
    """Made from the variables that systemd sets."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        path = variables.get("NOTIFY_SOCKET", "")
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        for_us = variables.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watchdog_s = int(variables.get("WATCHDOG_USEC", "0")) / 1e6 if for_us else 0.0
        self._last = ""
        self._last_s = 0.0

    @property
    def beat_s(self) -> float:
        """How often at least `beat` should be called: twice within what the watchdog allows."""
        return min(_BEAT_S, self._watchdog_s / 2 or _BEAT_S)

    def beat(self, status: str, at_s: float, *, started: bool) -> None:
        """The agent lives, and is busy with `status`. `started`: what depends on us may start."""
        said = f"STATUS={status}" + ("\nREADY=1" if started else "")
        if said == self._last and at_s - self._last_s < self.beat_s / 2:
            return
        alive = "WATCHDOG=1" if self._watchdog_s else ""
        self._send("\n".join(filter(None, ("" if said == self._last else said, alive))))
        self._last, self._last_s = said, at_s

    def stopping(self) -> None:
        """The process is about to end, as it was asked to."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address or not text:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, suppress(OSError):  # nobody listens: so be it
            channel.sendto(text.encode(), socket.MSG_DONTWAIT, self._address)
