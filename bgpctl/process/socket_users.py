"""
The users of sockets with a name in the abstract namespace of unix(7), as sock_diag(7) reports them: without a
connection, for which there may be no room.

Refuses to know: what the sockets are for.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Final

_SOCK_DIAG: Final = 4
"""NETLINK_SOCK_DIAG; beside it, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST and NLM_F_DUMP, and the types of answers."""
_BY_FAMILY: Final = 20
_DUMP: Final = 0x301
_ERROR: Final = 2
_DONE: Final = 3
_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBHIIIII")
"""struct unix_diag_req: family, protocol, padding, states, inode, what to show, cookie."""
_MESSAGE: Final = struct.Struct("=BBBBIII")
"""struct unix_diag_msg: family, type, state, padding, inode, cookie."""
_ATTRIBUTE: Final = struct.Struct("=HH")
_ENDPOINTS: Final = 1 << 10 | 1 << 7
"""TCP_LISTEN, and TCP_CLOSE: bound and not listening. Connections that wait have the name too, and count as root's."""
_SHOW: Final = 0x1 | 0x40
"""UDIAG_SHOW_NAME and UDIAG_SHOW_UID."""
_NAME: Final = 0
_UID: Final = 7
_DATAGRAM_BYTES: Final = 1 << 17
_ANSWER_S: Final = 5.0


def users(name: bytes) -> tuple[int | None, ...]:
    """
    The user of each stream socket in this network namespace that has bound the name (its first byte is 0). None where
    the kernel does not report it (before Linux 5.3). Raises OSError: it has no sock_diag for unix sockets.
    """
    return tuple(_uid(found) for found in _endpoints() if found.get(_NAME) == name)


def _uid(attributes: dict[int, bytes]) -> int | None:
    raw = attributes.get(_UID)
    return None if raw is None else int.from_bytes(raw, sys.byteorder)


def _endpoints() -> Iterator[dict[int, bytes]]:
    """The attributes of each."""
    request = _REQUEST.pack(socket.AF_UNIX, 0, 0, _ENDPOINTS, 0, _SHOW, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as asking:
        asking.settimeout(_ANSWER_S)
        asking.send(_HEADER.pack(_HEADER.size + len(request), _BY_FAMILY, _DUMP, 1, 0) + request)
        while True:
            for kind, body in _messages(asking.recv(_DATAGRAM_BYTES)):
                if kind == _ERROR:
                    code = -int.from_bytes(body[:4], sys.byteorder, signed=True)
                    raise OSError(code, os.strerror(code))
                if kind == _DONE:
                    return
                if _MESSAGE.unpack_from(body)[1] == socket.SOCK_STREAM:
                    yield dict(_attributes(body))


def _messages(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(datagram):
        length, kind, *_ = _HEADER.unpack_from(datagram, at)
        yield kind, datagram[at + _HEADER.size : at + length]
        at += _aligned(length)


def _attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    at = _MESSAGE.size
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        yield kind, body[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)


def _aligned(length: int) -> int:
    """Netlink's unit is a word of 4 bytes."""
    return max(length, _ATTRIBUTE.size) + 3 & ~3
