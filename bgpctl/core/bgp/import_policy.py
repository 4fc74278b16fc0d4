"""
Import policy: rules that no filter can lift, then the filters, then the default where no filter matches.

Refuses to know: the best of several accepted paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from bgpctl.core.bgp import filters, roles
from bgpctl.core.bgp.adj_rib_in import PREFIX_LIMIT
from bgpctl.core.bgp.filters import Subject
from bgpctl.core.bgp.path import Attributes, Path, members
from bgpctl.core.bgp.session_policy import SessionPolicy, session_policies
from bgpctl.core.bgp.sessions import router_id
from bgpctl.core.bgp.speaker import SpeakerConfig
from bgpctl.core.cluster.configuration import FilterRule, Node, Pool, Service
from bgpctl.core.cluster.crossing import encapsulation_to
from bgpctl.core.cluster.encapsulation import DIRECT
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.ownership import BlockOwnership
from bgpctl.core.cluster.reasons import RejectCode, Rejection
from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.core.net.longest_match import LongestMatch

GRACEFUL_SHUTDOWN: Final = (65535, 0)
"""GRACEFUL_SHUTDOWN (RFC 8326): the receiver prefers any other path."""

_ORIGINS: Final = frozenset({"igp", "egp", "incomplete"})

_MOST_PREFIXES: Final = 1_000_000
"""IPv6 pools have more prefixes than fit into any memory."""

# Nowhere to send a packet to (RFC 6890): "this network", loopback, multicast and reserved, link-local.
_MARTIANS: Final = LongestMatch(
    (Prefix.parse(text), text)
    for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "fe80::/10", "ff00::/8")
)


@dataclass(frozen=True, slots=True)
class Policy:
    """
    The import and export policy of one node: block ownership, and session policies by the peer's address.

    Attributes:
        cluster_id: as which the node reflects (RFC 4456): its own, or a former one during handover. Only its own in a
            path shows a loop.
    """

    ownership: BlockOwnership
    session_policies: Mapping[Address, SessionPolicy]
    cluster_id: Address | None

    @classmethod
    def of(
        cls,
        intent: Intent,
        node: Node,
        config: SpeakerConfig,
        former_cluster_id: Address | None = None,
        before: Policy | None = None,
    ) -> Policy:
        """Indexed once for each change of the cluster file. Session policies that are equal are those of `before`."""
        known = before.session_policies if before else {}
        policies = {item.peer: item for item in session_policies(intent, config)}
        policies = {peer: known[peer] if item == known.get(peer) else item for peer, item in policies.items()}
        return cls(BlockOwnership(intent, node), policies, node.cluster_id or former_cluster_id)

    def announces_as(self, before: Policy) -> bool:
        """True if the same follows from both for every announcement: all that export policy asks of them is equal."""
        here, there = self.ownership, before.ownership
        return (
            (self.session_policies, self.cluster_id) == (before.session_policies, before.cluster_id)
            and (here.own, here.node) == (there.own, there.node)
            and here.intent.pools == there.intent.pools
            and here.intent.advertisements == there.intent.advertisements
            and here.intent.services == there.intent.services
        )

    @property
    def limit(self) -> int:
        """The prefix limit of one peer: more than fit into the pools is an error, or a full table."""
        return min(PREFIX_LIMIT + self.ownership.capacity, _MOST_PREFIXES)


def verdict(ownership: BlockOwnership, session_policy: SessionPolicy, path: Path) -> Path | Rejection:
    """
    `path` as accepted from this session, or the first rule that rejects it.

    ExaBGP passes malformed and looping paths through: RFC 4271 section 6.3, RFC 4456 section 8, RFC 7606.
    """
    return Judge(ownership, session_policy)(path)


class Judge:
    """
    The verdicts on the paths of one session. Many have the same attributes, and what these alone decide is decided
    once: a table of 50,000 prefixes costs a third of the time so.
    """

    def __init__(self, ownership: BlockOwnership, session_policy: SessionPolicy) -> None:
        self._ownership = ownership
        self._session_policy = session_policy
        self._internal = session_policy.internal
        self._rejections: dict[tuple[object, ...], Rejection | None] = {}

    def __call__(self, path: Path) -> Path | Rejection:
        """As `verdict`."""
        ownership, session_policy, prefix = self._ownership, self._session_policy, path.prefix
        rejection = self._by_attributes(path)
        if rejection:
            return rejection
        place = _Place(ownership.pool(prefix), ownership.owner(prefix))
        if prefix.length and (rejection := _ownership(ownership, session_policy, path, place)):
            return rejection
        role = session_policy.session.role
        marked = roles.received(role, session_policy.session.peer_asn, path) if role is not None else path
        known = marked if self._claims_nothing(marked) else _without_foreign_claims(session_policy, marked)
        seen = _through_tunnels_to_members(ownership, known, place)
        if isinstance(seen, Rejection):
            return seen
        match = _match(session_policy, seen)
        if match and not match.rule.accept:
            return Rejection(RejectCode.FILTER, match.filter)
        rejection = None if match else _default_policy(ownership, session_policy, path, place)
        return rejection or _least_preferred_if_draining(_operated(seen, match.rule) if match else seen)

    def _by_attributes(self, path: Path) -> Rejection | None:
        read = (
            path.prefix.version,
            path.next_hop,
            path.as_path,
            path.origin,
            path.originator,
            path.cluster_list,
            path.passed_on,
        )
        if read not in self._rejections:
            self._rejections[read] = next(_attributes_never(self._ownership, self._session_policy, path), None)
        return self._rejections[read]

    def _claims_nothing(self, path: Path) -> bool:
        """True for what `_without_foreign_claims` leaves as it is, in most cases."""
        return path.originator is None and (self._internal or (path.local_pref is None and not path.cluster_list))


class _Place(NamedTuple):
    """Where a prefix lies."""

    pool: Pool | None
    owner: Node | None


def _match(session_policy: SessionPolicy, path: Path) -> filters.Match | None:
    if not session_policy.filters:
        return None
    return filters.on_import(
        session_policy.filters,
        Subject(path.prefix, _attributes(path), learned=True, external=not session_policy.internal),
    )


def _attributes_never(ownership: BlockOwnership, session_policy: SessionPolicy, path: Path) -> Iterator[Rejection]:
    """Rules on attributes that no filter can override. They read what `Judge._by_attributes` remembers them by."""
    if path.origin not in _ORIGINS:
        yield Rejection(RejectCode.BAD_ORIGIN, path.origin)
    yield from _next_hop(ownership, path)
    yield from _loops(ownership, session_policy, path)
    if roles.is_leak(session_policy.session.role, session_policy.session.peer_asn, path):
        yield Rejection(RejectCode.ROUTE_LEAK, str(roles.only_to_customer(path.passed_on)))


def _next_hop(ownership: BlockOwnership, path: Path) -> Iterator[Rejection]:
    hop = path.next_hop
    if hop is None:
        yield Rejection(RejectCode.NO_NEXT_HOP)
    elif hop.version != path.prefix.version or _MARTIANS.holding(hop):
        yield Rejection(RejectCode.BAD_NEXT_HOP, str(hop))
    elif ownership.is_own(hop):
        yield Rejection(RejectCode.OWN_NEXT_HOP, str(hop))


def _loops(ownership: BlockOwnership, session_policy: SessionPolicy, path: Path) -> Iterator[Rejection]:
    session, node = session_policy.session, ownership.node
    may_be_other = session_policy.route_server and path.as_path
    if not session_policy.internal and not may_be_other and path.as_path[:1] != (session.peer_asn,):
        yield Rejection(RejectCode.FIRST_AS, " ".join(map(str, path.as_path)) or "empty")
    if (
        path.as_path
        and sum(asn in _own_asns(ownership, session_policy) for asn in members(path.as_path))
        > session_policy.allowed_own_as
    ):
        yield Rejection(RejectCode.OWN_AS, " ".join(map(str, path.as_path)))
    if session_policy.internal and path.originator == router_id(node):
        yield Rejection(RejectCode.OWN_ORIGINATOR)
    if session_policy.internal and node.cluster_id in path.cluster_list:
        yield Rejection(RejectCode.OWN_CLUSTER, str(node.cluster_id))


def _own_asns(ownership: BlockOwnership, session_policy: SessionPolicy) -> set[Asn]:
    """A local AS for the session does not hide the node's own one, unless that is what the external peer has too."""
    own = {session_policy.session.local_asn, ownership.intent.asn_of(ownership.node)}
    return own if session_policy.internal else own - {session_policy.session.peer_asn}


