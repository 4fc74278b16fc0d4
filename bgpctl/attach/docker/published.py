"""
Published ports: what comes to a port of this host is sent to a workload's, by a table of nftables of our own.

Docker leaves that to the driver of the network. The table is written whole from the endpoints that are connected, and
no more often than it changes. Packets for an address of this host are meant, from outside, from workloads and from
the host itself, but for 127.0.0.0/8 and ::1: a packet from there does not leave the host.

Refuses to know: who publishes which port.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from bgpctl.core.ipam.ledger import PublishedPort, Workload
from bgpctl.core.net.addresses import Address

TABLE: Final = "docker_bgpctl"
"""Not one of the agent's, whose names begin with bgpctl."""
_FAMILIES: Final = {4: "ip", 6: "ip6"}
_KINDS: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_TYPES: Final = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_LOOPBACK: Final = {4: "127.0.0.0/8", 6: "::1"}
_LIMIT_S: Final = 5


class PublishFailed(Exception):
    """A port cannot be published; the text is for the operator."""


@dataclass(slots=True)
class Published:
    """The table, as far as this program has written it: the first time it is written in any case."""

    _written: str | None = field(default=None)

    def have(self, workloads: Sequence[Workload], needed_by: str = "") -> None:
        """
        Have the ports of these workloads lead to them, those that are connected. `needed_by`: the endpoint whose ports
        no other program may listen at. Raises PublishFailed.
        """
        for workload in workloads:
            if workload.endpoint and workload.endpoint.id == needed_by:
                _refuse_others(workload, workload.endpoint.published)
        text = "".join(_table(version, workloads) for version in _FAMILIES)
        if text != self._written:
            _load(text)
            self._written = text


def _table(version: int, workloads: Iterable[Workload]) -> str:
    rules = [rule for workload in workloads for rule in _rules(version, workload)]
    if not rules:
        return ""
    family, own = _FAMILIES[version], "fib daddr type local"
    inside = "".join(f"  {own} {rule}\n" for rule in rules)
    outside = "".join(f"  {own} {family} daddr != {_LOOPBACK[version]} {rule}\n" for rule in rules)
    return (
        f"table {family} {TABLE} {{\n"
        f" chain prerouting {{\n  type nat hook prerouting priority dstnat; policy accept;\n{inside} }}\n"
        f" chain output {{\n  type nat hook output priority -100; policy accept;\n{outside} }}\n}}\n"
    )


def _rules(version: int, workload: Workload) -> Iterator[str]:
    to = next((address for address in workload.addresses if address.version == version), None)
    if to is None or workload.endpoint is None or not workload.complete:
        return
    for port in workload.endpoint.published:
        if port.host is None or port.host.version == version:
            host = f"{_FAMILIES[version]} daddr {port.host} " if port.host else ""
            yield f"{host}{port.protocol} dport {port.host_port} dnat to {_place(to, port.port)}"


def _place(address: Address, port: int) -> str:
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"


def _refuse_others(workload: Workload, ports: Iterable[PublishedPort]) -> None:
    """Raise PublishFailed if a program of this host listens at one of the ports."""
    for port in ports:
        for version in {address.version for address in workload.addresses} if port.protocol in _TYPES else ():
            if port.host is None or port.host.version == version:
                _refuse_listener(version, port)


def _refuse_listener(version: int, port: PublishedPort) -> None:
    try:
        with socket.socket(_KINDS[version], _TYPES[port.protocol]) as bound:
            if port.protocol == "tcp":
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # of what has ended, a port is free
            if version == 6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind((str(port.host or ""), port.host_port))
    except OSError as error:
        text = f"port {port.host_port}/{port.protocol} of this host cannot be published: {error.strerror}"
        raise PublishFailed(f"{text}; see: ss -lntup") from error


def _load(text: str) -> None:
    gone = "".join(f"table {family} {TABLE} {{}}\ndelete table {family} {TABLE}\n" for family in _FAMILIES.values())
    try:
        done = subprocess.run(
            ("nft", "-f", "-"), input=gone + text, capture_output=True, text=True, check=False, timeout=_LIMIT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise PublishFailed(f"nft does not run: {error}") from error
    if done.returncode:
        raise PublishFailed(f"nft failed: {done.stderr.strip()}")
