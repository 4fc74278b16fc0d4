"""Docker as the driver sees it: its requests in their order, and what libnetwork does with a link, on a real kernel."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from bgpctl.attach import ledger_file, netns
from bgpctl.attach.docker import sandbox
from bgpctl.attach.docker.driver import Driver
from bgpctl.attach.docker.engine import Seen
from bgpctl.attach.docker.published import Published
from bgpctl.attach.workloads import Times
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.ledger import Ledger, Moment, Workload
from bgpctl.core.net.addresses import Address
from tests.waiting import wait_until

PORTMAP = "com.docker.network.portmap"
_ids = count(1)


def new_id() -> str:
    return hashlib.sha256(str(next(_ids)).encode()).hexdigest()


@dataclass
class Clock:
    """Goes on by itself, and by `skip`."""

    ahead_s: float = 0.0

    def __call__(self) -> Times:
        return Times(Moment("boot", time.monotonic() + self.ahead_s), time.time())

    def skip(self, seconds: float) -> None:
        self.ahead_s += seconds


@dataclass
class Container:
    """A network namespace with the endpoints that it has, by network."""

    space: str
    endpoints: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, tuple[Address, ...]] = field(default_factory=dict)

    @property
    def sandbox(self) -> str:
        return str(netns.NETNS / self.space)


class Engine:
    """Docker, and what it knows."""

    def __init__(self, directory: Path, intent: Intent, node: Node) -> None:
        self.directory = directory
        self.clock = Clock()
        self.joined: list[Workload] = []
        self.networks: dict[str, list[str]] = {}
        self.containers: list[Container] = []
        self.cluster = intent, node
        self.restart()

    def restart(self) -> None:
        """The plugin begins anew."""
        self.driver = Driver(self.directory, lambda: self.cluster, self.clock, self.joined.append, Published())

    def call(self, method: str, **body: Any) -> Mapping[str, Any]:
        return self.driver.answer(method, json.dumps(body).encode())

    def ledger(self) -> Ledger:
        return ledger_file.read(self.directory)

    def seen(self) -> Seen:
        """As Docker would answer."""
        of = [item for container in self.containers for item in container.endpoints.items()]
        own = frozenset(a for container in self.containers for found in container.addresses.values() for a in found)
        return Seen(frozenset(self.networks), frozenset(endpoint for _, endpoint in of), own)

    def network(self, *pools: str, **options: str) -> str:
        """`docker network create`; the pools of IPv4 and IPv6."""
        asked = {"AddressSpace": "bgpctl", "Pool": "", "SubPool": "", "Options": {"pool": ",".join(pools)}}
        found = [self.call("IpamDriver.RequestPool", **asked, V6=version == 6) for version in (4, 6)[: len(pools)]]
        data = [{"AddressSpace": "bgpctl", "Pool": item["Pool"]} for item in found]
        name = new_id()
        own = {"com.docker.network.generic": options}
        self.call("NetworkDriver.CreateNetwork", NetworkID=name, Options=own, IPv4Data=data[:1], IPv6Data=data[1:])
        self.networks[name] = [item["PoolID"] for item in found]
        return name

    def create(self, network: str, address: str = "", ports: Any = (), mac: str = "") -> tuple[str, list[str]]:
        """An endpoint and its addresses, not connected yet."""
        pools = self.networks[network]
        asked = [address, *("" for _ in pools[1:])]
        own = [
            self.call("IpamDriver.RequestAddress", PoolID=pool, Address=text, Options=None)["Address"]
            for pool, text in zip(pools, asked, strict=True)
        ]
        endpoint = new_id()
        interface = {"Address": own[0], "AddressIPv6": own[1] if own[1:] else "", "MacAddress": mac}
        options = {PORTMAP: list(ports)}
        self.call(
            "NetworkDriver.CreateEndpoint", NetworkID=network, EndpointID=endpoint, Interface=interface, Options=options
        )
        return endpoint, own

    def connect(self, container: Container, network: str, address: str = "", ports: Any = (), mac: str = "") -> str:
        """A container is connected to a network; the name of its link."""
        endpoint, own = self.create(network, address, ports, mac)
        there = {item["ifname"] for item in netns.ip_shows(("link", "show"), container.space)}
        inner = next(name for name in ("eth0", "eth1", "eth2") if name not in there)
        body = {"NetworkID": network, "EndpointID": endpoint}
        answer = self.call("NetworkDriver.Join", **body, SandboxKey=container.sandbox)
        _move(container, answer, inner, own, is_first=not container.endpoints)
        container.endpoints[network] = endpoint
        container.addresses[network] = tuple(Address.parse(text.partition("/")[0]) for text in own)
        if container not in self.containers:
            self.containers.append(container)
        self.call("NetworkDriver.ProgramExternalConnectivity", **body, Options={PORTMAP: list(ports)})
        wait_until(lambda: sandbox.settle(self.joined[-1]), within_s=15)
        return inner

    def forget(self, container: Container, network: str) -> tuple[str, tuple[Address, ...]]:
        """Docker has no endpoint of the container any more, and the plugin does not hear of it."""
        endpoint, own = container.endpoints.pop(network), container.addresses.pop(network)
        link = self.ledger().of_endpoint(endpoint)
        assert link
        return endpoint, own

    def disconnect(self, container: Container, network: str) -> None:
        """As at the end of a container."""
        endpoint, own = self.forget(container, network)
        body = {"NetworkID": network, "EndpointID": endpoint}
        for method in ("RevokeExternalConnectivity", "Leave", "DeleteEndpoint"):
            self.call(f"NetworkDriver.{method}", **body)
        for pool, address in zip(self.networks[network], own, strict=True):
            self.call("IpamDriver.ReleaseAddress", PoolID=pool, Address=str(address))


def _move(container: Container, answer: Mapping[str, Any], inner: str, own: list[str], *, is_first: bool) -> None:
    """Libnetwork: the link is moved, named, up; then its addresses and the routes."""
    source = answer["InterfaceName"]["SrcName"]
    netns.ip([f"link set {source} netns {container.space}"])
    netns.ip(
        [
            f"link set {source} name {inner}",
            *(f"address add {text} dev {inner}{' nodad' if ':' in text else ''}" for text in own),
            f"link set {inner} up",
            *(f"route add {route['Destination']} dev {inner} scope link" for route in answer["StaticRoutes"]),
        ],
        container.space,
    )
    if is_first:
        gateways = [answer[key] for key in ("Gateway", "GatewayIPv6") if answer.get(key)]
        netns.ip([f"route add default via {gateway} dev {inner}" for gateway in gateways], container.space)
