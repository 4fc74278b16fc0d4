"""Laws of every plan, whatever the cluster, the node, its kernel and the foreign objects in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import reduce
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.dataplane.effects import KernelError, Op, Put, Remove, after, after_all, after_each
from bgpctl.core.dataplane.plan import NOT_WANTED, cleanup, plan
from bgpctl.core.fabric import Desired
from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.fabric.vxlan import Vxlan
from bgpctl.core.net.addresses import (
    Prefix,
)
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import PROTOCOL, KernelObject, Key, Link, RouteType, key_of
from tests.laws.strategies import UNHEARD, litter, situations, wants

_OLD = 1 << 25


@st.composite
def moments(draw: st.DrawFn) -> tuple[Desired, Dataplane]:
    """Wanted objects, and a kernel that another program or agent left behind."""
    situation = draw(situations())
    return draw(wants(situation)), draw(litter(situation[2]))


@st.composite
def transitions(draw: st.DrawFn) -> tuple[Desired, Dataplane]:
    """A wanted state, and a kernel in which an earlier one has come true."""
    later, observed = draw(moments())
    wish = _some_of(draw, later.dataplane)
    earlier = replace(later, dataplane=wish, reasons={key_of(thing): NOT_WANTED for thing in wish})
    return later, fold(observed, plan(earlier, observed).ops)


def _some_of(draw: st.DrawFn, dataplane: Dataplane) -> Dataplane:
    """An earlier wish: some routes fewer, others by next hops that are no longer wanted or that lead elsewhere."""
    routes = draw(st.sets(st.sampled_from(sorted(dataplane.routes)))) if dataplane.routes else set()
    old = {hop.id: hop._replace(id=hop.id + _OLD) for hop in dataplane.next_hops}
    moved = {route for route in routes if route.next_hop in old and draw(st.booleans())}
    routes = routes - moved | {route._replace(next_hop=old[route.next_hop].id) for route in moved}
    named = {route.next_hop for route in routes}
    groups = {group for group in dataplane.groups if group.id in named}
    used = named.union(*(group.members for group in groups))
    hops = {hop for hop in (*dataplane.next_hops, *old.values()) if hop.id in used}
    hops = {hop._replace(onlink=draw(st.booleans())) for hop in hops}
    kept = dataplane.drop((*dataplane.routes, *dataplane.groups, *dataplane.next_hops))
    return kept.put((*hops, *groups, *routes))


@given(moments(), st.randoms(use_true_random=False))
def test_many_operations_at_once_do_what_they_do_one_by_one(moment: tuple[Desired, Dataplane], choose: Random) -> None:
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
    assert after_all(observed, done) == reached
    at_once, refused = after_each(observed, ops)
    assert at_once == reached
    assert len(refused) == len(ops) - len(done)


def fold(dataplane: Dataplane, ops: Iterable[Op]) -> Dataplane:
    return reduce(after, ops, dataplane)


def foreign(dataplane: Dataplane) -> set[KernelObject]:
    ours = set(dataplane.owned())
    return {thing for thing in dataplane if thing not in ours} - set(dataplane.sysctls)


def unblocked(desired: Desired, observed: Dataplane) -> set[Key]:
    """The wanted keys that no foreign route holds."""
    taken = {key_of(route) for route in observed.routes if route.protocol != PROTOCOL}
    return {key_of(thing) for thing in desired.dataplane} - taken


def reachable(dataplane: Dataplane) -> set[Prefix]:
    """The prefixes that our routes lead to."""
    hops = {hop.id for hop in dataplane.next_hops}
    hops |= {group.id for group in dataplane.groups if hops.intersection(group.members)}
    return {r.prefix for r in dataplane.routes if r.protocol == PROTOCOL and (not r.next_hop or r.next_hop in hops)}


@given(moments())
def test_one_clean_round_reaches_what_is_wanted(moment: tuple[Desired, Dataplane]) -> None:
    desired, observed = moment
    reached = fold(observed, plan(desired, observed).ops)
    wanted = {thing for thing in desired.dataplane if key_of(thing) in unblocked(desired, observed)}
    assert wanted <= set(reached)
    assert set(reached.owned()) <= set(desired.dataplane)


@given(moments())
def test_planning_twice_plans_nothing(moment: tuple[Desired, Dataplane]) -> None:
    desired, observed = moment
    assert plan(desired, fold(observed, plan(desired, observed).ops)).ops == ()


@given(moments())
def test_foreign_objects_survive_every_step(moment: tuple[Desired, Dataplane]) -> None:
    desired, observed = moment
    before = foreign(observed)
    for op in plan(desired, observed).ops:
        assert op.thing not in before
        observed = after(observed, op)
        assert before <= set(observed)


@given(moments())
def test_cleanup_leaves_exactly_the_foreign_objects(moment: tuple[Desired, Dataplane]) -> None:
    _, observed = moment
    left = fold(observed, cleanup(observed))
    assert set(left.owned()) == set()
    assert foreign(left) == foreign(observed)


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
    ops = plan(replace(desired, prune_holds=UNHEARD), observed).ops
    assert not [op for op in ops if isinstance(op, Remove)]


@given(moments(), st.data())
def test_while_a_source_is_silent_routes_that_another_took_back_are_removed_and_nothing_else(
    moment: tuple[Desired, Dataplane], data: st.DataObject
) -> None:
    desired, observed = moment
    extra = {route.prefix for route in observed.owned().routes - desired.dataplane.routes}
    extra -= {route.prefix for route in desired.dataplane.routes}
    released = frozenset(data.draw(st.sets(st.sampled_from(sorted(extra))))) if extra else frozenset()
    ops = plan(replace(desired, prune_holds=UNHEARD, withdrawn=released), observed).ops
    removed = {op.thing for op in ops if isinstance(op, Remove)}
    assert removed == {route for route in observed.owned().routes if route.prefix in released}


@given(moments(), st.integers(0, 200))
def test_a_crash_after_any_operation_is_mended_by_the_next_round(moment: tuple[Desired, Dataplane], cut: int) -> None:
    desired, observed = moment
    broken_off = fold(observed, plan(desired, observed).ops[:cut])
    in_one_go = fold(observed, plan(desired, observed).ops)
    assert fold(broken_off, plan(desired, broken_off).ops) == in_one_go


@given(moments())
def test_every_operation_has_a_reason_and_only_touches_what_is_wanted_or_ours(
    moment: tuple[Desired, Dataplane],
) -> None:
    desired, observed = moment
    ours = set(observed.owned())
    for op in plan(desired, observed).ops:
        match op:
            case Put():
                assert op.thing in set(desired.dataplane)
                assert op.reason == desired.reasons[key_of(op.thing)]
            case Remove():
                assert op.thing in ours or isinstance(op.thing, Link)


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
