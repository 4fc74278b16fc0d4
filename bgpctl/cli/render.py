"""
One table of views, rendered as text, JSON or YAML. Tables have no borders, upper-case headers, ages like 21m55s.

Refuses to know: where the rows came from.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click
import yaml
from rich.console import Console
from rich.text import Text

from bgpctl.cli import marks
from bgpctl.cli.tables import Column, Row, lines, wrapped

_FORMATS: Final = ("table", "json", "yaml")

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(_FORMATS),
    default="table",
    show_default=True,
    help="How to print the answer.",
)
wide_output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", *_FORMATS[1:]]),
    default="table",
    show_default=True,
    help="How to print the answer. A table fits the terminal; wide is a table with every column, of any width.",
)


def emit(body: Mapping[str, Any], output: str, rows: Iterable[Row], columns: Sequence[Column]) -> None:
    """Print `body` as JSON or YAML, or `rows` as a table."""
    if output == "json":
        click.echo(json.dumps(body))
    elif output == "yaml":
        click.echo(yaml.safe_dump(dict(body), sort_keys=False), nl=False)
    else:
        print_table(rows, columns, output)


def is_text(output: str) -> bool:
    """True if notes may stand below the answer."""
    return output in {"table", "wide"}


def print_table(rows: Iterable[Row], columns: Sequence[Column], output: str = "table") -> None:
    """A table without borders; a cell that begins with a known state is coloured on a terminal."""
    page = marks.of_page()
    text = Text("\n").join(lines(rows, columns, _width(output), page.changed if page else None))
    console().print(text, soft_wrap=True)


def note(text: str, output: str) -> None:
    """Print a remark below a table."""
    width = _width(output)
    first, *more = [text] if width is None else wrapped(text, width)
    click.echo(first)
    for line in wrapped(" ".join(more), max(1, (width or 0) - 2)) if more else ():
        click.echo(f"  {line}")


def _width(output: str) -> int | None:
    """The width of the terminal, None where a line may have any."""
    return terminal_width() if output == "table" else None


def terminal_width() -> int | None:
    """Columns of the terminal, or the variable COLUMNS; None when printing to a file."""
    return Console().width if sys.stdout.isatty() else None


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


def printable(value: Any) -> Any:
    """Text of another node must not spoil a terminal."""
    match value:
        case str():
            return value if value.isprintable() else value.encode("unicode_escape").decode("ascii")
        case list():
            return [printable(item) for item in value]
        case dict():
            return {printable(key): printable(item) for key, item in value.items()}
        case _:
            return value
