"""
The addresses of this host's links, and the one from which it would send to another host.

Refuses to know: which of them is a node's.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import LinkAddress
from bgpctl.kernel import decode, encode
from bgpctl.kernel.links import list_links
from bgpctl.kernel.netlink import Netlink

_DISCARD_PORT: Final = 9
"""Nothing is sent there."""


def own_addresses() -> Sequence[LinkAddress]:
    """Of the links that are up, in the kernel's order. Raises Unavailable."""
    netlink = Netlink()
    try:
        names = {link.number: link.name for link in list_links(netlink) if link.up}
        bodies = netlink.dump(encode.RTM_GETADDR, encode.IFADDRMSG.pack(0, 0, 0, 0, 0))
        return [found for body in bodies if (found := decode.link_address(body, names))]
    finally:
        netlink.close()


def source_to(target: Address) -> Address | None:
    """The source address of packets to `target` by the kernel's routes; None: it has no route there."""
    family = socket.AF_INET6 if target.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(target), _DISCARD_PORT))
        except OSError:
            return None
        return Address.parse(str(probe.getsockname()[0]).partition("%")[0])
