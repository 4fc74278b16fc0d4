"""
An etcd through its JSON gateway (`/v3/…`): one request and its answer, with failover, and a watch.

The gateway is HTTP with JSON, so that Python's standard library is enough (docs/decisions/0041). A request goes to the
member that answered last, and to the next one if it does not answer in time or has no leader. A token is asked for when
one is needed and renewed when etcd knows it no more: its tokens end after 300 s without a use, and with a member's
restart. Texts are base64 and whole numbers are texts in this JSON; kv.py knows both.

Refuses to know: keys and values.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from bgpctl.ports import Unavailable
from bgpctl.store.etcd.options import Endpoint, Options

Json: TypeAlias = dict[str, Any]

CONNECT_S: Final = 1.0
ANSWER_S: Final = 1.5
"""A heartbeat of a healthy member takes milliseconds; an election among three takes one to two seconds."""
PATIENT_S: Final = 20.0
"""For an operator's command, which has no other member to go on with, and which a busy etcd may keep waiting."""
_SNAPSHOT_S: Final = 10.0
_LONGEST_BYTES: Final = 64 << 20
DENIED: Final = 7
"""gRPC's PERMISSION_DENIED, the `code` of Rejected."""
_UNAVAILABLE: Final = frozenset({4, 14})
"""gRPC codes of a member that has no leader, or lost it while the request was under way."""
_FAULTS: Final = (OSError, http.client.HTTPException, ValueError)
"""Of a connection; ValueError: the answer is no JSON, as that of another program at this port."""


