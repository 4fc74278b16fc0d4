"""
The live map's server: HTTP/1.1 on one TCP port. The page is files of the package; `/api/map`, `/api/verify` and
`/api/explain` are JSON. There are no requests but reads, and none has content.

TCP knows no users, so that the API is for those who know the token in the address that is printed at the start: they
see all that the user sees who started it, and no other local user does. The token is in the part of the address that a
browser keeps for itself. A page of another origin can do nothing: it does not know the token, its requests are refused
by their headers, and a name that is made to lead here (DNS rebinding) is no address in `Host`. The page itself may load
nothing from elsewhere.

Refuses to know: the contents of an answer, how nodes are asked.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import secrets
import socket
import socketserver
import threading
import time
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from importlib import resources
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, urlsplit

from bgpctl.agent.limits import Limits
from bgpctl.agent.pages import Handler, Page, Server, json_page
from bgpctl.core.trace.packet import DEFAULT_BYTES
from bgpctl.ports import Unavailable
from bgpctl.ui.latest import Latest, Made, NotPermitted, Unanswerable

LIMITS: Final = Limits(each=16, all=32, share=0.5)
"""A browser has six connections; all programs of a host are one user. Half a processor is for them all."""
VERIFY_SCHEMA: Final = "bgpctl/map-verify/v1"
_API: Final = "/api/"
_NO_KEY: Final = "open the address that was printed at the start: its end is the key"
_FIRST_S: Final = 15.0
"""The first map is waited for so long."""
_LONGEST_QUERY: Final = 400
_VERIFY_SHARE: Final = 0.2
_SECURITY: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_TYPES: Final[Mapping[str, str]] = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


class Source(Protocol):
    """
    The answers that the map shows, each with its schema. All may be asked in any thread.

    Attributes:
        every_s: seconds between two maps; infinite if there is only one.
    """

    every_s: float

    def map(self) -> dict[str, Any]:
        """`bgpctl/map/v1`. Raises Unanswerable."""

    def explain(self, source: str, destination: str, size_bytes: int) -> dict[str, Any]:
        """`bgpctl/explain/v1`, between addresses or names. Raises Unanswerable."""

    def verify(self) -> dict[str, Any]:
        """`bgpctl/verify/v1`, with the nodes of each example as `ends`. Raises Unanswerable."""


@cache
def files() -> Mapping[str, Page]:
    """The page's files by their paths."""
    found: dict[str, Page] = {}
    for item in resources.files("bgpctl.ui").joinpath("page").iterdir():
        kind = _TYPES.get(item.name.rpartition(".")[2])
        if kind:
            found[f"/{item.name}"] = Page(HTTPStatus.OK, kind, item.read_bytes())
    found["/"] = found["/index.html"]
    return found


class _Server(Server, socketserver.TCPServer):
    allow_reuse_address = True

    def __init__(self, host: str, port: int, source: Source, token: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)
        self.pages = {}
        self.source = source
        self.token = token
        self.map: Latest[tuple[bytes, str]] = Latest(self._map, source.every_s)
        self.verdict: Latest[dict[str, Any]] = Latest(source.verify, max(source.every_s, 5.0), _VERIFY_SHARE)
        self.limit(LIMITS)

    def _map(self) -> tuple[bytes, str]:
        """The document and its tag."""
        body = json.dumps(self.source.map(), separators=(",", ":")).encode()
        return body, f'"{hashlib.sha256(body).hexdigest()[:16]}"'


