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


def change_rows(samples: Iterable[dict[str, Any]], *columns: str) -> list[dict[str, Any]]:
    """
    One row for each kind of change and subject: the median of the rounds' CPU, and percentiles of all single tries.

    Args:
        samples: a round each, with `cpu_ms` by part of the subject and `latencies_ms`.
        columns: that name the kind of change.
    """
    rows = []
    for key, taken in grouped(samples, *columns, "subject").items():
        totals = [sum(sample["cpu_ms"].values()) for sample in taken]
        latencies = [value for sample in taken for value in sample["latencies_ms"]]
        parts = {part: median([sample["cpu_ms"][part] for sample in taken]) for part in taken[0]["cpu_ms"]}
        rows.append(
            {
                **key,
                "cpu_ms": median(totals),
                "cpu_ms_rounds": rounded(totals),
                "parts_ms": parts,
                "p50_ms": percentile(latencies, 50),
                "p99_ms": percentile(latencies, 99),
                "tries": len(latencies),
            }
        )
    return rows


def line(row: dict[str, Any]) -> str:
    """One row of changes for a terminal; the columns that name it come first."""
    names = [*row.values()][: [*row].index("cpu_ms")]
    what = " ".join(f"{value:>7,}" if isinstance(value, int) else f"{value:10}" for value in names)
    parts = ", ".join(f"{part} {value:.2f}" for part, value in row["parts_ms"].items())
    return f"{what} {row['cpu_ms']:7.2f} ms CPU, {row['p50_ms']:6.1f} ms p50, {row['p99_ms']:6.1f} ms p99  ({parts})"


def write(output: Path, record: Any) -> None:
    """A file of JSON."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(record, indent=1) + "\n")
