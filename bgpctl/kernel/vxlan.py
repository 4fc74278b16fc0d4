"""
VXLAN by the kernel's own devices.

Refuses to know: which devices are wanted, whose entries they get.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Mapping
from typing import Final

from bgpctl.core.cluster.encapsulation import VXLAN
from bgpctl.core.fabric.vxlan import OVERHEAD_BYTES, HostFacts, Vxlan, VxlanFrame
from bgpctl.core.migration.probes import Probe
from bgpctl.core.net.addresses import Address, Vni
from bgpctl.core.net.objects import Decap, Drops, Link, LinkKind, Traffic
from bgpctl.kernel import decode, modules, nft, probe_packets, vxlan_guard
from bgpctl.kernel.decode import LinkFacts, Names
from bgpctl.kernel.link_messages import Arguments
from bgpctl.kernel.links import Links, keep_link_local_away, learn_nothing, list_links, mending
from bgpctl.kernel.netlink import Netlink, attributes
from bgpctl.kernel.probe_packets import Wrapping
from bgpctl.kernel.scene import Scene
from bgpctl.kernel.vxlan_guard import Guarded
from bgpctl.ports import Unavailable

_KIND: Final = "vxlan"
# linux/if_link.h
_IFLA_VXLAN_ID, _IFLA_VXLAN_LINK, _IFLA_VXLAN_LOCAL = 1, 3, 4
_IFLA_VXLAN_PORT, _IFLA_VXLAN_LOCAL6, _IFLA_VXLAN_DF = 15, 17, 29
_VNI_VALID: Final = 0x08000000
_TEST_LINKS: Final = (
    {"ifname": "test0", "kind": "veth", "peer": "test1"},
    {"ifname": "test", "kind": _KIND, "vxlan_id": 1, "vxlan_port": 4789, "vxlan_local": "192.0.2.1"},
)


class VxlanImplementation:
    """Every kernel that we know has it, built in or as a module that loads itself."""

    encapsulation: Final = VXLAN
    drivers: Final[tuple[str, ...]] = ()
    drivers_help: Final = ""
    wrappings: Final = tuple(
        Wrapping(version, protocol_at, socket.IPPROTO_UDP, OVERHEAD_BYTES[version], source_at)
        for version, protocol_at, source_at in ((4, 9, 12), (6, 6, 8))
    )
    """The outer source is one of those that a member lets in, and only the outer packet shows it."""

    def kind_of(self, facts: LinkFacts, names: Names) -> LinkKind | None:
        return device_kind(facts, names)

    def devices(self, netlink: Netlink, links: Links, driver: str) -> VxlanDevices:
        del driver
        return VxlanDevices(netlink, links)

    def send(self, probe: Probe, request: bytes) -> bool:
        if isinstance(probe.frame, VxlanFrame):
            send(probe.local, probe.remote, probe.frame, request)
        return True

    def traffic(self, netlink: Netlink, facts: LinkFacts, message: bytes) -> Traffic | None:
        del netlink
        if facts.kind != _KIND:
            return None
        guarded = vxlan_guard.observe([facts.name]).get(facts.name)
        found = decode.link_traffic(message)
        return found._replace(dropped_packets=guarded.dropped_packets, drops=guarded.dropped) if guarded else found

    def survey(self, *, tried: bool) -> HostFacts:
        return HostFacts(_can_be_made() if tried else modules.is_there(_KIND))

    def hint(self, link: Link, code: int) -> str | None:
        match link.kind, code:
            case Vxlan(), errno.EOPNOTSUPP:
                return f"remove link {link.name}; it will be created again"
            case Vxlan(vni=vni, port=port), errno.EEXIST:
                return f"another VXLAN device here has VNI {vni} on port {port}: remove it, or choose others"
            case _:
                return None


def device_kind(facts: LinkFacts, names: Names) -> Vxlan | None:
    """The parameters of a VXLAN device; None for other links, and for one without an underlay or a local address."""
    if facts.kind != _KIND:
        return None
    found = attributes(facts.details)
    local = found.get(_IFLA_VXLAN_LOCAL) or found.get(_IFLA_VXLAN_LOCAL6)
    underlay = names.get(decode.u32(found.get(_IFLA_VXLAN_LINK, bytes(4))))
    if local is None or underlay is None:
        return None
    vni, port = found.get(_IFLA_VXLAN_ID, bytes(4)), found.get(_IFLA_VXLAN_PORT, b"")
    df = int.from_bytes(found.get(_IFLA_VXLAN_DF, b""), "little")
    return Vxlan(Vni(decode.u32(vni)), int.from_bytes(port, "big"), decode.address(local), underlay, df)


class VxlanDevices:
    """
    VXLAN devices of the namespace in which the sockets were opened, each identified by its kind's `vni`, `port`,
    `local` and `underlay`.
    """

    def __init__(self, netlink: Netlink, links: Links) -> None:
        self._netlink = netlink
        self._links = links
        self._guards: Mapping[str, Guarded] = {}
        self._guards_of: tuple[int | None, frozenset[str]] = (None, frozenset())
        self._may_be_left_behind = True

    def recognised(self, link: Link) -> Link:
        return link

    def put(self, wanted: Link, scene: Scene) -> None:
        if not isinstance(wanted.kind, Vxlan):
            raise TypeError(wanted)
        if wanted.name in scene.links:
            self._change(wanted, wanted.kind, scene.index(wanted.name), scene.links[wanted.name])
            return
        with self._links.creating(_creation(wanted, wanted.kind, scene.index(wanted.kind.underlay))):
            keep_link_local_away(wanted.name)
            learn_nothing(wanted.name)
            vxlan_guard.shut(wanted.name, wanted.kind)  # from the moment it is up it takes packets from anyone
        seen = list_links(self._netlink)
        made = next(facts for facts in seen if facts.name == wanted.name)
        kind = device_kind(made, {facts.number: facts.name for facts in seen})
        self._change(wanted, wanted.kind, made.number, decode.link(made, kind))

    def _change(self, wanted: Link, kind: Vxlan, index: int, present: Link) -> None:
        if not isinstance(present.kind, Vxlan) or not kind.comes_from(present.kind):
            raise OSError(errno.EOPNOTSUPP, "of a device only the local address, MAC, MTU and state change in place")
        self._links.change(index, _move(kind, present.kind))
        self._links.change(index, mending(wanted, present))

    def remove(self, name: str, scene: Scene) -> None:
        self._links.remove(scene.index(name))
        vxlan_guard.remove(name)

    def decaps(self, links: Iterable[Link]) -> frozenset[Decap]:
        kinds = {link.name: link.kind for link in links if link.owned and isinstance(link.kind, Vxlan)}
        # Without a device, read once at the start and while an earlier read found something.
        if not kinds and not self._may_be_left_behind:
            return frozenset()
        try:
            guards = self._read_guards(frozenset(kinds))
        except OSError as error:
            raise Unavailable(f"cannot read whose packets are let in: {error}") from error
        self._may_be_left_behind = bool(kinds or guards)
        found = (item.decap(kinds[name]) if name in kinds else item.left_behind for name, item in guards.items())
        return frozenset(filter(None, found))

    def _read_guards(self, names: frozenset[str]) -> Mapping[str, Guarded]:
        """Listing tables takes a process, so they are listed again only after one of any program has changed."""
        now = nft.generation(), names
        if now[0] is None:
            return {}
        if now != self._guards_of:
            self._guards, self._guards_of = vxlan_guard.observe(names), now
        return self._guards

    def put_decap(self, decap: Decap) -> None:
        kinds = self._kinds()
        if decap.underlay not in kinds:
            raise OSError(errno.ENODEV, f"no link {decap.underlay}")
        kind = kinds.get(decap.link)
        if kind is None:
            raise OSError(errno.ENODEV, f"no VXLAN device {decap.link}")
        vxlan_guard.put(decap, kind, _dropped_while_open(decap.link))

    def remove_decap(self, link: str, scene: Scene) -> None:
        kind = scene.links[link].kind if link in scene.links else None
        if isinstance(kind, Vxlan):
            vxlan_guard.shut(link, kind, _dropped(link))
        else:
            vxlan_guard.remove(link)

    def _kinds(self) -> Mapping[str, Vxlan | None]:
        """Of every link, by name; None for one that is no VXLAN device."""
        seen = list_links(self._netlink)
        names = {facts.number: facts.name for facts in seen}
        return {facts.name: device_kind(facts, names) for facts in seen}

    def port_ids(self) -> frozenset[int]:
        return frozenset()

    def close(self) -> None:
        """The sockets are not ours."""


def _dropped(link: str) -> tuple[Drops, ...]:
    """The count goes on when a table is replaced."""
    found = vxlan_guard.observe([link]).get(link)
    return found.dropped if found else ()


def _dropped_while_open(link: str) -> tuple[Drops, ...]:
    """Without the count of a table that let in nothing: members whose probes came before we were ready are no news."""
    found = vxlan_guard.observe([link]).get(link)
    return found.dropped if found and found.sources is not None else ()


def _creation(link: Link, kind: Vxlan, underlay_index: int) -> Arguments:
    """The request for the device, down and without an alias: RTM_NEWLINK takes no IFLA_IFALIAS for a new link."""
    return {
        "ifname": link.name,
        "kind": _KIND,
        "vxlan_id": kind.vni,
        "vxlan_port": kind.port,
        "vxlan_link": underlay_index,
        "vxlan_learning": 0,
        "vxlan_df": kind.df,
        "mtu": link.mtu_bytes,
        **_local(kind),
        **({"address": link.mac} if link.mac else {}),
    }


def _move(wanted: Vxlan, present: Vxlan) -> Arguments:
    """The attributes that change in place, empty if none does; the VNI is repeated, since it stays."""
    return {} if wanted == present else {"kind": _KIND, "vxlan_id": wanted.vni, "vxlan_df": wanted.df, **_local(wanted)}


def _local(kind: Vxlan) -> Mapping[str, object]:
    return {"vxlan_local" if kind.local.version == 4 else "vxlan_local6": str(kind.local)}


def send(local: Address, remote: Address, frame: VxlanFrame, packet: bytes) -> None:
    """Send an IP packet in a VXLAN packet of our own making (RFC 7348, section 5) without DF. Raises OSError."""
    ethertype = probe_packets.FAMILIES[packet[0] >> 4].ethertype
    ethernet = probe_packets.mac(frame.destination) + probe_packets.mac(frame.source) + struct.pack("!H", ethertype)
    header = struct.pack("!II", _VNI_VALID, frame.vni << 8)
    with socket.socket(probe_packets.FAMILIES[local.version].family, socket.SOCK_DGRAM) as out:
        if local.version == 4:
            out.setsockopt(socket.IPPROTO_IP, probe_packets.IP_MTU_DISCOVER, probe_packets.PMTUDISC_DONT)
        out.bind((str(local), 0))
        out.sendto(header + ethernet + packet, (str(remote), frame.port))


def _can_be_made() -> bool:
    links = Links()
    try:
        for arguments in _TEST_LINKS:
            links.create(arguments)
    except OSError:
        return False
    else:
        return True
    finally:
        links.close()
