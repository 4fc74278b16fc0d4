"""
The kernel of a host as workloads concern it, read by iproute2 as any user may: their links, addresses in use.

Refuses to know: which workloads there should be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bgpctl.attach.netns import ip_shows
from bgpctl.core.net.addresses import Address, Mac, Prefix
from bgpctl.core.net.objects import WORKLOADS

_LOOPBACK: Final = "lo"
_FAMILIES: Final = {4: "-4", 6: "-6"}
_LEADS_NOWHERE: Final = frozenset({"blackhole", "unreachable", "prohibit"})


@dataclass(frozen=True, slots=True)
class Device:
    """A link. `number` is its own in its namespace, `peer` that of the other end of its cable in the other one."""

    name: str
    number: int
    peer: int
    mac: Mac
    mtu_bytes: int
    up: bool
    carrier: bool
    alias: str = ""


def devices(namespace: str | None = None) -> Mapping[str, Device]:
    """All links of a namespace, by name. Raises RuntimeError."""
    return {item["ifname"]: _device(item) for item in ip_shows(("link", "show"), namespace)}


def _device(item: Mapping[str, Any]) -> Device:
    flags = item["flags"]
    up, alias = "UP" in flags, item.get("ifalias", "")
    carrier = "NO-CARRIER" not in flags and up
    mac = Mac(item.get("address", ""))
    return Device(item["ifname"], item["ifindex"], item.get("link_index", 0), mac, item["mtu"], up, carrier, alias)


@dataclass(frozen=True, slots=True)
class NodeSide:
    """
    The node's ends of the cables of workloads.

    Attributes:
        devices: those in the group of workloads, by name.
        routed: by link, the prefixes to which static routes of the main table lead.
        neighbours: the permanent ones, by link and address.
    """

    devices: Mapping[str, Device]
    routed: frozenset[tuple[str, Prefix]]
    neighbours: Mapping[tuple[str, Address], Mac]


def node_side() -> NodeSide:
    """All of it, at the cost of four commands. Raises RuntimeError."""
    shown = ip_shows(("link", "show", "group", str(WORKLOADS)))
    return NodeSide({item["ifname"]: _device(item) for item in shown}, frozenset(_routed()), dict(_permanent()))


def _routed() -> Iterator[tuple[str, Prefix]]:
    for version, family in _FAMILIES.items():
        for item in ip_shows((family, "route", "show", "table", "main", "proto", "static")):
            yield item.get("dev", ""), _prefix(version, item["dst"])


def _permanent() -> Iterator[tuple[tuple[str, Address], Mac]]:
    for item in ip_shows(("neighbour", "show", "nud", "permanent")):
        if "lladdr" in item:
            yield (item["dev"], Address.parse(item["dst"])), Mac(item["lladdr"])


def in_use(blocks: Iterable[Prefix], but: str) -> frozenset[Prefix]:
    """
    The parts of blocks that the kernel has for something: an address, a route in any table, a neighbour with a MAC.
    Those by the link `but` are not counted. Raises RuntimeError.
    """
    return frozenset(found for block in blocks for found in (*_routes(block, but), *_neighbours(block, but)))


def _routes(block: Prefix, but: str) -> Iterator[Prefix]:
    shown = ip_shows((_FAMILIES[block.version], "-d", "route", "show", "table", "all", "root", str(block)))
    for item in shown:
        prefix = _prefix(block.version, item["dst"])
        # The agent's own route for the whole of a block; a block may have one address.
        is_of_block = prefix == block and item.get("type") in _LEADS_NOWHERE
        if item.get("dev") != but and not is_of_block:
            yield prefix


def _neighbours(block: Prefix, but: str) -> Iterator[Prefix]:
    for item in ip_shows((_FAMILIES[block.version], "neighbour", "show", "to", str(block))):
        if "lladdr" in item and item.get("dev") != but:
            yield Address.parse(item["dst"]).host_prefix


def default_routes(namespace: str) -> Iterator[tuple[int, str]]:
    """The IP version and the link of each default route of the main table. Raises RuntimeError."""
    for version, family in _FAMILIES.items():
        for item in ip_shows((family, "route", "show", "default"), namespace):
            yield version, _link(item)


def addresses(namespace: str, device: str) -> frozenset[Address]:
    """The addresses of a link of a namespace. Raises RuntimeError."""
    shown = ip_shows(("address", "show", "dev", device), namespace)
    return frozenset(Address.parse(own["local"]) for item in shown for own in item["addr_info"] if "local" in own)


def carrier_bytes(address: Address) -> int | None:
    """The MTU of the link that carries an address; of the default route's, if that is lo. Raises RuntimeError."""
    shown = ip_shows(("address", "show"))
    mtus = {item["ifname"]: int(item["mtu"]) for item in shown}
    text = str(address)
    carriers = [item["ifname"] for item in shown if any(own.get("local") == text for own in item["addr_info"])]
    if carriers == [_LOOPBACK]:
        carriers = _default_links(address.version)
    return min((mtus[name] for name in carriers if name in mtus), default=None)


def _default_links(version: int) -> list[str]:
    return [_link(item) for item in ip_shows((_FAMILIES[version], "route", "show", "default"))]


def _link(route: Mapping[str, Any]) -> str:
    """Of several next hops the first."""
    hops = route.get("nexthops") or [route]
    return str(hops[0].get("dev", ""))


def _prefix(version: int, text: str) -> Prefix:
    if text == "default":
        return Prefix(version, 0, 0)
    return Prefix.parse(text) if "/" in text else Address.parse(text).host_prefix
