"""
The ledger of a node on disk: read by any user, written by root, all of it or nothing, also if the power fails.

Those who write it one after the other hold a lock that no other user can take. A reader needs none: the file is
replaced. A ledger that cannot be understood is never taken for an empty one, because addresses would be given twice.

Refuses to know: who gets which address.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bgpctl import filesystem
from bgpctl.core.ipam.ledger import Endpoint, Freed, Ledger, Moment, Network, PublishedPort, Request, Workload
from bgpctl.core.net.addresses import Address, Mac

DIRECTORY: Final = Path("/var/lib/bgpctl")
_NAME: Final = "workloads.json"
_LOCK_NAME: Final = "workloads.lock"
_DRAFT: Final = re.compile(rf"\.{re.escape(_NAME)}\.\d+\.new")
"""As filesystem.replace names them."""
_SCHEMA: Final = "bgpctl/workload-ledger/v2"
_FORMER_SCHEMA: Final = "bgpctl/workload-ledger/v1"
"""Without what is Docker's; a version that writes it would lose that."""
_LOCK: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class LedgerUnusable(Exception):
    """The ledger cannot be read or written; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class LedgerFile:
    """The file while its lock is held. `path` is for messages."""

    directory: int
    path: Path

    def read(self) -> Ledger:
        """The ledger; a new one if there is no file. Raises LedgerUnusable."""
        return _read(self.directory, self.path)

    def write(self, ledger: Ledger) -> None:
        """Replace the file; it is on disk afterwards. Raises LedgerUnusable."""
        content = json.dumps(_document(ledger), indent=1).encode()
        try:
            filesystem.replace(self.directory, _NAME, content, mode=0o644)
        except OSError as error:
            raise _unusable(self.path, error) from error


@contextmanager
def locked(directory: Path) -> Iterator[LedgerFile]:
    """The file in the directory, which is made if it is missing, for one writer at a time. Raises LedgerUnusable."""
    path = directory / _NAME
    try:
        _make(directory)
        handle = filesystem.open_ours(directory)
    except OSError as error:
        raise _unusable(directory, error) from error
    try:
        with _lock(handle, directory / _LOCK_NAME):
            _remove_drafts(handle)
            yield LedgerFile(handle, path)
    finally:
        os.close(handle)


def read(directory: Path) -> Ledger:
    """The ledger of the last one who wrote it, for any user; a new one if there is none. Raises LedgerUnusable."""
    try:
        with filesystem.ours(directory) as handle:
            return _read(handle, directory / _NAME)
    except FileNotFoundError:
        return Ledger()
    except OSError as error:
        raise _unusable(directory, error) from error


def version(directory: Path) -> tuple[int, int] | None:
    """Another value when the ledger was replaced; None while there is none, or it cannot be seen."""
    try:
        found = (directory / _NAME).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _make(directory: Path) -> None:
    if not directory.exists():
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)  # any user may read the ledger, whatever the umask


@contextmanager
def _lock(directory: int, path: Path) -> Iterator[None]:
    try:
        handle = os.open(_LOCK_NAME, _LOCK, 0o600, dir_fd=directory)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        # A command of ip(8) goes on when its caller is killed, and has the lock until it ends.
        os.set_inheritable(handle, True)
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove_drafts(directory: int) -> None:
    """Remove the drafts of writers that were killed: while the lock is held there is no other writer."""
    for name in os.listdir(directory):
        if _DRAFT.fullmatch(name):
            with suppress(OSError):
                os.unlink(name, dir_fd=directory)


def _read(directory: int, path: Path) -> Ledger:
    try:
        content = filesystem.read_ours(directory, _NAME)
    except FileNotFoundError:
        return Ledger()
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        return _ledger(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        hint = "restore it from a backup; without it, delete the links of group 179 and then the file"
        raise LedgerUnusable(f"{path} is damaged ({error!r}); {hint}") from error


def _unusable(path: Path, error: OSError) -> LedgerUnusable:
    return LedgerUnusable(f"{path} cannot be used: {error.strerror}")


# The document ----------------------------------------------------------------------------------------------------


def _document(ledger: Ledger) -> dict[str, Any]:
    return {
        "schema": _SCHEMA,
        "node": ledger.node,
        "workloads": {name: _item(workload) for name, workload in sorted(ledger.workloads.items())},
        "freed": [[str(item.address), *item.at] for item in ledger.freed],
        "reserved": [[str(address), *since] for address, since in sorted(ledger.reserved.items())],
        "networks": {name: {"mtu_bytes": network.mtu_bytes} for name, network in sorted(ledger.networks.items())},
    }


def _item(workload: Workload) -> dict[str, Any]:
    request = workload.request
    return {
        "request": {
            "netns": request.netns,
            "pools": list(request.pools),
            "addresses": [str(address) for address in request.addresses],
            "mac": request.mac,
            "dev": request.inner,
            "labels": dict(request.labels),
        },
        "device": workload.device,
        "mac": workload.mac,
        "addresses": [str(address) for address in workload.addresses],
        "mtu_bytes": workload.mtu_bytes,
        "since_s": workload.since_s,
        "complete": workload.complete,
        "endpoint": _endpoint_item(workload.endpoint) if workload.endpoint else None,
    }


def _endpoint_item(endpoint: Endpoint) -> dict[str, Any]:
    published = [[port.protocol, str(port.host or ""), port.host_port, port.port] for port in endpoint.published]
    return {"id": endpoint.id, "network": endpoint.network, "gateway": endpoint.gateway, "published": published}


def _ledger(document: Any) -> Ledger:
    if document["schema"] == _FORMER_SCHEMA:
        document = {"reserved": [], "networks": {}, **document}
    elif document["schema"] != _SCHEMA:
        raise ValueError(f"schema {document['schema']!r}, not {_SCHEMA!r}")
    workloads = {name: _workload(name, item) for name, item in document["workloads"].items()}
    freed = tuple(_freed(*item) for item in document["freed"])
    networks = {str(name): _network(item["mtu_bytes"]) for name, item in document["networks"].items()}
    reserved = {item.address: item.at for item in (_freed(*item) for item in document["reserved"])}
    return Ledger(str(document["node"]), workloads, freed, reserved, networks)


def _network(mtu_bytes: Any) -> Network:
    return Network(None if mtu_bytes is None else int(mtu_bytes))


def _endpoint(item: Any) -> Endpoint:
    published = tuple(_published(*port) for port in item["published"])
    return Endpoint(str(item["id"]), str(item["network"]), int(item["gateway"]), published)


def _published(protocol: str, host: str, host_port: int, port: int) -> PublishedPort:
    return PublishedPort(str(protocol), Address.parse(host) if host else None, int(host_port), int(port))


def _freed(address: str, boot: str, since_boot_s: float) -> Freed:
    return Freed(Address.parse(address), Moment(str(boot), float(since_boot_s)))


def _workload(name: str, item: Any) -> Workload:
    asked = item["request"]
    mac = asked["mac"]
    request = Request(
        name,
        str(asked["netns"]),
        tuple(map(str, asked["pools"])),
        _addresses(asked["addresses"]),
        None if mac is None else Mac(str(mac)),
        str(asked["dev"]),
        tuple(sorted((str(key), str(value)) for key, value in asked["labels"].items())),
    )
    return Workload(
        request,
        str(item["device"]),
        Mac(str(item["mac"])),
        _addresses(item["addresses"]),
        int(item["mtu_bytes"]),
        float(item["since_s"]),
        bool(item["complete"]),
        _endpoint(item["endpoint"]) if item.get("endpoint") else None,
    )


def _addresses(texts: Any) -> tuple[Address, ...]:
    return tuple(map(Address.parse, texts))
