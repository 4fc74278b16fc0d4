"""
`bgpctl simulate`: a whole cluster in memory, through faults and a change of its files, each state verified.

Refuses to know: how agents decide, how a packet is followed, which nodes stand for which.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import click

from bgpctl.cli import plan_reach
from bgpctl.cli.exits import Exit
from bgpctl.cli.findings import valid
from bgpctl.cli.options import files_option
from bgpctl.cli.refusals import NotFound, Refusal
from bgpctl.cli.render import emit, output_option
from bgpctl.cli.verify import failure_class
from bgpctl.core.cluster.count import count
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.simulate.course import Changing, Failing, Moment, course
from bgpctl.core.simulate.faults import Faults, NoSuchFault, parsed
from bgpctl.core.simulate.membership import moved_blocks
from bgpctl.core.simulate.sample import Sample, sample
from bgpctl.core.trace.verify import FailureClass
from bgpctl.store import texts

_MOST_AGENTS: Final = 100
"""Each has sessions with all others, and packets are followed between each two: some minutes of CPU."""


@click.command()
@files_option
@click.option(
    "--fail",
    "fails",
    metavar="FAULT",
    multiple=True,
    help="node:N (off), link:A-B (no packet passes between two nodes) or peer:P (it speaks no BGP any more: a peer of "
    "the file by name or address, or a node); may be given several times, and they follow one another.",
)
@click.option(
    "--then",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file that all agents read then.",
)
@click.option("--steps", is_flag=True, help="Show every state, not only those in which something fails.")
@output_option
def simulate(files: tuple[Path, ...], fails: tuple[str, ...], then: Path | None, output: str, *, steps: bool) -> None:
    """
    Run a whole cluster in memory, through faults and another file, and verify each state between all blocks.

    Every agent decides as it does on its node; kernels, BGP sessions and the underlay are simulated, from the files
    alone, so no root is needed. Nodes that are alike are computed once. Exits 0 if all reach each other: at the start,
    once each fault has been dealt with, and in every state of the change. Exits 1 if not, with the pairs and the first
    cause. Pairs with a node that is off are counted apart.
    """
    before = valid(texts.load(files))
    wanted = valid(texts.load([then])) if then else before
    faults = _faults(fails, before)
    few = sample(before, wanted, reduce(Faults.plus, faults, Faults()).part_of)
    if len(few.blocks) > _MOST_AGENTS:
        raise Refusal(
            f"{len(few.blocks)} of {few.nodes} nodes are of kinds of their own; at most {_MOST_AGENTS} can be simulated"
        )
    events: list[Failing | Changing] = [Failing(f"fail {text}", one) for text, one in zip(fails, faults, strict=True)]
    events += [Changing(f"then {then}")] if then else []
    command = " ".join(("bgpctl explain {ends}", *(f"-f {file}" for file in files)))
    moments = [_moment(item, command, f"bgpctl explain {{ends}} -f {then}", fails) for item in course(few, events)]
    body = _body(few, moments, before, wanted)
    if output == "table":
        for line in _lines(body, steps=steps):
            click.echo(line)
    else:
        emit(body, output, (), ())
    sys.exit(Exit.OK if body["passes"] else Exit.DIFFERENT)


def _faults(texts_: Sequence[str], intent: Intent) -> list[Faults]:
    try:
        return [parsed(text, intent) for text in texts_]
    except NoSuchFault as error:
        raise NotFound(str(error)) from error


# As JSON -----------------------------------------------------------------------------------------------------------


def _body(few: Sample, moments: Sequence[Mapping[str, Any]], before: Intent, wanted: Intent) -> dict[str, Any]:
    moved = [{**item._asdict(), "block": str(item.block), "used": True} for item in moved_blocks(before, wanted)]
    return {
        "schema": "bgpctl/simulate/v1",
        "passes": bool(moments[0]["pairs"]) and not moved and not any(map(_fails, moments)),
        "nodes": few.nodes,
        "agents": len(few.blocks),
        "moments": [*moments],
        "moved_blocks": moved,
    }


def _moment(item: Moment, command: str, after: str, fails: Sequence[str]) -> dict[str, Any]:
    is_change = item.event.startswith("then ")
    by = after if is_change else command
    has_faults = bool(fails) and item.event != "start"
    return {
        "event": item.event,
        "after_s": round(item.after_s, 2),
        "settled": item.settled,
        "is_change": is_change,
        "changed": [*item.changed],
        "pairs": item.pairs,
        "gone": item.gone,
        "failing": [_class(found, by, has_faults=has_faults) for found in item.failing],
        "between": [_class(found, by, has_faults=has_faults) for found in item.between],
    }


def _class(found: FailureClass, command: str, *, has_faults: bool) -> dict[str, Any]:
    """With a fault there is no next command: no other knows of it."""
    body = failure_class(found, command)
    ends = [found.example.source.node, found.example.destination.node]
    return {**body, "first": ends, "next": None if has_faults else body["next"]}


def _fails(item: Mapping[str, Any]) -> bool:
    """True if it counts: packets that are lost until a fault has been dealt with are shown alone."""
    counts = item["settled"] or item["is_change"]
    return bool(counts and (item["failing"] or item["between"]))


# As lines ----------------------------------------------------------------------------------------------------------


def _lines(body: Mapping[str, Any], *, steps: bool) -> Iterator[str]:
    moments = body["moments"]
    stand = "" if body["agents"] == body["nodes"] else f", of which {body['agents']} stand for all"
    yield f"{count(body['nodes'], 'node')}{stand}, {count(moments[0]['pairs'], 'pair')} of blocks"
    for event, of_event in groupby(moments, lambda item: item["event"]):
        found = [*of_event]
        yield f"{event}: {count(len(found), 'state')}"
        shown: object = None
        for item in found:
            what = item["failing"], item["between"]
            if steps or item["settled"] or (any(what) and what != shown):
                yield from _of_moment(item, is_known=not steps and what == shown)
                if steps and item["changed"]:
                    yield f"    kernels that changed: {', '.join(item['changed'])}"
            shown = what
    yield from plan_reach.block_lines(body["moved_blocks"])


def _of_moment(item: Mapping[str, Any], *, is_known: bool) -> Iterator[str]:
    """`is_known`: what fails has just been listed."""
    when = f"+{item['after_s']:g} s"
    mark = "settled: " if item["settled"] else ""
    failing = sum(found["pairs"] for found in item["failing"])
    gone = f", {item['gone']} more with what is off" if item["gone"] else ""
    as_before = " as before" if failing and is_known else ""
    said = f"{failing} of {item['pairs']} fail{as_before}" if failing else f"all {item['pairs']} reach each other"
    yield f"  {when:<10} {mark}{said if item['pairs'] else 'no pair to follow'}{gone}"
    if is_known:
        return
    for found in item["failing"]:
        yield from _of_class(found, "")
    for found in item["between"]:
        yield from _of_class(found, "before all have changed: ")


def _of_class(found: Mapping[str, Any], when: str) -> Iterator[str]:
    more = ", …" if found["pairs"] > 1 else ""
    ends = f"{' to '.join(found['first'])}{more}"
    yield f"  ! {when}{found['failure']}, {count(found['pairs'], 'pair')}: {ends}: {found['because']}"
    if found["next"]:
        yield f"    next  {found['next']}"
