"""
Echo requests by ways that no route leads yet: IP in IP, VXLAN, and bare to a neighbour. The outer headers are made
here, so that neither a route nor a next hop has to exist for it. IPv4 only.

Refuses to know: what an answer is good for.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, assert_never

from bgpctl.core.cluster import Encapsulation
from bgpctl.core.model import Address, NextHop
from bgpctl.core.switch import Answer, Trial
from bgpctl.ports import Prober, Unavailable

_WITHIN_S: Final = 0.3
_ETH_P_IP: Final = 0x0800
_ECHO_REPLY: Final = 0
_ECHO_REQUEST: Final = 8
_ICMP: Final = 1
_TTL: Final = 64
_DISCARD_PORT: Final = 9
_VXLAN_VNI_VALID: Final = 0x08000000
_SO_ATTACH_FILTER: Final = 26
_IP: Final = struct.Struct("!BBHHHBBH4s4s")
_ECHO: Final = struct.Struct("!BBHHH")
_RESOLVED: Final = 0x2
"""ATF_COM of /proc/net/arp: the hardware address is known."""


class PacketProber(Prober):
    """In the network namespace of the calling thread."""

    def try_ways(self, trials: Sequence[Trial]) -> tuple[Answer, ...]:
        ident = os.getpid() & 0xFFFF
        try:
            with _listen(ident) as ears:
                return tuple(_answers(trials, ears, ident))
        except PermissionError as error:
            raise Unavailable(f"packets cannot be made here: {error.strerror}") from error


def _answers(trials: Sequence[Trial], ears: socket.socket, ident: int) -> Iterator[Answer]:
    deadline_s = time.monotonic() + _WITHIN_S
    waiting = dict(enumerate(trials))
    unsent = dict(waiting)
    while waiting and (left_s := deadline_s - time.monotonic()) > 0:
        # A neighbour's hardware address may take a moment to be found.
        unsent = {number: trial for number, trial in unsent.items() if not _sent(trial, ident, number)}
        ears.settimeout(min(left_s, 0.02) if unsent else left_s)
        with suppress(TimeoutError):
            packet, (link, _, direction, *_) = ears.recvfrom(2048)
            number: int = _ECHO.unpack_from(packet, _IP.size)[4]
            if direction != socket.PACKET_OUTGOING and number in waiting:
                yield Answer(waiting.pop(number), link)


def _sent(trial: Trial, ident: int, number: int) -> bool:
    """Whether it went out. One that the kernel refuses counts as sent: it stays unanswered."""
    request = _echo_request(trial.source, trial.target, ident, number)
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


def _send_ipip(trial: Trial, request: bytes) -> None:
    packet = _header(len(request), socket.IPPROTO_IPIP, trial.local, trial.remote) + request
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as out:
        out.sendto(packet, (str(trial.remote), 0))


def _send_vxlan(trial: Trial, request: bytes) -> None:
    """RFC 7348, section 5."""
    frame = trial.frame
    if frame is None:
        return
    ethernet = _mac(frame.destination) + _mac(frame.source) + struct.pack("!H", _ETH_P_IP)
    header = struct.pack("!II", _VXLAN_VNI_VALID, frame.vni << 8)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
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
        out.sendto(request, (hop.link, _ETH_P_IP, 0, 0, mac))
    return True


def _neighbour(link: str, address: Address) -> bytes | None:
    """From the kernel's ARP table: IP address, hardware type, flags, hardware address, mask, device."""
    for line in Path("/proc/thread-self/net/arp").read_text().splitlines()[1:]:
        found, _, flags, mac, _, device = line.split()
        if (found, device) == (str(address), link) and int(flags, 16) & _RESOLVED:
            return _mac(mac)
    return None


def _look_for(link: str, address: Address) -> None:
    """Have the kernel ask for the hardware address, as it does for any packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
        out.sendto(b"", (str(address), _DISCARD_PORT))


def _echo_request(source: Address, target: Address, ident: int, number: int) -> bytes:
    bare = _ECHO.pack(_ECHO_REQUEST, 0, 0, ident, number)
    echo = _ECHO.pack(_ECHO_REQUEST, 0, _checksum(bare), ident, number)
    return _header(len(echo), _ICMP, source, target) + echo


def _header(length: int, protocol: int, source: Address, target: Address) -> bytes:
    fields = (0x45, 0, _IP.size + length, 0, 0, _TTL, protocol)
    bare = _IP.pack(*fields, 0, source.packed, target.packed)
    return _IP.pack(*fields, _checksum(bare), source.packed, target.packed)


def _checksum(data: bytes) -> int:
    """RFC 1071; `data` has an even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~((total >> 16) + total) & 0xFFFF


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _listen(ident: int) -> socket.socket:
    """
    Hears echo replies with our identifier, in IPv4 packets without options, on every link.

    By a classic BPF program, so that the other packets of a busy host do not wake us up.
    """
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in _program(ident))
    held = ctypes.create_string_buffer(code)  # must live until the call that copies it
    ears = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(held))
    ears.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    return ears


def _program(ident: int) -> Iterator[tuple[int, int, int, int]]:
    load_byte, load_half, jump_if_equal, answer = 0x30, 0x28, 0x15, 0x06
    checks = ((load_byte, 9, _ICMP), (load_byte, 20, _ECHO_REPLY), (load_half, 24, ident))
    for place, (load, offset, value) in enumerate(checks):
        yield load, 0, 0, offset
        yield jump_if_equal, 0, 2 * (len(checks) - place) - 1, value
    yield answer, 0, 0, 0xFFFF
    yield answer, 0, 0, 0
