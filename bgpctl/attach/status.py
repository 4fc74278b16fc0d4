"""
The state of this node's workloads, as any user can see it: the ledger beside the kernel.

Refuses to know: the inside of a workload's namespace, how a state is mended.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import NamedTuple

from bgpctl.attach import ledger_file, observe
from bgpctl.attach.observe import NodeSide
from bgpctl.core.ipam.ledger import Workload


class NotPossible(Exception):
    """Something on this host is in the way; the text is for the operator. What had been made is undone."""


class State(enum.Enum):
    """The state of a workload, as any user can see it."""

    UP = "up"
    DOWN = "down"
    INCOMPLETE = "incomplete"
    ABSENT = "absent"


class Status(NamedTuple):
    """A workload, its state, and what is wrong with it in words."""

    workload: Workload
    state: State
    reason: str = ""


def statuses(directory: Path) -> list[Status]:
    """All workloads of the ledger, by name. Raises NotPossible, ledger_file.LedgerUnusable."""
    workloads = ledger_file.read(directory).workloads
    if not workloads:
        return []
    try:
        near = observe.node_side()
    except RuntimeError as error:
        raise NotPossible(str(error)) from error
    return [_status(workload, near) for _, workload in sorted(workloads.items())]


def _status(workload: Workload, near: NodeSide) -> Status:
    link = near.devices.get(workload.device)
    mended = "Docker makes it at the next start" if workload.endpoint else "add it again, or delete it"
    if not link:
        return Status(workload, State.ABSENT, f"its cable is gone, as after a boot; {mended}")
    if not workload.complete:
        return Status(workload, State.INCOMPLETE, f"its addition was cut short; {mended}")
    if found := fault(workload, near):
        return Status(workload, State.INCOMPLETE, f"{found}; {mended}")
    return Status(workload, State.UP) if link.carrier else Status(workload, State.DOWN, "its own end is down")


def fault(workload: Workload, near: NodeSide) -> str:
    """The first difference at the node's end from how it was made; empty if there is none."""
    device = workload.device
    link = near.devices.get(device)
    if not link:
        return f"{device} is not in the group of workloads"
    if not link.up:
        return f"{device} is down"
    for address in workload.addresses:
        if (device, address.host_prefix) not in near.routed:
            return f"no route leads to {address}"
        if near.neighbours.get((device, address)) != workload.mac:
            return f"{address} is no permanent neighbour"
    return ""
