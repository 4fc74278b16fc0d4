"""Packets at the points of a journey, and what a member is answered that traces."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bgpctl.agent.errors import BadRequest
from bgpctl.agent.watches import BEGIN, LASTS_S, SEEN, Watches, mark_of, query_of, sightings_of
from bgpctl.core.net.addresses import Address
from bgpctl.core.trace.sightings import Direction, Leg, Mark, Point, Sighting, elsewhere, seen_at
from bgpctl.ports import Unavailable

SOURCE = Address.parse("10.244.1.10")
CABLE, OUT, IN = (
    Point("a1", "cali0", Direction.IN),
    Point("a1", "eth0", Direction.OUT),
    Point("b1", "eth0", Direction.IN),
)
POINTS = (CABLE, None, Point("a1", "tunl0", Direction.OUT), OUT, IN)
MARK = Mark(4, 77, bytes(range(16)))


def at(*points: Point, leg: Leg = Leg.THERE, numbers: Sequence[int] = (1, 2, 3)) -> list[Sighting]:
    return [Sighting(point, leg, number, SOURCE) for point in points for number in numbers]


@pytest.mark.parametrize(
    ("found", "counts", "last"),
    [
        (at(CABLE, OUT, IN), (3, None, None, 3, 3), 4),  # by BPF it is not shown on tunl0
        (at(CABLE, OUT), (3, None, None, 3, 0), 3),
        (at(CABLE), (3, None, 0, 0, 0), 0),
        ([], (0, None, 0, 0, 0), None),
        (at(CABLE, OUT, IN, leg=Leg.BACK), (0, None, 0, 0, 0), None),
        ([*at(CABLE, OUT), *at(CABLE, IN, numbers=(2,))], (3, None, None, 3, 1), 4),
    ],
)
def test_a_point_is_without_packets_only_where_none_was_seen_later(
    found: list[Sighting], counts: tuple[int | None, ...], last: int | None
) -> None:
    seen = seen_at(POINTS, Leg.THERE, found, ["a1", "b1"])
    assert (seen.counts, seen.last) == (counts, last)


def test_of_a_node_that_was_not_watched_nothing_is_said() -> None:
    assert seen_at(POINTS, Leg.THERE, at(CABLE, OUT), ["a1"]).counts == (3, None, None, 3, None)


def test_packets_that_are_seen_aside_are_named_once() -> None:
    aside = Point("b2", "eth0", Direction.IN)
    assert elsewhere(POINTS, at(CABLE, aside)) == ((Leg.THERE, aside),)


class Watched:
    """A watch that has seen all by the time it is closed."""

    def __init__(self, *found: Sighting) -> None:
        self.found = found
        self.is_closed = False

    @property
    def sightings(self) -> Sequence[Sighting]:
        return self.found

    def close(self) -> None:
        self.is_closed = True


QUERY = {"version": "4", "ident": "77", "nonce": MARK.nonce.hex()}


def test_a_member_is_given_the_sightings_of_its_own_packets() -> None:
    error = Sighting(OUT._replace(node="b1"), Leg.ERROR, 2, SOURCE, (3, 4))
    watch = Watched(*at(IN), error)
    watches = Watches(lambda: 0.0, lambda _: watch)
    assert query_of(MARK) == "&".join(f"{name}={value}" for name, value in QUERY.items())
    assert watches.answer(BEGIN, QUERY)["sightings"] == []
    assert not watch.is_closed
    answer = watches.answer(SEEN, QUERY)
    assert watch.is_closed
    assert sightings_of("b1", answer) == (*at(IN), error)
    with pytest.raises(BadRequest, match="no such watch"):
        watches.answer(SEEN, QUERY)


def test_a_watch_ends_by_itself_and_there_are_few() -> None:
    now_s, begun = [0.0], list[Watched]()

    def opened(_: Mark) -> Watched:
        begun.append(Watched())
        return begun[-1]

    watches = Watches(lambda: now_s[0], opened)
    for ident in range(1, 5):
        watches.answer(BEGIN, {**QUERY, "ident": str(ident)})
    with pytest.raises(BadRequest, match="4 traces are watched here already"):
        watches.answer(BEGIN, QUERY)
    now_s[0] = LASTS_S
    watches.answer(BEGIN, QUERY)
    assert [item.is_closed for item in begun] == [True, True, True, True, False]
    watches.close()
    assert begun[-1].is_closed


def test_where_nothing_can_be_watched_the_member_is_answered_with_the_reason() -> None:
    def refused(_: Mark) -> Watched:
        raise Unavailable("packets cannot be watched here: Operation not permitted")

    with pytest.raises(BadRequest, match="Operation not permitted"):
        Watches(lambda: 0.0, refused).answer(BEGIN, QUERY)


@pytest.mark.parametrize(
    "wrong",
    [{"version": "5"}, {"ident": "0"}, {"ident": "655360"}, {"ident": "x"}, {"nonce": "00"}, {"nonce": "z" * 32}],
)
def test_a_query_without_a_mark_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(BadRequest, match="an identifier"):
        mark_of({**QUERY, **wrong})


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"sightings": 7},
        {"sightings": [[1, "in", "there", 1, "10.0.0.1", None]]},
        {"sightings": [["eth0", "up", "there", 1, "10.0.0.1", None]]},
        {"sightings": [["eth0", "in", "there", 1, "ten", None]]},
        {"sightings": [["eth0\x1b[2J", "in", "there", 1, "10.0.0.1", None]]},
        {"sightings": [["eth0", "in", "there", 1, "10.0.0.1", [3]]]},
    ],
)
def test_nothing_of_an_answer_is_believed(answer: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        sightings_of("b1", answer)
