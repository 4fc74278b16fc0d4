"""A probe's reply decides where traffic goes: another host than the one that was asked cannot make one."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from bgpctl.core.cluster.encapsulation import DIRECT
from bgpctl.core.migration.probes import Probe, ProbeReply
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import NextHop
from bgpctl.kernel.probes import PacketProber
from bgpctl.lab import netns

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

HERE, ASKED, OTHER = "10.9.0.1", "10.9.0.2", "10.9.0.3"
ECHO = struct.Struct("!BBHHH")


@pytest.fixture
def ends() -> Iterator[tuple[str, str]]:
    """The second answers no request by itself."""
    here, there = (f"forge{os.getpid()}-{part}" for part in ("here", "there"))
    try:
        for name in (here, there):
            netns.ip([f"netns add {name}"])
        netns.ip([f"link add eth0 type veth peer name eth0 netns {there}"], here)
        netns.ip([f"addr add {HERE}/24 dev eth0", "link set eth0 up"], here)
        both = [f"addr add {address}/24 dev eth0" for address in (ASKED, OTHER)]
        netns.ip([*both, "link set eth0 up"], there)
        netns.set_sysctls(there, {"net/ipv4/icmp_echo_ignore_all": "1"})
        yield here, there
    finally:
        netns.delete(here)
        netns.delete(there)


def replies(ends: tuple[str, str], source: str, forged: Callable[[bytes], bytes]) -> tuple[ProbeReply, ...]:
    """The result of a round in which the first request is answered from `source`, with other data."""
    here, there = ends
    hop = NextHop(0x42000001, "eth0", Address.parse(ASKED), onlink=True)
    own, asked = Address.parse(HERE), Address.parse(ASKED)
    probe = Probe(hop, DIRECT, own, asked, own, asked)
    raw = socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP
    with netns.open_socket(there, *raw) as seen, netns.open_socket(there, *raw) as out:
        seen.settimeout(5)
        out.bind((source, 0))

        def answer() -> None:
            request = seen.recv(2048)[20:]
            _, _, _, ident, number = ECHO.unpack_from(request)
            data = forged(request[ECHO.size :])
            bare = ECHO.pack(0, 0, 0, ident, number) + data
            total = sum(struct.unpack(f"!{len(bare) // 2}H", bare))
            total = (total >> 16) + (total & 0xFFFF)
            out.sendto(ECHO.pack(0, 0, ~((total >> 16) + total) & 0xFFFF, ident, number) + data, (HERE, 0))

        thread = threading.Thread(target=answer)
        thread.start()
        found = netns.inside(here, lambda: PacketProber().probe([probe]))
        thread.join()
    return found


def test_the_host_that_was_asked_answers(ends: tuple[str, str]) -> None:
    assert len(replies(ends, ASKED, bytes)) == 1


def test_another_host_cannot_answer_in_its_place(ends: tuple[str, str]) -> None:
    assert replies(ends, OTHER, bytes) == ()


@pytest.mark.parametrize("forged", [lambda data: bytes(len(data)), lambda _: b""], ids=["other data", "no data"])
def test_a_host_that_has_not_seen_the_request_cannot_answer(
    ends: tuple[str, str], forged: Callable[[bytes], bytes]
) -> None:
    assert replies(ends, ASKED, forged) == ()
