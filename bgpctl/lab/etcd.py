"""
Members of an etcd cluster for a lab: processes with their data in a directory, ended by their pid.

Refuses to know: who asks them, and what they keep.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bgpctl.core.net.addresses import Address

PROGRAM: Final = "etcd"
PACKAGE: Final = "etcd-server"
CLIENT_PORT: Final = 2379
_PEER_PORT: Final = 2380


def missing() -> str | None:
    """The package to install, if etcd is not there."""
    return None if program() else f"etcd (Debian's {PACKAGE}): tools/system-packages etcd"


def program() -> str | None:
    """Where etcd is."""
    return shutil.which(PROGRAM, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@dataclass(frozen=True, slots=True)
class Member:
    """One of the members: `address` is where clients and the others reach it, on these two ports."""

    name: str
    address: Address
    directory: Path
    client_port: int = CLIENT_PORT
    peer_port: int = _PEER_PORT

    @property
    def endpoint(self) -> str:
        """For clients."""
        return f"http://{self._host}:{self.client_port}"

    @property
    def peer(self) -> str:
        """For the other members."""
        return f"http://{self._host}:{self.peer_port}"

    @property
    def _host(self) -> str:
        return f"[{self.address}]" if self.address.version == 6 else str(self.address)


def command(member: Member, members: Sequence[Member], more: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """
    How the member is started. With `--pre-vote` one that comes back after a partition forces no election, and history
    is compacted every hour, as a cluster that runs for years needs it.
    """
    options = {
        "name": member.name,
        "data-dir": str(member.directory),
        "listen-client-urls": member.endpoint,
        "advertise-client-urls": member.endpoint,
        "listen-peer-urls": member.peer,
        "initial-advertise-peer-urls": member.peer,
        "initial-cluster": ",".join(f"{other.name}={other.peer}" for other in members),
        "initial-cluster-state": "new",
        "pre-vote": "true",
        "auto-compaction-retention": "1",
        "log-level": "warn",
        "logger": "zap",
        **(more or {}),
    }
    return (program() or PROGRAM, *(f"--{name}={value}" for name, value in options.items()))
