"""
The plugin's socket: HTTP/1.1, a POST for each call, as Docker's daemon sends them; a thread for each connection.

Only root can connect, and what is read of a connection is bounded all the same: the number of connections, a request's
content, and the time in which it has to be here. A connection may be idle for long: Docker keeps it.

Refuses to know: what is asked and answered.
"""

from __future__ import annotations

import http.server
import json
import logging
import os
import socket
import socketserver
import stat
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from bgpctl import filesystem
from bgpctl.attach.docker.messages import Body, Rejected, rejection
from bgpctl.ports import Unavailable

log = logging.getLogger("bgpctl.docker")

CONTENT_TYPE: Final = "application/vnd.docker.plugins.v1.2+json"
_CONNECTIONS: Final = 64
_CONTENT_BYTES: Final = 1 << 20
_LONGEST_NUMBER: Final = 9
_IDLE_S: Final = 600.0
_READ_S: Final = 10.0
_FIRST_PASSED: Final = 3
"""SD_LISTEN_FDS_START, sd_listen_fds(3)."""

Answer = Callable[[str, bytes], Body]
"""(method, content) -> answer. Raises Rejected."""


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, listening: socket.socket, answer: Answer) -> None:
        super().__init__("", _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.answer = answer
        self._room = threading.BoundedSemaphore(_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """With too many connections the next one waits, and those behind it in the kernel's queue; not for ever."""
        if self._room.acquire(timeout=_READ_S):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, *_: object) -> None:  # the name is the standard library's
        """The daemon may have gone; anything else is a bug, to be found in the log."""
        gone = isinstance(sys.exception(), OSError)
        log.log(logging.DEBUG if gone else logging.ERROR, "a request was not answered", exc_info=True)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S

    def do_POST(self) -> None:  # likewise
        """Answer a call."""
        self.connection.settimeout(_READ_S)
        method = self.path.removeprefix("/")
        try:
            self._send(HTTPStatus.OK, self.server.answer(method, self._content()))
        except Rejected as error:
            log.warning("%s is refused: %s", method, error)
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, rejection(str(error)))
        except Exception:
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, rejection("the plugin failed; its log has the reason"))
            raise
        self.connection.settimeout(_IDLE_S)

    def _content(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        is_number = length.isascii() and length.isdigit() and len(length) <= _LONGEST_NUMBER
        if not is_number or int(length) > _CONTENT_BYTES or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            raise Rejected(f"a request has {_CONTENT_BYTES} bytes at most, and their number in Content-Length")
        content = self.rfile.read(int(length))
        if len(content) < int(length):
            self.close_connection = True
            raise Rejected(f"the request ended after {len(content)} of {length} bytes")
        return content

    def _send(self, status: HTTPStatus, answer: Body) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "docker"

    def log_message(self, *_: object) -> None:
        """Calls are not logged."""


def passed(variables: Mapping[str, str]) -> socket.socket | None:
    """The socket that the service manager listens at for us (systemd.socket(5)). Raises Unavailable for others."""
    if variables.get("LISTEN_PID") != str(os.getpid()) or variables.get("LISTEN_FDS", "0") == "0":
        return None
    if variables["LISTEN_FDS"] != "1" or not stat.S_ISSOCK(os.fstat(_FIRST_PASSED).st_mode):
        raise Unavailable("the service manager passed more than one socket, or none")
    return socket.socket(fileno=_FIRST_PASSED)


def listening(path: Path) -> socket.socket:
    """A socket of our own at this path, which only root can use. Raises Unavailable."""
    made = socket.socket(socket.AF_UNIX)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with filesystem.ours(path.parent) as directory:
            filesystem.make_room(directory, path.name)
        _refuse_used(path)
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            made.bind(str(path))
        finally:
            os.umask(before)
        made.listen(_Server.request_queue_size)
    except OSError as error:
        made.close()
        raise Unavailable(f"cannot listen at {path}: {error.strerror or error}") from error
    return made


def _refuse_used(path: Path) -> None:
    """Raise Unavailable if a program listens there."""
    with socket.socket(socket.AF_UNIX) as asking, suppress(OSError):
        asking.connect(str(path))
        raise Unavailable(f"another program listens at {path}; end it first")


class Server:
    """Serves until closed."""

    def __init__(self, at: socket.socket, answer: Answer) -> None:
        self._server = _Server(at, answer)
        self._thread = threading.Thread(target=self._server.serve_forever, name="docker", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening. A socket file of ours stays: with it Docker finds the next one at once."""
        self._server.shutdown()
        self._server.server_close()
