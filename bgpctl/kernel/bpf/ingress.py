"""
The hook of a program that decapsulates the packets a link receives: tcx, or before Linux 6.6 a clsact.

A filter of clsact has a readable name; tcx shows names only with CAP_SYS_ADMIN. So a program on tcx has a label: the
same program as a filter on a device of ours that receives no packet. The label identifies a program that an earlier
agent left; without it (the device is gone, or the agent ended halfway) identifying one takes CAP_SYS_ADMIN. An
unidentified program does no harm: the program put last runs first, and passes no packet of its kind to others.

Refuses to know: the purpose of the programs.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from bgpctl.kernel.bpf import syscalls, tc, tcx
from bgpctl.kernel.netlink import Netlink

PROGRAM: Final = "bgpctl_decap"
"""The name under which programs that take packets in are loaded."""


class Receiver(NamedTuple):
    """
    A program, the link whose packets it takes in, and the name by which it was attached, where that is known.

    Attributes:
        label: the link on which it is labelled.
    """

    link: int
    program_id: int
    name: str = ""
    on_tcx: bool = False
    label: int | None = None


def attach(netlink: Netlink, link: int, label: int, fd: int, name: str) -> None:
    """
    Attach the program, loaded as PROGRAM, to the link's ingress, before our earlier ones there. The link `label` is
    ours, and receives nothing.

    Raises:
        OSError: EEXIST where a filter of another program has our priority and handle.
    """
    try:
        tcx.attach(link, fd)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        tc.attach(netlink, link, tc.INGRESS, fd, name)
    else:
        tc.attach(netlink, label, tc.INGRESS, fd, name)


def detach(netlink: Netlink, receiver: Receiver) -> None:
    """Take this one program away; absent is no error. Raises OSError."""
    if receiver.on_tcx:
        tcx.detach(receiver.link, receiver.program_id)
    filter_on = receiver.label if receiver.on_tcx else receiver.link
    if filter_on is not None:
        found = tc.attached(netlink, filter_on, tc.INGRESS)
        if found and found.program_id == receiver.program_id:
            tc.detach(netlink, filter_on, tc.INGRESS)


def receivers(netlink: Netlink, links: Iterable[int], label: int | None) -> Iterator[Receiver]:
    """Our programs, of whatever version, on these links. Raises OSError."""
    with_clsact = tc.hooked(netlink)
    labelled = tc.attached(netlink, label, tc.INGRESS) if label is not None and label in with_clsact else None
    for link in links:
        for number in tcx.attached(link):
            if labelled and labelled.program_id == number:
                yield Receiver(link, number, labelled.name, on_tcx=True, label=label)
            elif _is_called_ours(number):
                yield Receiver(link, number, on_tcx=True)
        if link != label and link in with_clsact and (found := tc.attached(netlink, link, tc.INGRESS)):
            yield Receiver(link, found.program_id, found.name)


def _is_called_ours(program_id: int) -> bool:
    with suppress(PermissionError, FileNotFoundError):
        return syscalls.name_of(program_id) == PROGRAM
    return False
