"""
`bgpctl agent replay`: a journal replayed on this version, without an agent, a kernel or root.

Refuses to know: how a journal is read, and how commands are compared.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click

from bgpctl.agent import event_words, journal_file
from bgpctl.agent.journal import Record
from bgpctl.agent.journal_file import BadJournal, Header
from bgpctl.agent.replay import Difference, first_difference, lines
from bgpctl.cli.exits import Exit
from bgpctl.cli.render import emit, output_option

_LINES_BEFORE_ENTRIES: Final = 2


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@output_option
def replay(file: Path, output: str) -> None:
    """
    Replay a journal FILE of `bgpctl agent journal`, and show the first command that differs from the recorded ones.

    Exits 0 if this version of bgpctl answers every event with the recorded commands, 1 if it does not, 2 if the file
    is no journal that it reads.
    """
    try:
        header, record = journal_file.load(file)
    except OSError as error:
        click.echo(f"{file}: {error.strerror}", err=True)
        sys.exit(Exit.INVALID)
    except BadJournal as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.INVALID)
    difference = first_difference(record)
    body = _body(file, header, record, difference)
    if output == "table":
        click.echo(_text(body))
    else:
        emit(body, output, (), ())
    sys.exit(Exit.DIFFERENT if difference else Exit.OK)


def _body(file: Path, header: Header, record: Record, difference: Difference | None) -> dict[str, Any]:
    return {
        "schema": "bgpctl/replay/v1",
        "file": str(file),
        "node": header.node,
        "recorded_by": header.version,
        "replayed_by": version("bgpctl"),
        "entries": len(record.entries),
        "commands": sum(len(entry.commands) for entry in record.entries),
        "difference": _shown(difference, record) if difference else None,
    }


def _shown(difference: Difference, record: Record) -> dict[str, Any]:
    config = record.start.bgp.config
    names = {session.peer: session.name for session in config.sessions} if config else {}
    return {
        "entry": difference.index,
        "line": difference.index + _LINES_BEFORE_ENTRIES,
        "at_s": difference.entry.at_s,
        "event": event_words.event(difference.entry.event, names),
        "command": difference.command,
        "objects": lines(difference),
    }


def _text(body: Mapping[str, Any]) -> str:
    shown = body["difference"]
    if shown is None:
        return f"{body['file']}: {body['entries']} entries, {body['commands']} commands, all the same"
    where = f"{body['file']}:{shown['line']}: entry {shown['entry']} at {shown['at_s']:.3f} s"
    who = f"- recorded by bgpctl {body['recorded_by']}, + replayed by {body['replayed_by']}"
    return "\n".join((f"{where}: {shown['event']}", f"command {shown['command']} differs ({who}):", *shown["objects"]))
