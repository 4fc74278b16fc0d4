"""
BGP by hand: messages as bytes, right ones and wrong ones, and a peer that sends them.

Refuses to know: what becomes of them.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.lab import netns

_MARKER: Final = b"\xff" * 16
_OPEN, _UPDATE, _NOTIFICATION, _KEEPALIVE = 1, 2, 3, 4
_ORIGIN, _AS_PATH, _NEXT_HOP = 1, 2, 3
_OPTIONAL, _TRANSITIVE, _EXTENDED = 0x80, 0x40, 0x10
_AS_TRANS: Final = 23456
_GREATEST_MESSAGE: Final = 4096
_ANSWER_WITHIN_S: Final = 10.0


def message(kind: int, body: bytes = b"", *, marker: bytes = _MARKER, length: int | None = None) -> bytes:
    """A whole message; `length` may lie."""
    return marker + struct.pack("!HB", 19 + len(body) if length is None else length, kind) + body


def opening(asn: Asn, router_id: Address, hold_time_s: int = 30, versions: Iterable[int] = (4,)) -> bytes:
    """OPEN with unicast of some IP versions, route refresh and four-byte AS numbers."""
    families = b"".join(bytes([1, 4, 0, 1 if version == 4 else 2, 0, 1]) for version in versions)
    capabilities = families + bytes([2, 0, 65, 4]) + struct.pack("!I", asn)
    parameters = bytes([2, len(capabilities)]) + capabilities
    fixed = struct.pack("!BHHIB", 4, min(asn, _AS_TRANS), hold_time_s, router_id.value, len(parameters))
    return message(_OPEN, fixed + parameters)


def attribute(code: int, value: bytes, *, flags: int = _TRANSITIVE, length: int | None = None) -> bytes:
    """One path attribute; `length` may lie."""
    return struct.pack("!BBB", flags, code, len(value) if length is None else length) + value


def origin(value: int = 0) -> bytes:
    return attribute(_ORIGIN, bytes([value]))


def as_path(*asns: int) -> bytes:
    return attribute(_AS_PATH, bytes([2, len(asns)]) + b"".join(struct.pack("!I", asn) for asn in asns))


def next_hop(address: Address) -> bytes:
    return attribute(_NEXT_HOP, struct.pack("!I", address.value))


def nlri(prefix: Prefix) -> bytes:
    network = prefix.network.to_bytes(4 if prefix.version == 4 else 16)
    return bytes([prefix.length]) + network[: (prefix.length + 7) // 8]


def update(attributes: bytes, announced: bytes, *, length: int | None = None) -> bytes:
    """UPDATE without withdrawn routes; `length`, that of the attributes, may lie."""
    size = len(attributes) if length is None else length
    return message(_UPDATE, struct.pack("!HH", 0, size) + attributes + announced)


def packed(attributes: bytes, prefixes: Iterable[Prefix]) -> Iterator[bytes]:
    """As few UPDATEs as possible."""
    free_bytes, ready = _GREATEST_MESSAGE - 23 - len(attributes), b""
    for prefix in prefixes:
        more = nlri(prefix)
        if len(ready) + len(more) > free_bytes:
            yield update(attributes, ready)
            ready = b""
        ready += more
    yield update(attributes, ready)


END_OF_RIB: Final = update(b"", b"")


class Speaker:
    """
    A peer that waits for us to connect, brings a session up and then sends the given messages. It answers
    KEEPALIVEs with KEEPALIVEs until the session ends.
    """

    def __init__(self, namespace: str, address: Address, asn: Asn) -> None:
        self._asn, self._address = asn, address
        self._listener = netns.open_socket(namespace, socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((str(address), 179))
        self._listener.listen()
        self._listener.settimeout(_ANSWER_WITHIN_S)
        self._session: socket.socket | None = None
        self.notifications: list[bytes] = []
        """Of all sessions, without their headers."""
        self.received: Counter[int] = Counter()
        """Messages by their type, of all sessions."""

    def up(self) -> None:
        """
        Wait for a connection and answer until it is established. One that ends before is followed by another.

        Raises:
            TimeoutError: no peer connects.
        """
        self.hang_up()
        while self._session is None:
            session, _ = self._listener.accept()
            session.settimeout(_ANSWER_WITHIN_S)
            session.sendall(opening(self._asn, self._address) + message(_KEEPALIVE))
            if _until_keepalive(session):
                self._session = session
        self._session.settimeout(None)
        threading.Thread(
            target=_keep_alive, args=(self._session, self.notifications, self.received), daemon=True
        ).start()

    def send(self, *messages: bytes) -> None:
        """Send, whatever it is. Raises OSError if the session has ended."""
        assert self._session
        self._session.sendall(b"".join(messages))

    def hang_up(self) -> None:
        """End the connection without a word."""
        if self._session:
            # Closing alone would not wake a thread that still reads.
            with contextlib.suppress(OSError):
                self._session.shutdown(socket.SHUT_RDWR)
            self._session.close()
            self._session = None

    def close(self) -> None:
        """Be gone."""
        self.hang_up()
        self._listener.close()


def _until_keepalive(session: socket.socket) -> bool:
    heard = session.makefile("rb")
    while len(header := heard.read(19)) == 19:
        heard.read(struct.unpack("!H", header[16:18])[0] - 19)
        if header[18] == _KEEPALIVE:
            return True
        if header[18] == _NOTIFICATION:
            return False
    return False


def _keep_alive(session: socket.socket, notifications: list[bytes], received: Counter[int]) -> None:
    heard = session.makefile("rb")
    try:
        while len(header := heard.read(19)) == 19:
            body = heard.read(struct.unpack("!H", header[16:18])[0] - 19)
            received[header[18]] += 1
            if header[18] == _KEEPALIVE:
                session.sendall(message(_KEEPALIVE))
            if header[18] == _NOTIFICATION:
                notifications.append(body)
    except (OSError, ValueError):
        return  # the session is over
