"""
The door to whoever does IP in IP here, and the choice: the kernel's module if it works, BPF otherwise.

Refuses to know: how either does it.
"""

from __future__ import annotations

from typing import Protocol

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from bgpctl.core.model import IPIP_LINK, Decap, Link


class IpipDriver(Protocol):
    """Makes tunl0 and what it decapsulates. Every method may raise OSError with errno and text."""

    @property
    def name(self) -> str:
        """`kernel` or `bpf`."""

    def recognises(self, name: str, kind: str) -> bool:
        """Whether an observed link (`kind` is IFLA_INFO_KIND) is a whole, working tunnel device of this driver."""

    def put_link(self, link: Link) -> None:
        """Create or mend the device; nothing changes where it is as wanted."""

    def remove_link(self, name: str) -> None:
        """Remove the device and what belongs to it; absent is no error."""

    def put_decap(self, decap: Decap) -> None:
        """Accept what `decap` says, instead of what an earlier one of the same link said, without a gap."""

    def remove_decap(self, link: str) -> None:
        """Decapsulate nothing any more; absent is no error."""

    def observe_decaps(self) -> frozenset[Decap]:
        """What the kernel accepts now, asked of the kernel."""

    def close(self) -> None:
        """Let go; what is in the kernel works on."""


def choose_driver(wanted: str = "auto") -> IpipDriver:
    """`kernel` if the ipip module works in this namespace, else `bpf`."""
    from bgpctl.kernel.ipip_bpf import BpfIpip
    from bgpctl.kernel.ipip_kernel import KernelIpip

    if wanted == "kernel" or (wanted == "auto" and _module_works()):
        return KernelIpip()
    return BpfIpip()


def _module_works() -> bool:
    """A tunl0 of kind ipip is there, or can be had: creating any ipip device loads the module, which makes one."""
    with IPRoute() as ipr:
        present = [link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") for link in ipr.link("dump", ifname=IPIP_LINK)]
        if present:
            return present == ["ipip"]
        try:
            ipr.link("add", ifname=IPIP_LINK, kind="ipip")
        except NetlinkError:
            # EEXIST: loading the module made tunl0 itself. Anything else: no module.
            pass
        return bool(ipr.link_lookup(ifname=IPIP_LINK))
