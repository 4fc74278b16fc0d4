"""
The paths that a running node will have by another cluster file: those received now, as its policy would judge them, and
those that members would announce.

What a session that stays has brought is taken to stay, but for prefixes that the files keep away. What a session that
ends has brought goes with it. A prefix that only a router can bring comes by the path that the router announces now.

Refuses to know: kernels, what routers outside the cluster will announce.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterator, Mapping
from typing import NamedTuple

from bgpctl.core.bgp.adj_rib_in import AdjRibIn
from bgpctl.core.bgp.decision import Candidate, Choice, choose
from bgpctl.core.bgp.import_policy import Policy
from bgpctl.core.bgp.loc_rib import Decision, select
from bgpctl.core.bgp.next_hop_cost import NextHopCosts
from bgpctl.core.bgp.path import Path
from bgpctl.core.bgp.received import Received
from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.simulate.part import Parts
from bgpctl.core.simulate.reach import classes, prefix_classes
from bgpctl.core.simulate.services import to_services
from bgpctl.core.trace.announced import ObstacleCode, missing


def paths(
    wanted: Intent, node: Node, received: AdjRibIn, costs: NextHopCosts, before: Decision | None = None
) -> tuple[Choice, ...]:
    """The choice for each prefix. `before`: the decision now, of which what stays is taken over."""
    config = speaker_config(wanted, node.name)
    if config is None:
        return ()
    policy = Policy.of(wanted, node, config, before=before.made_from.policy if before else None)
    staying = {peer: table for peer, table in received.items() if peer in policy.session_policies}
    chosen = dict(select(policy, staying, costs, before).loc_rib.best.items())
    members = {peer for peer, item in policy.session_policies.items() if item.member}
    kept_back = _Obstacles(wanted, node, classes(wanted, wanted), prefix_classes(wanted))
    for prefix, brought in _by_members(wanted, node, kept_back).items():
        choice = chosen.pop(prefix, None)
        of_peers = [*choice.used, *(path for path, _ in choice.lost)] if choice else []
        candidates = _candidates(of_peers, brought, members)
        if candidates:
            chosen[prefix] = choose(candidates)
    known = before.made_from.policy.ownership if before else None
    for choice in to_services(wanted, node):
        # Of one that is known already the paths of today say more: instances may be down.
        if known is None or not known.service(choice.best.path.prefix):
            chosen.setdefault(choice.best.path.prefix, choice)
    return tuple(chosen.values())


def by_files(wanted: Intent) -> Callable[[Node], tuple[Choice, ...]]:
    """The choices of each node by the files alone, for callers that ask about many nodes."""
    numbers, asked_of = classes(wanted, wanted), prefix_classes(wanted)

    def of(node: Node) -> tuple[Choice, ...]:
        brought = _by_members(wanted, node, _Obstacles(wanted, node, numbers, asked_of))
        to_blocks = (choose([item.path]) for item in brought.values() if item.path)
        return (*to_blocks, *to_services(wanted, node))

    return of


class _Brought(NamedTuple):
    """The files' word on a prefix of another member. `path`: to that, unless it is kept away."""

    path: Candidate | None
    by_router: bool = False


def _candidates(received: list[Candidate], brought: _Brought, members: Container[Address]) -> list[Candidate]:
    """Paths to one prefix: those received, that from a member in place of none, none of a member if it is kept away."""
    if brought.path is None:
        return [path for path in received if path.peer not in members]
    is_known = received if brought.by_router else any(path.peer in members for path in received)
    return received if is_known else [*received, brought.path]


def _by_members(wanted: Intent, node: Node, obstacle: _Obstacles) -> dict[Prefix, _Brought]:
    """The prefixes of other members. One that two have is taken to be the last one's that BGP brings."""
    found: dict[Prefix, _Brought] = {}
    for owner, prefix in _of_others(wanted, node):
        own, kept_back = owner.underlay(prefix.version), obstacle(owner, prefix)
        by_router = kept_back is ObstacleCode.ROUTER
        if own and (kept_back is None or by_router):
            path = Received(Path(prefix, own.address), 0.0)
            found[prefix] = _Brought(
                Candidate(own.address, wanted.asn_of(owner), internal=True, received=path), by_router
            )
        else:
            found.setdefault(prefix, _Brought(None))
    return found


def _of_others(wanted: Intent, node: Node) -> Iterator[tuple[Node, Prefix]]:
    return ((owner, prefix) for owner in wanted.nodes if owner is not node for prefix in wanted.prefixes_of(owner))


class _Obstacles:
    """
    The obstacle between a prefix of its owner and the node, by the files. Asked once for each kind of owner and of
    prefix. A router outside the cluster may bring it all the same.
    """

    def __init__(
        self,
        wanted: Intent,
        node: Node,
        numbers: Mapping[str, Hashable],
        asked_of: Callable[[Prefix], Hashable],
    ) -> None:
        self._node, self._asked_of = node, asked_of
        others = (other for other in wanted.nodes if other.name != node.name)
        self._kinds: dict[str, Hashable] = {other.name: (numbers[other.name], _near(node, other)) for other in others}
        first = {kind: name for name, kind in reversed(self._kinds.items())}
        self._parts = Parts(wanted, {node.name, *first.values()})
        self._known: dict[Hashable, ObstacleCode | None] = {}

    def __call__(self, owner: Node, prefix: Prefix) -> ObstacleCode | None:
        kind = self._kinds[owner.name], self._asked_of(prefix)
        if kind not in self._known:
            found = missing(self._parts.announcing, self._node, prefix, self._parts.policies)
            self._known[kind] = found.code if found else None
        return self._known[kind]


def _near(node: Node, other: Node) -> tuple[bool, ...]:
    """For each IP version whether the two are in one network."""
    pairs = ((node.underlay(version), other.underlay(version)) for version in (4, 6))
    return tuple(bool(own and theirs and own.network == theirs.network) for own, theirs in pairs)
