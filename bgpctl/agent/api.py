"""
The API: HTTP/1.1 on a unix socket. GET reads, one path per view (`/v1/summary`); POST sends requests, one path per
verb (`/v1/drain`), and only root and the agent's own user may. Arguments are in the query; a long one is the content,
for reads too. Pages for other programs stand beside them (pages.py).

Refuses to know: the contents of a view, the effect of a verb.
"""

from __future__ import annotations

import os
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from bgpctl.agent.errors import BadRequest, Unknown
from bgpctl.agent.pages import Handler, Page, Pages, Server, json_page
from bgpctl.ports import Unavailable

_NO_PAGES: Final[Pages] = {}
_CREDENTIALS: Final = struct.Struct("iII")
"""struct ucred of unix(7): pid, uid, gid."""
CONTENT: Final = "content"
"""The argument that is the content of a request."""
_LONGEST_CONTENT_BYTES: Final = 16 << 20
"""Cluster files of some 100,000 nodes."""

Answer = Callable[[str, Mapping[str, str]], dict[str, Any]]
"""(view or verb, arguments) -> JSON. Raises Unknown, BadRequest."""


class _Denied(Exception):
    """The asking user has no permission."""


class _Server(Server, socketserver.UnixStreamServer):
    def __init__(self, path: Path, answer: Answer, act: Answer) -> None:
        super().__init__(str(path), _Handler)
        self.answer = answer
        self.act = act


class _Handler(Handler):
    server: _Server

    def read(self) -> Page:
        return self._reply(self.server.answer)

    def ask(self) -> Page:
        return self._reply(self._act)

    def _act(self, verb: str, arguments: Mapping[str, str]) -> dict[str, Any]:
        credentials = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(credentials)
        if uid not in {0, os.geteuid()}:
            raise _Denied
        return self.server.act(verb, arguments)

    def _reply(self, answer: Answer) -> Page:
        url = urlsplit(self.path)
        try:
            arguments = {**dict(parse_qsl(url.query)), CONTENT: self._content()}
            return json_page(HTTPStatus.OK, answer(url.path.removeprefix("/v1/"), arguments))
        except _Denied:
            return json_page(HTTPStatus.FORBIDDEN, {"error": "only root and the agent's own user may request this"})
        except Unknown:
            return json_page(HTTPStatus.NOT_FOUND, {"error": f"nothing at {url.path}"})
        except BadRequest as error:
            return json_page(HTTPStatus.BAD_REQUEST, {"error": str(error)})

    def _content(self) -> str:
        """Read in every case: a client cannot read an answer while its request does not fit the socket."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > _LONGEST_CONTENT_BYTES:
            self.close_connection = True
            raise BadRequest(f"a request has {_LONGEST_CONTENT_BYTES} bytes of content at most")
        try:
            return self.rfile.read(int(length)).decode()
        except UnicodeDecodeError as error:
            raise BadRequest(f"the content is not UTF-8 text: {error.reason}") from error

    def address_string(self) -> str:
        return "unix"


def _nothing(verb: str, _query: Mapping[str, str]) -> dict[str, Any]:
    raise Unknown(verb)


class Api:
    """
    Serves until closed. The socket is readable and writable by all users: reading never needs root.

    Args:
        path: of the socket.
        answer: reads.
        act: accepts requests; without it none is.
        pages: other pages, by path.
    """

    def __init__(self, path: Path, answer: Answer, act: Answer = _nothing, pages: Pages = _NO_PAGES) -> None:
        path.unlink(missing_ok=True)
        try:
            self._server = _Server(path, answer, act)
        except OSError as error:
            raise Unavailable(f"cannot listen at {path}: {error}") from error
        self._server.pages = pages
        path.chmod(0o666)
        self._path = path
        threading.Thread(target=self._server.serve_forever, name="api", daemon=True).start()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)
