"""
Netlink: framing, attributes, batches of requests, dumps. One `sendto` carries hundreds of requests, because building
and sending them singly through a general library costs a hundred times the kernel's time to install a route.

Refuses to know: the content of a message; encode.py and decode.py do.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from bgpctl.ports import Unavailable

NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
NLM_F_DUMP: Final = 0x300
NLM_F_REPLACE: Final = 0x100
NLM_F_CREATE: Final = 0x400

_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_NLM_F_DUMP_INTR: Final = 0x10
_NLM_F_CAPPED: Final = 0x100
_NLM_F_ACK_TLVS: Final = 0x200
_NLMSGERR_ATTR_MSG: Final = 1
_ATTRIBUTE_TYPE: Final = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER

SOL_NETLINK: Final = 270
NETLINK_ADD_MEMBERSHIP: Final = 1
NETLINK_DROP_MEMBERSHIP: Final = 2
_NETLINK_CAP_ACK: Final = 10
_NETLINK_EXT_ACK: Final = 11
_SO_RCVBUFFORCE: Final = 33

_HEADER: Final = struct.Struct("=IHHII")
_HEADER_BYTES: Final = _HEADER.size
_WORD_BYTES: Final = 4
_SEQUENCE_AT: Final = 2
_BODY_AT: Final = 4
"""Words of a message: its sequence number, and where its body begins."""
_ATTRIBUTE: Final = struct.Struct("=HH")
_ERRNO: Final = struct.Struct("=i")

CHUNK: Final = 500
"""Requests per `sendto`: larger gains nothing, and all the refusals of one must fit into the receive buffer."""
_RECEIVE_BUFFER_BYTES: Final = 4 << 20
_DATAGRAM_BYTES: Final = 1 << 17
"""More than the kernel puts into one: 32 KiB of a dump."""
_ANSWER_S: Final = 5.0
_DUMP_TRIES: Final = 5


class Request(NamedTuple):
    """A request: `flags` beside NLM_F_REQUEST; `body` is the family's fixed header and the attributes."""

    type: int
    flags: int
    body: bytes


class Run(NamedTuple):
    """
    At most CHUNK requests that differ in some words only.

    Attributes:
        request: the first one. Its body is a multiple of four bytes.
        words: by their place in the body, counted in words of 32 bits, those of all requests as they are in memory.
    """

    request: Request
    words: Mapping[int, array[int]]

    @property
    def size(self) -> int:
        return len(next(iter(self.words.values())))


class Unanswered(Unavailable):
    """The kernel refuses to list this kind of object."""


class Refusal(NamedTuple):
    """The request at `place` of a batch was refused; `errno` as in errno(3), `text` in the kernel's own words."""

    place: int
    errno: int
    text: str


class Message(NamedTuple):
    """A message of the kernel. `port_id` is the socket whose request caused an event, 0 for the kernel itself."""

    type: int
    flags: int
    sequence: int
    port_id: int
    body: bytes


def pack(request: Request, sequence: int, extra_flags: int = 0) -> bytes:
    """The request as it goes over the socket, padded to four bytes."""
    kind, flags, body = request
    header = _HEADER.pack(_HEADER_BYTES + len(body), kind, flags | NLM_F_REQUEST | extra_flags, sequence, 0)
    return header + body + bytes(-len(body) % 4)


def pack_run(run: Run, sequence: int) -> bytes:
    """The requests as they go over the socket, the first with this sequence number, the last with NLM_F_ACK."""
    first, count = pack(run.request, sequence), run.size
    size = len(first) // _WORD_BYTES
    packed = array("I", first) * count
    packed[_SEQUENCE_AT::size] = array("I", range(sequence, sequence + count))
    for place, words in run.words.items():
        packed[_BODY_AT + place :: size] = words
    packed[(count - 1) * size : count * size] = array("I", _acknowledged(packed[(count - 1) * size :].tobytes()))
    return packed.tobytes()


def _acknowledged(message: bytes) -> bytes:
    length, kind, flags, sequence, port_id = _HEADER.unpack_from(message)
    return _HEADER.pack(length, kind, flags | NLM_F_ACK, sequence, port_id) + message[_HEADER_BYTES:]


