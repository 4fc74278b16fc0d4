"""
The cells of a page's tables that are not as they were on the page before, where rows come, go and move.

Refuses to know: how a cell is marked, what prints the pages.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeAlias

from bgpctl.cli.tables import Cells

Key: TypeAlias = tuple[str, int]
"""The first cell of a row that is no age, and how many rows above have the same."""
Changed: TypeAlias = frozenset[tuple[int, int]]

_AGE: Final = re.compile(r"\b(\d+d\d\dh|\d+h\d\dm|\d+m\d\ds|\d+s)\b")


def keyed(table: Sequence[Cells]) -> list[tuple[Key, Cells]]:
    """Each row with its key, and without its ages, which grow all the time and are no change."""
    seen: Counter[str] = Counter()
    found: list[tuple[Key, Cells]] = []
    for row in table:
        cells = [_AGE.sub("", cell) for cell in row]
        name = next(filter(None, cells), "")
        found.append(((name, seen[name]), cells))
        seen[name] += 1
    return found


def differing(now: Sequence[tuple[Key, Cells]], before: Mapping[Key, Cells]) -> Changed:
    """The cells, by row and place, that the row of the same key had otherwise; of a new row all."""
    return frozenset(
        (number, place)
        for number, (key, row) in enumerate(now)
        for place, cell in enumerate(row)
        if key not in before or len(before[key]) <= place or before[key][place] != cell
    )


class Marks:
    """The tables of one page, and which cells differ from those of the page before; on a first page none does."""

    def __init__(self, before: Marks | None) -> None:
        self.is_first = before is None
        self._before = before.tables if before else []
        self.tables: list[Mapping[Key, Cells]] = []

    def changed(self, table: Sequence[Cells]) -> Changed:
        """Of the page's next table the cells that differ, by row and place; rows are known by their key."""
        number, found = len(self.tables), keyed(table)
        self.tables.append(dict(found))
        if number >= len(self._before):
            return frozenset()
        return differing(found, self._before[number])


_MARKS: Final[ContextVar[Marks | None]] = ContextVar("marks", default=None)


@contextmanager
def marking(marks: Marks) -> Iterator[None]:
    """Tables that are printed meanwhile have changed cells marked."""
    token = _MARKS.set(marks)
    try:
        yield
    finally:
        _MARKS.reset(token)


def of_page() -> Marks | None:
    """The marks of the page that is being printed; None where nothing is marked."""
    return _MARKS.get()
