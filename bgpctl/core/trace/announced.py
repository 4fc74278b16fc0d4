"""
How a prefix comes by BGP from its owner to another node, by the files alone; or the first place that keeps it back.

The functions that the agents run decide: export policy at the sender, import policy at the receiver. Sessions are taken
to be established, and every node to announce its own blocks.

Refuses to know: routers outside the cluster, best paths among several, what an agent has received.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import NamedTuple

from bgpctl.core.bgp.decision import Candidate, Choice
from bgpctl.core.bgp.export_policy import Announceable, ExportInput, announceable, routes_for
from bgpctl.core.bgp.filters import Subject, on_export
from bgpctl.core.bgp.import_policy import Policy, verdict
from bgpctl.core.bgp.path import Attributes, Path
from bgpctl.core.bgp.received import Received
from bgpctl.core.bgp.session_policy import SessionPolicy
from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.cluster.configuration import Backend, Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Place
from bgpctl.core.cluster.reasons import RejectCode, Rejection
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.longest_match import LongestMatch
from bgpctl.core.net.table import Table


class ObstacleCode(enum.Enum):
    """Why a node has no route to a destination."""

    NO_POOL = "no-pool"
    NO_BLOCK = "no-block"
    NO_SESSION = "no-session"
    EXPORT_DISABLED = "export-disabled"
    EXPORT_FILTER = "export-filter"
    NOT_ANNOUNCED = "not-announced"
    IMPORT = "import"
    ROUTER = "router"
    SESSION_DOWN = "session-down"
    NOT_RECEIVED = "not-received"
    NOT_INSTALLED = "not-installed"
    PEER_SILENT = "peer-silent"
    """The last four are what an agent or its kernel knows, and never follow from files."""


class Obstacle(NamedTuple):
    """
    Attributes:
        at: the node that keeps it back, or has nothing.
        peer: the other end of the session; the name of a router for ROUTER.
        detail: the filter's name, a pool's, or what the destination lies in.
        place: where in the files that stands.
        rejection: of the import policy.
    """

    code: ObstacleCode
    at: str
    peer: str = ""
    detail: str = ""
    place: Place | None = None
    rejection: Rejection | None = None


def missing(
    intent: Intent,
    node: Node,
    prefix: Prefix,
    policies: dict[str, Policy] | None = None,
    owner_of_prefix: Callable[[Prefix], Node | None] | None = None,
) -> Obstacle | None:
    """
    The obstacle that keeps the prefix from the node; None if it comes there, or is its own.

    For callers that ask about many prefixes: `policies` has those of this intent by node, filled as they are needed,
    and `owner_of_prefix` is asked instead of all nodes.
    """
    pool = intent.pool_of(prefix)
    if pool is None:
        return Obstacle(ObstacleCode.NO_POOL, node.name)
    owner = owner_of_prefix(prefix) if owner_of_prefix else owner_of(intent, prefix)
    if owner is None:
        return Obstacle(ObstacleCode.NO_BLOCK, node.name, detail=pool.name, place=pool.place)
    if owner == node or not pool.by_bgp:
        return None
    if intent.backend is not Backend.BIRD:  # a cluster that the reader refuses: nothing brings blocks of this pool
        return Obstacle(ObstacleCode.NO_SESSION, node.name, owner.name)
    return _Spread(intent, prefix, {} if policies is None else policies).from_to(owner, node)


def owner_of(intent: Intent, prefix: Prefix) -> Node | None:
    """The node of the narrowest block or borrowed address that covers the prefix."""
    found = [(own.length, node.name) for node in intent.nodes for own in intent.prefixes_of(node) if own.covers(prefix)]
    return intent.node(max(found)[1]) if found else None


class Owners:
    """The nodes of one cluster by what they have, for callers that ask often."""

    def __init__(self, intent: Intent) -> None:
        self._intent = intent
        # Of two nodes with one prefix the last by name is found first, as `owner_of` does.
        nodes = sorted(intent.nodes, key=attrgetter("name"), reverse=True)
        self._by_prefix = LongestMatch((prefix, node) for node in nodes for prefix in intent.prefixes_of(node))
        self._by_address: dict[Address, Node] = {}
        for node in intent.nodes:
            for address in (*node.addresses, *intent.tunnel_addresses(node)):
                self._by_address.setdefault(address, node)

    def of(self, prefix: Prefix) -> Node | None:
        """As `owner_of`."""
        return self._by_prefix.covering(prefix)

    def at(self, address: Address) -> Node | None:
        """The node whose address it is, or whose block it is in; None if it is outside."""
        return self._by_address.get(address) or self.of(address.host_prefix)


class _Spread:
    """One prefix on its way through the sessions of the cluster."""

    def __init__(self, intent: Intent, prefix: Prefix, policies: dict[str, Policy]) -> None:
        self._intent = intent
        self._prefix = prefix
        self._policies = policies

    def from_to(self, owner: Node, node: Node) -> Obstacle | None:
        """By as few sessions as possible. The obstacle that is named is that of the first one."""
        first: Obstacle | None = None
        has: dict[str, Candidate | None] = {owner.name: None}
        frontier = [owner]
        while frontier:
            following: list[Node] = []
            for sender in frontier:
                for receiver, session in self._receivers(sender, node):
                    if receiver.name in has:
                        continue
                    found = self._over(sender, receiver, session, has[sender.name])
                    if isinstance(found, Obstacle):
                        first = first or (found if receiver == node else None)
                        continue
                    if receiver == node:
                        return None
                    has[receiver.name] = found
                    following.append(receiver)
            frontier = following
        return first or self._by_router(owner, node) or Obstacle(ObstacleCode.NO_SESSION, node.name, owner.name)

    def _receivers(self, sender: Node, wanted: Node) -> Iterator[tuple[Node, SessionPolicy]]:
        """
        The members at the other ends: the wanted one first, then those that pass paths on, to members of other ASes
        too.
        """
        ends = self._policy(sender).session_policies.values()
        for session in sorted(ends, key=lambda end: end.member is None or end.member.name != wanted.name):
            member = session.member
            passes = member and (member.cluster_id is not None or not session.internal)
            if member and session.session.version == self._prefix.version and (member == wanted or passes):
                yield member, session

    def _over(
        self, sender: Node, receiver: Node, session: SessionPolicy, learned: Candidate | None
    ) -> Candidate | Obstacle:
        attributes = self._exported(sender, session, learned)
        if isinstance(attributes, Obstacle):
            return attributes
        ends = self._policy(receiver).session_policies.values()
        end = next(
            (item for item in ends if item.member == sender and item.session.version == self._prefix.version), None
        )
        if end is None:
            return Obstacle(ObstacleCode.NO_SESSION, receiver.name, sender.name)
        own = sender.underlay(self._prefix.version)
        hop = attributes.next_hop or (own.address if own else None)
        path = Path(
            self._prefix,
            hop,
            attributes.as_path,
            attributes.origin,
            attributes.local_pref,
            communities=attributes.communities,
            originator=attributes.originator,
            cluster_list=attributes.cluster_list,
        )
        accepted = verdict(self._policy(receiver).ownership, end, path)
        if isinstance(accepted, Rejection):
            place = self._filter_place(end, accepted)
            return Obstacle(ObstacleCode.IMPORT, receiver.name, sender.name, accepted.detail, place, accepted)
        peer = end.session.peer
        return Candidate(peer, end.session.peer_asn, internal=end.internal, received=Received(accepted, 0.0))

    def _exported(self, sender: Node, session: SessionPolicy, learned: Candidate | None) -> Attributes | Obstacle:
        choices = Table[Choice]() if learned is None else Table[Choice]().changed({self._prefix: Choice(learned)})
        paths = announceable(choices)
        attributes = self._routes(sender, session, paths).get(self._prefix)
        if attributes is not None:
            return attributes
        peer = session.session.name
        subject = Subject(self._prefix, Attributes(), learned=learned is not None, external=not session.internal)
        match = on_export(session.filters, subject)
        if match and not match.rule.accept:
            place = next((item.place for item in session.filters if item.name == match.filter), None)
            return Obstacle(ObstacleCode.EXPORT_FILTER, sender.name, peer, match.filter, place)
        pool = self._intent.pool_of(self._prefix)
        if pool and pool.disable_bgp_export:
            return Obstacle(ObstacleCode.EXPORT_DISABLED, sender.name, peer, pool.name, pool.place)
        return Obstacle(ObstacleCode.NOT_ANNOUNCED, sender.name, peer)

    def _routes(self, sender: Node, session: SessionPolicy, paths: Announceable) -> Mapping[Prefix, Attributes]:
        read = ExportInput(self._policy(sender), paths, _no_link, draining=False, accepts={})
        return routes_for(read, session).routes

    def _filter_place(self, end: SessionPolicy, rejection: Rejection) -> Place | None:
        if rejection.reason is not RejectCode.FILTER:
            return None
        return next((item.place for item in end.filters if item.name == rejection.detail), None)

    def _by_router(self, owner: Node, node: Node) -> Obstacle | None:
        """Both have a session with a router outside: what that passes on is not known."""
        ends = [
            [item.session.name for item in self._policy(end).session_policies.values() if item.member is None]
            for end in (owner, node)
        ]
        return Obstacle(ObstacleCode.ROUTER, node.name, ends[1][0]) if all(ends) else None

    def _policy(self, node: Node) -> Policy:
        if node.name not in self._policies:
            config = speaker_config(self._intent, node.name)
            if config is None:
                raise AssertionError(
                    "a pool that is routed by BGP with blocks needs BGP: the reader refuses it otherwise"
                )
            self._policies[node.name] = Policy.of(self._intent, node, config)
        return self._policies[node.name]


def _no_link(_: Prefix) -> None:
    return None
