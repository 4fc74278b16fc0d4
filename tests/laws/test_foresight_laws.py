"""A plan by files prints the operations, withdrawals and sessions that agents come to."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.dataplane.effects import after_all
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Route, RouteType
from bgpctl.core.simulate.fleet import Fleet
from bgpctl.core.simulate.membership import sessions
from bgpctl.core.simulate.of_cluster import of_node
from tests.kernel_text import assert_same
from tests.laws.clusters import edited, uniform


def routed(kernel: Dataplane) -> set[str]:
    return {str(route.prefix) for route in kernel.routes if route.type is RouteType.UNICAST and route.next_hop}


@settings(max_examples=max(6, settings().max_examples // 15))
@given(st.data(), uniform())
def test_what_a_plan_prints_is_what_happens(data: st.DataObject, before: Intent) -> None:
    wanted = data.draw(edited(before))
    fleet = Fleet()
    fleet.settle(before)
    was, sessions_before = fleet.kernels, fleet.sessions
    fleet.settle(wanted)
    for node in wanted.nodes:
        plan = of_node(before, wanted, node)
        ops = [op for step in plan.steps for op, _ in step.ops]
        assert_same(after_all(was[node.name], ops), fleet.kernels[node.name])
        put_or_gone = {str(op.object.prefix) for op in ops if isinstance(op.object, Route)}
        assert routed(was[node.name]) ^ routed(fleet.kernels[node.name]) <= put_or_gone
        assert set(map(str, plan.unreachable)) <= routed(was[node.name]) - routed(fleet.kernels[node.name])
    listed = {
        name: set(item.begins) | set(item.ends)
        for name in {*before.by_name, *wanted.by_name}
        for item in sessions(before, wanted, name)
    }
    for name in wanted.by_name:
        others = {other for pair in sessions_before ^ fleet.sessions if name in pair for other in pair - {name}}
        assert others == listed.get(name, set())
