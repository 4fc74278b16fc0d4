"""A client of the agent: reads views and sends requests over its unix socket, for the command line and the lab.

Refuses to know: how an answer is shown.
"""

from __future__ import annotations

import http.client
import json
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

SOCKET: Final = "agent.sock"
"""The agent's, in its run directory."""
KEYS: Final = Path("/etc/bgpctl/keys")
"""The directory of a node's keys for the channel between agents, unless another is chosen."""

_AGAIN_S: Final = 0.01
_CREDENTIALS: Final = struct.Struct("iII")
"""struct ucred of unix(7): pid, uid, gid."""

_VERSIONS: Final[Mapping[str, int]] = {
    "summary": 2,
    "peers": 2,
    "neighbor": 2,
    "routes": 2,
    "rib": 2,
    "tunnels": 1,
    "workloads": 1,
    "names": 1,
    "nodes": 1,
    "configuration": 1,
    "pools": 1,
    "blocks": 1,
    "services": 1,
    "events": 1,
    "kernel": 1,
    "intent": 1,
    "watch": 1,
    "watched": 1,
    "map-part": 1,
    "plan": 3,
    "asked": 1,
    "change": 1,
    "journal-file": 1,
}
"""The version of each answer's schema; a new one changes or removes keys or values."""


def schema(name: str) -> str:
    """The schema of an answer, as the answer itself states it: `bgpctl/<name>/v<version>`."""
    return f"bgpctl/{name}/v{_VERSIONS[name]}"


class AgentAway(Exception):
    """No agent answers at the socket."""


class Faulty(AgentAway):
    """An agent answers, but with an error of its own; its log has more."""


class OtherVersion(AgentAway):
    """An agent answers, but it is of a version whose answer has other keys."""


class Denied(Exception):
    """Only root, the agent's own user and perhaps a group may request this."""


class BadRequest(Exception):
    """The request is not valid; the message has the reason."""


class NotPossible(BadRequest):
    """The request is valid, and cannot be met as things are now; the message has the reason."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self._connect(self.sock, time.monotonic() + (self.timeout or 0.0))

    def _connect(self, opened: socket.socket, until_s: float) -> None:
        """A socket with a timeout does not wait while more ask than the agent has accepted yet (EAGAIN)."""
        while True:
            try:
                return opened.connect(str(self._path))
            except BlockingIOError:
                if time.monotonic() >= until_s:
                    raise
                time.sleep(_AGAIN_S)


def read(
    path: Path,
    view: str,
    query: Mapping[str, str] | None = None,
    *,
    content: str = "",
    timeout_s: float = 5.0,
    any_version: bool = False,
) -> dict[str, Any]:
    """
    One view of the agent that listens at `path`: `summary`, `peers`, `routes` and so on. `content` is what a question
    is about, where that is too long for its query. With `any_version` the caller reads no key that versions differ in.

    Returns:
        The decoded JSON object; its `schema` is `schema(view)`.

    Raises:
        AgentAway: nothing listens, or it did not answer in time; Faulty, if it could not; OtherVersion, if its answer
            has another schema.
        BadRequest: there is no such view, or its arguments are not valid.
        Denied: `content` is for root, the agent's user and the group of its --plan-group.
    """
    body = _understood(path, *_exchange(path, "GET", view, query or {}, content, timeout_s))
    if not any_version and body.get("schema") != schema(view):
        raise OtherVersion(
            f"the agent at {path} is of another version: it answered {body.get('schema')}, this bgpctl reads "
            f"{schema(view)}; use the agent's bgpctl, or restart the agent with this one"
        )
    return body


def pid_of(path: Path) -> int | None:
    """The process that listens at `path`; None if none does."""
    with socket.socket(socket.AF_UNIX) as opened:
        opened.settimeout(1.0)
        try:
            opened.connect(str(path))
        except OSError:
            return None
        raw = opened.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(raw)[0]
    return pid or None  # 0 is one outside of our namespace of processes


def ask(
    path: Path, verb: str, query: Mapping[str, str] | None = None, *, content: str = "", timeout_s: float = 5.0
) -> dict[str, Any]:
    """
    Send a request to the agent that listens at `path`: `peer-down`, `drain` and so on. Returns once it is accepted.

    Raises:
        AgentAway: nothing listens, or it did not answer in time; Faulty, if it could not.
        Denied: we are neither root nor the agent's user.
        BadRequest: there is no such verb, peer or session.
        NotPossible: not as things are now.
    """
    return _understood(path, *_exchange(path, "POST", verb, query or {}, content, timeout_s))


def _understood(path: Path, status: int, body: dict[str, Any]) -> dict[str, Any]:
    match status:
        case http.client.OK:
            return body
        case http.client.FORBIDDEN:
            raise Denied(str(body.get("error")))
        case http.client.CONFLICT:
            raise NotPossible(str(body.get("error")))
        case http.client.BAD_REQUEST | http.client.NOT_FOUND:
            raise BadRequest(str(body.get("error")))
        case _:
            raise Faulty(f"the agent at {path} answered {status}: {body.get('error')}")


def _exchange(
    path: Path, method: str, name: str, query: Mapping[str, str], content: str, timeout_s: float
) -> tuple[int, dict[str, Any]]:
    connection = _UnixConnection(path, timeout_s)
    try:
        # Only the server may define the meaning of content in a GET (RFC 9110 section 9.3.1); ours does.
        connection.request(method, f"/v1/{quote(name)}?{urlencode(query)}", content.encode() or None)
        response = connection.getresponse()
        body = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AgentAway(f"no agent answers at {path}: {error}") from error
    finally:
        connection.close()
    if not isinstance(body, dict):
        raise Faulty(f"the agent at {path} answered {response.status}: {body}")
    return response.status, body
