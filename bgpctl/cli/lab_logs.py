"""
`bgpctl lab logs`: what the agent or other daemon of a node has written.

Refuses to know: what the lines mean.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

import click

from bgpctl.cli import suggest
from bgpctl.cli.refusals import NotFound
from bgpctl.cli.which_lab import name_option, which
from bgpctl.lab import lab as labs
from bgpctl.lab.build import Names

_POLL_S: Final = 0.2


@click.command("logs")
@name_option
@click.argument("node", shell_complete=suggest.logged)
@click.option("--follow", is_flag=True, help="Go on with new lines, until Ctrl-C or the end of the lab.")
@click.option(
    "-n", "--lines", "last", type=click.IntRange(0), metavar="N", help="Only the last N lines of those that are there."
)
def logs_command(name: str | None, node: str, last: int | None, *, follow: bool) -> None:
    """Print the log of NODE's agent, or of the other BGP daemon that it runs."""
    names = Names(which(name))
    log = labs.log_of(names, node)
    if log is None:
        known = ", ".join(labs.logged(names)) or "none"
        raise NotFound(f"{node} has no log in lab {names.lab} (logs: {known})")
    with log.open(encoding="utf-8", errors="replace") as opened:
        for line in deque(opened, last) if last is not None else opened:
            click.echo(line, nl=False)
        try:
            for text in _more(opened, log) if follow else ():
                click.echo(text, nl=False)
        except KeyboardInterrupt:
            return


def _more(opened: TextIO, log: Path) -> Iterator[str]:
    """The text written from now on, while the log is there."""
    while True:
        is_there = log.exists()
        if text := opened.read():
            yield text
        elif not is_there:
            return
        else:
            time.sleep(_POLL_S)
