"""
A join file: all that a host needs in order to join a cluster, as one small JSON document.

It has the address of the join service, the cluster's certificate authority (CA), by which the host knows the service,
and a one-time secret, by which the service knows the host. The secret makes the file one for its owner alone.

Refuses to know: how files are read, certificates.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

_FORMAT: Final = 1
_LAST_PORT: Final = 65535
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n?")
_NUMBER: Final = re.compile(r"[0-9a-f]{8,64}")
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{32,128}")
_TEXTS: Final = ("cluster", "service", "ca", "id", "secret")


@dataclass(frozen=True, slots=True)
class JoinFile:
    """`ca` is the CA's certificate in PEM; `number` names the secret, and is none itself."""

    cluster: str
    host: str
    port: int
    ca: str
    number: str
    secret: str

    def __repr__(self) -> str:
        return f"JoinFile({self.cluster!r}, {self.service!r}, {self.number!r})"

    @property
    def service(self) -> str:
        """`HOST:PORT` of the join service."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class BadJoinFile(Exception):
    """It is no join file, in words, which never quote the secret."""


def written(file: JoinFile) -> str:
    """As JSON, which `read` reads."""
    texts = {"cluster": file.cluster, "service": file.service, "ca": file.ca, "id": file.number, "secret": file.secret}
    return json.dumps({"bgpctl-join": _FORMAT, **texts}, indent=2) + "\n"


def read(text: str, name: str) -> JoinFile:
    """The join file `name` with this content. Raises BadJoinFile with the place and the rule."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadJoinFile(f"{name}:{error.lineno}:{error.colno}: it is no join file: no JSON: {error.msg}") from None
    except RecursionError:
        raise BadJoinFile(f"{name}: it is no join file: its JSON is nested too deeply") from None
    if not isinstance(found, dict) or "bgpctl-join" not in found:
        raise BadJoinFile(f"{name}: it is no join file; bgpctl cluster invite writes one")
    if found["bgpctl-join"] != _FORMAT:
        raise BadJoinFile(f"{name}: bgpctl-join: this version reads format {_FORMAT}; update bgpctl here")
    texts = {key: _text(found, key, name) for key in _TEXTS}
    host, port = _service(texts["service"], name)
    for key, pattern, rule in (
        ("ca", _PEM, "one certificate in PEM"),
        ("id", _NUMBER, "hexadecimal digits"),
        ("secret", _SECRET, "32 to 128 letters and digits"),
    ):
        if not pattern.fullmatch(texts[key]):
            raise BadJoinFile(f"{name}: {key} is {rule}; the file may have been cut off")
    return JoinFile(texts["cluster"], host, port, texts["ca"], texts["id"], texts["secret"])


def _text(found: dict[str, Any], key: str, name: str) -> str:
    value = found.get(key)
    if not isinstance(value, str) or not value:
        raise BadJoinFile(f"{name}: {key} is missing, or no text; the file may have been cut off")
    return value


def _service(text: str, name: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) <= _LAST_PORT:
        raise BadJoinFile(f"{name}: service: {text!r} is no HOST:PORT")
    return host.strip("[]"), int(port)
