"""
Real packets beside what explain says of them: sent, watched where that is possible, and shown step by step.

Refuses to know: which namespaces there are, how nodes are asked, how packets are seen.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import click
from rich.text import Text

from bgpctl.cli.exits import Exit
from bgpctl.cli.explain import Ends
from bgpctl.cli.render import console, emit
from bgpctl.core.trace.sightings import Direction, Leg, Mark, Point, Sighting, elsewhere, seen_at
from bgpctl.kernel.sightings import Watch, send

PACKETS: Final = 3
_EVERY_S: Final = 0.1
_ANSWER_S: Final = 1.0
_POLL_S: Final = 0.01
_ERRORS: Final[Mapping[tuple[int, int, int], str]] = {
    (4, 3, 0): "network unreachable",
    (4, 3, 1): "host unreachable",
    (4, 3, 4): "fragmentation needed",
    (4, 3, 9): "network prohibited",
    (4, 3, 10): "host prohibited",
    (4, 3, 13): "communication prohibited",
    (4, 3, 3): "port unreachable",
    (4, 11, 0): "time exceeded",
    (6, 1, 0): "no route",
    (6, 1, 1): "communication prohibited",
    (6, 1, 3): "address unreachable",
    (6, 2, 0): "packet too big",
    (6, 3, 0): "time exceeded",
}
"""By IP version, type and code (RFC 792, RFC 1812, RFC 4443)."""

Elsewhere: TypeAlias = Callable[[], tuple[Sequence[Sighting], Mapping[str, str]]]
"""The sightings of members, and for those that cannot say the reason."""


def _no_members() -> tuple[Sequence[Sighting], Mapping[str, str]]:
    return (), {}


@dataclass(frozen=True, slots=True)
class Stage:
    """
    Everything that a trace needs.

    Attributes:
        home: the part from which packets are sent, and to which answers come.
        inside: runs a function in the namespace of `home`.
        watched: the parts in which packets are seen, by the watch or by members.
        of_members: to be called once, when all is sent.
    """

    mark: Mark
    watch: Watch
    home: str
    inside: Callable[[Callable[[], None]], None]
    watched: frozenset[str]
    of_members: Elsewhere = _no_members


@dataclass(frozen=True, slots=True)
class Outcome:
    """`refusal`: what this kernel said to the last packet that it did not send."""

    sent: int
    answered: int
    refusal: str
    sightings: tuple[Sighting, ...]
    unwatched: Mapping[str, str]
    watched: frozenset[str]


def run(stage: Stage, ends: Ends, size_bytes: int) -> Outcome:
    """Send, wait for answers, and collect."""
    refusal, sent = "", 0
    for number in range(1, PACKETS + 1):
        if number > 1:
            time.sleep(_EVERY_S)
        try:
            stage.inside(lambda number=number: send(stage.mark, number, *ends, size_bytes))  # type: ignore[misc]
            sent += 1
        except OSError as error:
            refusal = error.strerror or str(error)
    until_s = time.monotonic() + _ANSWER_S
    while len(stage.watch.answered(stage.home)) < sent and time.monotonic() < until_s:
        time.sleep(_POLL_S)
    theirs, silent = stage.of_members()
    answered = len(stage.watch.answered(stage.home))
    found = (*stage.watch.sightings, *theirs)
    return Outcome(sent, answered, refusal, found, silent, stage.watched - silent.keys())


# The answer ------------------------------------------------------------------------------------------------------


def body_of(explained: Mapping[str, Any], outcome: Outcome) -> dict[str, Any]:
    """The answer as JSON: explain's, with the packets seen at each step, and what else was seen."""
    there = _with_counts(explained["there"], Leg.THERE, outcome)
    back = _with_counts(explained["back"], Leg.BACK, outcome) if explained["back"] else None
    points = [point for part in (there, back) if part for point in map(_point, part["steps"])]
    others = elsewhere(points, outcome.sightings)
    return {
        "schema": "bgpctl/trace/v1",
        "outcome": "answered" if outcome.sent and outcome.answered == outcome.sent else "lost",
        "sent": outcome.sent,
        "answered": outcome.answered,
        "refusal": outcome.refusal or None,
        "explained": explained["outcome"],
        "there": there,
        "back": back,
        "elsewhere": [_place(leg, point) for leg, point in others if leg is not Leg.ERROR],
        "errors": list(_errors(outcome.sightings)),
        "unwatched": [{"node": name, "reason": reason} for name, reason in sorted(outcome.unwatched.items())],
    }


