"""
Rise and fall: the status of an instance is that of the last run of outcomes that was long enough, whatever came before,
and it changes at the outcome that completes such a run and at no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from bgpctl.core.cluster.configuration import Check, Service
from bgpctl.core.net.addresses import Address
from bgpctl.core.services.health import Health, Outcome, Status, counted

PASSED, FAILED = Outcome(), Outcome("connection refused")
OUTCOMES = st.lists(st.sampled_from((PASSED, FAILED)), max_size=40)
SERVICES = st.builds(
    Service,
    name=st.just("web"),
    address=st.just(Address.parse("192.0.2.80")),
    check=st.just(Check(tcp=80)),
    rise=st.integers(1, 5),
    fall=st.integers(1, 5),
)


def by_the_last_run(service: Service, outcomes: Sequence[Outcome]) -> Status:
    """Literally: go back from the end to the first place at which a run was complete."""
    for end in range(len(outcomes), 0, -1):
        if end >= service.rise and set(outcomes[end - service.rise : end]) == {PASSED}:
            return Status.UP
        if end >= service.fall and set(outcomes[end - service.fall : end]) == {FAILED}:
            return Status.DOWN
    return Status.CHECKING


def courses(service: Service, outcomes: Sequence[Outcome]) -> list[Health]:
    """The health before the first outcome and after each; outcome n comes at n seconds."""
    begun = Health(Status.CHECKING, 0.0)
    numbered = enumerate(outcomes, 1)
    return list(
        accumulate(numbered, lambda health, item: counted(health, service, item[1], float(item[0])), initial=begun)
    )


@given(SERVICES, OUTCOMES)
@example(Service("web", Address.parse("192.0.2.80"), Check(tcp=80), rise=2, fall=2), [FAILED, PASSED, FAILED, FAILED])
def test_the_status_is_that_of_the_last_complete_run(service: Service, outcomes: list[Outcome]) -> None:
    for number, health in enumerate(courses(service, outcomes)):
        assert health.status is by_the_last_run(service, outcomes[:number])


@given(SERVICES, OUTCOMES)
def test_since_is_the_outcome_that_changed_the_status(service: Service, outcomes: list[Outcome]) -> None:
    found = courses(service, outcomes)
    changed_s = 0.0
    for number, (before, after) in enumerate(pairwise(found), 1):
        changed_s = float(number) if after.status is not before.status else changed_s
        assert after.since_s == changed_s


@given(SERVICES, OUTCOMES)
def test_an_instance_at_rest_is_one_value(service: Service, outcomes: list[Outcome]) -> None:
    """More of the same outcome than can matter changes nothing but the time of the last failure."""
    last = courses(service, outcomes)[-1]
    for _ in range(service.rise):
        last = counted(last, service, PASSED, 100.0)
    assert counted(last, service, PASSED, 101.0) == last
