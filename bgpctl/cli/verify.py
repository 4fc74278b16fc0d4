"""
`bgpctl verify`: whether the blocks of all nodes reach each other, by the running nodes or by the files, and the
failures by their first cause.

Refuses to know: how a packet is followed, which failures are alike, how nodes are asked.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, assert_never

import click

from bgpctl import client
from bgpctl.agent import trace_words
from bgpctl.cli import asking
from bgpctl.cli.asking import Asker
from bgpctl.cli.exits import Exit
from bgpctl.cli.findings import valid
from bgpctl.cli.options import keys_directory, keys_option, optional_files_or_arguments, run_dir_option, wait_option
from bgpctl.cli.render import emit, output_option
from bgpctl.core.cluster.count import count
from bgpctl.core.simulate import all_pairs
from bgpctl.core.simulate.asked import everything_of
from bgpctl.core.trace.answers import Answers
from bgpctl.core.trace.packet import DEFAULT_BYTES
from bgpctl.core.trace.steps import Broken, Delivered, Leaves, Unknown
from bgpctl.core.trace.verify import FailureClass, Finding, Verdict
from bgpctl.core.trace.verify import verify as verdict
from bgpctl.store import texts

_EVERY_S: Final = 1.0
"""Between two rounds: members answer no more often anew."""

until_well_option = wait_option("Ask again until all is well, at most TIME (60s).")


@click.command()
@optional_files_or_arguments
@until_well_option
@run_dir_option
@keys_option
@output_option
def verify(files: tuple[Path, ...], within_s: float | None, run_dir: Path, output: str) -> None:
    """
    Follow packets between the blocks of every two nodes: small ones and full ones, and answers.

    All agents are asked once for their kernels, this node's by its socket and the others by the channel between agents,
    which takes root. With -f the files alone answer, and no root is needed. Failures with the same first cause are one
    line, with an example. Exits 0 if all reach each other, and 1 if not, or if that is not known, as without any pair,
    or while a node cannot be asked.
    """
    if not files:
        keys = keys_directory()
        with asking.or_exit():
            show(live(lambda: asking.of_agent(run_dir, keys), within_s or 0.0), output)
    if within_s is not None:
        raise click.UsageError("--wait is for running nodes: the files do not change by themselves")
    command = " ".join(("bgpctl explain {ends}", *(f"-f {file}" for file in files)))
    show(verified(all_pairs.verdict(valid(texts.load(files))), command), output)


def live(asker: Callable[[], Asker], within_s: float) -> dict[str, Any]:
    """
    The answer of the running nodes as JSON, once all is well or the time is over.

    Raises:
        AgentAway: the agent of this node does not answer even then.
    """
    until_s = time.monotonic() + within_s
    while True:
        is_over = time.monotonic() + _EVERY_S >= until_s
        try:
            body = _asked(asker())
            if _is_well(body) or is_over:
                return body
        except client.AgentAway:
            if is_over:
                raise
        time.sleep(_EVERY_S)


def _asked(asker: Asker) -> dict[str, Any]:
    answers = Answers(asker.beside).plus(asker.ask([node.name for node in asker.intent.nodes]))
    body = verified(verdict(*everything_of(asker.intent, answers)), f"{asker.explain} {{ends}}")
    unasked = [{"node": name, "reason": reason} for name, reason in sorted(answers.unasked.items())]
    said = [{"node": name, "problem": text} for name, item in sorted(answers.given.items()) for text in item.problems]
    return {**body, "unasked": unasked, "differing": asking.differing(asker.intent, answers), "problems": said}


def verified(found: Verdict, command: str) -> dict[str, Any]:
    """The answer as JSON. `command` explains a pair, whose addresses it has as `{ends}`."""
    classes = [failure_class(item, command) for item in found.classes]
    return {"schema": "bgpctl/verify/v1", "pairs": found.pairs, "classes": classes}


def failure_class(item: FailureClass, command: str) -> dict[str, Any]:
    """A class of failures as JSON, with its cause in words. `command`: as in `verified`."""
    found = item.example
    ends = found.source.address, found.destination.address
    size = "" if found.size_bytes == DEFAULT_BYTES else f" --size {found.size_bytes}"
    return {
        "failure": found.failure.value,
        "node": found.at,
        "because": _because(found),
        "pairs": item.pairs,
        "source": str(ends[0]),
        "destination": str(ends[1]),
        "size_bytes": found.size_bytes,
        "next": command.format(ends=f"{ends[0]} {ends[1]}{size}"),
    }


def _because(found: Finding) -> str:
    if found.obstacle:
        kept = trace_words.missing(found.obstacle, found.destination.address)
        return f"{kept['place']}: {kept['text']}" if kept["place"] else str(kept["text"])
    if found.shadow:
        return trace_words.cause(found.shadow)
    match found.journey.end:
        case Broken(cause=cause):
            return trace_words.cause(cause)
        case Unknown(unread=unread):
            return f"cannot know: {unread.subject}: {unread.reason}"
        case Delivered() | Leaves():
            return "the answer comes back by another encapsulation"
        case _:
            assert_never(found.journey.end)


def show(body: Mapping[str, Any], output: str) -> None:
    """Print the answer, and exit by whether all is well."""
    if output == "table":
        _show(body)
    else:
        emit(body, output, (), ())
    sys.exit(Exit.OK if _is_well(body) else Exit.DIFFERENT)


def _is_well(body: Mapping[str, Any]) -> bool:
    return bool(body["pairs"] and not body["classes"] and not body.get("unasked"))


def _show(body: Mapping[str, Any]) -> None:
    failed = sum(item["pairs"] for item in body["classes"])
    if not body["pairs"]:
        click.echo("no pair to follow: no two nodes have blocks")
    elif failed:
        click.echo(f"{body['pairs']} pairs of blocks: {failed} fail")
    else:
        click.echo(f"{body['pairs']} pairs of blocks: all reach each other")
    for item in body["classes"]:
        click.echo(f"{item['failure']} at {item['node']}, {count(item['pairs'], 'pair')}: {item['because']}")
        click.echo(f"  next  {item['next']}")
    for item in body.get("unasked", ()):
        click.echo(f"! {item['node']} could not be asked: {item['reason']}")
    for name in body.get("differing", ()):
        click.echo(f"! {name} has another configuration: bgpctl show summary")
    for item in body.get("problems", ()):
        click.echo(f"! {item['node']}: {item['problem']}")
