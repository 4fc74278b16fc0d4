"""
A packet from node to node, until it is delivered or lost, or its fate is not known; and the packet that answers it.

Each kernel answers for itself (passage.py). Between them lies the underlay, of which only the ends are read: a packet
goes to the node that has the next hop's address; where a router that was not read has it, a tunnel's packet is taken
to reach the node that it is addressed to, and that step says so (CROSSES).

Where a kernel spreads flows over several next hops, all are followed. The packet is delivered if it is by each of them.

A packet that no kernel drops is lost all the same where probes by its path are: something between the nodes drops it.

Refuses to know: where snapshots come from, words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from bgpctl.core.cluster.reasons import Reason
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Key, RouteType
from bgpctl.core.trace.lost_paths import loss
from bgpctl.core.trace.packet import Packet
from bgpctl.core.trace.passage import passage
from bgpctl.core.trace.reading import Kernel
from bgpctl.core.trace.selectors import LOOPBACK, Lookedup
from bgpctl.core.trace.snapshot import Snapshot, Unread
from bgpctl.core.trace.steps import (
    Break,
    Broken,
    Cause,
    Delivered,
    End,
    Leaves,
    Step,
    StepCode,
    Translation,
    Unknown,
)

_MOST_NODES: Final = 16
_MOST_CHOICES: Final = 64
"""Next hops in all that are followed; with more the end is not known."""


@dataclass(frozen=True, slots=True)
class Network:
    """
    Everything that is known of the nodes.

    Attributes:
        snapshots: by node; None for one that was not asked.
        addresses: the underlay addresses of members, also of those that were not asked, by address.
        reasons: of objects of ours, by node and key.
        unasked: nodes that could not be asked, with the reason in words. One that has a snapshot all the same is taken
            as the cluster file has it.
        down: nodes that are off: no packet passes them.
        cut: pairs of nodes between which the underlay carries nothing.
    """

    snapshots: Mapping[str, Snapshot | None]
    addresses: Mapping[Address, str] = field(default_factory=dict)
    reasons: Mapping[str, Mapping[Key, Reason]] = field(default_factory=dict)
    unasked: Mapping[str, str] = field(default_factory=dict)
    down: frozenset[str] = frozenset()
    cut: frozenset[frozenset[str]] = frozenset()


class Journey(NamedTuple):
    """
    All steps of a packet, and its end.

    Attributes:
        suspects: what may be the cause of a loss that is not seen itself.
        translations: by which answers find their way back.
    """

    steps: tuple[Step, ...]
    end: End
    translations: tuple[Translation, ...] = ()

    @property
    def suspects(self) -> tuple[Cause, ...]:
        return tuple(step.suspect for step in self.steps if step.suspect)

    @property
    def node(self) -> str:
        """Where it ends."""
        return self.steps[-1].node if self.steps else ""


class Origin(NamedTuple):
    """Where a source is: `arrives` None for a node's own, a link's name (empty if not known) for a workload's."""

    node: str
    arrives: str | None


