"""
How an etcd is reached: `etcd://HOST:PORT,…/CLUSTER`, or a file that has keys and a password beside it.

A password or a private key is never an argument, and no variable: only the name of a file is, and a file that other
users can read is refused.

Refuses to know: how etcd is spoken to (gateway.py).
"""

from __future__ import annotations

import re
import ssl
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from bgpctl import filesystem
from bgpctl.core.intent.tree import Mapping as Document
from bgpctl.core.intent.tree import Scalar, Sequence
from bgpctl.store.yaml import BadYaml, documents

SCHEME: Final = "etcd://"
SNAPSHOTS: Final = Path("/var/lib/bgpctl")
_PORT: Final = 2379
_LAST_PORT: Final = 65535
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ENDPOINT: Final = re.compile(r"(?:(https?)://)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?/?")
_FILES: Final = ("ca", "certificate", "key", "passwordFile", "snapshot")
_KEYS: Final = ("endpoints", "cluster", "user", *_FILES)


class UnusableStore(Exception):
    """The store cannot be used as it is described; the message has the place and the rule."""


class Endpoint(NamedTuple):
    """One member of the etcd cluster, as clients reach it."""

    tls: bool
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Options:
    """
    Attributes:
        cluster: names the keys of this cluster in the etcd: `/bgpctl/v1/CLUSTER/`.
        ca, certificate, key: PEM files; without `ca` the host's own authorities count.
        snapshot: the file that has the last good content, for starts without the store.
    """

    endpoints: tuple[Endpoint, ...]
    cluster: str = "default"
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    user: str | None = None
    password_file: Path | None = None
    snapshot: Path | None = None

    @property
    def name(self) -> str:
        """For the operator."""
        return f"{SCHEME}{','.join(map(str, self.endpoints))}/{self.cluster}"

    def password(self) -> str:
        """Read when it is needed, so that another one needs no restart. Raises UnusableStore."""
        if self.password_file is None:
            return ""
        _refuse_readable(self.password_file)
        try:
            return filesystem.read(self.password_file, 4096).decode("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UnusableStore(f"{self.password_file} cannot be read: {error}") from error

    def tls(self) -> ssl.SSLContext | None:
        """None where no endpoint speaks TLS. Raises UnusableStore."""
        if not any(endpoint.tls for endpoint in self.endpoints):
            return None
        if self.key:
            _refuse_readable(self.key)
        try:
            context = ssl.create_default_context(cafile=self.ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(str(file) for file in (self.ca, self.certificate, self.key) if file)
            raise UnusableStore(f"the certificates cannot be used ({files}): {error}") from error
        return context


def options_of(word: str) -> Options:
    """The store of `etcd://…` or of a file that describes one. Raises UnusableStore."""
    return _of_address(word) if word.startswith(SCHEME) else _of_file(Path(word))


def _of_address(word: str) -> Options:
    hosts, _, cluster = word.removeprefix(SCHEME).partition("/")
    endpoints = tuple(_endpoint(host, word) for host in hosts.split(","))
    return Options(endpoints, _cluster(cluster or "default", word), snapshot=SNAPSHOTS / f"{cluster or 'default'}.json")


def _endpoint(text: str, where: str) -> Endpoint:
    match = _ENDPOINT.fullmatch(text)
    port = int(match[3] or _PORT) if match else 0
    if match is None or not 0 < port <= _LAST_PORT:
        raise UnusableStore(f"{where}: {text!r} is no member of an etcd, such as 10.0.0.1:2379 or https://etcd-1:2379")
    return Endpoint(match[1] == "https", match[2].strip("[]"), port)


def _cluster(name: str, where: str) -> str:
    if not _NAME.fullmatch(name):
        raise UnusableStore(f"{where}: {name!r} is no name of a cluster")
    return name


def _of_file(path: Path) -> Options:
    found = _document(path)
    texts = {key: _text(path, found, key) for key in (*_FILES, "cluster", "user") if key in found.items}
    files = {key: path.parent / texts[key] for key in _FILES if key in texts}
    match found.items.get("endpoints"):
        case Sequence(items=items) if items and all(isinstance(item, Scalar) for item in items):
            endpoints = tuple(_endpoint(item.text, str(item.place)) for item in items if isinstance(item, Scalar))
        case _:
            raise UnusableStore(f"{path}: endpoints is a list of members, such as [https://10.0.0.1:2379]")
    cluster = _cluster(texts.get("cluster", "default"), str(path))
    _refuse_halves(path, texts)
    return Options(
        endpoints,
        cluster,
        files.get("ca"),
        files.get("certificate"),
        files.get("key"),
        texts.get("user"),
        files.get("passwordFile"),
        files.get("snapshot", SNAPSHOTS / f"{cluster}.json"),
    )


def _document(path: Path) -> Document:
    try:
        trees = documents(filesystem.read(path).decode("utf-8-sig"), str(path))
    except BadYaml as bad:
        raise UnusableStore(f"{bad.problem}") from bad
    except OSError as error:
        raise UnusableStore(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnusableStore(f"{path} is not UTF-8 text: {error.reason}") from error
    match trees:
        case (Document() as found,):
            pass
        case _:
            raise UnusableStore(f"{path}: a store is one mapping with the keys {', '.join(_KEYS)}")
    for key, place in found.keys.items():
        if key not in _KEYS:
            raise UnusableStore(f"{place}: unknown key {key}; a store has {', '.join(_KEYS)}")
    return found


def _text(path: Path, found: Document, key: str) -> str:
    value = found.items[key]
    if not isinstance(value, Scalar) or not value.text:
        raise UnusableStore(f"{found.keys.get(key, path)}: {key} is one text")
    return value.text


def _refuse_halves(path: Path, texts: Mapping[str, str]) -> None:
    for one, other in (("certificate", "key"), ("key", "certificate"), ("user", "passwordFile")):
        if one in texts and other not in texts:
            raise UnusableStore(f"{path}: {one} needs {other} beside it")


def _refuse_readable(path: Path) -> None:
    try:
        found = path.stat()
    except OSError as error:
        raise UnusableStore(f"{path} cannot be read: {error.strerror}") from error
    if found.st_mode & _OTHERS:
        raise UnusableStore(f"other users can read {path}; run: chmod 0600 {path}")
