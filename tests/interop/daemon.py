"""
The queries and commands for a router that runs another BGP daemon; a class per daemon implements them.

Refuses to know: any daemon's configuration, commands and output.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from typing import ClassVar, Final, NamedTuple, Protocol

import pytest

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.lab.daemons.session_options import Origin, Place, Router, missing

_END_WITHIN_S: Final = 10.0


class Entry(NamedTuple):
    """A route that one neighbour announced to the router."""

    next_hop: Address
    as_path: tuple[int, ...] = ()
    communities: frozenset[str] = frozenset()
    local_pref: int | None = None
    originator: str | None = None
    cluster_list: tuple[str, ...] = ()
    extended: str = ""
    """Extended communities in the router's own words."""
    only_to_customer: int | None = None


class Updates(NamedTuple):
    """UPDATEs, or the routes in them, as the router counts them."""

    received: int
    sent: int


class Daemon(Protocol):
    """A router in a network namespace of its own."""

    name: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]
    """Programs that have to be installed."""
    asks: ClassVar[bool]
    """True if it can be made to send a ROUTE-REFRESH (RFC 2918)."""

    def __init__(self, place: Place) -> None: ...

    def start(self, router: Router) -> None:
        """Start, and answer questions from then on."""

    def announce(self, *tables: Mapping[Prefix, Origin]) -> None:
        """Announce just these routes from now on; of several tables one after the other, as fast as it can."""

    def established(self, neighbor: Address) -> bool: ...

    def table(self, neighbor: Address) -> Mapping[Prefix, Entry]:
        """The neighbour's announcements, of the neighbour's IP version."""

    def updates(self, neighbor: Address) -> Updates:
        """How many were exchanged in this session."""

    def ask_again(self, neighbor: Address) -> None:
        """Send a ROUTE-REFRESH; only where it `asks`."""

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal: with SIGTERM it closes its sessions, with SIGKILL it cannot."""


def ended(process: subprocess.Popen[bytes] | None, number: signal.Signals) -> None:
    """Signal a program, if there is one, and wait for its end."""
    if process and process.poll() is None:
        process.send_signal(number)
        process.wait(_END_WITHIN_S)


def installed(kind: type[Daemon]) -> None:
    """Skip the test if it cannot run here."""
    if os.geteuid() != 0:
        pytest.skip("root: network namespaces and port 179")
    if missing_programs := missing(kind.programs):
        pytest.skip(f"{kind.name}: no {', '.join(missing_programs)} (tools/system-packages test)")
