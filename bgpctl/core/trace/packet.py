"""
A packet as a kernel sees it: what decides where it goes, and what of it a filter may ask for.

Refuses to know: payload, options, time to live, fragments.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from bgpctl.core.net.addresses import Address

ICMP: Final = 1
IP_IN_IP: Final = 4
TCP: Final = 6
UDP: Final = 17
ICMPV6: Final = 58
"""IANA's protocol numbers."""
_ECHO: Final = {4: ICMP, 6: ICMPV6}
DEFAULT_BYTES: Final = 84
"""An echo request as ping sends it, over IPv4."""


def echo_protocol(version: int) -> int:
    """The protocol of ping."""
    return _ECHO[version]


class Packet(NamedTuple):
    """
    One packet.

    Attributes:
        size_bytes: of the IP packet, header included.
        df: it may not be cut into fragments (RFC 791); of IPv6 that is always so.
        protocol: IANA's number of what it carries.
        ports: source and destination, for TCP and UDP; None where they are not known.
        mark: the fwmark that it has in the kernel.
        answers: it belongs to a connection that connection tracking has seen packets of in the other direction.
        inner: the packet inside, if a tunnel of ours carries it.
        wire: the numbers that the tunnel writes (LinkKind.wire).
    """

    source: Address
    destination: Address
    size_bytes: int = DEFAULT_BYTES
    df: bool = True
    protocol: int = ICMP
    ports: tuple[int, int] | None = None
    mark: int = 0
    answers: bool = False
    inner: Packet | None = None
    wire: tuple[tuple[str, int], ...] = ()

    @property
    def version(self) -> int:
        return self.destination.version

    @property
    def may_be_cut(self) -> bool:
        """True if a router may send it on in fragments."""
        return self.version == 4 and not self.df

    def answered(self) -> Packet:
        """The packet that answers this one."""
        ports = (self.ports[1], self.ports[0]) if self.ports else None
        return self._replace(source=self.destination, destination=self.source, ports=ports, answers=True)
