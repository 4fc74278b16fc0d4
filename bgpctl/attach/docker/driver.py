"""
The driver for Docker's networks and their addresses: each request done to the ledger and the kernel, and answered.

All that a later request needs is in the ledger before the answer: Docker may be killed, or this program, at any step.
Docker repeats requests, sends them late, and does not send some. So each may come twice, a removal of what is not there
succeeds, and what Docker leaves is collected (rounds.py). What only removes needs no cluster file.

An address is reserved (RequestAddress), then its endpoint's (CreateEndpoint), then reserved (DeleteEndpoint), then free
(ReleaseAddress). The cable is there from Join to Leave; Docker moves the container's end of it.

Refuses to know: HTTP, what becomes of the container's side (sandbox.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bgpctl.attach import ledger_file, netns
from bgpctl.attach.connect import connect_half
from bgpctl.attach.docker import firewall, messages
from bgpctl.attach.docker.messages import Body, EndpointRequest, Rejected
from bgpctl.attach.docker.published import Published, PublishFailed
from bgpctl.attach.ledger_file import LedgerFile, LedgerUnusable
from bgpctl.attach.shared_ipam import SharedIpam, docker_handle, settle
from bgpctl.attach.status import NotPossible
from bgpctl.attach.wiring import Wiring, device_of, gateway
from bgpctl.attach.workloads import Choice, Times, devices, given, mtu_of, of_node, unplug
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.blocks import NodeBlocks, NotGiven
from bgpctl.core.ipam.docker_pools import docker_pool
from bgpctl.core.ipam.ledger import Endpoint, Ledger, Moment, Network, PublishedPort, Request, Workload
from bgpctl.core.net.addresses import Address

log = logging.getLogger("bgpctl.docker")

_NAME: Final = "docker/"
"""How the names of Docker's workloads begin; no other has a slash."""
_NAME_DIGITS: Final = 12
"""As many as Docker shows of its names."""
_LINK_DIGITS: Final = 11
_FIRST: Final = 1
_GATEWAYS: Final = 254

Cluster = Callable[[], tuple[Intent, Node]]
"""The cluster and this node as they are now. Raises Rejected."""


