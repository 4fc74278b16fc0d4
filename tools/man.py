"""
Writes man pages from the help of the program: bgpctl(1), and one for each of its commands. `make reference` runs it.

The wheel has them in share/man/man1, where man(1) finds them beside a `bin` directory that is on PATH.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from bgpctl.cli.main import main

_MADE: Final = '.\\" Made by tools/man.py.'
_CODES: Final = """\
.SH EXIT STATUS
0 if all is as it should be, 1 if there are differences or a check failed, 2 for usage and invalid configuration, 3 if
the agent does not answer, 4 if the time is over, 5 if something was applied partly, 6 if it was refused, 7 if a part of
the agent failed, 130 after Ctrl\\-C. They never depend on the output format."""


def pages() -> dict[str, str]:
    """The text of each page, by the name of its file."""
    root = click.Context(main, info_name="bgpctl", **main.context_settings)
    commands = [(name, main.get_command(root, name)) for name in main.list_commands(root)]
    found = {"bgpctl.1": _page(root, [_listed(root), _CODES, _see_also(name for name, _ in commands)])}
    for name, command in commands:
        if command:
            context = click.Context(command, info_name=name, parent=root)
            found[f"bgpctl-{name}.1"] = _page(context, [*_below(context), _CODES, ".SH SEE ALSO\n.BR bgpctl (1)"])
    return found


def _page(context: click.Context, more: list[str]) -> str:
    name = context.command_path.replace(" ", "-")
    first = _roff(context.command.get_short_help_str(200))
    title = f'.TH {name.upper()} 1 "" "bgpctl" "bgpctl"\n.nh\n.ad l'
    head = [_MADE, title, ".SH NAME", f"{_roff(name)} \\- {first}"]
    return "\n".join([*head, ".SH SYNOPSIS", _usage(context), ".SH DESCRIPTION", *_text(context), *more]) + "\n"


def _usage(context: click.Context) -> str:
    words = " ".join(context.command.collect_usage_pieces(context))
    return f".B {_roff(context.command_path)}\n{_roff(words)}"


def _text(context: click.Context) -> Iterator[str]:
    """The help, a paragraph each, and the options."""
    paragraphs = re.split(r"\n\s*\n", (context.command.help or "").strip())
    for number, paragraph in enumerate(paragraphs):
        yield (".PP\n" if number else "") + _roff(" ".join(paragraph.split()))
    options = [item for item in context.command.params if isinstance(item, click.Option)]
    for option in options:
        if record := option.get_help_record(context):
            yield f".TP\n.B {_roff(record[0])}\n{_roff(' '.join(record[1].split()))}"


def _below(context: click.Context) -> Iterator[str]:
    """The commands of a group, at any depth."""
    if not isinstance(context.command, click.Group):
        return
    for name in context.command.list_commands(context):
        command = context.command.get_command(context, name)
        if command:
            inner = click.Context(command, info_name=name, parent=context)
            if not isinstance(command, click.Group):
                yield "\n".join([f".SH {_roff(inner.command_path).upper()}", _usage(inner), ".PP", *_text(inner)])
            yield from _below(inner)


def _listed(root: click.Context) -> str:
    lines = [".SH COMMANDS"]
    for name in main.list_commands(root):
        command = main.get_command(root, name)
        text = command.get_short_help_str(200) if command else ""
        lines.append(f".TP\n.BR bgpctl\\-{_roff(name)} (1)\n{_roff(text)}")
    return "\n".join(lines)


def _see_also(names: Iterator[str]) -> str:
    return ".SH SEE ALSO\n" + ",\n".join(f".BR bgpctl\\-{_roff(name)} (1)" for name in names)


def _roff(text: str) -> str:
    """Text that roff takes as it is: no line begins with a control character (groff_char(7), groff(7))."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return re.sub(r"^([.'])", r"\\&\1", plain, flags=re.MULTILINE)


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("bgpctl*.1"):
        old.unlink()
    for page, content in pages().items():
        (directory / page).write_text(content)
