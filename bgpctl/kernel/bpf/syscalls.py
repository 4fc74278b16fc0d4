"""
bpf(2), as far as it is needed: maps, loading, test runs, finding attached programs.

Refuses to know: the purpose of a program.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

_NUMBERS: Final = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_NEXT_KEY, _PROG_LOAD = 0, 1, 2, 4, 5
_PROG_TEST_RUN, _PROG_FD_BY_ID, _MAP_FD_BY_ID, _INFO_BY_FD, _MAP_FREEZE = 10, 13, 14, 15, 22
HASH, ARRAY = 1, 2
"""BPF_MAP_TYPE_HASH and _ARRAY."""
_SCHED_CLS: Final = 3
_LOG_BYTES: Final = 1 << 16
_ATTR_BYTES: Final = 128
_PRIVILEGE: Final = "loading BPF programs takes CAP_BPF and CAP_NET_ADMIN"
_MAPS: Final = 4
"""No program of ours uses more maps."""
_LICENSE: Final = b"Dual MIT/GPL"
"""The helpers used are reserved for programs with a GPL-compatible license."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


def call(command: int, attributes: bytes) -> tuple[int, bytes]:
    """One bpf(2): (its return value, the attributes after it). Raises OSError."""
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"bpf(2) is not known on {platform.machine()}")
    buffer = ctypes.create_string_buffer(attributes.ljust(_ATTR_BYTES, b"\0"), _ATTR_BYTES)
    result = _libc.syscall(number, command, buffer, _ATTR_BYTES)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result, buffer.raw


