"""
One encapsulation more, for tests: VXLAN's frames with a VNI and a UDP port of its own, by a device of its own. IPv4.

It stands in the same tables as the real ones, and nowhere else. All that it shares with VXLAN is the kind of device
that Linux has for both; whatever the program asks of an encapsulation it answers itself.
"""

from __future__ import annotations

import errno
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from bgpctl.core.cluster.configuration import Configuration, Node
from bgpctl.core.cluster.encapsulation import ENCAPSULATIONS, Encapsulation
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Reason, ReasonCode
from bgpctl.core.fabric.desired import Reasoned
from bgpctl.core.fabric.encapsulations import BEHAVIOURS
from bgpctl.core.fabric.facts import Underlay
from bgpctl.core.fabric.host import Answer, Check, Facts, Needs, good
from bgpctl.core.fabric.protocol import ProbeFrame, Site
from bgpctl.core.fabric.vxlan import VxlanFrame
from bgpctl.core.migration.probes import Probe
from bgpctl.core.net.addresses import Address, InterfaceAddress, Mac, Vni
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Decap, FdbEntry, Link, LinkAddress, LinkKind, Neighbour, NextHop, Sysctl, Traffic
from bgpctl.kernel import decode, vxlan
from bgpctl.kernel.decode import LinkFacts, Names
from bgpctl.kernel.encapsulations import IMPLEMENTATIONS
from bgpctl.kernel.links import Links, keep_link_local_away, list_links, mending
from bgpctl.kernel.netlink import Netlink
from bgpctl.kernel.probe_packets import Wrapping
from bgpctl.kernel.scene import Scene
from bgpctl.lab import wire
from bgpctl.lab.wire import FORMATS, Carried

TOY: Final = Encapsulation("toy", "Toy", tunnel_type=0xFF01, by_bgp=False, versions=(4,), ethernet=True)
LINK: Final = "toy.bgpctl"
VNI: Final = Vni(77)
PORT: Final = 4793
OVERHEAD_BYTES: Final = 50

_WHY: Final = Reason(ReasonCode.TUNNEL, encapsulation=TOY)


@dataclass(frozen=True, slots=True, order=True)
class ToyKind(LinkKind):
    local: Address
    underlay: str

    def stands_on(self) -> str | None:
        return self.underlay

    def excludes(self) -> Hashable | None:
        return "vxlan", VNI, PORT, 4

    def entries_version(self) -> int | None:
        return 4

    def refusal(self, present: Link) -> int:
        return 0 if present.kind == self else errno.EOPNOTSUPP

    def wire(self) -> Mapping[str, int]:
        return {"vni": VNI, "port": PORT}


class ToyBehaviour:
    encapsulation: Final = TOY

    @property
    def checks(self) -> Mapping[str, Check]:
        return {"toy": _check}

    def overhead_bytes(self, version: int) -> int:
        del version
        return OVERHEAD_BYTES

    def mtu_bytes(self, configuration: Configuration, version: int, carrier_bytes: int) -> int:
        return configuration.workload_mtu or carrier_bytes - self.overhead_bytes(version)

    def udp_port(self, configuration: Configuration) -> int | None:
        del configuration
        return PORT

    def incoming(self, configuration: Configuration) -> str:
        del configuration
        return f"UDP port {PORT}"

    def link_names(self, version: int) -> tuple[str, ...]:
        return (LINK,) if version == 4 else ()

    def link_name(self, configuration: Configuration, version: int, observed: Dataplane) -> str:
        del configuration, version, observed
        return LINK

    def recognises(self, kind: LinkKind) -> bool:
        return isinstance(kind, ToyKind)

    def objects(self, site: Site, underlay: Underlay) -> Iterator[Reasoned]:
        intent, node = site.intent, site.node
        kind = ToyKind(underlay.address.address, underlay.link)
        yield (
            Link(LINK, kind, self.mtu_bytes(intent, 4, underlay.mtu_bytes), intent.vtep_mac(node, 4)),
            _WHY,
        )
        yield Sysctl(f"net/ipv4/conf/{LINK}/forwarding", "1"), _WHY
        yield Sysctl(f"net/ipv4/conf/{LINK}/rp_filter", "2"), _WHY
        address = intent.tunnel_address(node, TOY, 4)
        if address:
            yield LinkAddress(LINK, InterfaceAddress(address, 32)), _WHY

    def member_objects(self, intent: Intent, member: Node, link: str, version: int) -> Iterator[Reasoned]:
        gateway, remote = intent.tunnel_address(member, TOY, version), member.underlay(version)
        if gateway and remote:
            mac = intent.vtep_mac(member, version)
            yield FdbEntry(link, mac, remote.address), _WHY
            yield Neighbour(link, gateway, mac), _WHY

    def accepts(self, observed: Dataplane) -> frozenset[int]:
        return frozenset(4 for link in observed.links if link.owned and isinstance(link.kind, ToyKind))

    def is_reachable(self, intent: Intent, member: Node, version: int) -> bool:
        return intent.tunnel_address(member, TOY, version) is not None

    def next_hop(self, site: Site, number: int, remote: Address, member: Node | None) -> NextHop | None:
        del remote
        gateway = site.intent.tunnel_address(member, TOY, 4) if member else None
        return NextHop(number, LINK, gateway, onlink=True) if gateway else None

    def frame(self, link: Link | None, destination: Mac | None) -> ProbeFrame | None:
        return VxlanFrame(VNI, PORT, link.mac, destination) if link and link.mac and destination else None


