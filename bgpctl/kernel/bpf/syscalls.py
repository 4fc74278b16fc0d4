"""
bpf(2), as far as it is needed: maps, loading, test runs, finding what is attached.

Refuses to know: what a program does.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterator, Mapping
from typing import Final

_NUMBERS: Final = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_NEXT_KEY, _PROG_LOAD = 0, 1, 2, 4, 5
_PROG_TEST_RUN, _PROG_FD_BY_ID, _MAP_FD_BY_ID, _INFO_BY_FD = 10, 13, 14, 15
_HASH: Final = 1
_SCHED_CLS: Final = 3
_LOG_BYTES: Final = 1 << 16
_ATTR_BYTES: Final = 128
_LICENSE: Final = b"Dual MIT/GPL"
"""The helpers used may only be called by programs that say they are compatible with the GPL."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise OSError(38, f"bpf(2) is not known on {platform.machine()}")
    buffer = ctypes.create_string_buffer(attributes.ljust(_ATTR_BYTES, b"\0"), _ATTR_BYTES)
    result = _libc.syscall(number, command, buffer, _ATTR_BYTES)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result, buffer.raw


def _pointer(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


def hash_map(entries: Mapping[bytes, bytes], *, key_bytes: int, value_bytes: int) -> int:
    """A new hash map with these entries; returns its file descriptor. Raises OSError."""
    fd, _ = _bpf(_MAP_CREATE, struct.pack("=IIIII", _HASH, key_bytes, value_bytes, max(1, len(entries)), 0))
    try:
        for key, value in entries.items():
            key_buffer, value_buffer = (
                ctypes.create_string_buffer(key, len(key)),
                ctypes.create_string_buffer(value, len(value)),
            )
            _bpf(_MAP_UPDATE, struct.pack("=IxxxxQQQ", fd, _pointer(key_buffer), _pointer(value_buffer), 0))
    except OSError:
        os.close(fd)
        raise
    return fd


def entries(fd: int, *, key_bytes: int, value_bytes: int) -> Iterator[tuple[bytes, bytes]]:
    """All entries of a map."""
    key = ctypes.create_string_buffer(key_bytes)
    value = ctypes.create_string_buffer(value_bytes)
    following = ctypes.create_string_buffer(key_bytes)
    previous = 0
    while True:
        try:
            _bpf(_MAP_NEXT_KEY, struct.pack("=IxxxxQQ", fd, previous, _pointer(following)))
        except FileNotFoundError:
            return
        key.raw = following.raw
        _bpf(_MAP_LOOKUP, struct.pack("=IxxxxQQQ", fd, _pointer(key), _pointer(value), 0))
        yield key.raw, value.raw
        previous = _pointer(key)


def load(code: bytes, name: str) -> int:
    """
    A verified traffic-control program; returns its file descriptor.

    Raises:
        OSError: with the end of what the verifier said.
    """
    instructions = ctypes.create_string_buffer(code, len(code))
    license_text = ctypes.create_string_buffer(_LICENSE)
    try:
        return _load(instructions, license_text, name, None)
    except OSError as refused:
        log = ctypes.create_string_buffer(_LOG_BYTES)
        try:
            return _load(instructions, license_text, name, log)
        except OSError:
            said = log.value.decode(errors="replace").strip().splitlines()[-3:]
            raise OSError(refused.errno, f"{refused.strerror}: {' | '.join(said)}") from None


def _load(
    instructions: ctypes.Array[ctypes.c_char],
    license_text: ctypes.Array[ctypes.c_char],
    name: str,
    log: ctypes.Array[ctypes.c_char] | None,
) -> int:
    attributes = struct.pack(
        "=IIQQIIQII16s",
        _SCHED_CLS,
        len(instructions) // 8,
        _pointer(instructions),
        _pointer(license_text),
        1 if log else 0,
        _LOG_BYTES if log else 0,
        _pointer(log) if log else 0,
        0,
        0,
        name.encode()[:15],
    )
    return _bpf(_PROG_LOAD, attributes)[0]


def run(fd: int, packet: bytes) -> tuple[int, bytes]:
    """Run a program on a packet without any network: (what it returned, the packet as it left it)."""
    data = ctypes.create_string_buffer(packet, len(packet))
    out = ctypes.create_string_buffer(len(packet) + 256)
    request = struct.pack("=IIIIQQII", fd, 0, len(packet), len(out), _pointer(data), _pointer(out), 1, 0)
    _, answer = _bpf(_PROG_TEST_RUN, request)
    _, result, _, length = struct.unpack_from("=IIII", answer)
    return result, out.raw[:length]


def program_maps(program_id: int) -> list[int]:
    """The maps that a loaded program uses, open; the caller closes them. Raises OSError."""
    program, _ = _bpf(_PROG_FD_BY_ID, struct.pack("=II", program_id, 0))
    try:
        ids = ctypes.create_string_buffer(4 * 8)
        # struct bpf_prog_info: nr_map_ids stands at 52, map_ids at 56.
        info = ctypes.create_string_buffer(232)
        struct.pack_into("=I", info, 52, ids._length_ // 4)
        struct.pack_into("=Q", info, 56, _pointer(ids))
        _bpf(_INFO_BY_FD, struct.pack("=IIQ", program, len(info), _pointer(info)))
        count = struct.unpack_from("=I", info, 52)[0]
        return [
            _bpf(_MAP_FD_BY_ID, struct.pack("=II", number, 0))[0] for number in struct.unpack_from(f"={count}I", ids)
        ]
    finally:
        os.close(program)
