"""
The resolver's sockets: UDP and TCP at the addresses that workloads ask at.

What is known is answered at once. What other resolvers have to be asked for is left to some threads, of which each
workload has its share: with too many such questions the next ones fail, and those about workloads are answered all the
same. Connections are bounded in number, in all and for each workload, and in the time that they may take.

Refuses to know: what is answered, where names come from.
"""

from __future__ import annotations

import enum
import logging
import socket
import socketserver
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final

import dns.exception
import dns.rcode

from bgpctl.attach.dns import answers
from bgpctl.attach.dns.answers import Message, Question
from bgpctl.attach.dns.clients import Clients
from bgpctl.core.net.addresses import Address
from bgpctl.ports import Unavailable

log = logging.getLogger("bgpctl.dns")

PORT: Final = 53
_IP_PKTINFO: Final = 8
"""linux/in.h; ip(7) has its structure: the link's number, and two addresses."""
_IPV6_RECVPKTINFO: Final = 49
_SO_RCVBUFFORCE: Final = 33
"""asm-generic/socket.h; the usual limit holds 200 questions."""
_QUEUE_BYTES: Final = 4 << 20
_INFO: Final = {4: struct.Struct("=i8x"), 6: struct.Struct("=16xi")}
_LONGEST_BYTES: Final = 4096
"""Of a question by UDP; by TCP the same."""
_LARGEST_BYTES: Final = 65535
_FORWARDING: Final = 64
_FORWARDING_EACH: Final = 16
"""Of one workload: names whose resolvers do not answer take seconds each."""
_CONNECTIONS: Final = 64
_CONNECTIONS_EACH: Final = 4
_IDLE_S: Final = 5.0
_LENGTH: Final = struct.Struct("!H")


class Outcome(enum.StrEnum):
    """The fate of a question."""

    ANSWERED = "answered"
    MISSING = "nxdomain"
    FORWARDED = "forwarded"
    FAILED = "failed"
    REFUSED = "refused"
    LIMITED = "limited"
    MALFORMED = "malformed"


class Answerer:
    """
    Answers questions. Any thread may call.

    Args:
        known: the answer that this node has itself; None if other resolvers are to be asked.
        ask_others: their answer.
    """

    def __init__(
        self, clients: Clients, known: Callable[[Question], Message | None], ask_others: Callable[[Question], Message]
    ) -> None:
        self.clients = clients
        self._known = known
        self._ask_others = ask_others
        self._pool = ThreadPoolExecutor(_FORWARDING, "forward")
        self._lock = threading.Lock()
        self._asking: Counter[str] = Counter()
        self._counted: Counter[Outcome] = Counter()

    def counted(self) -> Mapping[str, int]:
        """The questions so far by what became of them."""
        with self._lock:
            return {outcome.value: self._counted[outcome] for outcome in Outcome}

    def count(self, outcome: Outcome) -> None:
        """One more."""
        with self._lock:
            self._counted[outcome] += 1

    def close(self) -> None:
        """Other resolvers are asked no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def datagram(self, content: bytes, source: Address, link: str, reply: Callable[[bytes], None]) -> None:
        """Answer a datagram; `reply` may be called later, by another thread."""
        device = self.clients.device_of(source, link)
        if device is None:
            self.count(Outcome.REFUSED)
            answer = answers.refused(content) if self.clients.may_be_refused() else None
        elif not self.clients.may_ask(device):
            self.count(Outcome.LIMITED)
            answer = None
        else:
            question = self._read(content)
            if isinstance(question, Question):
                self._reply_by_datagram(question, device, reply)
                return
            answer = question
        if answer:
            reply(answer)

    def _read(self, content: bytes) -> Question | bytes | None:
        question = answers.read(content)
        if not isinstance(question, Question):
            self.count(Outcome.MALFORMED)
        return question

    def _reply_by_datagram(self, question: Question, device: str, reply: Callable[[bytes], None]) -> None:
        known = self._own(question)
        if known:
            reply(answers.written(known, question.largest_bytes))
        elif self._enter(device):
            self._pool.submit(self._forward, question, device, reply)
        else:
            reply(answers.written(answers.failure(question, dns.rcode.SERVFAIL), question.largest_bytes))

    def _forward(self, question: Question, device: str, reply: Callable[[bytes], None]) -> None:
        try:
            with suppress(OSError):
                reply(answers.written(self._of_others(question), question.largest_bytes))
        except Exception:
            log.exception("an answer of another resolver cannot be passed on")
        finally:
            self._leave(device)

    def message(self, content: bytes, device: str) -> bytes | None:
        """The answer to a message by TCP from a workload's own address; None ends the connection."""
        if not self.clients.may_ask(device):
            self.count(Outcome.LIMITED)
            return None
        question = self._read(content)
        if not isinstance(question, Question):
            return question
        answer = self._own(question)
        if answer is None and self._enter(device):
            try:
                answer = self._of_others(question)
            finally:
                self._leave(device)
        return answers.written(answer or answers.failure(question, dns.rcode.SERVFAIL), _LARGEST_BYTES)

    def _enter(self, device: str) -> bool:
        """True if other resolvers may be asked for one more question of this workload."""
        with self._lock:
            if self._asking[device] >= _FORWARDING_EACH or self._asking.total() >= _FORWARDING:
                self._counted[Outcome.FAILED] += 1
                return False
            self._asking[device] += 1
            return True

    def _leave(self, device: str) -> None:
        with self._lock:
            self._asking[device] -= 1
            self._asking += Counter()  # without those at zero

    def _own(self, question: Question) -> Message | None:
        known = self._known(question)
        if known:
            code = known.rcode()
            failed = Outcome.FAILED if code == dns.rcode.SERVFAIL else Outcome.ANSWERED
            self.count(Outcome.MISSING if code == dns.rcode.NXDOMAIN else failed)
        return known

    def _of_others(self, question: Question) -> Message:
        answer = self._ask_others(question)
        self.count(Outcome.FAILED if answer.rcode() == dns.rcode.SERVFAIL else Outcome.FORWARDED)
        return answer


