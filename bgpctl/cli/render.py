"""
One table of views, rendered as text, JSON or YAML. Tables have no borders, upper-case headers, ages like 21m55s.

Refuses to know: where the rows came from.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import click
import yaml
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], object]]
"""A header and how to get the cell from a row."""

_STYLES: Final = {
    "converged": "green",
    "established": "green",
    "degraded": "bold red",
    "down": "bold red",
    "learning": "yellow",
    "converging": "yellow",
    "rejected": "red",
    "PASS": "green",
    "WARN": "yellow",
    "FAIL": "bold red",
}

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="How to print the answer.",
)


def emit(body: Mapping[str, Any], output: str, rows: Iterable[Row], columns: Sequence[Column]) -> None:
    """Print `body` as JSON or YAML, or `rows` as a table."""
    if output == "json":
        click.echo(json.dumps(body))
    elif output == "yaml":
        click.echo(yaml.safe_dump(dict(body), sort_keys=False), nl=False)
    else:
        console().print(table(rows, columns))


def table(rows: Iterable[Row], columns: Sequence[Column]) -> Table:
    """A borderless table; a cell that is a known state word is coloured on a terminal."""
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, show_header=True, header_style="bold", pad_edge=False)
    grid.box = None
    for header, _ in columns:
        grid.add_column(header, no_wrap=True)
    for row in rows:
        grid.add_row(*(_cell(value(row)) for _, value in columns))
    return grid


def _cell(value: object) -> Text:
    text = "-" if value is None or value == "" else str(value)
    return Text(text, style=_STYLES.get(text.split(" ", maxsplit=1)[0], ""))


def console() -> Console:
    """The terminal, or a wide page when printing to a file: nothing is cut there. NO_COLOR is honoured by Rich."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=400, soft_wrap=True)


def age(seconds: float) -> str:
    """`41s`, `21m55s`, `3h04m`, `12d05h`."""
    whole = int(seconds)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02}h"
    if hours:
        return f"{hours}h{minute:02}m"
    return f"{minutes}m{second:02}s" if minutes else f"{second}s"
