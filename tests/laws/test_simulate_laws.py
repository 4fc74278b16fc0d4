"""A few nodes of a cluster go through faults and changes as all of its nodes do, each for itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.simulate.course import Changing, Failing, Moment, course
from bgpctl.core.simulate.faults import Faults
from bgpctl.core.simulate.sample import Sample, everything, sample
from bgpctl.core.simulate.verdicts import cause_of
from bgpctl.core.trace.verify import FailureClass
from tests.laws.clusters import changes, edited, uniform

MANY = max(4, settings().max_examples // 30)
"""Each example is two whole clusters, for an hour and more."""


def shape(moment: Moment) -> object:
    """All that does not name nodes."""
    return (
        moment.event,
        round(moment.after_s, 3),
        moment.settled,
        moment.pairs,
        moment.gone,
        causes(moment.failing),
        causes(moment.between),
    )


def causes(found: Iterable[FailureClass]) -> Counter[object]:
    numbers: Counter[object] = Counter()
    for item in found:
        numbers[cause_of(item.example)] += item.pairs
    return numbers


@st.composite
def faults(draw: st.DrawFn, intent: Intent) -> Faults:
    names = sorted(intent.by_name)
    node = draw(st.sampled_from(names))
    match draw(st.sampled_from(["node", "link", "speaker", "peer", "none"])):
        case "node":
            return Faults(nodes=frozenset({node}))
        case "link" if len(names) > 1:
            other = draw(st.sampled_from([name for name in names if name != node]))
            return Faults(cut=frozenset({frozenset({node, other})}))
        case "speaker":
            return Faults(speakers=frozenset({node}))
        case "peer":
            return Faults(peers=frozenset({"some"}))
        case _:
            return Faults()


def run(made: Sample, given_faults: Faults) -> list[object]:
    found = course(made, [Failing("fail", given_faults), Changing("then")])
    return [shape(moment) for moment in found]


@settings(max_examples=MANY)
@given(st.data(), changes())
def test_a_sample_goes_through_the_states_of_the_whole(data: st.DataObject, change: tuple[Intent, Intent]) -> None:
    before, wanted = change
    given_faults = data.draw(faults(before))
    assert run(sample(before, wanted, given_faults.part_of), given_faults) == run(
        everything(before, wanted), given_faults
    )


@settings(max_examples=MANY)
@given(st.data(), uniform())
def test_a_few_nodes_of_racks_that_are_alike_stand_for_all(data: st.DataObject, before: Intent) -> None:
    wanted, given_faults = data.draw(edited(before)), data.draw(faults(before))
    few = sample(before, wanted, given_faults.part_of)
    assert run(few, given_faults) == run(everything(before, wanted), given_faults)
