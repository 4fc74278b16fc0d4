"""
Notes in echo requests that come in: a raw socket gets a copy of each that the node's filters let in (raw(7)).

Other hosts of the underlay can send requests as well, as many as they like. So the socket's filter passes those with
the mark of a note alone, the kernel keeps few, and no more than so many are read in a second; the rest is dropped.

Refuses to know: the meaning of a note, and who may send one.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from bgpctl.core.net.addresses import Address
from bgpctl.core.proof.note import MAGIC
from bgpctl.kernel import probe_packets
from bgpctl.ports import Unavailable

OnNote = Callable[[Address, bytes], None]

_BUFFER_BYTES: Final = 1 << 17
_AT_ONCE: Final = 256
_PAUSE_S: Final = 0.5
_NOTE_BYTES: Final = 64
"""More than a note of this version has."""


class NoteListener:
    """Listens in the network namespace of the calling thread. Raises Unavailable."""

    def __init__(self, heard: OnNote) -> None:
        self._heard = heard
        self._stack = ExitStack()
        self._stopping, self._stop = (self._stack.enter_context(end) for end in socket.socketpair())
        try:
            versions = (4, 6) if socket.has_ipv6 and Path("/proc/net/if_inet6").exists() else (4,)
            self._sockets = {version: self._stack.enter_context(_listen(version)) for version in versions}
        except OSError as error:
            self._stack.close()
            raise Unavailable(f"notes of members cannot be received: {error.strerror}") from error
        self._thread = threading.Thread(target=self._run, name="notes", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # the host, or our limit, has no thread left
            self._stack.close()
            raise Unavailable(f"notes of members cannot be received: {error}") from error

    def close(self) -> None:
        """End the thread."""
        self._stop.send(b"\0")
        self._thread.join()
        self._stack.close()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._stopping, *self._sockets.values()], [], [])
            for version, listener in self._sockets.items():
                if listener in ready:
                    self._read(version, listener)
            if select.select([self._stopping], [], [], _PAUSE_S)[0]:
                return

    def _read(self, version: int, listener: socket.socket) -> None:
        with suppress(OSError):
            for _ in range(_AT_ONCE):
                packet, (source, *_) = listener.recvfrom(2048, socket.MSG_DONTWAIT)
                at = probe_packets.note_at(version)
                with suppress(ValueError):  # a link-local source has a scope
                    self._heard(Address.parse(source), packet[at : at + _NOTE_BYTES])


def _listen(version: int) -> socket.socket:
    family = probe_packets.FAMILIES[version]
    listener = socket.socket(family.family, socket.SOCK_RAW, family.protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    probe_packets.attach(listener, probe_packets.note_program(version, MAGIC))
    return listener
