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
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

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


class Server(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """A thread for each connection. `pages` is set by its creator."""

    daemon_threads = True
    pages: Pages

    def handle_error(self, *_: object) -> None:  # the name is the standard library's
        """The client may have gone; anything else is a bug, to be found in the log."""
        gone = isinstance(sys.exception(), ConnectionError)
        log.log(logging.DEBUG if gone else logging.ERROR, "a request was not answered", exc_info=True)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves pages, and nothing else, unless `read` and `ask` are overridden."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # likewise
        """Answer a page, if there is one at the path."""
        self._answer(self.server.pages.get(urlsplit(self.path).path, self.read))

    def do_POST(self) -> None:  # likewise
        """Accept a request."""
        self._answer(self.ask)

    def _answer(self, make: Callable[[], Page]) -> None:
        page = _OUR_BUG
        try:
            page = make()
        finally:
            # An exception is answered as an error of ours, and goes on to handle_error.
            self.send(page)

    def read(self) -> Page:
        """The answer to a GET of no page."""
        return json_page(HTTPStatus.NOT_FOUND, {"error": f"nothing at {self.path}"})

    def ask(self) -> Page:
        """The answer to a POST."""
        return json_page(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "no requests are accepted here"})

    def send(self, page: Page) -> None:
        """Answer."""
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        self.wfile.write(page.body)

    def log_message(self, *_: object) -> None:
        """Reads are not logged."""


class _TcpServer(Server, socketserver.TCPServer):
    allow_reuse_address = True


class TcpPages:
    """Serves pages on a TCP port until closed, to all hosts that can reach it: choose a local address."""

    def __init__(self, host: str, port: int, pages: Pages) -> None:
        try:
            self._server = _TcpServer((host, port), Handler)
        except OSError as error:
            raise Unavailable(
                f"cannot listen at {host}:{port}: {error.strerror}; choose another with --health"
            ) from error
        self._server.pages = pages
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    @property
    def port(self) -> int:
        """The one that it listens at."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
