"""
The operator's intent as one part of the agent's state: the last good cluster files, and the last edit's problems.

Refuses to know: how files are read, and what follows from an intent.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from bgpctl.core.bgp.adj_rib_in import PREFIX_LIMIT
from bgpctl.core.bgp.import_policy import Policy
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Problem
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.replacing import replace


@dataclass(frozen=True, slots=True)
class OperatorIntent:
    """
    Attributes:
        in_force: the last good intent; None before the first.
        problems: of the last edit, if it was rejected.
        policy: the import and export policy of the configured sessions; None where there is no BGP.
    """

    in_force: Intent | None = None
    problems: tuple[Problem, ...] = ()
    policy: Policy | None = field(default=None, compare=False)

    @property
    def cluster_id(self) -> Address | None:
        """The cluster id of the reflector that this node is, or was until its role ended (RFC 4456)."""
        return self.policy.cluster_id if self.policy else None

    @property
    def discovers_mtu(self) -> bool:
        """True if routes get the path MTU that probes have found."""
        return self.in_force is not None and self.in_force.mtu_discovery

    @property
    def prefix_limit(self) -> int:
        """The number of prefixes that a peer may announce."""
        return self.policy.limit if self.policy else PREFIX_LIMIT

    @property
    def member_peers(self) -> Collection[Address]:
        """Peers that are nodes of the cluster."""
        policies = self.policy.session_policies if self.policy else {}
        return {peer for peer, item in policies.items() if item.member}

    @property
    def internal_peers(self) -> Collection[Address]:
        """Peers of the same AS."""
        policies = self.policy.session_policies if self.policy else {}
        return {peer for peer, item in policies.items() if item.internal}

    def accepted(self, intent: Intent) -> OperatorIntent:
        """A good edit comes into force."""
        return replace(self, in_force=intent, problems=())

    def rejected(self, problems: tuple[Problem, ...]) -> OperatorIntent:
        """A bad edit leaves the last good intent in force."""
        return replace(self, problems=problems)

    def with_policy(self, policy: Policy | None) -> OperatorIntent:
        """The sessions changed, and the policy with them."""
        return replace(self, policy=policy)
