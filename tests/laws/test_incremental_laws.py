"""
The agent takes over results from one step to the next, which changes nothing but the time that a step takes.

The profile `ci` lives 5100 stories, `default` a fifth of them, `nightly` 25,000; BGPCTL_TEST_STORIES is another number.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Final
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpctl.core.dataplane.effects import after_each
from bgpctl.core.dataplane.plan import plan
from bgpctl.core.migration import next_step as migration
from bgpctl.core.migration.next_step import next_step
from bgpctl.core.migration.probes import NO_RESULTS
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.table import Table
from tests.laws.incremental import Differs, Story, started
from tests.laws.stages import ENTRIES, MUTANTS, alone
from tests.laws.strategies import litter, situations, wants

STORIES: Final = int(os.environ.get("BGPCTL_TEST_STORIES", min(17 * settings().max_examples, 25_000)))
_UNSHARDED_EVERY: Final = 10
_LONG_EVERY: Final = 50
_PARTS: Final = 10
"""Of the stories, for as many processors."""
_UNTIL_FOUND: Final = 600
"""Stories that may be needed to find one mutant."""


@cache
def beginnings(lives: int) -> tuple[Story, ...]:
    return tuple(started(seed, lives=lives) for seed in range(6))


def story(seed: int, lives: int) -> Story:
    return Story(seed, beginnings(lives)[seed % 6])


def events_of(seed: int) -> int:
    return 12 if seed % _LONG_EVERY == 0 else 3


@pytest.mark.parametrize("part", range(_PARTS))
def test_every_story_is_the_same_with_and_without_what_is_taken_over(part: int) -> None:
    for seed in range(part, STORIES, _PARTS):
        try:
            story(seed, 3 if seed // _PARTS % _UNSHARDED_EVERY == 0 else 2).goes_on(events_of(seed // _PARTS))
        except Differs as difference:
            raise AssertionError(f"story {seed}: {difference}") from difference


def test_a_stage_of_which_one_input_is_another_one_alone_gives_what_it_gives_anew() -> None:
    for name, taken_over, anew in alone():
        assert taken_over == anew, name


def test_no_input_of_a_stage_is_left_out_here() -> None:
    for kind, entries in ENTRIES.items():
        fields = set(kind._fields)
        assert fields <= {entries, *(name.split(".")[1] for name in MUTANTS if name.startswith(f"{kind.__name__}."))}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_stage_that_does_not_see_one_of_its_inputs_is_found(name: str) -> None:
    with MUTANTS[name]():
        try:
            if any(taken_over != anew for _, taken_over, anew in alone()):
                return
            for seed in range(_UNTIL_FOUND):
                story(seed, 2).goes_on(2 * events_of(seed))
        except (Differs, KeyError):
            return
    pytest.fail(f"{_UNTIL_FOUND} stories are the same without {name}")


@given(st.data())
def test_where_nothing_moves_a_migration_has_nothing_to_hold_back(data: st.DataObject) -> None:
    """Which is seen without going through members and next hops: the longer way leads to the same."""
    situation = data.draw(situations())
    intent, here, kernel = situation
    desired = data.draw(wants(situation))
    settled = after_each(kernel, plan(desired, kernel).ops)[0]
    for observed in (settled, data.draw(litter(kernel)), kernel):
        short = next_step(desired, observed, intent, here, NO_RESULTS, 0.0)
        with patch.object(migration, "_nothing_moves", lambda _wanted, _observed: False):
            assert next_step(desired, observed, intent, here, NO_RESULTS, 0.0) == short


def test_a_table_is_a_mapping_whatever_shards_its_prefixes_are_in() -> None:
    prefixes = list(map(Prefix.parse, ("10.0.0.0/8", "10.0.0.0/18", "10.0.0.0/26", "10.0.0.1/32", "fd00::/64", "::/0")))
    entries = {prefix: str(prefix) for prefix in prefixes}
    table = Table.of(entries)
    assert dict(table.items()) == entries
    assert len(table) == len(entries)
    assert table.changed_since(table.changed({}, gone=prefixes[1:3])) == set(prefixes[1:3])
    assert table.changed({prefixes[0]: "x"}).changed({prefixes[0]: entries[prefixes[0]]}) == table
