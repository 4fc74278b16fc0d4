"""An item is collected that was absent twice, a minute apart, and never before."""

from __future__ import annotations

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.ipam.ledger import Moment
from bgpctl.core.ipam.leftovers import AGE_S, observed

ROUNDS: Final = st.lists(st.tuples(st.floats(0, 100), st.frozensets(st.sampled_from("abc"))), max_size=12)


@given(ROUNDS)
def test_each_leftover_was_absent_in_every_observation_for_at_least_the_age(
    rounds: list[tuple[float, frozenset[str]]],
) -> None:
    absent_since: dict[str, float] = {}
    before: dict[str, Moment] = {}
    now_s = 0.0
    for pause_s, absent in rounds:
        now_s += pause_s
        absent_since = {name: absent_since.get(name, now_s) for name in absent}
        found = observed(before, absent, Moment("boot", now_s))
        assert set(found.leftovers) == {name for name, since_s in absent_since.items() if now_s - since_s >= AGE_S}
        before = dict(found.absent)