class _Udp:
    """A socket for datagrams, and the thread that reads it."""

    def __init__(self, at: Address, port: int, answerer: Answerer) -> None:
        self._version, self._answerer = at.version, answerer
        self._socket = socket.socket(_family(at), socket.SOCK_DGRAM)
        try:
            with suppress(OSError):  # in a container
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE_BYTES)
            if at.version == 4:
                self._socket.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
                self._info = (socket.IPPROTO_IP, _IP_PKTINFO)
            else:
                self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
                self._info = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
            self._socket.bind((str(at), port))
        except OSError:
            self._socket.close()
            raise
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"udp-{at}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended:
            try:
                content, more, _, source = self._socket.recvmsg(_LONGEST_BYTES, 256)
            except OSError:
                continue  # an earlier answer did not arrive; or it is closed
            if self._ended:
                return
            try:
                self._take(content, more, source)
            except OSError as error:
                log.debug("no answer to %s: %s", source[0], error)
            except Exception:
                log.exception("a question of %s is not answered", source[0])

    def _take(self, content: bytes, more: Sequence[tuple[int, int, bytes]], source: Any) -> None:
        link = next((_INFO[self._version].unpack(data)[0] for *kind, data in more if tuple(kind) == self._info), 0)
        self._answerer.datagram(
            content,
            Address.parse(source[0].partition("%")[0]),
            _name_of(link),
            partial(self._reply, source),
        )

    def _reply(self, source: Any, answer: bytes) -> None:
        self._socket.sendto(answer, source)

    def close(self) -> None:
        """End it; the thread too."""
        self._ended = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)  # wakes the reader, although it is not connected
        self._thread.join(1)
        self._socket.close()


def _family(at: Address) -> socket.AddressFamily:
    return socket.AF_INET if at.version == 4 else socket.AF_INET6


def _name_of(link: int) -> str:
    try:
        return socket.if_indextoname(link)
    except OSError:
        return ""


class _Tcp(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(self, at: Address, port: int, answerer: Answerer) -> None:
        self.address_family = _family(at)
        super().__init__((str(at), port), _Handler)
        self.answerer = answerer
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Only a workload's connection is served, and no more than its share."""
        device = self.answerer.clients.device_of(Address.parse(client_address[0].partition("%")[0]), None)
        if device is None:
            self.answerer.count(Outcome.REFUSED)
            self.shutdown_request(request)
        elif not self._enter(device):
            self.answerer.count(Outcome.LIMITED)
            self.shutdown_request(request)
        else:
            super().process_request(request, (device, *client_address))

    def _enter(self, device: str) -> bool:
        with self._lock:
            if self._open[device] >= _CONNECTIONS_EACH or self._open.total() >= _CONNECTIONS:
                return False
            self._open[device] += 1
            return True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._open[client_address[0]] -= 1
                self._open += Counter()  # without those at zero

    def handle_error(self, _request: Any, client_address: Any) -> None:  # the name is the standard library's
        """One who goes is no bug."""
        level = logging.DEBUG if isinstance(sys.exception(), OSError) else logging.ERROR
        log.log(level, "a connection of %s ended: %r", client_address[1], sys.exception())


class _Handler(socketserver.StreamRequestHandler):
    timeout = _IDLE_S
    server: _Tcp

    def handle(self) -> None:
        """One message after the other, each behind its length (RFC 1035 section 4.2.2)."""
        while True:
            head = self.rfile.read(_LENGTH.size)
            if len(head) < _LENGTH.size:
                return
            (length,) = _LENGTH.unpack(head)
            if length > _LONGEST_BYTES:
                return
            content = self.rfile.read(length)
            answer = self.server.answerer.message(content, self.client_address[0]) if len(content) == length else None
            if answer is None:
                return
            self.wfile.write(_LENGTH.pack(len(answer)) + answer)


class Server:
    """Serves at these addresses until closed."""

    def __init__(self, at: Sequence[Address], answerer: Answerer, port: int = PORT) -> None:
        """Raises Unavailable."""
        self._answerer = answerer
        self._parts: list[_Udp] = []
        self._streams: list[_Tcp] = []
        self._threads: list[threading.Thread] = []
        try:
            for address in at:
                self._parts.append(_Udp(address, port, answerer))
                self._streams.append(_Tcp(address, port, answerer))
        except OSError as error:
            self.close()
            raise Unavailable(f"cannot listen at {address}, port {port}: {error.strerror or error}") from error
        for stream in self._streams:
            self._threads.append(threading.Thread(target=stream.serve_forever, name="tcp", daemon=True))
            self._threads[-1].start()

    def close(self) -> None:
        """Stop listening."""
        for part in self._parts:
            part.close()
        for stream in self._streams:
            if self._threads:  # else it does not serve yet, and would be waited for without end
                stream.shutdown()
            stream.server_close()
        self._answerer.close()
