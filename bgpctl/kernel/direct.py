"""
Packets without encapsulation: no device is needed, and a probe is a packet to a neighbour.

Refuses to know: tunnels.
"""

from __future__ import annotations

import socket
from contextlib import closing
from typing import Final

from bgpctl.core.cluster.encapsulation import DIRECT
from bgpctl.core.migration.probes import Probe
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import Link, LinkKind, Traffic
from bgpctl.kernel import encode, probe_packets
from bgpctl.kernel.decode import LinkFacts, Names
from bgpctl.kernel.links import Links
from bgpctl.kernel.netlink import Netlink, attributes
from bgpctl.kernel.probe_packets import Wrapping

_DISCARD_PORT: Final = 9
# NUD_REACHABLE, STALE, DELAY, PROBE, NOARP, PERMANENT: the hardware address is known (linux/neighbour.h).
_NUD_VALID: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80


class DirectImplementation:
    """The underlay's own links do it."""

    encapsulation: Final = DIRECT
    drivers: Final[tuple[str, ...]] = ()
    drivers_help: Final = ""
    wrappings: Final[tuple[Wrapping, ...]] = ()

    def kind_of(self, facts: LinkFacts, names: Names) -> LinkKind | None:
        del facts, names
        return None

    def devices(self, netlink: Netlink, links: Links, driver: str) -> None:
        del netlink, links, driver

    def send(self, probe: Probe, request: bytes) -> bool:
        """It waits until the hardware address of the gateway is known."""
        link, gateway = probe.hop.link, probe.hop.gateway
        if gateway is None:
            return True
        mac = _neighbour(link, gateway)
        if mac is None:
            _ask_for(link, gateway)
            return False
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as out:
            out.sendto(request, (link, probe_packets.FAMILIES[gateway.version].ethertype, 0, 0, mac))
        return True

    def traffic(self, netlink: Netlink, facts: LinkFacts, message: bytes) -> Traffic | None:
        del netlink, facts, message
        return None

    def survey(self, *, tried: bool) -> object:
        del tried
        return None

    def hint(self, link: Link, code: int) -> str | None:
        del link, code
        return None


def send_by_routes(target: Address, request: bytes) -> bool:
    """Send a whole IP packet as the kernel routes it. Raises OSError."""
    with probe_packets.raw_socket(target.version) as out:
        out.sendto(request, (str(target), 0))
    return True


def _neighbour(link: str, address: Address) -> bytes | None:
    """The hardware address, from the kernel's table of ARP or NDP."""
    index, family = socket.if_nametoindex(link), probe_packets.FAMILIES[address.version].family
    with closing(Netlink()) as kernel:
        entries = kernel.dump(encode.RTM_GETNEIGH, encode.NDMSG.pack(family, 0, 0, 0, 0))
    for entry in entries:
        _, found_at, state, _, _ = encode.NDMSG.unpack_from(entry)
        found = attributes(entry, encode.NDMSG.size)
        if (found_at, found.get(encode.NDA_DST)) == (index, address.packed) and state & _NUD_VALID:
            return found.get(encode.NDA_LLADDR)
    return None


def _ask_for(link: str, address: Address) -> None:
    """Have the kernel ask for the hardware address, as it does for any packet."""
    with socket.socket(probe_packets.FAMILIES[address.version].family, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
        out.sendto(b"", (str(address), _DISCARD_PORT))
