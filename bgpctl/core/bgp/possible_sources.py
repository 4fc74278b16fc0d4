"""
Which prefixes the peers whose tables are not complete may still announce, so that nothing else waits for them.

A member of the mesh that has no sessions with routers and reflects nothing announces its own blocks, and prefixes of
pools whose blocks are not known. Of any other peer every prefix is possible. A block of a node that is heard is
therefore not held back by another member; import policy would reject that one's path.

Refuses to know: the tables themselves, and for how long a peer is waited for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bgpctl.core.bgp.import_policy import Policy
from bgpctl.core.cluster.ownership import BlockOwnership
from bgpctl.core.net.addresses import Address, Prefix


@dataclass(frozen=True, slots=True)
class PossibleSources:
    """
    Attributes:
        uncertain: the addresses of peers that announce their own blocks alone.
        anything: another peer is uncertain, whose paths may be to any prefix.
    """

    ownership: BlockOwnership = field(compare=False, repr=False)
    uncertain: frozenset[Address]
    anything: bool
    _known: dict[Prefix, bool] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, policy: Policy, uncertain: Iterable[Address]) -> PossibleSources:
        """The sources by the policy of this node. A session without one, as during a handover, may have any path."""
        peers = frozenset(uncertain)
        passing_on = {name for peer in policy.ownership.intent.peers for name in (*peer.nodes, *peer.remotes)}
        policies = [policy.session_policies.get(peer) for peer in peers]
        members = [found.member for found in policies if found and found.member and not found.session.client]
        plain = [node for node in members if node.cluster_id is None and node.name not in passing_on]
        return cls(policy.ownership, peers, len(plain) < len(peers))

    def may_have(self, prefix: Prefix) -> bool:
        """True if an uncertain peer may still announce the prefix."""
        if self.anything:
            return True
        if prefix not in self._known:
            self._known[prefix] = self._may_have(prefix)
        return self._known[prefix]

    def _may_have(self, prefix: Prefix) -> bool:
        owner = self.ownership.owner(prefix)
        if owner is None:
            return not self.ownership.is_nobodys(prefix)
        return not self.uncertain.isdisjoint(owner.addresses)
