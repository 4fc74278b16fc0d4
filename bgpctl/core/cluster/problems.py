"""
Problems of the operator's files, and where they stand.

Refuses to know: the rules that find them (core/intent).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands in the operator's files; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Severity(enum.Enum):
    """The effect of a problem: an error keeps the whole file out; a warning or a remark does not."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something the operator must mend: `cluster.yaml:12:15: pools.blue: what is wrong`. `rule` is a stable slug."""

    place: Place
    path: str
    message: str
    rule: str
    severity: Severity = field(default=Severity.ERROR, compare=False)

    def __str__(self) -> str:
        return f"{self.place}: {self.path}: {self.message}" if self.path else f"{self.place}: {self.message}"
