"""
The ingress hook of Linux 6.6 (tcx): programs on it need no qdisc, whose first filter would stop the link for a moment.

Programs go by their numbers: opening one by that takes CAP_SYS_ADMIN, taking it off its place does not.
Layouts: union bpf_attr, linux/bpf.h.

Refuses to know: the purpose of the programs, and their owners.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from typing import Final

from bgpctl.kernel.bpf import syscalls

_ATTACH, _DETACH, _QUERY = 8, 9, 16
_INGRESS: Final = 46
_BEFORE, _AFTER, _BY_NUMBER = 1 << 3, 1 << 4, 1 << 5
_FIRST: Final = 0
_LOOPBACK: Final = 1
_PLACES: Final = 64
"""The kernel's limit of programs on one hook (BPF_MPROG_MAX)."""
_TRIES: Final = 10
_NONE_TO_SEE: Final = frozenset({errno.EINVAL, errno.ENODEV, errno.EPERM, errno.ENOSYS})
_ATTRIBUTES: Final = struct.Struct("=IIIIIIQ")
"""Device index, program, hook, flags, program to replace, neighbour, revision of the list."""


def is_known() -> bool:
    """True if this kernel has the hook, asked of the loopback device, which every namespace has. Raises OSError."""
    try:
        _query(_LOOPBACK)
    except OSError as error:
        if error.errno in _NONE_TO_SEE:
            return False
        raise
    return True


def attach(index: int, fd: int) -> None:
    """
    Put the program before all others that stand on the hook.

    Raises:
        OSError: EINVAL before Linux 6.6.
    """
    syscalls.call(_ATTACH, _ATTRIBUTES.pack(index, fd, _INGRESS, _BEFORE, 0, _FIRST, 0))


def detach(index: int, program_id: int) -> None:
    """Take the program off the hook; absent is no error. Raises OSError."""
    for _ in range(_TRIES):
        programs, revision = _query(index)
        if program_id not in programs:
            return
        before = programs[: programs.index(program_id)]
        flags, neighbour = (_AFTER | _BY_NUMBER, before[-1]) if before else (_BEFORE, _FIRST)
        try:
            syscalls.call(_DETACH, _ATTRIBUTES.pack(index, 0, _INGRESS, flags, 0, neighbour, revision))
        except OSError as error:
            if error.errno not in (errno.ESTALE, errno.ENOENT):  # another program was quicker: read again
                raise
    raise OSError(errno.EBUSY, "the programs of the link change all the time")


def attached(index: int) -> tuple[int, ...]:
    """The programs on the hook, in their order; none before Linux 6.6 or without the privilege. Raises OSError."""
    try:
        return _query(index)[0]
    except OSError as error:
        if error.errno in _NONE_TO_SEE:
            return ()
        raise


def _query(index: int) -> tuple[tuple[int, ...], int]:
    """The programs, and the revision of their list."""
    numbers = ctypes.create_string_buffer(4 * _PLACES)
    request = struct.pack("=IIIIQI4x32x", index, _INGRESS, 0, 0, ctypes.addressof(numbers), _PLACES)
    _, answer = syscalls.call(_QUERY, request)
    (count,) = struct.unpack_from("=I", answer, 24)
    (revision,) = struct.unpack_from("=Q", answer, 56)
    return struct.unpack_from(f"={count}I", numbers.raw), revision
