"""Counts the blocks whose commands were executed, for the last lines of the test run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

_BLOCKS: Final = pytest.StashKey[int]()


@pytest.fixture
def count_blocks(request: pytest.FixtureRequest) -> Callable[[int], None]:
    def count(number: int) -> None:
        request.config.stash[_BLOCKS] = request.config.stash.get(_BLOCKS, 0) + number

    return count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line, where there is something to tell."""
    number = config.stash.get(_BLOCKS, 0)
    if number:
        terminalreporter.write_line(f"documents: {number} command blocks executed")
