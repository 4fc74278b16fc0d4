"""
The API: HTTP/1.1 on a unix socket. GET reads, one path per view (`/v1/summary`); POST asks, one path per verb
(`/v1/drain`), and only root and the agent's own user may.

Refuses to know: what a view contains, what a verb does.
"""

from __future__ import annotations

import http.server
import json
import logging
import os
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from bgpctl.agent.errors import Nonsense, Unknown
from bgpctl.ports import Unavailable

log = logging.getLogger("bgpctl.agent")

_OUR_BUG: Final[Mapping[str, Any]] = {"error": "the agent could not make an answer; its log says why"}
_CREDENTIALS: Final = struct.Struct("iII")
"""struct ucred of unix(7): pid, uid, gid."""

Answer = Callable[[str, Mapping[str, str]], dict[str, Any]]
"""(view or verb, query) -> JSON. Raises Unknown, Nonsense."""


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path, answer: Answer, act: Answer) -> None:
        super().__init__(str(path), _Handler)
        self.answer = answer
        self.act = act

    def handle_error(self, *_: object) -> None:  # the name is the standard library's
        """Whoever asked may have gone; anything else is a bug, to be found in the log."""
        gone = isinstance(sys.exception(), ConnectionError)
        log.log(logging.DEBUG if gone else logging.ERROR, "a question was not answered", exc_info=True)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # the name is the standard library's
        """Answer one view."""
        self._reply(self.server.answer)

    def do_POST(self) -> None:  # likewise
        """Take on one verb."""
        credentials = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(credentials)
        if uid in {0, os.geteuid()}:
            self._reply(self.server.act)
        else:
            self._send(HTTPStatus.FORBIDDEN, {"error": "only root and the agent's own user may ask this"})

    def _reply(self, answer: Answer) -> None:
        url = urlsplit(self.path)
        status, body = HTTPStatus.INTERNAL_SERVER_ERROR, _OUR_BUG
        try:
            body = answer(url.path.removeprefix("/v1/"), dict(parse_qsl(url.query)))
            status = HTTPStatus.OK
        except Unknown:
            status, body = HTTPStatus.NOT_FOUND, {"error": f"nothing at {url.path}"}
        except Nonsense as error:
            status, body = HTTPStatus.BAD_REQUEST, {"error": str(error)}
        finally:
            # Whatever else went wrong is told too, and goes on to handle_error.
            self._send(status, body)

    def _send(self, status: HTTPStatus, body: Mapping[str, Any]) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        """Reads are not worth a log line."""


def _nothing(verb: str, _query: Mapping[str, str]) -> dict[str, Any]:
    raise Unknown(verb)


class Api:
    """
    Serves until closed. The socket is readable and writable by everyone: reading never needs root.

    Args:
        path: of the socket.
        answer: reads.
        act: takes on what is asked; without it nothing can be.
    """

    def __init__(self, path: Path, answer: Answer, act: Answer = _nothing) -> None:
        path.unlink(missing_ok=True)
        try:
            self._server = _Server(path, answer, act)
        except OSError as error:
            raise Unavailable(f"cannot listen at {path}: {error}") from error
        path.chmod(0o666)
        self._path = path
        threading.Thread(target=self._server.serve_forever, name="api", daemon=True).start()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)
