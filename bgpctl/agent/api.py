"""
The read API: HTTP/1.1 GET on a unix socket, one path per view (`/v1/summary`).

Refuses to know: what a view contains. Changes nothing.
"""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from bgpctl.ports import Unavailable

Answer = Callable[[str, Mapping[str, str]], dict[str, Any]]
"""(view, query) -> JSON. Raises KeyError for an unknown view, ValueError for a bad query."""


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path, answer: Answer) -> None:
        super().__init__(str(path), _Handler)
        self.answer = answer


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # the name is the standard library's
        """Answer one view."""
        url = urlsplit(self.path)
        try:
            body = self.server.answer(url.path.removeprefix("/v1/"), dict(parse_qsl(url.query)))
        except KeyError:
            self._send(HTTPStatus.NOT_FOUND, {"error": f"no view at {url.path}"})
        except ValueError as error:
            self._send(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        else:
            self._send(HTTPStatus.OK, body)

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


class Api:
    """Serves until closed. The socket is readable and writable by everyone: reading never needs root."""

    def __init__(self, path: Path, answer: Answer) -> None:
        path.unlink(missing_ok=True)
        try:
            self._server = _Server(path, answer)
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
