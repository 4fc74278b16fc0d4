"""
`bgpctl lab graph`: a drawing of a running lab, in the terminal or as a picture.

Refuses to know: how agents are asked, where boxes of a picture stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from rich.text import Text
from rich.tree import Tree

from bgpctl.cli.refusals import Refusal
from bgpctl.cli.render import console, emit, output_option
from bgpctl.cli.which_lab import find, name_option
from bgpctl.lab.graph import Graph, Kind, Line, Part, graph_of
from bgpctl.lab.graph_svg import svg


@click.command("graph")
@name_option
@click.option(
    "--svg", "picture", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a picture."
)
@output_option
def graph_command(name: str | None, picture: Path | None, output: str) -> None:
    """Draw a running lab: segments, nodes, workloads, and the sessions and tunnels as they are now."""
    graph = graph_of(find(name))
    if picture:
        try:
            picture.write_text(svg(graph), encoding="utf-8")
        except OSError as error:
            raise Refusal(f"{picture}: {error.strerror}") from error
        click.echo(f"the picture is in {picture}")
    elif output == "table":
        console().print(drawing(graph))
    else:
        emit(_json(graph), output, (), ())


def drawing(graph: Graph) -> Tree:
    """Segments with their parts, and parts on several segments below all."""
    tree = Tree(Text(graph.lab, "bold"))
    for segment, subnets in graph.segments.items():
        branch = tree.add(Text.assemble((segment, "bold"), f" {subnets}"))
        for part in graph.parts:
            if part.segments == (segment,):
                _add(branch, graph, part)
    for part in graph.parts:
        if len(part.segments) != 1:
            _add(tree, graph, part)
    return tree


def _add(tree: Tree, graph: Graph, part: Part) -> None:
    where = f" on {' and '.join(part.segments)}" if len(part.segments) > 1 else ""
    style = "bold red" if part.state in {"silent", "degraded"} else "green" if part.state == "converged" else ""
    words = Text.assemble((part.name, "bold"), f" {', '.join(part.addresses)}{where}")
    branch = tree.add(words.append(f" {part.state}", style) if part.state else words)
    for name, address in part.workloads:
        branch.add(Text(f"{name} {address}"))
    for line in _lines(graph, part):
        branch.add(line)


def _lines(graph: Graph, part: Part) -> Iterator[Text]:
    """The other ends of what is up in one line, of what is down in another."""
    for kind in Kind:
        found = graph.of(part.name, kind)
        for label in sorted({line.label for _, line in found}):
            alike = [(end, line) for end, line in found if line.label == label]
            if up := _ends(alike, up=True):
                yield Text(f"{label} with {up}")
            if down := _ends(alike, up=False):
                yield Text(f"{label} down with {down}", "bold red")


def _ends(found: Iterable[tuple[str, Line]], *, up: bool) -> str:
    return ", ".join(end for end, line in found if line.up is up)


def _json(graph: Graph) -> dict[str, Any]:
    return {
        "schema": "bgpctl/lab-graph/v1",
        "lab": graph.lab,
        "segments": [{"name": name, "subnets": subnets} for name, subnets in graph.segments.items()],
        "parts": [
            {
                "name": part.name,
                "addresses": list(part.addresses),
                "segments": list(part.segments),
                "state": part.state,
                "workloads": [{"name": name, "address": address} for name, address in part.workloads],
            }
            for part in graph.parts
        ],
        "lines": [
            {"kind": line.kind.value, "ends": list(line.ends), "label": line.label, "up": line.up}
            for line in graph.lines
        ],
    }