def _check(facts: Facts, _: Needs) -> Iterator[Answer]:
    yield good(f"toys on Linux {facts.release}: {facts.of(TOY, 'not surveyed')}")


class ToyImplementation:
    encapsulation: Final = TOY
    drivers: Final[tuple[str, ...]] = ()
    drivers_help: Final = ""
    wrappings: Final[tuple[Wrapping, ...]] = ()

    def kind_of(self, facts: LinkFacts, names: Names) -> LinkKind | None:
        found = vxlan.device_kind(facts, names)
        return ToyKind(found.local, found.underlay) if found and (found.vni, found.port) == (VNI, PORT) else None

    def devices(self, netlink: Netlink, links: Links, driver: str) -> ToyDevices:
        del driver
        return ToyDevices(netlink, links)

    def send(self, probe: Probe, request: bytes) -> bool:
        assert isinstance(probe.frame, VxlanFrame)
        vxlan.send(probe.local, probe.remote, probe.frame, request)
        return True

    def traffic(self, netlink: Netlink, facts: LinkFacts, message: bytes) -> Traffic | None:
        del netlink
        return decode.link_traffic(message) if facts.name == LINK else None

    def survey(self, *, tried: bool) -> object:
        return "tried" if tried else "not tried"

    def hint(self, link: Link, code: int) -> str | None:
        return "toys cannot be changed" if isinstance(link.kind, ToyKind) and code == errno.EOPNOTSUPP else None


class ToyDevices:
    def __init__(self, netlink: Netlink, links: Links) -> None:
        self._netlink = netlink
        self._links = links

    def recognised(self, link: Link) -> Link:
        return link

    def put(self, wanted: Link, scene: Scene) -> None:
        present = scene.links.get(wanted.name)
        if present:
            self._links.change(scene.index(wanted.name), mending(wanted, present))
            return
        assert isinstance(wanted.kind, ToyKind)
        arguments = {
            "ifname": wanted.name,
            "kind": "vxlan",
            "vxlan_id": VNI,
            "vxlan_port": PORT,
            "vxlan_link": scene.index(wanted.kind.underlay),
            "vxlan_local": str(wanted.kind.local),
            "vxlan_learning": 0,
            "address": wanted.mac,
        }
        with self._links.creating(arguments):
            keep_link_local_away(wanted.name)
        made = next(facts for facts in list_links(self._netlink) if facts.name == wanted.name)
        self._links.change(made.number, mending(wanted, decode.link(made, wanted.kind)))

    def remove(self, name: str, scene: Scene) -> None:
        self._links.remove(scene.index(name))

    def decaps(self, links: Iterable[Link]) -> frozenset[Decap]:
        del links
        return frozenset()

    def put_decap(self, decap: Decap) -> None:
        raise OSError(errno.EOPNOTSUPP, f"{decap.link} takes packets from any sender")

    def remove_decap(self, link: str, scene: Scene) -> None:
        del link, scene

    def port_ids(self) -> frozenset[int]:
        return frozenset()

    def close(self) -> None:
        pass


def _on_the_wire(protocol: int, port: int | None, payload: bytes, intent: Intent) -> Carried | None:
    del intent
    found = wire.ethernet_in_udp(payload) if (protocol, port) == (17, PORT) else None
    return found._replace(shape="toy" if found.vni == VNI else None) if found else None


@contextmanager
def registered() -> Iterator[None]:
    with ExitStack() as tables:
        tables.enter_context(ENCAPSULATIONS.registered(TOY.name, TOY))
        tables.enter_context(BEHAVIOURS.registered(TOY.name, ToyBehaviour()))
        tables.enter_context(IMPLEMENTATIONS.registered(TOY.name, ToyImplementation()))
        tables.enter_context(FORMATS.registered(TOY.name, _on_the_wire))
        yield
