"""
Traffic-control hooks (clsact): attaching a BPF program to a device's ingress or egress, and finding it again.

Layouts: linux/pkt_sched.h, linux/pkt_cls.h.

Refuses to know: the purpose of the programs.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from bgpctl.kernel.netlink import NLM_F_CREATE, Netlink, Refusal, Request, attribute, attributes

INGRESS: Final = 0xFFFFFFF2
EGRESS: Final = 0xFFFFFFF3
_CLSACT: Final = 0xFFFFFFF1
_CLSACT_HANDLE: Final = 0xFFFF0000

_RTM_NEWQDISC, _RTM_GETQDISC = 36, 38
_RTM_NEWTFILTER, _RTM_DELTFILTER, _RTM_GETTFILTER = 44, 45, 46
_NLM_F_EXCL: Final = 0x200
_TCA_KIND, _TCA_OPTIONS = 1, 2
_CLSACT_KIND: Final = b"clsact\0"
_BPF_FD, _BPF_NAME, _BPF_FLAGS, _BPF_ID = 6, 7, 8, 11
_DIRECT_ACTION: Final = 1
_TCMSG: Final = struct.Struct("=BxxxiIII")
_U32: Final = struct.Struct("=I")

NAME_PREFIX: Final = "bgpctl-"
"""Filters are ours by this, beside their priority and handle."""
_PRIORITY: Final = 179
"""Others' filters usually come before: small numbers are run first."""
_HANDLE: Final = 1
_INFO: Final = _PRIORITY << 16 | socket.htons(0x0003)  # ETH_P_ALL


class Attached(NamedTuple):
    """A program on a hook: the name it was attached by, and its id in the kernel."""

    name: str
    program_id: int


def attach(netlink: Netlink, index: int, hook: int, fd: int, name: str) -> None:
    """
    Put the program on the hook, atomically in place of our earlier one. `name` starts with NAME_PREFIX.

    Raises:
        OSError: EEXIST where a filter of another program has our priority and handle.
    """
    # EEXIST: the qdisc is there, ours or another program's; filters of both stand beside each other.
    _do(netlink, Request(_RTM_NEWQDISC, NLM_F_CREATE | _NLM_F_EXCL, _clsact(index)), fine=(errno.EEXIST,))
    for found in _in_our_place(netlink, index, hook):
        if not found.name.startswith(NAME_PREFIX):
            raise OSError(errno.EEXIST, f"priority {_PRIORITY} has the filter {found.name} of another program: move it")
    options = attribute(_BPF_FD, _U32.pack(fd)) + attribute(_BPF_NAME, name.encode() + b"\0")
    options += attribute(_BPF_FLAGS, _U32.pack(_DIRECT_ACTION))
    _do(netlink, Request(_RTM_NEWTFILTER, NLM_F_CREATE, _filter(index, hook) + attribute(_TCA_OPTIONS, options)))


def detach(netlink: Netlink, index: int, hook: int) -> None:
    """
    Take our program off the hook; absent is no error. The qdisc stays: it costs nothing, and another program may
    depend on it. Raises OSError.
    """
    if attached(netlink, index, hook):
        # Without the qdisc the kernel answers EINVAL, without the filter ENOENT.
        _do(netlink, Request(_RTM_DELTFILTER, 0, _filter(index, hook)), fine=(errno.ENOENT, errno.EINVAL))


def attached(netlink: Netlink, index: int, hook: int) -> Attached | None:
    """Our program on the hook."""
    ours = (found for found in _in_our_place(netlink, index, hook) if found.name.startswith(NAME_PREFIX))
    return next(ours, None)


def hooked(netlink: Netlink) -> frozenset[int]:
    """The indexes of the links that have a clsact, by one dump: asking every link for filters is slow with many."""
    found = netlink.dump(_RTM_GETQDISC, _TCMSG.pack(0, 0, 0, 0, 0))
    return frozenset(int(_TCMSG.unpack_from(body)[1]) for body in found if _is_clsact(body))


def _is_clsact(body: bytes) -> bool:
    return attributes(body, _TCMSG.size).get(_TCA_KIND) == _CLSACT_KIND


def _in_our_place(netlink: Netlink, index: int, hook: int) -> Iterator[Attached]:
    """BPF filters with our priority and handle; one at most, but the kernel repeats a filter's head without options."""
    for body in netlink.dump(_RTM_GETTFILTER, _TCMSG.pack(0, index, 0, hook, 0)):
        _, at, handle, _, info = _TCMSG.unpack_from(body)
        if (at, handle, info >> 16) != (index, _HANDLE, _PRIORITY):
            continue
        options = attributes(attributes(body, _TCMSG.size).get(_TCA_OPTIONS, b""))
        if _BPF_ID in options:
            name = options.get(_BPF_NAME, b"").rstrip(b"\0").decode(errors="replace")
            yield Attached(name, int(_U32.unpack(options[_BPF_ID])[0]))


def _clsact(index: int) -> bytes:
    return _TCMSG.pack(0, index, _CLSACT_HANDLE, _CLSACT, 0) + attribute(_TCA_KIND, _CLSACT_KIND)


def _filter(index: int, hook: int) -> bytes:
    return _TCMSG.pack(0, index, _HANDLE, hook, _INFO) + attribute(_TCA_KIND, b"bpf\0")


def _do(netlink: Netlink, request: Request, *, fine: tuple[int, ...] = ()) -> None:
    for refusal in netlink.request([request]):
        if refusal.errno not in fine:
            raise _error(refusal)


def _error(refusal: Refusal) -> OSError:
    return OSError(refusal.errno, refusal.text or errno.errorcode.get(refusal.errno, ""))
