"""
The names of workloads: `NAME.NETWORK.bgpctl`, which leads to the addresses of every workload of that name and network.

Containers of Docker and of CNI have the name of their container, and those of Docker its aliases too, in the network
that they were attached to. A workload that an operator added has the networks of its pools' names. Two nodes may have
workloads of one name: it then leads to all of them.

No record of a node is believed for an address outside the pools.

Refuses to know: DNS messages, files, how names come from other nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from bgpctl.core.cluster.configuration import Configuration
from bgpctl.core.ipam.ledger import CNI_NAME, Ledger, Workload
from bgpctl.core.net.addresses import Address

DOMAIN: Final = "bgpctl"
CONTAINER: Final = "docker.container"
NETWORK: Final = "docker.network"
ALIASES: Final = "docker.aliases"
"""Labels of Docker's workloads; aliases are divided by commas."""
CNI_NETWORK: Final = "cni.network"
STATUS_FILE: Final = "resolver.json"
"""In the run directory: a resolver writes it, and the agent shows it (agent/resolver_views.py)."""
STATUS_SCHEMA: Final = "bgpctl/resolver/v1"
_LONGEST_LABEL: Final = 63
_LONGEST_NAME: Final = 253
"""RFC 1035 section 2.3.4."""


@dataclass(frozen=True, slots=True)
class Named:
    """A workload's names in a network, and its addresses."""

    network: str
    names: tuple[str, ...]
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Others:
    """
    Attributes:
        names: what other nodes publish, by node.
        unheard: why not all can be known; then a name that is not known may exist.
    """

    names: Mapping[str, tuple[Named, ...]] = field(default_factory=dict)
    unheard: str = ""


def named(ledger: Ledger, configuration: Configuration) -> tuple[Named, ...]:
    """The names of a node's workloads, in order."""
    return tuple(found for _, workload in sorted(ledger.workloads.items()) for found in _of(workload, configuration))


def _of(workload: Workload, configuration: Configuration) -> Iterator[Named]:
    labels = dict(workload.request.labels)
    if workload.endpoint:
        names = (labels.get(CONTAINER, ""), *labels.get(ALIASES, "").split(","))
        if NETWORK in labels:
            yield Named(labels[NETWORK], tuple(dict.fromkeys(filter(None, names))), workload.addresses)
    elif CNI_NETWORK in labels:
        if CNI_NAME in labels:
            yield Named(labels[CNI_NETWORK], (labels[CNI_NAME],), workload.addresses)
    else:
        pools = (configuration.pool_of(address.host_prefix) for address in workload.addresses)
        for network in sorted({pool.name for pool in pools if pool}):
            yield Named(network, (workload.name,), workload.addresses)


@dataclass(frozen=True, slots=True)
class Zone:
    """
    All that is known below `bgpctl.`; names are in lower case and without the last dot.

    Attributes:
        addresses: by name; a name above others that has none itself is there too.
        names: by address.
        is_complete: False while a name that is not here may exist.
    """

    addresses: Mapping[str, tuple[Address, ...]]
    names: Mapping[Address, str]
    is_complete: bool = True


def zone(every: Iterable[Named], is_credible: Callable[[Address], bool], *, is_complete: bool) -> Zone:
    """The zone of all of them."""
    addresses: dict[str, dict[Address, None]] = {DOMAIN: {}}
    names: dict[Address, str] = {}
    for item in every:
        credible = dict.fromkeys(filter(is_credible, item.addresses))
        for name in item.names:
            full = full_name(name, item.network)
            if not full or not credible:
                continue
            addresses.setdefault(full, {}).update(credible)
            for above in _above(full):
                addresses.setdefault(above, {})
            for address in credible:
                names.setdefault(address, full)
    return Zone({name: tuple(sorted(found)) for name, found in addresses.items()}, names, is_complete)


def full_name(name: str, network: str) -> str:
    """The whole name; empty if DNS has no such name."""
    full = f"{name}.{network}.{DOMAIN}".lower()
    labels = full.split(".")
    is_name = len(full) <= _LONGEST_NAME and full.isascii() and full.isprintable() and " " not in full
    return full if is_name and all(0 < len(label) <= _LONGEST_LABEL for label in labels) else ""


def _above(full: str) -> Iterator[str]:
    """The names above one, up to the domain."""
    above = full.partition(".")[2]
    while above != DOMAIN:
        yield above
        above = above.partition(".")[2]
