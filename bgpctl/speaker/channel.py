"""
The agent's end of the unix socket to the bridge: lines in, lines out, never blocking.

Refuses to know: the meaning of the lines.
"""

from __future__ import annotations

import contextlib
import select
import socket
from pathlib import Path
from typing import Final

_CHUNK_BYTES: Final = 1 << 16


class Lost(Exception):
    """The channel is of no use any more; the message has the reason."""


class Channel:
    """
    An open connection to the bridge.

    Raises:
        OSError: no bridge listens at `path` (yet).
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)
        self._half_line = b""
        self._unsent = bytearray()

    def fileno(self) -> int:
        return self._socket.fileno()

    def interest(self) -> int:
        """The poll events to wait for."""
        return select.POLLIN | (select.POLLOUT if self._unsent else 0)

    def read(self) -> list[str]:
        """
        The whole lines that are there now, without their newlines; none if none are.

        Raises:
            Lost: the bridge is gone.
        """
        try:
            chunk = self._socket.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise Lost(f"reading from the bridge: {error.strerror}") from error
        if not chunk:
            raise Lost("the bridge closed the channel")
        *lines, self._half_line = (self._half_line + chunk).split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def write(self, text: str) -> None:
        """Queue whole lines, and send what the socket takes. Raises Lost when the bridge is gone."""
        self._unsent += text.encode()
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes of what is queued. Raises Lost when the bridge is gone."""
        with contextlib.suppress(BlockingIOError):
            while self._unsent:
                try:
                    sent = self._socket.send(self._unsent)
                except BlockingIOError:
                    raise
                except OSError as error:
                    raise Lost(f"writing to the bridge: {error.strerror}") from error
                del self._unsent[:sent]

    def close(self) -> None:
        self._socket.close()
