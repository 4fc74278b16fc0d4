"""
The operations of one encapsulation on Linux: one file or package each beside this one implements them.

Refuses to know: which encapsulations there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, Protocol

from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.migration.probes import Probe
from bgpctl.core.net.objects import Decap, Link, LinkKind, Traffic
from bgpctl.kernel.decode import LinkFacts, Names
from bgpctl.kernel.links import Links
from bgpctl.kernel.netlink import Netlink
from bgpctl.kernel.probe_packets import Wrapping
from bgpctl.kernel.scene import Scene

AUTO: Final = "auto"
"""The driver is selected by what works on the host."""


class Devices(Protocol):
    """
    The devices of one encapsulation in the network namespace in which it was opened. Methods that change or read the
    kernel raise OSError with errno and text.
    """

    def recognised(self, link: Link) -> Link:
        """The link with its kind of this encapsulation, where only its driver recognises a complete device."""

    def put(self, wanted: Link, scene: Scene) -> None:
        """Create or mend the device; nothing changes where it is as wanted."""

    def remove(self, name: str, scene: Scene) -> None:
        """Remove the device and what belongs to it."""

    def decaps(self, links: Iterable[Link]) -> frozenset[Decap]:
        """The decapsulation in force. Raises Unavailable where it cannot be read."""

    def put_decap(self, decap: Decap) -> None:
        """Accept the senders of `decap` in place of those of an earlier one of the same link, without a gap."""

    def remove_decap(self, link: str, scene: Scene) -> None:
        """Decapsulate nothing any more; absent is no error."""

    def port_ids(self) -> frozenset[int]:
        """The netlink sockets through which it changes the kernel, beside those that it was opened with."""

    def close(self) -> None:
        """Close the sockets; the kernel's state stays."""


class Implementation(Protocol):
    """One encapsulation on Linux. Safe in any thread, and about the network namespace that this is in."""

    @property
    def encapsulation(self) -> Encapsulation:
        """Its identity."""

    @property
    def drivers(self) -> tuple[str, ...]:
        """The drivers that an operator may select, AUTO first; none where there is no choice."""

    @property
    def drivers_help(self) -> str:
        """Their description for an operator."""

    @property
    def wrappings(self) -> Collection[Wrapping]:
        """How a prober sees its packets, where it sees them before their outer header is gone."""

    def kind_of(self, facts: LinkFacts, names: Names) -> LinkKind | None:
        """The kind of an observed link, if its message alone identifies it as one of this encapsulation."""

    def devices(self, netlink: Netlink, links: Links, driver: str) -> Devices | None:
        """Its devices, as one of the drivers makes them; None where it needs none."""

    def send(self, probe: Probe, request: bytes) -> bool:
        """Send a probe's request, a whole IP packet; True if it was sent. Raises OSError if the kernel refuses."""

    def traffic(self, netlink: Netlink, facts: LinkFacts, message: bytes) -> Traffic | None:
        """The traffic through a link, if that is its device. Raises OSError."""

    def survey(self, *, tried: bool) -> object:
        """
        The abilities of the host, for the checks of its behaviour in the core. `tried`: in a network namespace that
        no other program sees, in which links may be made.
        """

    def hint(self, link: Link, code: int) -> str | None:
        """A hint for the operator where putting the link was refused with this errno."""