def _ownership(ownership: BlockOwnership, session_policy: SessionPolicy, path: Path, place: _Place) -> Rejection | None:
    """Rules on the prefix that no filter can override."""
    prefix, (pool, owner) = path.prefix, place
    if _MARTIANS.covering(prefix):
        return Rejection(RejectCode.MARTIAN)
    if owner == ownership.node or ownership.covers_own_block(prefix):
        return Rejection(RejectCode.OWN_BLOCK)
    if ownership.covers_node(prefix):
        return Rejection(RejectCode.COVERS_NODE)
    if pool is None and ownership.on_underlay(prefix):
        return Rejection(RejectCode.ON_UNDERLAY)
    if pool and not pool.by_bgp:
        return Rejection(RejectCode.NOT_BY_BGP, pool.name)
    if owner and not _leads_to(ownership, session_policy, path, owner):
        return Rejection(RejectCode.OTHERS_BLOCK, owner.name)
    if pool and session_policy.member and owner is None and ownership.is_nobodys(prefix):
        return Rejection(RejectCode.NOBODYS_BLOCK, pool.name)
    service = ownership.service(prefix)
    return _of_instance(ownership, session_policy, path, service) if service else None


def _of_instance(
    ownership: BlockOwnership, session_policy: SessionPolicy, path: Path, service: Service
) -> Rejection | None:
    """
    A node with an instance delivers to that, so it must not pass on the paths of others as if it led to them; and only
    those that the configuration names may announce the address.
    """
    instances = ownership.instances(service)
    if ownership.node in instances:
        return Rejection(RejectCode.OWN_SERVICE, service.name)
    if not any(_leads_to(ownership, session_policy, path, node) for node in instances):
        return Rejection(RejectCode.NO_INSTANCE, service.name)
    return None


