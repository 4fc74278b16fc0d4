"""
The part of a cluster that decides about the packets between a few of its nodes.

A packet between two nodes of a thousand is followed through the kernels that the files would make, and each has a route
to every other node. Of these, few matter: nodes whose prefixes overlap those of the ends, nodes that are the gateway or
the BGP peer that an address of the files names, and those that may pass paths on. A cluster of these alone gives the
same answer, in milliseconds where the whole takes a second.

Refuses to know: what is asked of the part.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping

from bgpctl.core.bgp.import_policy import Policy
from bgpctl.core.cluster.allocations import Allocations
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.longest_match import LongestMatch
from bgpctl.core.simulate import alike


class Parts:
    """
    The parts of one cluster. It is indexed once, and the last part is kept: most questions come in a row.

    Args:
        intent: of the whole cluster.
        names: the nodes that will be asked about; None: any.

    Attributes:
        announcing: all nodes that a path between nodes that are asked about may pass.
        policies: theirs by name, filled as they are needed.
    """

    def __init__(self, intent: Intent, names: Iterable[str] | None = None) -> None:
        self.intent = intent
        self._addresses = {address: node.name for node in intent.nodes for address in node.addresses}
        self.policies: dict[str, Policy] = {}
        owned = [(prefix, node.name) for node in intent.nodes for prefix in intent.prefixes_of(node)]
        owners: dict[Prefix, tuple[str, ...]] = {}
        for prefix, name in owned:
            owners[prefix] = (*owners.get(prefix, ()), name)
        self._around = LongestMatch(owners.items())
        self._sorted = sorted(owned)
        owns = (own for node in intent.nodes for own in (node.address, node.address6) if own)
        self._gateway_of_others = frozenset(map(alike.usual_gateway, owns))
        self._last: tuple[tuple[str, ...], Intent] | None = None
        self._passing = frozenset(_passing(intent, self._addresses))
        asked = intent.by_name if names is None else {*names}
        self.announcing = part_of(self.intent, {*asked, *self.overlapping(asked), *self._passing})

    def of(self, *names: str) -> Intent:
        """The cluster of all kernels that packets between these nodes may pass."""
        if self._last is None or self._last[0] != names:
            self._last = names, self._made(names)
        return self._last[1]

    def _made(self, names: tuple[str, ...]) -> Intent:
        return part_of(self.intent, self.near(names))

    def near(self, names: Iterable[str]) -> set[str]:
        """These nodes, and those that decide about packets between them."""
        names = tuple(names)
        near = {*names, *self.overlapping(names)}
        return near | set(self._gateways(near))

    def serves_others(self, name: str) -> bool:
        """True if nodes may send packets or paths to this one that are not for it."""
        node = self.intent.node(name)
        return name in self._passing or (node is not None and not self._gateway_of_others.isdisjoint(node.addresses))

    def overlapping(self, names: Iterable[str]) -> Iterator[str]:
        """The nodes with prefixes that overlap those of these nodes, which are among them."""
        for node in filter(None, map(self.intent.node, names)):
            for prefix in self.intent.prefixes_of(node):
                for owners in self._around.matches(prefix):
                    yield from owners
                yield from self._inside(prefix)

    def _inside(self, prefix: Prefix) -> Iterator[str]:
        for index in range(bisect_left(self._sorted, (prefix, "")), len(self._sorted)):
            found, name = self._sorted[index]
            if found.version != prefix.version or found.network >= prefix.network + prefix.size:
                return
            yield name

    def _gateways(self, names: Iterable[str]) -> Iterator[str]:
        for node in filter(None, map(self.intent.node, names)):
            for own in (node.address, node.address6):
                gateway = self._addresses.get(alike.usual_gateway(own)) if own else None
                if gateway:
                    yield gateway


def part_of(intent: Intent, names: Collection[str]) -> Intent:
    """The cluster of these nodes alone."""
    by_name = {name: node for name, node in intent.by_name.items() if name in names}
    if len(by_name) == len(intent.nodes):
        return intent
    given = intent.allocations.by_node
    kept = Allocations({name: given[name] for name in by_name if name in given})
    return intent.with_index(by_name, allocations=kept)


def _passing(intent: Intent, addresses: Mapping[Address, str]) -> Iterator[str]:
    """Nodes that may pass paths on, or that a peer's address names: all, if members have sessions between ASes."""
    if _has_external_sessions(intent, addresses):
        yield from intent.by_name
        return
    yield from (node.name for node in intent.nodes if node.cluster_id is not None)
    yield from (name for peer in intent.peers if (name := addresses.get(peer.address) if peer.address else None))


def _has_external_sessions(intent: Intent, members: Collection[Address]) -> bool:
    """True if a session between two members may be an external one, by which they pass on what they have."""
    between = [peer for peer in intent.peers if peer.remotes or peer.address in members]
    if not intent.mesh and not between:
        return False
    of_nodes = {intent.asn_of(node) for node in intent.nodes}
    of_peers = {asn for peer in between for asn in (peer.asn, peer.local_asn) if asn is not None}
    return len(of_nodes | of_peers) > 1
