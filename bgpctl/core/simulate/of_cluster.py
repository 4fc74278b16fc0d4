"""
The effects of a change on the nodes of a cluster, by the files alone: kernels with nothing beside us, and the paths
that BGP brings by the policies and sessions of each file.

Refuses to know: what is in any kernel now, what routers outside announce.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from bgpctl.core.bgp.decision import Choice
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.simulate import expected
from bgpctl.core.simulate.preview import Members, Present, Preview, assumed_kernel, converged_of, preview_of
from bgpctl.core.simulate.sample import kinds


def of_cluster(before: Intent | None, wanted: Intent) -> tuple[Preview, ...]:
    """The effects on every node. Of nodes that are alike the first one stands for all."""
    former = before or Intent()
    of_each = kinds(former, wanted)
    groups: dict[int, list[Node]] = {}
    for node in wanted.nodes:
        groups.setdefault(of_each[node.name], []).append(node)
    both = _Side(former), _Side(wanted)
    return tuple(
        replace(_of_node(*both, first), alike=tuple(node.name for node in more)) for first, *more in groups.values()
    )


def of_node(before: Intent | None, wanted: Intent, node: Node) -> Preview:
    """The effects on one node."""
    return _of_node(_Side(before or Intent()), _Side(wanted), node)


class _Side:
    """One file: its members, and the paths that it brings to a node."""

    def __init__(self, intent: Intent) -> None:
        self.members = Members(intent)
        self.paths: Callable[[Node], Collection[Choice]] = expected.by_files(intent)


def _of_node(former: _Side, later: _Side, node: Node) -> Preview:
    was = former.members.intent.node(node.name)
    kernel = assumed_kernel(was or node)
    if was:
        kernel = converged_of(former.members, was, kernel, former.paths(was))
    return preview_of(later.members, node, kernel, Present(paths=later.paths(node)), former.members)
