"""
One packet in one kernel, from where it arrives or is made to where it leaves or ends.

The order is the kernel's. Arriving: the tunnel's filter or the workloads' filter, prerouting, the route, the
reverse-path filter. To be received: input, and out of a tunnel the packet inside begins again. To be sent on: the
switch for forwarding, the size (ip_forward compares it before the hook), forward. On the way out: postrouting with its
translations, then the device. A tunnel device makes an outer packet, which is routed anew as one that is made here.

Whatever decides and is not known ends the passage as Unknown. So nothing after it is guessed.

Refuses to know: other kernels; queues, traffic control, XDP and BPF of others, IPsec, bridges' own filters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NoReturn

from bgpctl.core.cluster.reasons import Reason
from bgpctl.core.fabric.encapsulations import behind
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.fib import ResolvedNextHop
from bgpctl.core.net.objects import PROTOCOL, Decap, InnerFilter, Key, Link, Masquerade, Route, RouteType, key_of
from bgpctl.core.trace.netfilter import Fate, Passing, Verdict, fate, translation
from bgpctl.core.trace.packet import IP_IN_IP, TCP, UDP, Packet, echo_protocol
from bgpctl.core.trace.reading import Kernel
from bgpctl.core.trace.reverse_path import refusal
from bgpctl.core.trace.selectors import LOOPBACK, Lookedup
from bgpctl.core.trace.snapshot import Neighbour, Unread, unread_about
from bgpctl.core.trace.steps import (
    Break,
    Broken,
    Cause,
    Delivered,
    End,
    Leaves,
    Passage,
    Step,
    StepCode,
    Translation,
    Unknown,
)

_MULTICAST: Final = {4: Prefix.parse("224.0.0.0/4"), 6: Prefix.parse("ff00::/8")}
SOURCE_NAT: Final = 100
"""NF_IP_PRI_NAT_SRC, the priority of our chain (kernel/masquerade.py)."""
_BPF: Final = "bpf"
_HEADER_BYTES: Final = 20
"""Of IPv4, without options."""
_MOST_TUNNELS: Final = 4
"""Tunnels in tunnels; the kernel stops at about that depth too (RECURSION_LIMIT)."""


class _Ends(Exception):
    """The passage is over."""

    def __init__(self, end: End) -> None:
        super().__init__()
        self.end = end


class _Walk:
    """One packet in one kernel. `choice`: which of several next hops it takes. Methods raise _Ends."""

    def __init__(
        self,
        kernel: Kernel,
        reasons: dict[Key, Reason] | None,
        choice: int,
        known: Iterable[Translation],
    ) -> None:
        self._kernel = kernel
        self._snapshot = kernel.snapshot
        self._reasons = reasons or {}
        self._choice = choice
        self._known = tuple(item for item in known if item.node == kernel.name)
        self.steps: list[Step] = []
        self.choices = 1
        self.translations: list[Translation] = []

    # Arriving -----------------------------------------------------------------------------------------------

    def make(self, packet: Packet, depth: int = 0) -> None:
        """A packet that is made here."""
        if depth == 0:
            self._add(StepCode.MADE, packet)
        route, hop = self._routed(packet, LOOPBACK)
        if hop is None:
            self._pass_loopback(packet)
            return
        packet = self._pass_size(packet, route, hop)
        self._pass_chains("output", packet, leaves=hop.link)
        self._leave(packet, hop, depth)

    def _pass_loopback(self, packet: Packet) -> None:
        """A packet to this host itself goes out by the loopback link, and comes in by it."""
        for hook in ("output", "postrouting"):
            self._pass_chains(hook, packet, leaves=LOOPBACK)
        self._pass_chains("prerouting", packet, arrives=LOOPBACK)
        self._receive(packet, LOOPBACK)

    def arrive(self, packet: Packet, link: str) -> None:
        """A packet that arrives by a link; the link's name is empty where it is not known."""
        self._add(StepCode.ARRIVES, packet, link)
        device = self._kernel.link(link)
        if device and not device.up:
            self._break(Break.LINK_DOWN, link)
        if device and device.workload:
            self._pass_workload_filter(packet, link)
        self._pass_chains("prerouting", packet, arrives=link)
        packet = self._returned(packet)
        found = translation(self._snapshot.chains, "prerouting", Passing(packet, link))
        if found:
            self._unknown(_chain_name(found), "it may translate the destination")
        route, hop = self._routed(packet, link)
        self._pass_reverse_path(packet, link, "" if hop is None else hop.link)
        if hop is None:
            self._receive(packet, link)
        else:
            self._forward(packet, link, route, hop)

    def _returned(self, packet: Packet) -> Packet:
        """With the address back that was translated on its way out."""
        for item in self._known:
            if packet.answers and (packet.source, packet.destination) == (item.destination, item.outside):
                packet = packet._replace(destination=item.inside)
                self._add(StepCode.TRANSLATED, packet)
        return packet

    def _pass_workload_filter(self, packet: Packet, link: str) -> None:
        for wanted in self._snapshot.dataplane.workload_filters:
            back = self._kernel.lookup(Lookedup(packet.answered(), LOOPBACK))
            leads = back.route and self._kernel.next_hops(back.route, packet.source)
            inside = any(prefix.holds(packet.destination) for prefix in wanted.inside)
            by_port = {UDP: wanted.udp_ports, TCP: (wanted.bgp_port,)}.get(packet.protocol, ())
            is_tunnel = packet.ports and not inside and packet.ports[1] in by_port
            if not leads or leads[0].link != link or packet.protocol == IP_IN_IP or is_tunnel:
                self._break(Break.WORKLOAD_REFUSED, link)

    def _pass_reverse_path(self, packet: Packet, link: str, leaves: str) -> None:
        if link in ("", LOOPBACK):
            return
        cause = refusal(self._kernel, packet, link, leaves)
        if isinstance(cause, Unread):
            raise _Ends(Unknown(cause))
        if cause:
            raise _Ends(Broken(cause))

    # Routing ------------------------------------------------------------------------------------------------

    def _routed(self, packet: Packet, arrives: str) -> tuple[Route | None, ResolvedNextHop | None]:
        """The route and the next hop; no next hop for a packet that is received here."""
        if _MULTICAST[packet.version].holds(packet.destination):
            self._unknown(str(packet.destination), "multicast is not followed")
        for unread in unread_about(self._snapshot, packet.destination):
            raise _Ends(Unknown(unread))
        found = self._kernel.lookup(Lookedup(packet, arrives))
        if found.conditional:
            self._unknown(f"rule {found.conditional[0].priority}", f"it asks for {found.conditional[0].selector}")
        route = found.route
        if route is None:
            self._break(Break.REFUSED_BY_RULE if found.rule else Break.NO_ROUTE, found.rule or packet.destination)
        if route.type in (RouteType.LOCAL, RouteType.BROADCAST, RouteType.ANYCAST):
            self._add(StepCode.ROUTED, packet, route.link or "", subject=route, rule=found.rule)
            return route, None
        if route.type is not RouteType.UNICAST:
            self._refused(packet, route)
        hop, choices = self._chosen(route, packet)
        ours = self._kernel.ours_behind(route, packet.destination)
        # A default route is what ours are there to be preferred to, and a wider route of ours says nothing.
        suspect = Cause(Break.SHADOWED, route, ours) if ours and ours.prefix == route.prefix else None
        why = self._reason(route)
        self._add(
            StepCode.ROUTED,
            packet,
            hop.link,
            subject=route,
            rule=found.rule,
            gateway=hop.gateway,
            why=why,
            suspect=suspect,
            choices=choices,
        )
        return route, hop

    def _refused(self, packet: Packet, route: Route) -> NoReturn:
        """By a route that leads nowhere: a block of our own, of which a workload would have a longer prefix."""
        if route.protocol == PROTOCOL and route.type is RouteType.BLACKHOLE:
            self._add(StepCode.ROUTED, packet, subject=route, why=self._reason(route))
            if self._snapshot.open_blocks:
                raise _Ends(Delivered(packet, declared_block=True))
            self._break(Break.NO_WORKLOAD, route)
        self._break(Break.REFUSED_BY_ROUTE, route, self._kernel.ours_behind(route, packet.destination))

    def _chosen(self, route: Route, packet: Packet) -> tuple[ResolvedNextHop, int]:
        hops = self._kernel.next_hops(route, packet.destination)
        if not hops:
            self._break(Break.NO_NEXT_HOP, route)
        self.choices = max(self.choices, len(hops))
        return hops[self._choice % len(hops)], len(hops)

    def _reason(self, route: Route) -> Reason | None:
        return self._reasons.get(key_of(route)) if route.protocol == PROTOCOL else None

    # Sending on ---------------------------------------------------------------------------------------------

    def _forward(self, packet: Packet, arrives: str, route: Route | None, hop: ResolvedNextHop) -> None:
        if not self._snapshot.forwards(packet.version, arrives):
            self._break(Break.NOT_FORWARDING, arrives)
        packet = self._pass_size(packet, route, hop)
        self._pass_chains("forward", packet, arrives, hop.link)
        self._leave(packet, hop, 0)

    def _pass_size(self, packet: Packet, route: Route | None, hop: ResolvedNextHop, *, outer: bool = False) -> Packet:
        """The packet, or the first of its fragments."""
        link = self._kernel.link(hop.link)
        metric = (route.mtu_bytes or self._kernel.details(route).mtu_bytes) if route else 0
        most = metric or (link.mtu_bytes if link else 0)
        if not most or packet.size_bytes <= most:
            return packet
        if not packet.may_be_cut:
            numbers = (("size", packet.size_bytes), ("mtu", most))
            self._break(Break.OUTER_TOO_BIG if outer else Break.TOO_BIG, hop.link, numbers=numbers)
        # Fragments but for the last carry a multiple of eight octets (RFC 791).
        packet = packet._replace(size_bytes=most - (most - _HEADER_BYTES) % 8)
        self._add(StepCode.CUT, packet, hop.link)
        return packet

    def _leave(self, packet: Packet, hop: ResolvedNextHop, depth: int) -> None:
        self._pass_chains("postrouting", packet, leaves=hop.link)
        packet = self._translated(packet, hop)
        link = self._kernel.link(hop.link)
        if link is None:
            self._break(Break.NO_LINK, hop.link)
        if not link.up:
            self._break(Break.LINK_DOWN, hop.link)
        if hop.link == LOOPBACK:
            self._receive(packet, LOOPBACK)
        elif behind(link.kind):
            self._encapsulate(packet, link, hop.gateway, depth)
        else:
            self._out(packet, link, hop.gateway)

    def _out(self, packet: Packet, link: Link, gateway: Address) -> None:
        state = self._snapshot.neighbours.get((link.name, gateway))
        if state is Neighbour.FAILED:
            beside = link.name in self._snapshot.links_beside(gateway)
            self._break(Break.NEIGHBOUR_SILENT if beside else Break.NOT_ON_LINK, gateway, link.name)
        self._add(StepCode.LEAVES, packet, link.name, gateway=gateway)
        raise _Ends(Leaves(link.name, gateway, packet))

    # Translation --------------------------------------------------------------------------------------------

    def _translated(self, packet: Packet, hop: ResolvedNextHop) -> Packet:
        """With the source that leaves: the first chain by priority that translates it, ours among them."""
        passing = Passing(packet, leaves=hop.link)
        chains = self._snapshot.chains
        earlier = translation((item for item in chains if item.priority < SOURCE_NAT), "postrouting", passing)
        if earlier:
            return self._by_foreign(packet, hop, earlier)
        for wanted in self._snapshot.dataplane.masquerades:
            if wanted.version == packet.version and not packet.answers and _is_masqueraded(wanted, packet):
                own = wanted.address if wanted.link == hop.link else None
                return self._with_source(packet, own or self._outside(packet, hop), wanted)
        later = translation((item for item in chains if item.priority >= SOURCE_NAT), "postrouting", passing)
        return self._by_foreign(packet, hop, later) if later else packet

    def _by_foreign(self, packet: Packet, hop: ResolvedNextHop, found: Fate) -> Packet:
        if found.verdict is not Verdict.MASQUERADE:
            self._unknown(_chain_name(found), "it may translate the source")
        return self._with_source(packet, self._outside(packet, hop), found)

    def _outside(self, packet: Packet, hop: ResolvedNextHop) -> Address:
        if packet.version == 6:
            self._unknown(hop.link, "which of its addresses masquerading takes is not known for IPv6 (RFC 6724)")
        found = self._kernel.source(hop.link, hop.gateway)
        if found is None:
            self._break(Break.NO_SOURCE, hop.link)
        return found

    def _with_source(self, packet: Packet, outside: Address, by: Masquerade | Fate) -> Packet:
        self.translations.append(Translation(self._kernel.name, packet.destination, packet.source, outside))
        suspect = Cause(Break.FOREIGN_MASQUERADE, by) if isinstance(by, Fate) else None
        changed = packet._replace(source=outside)
        self._add(StepCode.TRANSLATED, changed, subject=by, suspect=suspect)
        return changed

    # Tunnels ------------------------------------------------------------------------------------------------

    def _encapsulate(self, packet: Packet, link: Link, gateway: Address, depth: int) -> None:
        behaviour = behind(link.kind)
        if depth >= _MOST_TUNNELS or behaviour is None:
            self._break(Break.LOOP, link.name)
        if not link.owned:
            self._unknown(link.name, "it is a tunnel of another program")
        remote = self._tunnel_end(link, gateway)
        wire = tuple(sorted(link.kind.wire().items()))
        # Without a port it is IP in IP, whose header takes over DF; a VXLAN device leaves it unset.
        outer = Packet(
            self._outer_source(link, remote),
            remote,
            packet.size_bytes + behaviour.overhead_bytes(remote.version),
            df=packet.df and not wire,
            protocol=UDP if wire else IP_IN_IP,
            ports=(0, dict(wire)["port"]) if wire else None,
            inner=packet,
            wire=wire,
        )
        self._add(StepCode.ENCAPSULATED, outer, link.name, gateway=remote)
        by_bpf = link.kind.driver() == _BPF
        route, hop = self._routed(outer, LOOPBACK)
        if hop is None:
            self._receive(outer, LOOPBACK)
            return
        # BPF writes the whole packet to the link, which drops what is too large.
        outer = self._pass_size(outer._replace(df=outer.df or by_bpf), route, hop, outer=True)._replace(df=outer.df)
        if by_bpf:  # it hands the packet to the link itself, past all hooks
            self._leave_by_bpf(outer, hop)
        self._pass_chains("output", outer, leaves=hop.link)
        self._leave(outer, hop, depth + 1)

    def _leave_by_bpf(self, outer: Packet, hop: ResolvedNextHop) -> None:
        link = self._kernel.link(hop.link)
        if link is None or not link.up:
            self._break(Break.LINK_DOWN, hop.link)
        self._out(outer, link, hop.gateway)

    def _tunnel_end(self, link: Link, gateway: Address) -> Address:
        """The gateway itself, or where the device's entries lead for it."""
        if link.kind.entries_version() is None:
            return gateway
        plane = self._snapshot.dataplane
        macs = [item.mac for item in plane.neighbours if (item.link, item.address) == (link.name, gateway)]
        if not macs:
            self._break(Break.NO_NEIGHBOUR, gateway, link.name)
        found = [item.remote for item in plane.fdb if (item.link, item.mac) == (link.name, macs[0])]
        if not found:
            self._break(Break.NO_TUNNEL_END, gateway, link.name)
        return found[0]

    def _outer_source(self, link: Link, remote: Address) -> Address:
        own = link.kind.sends_from()
        if own is None and link.kind.driver() == _BPF:
            own = next((item.local for item in self._snapshot.dataplane.decaps if item.link == link.name), None)
        if own is None:
            found = self._kernel.lookup(Lookedup(Packet(remote, remote), LOOPBACK))
            hops = self._kernel.next_hops(found.route, remote) if found.route else ()
            own = self._kernel.source(hops[0].link, hops[0].gateway, found.route) if hops else None
        if own is None:
            self._break(Break.NO_SOURCE, link.name)
        return own

    # Receiving ----------------------------------------------------------------------------------------------

    def _receive(self, packet: Packet, arrives: str) -> None:
        tunnel = self._tunnel_of(packet)
        by_bpf = tunnel is not None and tunnel[1].kind.driver() == _BPF
        if not by_bpf:
            self._pass_chains("input", packet, arrives)
        if packet.inner is None:
            self._add(StepCode.RECEIVED, packet, arrives)
            raise _Ends(Delivered(packet))
        if tunnel is None:
            self._break(Break.NOT_A_TUNNEL, packet.destination)
        self._decapsulate(packet, packet.inner, *tunnel)

    def _tunnel_of(self, packet: Packet) -> tuple[Decap, Link] | None:
        """The tunnel out of whose device the packet inside comes."""
        if packet.inner is None:
            return None
        for decap in self._snapshot.dataplane.decaps:
            link = self._kernel.link(decap.link)
            if link and packet.destination in decap.own and tuple(sorted(link.kind.wire().items())) == packet.wire:
                return decap, link
        return None

    def _decapsulate(self, outer: Packet, inner: Packet, decap: Decap, link: Link) -> None:
        if outer.source not in decap.sources:
            self._break(Break.NOT_A_SENDER, decap, outer.source)
        if not link.up:
            self._break(Break.LINK_DOWN, link.name)
        self._add(StepCode.DECAPSULATED, inner, link.name, subject=decap)
        for wanted in self._snapshot.dataplane.inner_filters:
            if wanted.link == link.name and not lets_in(wanted, inner):
                self._break(Break.INNER_REFUSED, wanted)
        self.arrive(inner, link.name)

    # Endings ------------------------------------------------------------------------------------------------

    def _pass_chains(self, hook: str, packet: Packet, arrives: str = "", leaves: str = "") -> None:
        found = fate(self._snapshot.chains, hook, Passing(packet, arrives, leaves))
        if found is None or found.verdict is Verdict.OTHER:
            for unread in self._snapshot.unread:
                if unread.prefix is None:
                    raise _Ends(Unknown(unread))
        if found is None:
            return
        if found.verdict is Verdict.OTHER:
            self._unknown(_chain_name(found), f"it may drop packets at the hook {hook}")
        self._break(Break.CHAIN, found)

    def _add(self, code: StepCode, packet: Packet, link: str = "", **more: object) -> None:
        self.steps.append(Step(self._kernel.name, code, packet, link, **more))  # type: ignore[arg-type]

    def _break(
        self, code: Break, subject: object = None, other: object = None, numbers: tuple[tuple[str, int], ...] = ()
    ) -> NoReturn:
        raise _Ends(Broken(Cause(code, subject, other, numbers)))  # type: ignore[arg-type]

    def _unknown(self, subject: str, reason: str) -> NoReturn:
        raise _Ends(Unknown(Unread(subject, reason)))


