"""
The answers of nodes that were asked for their kernels, and the reasons of those that could not be.

A route that BGP should have brought and that is not there has its reason in the agent's RIBs, which no kernel has. So
the agent adds it for the blocks of the cluster.

Refuses to know: who asks, by which channel, the words of an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bgpctl.core.cluster.reasons import Reason
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.trace.announced import Obstacle
from bgpctl.core.trace.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """
    Attributes:
        node: its name.
        configuration: the digest of the configuration that is in force there; empty where it runs no agent.
        snapshot: its kernel.
        reasons: of the routes of ours, by prefix.
        absent: blocks and borrowed addresses of other nodes to which no route of ours leads there, each with the
            reason as far as the agent knows it.
        problems: what its agent has to say while it is degraded, in its words.
    """

    node: str
    configuration: str
    snapshot: Snapshot
    reasons: Mapping[Prefix, Reason] = field(default_factory=dict)
    absent: Mapping[Prefix, Obstacle] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answers:
    """`given` by node; `unasked`: the nodes that could not be asked, each with the reason in words."""

    given: Mapping[str, NodeAnswer] = field(default_factory=dict)
    unasked: Mapping[str, str] = field(default_factory=dict)

    def plus(self, more: Answers) -> Answers:
        """With those of `more`."""
        return Answers({**self.given, **more.given}, {**self.unasked, **more.unasked})
