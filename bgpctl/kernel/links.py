"""
Links and addresses: the requests that change them, one by one, and a list of links.

Refuses to know: the present and the wanted state, the bytes of a request (link_messages.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from bgpctl.core.net.addresses import InterfaceAddress
from bgpctl.core.net.objects import ALIAS, Link, Sysctl
from bgpctl.kernel import link_messages, sysctl
from bgpctl.kernel.decode import LinkFacts, link_facts
from bgpctl.kernel.encode import IFINFOMSG, RTM_GETLINK
from bgpctl.kernel.link_messages import Arguments
from bgpctl.kernel.netlink import Netlink, Request

_LEARNING_NOTHING: Final = (
    ("net/ipv4/conf/{}/accept_redirects", "0"),
    ("net/ipv4/conf/{}/arp_ignore", "8"),
    ("net/ipv6/conf/{}/accept_ra", "0"),
    ("net/ipv6/conf/{}/accept_redirects", "0"),
)
_ADDR_GEN_NONE: Final = "1"  # IN6_ADDR_GEN_MODE_NONE


def mending(wanted: Link, present: Link) -> Arguments:
    """
    The attributes that must be set on a link, and only those: setting an equal MAC again drops the link's neighbours.

    The kernel does these in the order MTU, MAC, alias, state; none of the first three takes the link down.
    """
    found: dict[str, object] = {}
    if wanted.mtu_bytes != present.mtu_bytes:
        found["mtu"] = wanted.mtu_bytes
    if wanted.mac not in (None, present.mac):
        found["address"] = wanted.mac
    if wanted.owned != present.owned:
        found["ifalias"] = ALIAS if wanted.owned else ""
    if wanted.up != present.up:
        found["state"] = "up" if wanted.up else "down"
    return found


def keep_link_local_away(name: str) -> None:
    """
    Have the kernel add no IPv6 link-local address of its own, which would appear late: the neighbours of a tunnel are
    static. Takes effect only before the link goes up.
    """
    with suppress(FileNotFoundError):  # IPv6 may be switched off
        sysctl.write(Sysctl(f"net/ipv6/conf/{name}/addr_gen_mode", _ADDR_GEN_NONE))


def learn_nothing(name: str) -> None:
    """
    Have the link take no router advertisement, no redirect and no ARP request (arp_ignore 8), as far as that can be
    set: a node without IPv6 has not all of these, and in a container they are read-only. The filter of the device drops
    all of this anyway.
    """
    for key, value in _LEARNING_NOTHING:
        with suppress(OSError):
            sysctl.write(Sysctl(key.format(name), value))


def list_links(netlink: Netlink) -> tuple[LinkFacts, ...]:
    """Every link of the namespace. Raises Unavailable."""
    return tuple(map(link_facts, netlink.dump(RTM_GETLINK, IFINFOMSG.pack(0, 0, 0, 0, 0))))


class Links:
    """
    Acts in the network namespace in which it was made. Every method raises OSError with the kernel's errno and text,
    and Unavailable when the kernel gives no answer.

    Raises:
        Unavailable: no netlink here.
    """

    def __init__(self) -> None:
        self._netlink = Netlink()
        self.port_id = self._netlink.port_id

    def close(self) -> None:
        """Release the socket."""
        self._netlink.close()

    def create(self, arguments: Arguments) -> None:
        """Make a link."""
        self._do(link_messages.create_link(arguments))

    @contextmanager
    def creating(self, arguments: Arguments) -> Iterator[None]:
        """Make a link, and remove it again if what follows fails: without our alias it would be a foreign object."""
        self.create(arguments)
        try:
            yield
        except OSError:
            self._do(link_messages.remove_link_named(str(arguments["ifname"])))
            raise

    def change(self, index: int, arguments: Arguments) -> None:
        """Set attributes of the link with this interface index; none asked for, nothing done."""
        if arguments:
            self._do(link_messages.change_link(index, arguments))

    def remove(self, index: int) -> None:
        """Delete a link and all that stands on it."""
        self._do(link_messages.remove_link(index))

    def add_address(self, index: int, address: InterfaceAddress, protocol: int = 0) -> None:
        """EEXIST if it is there: replacing an equal address would send all listeners an event. `protocol` marks it."""
        self._do(link_messages.add_address(index, address, protocol))

    def remove_address(self, index: int, address: InterfaceAddress) -> None:
        """EADDRNOTAVAIL if it is not there."""
        self._do(link_messages.remove_address(index, address))

    def _do(self, request: Request) -> None:
        for refusal in self._netlink.request((request,)):
            raise OSError(refusal.errno, refusal.text or os.strerror(refusal.errno))
