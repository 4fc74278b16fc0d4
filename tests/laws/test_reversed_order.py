"""
The purpose of the order of a plan: with it reversed, and an executor that tries again what the kernel refuses, every
invariant of the plan is still true but one. That one is the reason for the order: this file guards the guard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from bgpctl.core.dataplane.effects import KernelError, Op, Remove, after
from bgpctl.core.dataplane.plan import cleanup, plan
from bgpctl.core.fabric import Desired
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import key_of
from tests.kernel_text import assert_has, assert_same
from tests.laws.dataplanes import foreign, reachable, unblocked
from tests.laws.strategies import INCOMPLETE, moments, transitions

ROUNDS = 10
"""Observe, plan and act at most so often: in the wrong order, operations undo what others have just done."""


def backwards(dataplane: Dataplane, ops: Sequence[Op]) -> Iterator[Dataplane]:
    """The dataplane after each operation that was done, the last of `ops` first; refused ones are tried again."""
    left = list(reversed(ops))
    while left:
        refused: list[Op] = []
        for op in left:
            try:
                dataplane = after(dataplane, op)
            except KernelError:
                refused.append(op)
            else:
                yield dataplane
        if len(refused) == len(left):
            return
        left = refused


def rounds(desired: Desired, dataplane: Dataplane) -> Iterator[Dataplane]:
    """Every state until rest."""
    for _ in range(ROUNDS):
        done = list(backwards(dataplane, plan(desired, dataplane).ops))
        yield from done
        if not done:
            return
        dataplane = done[-1]
    raise AssertionError("did not come to rest")


def rest(desired: Desired, dataplane: Dataplane) -> Dataplane:
    return [dataplane, *rounds(desired, dataplane)][-1]


@given(moments())
def test_backwards_it_still_converges_and_comes_to_rest(moment: tuple[Desired, Dataplane]) -> None:
    desired, observed = moment
    reached = rest(desired, observed)
    wanted = {obj for obj in desired.dataplane if key_of(obj) in unblocked(desired, observed)}
    assert_has(reached, wanted)
    assert_has(desired.dataplane, reached.owned())
    assert plan(desired, reached).ops == ()


@given(moments())
def test_backwards_foreign_objects_still_survive_every_step(moment: tuple[Desired, Dataplane]) -> None:
    desired, observed = moment
    before = foreign(observed)
    for dataplane in rounds(desired, observed):
        assert_has(dataplane, before)


@given(moments())
def test_backwards_cleanup_still_leaves_exactly_the_foreign_objects(moment: tuple[Desired, Dataplane]) -> None:
    _, observed = moment
    left = [observed, *backwards(observed, cleanup(observed))][-1]
    assert_same(left.owned(), ())
    assert_same(foreign(left), foreign(observed))


@given(moments())
def test_backwards_silence_still_deletes_nothing(moment: tuple[Desired, Dataplane]) -> None:
    desired, observed = moment
    incomplete = replace(desired, prune_holds=INCOMPLETE)
    for dataplane in [observed, *rounds(incomplete, observed)]:
        assert not [op for op in plan(incomplete, dataplane).ops if isinstance(op, Remove)]


@given(moments(), st.integers(0, 200))
def test_backwards_a_crash_after_any_operation_is_still_mended(moment: tuple[Desired, Dataplane], cut: int) -> None:
    desired, observed = moment
    broken_off = [observed, *islice(rounds(desired, observed), cut)][-1]
    assert_same(rest(desired, broken_off), rest(desired, observed))


def test_backwards_a_prefix_wanted_before_and_after_does_go_missing_in_between() -> None:
    here = settings(max_examples=2000, derandomize=True, phases=[Phase.generate], database=None)
    later, settled = find(transitions(), _leaves_a_gap, settings=here)
    assert _leaves_a_gap((later, settled))


def _leaves_a_gap(transition: tuple[Desired, Dataplane]) -> bool:
    later, settled = transition
    kept = reachable(settled) & {route.prefix for route in later.dataplane.routes}
    return not all(kept <= reachable(dataplane) for dataplane in rounds(later, settled))