@dataclass(frozen=True, slots=True)
class Driver:
    """
    Attributes:
        directory: of the ledger.
        joined: called with each workload whose container's end Docker has now.
    """

    directory: Path
    cluster: Cluster
    now: Callable[[], Times]
    joined: Callable[[Workload], None]
    published: Published
    shared: SharedIpam | None = None

    def answer(self, method: str, content: bytes) -> Body:
        """The answer to a request. Raises Rejected."""
        act = _CALLS.get(method)
        if act is None:
            raise Rejected(f"{method} is not known")
        try:
            return act(self, messages.body_of(content))
        except (NotGiven, NotPossible, LedgerUnusable, PublishFailed, RuntimeError) as error:
            raise Rejected(str(error)) from error
        except OSError as error:
            raise Rejected(f"{method}: {error.strerror or error}") from error

    # Addresses ---------------------------------------------------------------------------------------------------

    def request_pool(self, body: Body) -> Body:
        """IpamDriver.RequestPool. Nothing is noted: the name that is answered has all."""
        asked = messages.pool_request(body)
        found = docker_pool(asked, NodeBlocks.of(*self.cluster()), claims=self.shared is not None)
        return messages.pool_answer(found, asked, gateway(asked.version, _FIRST))

    def request_address(self, body: Body) -> Body:
        """IpamDriver.RequestAddress: reserve one."""
        asked = messages.address_request(body)
        if asked.is_gateway:
            return messages.address_answer(_own_gateway(asked.address))
        blocks = NodeBlocks.of(*self.cluster())
        pools, addresses = ((), (asked.address,)) if asked.address else ((asked.pool.name,), ())
        request = Request(_NAME, "", pools, addresses)
        with ledger_file.locked(self.directory) as file:
            choice = Choice(of_node(file, blocks.node), request, self.now().moment, within=asked.pool.within)
            settle(self.shared, choice.ledger)
            try:
                _, (found,) = given(choice, blocks, self.shared, docker_handle)
                file.write(choice.ledger.with_reserved((found,), self.now().moment))
            except BaseException:
                settle(self.shared, file.read())
                raise
        return messages.address_answer(found)

    def release_address(self, body: Body) -> Body:
        """IpamDriver.ReleaseAddress. One that an endpoint has stays: it goes with that endpoint."""
        address = messages.address_request(body).address
        if address:
            self.release(address)
        return messages.NOTHING

    # Networks and endpoints --------------------------------------------------------------------------------------

    def create_network(self, body: Body) -> Body:
        """NetworkDriver.CreateNetwork."""
        asked = messages.network_request(body)
        self._edit(lambda ledger: ledger.with_network(asked.id, Network(asked.mtu_bytes)))
        return messages.NOTHING

    def delete_network(self, body: Body) -> Body:
        """NetworkDriver.DeleteNetwork."""
        name = messages.network_of(body)
        self._edit(lambda ledger: ledger.without_network(name))
        return messages.NOTHING

    def create_endpoint(self, body: Body) -> Body:
        """NetworkDriver.CreateEndpoint: have its addresses be its own."""
        asked = messages.endpoint_request(body)
        with ledger_file.locked(self.directory) as file:
            known = file.read().of_endpoint(asked.id)
            workload = known or self._create(file, asked)
        return messages.endpoint_answer(workload.mac, asked)

    def _create(self, file: LedgerFile, asked: EndpointRequest) -> Workload:
        blocks = NodeBlocks.of(*self.cluster())
        ledger = of_node(file, blocks.node)
        name = workload_name(asked.id)
        if not asked.addresses:
            raise Rejected("the endpoint has no address: its network needs --ipam-driver bgpctl")
        if name in ledger.workloads:
            raise Rejected(f"there is another workload {name}")
        for address in asked.addresses:
            if address not in ledger.reserved:
                raise Rejected(f"{address} was not given on node {blocks.node.name}; start the container again")
        _refuse_published(ledger, asked)
        device = device_of(name)
        mac = Wiring(device, (), 0, given_mac=asked.mac).mac
        network = ledger.networks.get(asked.network, Network())
        mtu = network.mtu_bytes or mtu_of(blocks, asked.addresses, devices())
        workload = Workload(
            Request(name, "", (), asked.addresses, asked.mac),
            device,
            mac,
            asked.addresses,
            mtu,
            self.now().date_s,
            endpoint=Endpoint(asked.id, asked.network, published=asked.published),
        )
        file.write(ledger.with_workload(workload))
        return workload

    def delete_endpoint(self, body: Body) -> Body:
        """NetworkDriver.DeleteEndpoint."""
        self._remove(messages.endpoint_of(body))
        return messages.NOTHING

    def join(self, body: Body) -> Body:
        """NetworkDriver.Join: make the cable, whose one end Docker moves and names."""
        asked = messages.join_request(body)
        with ledger_file.locked(self.directory) as file:
            ledger = file.read()
            known = ledger.of_endpoint(asked.endpoint)
            if known is None or known.endpoint is None:
                raise Rejected(f"there is no endpoint {asked.endpoint[:_NAME_DIGITS]}; start the container again")
            number = _gateway_number(ledger, asked.sandbox, asked.endpoint)
            request = replace(known.request, netns=asked.sandbox)
            placed = replace(known, request=request, endpoint=replace(known.endpoint, gateway=number), complete=False)
            file.write(ledger.with_workload(placed))
            source = f"temp{asked.endpoint[:_LINK_DIGITS]}"
            with _unplugged_on_failure(placed.device):
                _plug(placed, source)
                joined = replace(placed, complete=True)
                file.write(ledger.with_workload(joined))
        firewall.let_workloads_pass()
        self.joined(joined)
        versions = sorted({address.version for address in joined.addresses})
        return messages.join_answer(source, {version: gateway(version, number) for version in versions})

    def leave(self, body: Body) -> Body:
        """NetworkDriver.Leave: remove the cable. Docker has moved the container's end of it here by now."""
        endpoint = messages.endpoint_of(body)
        with ledger_file.locked(self.directory) as file:
            ledger = file.read()
            known = ledger.of_endpoint(endpoint)
            if known and known.endpoint:
                unplug(known.device)
                apart = replace(known.endpoint, gateway=0)
                request = replace(known.request, netns="")
                file.write(ledger.with_workload(replace(known, request=request, endpoint=apart, complete=False)))
        self._unpublish(known)
        return messages.NOTHING

    def publish(self, body: Body) -> Body:
        """NetworkDriver.ProgramExternalConnectivity."""
        endpoint = messages.endpoint_of(body)
        self._publish(needed_by=endpoint)
        return messages.NOTHING

    def unpublish(self, _body: Body) -> Body:
        """NetworkDriver.RevokeExternalConnectivity. The ports go with the cable (Leave), which comes next."""
        return messages.NOTHING

    # For rounds.py -----------------------------------------------------------------------------------------------

    def remove(self, endpoint: str) -> None:
        """Remove an endpoint that Docker does not have any more, and release its addresses. Raises NotPossible."""
        ledger = self._remove(endpoint)
        gone = ledger.of_endpoint(endpoint)
        for address in gone.addresses if gone else ():
            self.release(address)

    def release(self, address: Address, since: Moment | None = None) -> None:
        """Have an address be free that is reserved, and since this moment if one is given."""
        self._edit(lambda ledger: ledger.without_reserved(address, self.now().moment, since))
        self.settle()

    def settle(self) -> None:
        """Have the shared IPAM, if there is one, agree with the ledger."""
        if self.shared:
            with ledger_file.locked(self.directory) as file:
                settle(self.shared, file.read())

    def adopt(self, workload: Workload) -> None:
        """Have a workload in the ledger whose cable is there, unless it is there by now. Raises Rejected."""
        node = self.cluster()[1].name

        def with_it(ledger: Ledger) -> Ledger:
            if workload.name in ledger.workloads:
                return ledger
            return replace(ledger.with_workload(workload), node=ledger.node or node)

        self._edit(with_it)

    def call(self, endpoint: str, labels: Mapping[str, str]) -> None:
        """Have these labels at an endpoint's workload, if there is one; by them it has a name."""

        def with_labels(ledger: Ledger) -> Ledger:
            known = ledger.of_endpoint(endpoint)
            if known is None:
                return ledger
            request = replace(known.request, labels=tuple(sorted(labels.items())))
            return ledger.with_workload(replace(known, request=request))

        self._edit(with_labels)

    def publish_again(self) -> None:
        """Have the published ports as they were, if they are not. Raises PublishFailed."""
        self._publish()

    def forget_network(self, name: str) -> None:
        """Forget a network that Docker does not have any more."""
        self._edit(lambda ledger: ledger.without_network(name))

    def _remove(self, endpoint: str) -> Ledger:
        """The ledger before it. The addresses stay reserved until Docker releases them."""
        with ledger_file.locked(self.directory) as file:
            ledger = file.read()
            known = ledger.of_endpoint(endpoint)
            if known:
                unplug(known.device)
                file.write(ledger.without_endpoint(endpoint, self.now().moment))
        self._unpublish(known)
        return ledger

    def _unpublish(self, gone: Workload | None) -> None:
        """A failure is seen by the next round: what was removed is removed."""
        if gone and gone.endpoint and gone.endpoint.published:
            try:
                self._publish()
            except PublishFailed as error:
                log.warning("%s", error)

    def _publish(self, needed_by: str = "") -> None:
        """Have exactly the ports of the ledger's endpoints that are connected lead to them."""
        with ledger_file.locked(self.directory) as file:
            self.published.have(list(file.read().of_docker()), needed_by)

    def _edit(self, change: Callable[[Ledger], Ledger]) -> None:
        with ledger_file.locked(self.directory) as file:
            ledger = file.read()
            changed = change(ledger)
            if changed != ledger:
                file.write(changed)