def passage(
    kernel: Kernel,
    packet: Packet,
    arrives: str | None = None,
    *,
    choice: int = 0,
    reasons: dict[Key, Reason] | None = None,
    known: Iterable[Translation] = (),
) -> Passage:
    """
    All that the kernel does with the packet.

    Args:
        kernel: of one node.
        packet: as it arrives or is made.
        arrives: the link by which it comes, empty if that is not known; None: it is made here.
        choice: which next hop it takes of several.
        reasons: of objects of ours, by key.
        known: translations by which answers get their destination back.
    """
    walk = _Walk(kernel, reasons, choice, known)
    try:
        if arrives is None:
            walk.make(packet)
        else:
            walk.arrive(packet, arrives)
    except _Ends as ended:
        return Passage(tuple(walk.steps), ended.end, walk.choices, tuple(walk.translations))
    raise AssertionError("every passage ends")


def lets_in(wanted: InnerFilter, packet: Packet) -> bool:
    """True if the packet may come out of the filter's tunnel (kernel/inner_filter.py has the rules)."""
    if packet.version != wanted.version:
        return False
    sent = packet.source in wanted.members or any(prefix.holds(packet.source) for prefix in wanted.sources)
    echo = packet.protocol == echo_protocol(packet.version) and not packet.answers
    to_us = any(prefix.holds(packet.destination) for prefix in wanted.destinations)
    return sent and (to_us or (echo and packet.destination in wanted.own))


def _is_masqueraded(wanted: Masquerade, packet: Packet) -> bool:
    keeps = packet.protocol == TCP and packet.ports is not None and packet.ports[1] in wanted.bgp_ports
    leaves = not any(prefix.holds(packet.destination) for prefix in wanted.inside)
    return leaves and not keeps and any(prefix.holds(packet.source) for prefix in wanted.sources)


def _chain_name(found: Fate) -> str:
    handle = f" rule {found.rule.handle}" if found.rule else ""
    return f"chain {found.chain.family} {found.chain.table} {found.chain.name}{handle}"
