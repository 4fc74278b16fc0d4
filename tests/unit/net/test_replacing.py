"""Values with other fields are what `dataclasses.replace` makes of them."""

from __future__ import annotations

import dataclasses

import pytest

from bgpctl.core.agent.state import Phase, begin
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.replacing import replace
from bgpctl.core.net.route_set import RouteSet


def test_a_replaced_value_is_the_one_that_dataclasses_make() -> None:
    state = begin("a", 1.0)
    changes = {"phase": Phase.CONVERGED, "since_s": 2.0}
    assert replace(state, **changes) == dataclasses.replace(state, **changes)  # type: ignore[arg-type]
    assert replace(state) == state
    assert replace(state) is not state
    assert state == begin("a", 1.0)


def test_a_replaced_value_is_frozen_and_hashed_as_others() -> None:
    one = replace(Dataplane(), routes=frozenset())
    assert type(one.routes) is RouteSet
    assert hash(one) == hash(Dataplane())
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.routes = RouteSet()  # type: ignore[misc]


def test_a_field_that_is_not_there_is_not_replaced() -> None:
    with pytest.raises(AttributeError):
        replace(begin("a", 0.0), phases=Phase.CONVERGED)
