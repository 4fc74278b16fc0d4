"""
Routes that are put without an MTU where others have one.

Before Linux makes a fib_info for an IPv4 route by next-hop object, it looks for one that names the same object
(fib_find_info_nh, net/ipv4/fib_semantics.c), and compares no metrics: the route gets those of the other. With an
RTA_METRICS that is empty it does not look. To put 100,000 routes that way takes half as long again, so it is done only
where routes with an MTU are near.

Refuses to know: why a route has an MTU.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from bgpctl.core.dataplane.effects import Op
from bgpctl.core.dataplane.ops import RouteOps
from bgpctl.core.net.objects import Route
from bgpctl.core.net.route_set import RouteSet
from bgpctl.core.net.table import shard_of


def may_be_taken_over(ops: Sequence[Op], present: RouteSet) -> bool:
    """
    True if one of these routes has an MTU, or one in their shards has, so that a route without could get it. Asked once
    for all that are put together: they come in no order, so any few of them would be near all others.
    """
    routes = ops.routes if isinstance(ops, RouteOps) else [op.object for op in ops if isinstance(op.object, Route)]
    there: Iterable[Route] = present
    if len(routes) <= len(present.shards):
        near = {shard_of(route.prefix) for route in routes}
        there = chain.from_iterable(present.shards.get(key, ()) for key in near)
    return any(route.mtu_bytes for route in chain(routes, there))