def _own_gateway(asked: Address | None) -> Address:
    """The gateway, when Docker asks for it as for an address, at a restart. Raises Rejected for another one."""
    version = asked.version if asked else 4
    own = gateway(version, _FIRST)
    if asked not in {None, own}:
        raise Rejected(f"--gateway is not supported: the gateway is {own} on each host")
    return own


def _gateway_number(ledger: Ledger, sandbox: str, endpoint: str) -> int:
    """The first that no other network of the container has."""
    of_sandbox = [found.endpoint for found in ledger.of_docker() if found.request.netns == sandbox]
    taken = {found.gateway for found in of_sandbox if found and found.id != endpoint}
    number = next((number for number in range(_FIRST, _GATEWAYS + 1) if number not in taken), None)
    if number is None:
        raise Rejected(f"a container is in {_GATEWAYS} networks of bgpctl at most")
    return number


def _refuse_published(ledger: Ledger, asked: EndpointRequest) -> None:
    """Raise Rejected if a port is published already. Whether another program listens there is seen later."""
    for workload in ledger.of_docker():
        for theirs in workload.endpoint.published if workload.endpoint else ():
            if any(_clash(own, theirs) for own in asked.published):
                text = f"port {theirs.host_port}/{theirs.protocol} of this host leads to {workload.name} already"
                raise Rejected(f"{text}, {' and '.join(map(str, workload.addresses))}")