def messages(datagram: bytes) -> Iterator[Message]:
    """The messages of one datagram."""
    at, end = 0, len(datagram)
    while at < end:
        length, kind, flags, sequence, port_id = _HEADER.unpack_from(datagram, at)
        yield Message(kind, flags, sequence, port_id, datagram[at + _HEADER_BYTES : at + length])
        at += (length + 3) & ~3


def attributes(body: bytes, at: int = 0) -> dict[int, bytes]:
    """The attributes from offset `at` on; of those that repeat, the last."""
    found: dict[int, bytes] = {}
    end = len(body)
    while at + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        found[kind & _ATTRIBUTE_TYPE] = body[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def attribute_places(body: bytes, at: int = 0) -> tuple[tuple[int, int, int], ...]:
    """Of each attribute from offset `at` on: its type, where its value begins, and how many bytes that has."""
    found: list[tuple[int, int, int]] = []
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        found.append((kind & _ATTRIBUTE_TYPE, at + _ATTRIBUTE.size, length - _ATTRIBUTE.size))
        at += (length + 3) & ~3
    return tuple(found)


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)


def refusal(message: Message, place: int) -> Refusal:
    """The error of an NLMSG_ERROR; `errno` 0 means that the request was done."""
    (code,) = _ERRNO.unpack_from(message.body)
    at = _ERRNO.size + _HEADER.size
    if not message.flags & _NLM_F_CAPPED:
        (at,) = struct.unpack_from("=I", message.body, _ERRNO.size)
        at = _ERRNO.size + ((at + 3) & ~3)
    found = attributes(message.body, at) if message.flags & _NLM_F_ACK_TLVS else {}
    return Refusal(place, -code, found.get(_NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode())


def open_socket() -> socket.socket:
    """
    A bound rtnetlink socket in the calling thread's network namespace, where it stays for good.

    Raises:
        Unavailable: no netlink here.
    """
    try:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        opened.bind((0, 0))
        opened.setsockopt(SOL_NETLINK, _NETLINK_EXT_ACK, 1)
    except OSError as error:
        raise Unavailable(f"no netlink socket: {error}") from error
    return opened


def widen(opened: socket.socket, size_bytes: int) -> None:
    """Enlarge the receive buffer, beyond net.core.rmem_max where CAP_NET_ADMIN allows."""
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size_bytes)
    except PermissionError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size_bytes)


def port_id_of(opened: socket.socket) -> int:
    """The number by which events name the socket that caused them."""
    name: tuple[int, int] = opened.getsockname()
    return name[0]


