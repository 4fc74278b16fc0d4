"""
BFD over IPv6, and over a router (RFC 5883): the packets themselves, beside BIRD.

    us 10.9.1.1, fd91::1      router 10.9.1.254, fd91::fe | 10.9.2.254, fd92::fe      far 10.9.2.1, fd92::1

The router has a session of one hop with us, over IPv6; far has one of each IP version, over the router.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from bgpctl.core.bfd import packet
from bgpctl.core.bfd.packet import Diagnostic, Packet, SessionState
from bgpctl.core.bgp.bfd import BfdChanged
from bgpctl.core.net.addresses import Address
from bgpctl.lab import netns
from bgpctl.lab.daemons import bird
from bgpctl.lab.daemons.session_options import Place
from bgpctl.speaker.bfd import sockets
from bgpctl.speaker.bfd.supervisor import BfdSupervisor
from tests.contract.bfd_rig import MULTIPLIER, session
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces"),
    pytest.mark.skipif(shutil.which("bird") is None, reason="bird (Debian: bird2)"),
]

EVERY_MS: Final = 1000
US4, US6 = "10.9.1.1", "fd91::1"
NEAR, FAR4, FAR6 = "fd91::fe", "10.9.2.1", "fd92::1"
_ETH_P_ALL: Final = 3
_SHORTEST: Final = {4: 20 + 8, 6: 40 + 8}
"""Octets of a packet of UDP, by its IP version."""
_BIRD: Final = """\
log stderr all;
router id 10.9.9.9;
protocol device {{}}
protocol bfd {{
    {kind} {{ interval {every_ms} ms; idle tx interval 1 s; multiplier {multiplier}; }};
    {neighbors}
}}
"""


class Seen(NamedTuple):
    """A packet of ours on its first link."""

    destination: str
    port: int
    ttl: int
    source_port: int
    content: bytes


class Net:
    """The three hosts, our BFD process, and all that was seen and reported."""

    def __init__(self, directory: Path) -> None:
        self._tag = f"far{os.getpid()}"
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self.seen: list[Seen] = []
        self.events: list[tuple[float, BfdChanged]] = []
        self._build()
        for part, kind, neighbors in (
            ("router", 'interface "*"', f'neighbor {US6} dev "near0" local {NEAR};'),
            ("far", "multihop", f"neighbor {US4} local {FAR4} multihop on; neighbor {US6} local {FAR6} multihop on;"),
        ):
            place = self._place(part)
            text = _BIRD.format(kind=kind, neighbors=neighbors, every_ms=EVERY_MS, multiplier=MULTIPLIER)
            place.file("bird.conf").write_text(text)
            self._processes.append(bird.start(place))
        self._sniffer = netns.inside(self.name("router"), self._sniff)
        self._supervisor = BfdSupervisor(directory / "us", ("ip", "netns", "exec", self.name("us")))
        self._supervisor.start(lambda event: self.events.append((time.monotonic(), event)))
        self._supervisor.configure(
            replace(session(Address.parse(peer), EVERY_MS, multihop=peer != NEAR), local=Address.parse(local))
            for peer, local in ((NEAR, US6), (FAR4, US4), (FAR6, US6))
        )

    def name(self, part: str) -> str:
        return f"{self._tag}-{part}"

    def _build(self) -> None:
        us, router, far = map(self.name, ("us", "router", "far"))
        netns.ip([f"netns add {name}" for name in (us, router, far)])
        netns.ip([f"link add eth0 netns {us} type veth peer name near0 netns {router}"])
        netns.ip([f"link add eth0 netns {far} type veth peer name far0 netns {router}"])
        for name, link, *addresses in (
            (us, "eth0", f"{US4}/24", f"{US6}/64"),
            (router, "near0", "10.9.1.254/24", f"{NEAR}/64"),
            (router, "far0", "10.9.2.254/24", "fd92::fe/64"),
            (far, "eth0", f"{FAR4}/24", f"{FAR6}/64"),
        ):
            more = [f"addr add {address} dev {link}{' nodad' if ':' in address else ''}" for address in addresses]
            netns.ip(["link set lo up", f"link set {link} up", *more], name)
        netns.set_sysctls(router, {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"})
        for name, near, far_net in ((us, "1", "2"), (far, "2", "1")):
            netns.ip([f"route add 10.9.{far_net}.0/24 via 10.9.{near}.254"], name)
            netns.ip([f"route add fd9{far_net}::/64 via fd9{near}::fe"], name)

    def _place(self, part: str) -> Place:
        directory = self._directory / part
        directory.mkdir(exist_ok=True)
        return Place(self.name(part), directory)

    def _sniff(self) -> socket.socket:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        opened.bind(("near0", _ETH_P_ALL))
        threading.Thread(target=self._note, args=(opened,), daemon=True).start()
        return opened

    def _note(self, sniffer: socket.socket) -> None:
        with suppress(OSError):
            while True:
                octets, where = sniffer.recvfrom(4096)
                found = None if where[2] == socket.PACKET_OUTGOING else _of(octets)
                self.seen += [found] if found else []

    def state(self, peer: str) -> SessionState | None:
        reports = [event.report for _, event in list(self.events) if str(event.peer) == peer]
        return reports[-1].state if reports and reports[-1] else None

    def all_up(self) -> bool:
        return all(self.state(peer) is SessionState.UP for peer in (NEAR, FAR4, FAR6)) and self._others() == ["Up"] * 3

    def _others(self) -> list[str]:
        rows: list[str] = []
        for part in ("router", "far"):
            place = self._place(part)
            with suppress(RuntimeError):
                shown = place.run("birdc", "-s", place.file("bird.ctl"), "show", "bfd", "sessions")
                rows += [line.split()[2] for line in shown.splitlines() if line.startswith((US4, US6))]
        return rows

    def left_up(self, since_s: float) -> set[str]:
        """The peers whose session has failed since then."""
        events = [event for at_s, event in list(self.events) if at_s >= since_s]
        return {str(event.peer) for event in events if event.report and event.report.failed_at_s is not None}

    def end(self) -> None:
        self._supervisor.shutdown()
        self._supervisor.close()
        self._sniffer.close()
        for process in self._processes:
            process.kill()
            process.wait()
        netns.ip([f"netns delete {self.name(part)}" for part in ("us", "router", "far")])


def _of(octets: bytes) -> Seen | None:
    """A UDP packet from us; None for any other, and for ARP."""
    if len(octets) < _SHORTEST.get(version := octets[0] >> 4, len(octets) + 1):
        return None
    if version == 4:
        kind, ttl, header, addresses = octets[9], octets[8], 4 * (octets[0] & 15), octets[12:20]
        source, destination = (str(IPv4Address(part)) for part in (addresses[:4], addresses[4:]))
    else:
        kind, ttl, header = octets[6], octets[7], 40
        source, destination = (str(IPv6Address(part)) for part in (octets[8:24], octets[24:40]))
    if kind != socket.IPPROTO_UDP or source not in {US4, US6}:
        return None
    source_port, port = struct.unpack("!HH", octets[header : header + 4])
    return Seen(destination, port, ttl, source_port, octets[header + 8 :])


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    made = Net(tmp_path_factory.mktemp("far"))
    try:
        wait_until(made.all_up, within_s=60)
        yield made
    finally:
        made.end()


def test_each_kind_of_session_has_its_port_and_the_greatest_ttl(net: Net) -> None:
    """RFC 5881, sections 4 and 5; RFC 5883, section 5."""
    wait_until(lambda: {NEAR, FAR4, FAR6} <= {found.destination for found in list(net.seen)}, within_s=15)
    seen = list(net.seen)
    single, multi = sockets.SINGLE_HOP_PORT, sockets.MULTIHOP_PORT
    assert {found[:3] for found in seen} == {(NEAR, single, 255), (FAR4, multi, 255), (FAR6, multi, 255)}
    first, last = sockets.SOURCE_PORTS
    assert all(first <= found.source_port <= last for found in seen)
    for peer in (NEAR, FAR4, FAR6):
        own = [found for found in seen if found.destination == peer]
        assert len({found.source_port for found in own}) == 1
        decoded = [packet.decode(found.content) for found in own]
        assert decoded[0].state is SessionState.ADMIN_DOWN
        assert len({found.mine for found in decoded}) == 1


def test_over_ipv6_a_packet_that_has_crossed_a_router_is_dropped(net: Net) -> None:
    """RFC 5881, section 5; with a hop limit of 255 the same packet ends the session."""
    wait_until(net.all_up, within_s=60)
    forged = packet.encode(Packet(SessionState.ADMIN_DOWN, Diagnostic.NONE, MULTIPLIER, 77, 0, 1_000_000, 1_000_000))
    with netns.open_socket(net.name("router"), socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.bind((NEAR, 0))
        before, began_s = len(net.seen), time.monotonic()
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 254)
        sender.sendto(forged, (US6, sockets.SINGLE_HOP_PORT))
        wait_until(lambda: len(net.seen) >= before + 20, within_s=30)
        assert _downs(net, began_s) == 0
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
        sender.sendto(forged, (US6, sockets.SINGLE_HOP_PORT))
        wait_until(lambda: _downs(net, began_s) > 0, within_s=15)
    wait_until(net.all_up, within_s=60)


def _downs(net: Net, since_s: float) -> int:
    events = [event for at_s, event in list(net.events) if at_s >= since_s and str(event.peer) == NEAR]
    return sum(event.report is not None and event.report.state is SessionState.DOWN for event in events)


def test_a_path_that_is_cut_behind_the_router_ends_the_sessions_over_it_alone(net: Net) -> None:
    wait_until(net.all_up, within_s=60)
    began_s = time.monotonic()
    netns.ip(["link set far0 down"], net.name("router"))
    wait_until(lambda: net.left_up(began_s) >= {FAR4, FAR6}, within_s=30)
    assert net.left_up(began_s) == {FAR4, FAR6}
    assert net.state(NEAR) is SessionState.UP