def _with_counts(part: Mapping[str, Any], leg: Leg, outcome: Outcome) -> dict[str, Any]:
    points = list(map(_point, part["steps"]))
    seen = seen_at(points, leg, outcome.sightings, outcome.watched)
    steps = [{**step, "seen": count} for step, count in zip(part["steps"], seen.counts, strict=True)]
    last = points[seen.last] if seen.last is not None else None
    return {**part, "steps": steps, "last_seen": _place(leg, last) if last else None}


def _point(step: Mapping[str, Any]) -> Point | None:
    return Point(step["node"], step["link"], Direction(step["direction"])) if step["link"] else None


def _place(leg: Leg, point: Point) -> dict[str, str]:
    return {"leg": leg.value, "node": point.node, "link": point.link, "direction": point.direction.value}


def _errors(sightings: Iterable[Sighting]) -> Iterator[dict[str, Any]]:
    found = dict.fromkeys((item.source, item.detail) for item in sightings if item.leg is Leg.ERROR)
    for source, detail in found:
        kind, code = detail or (0, 0)
        words = _ERRORS.get((source.version, kind, code), f"type {kind} code {code}")
        yield {"from": str(source), "type": kind, "code": code, "text": words}


def show(body: Mapping[str, Any], output: str) -> None:
    """Print the answer, and exit by whether all packets were answered."""
    if output == "table":
        for line in _lines(body):
            console().print(line)
    else:
        emit(body, output, (), ())
    sys.exit(Exit.OK if body["outcome"] == "answered" else Exit.DIFFERENT)


def _lines(body: Mapping[str, Any]) -> Iterator[Text]:
    yield from _part(body["there"], body["sent"])
    if body["back"]:
        yield Text("answer", style="bold")
        yield from _part(body["back"], body["sent"])
    for item in body["elsewhere"]:
        yield Text(f"also seen  {item['leg']}: {item['node']} {item['direction']} {item['link']}")
    for item in body["unwatched"]:
        yield Text(f"! {item['node']} cannot say what it has seen: {item['reason']}", style="yellow")
    for item in body["errors"]:
        yield Text(f"! {item['from']} sent an ICMP error: {item['text']}", style="yellow")
    if body["refusal"]:
        yield Text(f"! the sender's kernel refused: {body['refusal']}", style="yellow")
    yield from _verdict(body)


def _part(part: Mapping[str, Any], sent: int) -> Iterator[Text]:
    width = max((len(step["node"]) for step in part["steps"]), default=0)
    for step in part["steps"]:
        count = "   " if step["seen"] is None else f"{step['seen']}/{sent}"
        style = "" if step["seen"] is None else "red" if step["seen"] == 0 else "green"
        mark = " (declared)" if step["declared"] else ""
        yield Text.assemble((count, style), f" {step['node']:<{width}} {step['step']:<6} {step['text']}{mark}")
    yield Text(f"    {part['at'] or '?':<{width}} {'end':<6} {part['because']}")


def _verdict(body: Mapping[str, Any]) -> Iterator[Text]:
    is_well = body["outcome"] == "answered"
    words = f"{body['sent']} sent, {body['answered']} answered; explain: {body['explained']}"
    yield Text(words, style="green" if is_well else "bold red")
    if is_well and body["explained"] == "broken":
        yield Text("! packets pass, and explain has them lost", style="yellow")
    if is_well or body["explained"] != "delivered":
        return
    last = (body["back"] or {}).get("last_seen") or body["there"]["last_seen"]
    where = f"{last['node']} {last['direction']} {last['link']} ({last['leg']})" if last else "nowhere"
    yield Text(f"! explain has them delivered; last seen: {where}", style="yellow")


def refuse(text: str) -> None:
    """Print why nothing can be traced, and exit."""
    click.echo(text, err=True)
    sys.exit(Exit.REFUSED)
