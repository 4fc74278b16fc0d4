"""
The channel between agents: TLS 1.3 with certificates on both sides, and a question with its answer.

A member is known by the one name in its certificate, which the cluster's own CA has signed; a name in DNS is never
asked for, and none is sent in the clear. `ask` always returns an answer, or the reason why there is none. An answer
has to be here within its time; to read its JSON takes what it takes.

Refuses to know: which requests there are, who is served (agent/channel.py), how keys are made (process/keys.py).
"""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import ssl
import stat
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

CA_FILE: Final = "ca.crt"
NODE_FILE: Final = "node.pem"
REVOCATIONS_FILE: Final = "ca.crl"
"""Certificates that the CA has revoked, in PEM; where it is absent none is."""
LONGEST_ANSWER_BYTES: Final = 64 << 20
_CHUNK_BYTES: Final = 1 << 16
_LONGEST_REASON: Final = 200
"""Characters of a member's own words."""
_AT_ONCE: Final = 16
_DAY_S: Final = 86400.0
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class KeysMissing(Exception):
    """There are no keys in the directory."""


class KeysUnusable(Exception):
    """The keys cannot be used; the message has the reason."""


class Member(NamedTuple):
    """Where a member's agent listens, and the address of this node's that it knows."""

    name: str
    address: str
    port: int
    source: str


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The reason, in words. `not_a_member`: it answered that this node is no member there."""

    reason: str
    not_a_member: bool = False


Answer: TypeAlias = dict[str, Any] | NoAnswer


@dataclass(frozen=True, slots=True)
class Certificate:
    """The name in a certificate, and when it ends, in seconds since 1970."""

    name: str
    ends_s: float

    def days_left(self, now_s: float) -> float:
        return (self.ends_s - now_s) / _DAY_S


class _Socket(ssl.SSLSocket):
    """`shutdown` ends the connection, and leaves TLS on: ssl.SSLSocket would go on in the clear after it."""

    def shutdown(self, how: int) -> None:
        socket.socket.shutdown(self, how)


def context(keys: Path, *, server: bool) -> ssl.SSLContext:
    """
    TLS 1.3 with this node's certificate, for peers with a certificate of the same CA.

    Raises:
        KeysMissing: there are none in this directory.
        KeysUnusable: they cannot be read, or do not belong together.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False  # names of nodes are compared in `name_of`: one may well be written as an address
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.sslsocket_class = _Socket
    if server:
        made.num_tickets = 0  # nothing is resumed: each connection is checked as a whole
    if not (keys / CA_FILE).exists() and not (keys / NODE_FILE).exists():
        raise KeysMissing(str(keys))
    try:
        made.load_verify_locations(keys / CA_FILE)
        made.load_cert_chain(keys / NODE_FILE, password=_no_password)
        if (keys / REVOCATIONS_FILE).exists():
            made.load_verify_locations(keys / REVOCATIONS_FILE)
            made.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    except (OSError, ValueError) as error:
        raise KeysUnusable(f"the keys in {keys} cannot be used: {getattr(error, 'strerror', None) or error}") from error
    return made


def _no_password() -> str:
    """OpenSSL would ask on the terminal."""
    raise ValueError("a key with a password")


def identity(keys: Path) -> tuple[tuple[int, int], ...]:
    """Another value when a file of the keys was replaced, or has other permissions."""
    found = []
    for name in (CA_FILE, NODE_FILE, REVOCATIONS_FILE):
        with suppress(OSError):
            entry = (keys / name).stat()
            found.append((entry.st_ino, entry.st_ctime_ns))
    return tuple(found)