class Rejected(Exception):
    """etcd has understood the request, and will not do it. `code` is that of gRPC."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _NotThere(Exception):
    """The member cannot answer now."""


class Gateway:
    """
    Requests to one etcd cluster. Any thread may call; each has its own connections. A member has `answer_s` seconds for
    an answer.
    """

    def __init__(self, options: Options, answer_s: float = ANSWER_S) -> None:
        """Raises UnusableStore."""
        self._answer_s = answer_s
        self._options = options
        self._tls = options.tls()
        self._endpoints = options.endpoints
        self._first = 0
        self._token = ""
        self._local = threading.local()

    @property
    def endpoint(self) -> Endpoint:
        """The member that is asked first."""
        return self._endpoints[self._first]

    def avoid(self, endpoint: Endpoint) -> None:
        """Ask the next member first, if it is this one now."""
        if self.endpoint == endpoint:
            self._first = (self._first + 1) % len(self._endpoints)

    def call(self, path: str, body: Mapping[str, Any], *, at: Endpoint | None = None, long: bool = False) -> Json:
        """
        The answer of one member: `at`, or the first that answers. `long`: it may take 10 s.

        Raises:
            Unavailable: no member answers.
            Rejected: etcd refuses it.
            UnusableStore: the password cannot be read.
        """
        order = (at,) if at else self._endpoints[self._first :] + self._endpoints[: self._first]
        reasons = []
        for endpoint in order:
            try:
                found = self._with_token(endpoint, path, body, max(self._answer_s, _SNAPSHOT_S if long else 0.0))
            except _NotThere as reason:
                reasons.append(f"{endpoint}: {reason}")
                continue
            if not at:
                self._first = self._endpoints.index(endpoint)
            return found
        raise Unavailable("; ".join(reasons))

    def watch(self, at: Endpoint, body: Mapping[str, Any]) -> Watch:
        """
        A watch at one member, created or canceled at once.

        Raises:
            Unavailable: the member does not answer.
            Rejected: etcd refuses it.
            UnusableStore: the password cannot be read.
        """
        try:
            self._authenticate(at)
            connection = self._connect(at)
        except _NotThere as reason:
            raise Unavailable(f"{at}: {reason}") from reason
        try:
            own = connection.sock
            own.settimeout(ANSWER_S)
            response = self._send(connection, "/v3/watch", body)
            if response.status != HTTPStatus.OK:
                self._judge(response.status, response.read(_LONGEST_BYTES))
            return Watch(own, response)
        except _NotThere as reason:
            connection.close()
            raise Unavailable(f"{at}: {reason}") from reason
        except _FAULTS as error:
            connection.close()
            raise Unavailable(f"{at}: {_words(error)}") from error

    # Requests to one member ------------------------------------------------------------------------------------

    def _with_token(self, at: Endpoint, path: str, body: Mapping[str, Any], within_s: float) -> Json:
        """Once more if etcd does not know the token."""
        self._authenticate(at)
        try:
            return self._ask(at, path, body, within_s)
        except Rejected as error:
            if not self._options.user or not _is_about_token(error):
                raise
        self._token = ""
        self._authenticate(at)
        return self._ask(at, path, body, within_s)

    def _authenticate(self, at: Endpoint) -> None:
        if self._options.user and not self._token:
            body = {"name": self._options.user, "password": self._options.password()}
            self._token = str(self._ask(at, "/v3/auth/authenticate", body, self._answer_s).get("token", ""))

    def _ask(self, at: Endpoint, path: str, body: Mapping[str, Any], within_s: float) -> Json:
        """A connection that was kept may have ended meanwhile: then once more on a new one."""
        kept: dict[Endpoint, http.client.HTTPConnection] = self._local.__dict__.setdefault("kept", {})
        if connection := kept.pop(at, None):
            try:
                return self._answer(kept, at, connection, path, body, within_s)
            except TimeoutError as error:
                raise _NotThere(_words(error)) from error
            except _FAULTS:
                pass
        try:
            return self._answer(kept, at, self._connect(at), path, body, within_s)
        except _FAULTS as error:
            raise _NotThere(_words(error)) from error

    def _answer(
        self,
        kept: dict[Endpoint, http.client.HTTPConnection],
        at: Endpoint,
        connection: http.client.HTTPConnection,
        path: str,
        body: Mapping[str, Any],
        within_s: float,
    ) -> Json:
        try:
            if connection.sock:
                connection.sock.settimeout(within_s)
            response = self._send(connection, path, body)
            content = response.read(_LONGEST_BYTES)
        except BaseException:
            connection.close()
            raise
        kept[at] = connection
        return self._judge(response.status, content)

    def _connect(self, at: Endpoint) -> http.client.HTTPConnection:
        connection = (
            http.client.HTTPSConnection(at.host, at.port, timeout=CONNECT_S, context=self._tls)
            if at.tls
            else http.client.HTTPConnection(at.host, at.port, timeout=CONNECT_S)
        )
        try:
            connection.connect()
        except OSError as error:
            raise _NotThere(_words(error)) from error
        return connection

    def _send(
        self, connection: http.client.HTTPConnection, path: str, body: Mapping[str, Any]
    ) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json", "Grpc-Metadata-Hasleader": "true"}
        if self._token:
            headers["Authorization"] = self._token
        connection.request("POST", path, json.dumps(body), headers)
        return connection.getresponse()

    def _judge(self, status: int, content: bytes) -> Json:
        found = json.loads(content or b"{}")
        if not isinstance(found, dict):
            raise _NotThere("it answers as no etcd does")
        if status == HTTPStatus.OK:
            return found
        code, message = found.get("code"), str(found.get("message") or found.get("error") or f"HTTP {status}")
        if code in _UNAVAILABLE or status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}:
            raise _NotThere(message)
        raise Rejected(code if isinstance(code, int) else -1, message)


class Watch:
    """A stream of events of one member. One thread reads, any may close it."""

    def __init__(self, own: socket.socket, response: http.client.HTTPResponse) -> None:
        self._socket = own
        self._response = response
        self._socket.settimeout(None)  # silence is no fault: the heartbeat finds a member that is gone

    def messages(self) -> Iterator[Json]:
        """
        Each as etcd sends it, until the stream ends.

        Raises:
            Unavailable: the stream is broken, or was closed.
            Rejected: etcd has canceled it.
        """
        while True:
            try:
                line = self._response.readline()
                found = json.loads(line) if line else {}
            except (*_FAULTS, AttributeError) as error:  # AttributeError: closed while it was being read
                raise Unavailable(_words(error)) from error
            if not line:
                raise Unavailable("it has ended the watch")
            if "error" in found:
                reason = found["error"]
                raise Rejected(int(reason.get("grpc_code", -1)), str(reason.get("message", reason)))
            yield found.get("result", {})

    def close(self) -> None:
        """End it, also while another thread reads."""
        with suppress(OSError):
            # Not SSLSocket's own, which takes TLS off under the thread that reads.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _is_about_token(error: Rejected) -> bool:
    return "auth token" in str(error) or "auth store is old" in str(error)


def _words(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__)
