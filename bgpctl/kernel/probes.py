"""
Echo requests by ways that no route leads yet: IP in IP, VXLAN, and bare to a neighbour. The outer headers are made
here, so that neither a route nor a next hop has to exist for it.

Refuses to know: what an answer is good for, how a request is worded (probe_packets.py).
"""

from __future__ import annotations

import ctypes
import secrets
import select
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from typing import Final, assert_never

from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.migration.probes import Probe, ProbeReply
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import NextHop
from bgpctl.kernel import encode, probe_packets
from bgpctl.kernel.netlink import Netlink, attributes
from bgpctl.ports import Prober, Unavailable

_WITHIN_S: Final = 0.3
_DISCARD_PORT: Final = 9
_VXLAN_VNI_VALID: Final = 0x08000000
_SO_ATTACH_FILTER: Final = 26
_ETH_P_ALL: Final = 0x0003
_INSTRUCTION_BYTES: Final = 8
# NUD_REACHABLE, STALE, DELAY, PROBE, NOARP, PERMANENT: the hardware address is known (linux/neighbour.h).
_NUD_VALID: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80


class PacketProber(Prober):
    """In the network namespace of the calling thread."""

    def probe(self, trials: Sequence[Probe]) -> tuple[ProbeReply, ...]:
        # Anew each time, so that an answer that comes late is none to what is asked next.
        ident = secrets.randbits(16)
        try:
            with ExitStack() as stack, select.epoll() as poll:
                ears: dict[int, tuple[int, socket.socket]] = {}
                for version in {trial.local.version for trial in trials}:
                    ear = stack.enter_context(_listen(version, ident))
                    poll.register(ear, select.EPOLLIN)
                    ears[ear.fileno()] = version, ear
                return tuple(_answers(trials, poll, ears, ident))
        except PermissionError as error:
            raise Unavailable(f"packets cannot be made here: {error.strerror}") from error


def _answers(
    trials: Sequence[Probe], poll: select.epoll, ears: Mapping[int, tuple[int, socket.socket]], ident: int
) -> Iterator[ProbeReply]:
    deadline_s = time.monotonic() + _WITHIN_S
    waiting = dict(enumerate(trials))
    outer: dict[int, Address] = {}
    unsent = dict(waiting)
    while waiting and (left_s := deadline_s - time.monotonic()) > 0:
        # A neighbour's hardware address may take a moment to be found.
        unsent = {number: trial for number, trial in unsent.items() if not _sent(trial, ident, number)}
        for ear, _ in poll.poll(min(left_s, 0.02) if unsent else left_s):
            version, listener = ears[ear]
            packet, (link, _, direction, *_) = listener.recvfrom(2048)
            number, source = probe_packets.reply(version, packet)
            if direction == socket.PACKET_OUTGOING or number not in waiting:
                continue
            if source:
                outer[number] = source  # and what is inside comes next, by the tunnel's device
            else:
                yield ProbeReply(waiting.pop(number), link, outer.get(number))


def _sent(trial: Probe, ident: int, number: int) -> bool:
    """True if it went out. One that the kernel refuses counts as sent: it stays unanswered."""
    request = probe_packets.request(trial.source, trial.target, ident, number)
    with suppress(OSError):
        match trial.encapsulation:
            case Encapsulation.IPIP:
                _send_ipip(trial, request)
            case Encapsulation.VXLAN:
                _send_vxlan(trial, request)
            case Encapsulation.DIRECT:
                return _send_bare(trial.hop, request)
            case _:
                assert_never(trial.encapsulation)
    return True


def _send_ipip(trial: Probe, request: bytes) -> None:
    packet = probe_packets.header(len(request), socket.IPPROTO_IPIP, trial.local, trial.remote) + request
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as out:
        out.sendto(packet, (str(trial.remote), 0))


def _send_vxlan(trial: Probe, request: bytes) -> None:
    """RFC 7348, section 5."""
    frame = trial.frame
    if frame is None:
        return
    ethertype = probe_packets.FAMILIES[trial.source.version].ethertype
    ethernet = _mac(frame.destination) + _mac(frame.source) + struct.pack("!H", ethertype)
    header = struct.pack("!II", _VXLAN_VNI_VALID, frame.vni << 8)
    with socket.socket(probe_packets.FAMILIES[trial.local.version].family, socket.SOCK_DGRAM) as out:
        out.bind((str(trial.local), 0))
        out.sendto(header + ethernet + request, (str(trial.remote), frame.port))


def _send_bare(hop: NextHop, request: bytes) -> bool:
    if hop.gateway is None:
        return True
    mac = _neighbour(hop.link, hop.gateway)
    if mac is None:
        _look_for(hop.link, hop.gateway)
        return False
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as out:
        out.sendto(request, (hop.link, probe_packets.FAMILIES[hop.gateway.version].ethertype, 0, 0, mac))
    return True


def _neighbour(link: str, address: Address) -> bytes | None:
    """The hardware address, from the kernel's table of ARP or NDP."""
    index, family = socket.if_nametoindex(link), probe_packets.FAMILIES[address.version].family
    with closing(Netlink()) as kernel:
        entries = kernel.dump(encode.RTM_GETNEIGH, encode.NDMSG.pack(family, 0, 0, 0, 0))
    for entry in entries:
        _, found_at, state, _, _ = encode.NDMSG.unpack_from(entry)
        told = attributes(entry, encode.NDMSG.size)
        if (found_at, told.get(encode.NDA_DST)) == (index, address.packed) and state & _NUD_VALID:
            return told.get(encode.NDA_LLADDR)
    return None


def _look_for(link: str, address: Address) -> None:
    """Have the kernel ask for the hardware address, as it does for any packet."""
    with socket.socket(probe_packets.FAMILIES[address.version].family, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
        out.sendto(b"", (str(address), _DISCARD_PORT))


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _listen(version: int, ident: int) -> socket.socket:
    """
    Hears answers only, on every link, so that the other packets of a busy host do not wake us up. Asked for one
    ethertype, the kernel would show a packet only after traffic control, where BPF takes IP in IP out of its header.
    """
    code = probe_packets.program(version, ident)
    held = ctypes.create_string_buffer(code)  # must live until the call that copies it
    ears = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
    instructions = struct.pack("@HP", len(code) // _INSTRUCTION_BYTES, ctypes.addressof(held))
    ears.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, instructions)
    return ears