class _Handler(Handler):
    server: _Server
    _tag = ""

    def receive(self) -> Page | None:
        """Nothing is received; one who may not ask is refused."""
        self._tag = ""
        if self.headers.get("Content-Length", "0") != "0":
            self.close_connection = True
            return json_page(HTTPStatus.BAD_REQUEST, {"error": "no content is accepted here"})
        if not _is_address(self.headers.get("Host", "")):
            return _forbidden("ask by address: Host is no IP address, and not localhost")
        if self._is_foreign():
            return _forbidden("pages of other origins may not ask this")
        if self._path().startswith(_API):
            return self._check_token()
        return None

    def _is_foreign(self) -> bool:
        """A link on another page may lead to this one; scripts and frames there may ask nothing."""
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{self.headers['Host']}":
            return True
        is_other = self.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}
        is_link = self.headers.get("Sec-Fetch-Mode") == "navigate" and not self._path().startswith(_API)
        return is_other and not is_link

    def _check_token(self) -> Page | None:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self.server.token.encode()):
            return json_page(HTTPStatus.UNAUTHORIZED, {"error": _NO_KEY})
        self._limited = False  # it need not wait for its turn behind those who have no key
        return None

    def read(self) -> Page:
        """A file of the page, or JSON."""
        answers = {"/api/map": self._map, "/api/verify": self._verify, "/api/explain": self._explain}
        path = self._path()
        try:
            if path in answers:
                return answers[path]()
            return files().get(path) or json_page(HTTPStatus.NOT_FOUND, {"error": "there is no such page"})
        except NotPermitted as error:
            return json_page(HTTPStatus.FORBIDDEN, {"error": str(error)})
        except (Unanswerable, ValueError) as error:
            return json_page(HTTPStatus.BAD_REQUEST, {"error": str(error)})

    def _map(self) -> Page:
        made = self.server.map.get(_FIRST_S)
        if made is None or made.answer is None:
            return _no_answer(made)
        body, self._tag = made.answer
        if self.headers.get("If-None-Match") == self._tag:
            return Page(HTTPStatus.NOT_MODIFIED, "application/json", b"")
        return Page(HTTPStatus.OK, "application/json", body)

    def _verify(self) -> Page:
        made = self.server.verdict.get(0.2)
        found = {
            "schema": VERIFY_SCHEMA,
            "age_s": round(time.monotonic() - made.at_s, 1) if made else None,
            "verdict": made.answer if made else None,
            "error": made.error if made else None,
        }
        return json_page(HTTPStatus.OK, found)

    def _explain(self) -> Page:
        query = urlsplit(self.path).query
        if len(query) > _LONGEST_QUERY:
            raise ValueError("the query is too long")
        asked = dict(parse_qsl(query))
        if not asked.get("from") or not asked.get("to"):
            raise ValueError("two ends are needed: from and to")
        size = asked.get("size", str(DEFAULT_BYTES))
        if not (size.isascii() and size.isdigit() and len(size) < 6 and 20 <= int(size) <= 65535):
            raise ValueError("size is a number from 20 to 65535")
        return json_page(HTTPStatus.OK, self.server.source.explain(asked["from"], asked["to"], int(size)))

    def end_headers(self) -> None:
        """With the headers that every answer has."""
        for name, value in _SECURITY.items():
            self.send_header(name, value)
        if self._tag:
            self.send_header("ETag", self._tag)
        super().end_headers()

    def version_string(self) -> str:
        """Without versions, which no page needs."""
        return "bgpctl"


def _forbidden(reason: str) -> Page:
    return json_page(HTTPStatus.FORBIDDEN, {"error": reason})


def _no_answer(made: Made[Any] | None) -> Page:
    reason = made.error if made else "no map is there yet"
    return json_page(HTTPStatus.SERVICE_UNAVAILABLE, {"error": reason})


def _is_address(host: str) -> bool:
    """True of a `Host` that no name server has a part in."""
    try:
        name = urlsplit(f"http://{host}").hostname or ""
        return name == "localhost" or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


class MapServer:
    """
    Serves until closed.

    Args:
        host, port: where it listens; port 0 is any free one.
        source: the answers.
    """

    def __init__(self, host: str, port: int, source: Source) -> None:
        token = secrets.token_urlsafe(16)
        try:
            self._server = _Server(host, port, source, token)
        except OSError as error:
            place = f"{host}:{port}"
            raise Unavailable(
                f"cannot listen at {place}: {error.strerror or error}; choose another with --listen"
            ) from error
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{self._server.server_address[1]}"
        self.token = token
        self._server.map.get(0.0)  # the first one is begun before it is asked for
        threading.Thread(target=self._server.serve_forever, name="ui", daemon=True).start()

    @property
    def url(self) -> str:
        """The page's address with its key."""
        return f"{self.address}/#{self.token}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._server.map.close()
        self._server.verdict.close()
