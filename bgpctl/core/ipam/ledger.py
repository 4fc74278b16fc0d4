"""
The ledger of a node: its workloads with their addresses, and the addresses that workloads had before.

An address belongs to a workload from the moment it is in the ledger, before anything is made in the kernel, until the
workload is taken out, after everything is removed there. So whatever ends a program in between, no address is lost and
none is given twice.

Refuses to know: files, the kernel, the cluster's configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from bgpctl.core.net.addresses import Address, Mac


@dataclass(frozen=True, slots=True)
class Request:
    """
    An operator's request for a workload.

    Attributes:
        netns: the network namespace, by its name or path.
        pools: names of pools, each to give one address.
        addresses: those that are asked for, one of each IP version at most.
        mac: of the workload's end; None leaves the choice.
        inner: the name of the workload's end.
    """

    name: str
    netns: str
    pools: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()
    mac: Mac | None = None
    inner: str = "eth0"
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Workload:
    """
    A workload of this node.

    Attributes:
        device: the node's end of its cable.
        mac: of the workload's end.
        since_s: the date at which it was added, in seconds since 1970, for readers.
        complete: False from before anything is made in the kernel until all is.
    """

    request: Request
    device: str
    mac: Mac
    addresses: tuple[Address, ...]
    mtu_bytes: int
    since_s: float
    complete: bool = False

    @property
    def name(self) -> str:
        return self.request.name

    def answers(self, request: Request) -> bool:
        """True if the request is the one that it was added by. The namespace may be another: names of it pass."""
        return replace(request, netns=self.request.netns) == self.request


class Moment(NamedTuple):
    """A time that no change of the date moves: seconds since a boot, and the name of that boot."""

    boot: str
    since_boot_s: float


class Freed(NamedTuple):
    """An address that a workload had until `at`."""

    address: Address
    at: Moment


@dataclass(frozen=True, slots=True)
class Ledger:
    """
    Attributes:
        node: whose ledger it is; empty while it is new.
        workloads: by name.
        freed: each address once, in the order in which they were last freed.
    """

    node: str = ""
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    freed: tuple[Freed, ...] = ()

    def holder(self, address: Address) -> Workload | None:
        """The workload that has the address."""
        return next((found for found in self.workloads.values() if address in found.addresses), None)

    def with_workload(self, workload: Workload) -> Ledger:
        """With the workload in place of one of its name; its addresses are in use."""
        freed = tuple(item for item in self.freed if item.address not in workload.addresses)
        return replace(self, workloads={**self.workloads, workload.name: workload}, freed=freed)

    def without(self, name: str, now: Moment) -> Ledger:
        """Without the workload of this name, whose addresses are free from now on; the same if there is none."""
        gone = self.workloads.get(name)
        if gone is None:
            return self
        others = {other: found for other, found in self.workloads.items() if other != name}
        earlier = tuple(item for item in self.freed if item.address not in gone.addresses)
        return replace(self, workloads=others, freed=(*earlier, *(Freed(own, now) for own in gone.addresses)))
