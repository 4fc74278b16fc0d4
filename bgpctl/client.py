"""Reading from a running agent over its unix socket. Used by the command line and by the lab.

Refuses to know: how an answer is shown.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode


class AgentAway(Exception):
    """No agent answers at the socket."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def read(path: Path, view: str, query: Mapping[str, str] | None = None, *, timeout_s: float = 5.0) -> dict[str, Any]:
    """
    One view of the agent that listens at `path`: `summary`, `peers`, `routes` and so on.

    Returns:
        The decoded JSON object; its `schema` is `bgpctl/<view>/v1`.

    Raises:
        AgentAway: nothing listens, or it did not answer in time.
    """
    connection = _UnixConnection(path, timeout_s)
    try:
        connection.request("GET", f"/v1/{quote(view)}?{urlencode(query or {})}")
        response = connection.getresponse()
        body = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AgentAway(f"no agent answers at {path}: {error}") from error
    finally:
        connection.close()
    if response.status != http.client.OK or not isinstance(body, dict):
        raise AgentAway(f"the agent at {path} answered {response.status}: {body}")
    return body
