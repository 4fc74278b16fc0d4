"""Probes of a path, between two hosts."""

from __future__ import annotations

import select
import socket
import struct
import subprocess
import threading
from dataclasses import replace
from functools import partial

import pytest

from bgpctl.core.cluster.encapsulation import DIRECT, IPIP
from bgpctl.core.migration.probes import Probe, ProbeReply
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import NextHop
from bgpctl.core.proof.note import Note, decode, encode
from bgpctl.core.trace.netfilter import Chain, Verdict
from bgpctl.kernel import probe_packets, probes
from bgpctl.kernel.encapsulations import IMPLEMENTATIONS
from bgpctl.kernel.probes import PacketProber
from bgpctl.lab import netns
from tests import waiting
from tests.contract.hosts import ENDS
from tests.contract.ipip_rig import three_sites

ECHO = struct.Struct("!BBHHH")
SO_NO_CHECK = 11

wait_until = partial(waiting.wait_until, within_s=30)
"""Long enough beside load."""


def bare(version: int) -> Probe:
    own, other = map(Address.parse, ENDS[version])
    hop = NextHop(0x42000001, "eth0", other, onlink=True)
    return Probe(hop, DIRECT, own, other, own, other)


@pytest.mark.parametrize("version", [4, 6])
def test_a_probe_of_a_working_path_is_answered(hosts: tuple[str, str], version: int) -> None:
    """Not always the first one: a link that has just come up has neighbours to find."""
    probe, prober = bare(version), PacketProber()
    wait_until(lambda: netns.inside(hosts[0], lambda: prober.probe([probe])) == (ProbeReply(probe, "eth0"),))


def test_chains_of_others_are_read_where_something_has_changed(hosts: tuple[str, str]) -> None:
    prober = PacketProber()

    def read() -> tuple[Chain, ...] | None:
        return netns.inside(hosts[0], prober.chains)

    assert (read(), read()) == ((), None)
    for command in (
        "add table inet host",
        "add chain inet host forward { type filter hook forward priority 0 ; }",
        "add rule inet host forward reject",
    ):
        subprocess.run(("ip", "netns", "exec", hosts[0], "nft", command), check=True)
    ((chain,), again) = read() or (), read()
    assert (chain.table, chain.hook, [rule.verdict for rule in chain.rules]) == ("host", "forward", [Verdict.REJECT])
    assert again is None


@pytest.mark.parametrize("version", [4, 6])
def test_a_probe_of_full_size_is_answered_if_the_link_takes_it(hosts: tuple[str, str], version: int) -> None:
    fits, is_too_large = (replace(bare(version), size_bytes=size, by_routes=True) for size in (1500, 1501))
    wait_until(lambda: netns.inside(hosts[0], lambda: PacketProber().probe([fits])) == (ProbeReply(fits, "eth0"),))
    assert netns.inside(hosts[0], lambda: PacketProber().probe([is_too_large])) == ()


def test_a_probe_of_full_size_by_ip_in_ip_is_answered_if_the_outer_packet_fits() -> None:
    with three_sites() as (one, two, _):
        own, other = (Address.parse(site.address) for site in (one, two))
        hop = NextHop(0x42000001, "tunl0", other, onlink=True)
        fits, is_too_large = (Probe(hop, IPIP, own, other, own, other, size_bytes=size) for size in (1480, 1481))
        wait_until(lambda: one.inside(lambda: PacketProber().probe([fits])) == (ProbeReply(fits, "eth0"),))
        assert one.inside(lambda: PacketProber().probe([is_too_large])) == ()


def test_a_reply_that_was_there_before_we_came_to_read_it_counts_however_late_that_is(
    hosts: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "_WITHIN_S", -60.0)
    probe = replace(bare(4), by_routes=True)
    wait_until(lambda: netns.inside(hosts[0], lambda: PacketProber().probe([probe])) == (ProbeReply(probe, "eth0"),))


def test_a_reply_by_ip_in_ip_has_its_outer_source() -> None:
    with three_sites() as (one, two, _):
        own, other = (Address.parse(site.address) for site in (one, two))
        hop = NextHop(0x42000001, "tunl0", other, onlink=True)
        probe = Probe(hop, IPIP, own, other, Address.parse("10.244.1.0"), other)
        wait_until(lambda: one.inside(lambda: PacketProber().probe([probe])) == (ProbeReply(probe, "tunl0", other),))


