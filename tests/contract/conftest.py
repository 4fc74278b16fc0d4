"""Counts what the differential walks did, for the last lines of the test run."""

from __future__ import annotations

from typing import Final

import pytest

_OPERATIONS: Final = pytest.StashKey[int]()


def count_operations(config: pytest.Config, number: int) -> None:
    """So many operations were done on the fake and on the running kernel with the same result."""
    config.stash[_OPERATIONS] = config.stash.get(_OPERATIONS, 0) + number


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line, where there is something to tell."""
    number = config.stash.get(_OPERATIONS, 0)
    if number:
        terminalreporter.write_line(f"law book: {number} random operations on the fake and on the running kernel each")
