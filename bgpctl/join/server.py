"""
The socket of the join service: TLS 1.3, a POST with a small JSON object, and its answer.

Any host that reaches the port may connect: one that joins has no certificate yet. So little is read of a connection,
each address has few of them, all of them together have a few more, a handshake and a request have to be done in time,
and all answers together get a part of one processor. Where a client shows a certificate, it has to be the cluster's.

Refuses to know: what is answered (service.py).
"""

from __future__ import annotations

import json
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from bgpctl import channel
from bgpctl.agent.limits import Limits
from bgpctl.agent.pages import Handler, Page, Server, json_page
from bgpctl.agent.tls_server import TlsServer
from bgpctl.join.refused import JoinRefused
from bgpctl.join.service import Peer
from bgpctl.ports import Unavailable

log = logging.getLogger("bgpctl.join")

PORT: Final = 9178
LIMITS: Final = Limits(each=4, all=32, read_s=5.0, write_s=20.0)
_LONGEST_BYTES: Final = 16 << 10
_LONGEST_NUMBER: Final = 6

Answer = Callable[[str, Mapping[str, Any], Peer | None], dict[str, Any]]
"""(verb, object, the node that asks) -> object. Raises JoinRefused."""


def context(service: Path, ca: Path) -> ssl.SSLContext:
    """TLS with the certificate and key of the service. Raises Unavailable."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_OPTIONAL
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.num_tickets = 0
    try:
        made.load_verify_locations(ca)
        made.load_cert_chain(service)
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(f"the certificates of the join service cannot be used ({service}, {ca}): {error}") from error
    return made


def listening(host: str, port: int) -> socket.socket:
    """A listening socket. Raises Unavailable."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=Server.request_queue_size)
    except OSError as error:
        raise Unavailable(f"cannot listen at {host} port {port}: {error.strerror or error}") from error


class _Server(TlsServer):
    def __init__(self, at: socket.socket, tls: ssl.SSLContext, answer: Answer) -> None:
        self.address_family = at.family
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = at
        self.tls = tls
        self.answer = answer
        self.pages = {}
        self.limit(LIMITS)


class _Handler(Handler):
    server: _Server
    request: ssl.SSLSocket

    def setup(self) -> None:
        """The handshake, in time, and paid for as a request is."""
        connections = self.server.connections
        connections.expect(self.request, LIMITS.read_s, is_idle=True)
        with self.server.share.paid(lambda: connections.was_ended(self.request)):
            self.request.do_handshake()
        super().setup()

    def receive(self) -> Page | None:
        """One request a connection, of a few kilobytes."""
        self.close_connection = True
        length = self.headers.get("Content-Length", "0")
        is_number = length.isascii() and length.isdigit() and len(length) <= _LONGEST_NUMBER
        if not is_number or int(length) > _LONGEST_BYTES:
            return _refusal(f"a request has {_LONGEST_BYTES} bytes at most")
        self._content = self.rfile.read(int(length))
        return None

    def ask(self) -> Page:
        try:
            body = json.loads(self._content)
        except (ValueError, RecursionError):
            return _refusal("a request is one JSON object")
        if not isinstance(body, dict):
            return _refusal("a request is one JSON object")
        try:
            verb = urlsplit(self.path).path.removeprefix("/v1/")
            return json_page(HTTPStatus.OK, self.server.answer(verb, body, self._peer()))
        except (JoinRefused, ValueError) as error:
            return _refusal(str(error))

    def _peer(self) -> Peer | None:
        found = self.request.getpeercert()
        if not found:
            return None
        return Peer(channel.name_of(found), f"{int(str(found['serialNumber']), 16):x}")


def _refusal(words: str) -> Page:
    return json_page(HTTPStatus.FORBIDDEN, {"error": words})


class JoinServer:
    """Serves at a listening socket until closed."""

    def __init__(self, at: socket.socket, tls: ssl.SSLContext, answer: Answer) -> None:
        self._server = _Server(at, tls, answer)
        self._thread = threading.Thread(target=self._server.serve_forever, name="join", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