def _pointer(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


def hash_map(entries: Mapping[bytes, bytes], *, key_bytes: int, value_bytes: int) -> int:
    """A new hash map with these entries, which are final; returns its file descriptor. Raises OSError."""
    fd = _new_map(HASH, key_bytes, value_bytes, max(1, len(entries)))
    try:
        for key, value in entries.items():
            _update(fd, key, value)
        call(_MAP_FREEZE, struct.pack("=I", fd))
    except OSError:
        os.close(fd)
        raise
    return fd


def _update(fd: int, key: bytes, value: bytes) -> None:
    key_buffer = ctypes.create_string_buffer(key, len(key))
    value_buffer = ctypes.create_string_buffer(value, len(value))
    call(_MAP_UPDATE, struct.pack("=IxxxxQQQ", fd, _pointer(key_buffer), _pointer(value_buffer), 0))


def value_map(size_bytes: int) -> int:
    """A new map of one value, all zeros; returns its file descriptor. Raises OSError."""
    return _new_map(ARRAY, 4, size_bytes, 1)


def _new_map(kind: int, key_bytes: int, value_bytes: int, entries: int) -> int:
    try:
        return call(_MAP_CREATE, struct.pack("=IIIII", kind, key_bytes, value_bytes, entries, 0))[0]
    except PermissionError as error:
        raise OSError(error.errno, _PRIVILEGE) from None


def value_of(fd: int, size_bytes: int, key: bytes = bytes(4)) -> bytes:
    """The value of a map at the key; without one, in a map of one value. Raises OSError."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    value = ctypes.create_string_buffer(size_bytes)
    call(_MAP_LOOKUP, struct.pack("=IxxxxQQQ", fd, _pointer(key_buffer), _pointer(value), 0))
    return value.raw


def keys(fd: int, *, key_bytes: int) -> Iterator[bytes]:
    """All keys of a map that does not change meanwhile. Raises OSError."""
    key = ctypes.create_string_buffer(key_bytes)
    following = ctypes.create_string_buffer(key_bytes)
    previous = 0  # no key: begin with the first
    while True:
        try:
            call(_MAP_NEXT_KEY, struct.pack("=IxxxxQQ", fd, previous, _pointer(following)))
        except FileNotFoundError:
            return
        yield following.raw
        key.raw = following.raw
        previous = _pointer(key)


def load(code: bytes, name: str) -> int:
    """
    A verified traffic-control program; returns its file descriptor.

    Raises:
        OSError: with the end of the verifier's log.
    """
    instructions = ctypes.create_string_buffer(code, len(code))
    license_text = ctypes.create_string_buffer(_LICENSE)
    try:
        return _load(instructions, license_text, name, None)
    except OSError as error:
        if error.errno == errno.EPERM:  # EACCES is the verifier's
            raise OSError(error.errno, _PRIVILEGE) from None
        log = ctypes.create_string_buffer(_LOG_BYTES)
        try:
            return _load(instructions, license_text, name, log)
        except OSError:
            complaint = log.value.decode(errors="replace").strip().splitlines()[-3:]
            raise OSError(error.errno, f"BPF program {name}: {error.strerror}: {' | '.join(complaint)}") from None


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
    return call(_PROG_LOAD, attributes)[0]


def run(fd: int, packet: bytes) -> tuple[int, bytes]:
    """Run a program on a packet without any network: (its return value, the packet after it)."""
    data = ctypes.create_string_buffer(packet, len(packet))
    out = ctypes.create_string_buffer(len(packet) + 256)
    request = struct.pack("=IIIIQQII", fd, 0, len(packet), len(out), _pointer(data), _pointer(out), 1, 0)
    _, answer = call(_PROG_TEST_RUN, request)
    _, result, _, length = struct.unpack_from("=IIII", answer)
    return result, out.raw[:length]


def id_of(program: int) -> int:
    """The number by which filter dumps name the program that is open as this descriptor. Raises OSError."""
    return _program_info(program).number


def name_of(program_id: int) -> str:
    """
    The name of a loaded program, cut off behind fifteen bytes.

    Raises:
        OSError: EPERM without CAP_SYS_ADMIN, ENOENT if the program is gone.
    """
    return _info_of(program_id).name


def map_of(program_id: int, kind: int) -> int:
    """
    The map of this kind that a loaded program uses, open; the caller closes it.

    Raises:
        OSError: EPERM without CAP_SYS_ADMIN, ENOENT if the program is gone or has no such map.
    """
    for map_id in _info_of(program_id).maps:
        found, _ = call(_MAP_FD_BY_ID, struct.pack("=II", map_id, 0))
        if _map_kind(found) == kind:
            return found
        os.close(found)
    raise OSError(errno.ENOENT, f"BPF program {program_id} has no map of type {kind}")


class _ProgramInfo(NamedTuple):
    number: int
    maps: tuple[int, ...]
    name: str


def _info_of(program_id: int) -> _ProgramInfo:
    program, _ = call(_PROG_FD_BY_ID, struct.pack("=II", program_id, 0))
    try:
        return _program_info(program)
    finally:
        os.close(program)


def _program_info(program: int) -> _ProgramInfo:
    map_ids = ctypes.create_string_buffer(4 * _MAPS)
    # struct bpf_prog_info: id at 4, nr_map_ids (the size of the buffer, then the number of maps) at 52, map_ids at
    # 56, the name at 64.
    info = _info(program, struct.pack("=52xIQ16x", _MAPS, _pointer(map_ids)))
    number, count, name = struct.unpack_from("=4xI44xI8x16s", info)
    maps = struct.unpack_from(f"={min(count, _MAPS)}I", map_ids.raw)
    return _ProgramInfo(number, maps, name.rstrip(b"\0").decode(errors="replace"))


def _map_kind(fd: int) -> int:
    """The type, which is what struct bpf_map_info begins with."""
    return int(struct.unpack_from("=I", _info(fd, bytes(8)))[0])


def _info(fd: int, info: bytes) -> bytes:
    buffer = ctypes.create_string_buffer(info, len(info))
    call(_INFO_BY_FD, struct.pack("=IIQ", fd, len(info), _pointer(buffer)))
    return buffer.raw
