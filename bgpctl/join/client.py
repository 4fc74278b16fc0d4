"""
A host that asks the join service: for membership with a secret, or to leave with its certificate.

The service is believed only with a certificate of the authority that the join file has, and with its own name in it: a
node has a certificate of that authority too, and must not be taken for the service. Before that nothing is sent.

Refuses to know: where files are, what the answers mean.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from bgpctl.join.refused import JoinRefused
from bgpctl.process.keys import SERVICE

NAME: Final = "join"
_WITHIN_S: Final = 60.0
_STARTS_WITHIN_S: Final = 10.0
_PAUSE_S: Final = 0.2
_LONGEST_BYTES: Final = 1 << 20


class NotReached(Exception):
    """The service does not answer, or is another one; the message says why."""


def ask(host: str, port: int, ca: str, verb: str, body: Mapping[str, Any], own: Path | None = None) -> dict[str, Any]:
    """
    The answer of the service at this place, known by the authority `ca` (PEM). `own`: this node's certificate and key.

    Raises:
        NotReached, JoinRefused.
    """
    where = f"the join service at {host} port {port}"
    connection = http.client.HTTPSConnection(host, port, timeout=_WITHIN_S, context=_context(ca, own))
    try:
        _connect(connection)
        if not _is_the_service(connection.sock):
            raise NotReached(f"{where} is another program: its certificate is none of a join service; nothing was sent")
        connection.request("POST", f"/v1/{verb}", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read(_LONGEST_BYTES))
    except ssl.SSLCertVerificationError as error:
        raise NotReached(
            f"{where} has a certificate that the join file's authority has not signed ({error.verify_message}); nothing"
            " was sent: is it the cluster of this join file?"
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NotReached(f"{where} does not answer: {reason}; it runs by: bgpctl cluster serve") from error
    finally:
        with suppress(OSError):
            connection.close()
    if response.status != HTTPStatus.OK or not isinstance(answer, dict):
        words = answer.get("error") if isinstance(answer, dict) else None
        raise JoinRefused(_printable(str(words or f"it answered {response.status}")))
    return answer


def _connect(connection: http.client.HTTPSConnection) -> None:
    """A service that is just being started is waited for. Raises OSError."""
    until_s = time.monotonic() + _STARTS_WITHIN_S
    while True:
        try:
            connection.connect()
        except ConnectionRefusedError:
            if time.monotonic() > until_s:
                raise
            time.sleep(_PAUSE_S)
        else:
            return


def _context(ca: str, own: Path | None) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False  # its name is compared below: an address may be one behind a translation
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        made.load_verify_locations(cadata=ca)
        if own:
            made.load_cert_chain(own)
    except (OSError, ssl.SSLError) as error:
        raise NotReached(f"the certificates cannot be used: {error}") from error
    return made


def _is_the_service(connected: Any) -> bool:
    names = (connected.getpeercert() or {}).get("subjectAltName", ())
    return ("URI", f"{SERVICE}{NAME}") in names


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)
