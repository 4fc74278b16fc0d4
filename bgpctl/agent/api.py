"""
The API: HTTP/1.1 on a unix socket. GET reads, one path per view (`/v1/summary`); POST sends requests, one path per
verb (`/v1/drain`), and only root and the agent's own user may; a few reads are for them alone too. Arguments are in the
query; a long one is the content, for reads too, and then it is for operators: what others send is never worked on.
Pages for other programs stand beside them (pages.py).

Refuses to know: the contents of a view, the effect of a verb.
"""

from __future__ import annotations

import os
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Collection, Hashable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from bgpctl import filesystem
from bgpctl.agent.errors import BadRequest, NotNow, Unknown
from bgpctl.agent.limits import Limits
from bgpctl.agent.pages import BUSY, Handler, Page, Pages, Server, json_page
from bgpctl.ports import Unavailable

_LIMITS: Final = Limits()
_NO_PAGES: Final[Pages] = {}
_CREDENTIALS: Final = struct.Struct("iII")
"""struct ucred of unix(7): pid, uid, gid."""
_SO_PEERGROUPS: Final = 59
_GROUPS_BYTES: Final = 1024
"""Of 256 groups; a user with more has to have the group as his primary one."""
CONTENT: Final = "content"
"""The argument that is the content of a request."""
_LONGEST_CONTENT_BYTES: Final = 16 << 20
"""Cluster files of some 100,000 nodes."""
_LONGEST_NUMBER: Final = 9
_CHUNK_BYTES: Final = 1 << 16

Answer = Callable[[str, Mapping[str, str]], dict[str, Any]]
"""(view or verb, arguments) -> JSON. Raises Unknown, BadRequest."""


class _Denied(Exception):
    """The asking user has no permission; the message names those who have."""


class _Full(Exception):
    """Too much content of users is here already."""


class _Server(Server, socketserver.UnixStreamServer):
    def __init__(
        self, path: Path, answer: Answer, act: Answer, guarded: Collection[str], content_group: int | None
    ) -> None:
        super().__init__(str(path), _Handler)
        self.answer = answer
        self.act = act
        self.guarded = guarded
        self.content_group = content_group

        self._path = path
        self._identity = _identity(path)

    def service_actions(self) -> None:
        """Called twice a second. With its directory the agent loses its locks too: it has to begin anew."""
        super().service_actions()
        if _identity(self._path) != self._identity:
            raise Unavailable(f"{self._path} was removed or replaced")

    def user_of(self, request: Any, client_address: Any) -> Hashable:
        del client_address
        uid, _ = _credentials(request)
        return None if _is_trusted(uid) else uid


