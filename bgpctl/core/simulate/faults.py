"""
Faults of a simulated cluster: nodes that are off, pairs of nodes whose underlay carries nothing, BGP speakers that are
dead.

Refuses to know: what follows from a fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bgpctl.core.bgp.speaker import Session
from bgpctl.core.cluster.intent import Intent


class NoSuchFault(Exception):
    """The text names nothing of the cluster; the message says what it should name."""


@dataclass(frozen=True, slots=True)
class Faults:
    """
    Attributes:
        nodes: that are off.
        cut: pairs of nodes between which no packet passes.
        speakers: nodes whose BGP speaker is dead, while they forward.
        peers: names of Peers of the files, or addresses of routers, that answer no session.
    """

    nodes: frozenset[str] = frozenset()
    cut: frozenset[frozenset[str]] = frozenset()
    speakers: frozenset[str] = frozenset()
    peers: frozenset[str] = frozenset()

    def plus(self, other: Faults) -> Faults:
        """Both."""
        return Faults(
            self.nodes | other.nodes,
            self.cut | other.cut,
            self.speakers | other.speakers,
            self.peers | other.peers,
        )

    @property
    def named(self) -> frozenset[str]:
        """The nodes that differ from others by a fault."""
        return self.nodes.union(self.speakers, *self.cut)

    def part_of(self, name: str) -> tuple[bool, bool, tuple[tuple[str, ...], ...]]:
        """All that the faults have about one node: equal for nodes that they do not name."""
        cut = sorted(tuple(sorted(pair)) for pair in self.cut if name in pair)
        return name in self.nodes, name in self.speakers, tuple(cut)

    def stop(self, ends: frozenset[str], *sessions: Session) -> bool:
        """True if a session between these nodes, as both ends have it, or with a router, cannot be."""
        names = {text for item in sessions for text in (item.by, item.name, str(item.peer)) if text}
        off = not ends.isdisjoint(self.nodes | self.speakers)
        return off or ends in self.cut or not names.isdisjoint(self.peers)


def parsed(text: str, intent: Intent) -> Faults:
    """
    `node:N`, `link:A-B` or `peer:P`: a Peer of the files by name or address, or a node, whose BGP speaker is dead then.

    Raises:
        NoSuchFault: there is none of this name.
    """
    kind, _, name = text.partition(":")
    match kind:
        case "node" if intent.node(name):
            return Faults(nodes=frozenset({name}))
        case "node":
            raise NoSuchFault(f"{text}: {name} is no node of the file")
        case "link":
            return Faults(cut=frozenset({_ends(text, name, intent)}))
        case "peer":
            return _of_peer(text, name, intent)
        case _:
            raise NoSuchFault(f"{text}: a fault is node:NAME, link:NAME-NAME or peer:NAME")


def _ends(text: str, names: str, intent: Intent) -> frozenset[str]:
    """Names may have hyphens themselves."""
    places = [index for index, letter in enumerate(names) if letter == "-"]
    for index in places:
        ends = names[:index], names[index + 1 :]
        if all(map(intent.node, ends)) and ends[0] != ends[1]:
            return frozenset(ends)
    raise NoSuchFault(f"{text}: a link is named by two nodes of the file, as link:a1-b1")


def _of_peer(text: str, name: str, intent: Intent) -> Faults:
    if name in set(_peers(intent)):
        return Faults(peers=frozenset({name}))
    if intent.node(name):
        return Faults(speakers=frozenset({name}))
    raise NoSuchFault(f"{text}: {name} is no peer of the file by name or address, and no node")


def _peers(intent: Intent) -> Iterator[str]:
    for peer in intent.peers:
        yield peer.name
        if peer.address:
            yield str(peer.address)
