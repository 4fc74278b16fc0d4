"""
The progress of work that takes more than a second: one line on a terminal, that goes when the work is done.

It is written to standard error, and nowhere if that is no terminal: what a script reads is the same every time.

Refuses to know: what is being done.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner

from bgpctl.cli.render import age

_AFTER_S: Final = 1.0


class Progress:
    """A spinner with the stage, its count and the time so far, once that is a second."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._stage = ""
        self._count = ""
        self._began_s = time.monotonic()
        self._spinner = Spinner("dots")

    def stage(self, text: str) -> None:
        """A new stage has begun."""
        self._stage, self._count = text, ""

    def count(self, done: int, total: int) -> None:
        """`done` of `total` within the stage."""
        self._count = f"{done} of {total}"

    def __rich__(self) -> RenderableType:
        took_s = time.monotonic() - self._began_s
        if took_s < _AFTER_S:
            return Group()
        words = ", ".join(filter(None, (self._stage, self._count)))
        self._spinner.update(
            text=f"{self._title}: {words} ({age(took_s)})" if words else f"{self._title} ({age(took_s)})"
        )
        return self._spinner


@contextlib.contextmanager
def progress_of(title: str) -> Iterator[Progress]:
    """The progress of some work, shown until it ends."""
    shown = Progress(title)
    screen = Console(stderr=True, highlight=False)
    if not screen.is_terminal:
        yield shown
        return
    with Live(
        shown, console=screen, transient=True, refresh_per_second=8, redirect_stdout=False, redirect_stderr=False
    ):
        yield shown
