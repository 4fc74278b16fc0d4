"""
`--watch`: a read command again and again, on a terminal in place, with what has changed since the last time marked.

A command prints as it always does, to a page that is compared with the page before and then shown. Ages grow all the
time and are no change. Without a terminal each page follows the one before, as it is.

Refuses to know: which command it is, and what a table is made of.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import sys
import time
from itertools import pairwise
from typing import Any, Final

import click

from bgpctl.cli.exits import Exit
from bgpctl.cli.marks import Marks, marking

_EVERY_S: Final = "2"
_OPTION: Final = "--watch"
_NUMBER: Final = re.compile(r"\d+(\.\d+)?")
_HOME, _CLEAR, _REST_OF_LINE, _REST_OF_PAGE = "\x1b[H", "\x1b[2J", "\x1b[K", "\x1b[J"


class Watched(click.Command):
    """A command with `--watch [SECONDS]`."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        every = click.Option(
            [_OPTION, "watch_s"],
            type=click.FloatRange(0.1),
            metavar="[SECONDS]",
            help=f"Show it again every {_EVERY_S} or SECONDS seconds, with changes marked, until Ctrl-C.",
        )
        self.params.append(every)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The seconds may be left out, also where an argument of the command follows."""
        alone = [
            f"{_OPTION}={_EVERY_S}" if word == _OPTION and not _NUMBER.fullmatch(after) else word
            for word, after in pairwise([*args, ""])
        ]
        return super().parse_args(ctx, alone)

    def invoke(self, ctx: click.Context) -> Any:
        """Once, or again and again. Exits 0 on Ctrl-C, and with the command's code if the first time fails."""
        watch_s = ctx.params.pop("watch_s", None)
        if watch_s is None:
            return super().invoke(ctx)
        if ctx.params.get("within_s") is not None:
            raise click.UsageError("--wait and --watch cannot both be given")
        try:
            self._again(ctx, watch_s)
        except KeyboardInterrupt:
            sys.exit(Exit.OK)

    def _again(self, ctx: click.Context, watch_s: float) -> None:
        marks: Marks | None = None
        is_terminal = sys.stdout.isatty()
        if is_terminal:
            sys.stdout.write(_CLEAR)
        while True:
            marks = Marks(marks)
            page = _Page(is_terminal=is_terminal)
            code = self._print(ctx, page, marks)
            if code and marks.is_first:
                click.echo(page.getvalue(), nl=False, err=True)
                sys.exit(code)
            if is_terminal:
                _show(page.getvalue(), ctx, watch_s)
            else:
                _follow(page.getvalue(), first=marks.is_first)
            time.sleep(watch_s)

    def _print(self, ctx: click.Context, page: _Page, marks: Marks) -> int:
        """Print to the page; returns the code of an error that ended it, whose text is on the page."""
        with contextlib.redirect_stdout(page), contextlib.redirect_stderr(page), marking(marks):
            try:
                super().invoke(ctx)
            except click.ClickException as error:
                error.show(page)
                return error.exit_code
            except SystemExit as ended:
                return ended.code if isinstance(ended.code, int) else 0
        return 0


class WatchedGroup(click.Group):
    """All its commands can be watched."""

    command_class = Watched


class _Page(io.StringIO):
    """The output of a command, printed as for the terminal if there is one."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


def _follow(text: str, *, first: bool) -> None:
    is_table = not text.startswith(("{", "schema: "))
    click.echo(("\n" if is_table and not first else "") + text, nl=False)
    sys.stdout.flush()


def _show(text: str, ctx: click.Context, watch_s: float) -> None:
    """The page in place of the one before: what does not fit is counted."""
    height = shutil.get_terminal_size().lines
    lines = [f"{ctx.command_path}, every {watch_s:g} s, at {time.strftime('%H:%M:%S')}", "", *text.splitlines()]
    if len(lines) >= height:
        more = len(lines) - height + 2
        lines = [*lines[: height - 2], f"… {more} more lines"]
    shown = "".join(f"{line}{_REST_OF_LINE}\n" for line in lines)
    sys.stdout.write(f"{_HOME}{shown}{_REST_OF_PAGE}")
    sys.stdout.flush()
