"""
`bgpctl explain`: a packet from node to node with the reason at each step, and the first place where it breaks.

Refuses to know: how a packet is followed, how a kernel is read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from bgpctl.agent import trace_words
from bgpctl.cli import suggest
from bgpctl.cli.exits import Exit
from bgpctl.cli.findings import valid
from bgpctl.cli.options import files_option, node_option
from bgpctl.cli.refusals import NotFound
from bgpctl.cli.render import console, emit, output_option
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address
from bgpctl.core.simulate.declared import network, node_at, obstacle
from bgpctl.core.trace.journey import Exchange, Follower, Journey, exchange
from bgpctl.core.trace.packet import DEFAULT_BYTES, Packet, echo_protocol
from bgpctl.core.trace.snapshot import Snapshot
from bgpctl.core.trace.steps import Delivered
from bgpctl.kernel import snapshot
from bgpctl.ports import Unavailable
from bgpctl.store import texts

_LARGEST: int = 65535


@click.command()
@click.argument("source", shell_complete=suggest.nodes)
@click.argument("destination", shell_complete=suggest.nodes)
@files_option
@node_option("This node's name: read its own kernel; the others are taken as the files have them.")
@click.option(
    "--size",
    "size_bytes",
    type=click.IntRange(20, _LARGEST),
    default=DEFAULT_BYTES,
    show_default=True,
    help="Bytes of the IP packet, which may not be cut into fragments.",
)
@click.option("--reverse", is_flag=True, help="Show the answer's steps too; without, only where it breaks.")
@output_option
def explain(
    source: str,
    destination: str,
    files: tuple[Path, ...],
    node: str | None,
    size_bytes: int,
    output: str,
    *,
    reverse: bool,
) -> None:
    """
    Show what becomes of a packet from SOURCE to DESTINATION: each step with its reason, and where it breaks.

    Both are addresses, or names of nodes. From the files alone no root is needed; with --node this node's own kernel is
    read, which takes root. Exits 0 if the packet and its answer are delivered, 1 if one breaks or what decides is
    not known.
    """
    intent = valid(texts.load(files))
    ends = _address(source, intent), _address(destination, intent)
    if ends[0].version != ends[1].version:
        raise NotFound(f"{ends[0]} and {ends[1]} are of two IP versions")
    body = explained(intent, ends, size_bytes, _live(intent, node))
    if output == "table":
        _show(body, reverse=reverse)
    else:
        emit(body, output, (), ())
    sys.exit(Exit.OK if body["outcome"] == "delivered" else Exit.DIFFERENT)


def _address(text: str, intent: Intent) -> Address:
    node = intent.node(text)
    if node:
        return node.address.address
    try:
        return Address.parse(text)
    except ValueError:
        raise NotFound(f"{text} is no address, and no node of the files") from None


def _live(intent: Intent, name: str | None) -> Mapping[str, Snapshot]:
    if name is None:
        return {}
    if intent.node(name) is None:
        raise NotFound(f"{name} is no node of the files")
    try:
        return {name: snapshot.read()}
    except (Unavailable, OSError) as error:
        click.echo(f"the kernel of this node cannot be read: {error}", err=True)
        sys.exit(Exit.REFUSED)


def explained(
    intent: Intent, ends: tuple[Address, Address], size_bytes: int, live: Mapping[str, Snapshot]
) -> dict[str, Any]:
    """The answer as JSON. `live`: kernels that were read, by node."""
    follower = Follower(network(intent, ends, live))
    owners = [owner.name if owner else None for owner in (node_at(intent, end) for end in ends)]
    origin = follower.origin(ends[0], owners[0])
    if origin is None:
        raise NotFound(f"{ends[0]} is no address of a node, and in no node's block")
    packet = Packet(*ends, size_bytes, protocol=echo_protocol(ends[0].version))
    found = exchange(follower, packet, origin, owners[1])
    parts = {"there": _part(intent, found.there), "back": _part(intent, found.back) if found.back else None}
    return {"schema": "bgpctl/explain/v1", "outcome": _outcome(found, parts), **parts}


def _outcome(found: Exchange, parts: Mapping[str, Any]) -> str:
    worst: str = parts["there" if found.first is found.there else "back"]["outcome"]
    return worst


def _part(intent: Intent, journey: Journey) -> dict[str, Any]:
    """A journey, and why there is no route of ours where it does not end well."""
    body = trace_words.journey(journey, intent)
    first = journey.steps[0] if journey.steps else None
    kept_back = (
        first and not isinstance(journey.end, Delivered) and obstacle(intent, first.node, first.packet.destination)
    )
    missing = trace_words.missing(kept_back, first.packet.destination) if first and kept_back else None
    return {**body, "missing": missing}


def _show(body: Mapping[str, Any], *, reverse: bool) -> None:
    page = console()
    there, back = body["there"], body["back"]
    for line in _lines(there):
        page.print(line)
    if back and (reverse or back["outcome"] != "delivered"):
        page.print(Text("answer", style="bold"))
        for line in _lines(back):
            page.print(line)
    elif back:
        page.print("answer  delivered, see --reverse")


def _lines(part: Mapping[str, Any]) -> Iterator[Text]:
    width = max((len(step["node"]) for step in part["steps"]), default=0)
    for step in part["steps"]:
        yield Text(f"{step['node']:<{width}} {step['step']:<6} {step['text']}")
        if step["why"]:
            place = f" ({step['place']})" if step["place"] else ""
            yield Text(f"{'':<{width}} {'':<6}   {step['why']}{place}", style="dim")
        if step["suspect"]:
            yield Text(f"{'':<{width}} {'':<6} ! {step['suspect']}", style="yellow")
            yield Text(f"{'':<{width}} next   {step['next']}")
    yield from _ending(part, width)


def _ending(part: Mapping[str, Any], width: int) -> Iterator[Text]:
    at = part["at"] or "?"
    marks = {"delivered": ("", "green"), "broken": ("BREAKS HERE: ", "bold red"), "unknown": ("", "yellow")}
    mark, style = marks[part["outcome"]]
    yield Text(f"{at:<{width}} {'end':<6} {mark}{part['because']}", style=style)
    if part["missing"]:
        place = f"{part['missing']['place']}: " if part["missing"]["place"] else ""
        yield Text(f"{'':<{width}} why    {place}{part['missing']['text']}", style="yellow")
    command = part["next"] or (part["missing"] or {}).get("next")
    if command:
        yield Text(f"{'':<{width}} next   {command}")