class Netlink:
    """
    A conversation with the kernel, one request or dump at a time. No answer takes longer than a deadline.

    Args:
        transform: applied to the body of every message, by its type: of a request before it is sent, of a dump after.

    Attributes:
        interrupted: the number of dumps that may lack entries.
    """

    def __init__(self, transform: Callable[[int, bytes], bytes] | None = None) -> None:
        self._transform = transform
        self._socket = open_socket()
        self._socket.settimeout(_ANSWER_S)
        self._socket.setsockopt(SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        widen(self._socket, _RECEIVE_BUFFER_BYTES)
        self._sequence = 0
        self.interrupted = 0
        self.port_id = port_id_of(self._socket)

    def close(self) -> None:
        """Later calls raise Unavailable."""
        self._socket.close()

    def request(self, requests: Sequence[Request]) -> tuple[Refusal, ...]:
        """
        Have all requests done in the given order and return those that were refused.

        Raises:
            Unavailable: the socket is gone or an answer was lost.
        """
        refusals: list[Refusal] = []
        if self._transform:
            requests = [request._replace(body=self._transform(request.type, request.body)) for request in requests]
        for start in range(0, len(requests), CHUNK):
            refusals += self._chunk(requests[start : start + CHUNK], start)
        return tuple(refusals)

    def request_run(self, run: Run) -> tuple[Refusal, ...]:
        """
        As `request`.

        Raises:
            Unavailable: the socket is gone or an answer was lost.
        """
        if self._transform:
            body = self._transform(run.request.type, run.request.body)
            run = run._replace(request=run.request._replace(body=body))
        first = self._take_sequence(run.size)
        self._send(pack_run(run, first))
        return tuple(self._refusals(first, run.size, 0))

    def dump(self, kind: int, body: bytes) -> tuple[bytes, ...]:
        """
        Every object of one kind, as the bodies of RTM_NEW... messages.

        The kernel marks a dump during which something changed (NLM_F_DUMP_INTR); it may lack entries and is repeated a
        few times. In a namespace that always changes the last one is returned, and counted in `interrupted`.

        Raises:
            Unanswered: the kernel refuses to list this kind.
            Unavailable: the socket is gone.
        """
        for _ in range(_DUMP_TRIES):
            answer, interrupted = self._dump_once(kind, body)
            if not interrupted:
                break
        self.interrupted += interrupted
        return tuple(self._transform(kind, found) for found in answer) if self._transform else answer

    def _chunk(self, requests: Sequence[Request], start: int) -> Iterator[Refusal]:
        first = self._take_sequence(len(requests))
        last = len(requests) - 1
        # The kernel answers errors without NLM_F_ACK; the last request's ACK marks the end of the batch.
        self._send(b"".join(pack(request, first + i, NLM_F_ACK * (i == last)) for i, request in enumerate(requests)))
        return self._refusals(first, len(requests), start)

    def _refusals(self, first: int, count: int, start: int) -> Iterator[Refusal]:
        """Of requests with the sequence numbers from `first` on, which are those from place `start` on."""
        last = count - 1
        while True:
            for message in messages(self._receive()):
                index = message.sequence - first
                if message.type != _NLMSG_ERROR or not 0 <= index <= last:
                    continue
                answer = refusal(message, start + index)
                if answer.errno:
                    yield answer
                if index == last:
                    return

    def _dump_once(self, kind: int, body: bytes) -> tuple[tuple[bytes, ...], bool]:
        sequence = self._take_sequence(1)
        self._send(pack(Request(kind, NLM_F_DUMP, body), sequence))
        found: list[bytes] = []
        seen_flags = 0
        while True:
            datagram = self._receive()
            alike = _bodies_alike(datagram, sequence)
            if alike:
                found += alike
                continue
            # The loop of `messages`, without making one: there may be 100,000.
            at, end = 0, len(datagram)
            while at < end:
                length, answer, flags, answered, _ = _HEADER.unpack_from(datagram, at)
                if answered == sequence:
                    seen_flags |= flags
                    if answer == _NLMSG_DONE:
                        return tuple(found), bool(seen_flags & _NLM_F_DUMP_INTR)
                    if answer == _NLMSG_ERROR:
                        raise _unanswered(kind, datagram[at:])
                    found.append(datagram[at + _HEADER_BYTES : at + length])
                at += (length + 3) & ~3

    def _take_sequence(self, count: int) -> int:
        """The first of `count` numbers in a row; starts over long before 32 bits are used up."""
        first = self._sequence + 1 if self._sequence < 1 << 31 else 1
        self._sequence = first + count - 1
        return first

    def _send(self, datagram: bytes) -> None:
        try:
            self._socket.sendto(datagram, (0, 0))
        except OSError as error:
            raise Unavailable(f"netlink: {error}") from error

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(_DATAGRAM_BYTES)
        except TimeoutError:
            raise Unavailable(f"netlink: no answer within {_ANSWER_S} s") from None
        except OSError as error:
            lost = "answers were lost" if error.errno == errno.ENOBUFS else str(error)
            raise Unavailable(f"netlink: {lost}") from error


def _bodies_alike(datagram: bytes, sequence: int) -> list[bytes]:
    """
    The bodies of a datagram of a dump whose messages have the same size, type and flags and carry entries, which takes
    a fifth of a loop over them; nothing if they are not so.
    """
    length, kind, flags, _, _ = _HEADER.unpack_from(datagram)
    if len(datagram) % length or length % _WORD_BYTES or flags & _NLM_F_DUMP_INTR or kind <= _NLMSG_DONE:
        return []
    words, size, count = array("I", datagram), length // _WORD_BYTES, len(datagram) // length
    heads = (length, words[1], sequence)
    if any(words[at::size] != array("I", (head,)) * count for at, head in enumerate(heads)):
        return []
    return [datagram[at : at + length - _HEADER_BYTES] for at in range(_HEADER_BYTES, len(datagram), length)]


def _unanswered(kind: int, datagram: bytes) -> Unanswered:
    found = refusal(next(messages(datagram)), 0)
    why = found.text or os.strerror(found.errno)
    return Unanswered(f"the kernel does not answer message type {kind}: {why}")
