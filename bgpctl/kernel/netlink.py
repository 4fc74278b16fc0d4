"""
Batched rtnetlink for the objects that come in great numbers: routes, next hops, neighbours, forwarding entries.

One `sendto` carries some hundred messages; only the last asks for an acknowledgement, failures answer by themselves
with their sequence number. Layouts: rtnetlink(7), linux/rtnetlink.h, linux/nexthop.h, linux/neighbour.h.

Refuses to know: our nouns (decode.py and encode.py translate).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from bgpctl.ports import Unavailable

NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
NLM_F_REPLACE: Final = 0x100
NLM_F_DUMP: Final = 0x300
NLM_F_CREATE: Final = 0x400
PUT: Final = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE
DELETE: Final = NLM_F_REQUEST

_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_NLMSGERR_ATTR_MSG: Final = 1
_NLM_F_CAPPED: Final = 0x100
_NLM_F_ACK_TLVS: Final = 0x200

_SOL_NETLINK: Final = 270
_NETLINK_ADD_MEMBERSHIP: Final = 1
_NETLINK_CAP_ACK: Final = 10
_NETLINK_EXT_ACK: Final = 11
_NETLINK_GET_STRICT_CHK: Final = 12
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33

_BUFFER_BYTES: Final = 4 << 20
_RECEIVE_BYTES: Final = 1 << 20
_CHUNK: Final = 500
"""Messages per sendto: beyond a few hundred nothing is gained."""
_TIMEOUT_S: Final = 10.0
"""The kernel answers at once; a message that it dropped (a wrong length) is never answered."""

_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_ERROR: Final = struct.Struct("=i")
_NLA_TYPE_MASK: Final = 0x3FFF


class Message(NamedTuple):
    """A message without its sequence number."""

    type: int
    flags: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a failed message: errno(3) and the kernel's explanation."""

    errno: int
    text: str


def attribute(kind: int, value: bytes) -> bytes:
    """A padded attribute."""
    padding = -len(value) % 4
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(padding)


def attributes(data: bytes, offset: int) -> dict[int, bytes]:
    """The attributes from `offset` on, by type without its flag bits; of repeated ones the last."""
    found: dict[int, bytes] = {}
    end = len(data)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            break
        found[kind & _NLA_TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


class Channel:
    """A route netlink socket in the namespace in which it was opened."""

    def __init__(self, groups: Sequence[int] = (), *, timeout_s: float | None = _TIMEOUT_S) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._sequence = 0
        self._enlarge()
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._socket.bind((0, 0))
        for group in groups:
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
        self._socket.settimeout(timeout_s)

    def _enlarge(self) -> None:
        pairs = ((_SO_SNDBUFFORCE, socket.SO_SNDBUF), (_SO_RCVBUFFORCE, socket.SO_RCVBUF))
        for force, ask in pairs:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, force, _BUFFER_BYTES)
            except PermissionError:
                # Without CAP_NET_ADMIN the system's limit holds; a chunk fits the default all the same.
                self._socket.setsockopt(socket.SOL_SOCKET, ask, _BUFFER_BYTES)

    @property
    def port_id(self) -> int:
        """What the kernel stamps on notifications of changes made through this socket."""
        return int(self._socket.getsockname()[0])

    def close(self) -> None:
        self._socket.close()

    def change(self, messages: Sequence[Message]) -> Mapping[int, Refusal]:
        """
        Do all of them in order; a refused one does not stop the rest.

        Returns:
            The refusals by index into `messages`.

        Raises:
            Unavailable: the socket is gone or the kernel does not answer.
        """
        refused: dict[int, Refusal] = {}
        for start in range(0, len(messages), _CHUNK):
            refused |= self._change_chunk(messages[start : start + _CHUNK], start)
        return refused

    def _change_chunk(self, messages: Sequence[Message], start: int) -> Mapping[int, Refusal]:
        first = self._sequence + 1
        self._sequence += len(messages)
        last = self._sequence
        packed = []
        for number, message in enumerate(messages, first):
            flags = message.flags | (NLM_F_ACK if number == last else 0)
            packed.append(_HEADER.pack(16 + len(message.body), message.type, flags, number, 0) + message.body)
        refused: dict[int, Refusal] = {}
        try:
            self._socket.send(b"".join(packed))
            for sequence, code, text in self._answers(last):
                if code:
                    refused[start + sequence - first] = Refusal(code, text)
        except OSError as error:
            raise Unavailable(f"netlink: {error}") from error
        return refused

    def _answers(self, last: int) -> Iterator[tuple[int, int, str]]:
        """(sequence, errno, text) up to the answer to message `last`."""
        while True:
            for kind, flags, sequence, _, body in _split(self._socket.recv(_RECEIVE_BYTES)):
                if kind != _NLMSG_ERROR:
                    continue
                yield sequence, -_ERROR.unpack_from(body)[0], _explanation(flags, body)
                if sequence == last:
                    return

    def dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        """
        The bodies of all objects of one kind.

        Raises:
            Unavailable: the socket is gone or the kernel refused the dump.
        """
        self._sequence += 1
        flags = NLM_F_REQUEST | NLM_F_DUMP
        try:
            self._socket.send(_HEADER.pack(16 + len(body), kind, flags, self._sequence, 0) + body)
            while True:
                for answer, _, sequence, _, payload in _split(self._socket.recv(_RECEIVE_BYTES)):
                    if sequence != self._sequence:
                        continue
                    if answer == _NLMSG_DONE:
                        return
                    if answer == _NLMSG_ERROR:
                        raise OSError(-_ERROR.unpack_from(payload)[0], f"dump {kind} refused")
                    yield payload
        except OSError as error:
            raise Unavailable(f"netlink: {error}") from error

    def fileno(self) -> int:
        """Readable when there is something to receive."""
        return self._socket.fileno()

    def notifications(self) -> list[tuple[int, int, bytes]]:
        """
        (type, port id of whoever did it, body) of each notification in the next datagram; waits for one.

        Raises:
            OSError: ENOBUFS if notifications were lost; the socket stays usable.
        """
        return [(kind, port, body) for kind, _, _, port, body in _split(self._socket.recv(_RECEIVE_BYTES))]


def _split(data: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    """(type, flags, sequence, port id, body) of each message of one datagram."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, offset)
        yield kind, flags, sequence, port, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _explanation(flags: int, body: bytes) -> str:
    """The text that the kernel adds (NLMSGERR_ATTR_MSG)."""
    if not flags & _NLM_F_ACK_TLVS:
        return ""
    original = 16 if flags & _NLM_F_CAPPED else _HEADER.unpack_from(body, 4)[0]
    text = attributes(body, 4 + original).get(_NLMSGERR_ATTR_MSG, b"")
    return text.rstrip(b"\0").decode(errors="replace")
