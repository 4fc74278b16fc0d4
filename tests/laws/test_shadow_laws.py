"""A shadow is reported if and only if some packet into a pool does not take our route to it."""

from __future__ import annotations

from hypothesis import event, given
from hypothesis import strategies as st

from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.core.net.dataplane import Dataplane, surroundings
from bgpctl.core.net.fib import Fib
from bgpctl.core.net.objects import (
    METRIC,
    PROTOCOL,
    Link,
    LinkAddress,
    NextHop,
    Plain,
    Route,
    RouteType,
    Rule,
    RuleAction,
)
from bgpctl.core.trace.packet import Packet
from bgpctl.core.trace.selectors import Lookedup, selects
from bgpctl.core.trace.shadows import shadows, suspects

POOL = Prefix.parse("10.244.0.0/26")
OWN = Prefix.parse("10.244.0.0/28")
SOURCE, OTHER_SOURCE = "from 10.244.0.0/28", "from 10.9.0.0/16"
HOPS = (
    NextHop(1, "tunl0", Address.parse("10.1.0.3"), onlink=True),
    NextHop(2, "eth0", Address.parse("10.0.0.2"), onlink=True),
)
WIRES = (
    Link("eth0", Plain("veth"), 1500, owned=False),
    Link("tunl0", Plain("ipip"), 1480, owned=False),
    Link("cali1", Plain("veth"), 1500, owned=False, workload=True),
    LinkAddress("eth0", InterfaceAddress.parse("10.0.0.1/24")),
)

prefixes = st.builds(
    lambda length, at: (
        Prefix(4, POOL.network + (at >> 32 - length << 32 - length & 63), length)
        if length > 26
        else Prefix.parse({26: "10.244.0.0/26", 25: "10.244.0.0/16", 24: "0.0.0.0/0"}[length])
    ),
    st.integers(24, 32),
    st.integers(0, 63),
)
ours = st.lists(
    st.sampled_from(HOPS).flatmap(
        lambda hop: st.integers(1, 3).map(lambda at: Route(Prefix(4, POOL.network + 16 * at, 28), next_hop=hop.id))
    ),
    unique_by=lambda route: route.prefix,
    max_size=3,
)
foreign = st.lists(
    st.builds(
        lambda prefix, metric, table, where, kind: Route(
            prefix,
            kind,
            link=where[0] if kind is RouteType.UNICAST else None,
            gateway=where[1] if kind is RouteType.UNICAST else None,
            metric=metric,
            table=table,
            protocol=3,
        ),
        prefixes,
        st.sampled_from((0, METRIC + 1)),
        st.sampled_from((254, 100)),
        st.sampled_from((("eth0", Address.parse("10.0.0.254")), ("cali1", None), ("tunl0", Address.parse("10.1.0.3")))),
        st.sampled_from((RouteType.UNICAST, RouteType.UNICAST, RouteType.BLACKHOLE, RouteType.THROW)),
    ),
    max_size=4,
    unique_by=lambda route: (route.prefix, route.metric, route.table),
)
rules = st.lists(
    st.builds(
        lambda priority, table, action, to, selector, inverted, least: Rule(
            4, priority, table, action, to, selector, inverted, least
        ),
        st.integers(1, 4).map(lambda n: n * 10000),
        st.sampled_from((100, 254)),
        st.sampled_from((RuleAction.TABLE, RuleAction.TABLE, RuleAction.BLACKHOLE)),
        st.none() | prefixes,
        st.sampled_from(("", "", SOURCE, OTHER_SOURCE, "fwmark 0x1")),
        st.booleans(),
        st.sampled_from((-1, -1, 0)),
    ),
    max_size=2,
    unique_by=lambda rule: rule.priority,
)
USUAL = (Rule(4, 0, 255), Rule(4, 32766, 254), Rule(4, 32767, 253))


def kernel(routes: list[Route], others: list[Route], more: list[Rule]) -> Dataplane:
    own = Route(OWN, RouteType.BLACKHOLE)
    return Dataplane.of((*WIRES, *HOPS, own, *routes, *others), (*USUAL, *more))


@given(ours, foreign, rules)
def test_it_is_reported_if_and_only_if_a_packet_goes_elsewhere(
    routes: list[Route], others: list[Route], more: list[Rule]
) -> None:
    observed = kernel(routes, others, more)
    found = shadows(suspects(surroundings(observed).foreign, (POOL,), (OWN,)), observed.owned())
    fib = Fib(observed)
    wrong = {address for address in map(POOL.nth, range(POOL.size)) if goes_elsewhere(fib, observed, address)}
    assert bool(found) == bool(wrong), (found, sorted(map(str, wrong)))
    assert all(shadow.prefix.first in wrong for shadow in found)
    event("shadowed" if found else "clear")


def goes_elsewhere(fib: Fib, observed: Dataplane, address: Address) -> bool:
    """True if a packet that one of our routes is for takes neither it nor its path, nor ends at a workload here."""
    wanted = [r for r in observed.routes if r.protocol == PROTOCOL and r.next_hop and r.prefix.holds(address)]
    if not wanted:
        return False
    flow = Lookedup(Packet(OWN.first, address), "")
    used = fib.lookup(address, lambda selector: selects(selector, flow))
    if used.route == wanted[0]:
        return False
    leads = fib.resolve(used.route, address) if used.route else None
    return leads is None or (leads.link != "cali1" and leads != fib.resolve(wanted[0], address))
