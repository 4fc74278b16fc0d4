"""
No encapsulation: the underlay itself carries workload addresses.

Refuses to know: tunnels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from bgpctl.core.cluster.configuration import Configuration, Node
from bgpctl.core.cluster.crossing import same_subnet
from bgpctl.core.cluster.encapsulation import DIRECT
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.fabric.desired import Reasoned
from bgpctl.core.fabric.facts import Underlay, resolve
from bgpctl.core.fabric.host import Check
from bgpctl.core.fabric.protocol import ProbeFrame, Site
from bgpctl.core.net.addresses import Address, Mac
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Link, LinkKind, NextHop


class DirectBehaviour:
    """Packets go out as they are; there is no device."""

    encapsulation: Final = DIRECT
    checks: Final[Mapping[str, Check]] = {}

    def overhead_bytes(self, version: int) -> int:
        del version
        return 0

    def mtu_bytes(self, configuration: Configuration, version: int, carrier_bytes: int) -> int:
        del version
        return configuration.workload_mtu or carrier_bytes

    def udp_port(self, configuration: Configuration) -> None:
        del configuration

    def incoming(self, configuration: Configuration) -> str:
        del configuration
        return ""

    def link_names(self, version: int) -> tuple[str, ...]:
        del version
        return ()

    def link_name(self, configuration: Configuration, version: int, observed: Dataplane) -> str:
        del configuration, version, observed
        return ""

    def recognises(self, kind: LinkKind) -> bool:
        del kind
        return False

    def objects(self, site: Site, underlay: Underlay) -> Iterator[Reasoned]:
        del site, underlay
        yield from ()

    def member_objects(self, intent: Intent, member: Node, link: str, version: int) -> Iterator[Reasoned]:
        del intent, member, link, version
        yield from ()

    def accepts(self, observed: Dataplane) -> frozenset[int]:
        """Nothing to announce: every node accepts plain packets."""
        del observed
        return frozenset()

    def is_reachable(self, intent: Intent, member: Node, version: int) -> bool:
        del intent
        return member.underlay(version) is not None

    def next_hop(self, site: Site, number: int, remote: Address, member: Node | None) -> NextHop | None:
        """
        A neighbour on the underlay; or the remote is resolved through the node's own routes, as BGP resolves a next
        hop.
        """
        del member
        if same_subnet(site.node, remote):
            return NextHop(number, site.underlays[remote.version].link, remote, onlink=True)
        path = resolve(site.observed, remote)
        return NextHop(number, path.link, path.gateway, onlink=True) if path else None

    def frame(self, link: Link | None, destination: Mac | None) -> ProbeFrame | None:
        del link, destination
        return ProbeFrame()