class Follower:
    """
    Follows packets through one network; kernels are indexed once, and those of `before` that stay are taken over.

    Attributes:
        passed: the nodes that packets have come to since the caller last emptied it: nothing depends on others.
    """

    def __init__(self, network: Network, before: Follower | None = None) -> None:
        self._network = network
        self.passed: set[str] = set()
        known: Mapping[str, Kernel] = before._kernels if before else {}  # noqa: SLF001
        self._kernels: dict[str, Kernel] = {
            name: kernel if (kernel := known.get(name)) and kernel.snapshot is item else Kernel(name, item)
            for name, item in network.snapshots.items()
            if item
        }
        self._owners: dict[Address, list[str]] = {}
        for name, kernel in self._kernels.items():
            for address in dict.fromkeys(own.address.address for own in kernel.snapshot.addresses):
                self._owners.setdefault(address, []).append(name)

    def with_dataplane(self, name: str, dataplane: Dataplane) -> Follower:
        """The same network, in which one node that was read has another dataplane."""
        read = self._kernels[name].snapshot
        snapshots = {**self._network.snapshots, name: replace(read, dataplane=dataplane)}
        return Follower(replace(self._network, snapshots=snapshots), self)

    def origin(self, source: Address, owner: str | None = None) -> Origin | None:
        """
        The node with the address, or the one behind which it is: where a route leads to a link of a workload, else the
        `owner` of its block by the cluster file. None if no node is known for it.
        """
        named = next(iter(self._owners.get(source, ())), None) or self._network.addresses.get(source)
        if named:
            return Origin(named, None)
        for name, kernel in self._kernels.items():
            link = _workload_link(kernel, source)
            if link:
                return Origin(name, link)
        return Origin(owner, "") if owner else None

    def follow(self, packet: Packet, origin: Origin, known: tuple[Translation, ...] = ()) -> Journey:
        """The packet from its origin. `known`: translations of the packet that it answers."""
        budget = [_MOST_CHOICES]
        return self._by_probes(self._from(packet, origin.node, origin.arrives, known, (), budget))

    def _by_probes(self, found: Journey) -> Journey:
        """The journey, which ends where the node that sends it on knows that the path loses such packets."""
        for number, step in enumerate(found.steps if isinstance(found.end, Delivered) else ()):
            cause = loss(self._kernels[step.node].snapshot, step) if step.node in self._kernels else None
            if cause:
                return found._replace(steps=found.steps[: number + 1], end=Broken(cause))
        return found

    def _from(
        self,
        packet: Packet,
        node: str,
        arrives: str | None,
        known: tuple[Translation, ...],
        before: tuple[Step, ...],
        budget: list[int],
    ) -> Journey:
        self.passed.add(node)
        if node in self._network.down:
            return Journey((*before, _first_step(packet, node, arrives)), Broken(Cause(Break.NODE_DOWN, node)))
        kernel = self._kernels.get(node)
        if kernel is None:
            return self._at_unasked(packet, node, arrives, before)
        if len({step.node for step in before}) + sum(step.code is StepCode.LEAVES for step in before) > _MOST_NODES:
            return Journey(before, Broken(Cause(Break.LOOP, node)))
        branches = self._branches(kernel, packet, arrives, known, before, budget)
        return _agreed(list(branches))

    def _at_unasked(self, packet: Packet, node: str, arrives: str | None, before: tuple[Step, ...]) -> Journey:
        """It comes as far as that: the last step is at the node, so that it can be named, or asked."""
        reason = self._network.unasked.get(node)
        unread = Unread(node, f"it could not be asked: {reason}" if reason else "it was not asked")
        return Journey((*before, _first_step(packet, node, arrives)), Unknown(unread))

    def _branches(
        self,
        kernel: Kernel,
        packet: Packet,
        arrives: str | None,
        known: tuple[Translation, ...],
        before: tuple[Step, ...],
        budget: list[int],
    ) -> Iterator[Journey]:
        reasons = dict(self._network.reasons.get(kernel.name, {}))
        choice, choices = 0, 1
        while choice < choices:
            budget[0] -= 1
            if budget[0] < 0:
                yield Journey(before, Unknown(Unread(kernel.name, "it has too many next hops to follow each")))
                return
            found = passage(kernel, packet, arrives, choice=choice, reasons=reasons, known=known)
            choices, choice = found.choices, choice + 1
            steps = (*before, *found.steps)
            if isinstance(found.end, Leaves):
                went = self._onwards(kernel, found.end, known, steps, budget)
            else:
                went = Journey(steps, found.end)
            yield went._replace(translations=(*found.translations, *went.translations))

    def _onwards(
        self,
        kernel: Kernel,
        end: Leaves,
        known: tuple[Translation, ...],
        steps: tuple[Step, ...],
        budget: list[int],
    ) -> Journey:
        packet = end.packet
        node = self._with_address(end.next_hop, but=kernel.name)
        if node is None and end.next_hop == packet.destination:
            return Journey(steps, _at_destination(end))
        if node is None:
            node = self._with_address(packet.destination, but=kernel.name)
            if node is None:
                return Journey(steps, Unknown(Unread(str(end.next_hop), "it is a router that was not asked")))
            steps = (*steps, Step(kernel.name, StepCode.CROSSES, packet, end.link, gateway=end.next_hop))
        if frozenset((kernel.name, node)) in self._network.cut:
            return Journey(steps, Broken(Cause(Break.CUT, kernel.name, node)))
        arrives = self._arrival(node, end.next_hop, packet.destination, kernel)
        return self._from(packet, node, arrives, known, steps, budget)

    def _with_address(self, address: Address, but: str) -> str | None:
        """The node that has the address: one that was asked, else the one that the cluster file names."""
        found = (name for name in self._owners.get(address, ()) if name != but)
        named = self._network.addresses.get(address)
        return next(found, None) or (named if named != but else None)

    def _arrival(self, node: str, next_hop: Address, destination: Address, sender: Kernel) -> str:
        """The link by which the node is reached; empty if that is not known."""
        kernel = self._kernels.get(node)
        if kernel is None:
            return ""
        for address in (next_hop, destination):
            links = [link for link in kernel.snapshot.links_with(address) if link != LOOPBACK]
            if links:
                return links[0]
        near = (
            link for item in sender.snapshot.addresses for link in kernel.snapshot.links_beside(item.address.address)
        )
        return next((link for link in near if link != LOOPBACK), _default_link(kernel, destination))


