"""
The configuration of a router that runs another BGP daemon, and where it lives.

Refuses to know: any daemon's configuration, commands and output.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bgpctl.core.cluster.configuration import Role
from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.lab import netns

CLUSTER_AS: Final = Asn(64512)
HOLD_TIME_S: Final = 30
RESTART_TIME_S: Final = 60
_SBIN: Final = "/usr/sbin:/sbin:/usr/lib/frr"


@dataclass(frozen=True, slots=True)
class Neighbor:
    """
    One session from the router's side.

    Attributes:
        passive: wait for the other end to connect.
        restarts: graceful restart (RFC 4724), as one who restarts and as a helper; None: as the daemon does by default.
        client: the other end is a client of this route reflector.
        bfd_ms: the interval of BFD's packets in both directions, with a detect multiplier of 3; None: no BFD.
        role: the router's role (RFC 9234); None: as a router that knows of none.
    """

    address: Address
    local: Address
    asn: Asn = CLUSTER_AS
    passive: bool = False
    password: str | None = None
    ttl_security: bool = False
    restarts: bool | None = True
    client: bool = False
    bfd_ms: int | None = None
    role: Role | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """How a route of the router's own is announced. Communities are written `64512:7`, large ones `64512:1:2`."""

    communities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Router:
    """
    Everything a router is configured with.

    Attributes:
        routes: announced to every neighbor; it has no such networks itself.
        recovering: it comes back from a restart, and sets the Restart State bit (RFC 4724).
    """

    router_id: Address
    neighbors: tuple[Neighbor, ...]
    routes: Mapping[Prefix, Origin] = field(default_factory=dict)
    asn: Asn = CLUSTER_AS
    cluster_id: Address | None = None
    recovering: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a router lives: its network namespace, and a directory for its files."""

    namespace: str
    directory: Path

    def file(self, name: str) -> Path:
        return self.directory / name

    def spawn(self, *command: str | Path) -> subprocess.Popen[bytes]:
        """Start one of its programs."""
        words = [str(word) for word in command]
        return netns.spawn(self.namespace, [found(words[0]) or words[0], *words[1:]], self.file("log"))

    def run(self, *command: str | Path, stdin: str | None = None) -> str:
        """The output of a program inside the namespace. Raises RuntimeError if it fails."""
        words = ("ip", "netns", "exec", self.namespace, *map(str, command))
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout


def found(program: str) -> str | None:
    """Where a program is; also those that users rarely have on their PATH."""
    return shutil.which(program) or shutil.which(program, path=_SBIN)


def missing(programs: Iterable[str]) -> list[str]:
    """The programs that are not installed."""
    return [program for program in programs if not found(program)]


def by_version(routes: Mapping[Prefix, Origin]) -> Iterator[tuple[int, Mapping[Prefix, Origin]]]:
    """The routes of each IP version, also where there are none."""
    for version in (4, 6):
        yield version, {prefix: origin for prefix, origin in routes.items() if prefix.version == version}
