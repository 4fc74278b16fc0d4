"""
The container's side of a cable, after Docker has moved it: its gateway is a permanent neighbour.

The node answers no ARP of a workload (wiring.py). Docker sets addresses and routes but no neighbours, and older engines
make the container's namespace only after they were answered. So a thread waits for the container's end to be up, which
is before its first process runs.

Refuses to know: Docker's requests.
"""

from __future__ import annotations

import fcntl
import logging
import socket
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from bgpctl.attach import netns, observe
from bgpctl.attach.docker.waiting import Waiting
from bgpctl.attach.wiring import NODE_MAC, gateway, gateway_neighbour
from bgpctl.attach.workloads import is_other_end
from bgpctl.core.ipam.ledger import Workload
from bgpctl.core.net.addresses import Address

log = logging.getLogger("bgpctl.docker")

_SIOCGIFFLAGS: Final = 0x8913
_REQUEST: Final = struct.Struct("16sH22x")
"""struct ifreq of netdevice(7), with flags."""
_RUNNING: Final = 0x40
"""IFF_RUNNING."""
_TABLES: Final = 17900
"""The number of the routing table of a container's n-th network, and the priority of its rule, is this and n."""
_PAUSE_S: Final = 0.01
_GIVEN_UP_S: Final = 60.0
"""After that, the periodic check of all endpoints does it (service.py)."""


def sandboxes() -> Waiting[Workload]:
    """The containers whose neighbours are to be set, by the node's ends of their cables."""
    return Waiting(_settle, _PAUSE_S, _GIVEN_UP_S)


def _settle(waiting: Mapping[str, Workload]) -> Collection[str]:
    return {device for device, workload in waiting.items() if settle(workload)}


def settle(workload: Workload) -> bool:
    """Set the neighbours if the container's end is up by now; False if it has to be tried again."""
    try:
        if not _is_running(workload.device):
            return False
        with netns.opened(workload.request.netns) as namespace:
            return _set(workload, namespace)
    except (OSError, RuntimeError) as error:
        log.debug("%s is not settled: %s", workload.name, error)
        return False


def _set(workload: Workload, namespace: str) -> bool:
    near = observe.devices().get(workload.device)
    inner = next(
        (there.name for there in observe.devices(namespace).values() if near and is_other_end(there, near)), ""
    )
    if not inner:
        return False
    missing = set(gateways_of(workload)).difference(_known(namespace, inner))
    if missing:
        for address, own in zip(workload.addresses, gateways_of(workload), strict=True):
            netns.ip([*_own_route(workload, address, own, inner, namespace)], namespace, address.version)
        netns.ip([gateway_neighbour(own, inner) for own in sorted(missing)], namespace)
    return True


def _own_route(workload: Workload, address: Address, own: Address, inner: str, namespace: str) -> Iterator[str]:
    """
    The commands of ip(8) by which packets from one of the workload's addresses leave by its own link: where a container
    is in several networks Docker's default route leads to one of them, and the node drops what comes by another's.
    """
    table = _TABLES + (workload.endpoint.gateway if workload.endpoint else 0)
    yield f"route replace default via {own} dev {inner} table {table} onlink"
    rules = netns.ip_shows((f"-{address.version}", "rule", "show", "from", str(address)), namespace)
    if not any(rule.get("priority") == table for rule in rules):
        yield f"rule add from {address} lookup {table} priority {table}"


def _known(namespace: str, inner: str) -> Iterable[Address]:
    for item in netns.ip_shows(("neighbour", "show", "dev", inner, "nud", "permanent"), namespace):
        if item.get("lladdr") == NODE_MAC:
            yield Address.parse(item["dst"])


def gateways_of(workload: Workload) -> Iterable[Address]:
    """The gateways of an endpoint that is connected."""
    number = workload.endpoint.gateway if workload.endpoint else 0
    return [gateway(address.version, number) for address in workload.addresses] if number else []


def _is_running(device: str) -> bool:
    """True if both ends of a cable are up, at the cost of one system call."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        raw = fcntl.ioctl(asking, _SIOCGIFFLAGS, _REQUEST.pack(device.encode(), 0))
    return bool(_REQUEST.unpack(raw)[1] & _RUNNING)