def _clash(one: PublishedPort, other: PublishedPort) -> bool:
    is_same_port = (one.protocol, one.host_port) == (other.protocol, other.host_port)
    return is_same_port and (one.host == other.host or None in {one.host, other.host})


def workload_name(endpoint: str) -> str:
    """The name of the workload that an endpoint is."""
    return f"{_NAME}{endpoint[:_NAME_DIGITS]}"


def wiring_of(workload: Workload, inner: str = "") -> Wiring:
    """The wiring of an endpoint; `inner`: the name of the container's end."""
    mac = workload.mac if workload.request.mac else None
    return Wiring(workload.device, workload.addresses, workload.mtu_bytes, inner or "eth0", mac)


def alias_of(endpoint: str) -> str:
    """The alias of the node's end of an endpoint's cable (ip-link(8)), by which it is known without the ledger."""
    return f"{_NAME}{endpoint}"


def endpoint_of_alias(alias: str) -> str | None:
    """The endpoint whose cable has this alias."""
    return alias.removeprefix(_NAME) if alias.startswith(_NAME) else None


def _plug(workload: Workload, source: str) -> None:
    unplug(workload.device)
    unplug(source)
    connect_half(wiring_of(workload, source))
    if workload.endpoint:
        netns.ip([f"link set dev {workload.device} alias {alias_of(workload.endpoint.id)}"])


@contextmanager
def _unplugged_on_failure(device: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        try:
            unplug(device)
        except NotPossible:  # the first failure is what the user is to read; this one is collected later
            log.warning("%s could not be removed", device)
        raise


_CALLS: Final[Mapping[str, Callable[[Driver, Body], Body]]] = {
    "Plugin.Activate": lambda *_: messages.ACTIVATED,
    "IpamDriver.GetCapabilities": lambda *_: messages.NOTHING,
    "IpamDriver.GetDefaultAddressSpaces": lambda *_: messages.ADDRESS_SPACES,
    "IpamDriver.RequestPool": Driver.request_pool,
    "IpamDriver.ReleasePool": lambda *_: messages.NOTHING,
    "IpamDriver.RequestAddress": Driver.request_address,
    "IpamDriver.ReleaseAddress": Driver.release_address,
    "NetworkDriver.GetCapabilities": lambda *_: messages.NETWORK_CAPABILITIES,
    "NetworkDriver.AllocateNetwork": lambda *_: messages.NOTHING,
    "NetworkDriver.FreeNetwork": lambda *_: messages.NOTHING,
    "NetworkDriver.CreateNetwork": Driver.create_network,
    "NetworkDriver.DeleteNetwork": Driver.delete_network,
    "NetworkDriver.CreateEndpoint": Driver.create_endpoint,
    "NetworkDriver.EndpointOperInfo": lambda *_: messages.ENDPOINT_INFO,
    "NetworkDriver.DeleteEndpoint": Driver.delete_endpoint,
    "NetworkDriver.Join": Driver.join,
    "NetworkDriver.Leave": Driver.leave,
    "NetworkDriver.ProgramExternalConnectivity": Driver.publish,
    "NetworkDriver.RevokeExternalConnectivity": Driver.unpublish,
    "NetworkDriver.DiscoverNew": lambda *_: messages.NOTHING,
    "NetworkDriver.DiscoverDelete": lambda *_: messages.NOTHING,
}
"""AllocateNetwork, FreeNetwork and Discover… are for networks of a swarm, which these are not."""
