"""
Tables for a terminal of some width: no cell that stays is ever cut.

Columns that may go are left out first, in the order that the table declares. Text wraps under itself. A row whose
columns that stay have no room beside each other is folded: its first cell on a line of its own, all others below it,
each with its header.

Refuses to know: what a terminal is, where the rows came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple, TypeAlias

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

Row: TypeAlias = Mapping[str, Any]
Cells: TypeAlias = Sequence[str]
Comparison: TypeAlias = Callable[[Sequence[Cells]], AbstractSet[tuple[int, int]]]
"""The cells of a table, by row and place, that are not as they were."""

_GAP: Final = "  "
_NARROWEST_TEXT: Final = 24
_NONE: Final = "-"
_PAGE: Final = Console()
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


class Column(NamedTuple):
    """
    A header and how to get the cell from a row. `goes`: the place among the columns that may be left out, 1 is the
    first to go; 0 stays. `wraps`: text and lists, which may be broken between words.
    """

    header: str
    cell: Callable[[Row], object]
    goes: int = 0
    wraps: bool = False


def lines(
    rows: Iterable[Row], columns: Sequence[Column], width: int | None, changed: Comparison | None = None
) -> Iterator[Text]:
    """
    The lines of a table, none wider than `width` unless a cell that stays is; all columns if there is no width. Cells
    that `changed` names are marked.
    """
    table = [[_plain(column.cell(row)) for column in columns] for row in rows]
    marked = changed(table) if changed else frozenset()
    folded = frozenset[int]() if width is None else _folded(table, columns, width)
    flat = [row for number, row in enumerate(table) if number not in folded]
    widths = _widths(flat, columns, width)
    if flat or not table:
        yield _joined([Text(column.header, "bold") for column in columns], widths)
    for number, row in enumerate(table):
        styles = [_style(cell, is_marked=(number, place) in marked) for place, cell in enumerate(row)]
        yield from _fold(row, columns, width or 0, styles) if number in folded else _beside(row, widths, styles)


def wrapped(text: str, width: int, *, overflow: str = "fold") -> list[str]:
    """Lines of at most `width` cells, broken between words; a longer word is broken only by the overflow `fold`."""
    if "\n" not in text and cell_len(text) <= width:
        return [text]
    found = Text(text).wrap(_PAGE, width, overflow="fold" if overflow == "fold" else "ignore")
    return [line.plain.rstrip() for line in found]


def _plain(value: object) -> str:
    return _NONE if value is None or value == "" else str(value)


def _size(cell: str) -> int:
    return max(map(cell_len, cell.split("\n")))


def _least(cell: str, column: Column) -> int:
    """The cells that it needs; text can do with its longest word."""
    size = _size(cell)
    return max(min(size, _NARROWEST_TEXT), *map(cell_len, cell.split()), 0) if column.wraps else size


def _total(widths: Iterable[int]) -> int:
    found = list(widths)
    return sum(found) + len(_GAP) * (len(found) - 1)


def _folded(table: Sequence[Cells], columns: Sequence[Column], width: int) -> frozenset[int]:
    """The numbers of the rows that have no room, the widest ones: all others have room below each other."""
    stay = [place for place, column in enumerate(columns) if not column.goes]
    least = [[_least(row[place], columns[place]) for place in stay] for row in table]
    widest = [cell_len(columns[place].header) for place in stay]
    order = sorted(range(len(table)), key=lambda number: sum(least[number]))
    for place, number in enumerate(order):
        widest = list(map(max, widest, least[number]))
        if _total(widest) > width:
            return frozenset(order[place:])
    return frozenset()


def _widths(table: Sequence[Cells], columns: Sequence[Column], width: int | None) -> dict[int, int]:
    """The width of each column that is shown, by its place."""
    heads = [cell_len(column.header) for column in columns]
    full = [max([head, *(_size(row[place]) for row in table)]) for place, head in enumerate(heads)]
    if width is None:
        return dict(enumerate(full))
    least = [max([head, *(_least(row[place], columns[place]) for row in table)]) for place, head in enumerate(heads)]
    shown = dict(enumerate(least))
    for place in sorted((place for place in shown if columns[place].goes), key=lambda place: columns[place].goes):
        if _total(shown.values()) <= width:
            break
        del shown[place]
    return _widened(shown, full, width - _total(shown.values()))


def _widened(least: Mapping[int, int], full: Sequence[int], spare: int) -> dict[int, int]:
    """Columns that want more share the spare width in equal parts."""
    widths = dict(least)
    wanting = sorted((place for place in widths if full[place] > widths[place]), key=lambda place: full[place])
    for number, place in enumerate(wanting):
        more = max(0, min(full[place] - widths[place], spare // (len(wanting) - number)))
        widths[place] += more
        spare -= more
    return widths


def _beside(row: Cells, widths: Mapping[int, int], styles: Sequence[str]) -> Iterator[Text]:
    parts = {place: wrapped(row[place], width) for place, width in widths.items()}
    for number in range(max(map(len, parts.values()))):
        cells = {place: found[number] if number < len(found) else "" for place, found in parts.items()}
        yield _joined([Text(cells.get(place, ""), style) for place, style in enumerate(styles)], widths)


def _joined(cells: Sequence[Text], widths: Mapping[int, int]) -> Text:
    line = Text()
    for place, width in widths.items():
        line.append_text(cells[place]).append(" " * (width - cells[place].cell_len) + _GAP)
    line.rstrip()
    return line


def _fold(row: Cells, columns: Sequence[Column], width: int, styles: Sequence[str]) -> Iterator[Text]:
    """The first cell that stays, and all others that have a value."""
    first = next(place for place, column in enumerate(columns) if not column.goes)
    yield Text(row[first], "bold")
    line = Text()
    for place, (cell, column) in enumerate(zip(row, columns, strict=True)):
        if place == first or cell == _NONE:
            continue
        part = Text(f"{_GAP}{column.header} ").append(cell, _marked(styles[place]))
        if line and line.cell_len + part.cell_len > width:
            yield line
            line = Text()
        line.append_text(part)
        if line.cell_len > width:
            yield from _below(column, cell, width, _marked(styles[place]))
            line = Text()
    if line:
        yield line


def _marked(style: str) -> str:
    """Folded cells have no colour; a mark they have."""
    return "reverse" if style.endswith("reverse") else ""


def _below(column: Column, cell: str, width: int, style: str) -> Iterator[Text]:
    """A cell that is longer than a line, under its header."""
    indent = 2 * _GAP
    overflow = "fold" if column.wraps else "ignore"
    yield Text(_GAP + column.header)
    for part in wrapped(cell, max(1, width - len(indent)), overflow=overflow):
        yield Text(indent).append(part, style)


def _style(cell: str, *, is_marked: bool) -> str:
    known = _STYLES.get(cell.split(" ", maxsplit=1)[0], "")
    return f"{known} reverse".strip() if is_marked else known
