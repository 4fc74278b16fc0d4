"""
How far a BGP next hop is, by this node's own routes.

Refuses to know: encapsulations. Reads only objects that are not ours: a route of ours that resolved its own next hop
would keep itself up.
"""

from __future__ import annotations

from typing import Final

from bgpctl.core.net.addresses import Address
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.fib import foreign_fib
from bgpctl.core.net.objects import LOCAL_TABLE, MAIN_TABLE, RouteType

_REMEMBERED: Final = 1 << 16


class NextHopCosts:
    """
    The interior cost of next hops (RFC 4271, section 9.1.2.2 e): 0 on a connected network, otherwise one more than
    the metric of the route that leads there. Before the first observation nothing is known to be unreachable.
    """

    def __init__(self, dataplane: Dataplane | None, unreachable: frozenset[Address] = frozenset()) -> None:
        self._dataplane = dataplane
        self._unreachable = unreachable
        self._fib = foreign_fib(dataplane) if dataplane is not None else None
        self._known: dict[Address, int | None] = {}

    def of(self, dataplane: Dataplane, unreachable: frozenset[Address] = frozenset()) -> NextHopCosts:
        """The costs in this dataplane: these, if they are of the same one, and the same members do not answer."""
        is_same = dataplane is self._dataplane and unreachable == self._unreachable
        return self if is_same else NextHopCosts(dataplane, unreachable)

    def is_answering(self, next_hop: Address | None) -> bool:
        """False for a member that is known not to get what is sent to it."""
        return next_hop not in self._unreachable

    def cost(self, next_hop: Address) -> int | None:
        """None if no route leads to the next hop, or the kernel would not accept it as one."""
        if next_hop not in self._known:
            self._known[next_hop] = self._cost(next_hop)
        return self._known[next_hop]

    def are_those_of(self, before: NextHopCosts) -> bool:
        """True if every cost that was asked `before` is the same here: what followed from these still holds."""
        if self is before:
            return True
        if self._unreachable != before._unreachable:
            return False
        asked = tuple(before._known.items())
        return len(asked) <= _REMEMBERED and all(self.cost(next_hop) == cost for next_hop, cost in asked)

    def _cost(self, next_hop: Address) -> int | None:
        if self._fib is None:
            return 0
        if self._fib.in_table(LOCAL_TABLE, next_hop):
            # An address of this node, or a broadcast address: the kernel refuses it as a gateway (fib_check_nh).
            return None
        route = self._fib.in_table(MAIN_TABLE, next_hop)
        if route is None or route.type is not RouteType.UNICAST:
            return None
        connected = route.gateway is None and not route.next_hop
        return 0 if connected else 1 + route.metric
