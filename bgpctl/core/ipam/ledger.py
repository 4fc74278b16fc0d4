"""
The ledger of a node: its workloads with their addresses, and the addresses that workloads had before.

An address belongs to a workload from the moment it is in the ledger, before anything is made in the kernel, until the
workload is taken out, after everything is removed there. So whatever ends a program in between, no address is lost and
none is given twice.

Docker asks for an address before it names the endpoint that gets it, and releases it after the endpoint is gone. In
between it is reserved: no other workload gets it.

Refuses to know: files, the kernel, the cluster's configuration.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, TypeVar

from bgpctl.core.net.addresses import Address, Mac

CNI_NAME: Final = "cni.name"
"""The label with the name of a container of CNI (names.py)."""
K = TypeVar("K")
V = TypeVar("V")


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


class PublishedPort(NamedTuple):
    """A port of this host that leads to one of a workload; `host` is None for each address of the host."""

    protocol: str
    host: Address | None
    host_port: int
    port: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    A container's place in a network of Docker.

    Attributes:
        id: Docker's name of it, 64 hexadecimal digits; a container has another one after each start.
        network: Docker's name of the network, likewise.
        gateway: which of the gateways its container has for this network, from 1; 0 before the container is connected.
        published: the ports of this host that lead to it.
    """

    id: str
    network: str
    gateway: int = 0
    published: tuple[PublishedPort, ...] = ()


@dataclass(frozen=True, slots=True)
class Network:
    """A network of Docker; `mtu_bytes` is None where the pool's encapsulation decides."""

    mtu_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """
    A workload of this node.

    Attributes:
        device: the node's end of its cable.
        mac: of the workload's end.
        since_s: the date at which it was added, in seconds since 1970, for readers.
        complete: False from before anything is made in the kernel until all is.
        endpoint: of one that Docker made.
    """

    request: Request
    device: str
    mac: Mac
    addresses: tuple[Address, ...]
    mtu_bytes: int
    since_s: float
    complete: bool = False
    endpoint: Endpoint | None = None

    @property
    def name(self) -> str:
        return self.request.name

    def answers(self, request: Request) -> bool:
        """
        True if the request is the one that it was added by. The namespace may be another, since names of it pass, and
        so may be a runtime's name of the container.
        """
        asked, known = (replace(found, netns="", labels=_lasting(found.labels)) for found in (request, self.request))
        return asked == known


def _lasting(labels: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in labels if key != CNI_NAME)


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
        reserved: addresses that are for an endpoint of Docker's which has no name yet, or is gone, and since when.
        networks: those of Docker, by its names.
    """

    node: str = ""
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    freed: tuple[Freed, ...] = ()
    reserved: Mapping[Address, Moment] = field(default_factory=dict)
    networks: Mapping[str, Network] = field(default_factory=dict)

    def holder(self, address: Address) -> Workload | None:
        """The workload that has the address."""
        return next((found for found in self.workloads.values() if address in found.addresses), None)

    def of_endpoint(self, endpoint: str) -> Workload | None:
        """The workload that has this endpoint of Docker's."""
        return next((found for found in self.of_docker() if found.endpoint and found.endpoint.id == endpoint), None)

    def of_docker(self) -> Iterator[Workload]:
        """The workloads that Docker made."""
        return (found for found in self.workloads.values() if found.endpoint)

    def with_workload(self, workload: Workload) -> Ledger:
        """With the workload in place of one of its name; its addresses are in use."""
        freed = tuple(item for item in self.freed if item.address not in workload.addresses)
        workloads = {**self.workloads, workload.name: workload}
        return replace(self, workloads=workloads, freed=freed, reserved=_without(self.reserved, *workload.addresses))

    def without(self, name: str, now: Moment) -> Ledger:
        """Without the workload of this name, whose addresses are free from now on; the same if there is none."""
        gone = self.workloads.get(name)
        if gone is None:
            return self
        return replace(self, workloads=_without(self.workloads, name), freed=self._freed(gone.addresses, now))

    def with_reserved(self, addresses: Iterable[Address], now: Moment) -> Ledger:
        """With addresses that no workload has, or may get, from now on."""
        found = dict.fromkeys(addresses, now)
        freed = tuple(item for item in self.freed if item.address not in found)
        return replace(self, reserved={**self.reserved, **found}, freed=freed)

    def without_reserved(self, address: Address, now: Moment, since: Moment | None = None) -> Ledger:
        """
        With the address free from now on; the same if it is not reserved, for a workload may have it by now, or not
        since this moment.
        """
        if address not in self.reserved or since not in {None, self.reserved[address]}:
            return self
        return replace(self, reserved=_without(self.reserved, address), freed=self._freed((address,), now))

    def without_endpoint(self, endpoint: str, now: Moment) -> Ledger:
        """Without the workload of an endpoint, whose addresses are reserved until Docker releases them."""
        gone = self.of_endpoint(endpoint)
        if gone is None:
            return self
        return replace(self, workloads=_without(self.workloads, gone.name)).with_reserved(gone.addresses, now)

    def with_network(self, name: str, network: Network) -> Ledger:
        """With a network of Docker's."""
        return replace(self, networks={**self.networks, name: network})

    def without_network(self, name: str) -> Ledger:
        """Without it; the same if there is none of this name."""
        return replace(self, networks=_without(self.networks, name))

    def _freed(self, addresses: Collection[Address], now: Moment) -> tuple[Freed, ...]:
        earlier = (item for item in self.freed if item.address not in addresses)
        return (*earlier, *(Freed(own, now) for own in addresses))


def _without(items: Mapping[K, V], *gone: K) -> Mapping[K, V]:
    return {key: found for key, found in items.items() if key not in gone}
