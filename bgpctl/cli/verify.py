"""
`bgpctl verify`: whether the blocks of all nodes reach each other by the files, and the failures by their first cause.

Refuses to know: how a packet is followed, which failures are alike.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, assert_never

import click

from bgpctl.agent import trace_words
from bgpctl.cli.exits import Exit
from bgpctl.cli.findings import valid
from bgpctl.cli.options import files_or_arguments
from bgpctl.cli.progress import progress_of
from bgpctl.cli.render import emit, output_option
from bgpctl.core.cluster.count import count
from bgpctl.core.simulate.declared import everything
from bgpctl.core.trace.packet import DEFAULT_BYTES
from bgpctl.core.trace.steps import Broken, Delivered, Leaves, Unknown
from bgpctl.core.trace.verify import FailureClass, Finding, Verdict
from bgpctl.core.trace.verify import verify as verdict
from bgpctl.store import texts


@click.command()
@files_or_arguments
@output_option
def verify(files: tuple[Path, ...], output: str) -> None:
    """
    Follow packets between the blocks of every two nodes, by the files alone: small ones and full ones, and answers.

    Failures with the same first cause are one line, with an example. Exits 0 if all reach each other, and 1 if not, or
    if that is not known, as without any pair.
    """
    intent = valid(texts.load(files))
    with progress_of(f"packets between {count(len(intent.nodes), 'node')}"):
        found = verdict(*everything(intent))
    body = verified(found, files)
    if output == "table":
        _show(body)
    else:
        emit(body, output, (), ())
    sys.exit(Exit.OK if found.pairs and not found.classes else Exit.DIFFERENT)


def verified(found: Verdict, files: Sequence[Path]) -> dict[str, Any]:
    """The answer as JSON."""
    classes = [_class(item, files) for item in found.classes]
    return {"schema": "bgpctl/verify/v1", "pairs": found.pairs, "classes": classes}


def _class(item: FailureClass, files: Sequence[Path]) -> dict[str, Any]:
    found = item.example
    ends = found.source.address, found.destination.address
    size = "" if found.size_bytes == DEFAULT_BYTES else f" --size {found.size_bytes}"
    command = f"bgpctl explain {ends[0]} {ends[1]}{size}" + "".join(f" -f {file}" for file in files)
    return {
        "failure": found.failure.value,
        "node": found.at,
        "because": _because(found),
        "pairs": item.pairs,
        "source": str(ends[0]),
        "destination": str(ends[1]),
        "size_bytes": found.size_bytes,
        "next": command,
    }


def _because(found: Finding) -> str:
    if found.obstacle:
        kept = trace_words.missing(found.obstacle, found.destination.address)
        return f"{kept['place']}: {kept['text']}" if kept["place"] else str(kept["text"])
    match found.journey.end:
        case Broken(cause=cause):
            return trace_words.cause(cause)
        case Unknown(unread=unread):
            return f"cannot know: {unread.subject}: {unread.reason}"
        case Delivered() | Leaves():
            return "the answer comes back by another encapsulation"
        case _:
            assert_never(found.journey.end)


def _show(body: Mapping[str, Any]) -> None:
    if not body["pairs"]:
        click.echo("no pair to follow: the files have no blocks of two nodes")
        return
    failed = sum(item["pairs"] for item in body["classes"])
    if not failed:
        click.echo(f"{body['pairs']} pairs of blocks: all reach each other")
        return
    click.echo(f"{body['pairs']} pairs of blocks: {failed} fail")
    for item in body["classes"]:
        click.echo(f"{item['failure']} at {item['node']}, {count(item['pairs'], 'pair')}: {item['because']}")
        click.echo(f"  next  {item['next']}")
