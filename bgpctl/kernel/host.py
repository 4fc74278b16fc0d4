"""
Uses of a Linux host's network: connections from /proc/net, counters by netlink.

Refuses to know: the callers.
"""

from __future__ import annotations

from collections.abc import Mapping

from bgpctl.core.net.addresses import Address
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Drops, Traffic
from bgpctl.core.trace.snapshot import Snapshot
from bgpctl.kernel import drops, sockets, traffic
from bgpctl.ports import Host, Unavailable


class LinuxHost(Host):
    """The network namespace of the calling thread."""

    def connected(self) -> frozenset[Address]:
        return sockets.talking()

    def traffic(self) -> Mapping[str, Traffic]:
        try:
            return traffic.read()
        except OSError as error:
            raise Unavailable(str(error)) from error

    def drops(self) -> Mapping[str, tuple[Drops, ...]]:
        try:
            return drops.read()
        except OSError as error:
            raise Unavailable(str(error)) from error

    def snapshot(self, observed: Dataplane) -> Snapshot:
        from bgpctl.kernel import snapshot  # noqa: PLC0415 (what is asked now and then)

        try:
            return snapshot.around(observed)
        except OSError as error:
            raise Unavailable(str(error)) from error
