"""
IP in IP as all other encapsulations are asked for it.

Refuses to know: how either driver does it.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from bgpctl.core.cluster.encapsulation import IPIP
from bgpctl.core.fabric.ipip import LINK, HostFacts, Ipip
from bgpctl.core.migration.probes import Probe
from bgpctl.core.net.objects import Decap, Link, LinkKind, Plain, Traffic
from bgpctl.kernel import decode, modules, probe_packets
from bgpctl.kernel.bpf import tcx
from bgpctl.kernel.decode import LinkFacts, Names
from bgpctl.kernel.ipip import bpf, module
from bgpctl.kernel.ipip.drivers import DRIVERS, KINDS, IpipDriver, choose_driver
from bgpctl.kernel.links import Links
from bgpctl.kernel.netlink import Netlink
from bgpctl.kernel.probe_packets import Wrapping
from bgpctl.kernel.scene import Scene
from bgpctl.ports import Unavailable

_HEADER_BYTES: Final = 20
_PROTOCOL_AT: Final = 9
_SOURCE_AT: Final = 12


class IpipImplementation:
    """One device in each namespace, and a driver for it that is selected when it is first needed."""

    encapsulation: Final = IPIP
    drivers: Final = DRIVERS
    drivers_help: Final = (
        "The driver of IP in IP: the ipip module, BPF programs, or the one in use, else the module where there is one."
    )
    wrappings: Final = (Wrapping(4, _PROTOCOL_AT, socket.IPPROTO_IPIP, _HEADER_BYTES, _SOURCE_AT),)
    """They are seen where they come in, before BPF takes them out of their outer header."""

    def kind_of(self, facts: LinkFacts, names: Names) -> LinkKind | None:
        """None: only its driver recognises a complete device (IpipDevices.recognised)."""
        del facts, names
        return None

    def devices(self, netlink: Netlink, links: Links, driver: str) -> IpipDevices:
        return IpipDevices(netlink, links, driver)

    def send(self, probe: Probe, request: bytes) -> bool:
        # The outer header has the inner one's DF bit, as the device's packets have.
        whole = probe.size_bytes > 0
        header = probe_packets.header(len(request), socket.IPPROTO_IPIP, probe.local, probe.remote, whole=whole)
        with probe_packets.raw_socket(4) as out:
            out.sendto(header + request, (str(probe.remote), 0))
        return True

    def traffic(self, netlink: Netlink, facts: LinkFacts, message: bytes) -> Traffic | None:
        match facts.name, facts.kind:
            case (name, "ipip") if name == LINK:
                return decode.link_traffic(message)._replace(dropped_packets=module.dropped_packets())
            case (name, "veth") if name == LINK:
                return bpf.traffic(netlink)  # packets never reach the device itself
            case _:
                return None

    def survey(self, *, tried: bool) -> HostFacts:
        lacks = _bpf_missing() if tried else "not tried: no network namespace"
        return HostFacts(modules.is_there("ipip"), lacks, tcx.is_known())

    def hint(self, link: Link, code: int) -> str | None:
        if isinstance(link.kind, Ipip) and code == errno.EEXIST:
            return f"{link.name} is another program's, or the ipip module's: --ipip-driver kernel can use the latter"
        return None


def _bpf_missing() -> str | None:
    try:
        bpf.BpfIpip().close()
    except OSError as error:
        return error.strerror
    return None


class IpipDevices:
    """`tunl0` and its decapsulation; `wanted` is one of DRIVERS."""

    def __init__(self, netlink: Netlink, links: Links, wanted: str) -> None:
        self._netlink = netlink
        self._links = links
        self._wanted = wanted
        self._driver: IpipDriver | None = None
        self._may_be_left_behind = True

    def _selected(self, *, anew: bool = False) -> IpipDriver:
        """The driver, selected at the first call and with `anew`. Raises OSError: none works."""
        if self._driver is None or anew:
            former, self._driver = self._driver, choose_driver(self._links, self._wanted)
            if former:
                former.close()
        return self._driver

    def recognised(self, link: Link) -> Link:
        """The tunnel device as such where its driver confirms it: without its program a device carries nothing."""
        if link.name != LINK or not isinstance(link.kind, Plain) or link.kind.kind not in KINDS:
            return link
        try:
            driver = self._selected()
            whole = driver.recognises(link.name, link.kind.kind)
        except OSError:
            return link  # no driver works here, so none can confirm the device
        return replace(link, kind=Ipip(driver.name), mac=None) if whole else link

    def put(self, wanted: Link, scene: Scene) -> None:
        # The module may have come since the last tunnel was made, and without one, nothing goes through it.
        self._selected(anew=wanted.name not in scene.links).put_link(wanted)

    def remove(self, name: str, scene: Scene) -> None:
        del scene
        self._selected().remove_link(name)

    def decaps(self, links: Iterable[Link]) -> frozenset[Decap]:
        has_tunnel = any(isinstance(link.kind, Ipip) for link in links)
        # Without a tunnel, read once at the start and while an earlier read found something.
        if not has_tunnel and not self._may_be_left_behind:
            return frozenset()
        try:
            found = self._selected().observe_decaps() if has_tunnel else bpf.left_behind(self._netlink)
        except OSError as error:
            raise Unavailable(f"cannot read which packets are decapsulated: {error}") from error
        self._may_be_left_behind = has_tunnel or bool(found)
        return found

    def put_decap(self, decap: Decap) -> None:
        self._selected().put_decap(decap)

    def remove_decap(self, link: str, scene: Scene) -> None:
        if link in scene.indexes:
            self._selected().remove_decap(link)
        else:
            bpf.stop_receiving(self._netlink)

    def port_ids(self) -> frozenset[int]:
        return self._driver.port_ids() if self._driver else frozenset()

    def close(self) -> None:
        if self._driver:
            self._driver.close()