def test_an_answer_that_comes_late_is_none_to_what_is_asked_next(hosts: tuple[str, str]) -> None:
    here, there = hosts
    # Once the neighbour is known, each round sends its request.
    wait_until(lambda: bool(netns.inside(here, lambda: PacketProber().probe([bare(4)]))))
    netns.set_sysctls(there, {"net/ipv4/icmp_echo_ignore_all": "1"})
    with netns.open_socket(there, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as other:
        other.settimeout(15)
        answered = threading.Event()

        def answer_late() -> None:
            """The first request, once the second is there."""
            first, _ = other.recvfrom(2048)
            other.recvfrom(2048)
            _, _, checksum, ident, number = ECHO.unpack_from(first, 20)
            # Type 0 in place of 8 (RFC 792): the sum is less by so much, its complement more.
            reply = ECHO.pack(0, 0, (checksum + 0x0800) % 0xFFFF, ident, number) + first[20 + ECHO.size :]
            other.sendto(reply, (ENDS[4][0], 0))
            answered.set()

        thread = threading.Thread(target=answer_late)
        thread.start()
        rounds = [netns.inside(here, lambda: PacketProber().probe([bare(4)])) for _ in range(2)]
        thread.join()
    assert answered.is_set()
    assert rounds == [(), ()]


def test_a_packet_that_comes_before_there_is_a_filter_is_no_answer(
    hosts: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = hosts
    netns.set_sysctls(there, {"net/ipv4/icmp_echo_ignore_all": "1"})
    attach = probe_packets.attach

    def attach_late(listener: socket.socket, code: bytes) -> None:
        """After a datagram has come whose checksum is 0, as those of VXLAN: as wide as an echo's number, and there."""
        with netns.open_socket(there, socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
            other.sendto(b"\0" * 8, (ENDS[4][0], 4789))
        wait_until(lambda: any(select.select([listener], [], [], 0)))
        attach(listener, code)

    monkeypatch.setattr(probe_packets, "attach", attach_late)
    assert netns.inside(here, lambda: PacketProber().probe([bare(4)])) == ()


@pytest.mark.parametrize("version", [4, 6])
def test_a_packet_that_is_too_short_for_a_reply_is_none(version: int) -> None:
    """One that was on its way to the socket while the filter came may be any: an ARP request has 28 octets."""
    wrappings = [item for kind in IMPLEMENTATIONS.values() for item in kind.wrappings if item.version == version]
    enough = probe_packets.FAMILIES[version].header_bytes + ECHO.size
    for octet in {0, 1, *(item.value for item in wrappings)}:
        for length in range(enough):
            assert probe_packets.reply(version, bytes([octet]) * length, wrappings) is None


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size_bytes", [0, 1500])
def test_a_note_reaches_the_agent_at_the_other_end_beside_the_reply(
    hosts: tuple[str, str], version: int, size_bytes: int
) -> None:
    here, there = hosts
    note = encode(Note(b"12345678", b"abcdefgh"))
    received: list[tuple[Address, Note | None]] = []
    listener = netns.inside(
        there, lambda: PacketProber().listen(lambda *item: received.append((item[0], decode(item[1]))))
    )
    try:
        probe, prober = replace(bare(version), size_bytes=size_bytes, by_routes=True), PacketProber()
        prober.carry(note)
        wait_until(lambda: netns.inside(here, lambda: prober.probe([probe])) == (ProbeReply(probe, "eth0"),))
        wait_until(lambda: bool(received))
    finally:
        listener.close()
    assert set(received) == {(Address.parse(ENDS[version][0]), decode(note))}


def test_requests_without_a_note_are_not_read(hosts: tuple[str, str]) -> None:
    here, there = hosts
    received: list[bytes] = []
    listener = netns.inside(there, lambda: PacketProber().listen(lambda _, octets: received.append(octets)))
    probe, prober = replace(bare(4), by_routes=True), PacketProber()
    try:
        wait_until(lambda: netns.inside(here, lambda: prober.probe([probe])) == (ProbeReply(probe, "eth0"),))
        prober.carry(encode(Note(b"12345678", b"abcdefgh")))
        netns.inside(here, lambda: prober.probe([probe]))
        wait_until(lambda: bool(received))
    finally:
        listener.close()
    assert [decode(octets) for octets in received] == [Note(b"12345678", b"abcdefgh")]