def own_certificate(keys: Path) -> Certificate:
    """
    The certificate of this node, found right by a handshake with itself, as any other member would find it.

    Raises:
        KeysMissing, KeysUnusable: also if it has expired, or if another user can read the private key.
    """
    client, server = _in_memory(context(keys, server=False), context(keys, server=True))
    _refuse_readers(keys / NODE_FILE)
    try:
        for _ in range(4):
            for side, other in ((client, server), (server, client)):
                with suppress(ssl.SSLWantReadError):
                    side.tls.do_handshake()
                other.incoming.write(side.outgoing.read())
    except ssl.SSLCertVerificationError as error:
        raise KeysUnusable(f"the certificate in {keys / NODE_FILE} is not valid: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise KeysUnusable(f"the certificate in {keys / NODE_FILE} cannot be used: {error.reason}") from error
    found = client.tls.getpeercert() or {}
    return Certificate(name_of(found), ssl.cert_time_to_seconds(str(found["notAfter"])))


def _refuse_readers(path: Path) -> None:
    found = path.stat()
    if found.st_uid not in {0, os.geteuid()}:
        raise KeysUnusable(f"{path} belongs to another user ({found.st_uid}); run: chown root {path}")
    if found.st_mode & _OTHERS:
        raise KeysUnusable(f"other users can read the private key in {path}; run: chmod 0600 {path}")


class _End(NamedTuple):
    tls: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO


def _in_memory(client: ssl.SSLContext, server: ssl.SSLContext) -> tuple[_End, _End]:
    made = []
    for side, is_server in ((client, False), (server, True)):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        made.append(_End(side.wrap_bio(incoming, outgoing, server_side=is_server), incoming, outgoing))
    return made[0], made[1]


def name_of(certificate: Mapping[str, Any]) -> str:
    """The one name in a certificate that was verified; "" if it has none, or another number of them."""
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    return names[0] if len(names) == 1 else ""


def ask(
    member: Member,
    request: str,
    within_s: float,
    tls: ssl.SSLContext,
    longest_bytes: int = LONGEST_ANSWER_BYTES,
) -> Answer:
    """
    One read of a member's agent, such as `summary` or `configuration?digest=…`: its answer if all of it is here within
    `within_s` seconds and has no more than `longest_bytes`, otherwise the reason why there is none. No error of the
    other side is raised.
    """
    until_s = time.monotonic() + within_s
    try:
        with socket.create_connection((member.address, member.port), within_s, (member.source, 0)) as plain:
            plain.settimeout(_left_s(until_s))
            with tls.wrap_socket(plain) as opened:
                name = name_of(opened.getpeercert() or {})
                if name != member.name:
                    return NoAnswer(f"{_shown(member)} has the certificate of {name or 'no member'}")
                return _answer(member, *_exchange(opened, request, until_s, longest_bytes))
    except TimeoutError:
        return NoAnswer(f"{_shown(member)} does not answer within {within_s:g} s")
    except ConnectionRefusedError:
        return NoAnswer(f"{_shown(member)} refuses connections: its agent does not run there, or has no keys")
    except ssl.SSLCertVerificationError as error:
        return NoAnswer(f"{_shown(member)} has a certificate that is not valid here: {error.verify_message}")
    except (ssl.SSLEOFError, ConnectionError):  # the alert that says so may be lost with the connection
        return NoAnswer(f"{_shown(member)} closed the connection: it may not take this node's certificate")
    except ssl.SSLError as error:
        return NoAnswer(f"{_shown(member)} does not take this node's certificate: {_plain(error.reason)}")
    except _NOT_UNDERSTOOD as error:
        return NoAnswer(f"{_shown(member)} cannot be asked: {_short(str(error) or type(error).__name__)}")


_NOT_UNDERSTOOD: Final = (
    *(OSError, http.client.HTTPException, ValueError),
    *(RecursionError, OverflowError, MemoryError),  # JSON that is nested deeply, lengths that are no lengths
)


def _short(text: str) -> str:
    return text[:_LONGEST_REASON] if text.isprintable() else ascii(text[:_LONGEST_REASON])


def _shown(member: Member) -> str:
    host = f"[{member.address}]" if ":" in member.address else member.address
    return f"{host}:{member.port}"


def _plain(reason: str | None) -> str:
    return (reason or "without a reason").replace("_", " ").lower()


def _left_s(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _exchange(opened: ssl.SSLSocket, request: str, until_s: float, longest_bytes: int) -> tuple[int, Any]:
    """The status and the JSON of an answer that is all here in time, however slowly it comes."""
    opened.settimeout(_left_s(until_s))
    opened.sendall(f"GET /v1/{request} HTTP/1.1\r\nHost: bgpctl\r\nConnection: close\r\n\r\n".encode())
    received = bytearray()
    while True:
        opened.settimeout(_left_s(until_s))
        chunk = opened.recv(_CHUNK_BYTES)
        if not chunk:
            break
        received += chunk
        if len(received) > longest_bytes:
            raise ValueError(f"its answer has more than {longest_bytes} bytes")
    if not received:
        raise ConnectionResetError
    response = http.client.HTTPResponse(_Received(bytes(received)))  # type: ignore[arg-type]
    response.begin()
    return response.status, json.loads(response.read())


class _Received:
    """An answer that is here as a whole, in the place of a socket."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._content)


def _answer(member: Member, status: int, body: Any) -> Answer:
    if not isinstance(body, dict):
        return NoAnswer(f"{_shown(member)} answered with no JSON object")
    if status == HTTPStatus.OK:
        return body
    reason = f"{_shown(member)} answered {status}: {_short(str(body.get('error')))}"
    return NoAnswer(reason, not_a_member=status == HTTPStatus.FORBIDDEN)


def ask_all(members: Iterable[Member], request: str, within_s: float, tls: ssl.SSLContext) -> dict[str, Answer]:
    """The answers of all members by name; some of them are asked at once, each for `within_s` seconds at most."""
    listed = list(members)
    with ThreadPoolExecutor(min(_AT_ONCE, len(listed) or 1), "channel") as threads:
        answers = threads.map(lambda member: ask(member, request, within_s, tls), listed)
        return {member.name: answer for member, answer in zip(listed, answers, strict=True)}
