"""Invariants of every plan, whatever the cluster, the node, its kernel and the foreign objects in it."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.dataplane.effects import KernelError, Op, Put, Remove, after, after_all, after_each
from bgpctl.core.dataplane.plan import cleanup, plan
from bgpctl.core.fabric import Desired
from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.fabric.vxlan import Vxlan
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Link, RouteType, key_of
from tests.kernel_text import assert_has, assert_same
from tests.laws.dataplanes import fold, foreign, reachable, unblocked
from tests.laws.strategies import INCOMPLETE, moments, transitions


@given(moments(), st.randoms(use_true_random=False))
def test_many_operations_at_once_equal_one_by_one(moment: tuple[Desired, Dataplane], choose: Random) -> None:
    desired, observed = moment
    ops = [*plan(desired, observed).ops, *cleanup(observed)]
    choose.shuffle(ops)
    done: list[Op] = []
    reached = observed
    for op in ops:
        try:
            reached = after(reached, op)
            done.append(op)
        except KernelError:
            continue
    assert_same(after_all(observed, done), reached)
    at_once, refused = after_each(observed, ops)
    assert_same(at_once, reached)
    assert len(refused) == len(ops) - len(done)


@given(moments())
def test_one_clean_round_reaches_the_desired_state(moment: tuple[Desired, Dataplane]) -> None:
    desired, observed = moment
    reached = fold(observed, plan(desired, observed).ops)
    wanted = {obj for obj in desired.dataplane if key_of(obj) in unblocked(desired, observed)}
    assert_has(reached, wanted)
    assert_has(desired.dataplane, reached.owned())


@given(moments())
def test_planning_twice_plans_nothing(moment: tuple[Desired, Dataplane]) -> None:
    desired, observed = moment
    assert plan(desired, fold(observed, plan(desired, observed).ops)).ops == ()


@given(moments())
def test_foreign_objects_survive_every_step(moment: tuple[Desired, Dataplane]) -> None:
    desired, observed = moment
    before = foreign(observed)
    for op in plan(desired, observed).ops:
        assert op.object not in before
        observed = after(observed, op)
        assert_has(observed, before)


@given(moments())
def test_cleanup_leaves_exactly_the_foreign_objects(moment: tuple[Desired, Dataplane]) -> None:
    _, observed = moment
    left = fold(observed, cleanup(observed))
    assert_same(left.owned(), ())
    assert_same(foreign(left), foreign(observed))


@given(transitions())
def test_a_prefix_wanted_before_and_after_is_never_missing_in_between(
    transition: tuple[Desired, Dataplane],
) -> None:
    later, settled = transition
    kept = reachable(settled) & {route.prefix for route in later.dataplane.routes}
    for op in plan(later, settled).ops:
        settled = after(settled, op)
        assert kept <= reachable(settled)


@given(moments())
def test_silence_deletes_nothing(moment: tuple[Desired, Dataplane]) -> None:
    desired, observed = moment
    ops = plan(replace(desired, prune_holds=INCOMPLETE), observed).ops
    assert not [op for op in ops if isinstance(op, Remove)]


@given(moments(), st.data())
def test_while_a_source_is_silent_only_routes_that_another_withdrew_are_removed(
    moment: tuple[Desired, Dataplane], data: st.DataObject
) -> None:
    desired, observed = moment
    extra = {route.prefix for route in observed.owned().routes - desired.dataplane.routes}
    extra -= {route.prefix for route in desired.dataplane.routes}
    withdrawn = frozenset(data.draw(st.sets(st.sampled_from(sorted(extra))))) if extra else frozenset()
    ops = plan(replace(desired, prune_holds=INCOMPLETE, withdrawn=withdrawn), observed).ops
    removed = {op.object for op in ops if isinstance(op, Remove)}
    assert_same(removed, (route for route in observed.owned().routes if route.prefix in withdrawn))


@given(moments(), st.integers(0, 200))
def test_a_crash_after_any_operation_is_mended_by_the_next_round(moment: tuple[Desired, Dataplane], cut: int) -> None:
    desired, observed = moment
    broken_off = fold(observed, plan(desired, observed).ops[:cut])
    in_one_go = fold(observed, plan(desired, observed).ops)
    assert_same(fold(broken_off, plan(desired, broken_off).ops), in_one_go)


@given(moments())
def test_every_operation_has_a_reason_and_touches_only_objects_that_are_wanted_or_ours(
    moment: tuple[Desired, Dataplane],
) -> None:
    desired, observed = moment
    ours = set(observed.owned())
    for op in plan(desired, observed).ops:
        match op:
            case Put():
                assert op.object in set(desired.dataplane)
                assert op.reason == desired.reasons[key_of(op.object)]
            case Remove():
                assert op.object in ours or isinstance(op.object, Link)


@given(moments())
def test_routes_through_a_tunnel_name_a_device_of_their_encapsulation(moment: tuple[Desired, Dataplane]) -> None:
    desired, _ = moment
    kinds = {link.name: link.kind for link in desired.dataplane.links}
    hops = {hop.id: hop for hop in desired.dataplane.next_hops}
    for route in desired.dataplane.routes:
        if route.type is RouteType.UNICAST:
            why = desired.reasons[key_of(route)]
            hop = hops.get(route.next_hop)
            if hop is None:
                continue  # a group, of which each member may have its own
            kind = kinds.get(hop.link)
            assert why.encapsulation is not None
            assert {"ipip": Ipip, "vxlan": Vxlan, "direct": type(None)}[why.encapsulation.name] is type(kind)
