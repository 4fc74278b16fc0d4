"""
A topology as a compose file: Docker's networks are the segments, and each node's workloads share one with it.

Refuses to know: engines; how a lab is cabled without Docker's networks (build.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.lab.topology import Host, Program, Router, Topology, Workload

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""A name that Compose takes for a service."""
_HEAD: Final = """\
x-part: &part
  image: ${BGPCTL_IMAGE:-bgpctl}
  build: {context: ., args: {BASE_IMAGE: "${BASE_IMAGE:-debian:bookworm-slim}"}}
  init: true
  stop_grace_period: 2s
  healthcheck: {test: [CMD, "true"], interval: 5s}
x-router: &router
  <<: *part
  cap_drop: [ALL]
  cap_add: [NET_ADMIN, NET_RAW]
  entrypoint: [/bin/sh, -ec]
  sysctls: {net.ipv4.ip_forward: "1", net.ipv4.conf.all.rp_filter: "0", net.ipv4.conf.default.rp_filter: "0"}
x-node: &node
  <<: *router
  # SYS_ADMIN is for IPIP by BPF programs; where there is the ipip module, and for VXLAN, the others are enough.
  cap_add: [NET_ADMIN, NET_BIND_SERVICE, NET_RAW, SYS_ADMIN]
  # /proc/sys is read-only in there: devices that the agent makes inherit what it would otherwise write.
  sysctls:
    net.ipv4.ip_forward: "1"
    net.ipv4.conf.all.rp_filter: "0"
    net.ipv4.conf.default.rp_filter: "2"
    net.ipv6.conf.default.addr_gen_mode: "1"
  tmpfs: [/run]
  healthcheck: {interval: 10s}
# A bridge without an address: a packet without a route in the lab does not leave through the host. Docker's rules
# about addresses see bridged packets too (br_netfilter), so workload packets need networks that are neither
# masqueraded nor closed to other bridges.
x-bridge: &bridge
  com.docker.network.bridge.inhibit_ipv4: "true"
  com.docker.network.bridge.enable_ip_masquerade: "false"
  com.docker.network.bridge.gateway_mode_ipv4: routed
"""


class Inexpressible(Exception):
    """A compose file cannot express the topology; the message names the part."""


@dataclass(slots=True)
class _File:
    """Networks and services so far, each as its text by its name."""

    networks: dict[str, str] = field(default_factory=dict)
    services: dict[str, str] = field(default_factory=dict)

    def network(self, name: str, subnet: Prefix, gateway: Address, more: Mapping[str, str]) -> None:
        own = "".join(f'      {key}: "{value}"\n' for key, value in more.items())
        options = f"    driver_opts:\n      <<: *bridge\n{own}"
        ipam = f"    ipam: {{config: [{{subnet: {subnet}, gateway: {gateway}}}]}}\n"
        _put(self.networks, name, f"  {name}:\n{options}{ipam}")

    def service(self, name: str, profile: str, kind: str, links: Mapping[str, Address], lines: Sequence[str]) -> None:
        if not _NAME.fullmatch(name):
            raise Inexpressible(f"{name} cannot be the name of a service: letters, digits, _, . and -")
        profiles = f"    profiles: [{profile}]\n" if profile else ""
        networks = "".join(f"      {network}: {{ipv4_address: {address}}}\n" for network, address in links.items())
        body = "".join(f"    {line}\n" for line in lines)
        _put(self.services, name, f"  {name}:\n    <<: *{kind}\n{profiles}{body}    networks:\n{networks}")


def _put(texts: dict[str, str], name: str, text: str) -> None:
    if texts.setdefault(name, text) != text:
        raise Inexpressible(f"{name} has two different descriptions")


def export(topology: Topology, profiles: Mapping[str, Topology], made_by: str) -> str:
    """
    The compose file. Parts that only `profiles` have are in their profile; segments, routers and hosts of one name are
    the same for all. `made_by`: the command that made it.

    Raises:
        Inexpressible: IPv6, several subnets or addresses on a segment, borrowed addresses, odd names, other daemons.
    """
    everyone = (topology, *profiles.values())
    file = _File()
    for profile, each in (("", topology), *profiles.items()):
        shared = {router.name for router in topology.routers} | {host.name for host in topology.hosts}
        _segments(file, each, everyone)
        for router in each.routers:
            _router(file, each, router, "" if router.name in shared else profile)
        for host in each.hosts:
            _host(file, each, host, "" if host.name in shared else profile)
        for node in each.intent.nodes:
            _node(file, each, node, profile)
    services, networks = "\n".join(file.services.values()), "".join(file.networks.values())
    return f"# Made by: {made_by}\n\n{_HEAD}\nservices:\n{services}\nnetworks:\n{networks}"


def _segments(file: _File, topology: Topology, everyone: Sequence[Topology]) -> None:
    stations = [station for each in everyone for station in _stations(each)]
    for segment in topology.segments:
        if [subnet.version for subnet in segment.subnets] != [4]:
            raise Inexpressible(f"segment {segment.name}: a network has one IPv4 subnet")
        (subnet,) = segment.subnets
        # Docker reserves the gateway's address, so no part may have it.
        file.network(segment.name, subnet, next(_free(subnet, stations)), {})


