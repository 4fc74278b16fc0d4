"""
Rounds over what Docker's workloads have on this node: mended where it differs, adopted where the ledger was lost, and
collected where Docker has no use for it any more.

Docker sends a removal once, and never again if no answer comes. So leftovers are found by comparison; without an answer
of Docker nothing is collected.

Refuses to know: Docker's requests, the container's side.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from bgpctl.attach import ledger_file, netns, observe
from bgpctl.attach.docker import engine, firewall
from bgpctl.attach.docker.driver import Driver, endpoint_of_alias, wiring_of, workload_name
from bgpctl.attach.docker.engine import NoAnswer, Seen
from bgpctl.attach.docker.messages import Rejected
from bgpctl.attach.docker.published import PublishFailed
from bgpctl.attach.ledger_file import LedgerUnusable
from bgpctl.attach.observe import Device, NodeSide
from bgpctl.attach.status import NotPossible, fault
from bgpctl.attach.wiring import gateway_number
from bgpctl.attach.workloads import unplug
from bgpctl.core.ipam.ledger import Endpoint, Ledger, Moment, Request, Workload
from bgpctl.core.ipam.leftovers import observed
from bgpctl.core.net.addresses import Address

log = logging.getLogger("bgpctl.docker")

EVERY_S: Final = 25.0
"""Between two rounds: a leftover goes within a minute and a half."""
_FAILURES: Final = (Rejected, NotPossible, LedgerUnusable, RuntimeError, OSError)


class Kind(enum.Enum):
    """The kinds of what Docker may have left."""

    ENDPOINT = "endpoint"
    CABLE = "cable"
    NETWORK = "network"
    ADDRESS = "address"


class Item(NamedTuple):
    """One of a kind, by Docker's name; an address by itself, with the moment; a cable by its endpoint."""

    kind: Kind
    name: str
    since: Moment | None = None


@dataclass(slots=True)
class Rounds:
    """One round after the other. `docker` is the path of Docker's socket."""

    driver: Driver
    docker: Path
    _absent: Mapping[Item, Moment] = field(default_factory=dict)

    def run(self) -> None:
        """One round. A failure is logged, and the next round tries again."""
        for part in (self.mend, self.collect, self.driver.settle):
            try:
                part()
            except _FAILURES as error:
                log.warning("workloads of Docker are not all as they should be: %s", error)

    def mend(self) -> None:
        """Have the node's side of each endpoint, the published ports and the firewall as they were made."""
        ledger = ledger_file.read(self.driver.directory)
        workloads = list(ledger.of_docker())
        if not workloads and not ledger.networks:
            return
        near = observe.node_side()
        for workload in workloads:
            if workload.complete and workload.device in near.devices and fault(workload, near):
                log.warning("%s is mended: %s", workload.name, fault(workload, near))
                netns.ip([*_missing(workload, near)])
        firewall.let_workloads_pass()
        try:
            self.driver.publish_again()
        except PublishFailed as error:
            log.warning("ports are not published: %s", error)

    def collect(self) -> None:
        """Collect what Docker has not had twice. Raises NotPossible, LedgerUnusable, RuntimeError, OSError."""
        ledger = ledger_file.read(self.driver.directory)
        cables = _cables(ledger)
        held = {*_held(ledger), *(Item(Kind.CABLE, endpoint) for endpoint in cables)}
        if not held:
            self._absent = {}
            return
        try:
            seen = engine.seen(self.docker)
        except NoAnswer as error:
            log.debug("nothing is collected: %s", error)
            return
        absent = [item for item in held if not _is_known(item, seen)]
        found = observed(self._absent, absent, self.driver.now().moment)
        self._absent = found.absent
        for endpoint in seen.endpoints.intersection(cables):
            self._adopt(cables[endpoint], endpoint)
        for item in found.leftovers:
            self._remove(item, cables)

    def _remove(self, item: Item, cables: Mapping[str, Device]) -> None:
        log.warning("Docker has no %s %s any more, and left it here: it is removed", item.kind.value, item.name)
        match item.kind:
            case Kind.ENDPOINT:
                self.driver.remove(item.name)
            case Kind.CABLE:
                unplug(cables[item.name].name)
            case Kind.NETWORK:
                self.driver.forget_network(item.name)
            case Kind.ADDRESS:
                self.driver.release(Address.parse(item.name), item.since)

    def _adopt(self, near: Device, endpoint: str) -> None:
        """Note an endpoint that Docker has and the ledger has not, as after a loss of the ledger, as it is here."""
        try:
            place = engine.place(self.docker, endpoint)
        except NoAnswer as error:
            log.debug("%s is not adopted: %s", near.name, error)
            return
        side = observe.node_side()
        addresses = tuple(sorted(prefix.first for device, prefix in side.routed if device == near.name))
        mac = next((mac for (device, _), mac in side.neighbours.items() if device == near.name), None)
        if not addresses or mac is None:
            return
        request = Request(workload_name(endpoint), place.sandbox, (), addresses, mac)
        known = Endpoint(endpoint, place.network, gateway_number(place.gateway))
        date_s = self.driver.now().date_s
        adopted = Workload(request, near.name, mac, addresses, near.mtu_bytes, date_s, complete=True, endpoint=known)
        log.warning("%s is adopted, with %s", adopted.name, " and ".join(map(str, addresses)))
        self.driver.adopt(adopted)


def _held(ledger: Ledger) -> Iterator[Item]:
    yield from (Item(Kind.ENDPOINT, found.endpoint.id) for found in ledger.of_docker() if found.endpoint)
    yield from (Item(Kind.NETWORK, name) for name in ledger.networks)
    yield from (Item(Kind.ADDRESS, str(address), since) for address, since in ledger.reserved.items())


def _is_known(item: Item, seen: Seen) -> bool:
    match item.kind:
        case Kind.ENDPOINT | Kind.CABLE:
            return item.name in seen.endpoints
        case Kind.NETWORK:
            return item.name in seen.networks
        case Kind.ADDRESS:
            return Address.parse(item.name) in seen.addresses


def _cables(ledger: Ledger) -> dict[str, Device]:
    """The node's ends of cables that the driver has made, and the ledger does not have, by their endpoints."""
    known = {found.device for found in ledger.workloads.values()}
    ours = ((endpoint_of_alias(link.alias), link) for link in observe.node_side().devices.values())
    return {endpoint: link for endpoint, link in ours if endpoint and link.name not in known}


def _missing(workload: Workload, near: NodeSide) -> Iterator[str]:
    """The commands of ip(8) for what is not there."""
    wiring = wiring_of(workload)
    yield f"link set {workload.device} up"
    for address in workload.addresses:
        yield f"neighbour replace {address} lladdr {workload.mac} dev {workload.device} nud permanent"
        if (workload.device, address.host_prefix) not in near.routed:
            yield wiring.route(address)
