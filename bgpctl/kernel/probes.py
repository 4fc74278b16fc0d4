"""
Echo requests over paths that no route uses yet. Each encapsulation makes the outer headers itself, so that neither a
route nor a next hop has to exist for it.

Refuses to know: what a reply proves, how a request is encoded (probe_packets.py).
"""

from __future__ import annotations

import secrets
import select
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Final

from bgpctl.core.migration.probes import Probe, ProbeReply
from bgpctl.core.net.addresses import Address
from bgpctl.core.trace.netfilter import Chain
from bgpctl.core.trace.sightings import Mark
from bgpctl.kernel import chains, direct, nft, probe_packets, sightings, traffic
from bgpctl.kernel.encapsulations import IMPLEMENTATIONS, implementation_of
from bgpctl.kernel.neighbours import silent_neighbours
from bgpctl.kernel.probe_notes import NoteListener, OnNote
from bgpctl.kernel.probe_packets import Wrapping
from bgpctl.ports import Prober, Unavailable, Watching

_WITHIN_S: Final = 0.3
_ETH_P_ALL: Final = 0x0003
_NONE_YET: Final = -1
"""No generation of nftables' rules, which are counted from 1."""


class PacketProber(Prober):
    """In the network namespace of the calling thread. Safe in any thread."""

    def __init__(self) -> None:
        self._note = b""
        self._generation: int | None = _NONE_YET

    def carry(self, note: bytes) -> None:
        self._note = note

    def silent(self) -> frozenset[Address]:
        try:
            return frozenset(address for _, address in silent_neighbours())
        except OSError as error:
            raise Unavailable(f"neighbours cannot be read: {error.strerror}") from error

    def packets_sent(self) -> int:
        try:
            return traffic.packets_sent()
        except OSError as error:
            raise Unavailable(f"packets cannot be counted: {error.strerror}") from error

    def chains(self) -> tuple[Chain, ...] | None:
        try:
            generation = nft.generation()
            if generation == self._generation:
                return None
            found = _chains_of_others()
        except OSError as error:
            raise Unavailable(f"nftables cannot be read: {error.strerror}") from error
        self._generation = generation
        return found

    def watch(self, mark: Mark) -> Watching:
        try:
            return sightings.watch({"": sightings.listener(mark)}, mark)
        except OSError as error:
            raise Unavailable(f"packets cannot be watched here: {error.strerror}") from error

    def listen(self, heard: OnNote) -> NoteListener:
        return NoteListener(heard)

    def probe(self, probes: Sequence[Probe]) -> tuple[ProbeReply, ...]:
        # A new identifier each time, so that a late reply does not match the next round of probes.
        ident = secrets.randbits(16)
        try:
            with ExitStack() as stack, select.epoll() as poll:
                listeners: dict[int, tuple[int, socket.socket]] = {}
                for version in {probe.local.version for probe in probes}:
                    listener = stack.enter_context(_listen(version, ident))
                    poll.register(listener, select.EPOLLIN)
                    listeners[listener.fileno()] = version, listener
                return tuple(_answers(probes, poll, listeners, ident, self._note))
        except PermissionError as error:
            raise Unavailable(f"packets cannot be made here: {error.strerror}") from error


def _answers(
    probes: Sequence[Probe],
    poll: select.epoll,
    listeners: Mapping[int, tuple[int, socket.socket]],
    ident: int,
    note: bytes,
) -> Iterator[ProbeReply]:
    deadline_s = time.monotonic() + _WITHIN_S
    waiting = dict(enumerate(probes))
    # Neither the identifier nor a number is a secret to a host that may send many replies at random.
    nonces = [secrets.token_bytes(probe_packets.NONCE_BYTES) for _ in probes]
    outer: dict[int, Address] = {}
    unsent = dict(waiting)
    while waiting:
        left_s = deadline_s - time.monotonic()
        # A neighbour's hardware address may take a moment to be found.
        unsent = {
            number: probe for number, probe in unsent.items() if not _sent(probe, ident, number, nonces[number], note)
        }
        ready = poll.poll(max(0.0, min(left_s, 0.02) if unsent else left_s))
        # After the deadline, what has come by then still counts: this process may have stood still, members did not.
        if not ready and left_s <= 0:
            return
        for fd, _ in ready:
            version, listener = listeners[fd]
            packet, (link, _, direction, *_) = listener.recvfrom(2048)
            reply = probe_packets.reply(version, packet, _wrappings(version))
            if reply is None or direction == socket.PACKET_OUTGOING or reply.number not in waiting:
                continue
            number = reply.number
            if (reply.nonce, reply.source) != (nonces[number], waiting[number].target):
                continue
            if reply.outer:
                outer[number] = reply.outer  # the inner packet comes next, by the tunnel's device
            else:
                yield ProbeReply(waiting.pop(number), link, outer.get(number))


def _sent(probe: Probe, ident: int, number: int, nonce: bytes, note: bytes) -> bool:
    """True if it went out. One that the kernel refuses counts as sent: it stays unanswered."""
    request = probe_packets.request(probe.source, probe.target, ident, number, nonce, probe.size_bytes, note)
    with suppress(OSError):
        if probe.by_routes:
            return direct.send_by_routes(probe.target, request)
        return implementation_of(probe.encapsulation).send(probe, request)
    return True


def _listen(version: int, ident: int) -> socket.socket:
    """
    Receives replies only, on every link, so that the other packets of a busy host do not wake us up. Bound to one
    ethertype, the socket would get a packet only after traffic control, where BPF may remove its outer header.
    """
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
    probe_packets.attach(listener, probe_packets.program(version, ident, _wrappings(version)))
    # A packet that came before the filter was there is no reply, and would be read as one: the UDP checksum of VXLAN,
    # 0, stands where an echo reply has its number.
    with suppress(BlockingIOError):
        while True:
            listener.recv(1, socket.MSG_DONTWAIT)
    return listener


def _wrappings(version: int) -> Sequence[Wrapping]:
    return [found for item in IMPLEMENTATIONS.values() for found in item.wrappings if found.version == version]


def _chains_of_others() -> tuple[Chain, ...]:
    """Without running nft where all tables are ours. Raises OSError."""
    if all(name.startswith(nft.OURS) for _, name in nft.tables()):
        return ()
    return chains.chains(nft.ruleset(), nft.OURS)
