"""
Facts of this node's own kernel about the underlay: where the node's address lives, how another is reached.

Refuses to know: pools, blocks, BGP. Reads only objects that are not ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bgpctl.core.net.addresses import Address, InterfaceAddress
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.fib import Fib, ResolvedNextHop, foreign_fib
from bgpctl.core.net.objects import MAIN_TABLE, RouteType

_LOOPBACK: Final = "lo"
"""The kernel's name for it in every network namespace."""


@dataclass(frozen=True, slots=True)
class Underlay:
    """An address of this node, the link that carries it, its MTU in bytes, and its other addresses of the version."""

    address: InterfaceAddress
    link: str
    mtu_bytes: int
    also: tuple[Address, ...] = ()

    @property
    def version(self) -> int:
        return self.address.address.version


def underlay_of(dataplane: Dataplane, own: InterfaceAddress) -> Underlay | None:
    """
    Where an address of this node is; None while no link that is up carries it. An address on the loopback device, as
    nodes with several uplinks have it, stands for the link of the default route.
    """
    carriers: set[str | None] = {item.link for item in dataplane.addresses if item.address.address == own.address}
    if carriers == {_LOOPBACK}:
        carriers = {_default_link(dataplane, own.address.version)}
    links = [link for link in dataplane.links if link.name in carriers and link.up and not link.owned]
    best = min(links, key=lambda link: link.name, default=None)
    if best is None:
        return None
    others = {item.address.address for item in dataplane.addresses if item.link == best.name} - {own.address}
    also = sorted(other for other in others if other.version == own.address.version)
    return Underlay(own, best.name, best.mtu_bytes, tuple(also))


def _default_link(dataplane: Dataplane, version: int) -> str | None:
    return _link_to(foreign_fib(dataplane), Address(version, 0))


def outer_mtu_bytes(dataplane: Dataplane, underlay: Underlay, remotes: Iterable[Address]) -> int:
    """
    The smallest MTU of the links by which encapsulated packets leave for `remotes`: not all leave by the underlay
    link that has the node's address.
    """
    return smallest_mtu_bytes(dataplane, underlay, (outer_link(dataplane, underlay, remote) for remote in remotes))


def outer_link(dataplane: Dataplane, underlay: Underlay, remote: Address) -> str | None:
    """The link by which encapsulated packets leave for `remote`; None if none leads there."""
    if underlay.address.network.holds(remote):
        return underlay.link
    return _link_to(foreign_fib(dataplane), remote)


def smallest_mtu_bytes(dataplane: Dataplane, underlay: Underlay, links: Iterable[str | None]) -> int:
    """The smallest MTU of the underlay's link and of these."""
    mtus = {link.name: link.mtu_bytes for link in dataplane.links}
    return min(mtus[link] for link in {underlay.link, *links} if link in mtus)


def resolve(dataplane: Dataplane, remote: Address) -> ResolvedNextHop | None:
    """How packets leave for `remote` by the main table's routes that are not ours; None if none leads there."""
    return _resolved(foreign_fib(dataplane), remote)


def _link_to(fib: Fib, remote: Address) -> str | None:
    found = _resolved(fib, remote)
    return found.link if found else None


def _resolved(fib: Fib, remote: Address) -> ResolvedNextHop | None:
    """Routes that are an error (blackhole, unreachable) are passed over: a wider one leads on in the underlay."""
    leading = (route for route in fib.matches(MAIN_TABLE, remote) if route.type is RouteType.UNICAST)
    best = next(leading, None)
    return fib.resolve(best, remote) if best else None