def _first_step(packet: Packet, node: str, arrives: str | None) -> Step:
    return Step(node, StepCode.MADE if arrives is None else StepCode.ARRIVES, packet, arrives or "")


def _at_destination(end: Leaves) -> End:
    """On a connected network: no node that was asked has the address."""
    if end.packet.inner is not None:
        return Unknown(Unread(str(end.next_hop), "it is no node that was asked"))
    return Delivered(end.packet, end.link)


def _default_link(kernel: Kernel, destination: Address) -> str:
    found = kernel.lookup(Lookedup(Packet(destination, Address(destination.version, 1 << 24)), LOOPBACK))
    return (found.route.link or "") if found.route else ""


def _workload_link(kernel: Kernel, source: Address) -> str | None:
    """The link that leads to a workload with this address."""
    found = kernel.lookup(Lookedup(Packet(source, source), LOOPBACK))
    if found.route is None or found.route.type is not RouteType.UNICAST:
        return None
    hops = kernel.next_hops(found.route, source)
    link = kernel.link(hops[0].link) if hops else None
    is_own = found.route.prefix.length == source.host_prefix.length and hops and hops[0].gateway == source
    return link.name if link and (link.workload or (is_own and not link.owned)) else None


def _agreed(branches: list[Journey]) -> Journey:
    """One journey of several flows: the worst, because it has to be delivered by each."""
    translations = tuple(item for branch in branches for item in branch.translations)
    return min(branches, key=lambda branch: _RANK.get(type(branch.end), 0))._replace(translations=translations)


_RANK: Final[Mapping[type, int]] = {Broken: 0, Unknown: 1, Delivered: 2}


class Exchange(NamedTuple):
    """A packet there and its answer back; None where there is none to follow."""

    there: Journey
    back: Journey | None

    @property
    def first(self) -> Journey:
        """The journey that breaks first; that there if none does."""
        return self.back if self.back and isinstance(self.there.end, Delivered) else self.there


def exchange(follower: Follower, packet: Packet, origin: Origin, owner: str | None = None) -> Exchange:
    """There, and back if it was delivered. `owner`: of the destination's block by the cluster file."""
    there = _at_its_owner(follower.follow(packet, origin), owner)
    if not isinstance(there.end, Delivered):
        return Exchange(there, None)
    back_from = Origin(there.node, there.end.link or None)
    if there.end.declared_block:
        back_from = Origin(owner or there.node, "")
    answer = there.end.packet.answered()
    back = follower.follow(answer, back_from, there.translations)
    return Exchange(there, _at_its_owner(back, origin.node))


def _at_its_owner(there: Journey, owner: str | None) -> Journey:
    """A block that another node has too, which keeps its packets, is not where they are to go."""
    if isinstance(there.end, Delivered) and there.end.declared_block and owner not in (None, there.node):
        return there._replace(end=Broken(Cause(Break.NO_WORKLOAD, there.steps[-1].subject)))
    return there