class _Handler(Handler):
    server: _Server

    def read(self) -> Page:
        return self._reply(self._view)

    def _view(self, name: str, arguments: Mapping[str, str]) -> dict[str, Any]:
        if name in self.server.guarded and not _is_trusted(_credentials(self.connection)[0]):
            raise _Denied("only root and the agent's own user may read this")
        return self.server.answer(name, arguments)

    def ask(self) -> Page:
        return self._reply(self._act)

    def _act(self, verb: str, arguments: Mapping[str, str]) -> dict[str, Any]:
        if not _is_trusted(_credentials(self.connection)[0]):
            raise _Denied("only root and the agent's own user may request this")
        return self.server.act(verb, arguments)

    def receive(self) -> Page | None:
        """In every case all of it: a client cannot read an answer while its request does not fit the socket."""
        try:
            self._content = self._received(self._length())
        except (_Denied, _Full, BadRequest) as error:
            return self._refusal(error)
        return None

    def _reply(self, answer: Answer) -> Page:
        try:
            name, arguments = self._asked()
            return json_page(HTTPStatus.OK, answer(name, {**arguments, CONTENT: self._content}))
        except (_Denied, Unknown, BadRequest) as error:
            return self._refusal(error)

    def _refusal(self, error: Exception) -> Page:
        match error:
            case _Denied():
                return json_page(HTTPStatus.FORBIDDEN, {"error": str(error)})
            case _Full():
                return BUSY
            case Unknown():
                return json_page(HTTPStatus.NOT_FOUND, {"error": f"nothing at {self.path}"})
            case NotNow():
                return json_page(HTTPStatus.CONFLICT, {"error": str(error)})
            case _:
                return json_page(HTTPStatus.BAD_REQUEST, {"error": str(error)})

    def _asked(self) -> tuple[str, Mapping[str, str]]:
        try:
            url = urlsplit(self.path)
            return url.path.removeprefix("/v1/"), dict(parse_qsl(url.query))
        except ValueError as error:
            raise BadRequest(f"no path: {error}") from error

    def _length(self) -> int:
        """Of the content, in bytes."""
        length = self.headers.get("Content-Length", "0")
        is_number = length.isascii() and length.isdigit() and len(length) <= _LONGEST_NUMBER
        if not is_number or int(length) > _LONGEST_CONTENT_BYTES:
            self.close_connection = True
            raise BadRequest(f"a request has {_LONGEST_CONTENT_BYTES} bytes of content at most")
        return int(length)

    def _received(self, length: int) -> str:
        if length and not self._may_send_content():
            self._discard(length)
            raise _Denied("only root, the agent's own user and members of its --plan-group may send content")
        if not self.server.connections.may_wait(self.connection, length):
            self._discard(length)
            raise _Full
        content = self.rfile.read(length)
        if len(content) < length:
            self.close_connection = True
            raise BadRequest(f"the content ended after {len(content)} of {length} bytes")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise BadRequest(f"the content is not UTF-8 text: {error.reason}") from error

    def _discard(self, length: int) -> None:
        while length > 0 and (chunk := self.rfile.read(min(length, _CHUNK_BYTES))):
            length -= len(chunk)

    def _may_send_content(self) -> bool:
        uid, gid = _credentials(self.connection)
        group = self.server.content_group
        return _is_trusted(uid) or (group is not None and (gid == group or group in _more_groups(self.connection)))

    def address_string(self) -> str:
        return "unix"


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return (0, 0)
    return found.st_dev, found.st_ino


def _credentials(connection: socket.socket) -> tuple[int, int]:
    """The user and the primary group at the other end."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, gid = _CREDENTIALS.unpack(raw)
    return uid, gid


def _more_groups(connection: socket.socket) -> tuple[int, ...]:
    """The supplementary ones."""
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError:  # too many
        return ()
    return struct.unpack(f"{len(raw) // 4}I", raw)


def _is_trusted(uid: int) -> bool:
    return uid in {0, os.geteuid()}


def _nothing(verb: str, _query: Mapping[str, str]) -> dict[str, Any]:
    raise Unknown(verb)


class Api:
    """
    Serves until closed. The socket is readable and writable by all users: what is not `guarded` needs no root.

    Args:
        path: of the socket.
        answer: reads.
        act: accepts requests; without it none is.
        pages: other pages, by path.
        guarded: reads that only root and the agent's own user may have.
        content_group: the group, beside root and the agent's user, that may send content with a read.
        limits: of all other users.
    """

    def __init__(
        self,
        path: Path,
        answer: Answer,
        act: Answer = _nothing,
        pages: Pages = _NO_PAGES,
        guarded: Collection[str] = (),
        *,
        content_group: int | None = None,
        limits: Limits = _LIMITS,
    ) -> None:
        try:
            with filesystem.ours(path.parent) as directory:
                filesystem.make_room(directory, path.name)
            path.unlink(missing_ok=True)
            self._server = _Server(path, answer, act, guarded, content_group)
        except OSError as error:
            raise Unavailable(f"cannot listen at {path}: {error}") from error
        self._server.pages = pages
        self._server.limit(limits)
        path.chmod(0o666)
        self._path = path
        threading.Thread(target=self._server.serve_forever, name="api", daemon=True).start()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)
