"""
Pages for other programs, at fixed paths: `/liveness`, `/readiness`, `/metrics`. Served on the agent's unix socket and,
if asked for, on a TCP port.

Refuses to know: the contents of a page.
"""

from __future__ import annotations

import http.server
import json
import logging
import socketserver
import sys
import threading
from collections.abc import Callable, Hashable, Mapping
from contextlib import nullcontext, suppress
from http import HTTPStatus
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from bgpctl.agent.limits import Admission, Connections, Limits, Share
from bgpctl.ports import Unavailable

log = logging.getLogger("bgpctl.agent")


class Page(NamedTuple):
    """An answer."""

    status: HTTPStatus
    content_type: str
    body: bytes


Pages: TypeAlias = Mapping[str, Callable[[], Page]]
"""By path."""


def json_page(status: HTTPStatus, body: Mapping[str, Any]) -> Page:
    """A JSON object as a page."""
    return Page(status, "application/json", json.dumps(body).encode())


_OUR_BUG: Final = json_page(
    HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "the agent could not make an answer; its log has the reason"}
)


BUSY: Final = json_page(
    HTTPStatus.SERVICE_UNAVAILABLE,
    {"error": "the agent has too many connections of this user; close some, or try again"},
)
"""The answer where a limit is reached."""
_LIMITS: Final = Limits()
_NOT_NOW_S: Final = 0.05
"""Between two tries to accept a connection while this process, or the host, has no descriptor left."""


_REFUSAL_S: Final = 0.002
"""After a refusal, or an end in place of one: a flood of connections costs no more than 500 of them a second."""


def _pause(for_s: float) -> None:
    threading.Event().wait(for_s)


class Server(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """A thread for each connection, within limits. `pages` and `limits` are set by its creator."""

    daemon_threads = True
    request_queue_size = 32
    pages: Pages

    def limit(self, limits: Limits) -> None:
        """Before it serves."""
        self.connections = Connections(limits)
        self.share = Share(limits.share)

    def user_of(self, request: Any, client_address: Any) -> Hashable:
        """The user of a new connection; None is root. Here the host: TCP knows no users."""
        del request
        host: str = client_address[0]
        return host

    def get_request(self) -> tuple[Any, Any]:
        """Without a descriptor for it, a connection waits: it stays readable, so try less often."""
        try:
            return super().get_request()
        except OSError:
            _pause(_NOT_NOW_S)
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """False if it is one too many, which is answered without reading it."""
        try:
            admission = self.connections.admit(request, self.user_of(request, client_address))
        except OSError:  # it is gone; raised here, it would end the server
            return False
        if admission is Admission.REFUSED:
            self.refuse(request)
        if admission is not Admission.ROOM:
            _pause(_REFUSAL_S)
        return admission is not Admission.REFUSED

    def refuse(self, request: Any) -> None:
        """Answer a connection that is one too many, without reading it."""
        with suppress(OSError):
            request.setblocking(False)
            request.send(_head(BUSY) + BUSY.body)

    def service_actions(self) -> None:
        """Called twice a second."""
        self.connections.end_overdue()

    def close_request(self, request: Any) -> None:
        """Called at the end of each connection, refused ones too."""
        self.connections.forget(request)
        super().close_request(request)

    def handle_error(self, *_: object) -> None:  # the name is the standard library's
        """The client may have gone; anything else is a bug, to be found in the log."""
        gone = isinstance(sys.exception(), ConnectionError)
        log.log(logging.DEBUG if gone else logging.ERROR, "a request was not answered", exc_info=True)


def _head(page: Page) -> bytes:
    """The beginning of an answer to what was not read."""
    status = f"HTTP/1.1 {page.status.value} {page.status.phrase}"
    length = f"Content-Length: {len(page.body)}"
    return "\r\n".join((status, f"Content-Type: {page.content_type}", length, "Connection: close", "", "")).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves pages, and nothing else, unless `read` and `ask` are overridden."""

    server: Server
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        """One request, which has to be here in time; users pause after it."""
        limits = self.server.connections.limits
        self.server.connections.expect(self.connection, limits.read_s, is_idle=True)
        self._limited = self.server.connections.is_limited(self.connection)
        # One that was replaced has to make room at once; the server pauses in its place.
        with self.server.share.paid(self._was_replaced) if self._limited else nullcontext():
            super().handle_one_request()

    def _was_replaced(self) -> bool:
        return self.server.connections.was_ended(self.connection)

    def parse_request(self) -> bool:
        """False if it is malformed, which is answered here."""
        if not super().parse_request():
            return False
        if "Transfer-Encoding" in self.headers:
            # Read as content of no length it would be taken for the next request.
            self.send_error(HTTPStatus.BAD_REQUEST, "content comes with Content-Length, not with Transfer-Encoding")
            return False
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what the standard library cannot read, or has no method for, as any other bad request."""
        del code, explain
        self.request_version = self.protocol_version  # a request without a known one gets a head too
        self.close_connection = True
        self.send(json_page(HTTPStatus.BAD_REQUEST, {"error": f"no valid request: {message or 'malformed'}"}))

    def do_GET(self) -> None:  # likewise
        """Answer a page, if there is one at the path."""
        self._answer(self.server.pages.get(self._path(), self.read))

    def do_POST(self) -> None:  # likewise
        """Accept a request."""
        self._answer(self.ask)

    def _path(self) -> str:
        try:
            return urlsplit(self.path).path
        except ValueError:
            return ""

    def _answer(self, make: Callable[[], Page]) -> None:
        page = _OUR_BUG
        try:
            # Before the turn: one who is slow to send keeps no other user from his.
            if refusal := self.receive():
                page = refusal
                return
            self.server.connections.expect(self.connection, None)  # to make an answer takes as long as it takes
            with self.server.share.turn() if self._limited else nullcontext():
                page = make()
        finally:
            # An exception is answered as an error of ours, and goes on to handle_error.
            self.send(page)

    def receive(self) -> Page | None:
        """Receive the content of a request, if there may be any; the answer if it is refused."""
        return None

    def read(self) -> Page:
        """The answer to a GET of no page."""
        return json_page(HTTPStatus.NOT_FOUND, {"error": f"nothing at {self.path}"})

    def ask(self) -> Page:
        """The answer to a POST."""
        return json_page(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "no requests are accepted here"})

    def send(self, page: Page) -> None:
        """Answer. The client has to take it in time, and not too many answers wait for that."""
        if not self.server.connections.may_wait(self.connection, len(page.body)):
            page, self.close_connection = BUSY, True
        self.server.connections.expect(self.connection, self.server.connections.limits.write_s)
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(page.body)

    def log_message(self, *_: object) -> None:
        """Reads are not logged."""


class _TcpServer(Server, socketserver.TCPServer):
    allow_reuse_address = True


class TcpPages:
    """Serves pages on a TCP port until closed, to all hosts that can reach it: choose a local address."""

    def __init__(self, host: str, port: int, pages: Pages, limits: Limits = _LIMITS) -> None:
        try:
            self._server = _TcpServer((host, port), Handler)
        except OSError as error:
            raise Unavailable(
                f"cannot listen at {host}:{port}: {error.strerror}; choose another with --health"
            ) from error
        self._server.pages = pages
        self._server.limit(limits)
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    @property
    def port(self) -> int:
        """The one that it listens at."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
