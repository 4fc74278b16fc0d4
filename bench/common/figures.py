"""
Figures of several rounds: medians, percentiles, and the file that holds them.

Refuses to know: what was measured.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

_DIGITS: Final = 4


def median(values: Iterable[float]) -> float:
    """Of the rounds; the middle one is not moved by one bad round."""
    return round(statistics.median(values), _DIGITS)


def percentile(values: Sequence[float], percent: int) -> float:
    """Of single tries, between the nearest two; of one value, itself."""
    if len(values) < 2:
        return round(values[0], _DIGITS)
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], _DIGITS)


def rounded(values: Iterable[float]) -> list[float]:
    """For the file: the spread stays visible."""
    return [round(value, _DIGITS) for value in values]


class Key(dict[str, Any]):
    """Some columns of a row; hashable."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))


def grouped(rows: Iterable[dict[str, Any]], *columns: str) -> dict[Key, list[dict[str, Any]]]:
    """The rows that agree in these columns, in the order of their first."""
    found: dict[Key, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(Key({column: row[column] for column in columns}), []).append(row)
    return found


def write(output: Path, record: Any) -> None:
    """A file of JSON."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(record, indent=1) + "\n")