def _leads_to(ownership: BlockOwnership, session_policy: SessionPolicy, path: Path, owner: Node) -> bool:
    """
    True if the path ends at the owner of the block: by its next hop, by the originator that a reflector names, or, from
    a router outside the cluster, by the AS that the path began in (as RFC 6811 validates an origin AS).
    """
    if path.next_hop in owner.addresses:
        return True
    if session_policy.internal:
        return session_policy.may_reflect and path.originator == router_id(owner)
    return session_policy.member is None and path.as_path[-1] == ownership.intent.asn_of(owner)


def _default_policy(
    ownership: BlockOwnership, session_policy: SessionPolicy, path: Path, place: _Place
) -> Rejection | None:
    """The rule where no filter has decided: RFC 8212's default for routers outside, pools for everyone else."""
    if path.prefix.length == 0:
        return Rejection(RejectCode.DEFAULT_ROUTE)
    if ownership.service(path.prefix):  # of an instance, as was shown
        return None
    pool, owner = place
    if pool is None:
        return Rejection(RejectCode.OUTSIDE_POOLS)
    if session_policy.internal and owner is None and ownership.is_nobodys(path.prefix):
        return Rejection(RejectCode.NOBODYS_BLOCK, pool.name)
    known = session_policy.internal or session_policy.member is not None or owner is not None
    return None if known else Rejection(RejectCode.NO_POLICY)


def _through_tunnels_to_members(ownership: BlockOwnership, path: Path, place: _Place) -> Path | Rejection:
    """
    The path, with its owner's address as next hop where it would go through a tunnel to another host: a tunnel carries
    to a member only what is the member's, so that is where it ends. Without an owner any member's will do.
    """
    (pool, owner), hop = place, path.next_hop
    if pool is None or hop is None or encapsulation_to(pool, ownership.node, hop) == DIRECT:
        return path
    if owner is None:
        return path if ownership.is_member(hop) else Rejection(RejectCode.NOT_A_MEMBER, str(hop))
    end = owner.underlay(path.prefix.version)
    if end is None:
        return Rejection(RejectCode.NOT_A_MEMBER, str(hop))
    return path if hop in owner.addresses else replace(path, next_hop=end.address)


def _without_foreign_claims(session_policy: SessionPolicy, path: Path) -> Path:
    """
    Without the attributes that no external peer may set (RFC 4271 section 5.1.5, RFC 7606 sections 7.9 and 7.10), and
    without an ORIGINATOR_ID of a member that is no route reflector. A CLUSTER_LIST of its own only makes a path worse.
    """
    if not session_policy.may_reflect:
        path = path if path.originator is None else replace(path, originator=None)
    claims = (path.local_pref, path.originator, path.cluster_list)
    if session_policy.internal or claims == (None, None, ()):
        return path
    return replace(path, local_pref=None, originator=None, cluster_list=())


def _least_preferred_if_draining(path: Path) -> Path:
    return replace(path, local_pref=0) if GRACEFUL_SHUTDOWN in path.communities else path


def _attributes(path: Path) -> Attributes:
    return Attributes(path.next_hop, path.as_path, path.local_pref, path.med, path.communities)


def _operated(path: Path, rule: FilterRule) -> Path:
    after = filters.operated(rule, _attributes(path))
    return replace(path, as_path=after.as_path, local_pref=after.local_pref, communities=after.communities)
