"""
Links and addresses. They are changed through pyroute2: in few calls, because it silently drops arguments that it does
not know.

Refuses to know: the present and the wanted state.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeAlias

from bgpctl.core.net.addresses import InterfaceAddress
from bgpctl.core.net.objects import ALIAS, Link, Sysctl
from bgpctl.kernel import sysctl
from bgpctl.kernel.decode import LinkFacts, link_facts
from bgpctl.kernel.encode import IFINFOMSG, RTM_GETLINK
from bgpctl.kernel.netlink import Netlink, open_socket, port_id_of

Arguments: TypeAlias = Mapping[str, object]
"""Keyword arguments of pyroute2's `link`."""

_ADDR_GEN_NONE: Final = "1"  # IN6_ADDR_GEN_MODE_NONE
_IFA_F_NODAD: Final = 2


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
    Have the link take no router advertisement and no redirect from the moment it is up. What holds from then on is
    declared with the link; a node without IPv6 has none of these.
    """
    for key in ("accept_ra", "accept_redirects"):
        with suppress(FileNotFoundError):
            sysctl.write(Sysctl(f"net/ipv6/conf/{name}/{key}", "0"))


def list_links(netlink: Netlink) -> tuple[LinkFacts, ...]:
    """Every link of the namespace. Raises Unavailable."""
    return tuple(map(link_facts, netlink.dump(RTM_GETLINK, IFINFOMSG.pack(0, 0, 0, 0, 0))))


class Links:
    """
    Acts in the network namespace in which it was made. Every method raises OSError with the kernel's errno and text.

    Raises:
        Unavailable: no netlink here.
    """

    def __init__(self) -> None:
        # asyncio, on which pyroute2 stands, takes netlink for UDP and insists on a datagram socket.
        self._socket = open_socket(socket.SOCK_DGRAM)
        self.port_id = port_id_of(self._socket)

    def close(self) -> None:
        """Release the socket."""
        self._socket.close()

    def create(self, arguments: Arguments) -> None:
        """Make a link."""
        with self._conversation() as ipr:
            ipr.link("add", **arguments)

    @contextmanager
    def creating(self, arguments: Arguments) -> Iterator[None]:
        """Make a link, and remove it again if what follows fails: without our alias it would be a foreign object."""
        self.create(arguments)
        try:
            yield
        except OSError:
            with self._conversation() as ipr:
                ipr.link("del", ifname=arguments["ifname"])
            raise

    def change(self, index: int, arguments: Arguments) -> None:
        """Set attributes of the link with this interface index; none asked for, nothing done."""
        if arguments:
            with self._conversation() as ipr:
                ipr.link("set", index=index, **arguments)

    def remove(self, index: int) -> None:
        """Delete a link and all that stands on it."""
        with self._conversation() as ipr:
            ipr.link("del", index=index)

    def add_address(self, index: int, address: InterfaceAddress) -> None:
        """EEXIST if it is there: replacing an equal address would send all listeners an event."""
        with self._conversation() as ipr:
            # IPv6 would first run duplicate address detection, for a second or more.
            unasked = {"flags": _IFA_F_NODAD} if address.address.version == 6 else {}
            ipr.addr("add", index=index, address=str(address.address), prefixlen=address.length, **unasked)

    def remove_address(self, index: int, address: InterfaceAddress) -> None:
        """EADDRNOTAVAIL if it is not there."""
        with self._conversation() as ipr:
            ipr.addr("del", index=index, address=str(address.address), prefixlen=address.length)

    @contextmanager
    def _conversation(self) -> Iterator[Any]:
        """
        A pyroute2 client on our socket. A new one each time (about 1 ms): one that is kept works in one thread only,
        and another's requests would go out on a socket, and in a namespace, of that thread's own.

        Imported at the first change: an eighth of a second and 12 MB, which an agent that finds its links does without.
        """
        from pyroute2 import IPRoute  # noqa: PLC0415
        from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

        with IPRoute(use_socket=self._socket.dup(), ext_ack=True) as ipr:
            try:
                yield ipr
            except NetlinkError as error:
                raise OSError(error.code, error.args[1]) from error
