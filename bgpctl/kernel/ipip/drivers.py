"""
The drivers of IP in IP, and the choice: the one in use, else the kernel's module if it works, else BPF.

Refuses to know: how either does it.
"""

from __future__ import annotations

import errno
from typing import Final, Protocol

from bgpctl.core.fabric.ipip import LINK
from bgpctl.core.net.objects import ALIAS, Decap, Link
from bgpctl.kernel.decode import LinkFacts
from bgpctl.kernel.ipip.bpf import BpfIpip
from bgpctl.kernel.ipip.module import KernelIpip
from bgpctl.kernel.links import Links, list_links
from bgpctl.kernel.netlink import Netlink
from bgpctl.kernel.protocol import AUTO

DRIVERS: Final = (AUTO, "kernel", "bpf")
"""The choices of an operator."""
KINDS: Final = frozenset({"ipip", "veth"})
"""IFLA_INFO_KIND of the devices that the drivers make."""


class IpipDriver(Protocol):
    """Makes tunl0 and its decapsulation. Every method may raise OSError with errno and text."""

    @property
    def name(self) -> str:
        """`kernel` or `bpf`."""

    def recognises(self, name: str, kind: str) -> bool:
        """True if an observed link (`kind` is IFLA_INFO_KIND) is a whole, working tunnel device of this driver."""

    def put_link(self, link: Link) -> None:
        """Create or mend the device; nothing changes where it is as wanted."""

    def remove_link(self, name: str) -> None:
        """Remove the device and what belongs to it; absent is no error."""

    def put_decap(self, decap: Decap) -> None:
        """Accept the senders of `decap` in place of those of an earlier one of the same link, without a gap."""

    def remove_decap(self, link: str) -> None:
        """Decapsulate nothing any more; absent is no error."""

    def observe_decaps(self) -> frozenset[Decap]:
        """The decapsulation that is in force, asked of the kernel."""

    def port_ids(self) -> frozenset[int]:
        """The netlink sockets through which the driver changes the kernel."""

    def close(self) -> None:
        """Close the sockets; the kernel's state stays."""


def choose_driver(links: Links, wanted: str = AUTO) -> IpipDriver:
    """
    `kernel` if the ipip module works in this namespace, else `bpf`; `wanted`, one of DRIVERS, may name one of them. A
    tunnel that BPF has made stays BPF's unless `kernel` is wanted: another driver has to make it anew, which loses
    packets. To find out, `links` may make a tunl0 and remove it again.

    Raises:
        OSError: no driver works here; the text names what is missing.
        Unavailable: no netlink here.
    """
    present = _link(LINK)
    by_bpf = present is not None and (present.kind, present.alias) == ("veth", ALIAS)
    if wanted == "kernel" or (wanted == AUTO and not by_bpf and _module_works(links, present)):
        return KernelIpip()
    return BpfIpip()


def _module_works(links: Links, present: LinkFacts | None) -> bool:
    """
    A tunl0 of kind ipip is there or can be had. Asking for one loads the module, and a module that is loaded brings
    a tunl0 into every namespace by itself (EEXIST), unless net.core.fb_tunnels_only_for_init_net is set.
    """
    if present is not None:
        return present.kind == "ipip"
    if _can_be_made(links, LINK):
        return True
    brought = _link(LINK)
    return brought is not None and brought.kind == "ipip"


def _can_be_made(links: Links, name: str) -> bool:
    try:
        links.create({"ifname": name, "kind": "ipip"})
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EEXIST):
            raise
        return False
    made = _link(name)
    if made:
        links.remove(made.number)
    return True


def _link(name: str) -> LinkFacts | None:
    netlink = Netlink()
    try:
        return next((facts for facts in list_links(netlink) if facts.name == name), None)
    finally:
        netlink.close()