def _stations(topology: Topology) -> Iterator[Address]:
    yield from (own.address for router in topology.routers for own in router.addresses)
    yield from (own.address for host in topology.hosts for own in host.addresses)
    yield from (node.address.address for node in topology.intent.nodes)


def _free(subnet: Prefix, used: Sequence[Address]) -> Iterator[Address]:
    """From the last downwards; neither the first nor the broadcast address can be assigned."""
    candidates = (subnet.nth(index) for index in range(subnet.size - 2, 0, -1))
    yield from (address for address in candidates if address not in used)


def _router(file: _File, topology: Topology, router: Router, profile: str) -> None:
    links: dict[str, Address] = {}
    for own in router.addresses:
        segment = _segment(topology, own.address)
        if segment in links:
            raise Inexpressible(f"router {router.name}: one address on each segment")
        links[segment] = own.address
    routes = [f"ip route replace {prefix} via {gateway}" for prefix, gateway in router.routes]
    more, work = _daemon(topology, router) if router.name in topology.runs else ([], ["exec sleep infinity"])
    script = _script("ip route delete default || :", *routes, *work)
    file.service(router.name, profile, "router", links, [*more, *script])


def _daemon(topology: Topology, router: Router) -> tuple[list[str], list[str]]:
    """The needs of a router beside others', and its program."""
    if topology.runs[router.name] is not Program.BIRD:
        raise Inexpressible(f"router {router.name}: of other daemons only BIRD is in the image")
    configure = f"bgpctl lab export bird -f /etc/bgpctl/{topology.file.name} {router.name} >/run/bird.conf"
    more = ["cap_add: [NET_ADMIN, NET_BIND_SERVICE, NET_RAW]", "tmpfs: [/run]", _volumes(topology)]
    return more, [configure, "exec bird -f -c /run/bird.conf -s /run/bird.ctl"]


def _volumes(topology: Topology) -> str:
    return f"volumes: [{_path(topology)}:/etc/bgpctl:ro]"


def _host(file: _File, topology: Topology, host: Host, profile: str) -> None:
    if len(host.addresses) != 1:
        raise Inexpressible(f"host {host.name}: one address")
    address = host.addresses[0].address
    script = _script(*_default_route(topology, address), "exec sleep infinity")
    file.service(host.name, profile, "router", {_segment(topology, address): address}, script)


def _segment(topology: Topology, address: Address) -> str:
    segment = topology.segment_of(address)
    if segment is None:
        raise Inexpressible(f"{address} is on no segment")
    return segment.name


def _default_route(topology: Topology, address: Address) -> Iterator[str]:
    gateway = topology.gateway_of(address)
    yield f"ip route replace default via {gateway}" if gateway else "ip route delete default || :"


def _script(*commands: str) -> list[str]:
    """Compose takes $ for its own unless it is doubled."""
    return ["command:", "  - |", *(f"    {command.replace('$', '$$')}" for command in commands)]


def _node(file: _File, topology: Topology, node: Node, profile: str) -> None:
    if node.name in topology.runs:
        raise Inexpressible(f"node {node.name}: only routers can run another daemon")
    workloads = [workload for workload in topology.workloads if workload.node == node.name]
    links = {_segment(topology, node.address.address): node.address.address}
    commands = list(_default_route(topology, node.address.address))
    for block in sorted({_block(topology, node, workload) for workload in workloads}):
        network = f"{node.name}-pods-{block.first}"
        held = [workload for workload in workloads if block.holds(workload.address)]
        commands += _pods(file, topology, network, block, held, links)
        for workload in held:
            file.service(workload.name, profile, "part", {network: workload.address}, _WORKLOAD)
    more = "".join(f" {word}" for word in topology.driver_options(node.name))
    commands.append(f"exec bgpctl agent run --node {node.name} -f /etc/bgpctl/{topology.file.name}{more}")
    file.service(node.name, profile, "node", links, [_volumes(topology), *_script(*commands)])


_WORKLOAD: Final = ("entrypoint: [sleep, infinity]",)


def _block(topology: Topology, node: Node, workload: Workload) -> Prefix:
    block = next((block for block in topology.intent.blocks_of(node) if block.holds(workload.address)), None)
    if block is None or workload.address_of(6):
        raise Inexpressible(f"workload {workload.name}: one IPv4 address in a block of {node.name}")
    return block


def _pods(
    file: _File,
    topology: Topology,
    network: str,
    block: Prefix,
    workloads: Sequence[Workload],
    links: dict[str, Address],
) -> Iterator[str]:
    """
    The network of workloads, and the node's commands in it: it takes the gateway's address, which Docker assigns to no
    container, and leaves the block's route to the agent.
    """
    free = _free(block, [workload.address for workload in workloads])
    gateway, own = next(free), next(free)
    mtu_bytes = min(map(topology.mtu_bytes, workloads))
    file.network(network, block, gateway, {"com.docker.network.driver.mtu": str(mtu_bytes)})
    links[network] = own
    yield f"set -- $(ip -oneline address show to {own})"
    yield f"ip address add {gateway}/32 dev $2"
    yield f"ip address delete {own}/{block.length} dev $2"
    for workload in workloads:
        yield f"ip route replace {workload.address} dev $2 proto static scope link"


def _path(topology: Topology) -> str:
    """Compose takes what begins with neither . nor / for the name of a volume."""
    directory = str(topology.file.parent)
    return directory if directory.startswith("/") else f"./{directory}"
