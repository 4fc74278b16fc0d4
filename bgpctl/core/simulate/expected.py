"""
The paths that a running node will have by another cluster file: those received now, as its policy would judge them, and
those that members would announce.

What a session that stays has brought is taken to stay, but for prefixes that the files keep away. What a session that
ends has brought goes with it.

Refuses to know: kernels, what routers outside the cluster will announce.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator

from bgpctl.core.bgp.adj_rib_in import AdjRibIn
from bgpctl.core.bgp.decision import Candidate, Choice, choose
from bgpctl.core.bgp.import_policy import Policy
from bgpctl.core.bgp.loc_rib import Decision, select
from bgpctl.core.bgp.next_hop_cost import NextHopCosts
from bgpctl.core.bgp.path import Path
from bgpctl.core.bgp.peer_table import Received
from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.simulate.part import Parts
from bgpctl.core.simulate.reach import classes, prefix_classes
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
    kept_away, announced = _by_members(wanted, node)
    for prefix in kept_away | announced.keys():
        choice = chosen.pop(prefix, None)
        candidates = [*choice.used, *(path for path, _ in choice.lost)] if choice else []
        if prefix in kept_away:
            candidates = [path for path in candidates if path.peer not in members]
        elif not any(path.peer in members for path in candidates):
            candidates.append(announced[prefix])
        if candidates:
            chosen[prefix] = choose(candidates)
    return tuple(chosen.values())


def _by_members(wanted: Intent, node: Node) -> tuple[set[Prefix], dict[Prefix, Candidate]]:
    """Prefixes of other members that the files keep away from the node, and the paths to all others."""
    kept_away, announced = set[Prefix](), dict[Prefix, Candidate]()
    comes = _comes(wanted, node)
    for owner, prefix in _of_others(wanted, node):
        own = owner.underlay(prefix.version)
        if not comes(owner, prefix):
            kept_away.add(prefix)
        elif own:
            received = Received(Path(prefix, own.address), 0.0)
            announced[prefix] = Candidate(own.address, wanted.asn_of(owner), internal=True, received=received)
    return kept_away - announced.keys(), announced


def _of_others(wanted: Intent, node: Node) -> Iterator[tuple[Node, Prefix]]:
    return ((owner, prefix) for owner in wanted.nodes if owner is not node for prefix in wanted.prefixes_of(owner))


def _comes(wanted: Intent, node: Node) -> Callable[[Node, Prefix], bool]:
    """
    Whether BGP brings a prefix of its owner to the node, by the files. Asked once for each kind of owner and of prefix.
    A router outside the cluster may bring it: then it does.
    """
    numbers, asked_of = classes(wanted, wanted), prefix_classes(wanted)
    kinds: dict[str, Hashable] = {
        other.name: (numbers[other.name], _near(node, other)) for other in wanted.nodes if other.name != node.name
    }
    first = {kind: name for name, kind in reversed(kinds.items())}
    parts = Parts(wanted, {node.name, *first.values()})
    known: dict[Hashable, bool] = {}

    def comes(owner: Node, prefix: Prefix) -> bool:
        kind = kinds[owner.name], asked_of(prefix)
        if kind not in known:
            found = missing(parts.announcing, node, prefix, parts.policies)
            known[kind] = found is None or found.code is ObstacleCode.ROUTER
        return known[kind]

    return comes


def _near(node: Node, other: Node) -> tuple[bool, ...]:
    """For each IP version whether the two are in one network."""
    pairs = ((node.underlay(version), other.underlay(version)) for version in (4, 6))
    return tuple(bool(own and theirs and own.network == theirs.network) for own, theirs in pairs)
