"""Writes docs/reference from the program: commands and exit codes, keys of the short form. `make reference` runs it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

from bgpctl.cli.exits import Exit
from bgpctl.cli.main import main
from bgpctl.cli.schema import bundled

_MADE: Final = "<!-- Made by tools/reference.py. -->\n"
_SECTIONS: Final = {
    "The file": "cluster",
    "A pool": "shortPool",
    "A node": "shortNode",
    "A peer": "shortPeer",
    "A filter": "filter",
    "A rule of a filter": "filterRule",
}


def pages() -> dict[str, str]:
    """The text of each page, by its name."""
    return {"cli.md": _cli(), "keys.md": _keys()}


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head)]
    lines += [["---"] * len(lines[0]), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _cli() -> str:
    codes = [(str(code.value), text) for code, text in _EXITS.items()]
    parts = [
        _MADE,
        "# Commands\n",
        "Every read command has `-o table|json|yaml`, those that print nothing but tables `-o wide` too.",
        "An option can be given as the variable beside it.\n",
        "## Exit codes\n",
        "They never depend on the output format.\n",
        _table(("code", "meaning"), codes) + "\n",
        *_commands(click.Context(main, info_name="bgpctl", **main.context_settings)),
    ]
    return "\n".join(parts)


_EXITS: Final = {
    Exit.OK: "done, no difference, all checks pass",
    Exit.DIFFERENT: "differences, or a check failed",
    Exit.INVALID: "usage, or an invalid configuration",
    Exit.UNREACHABLE: "the agent does not answer",
    Exit.TIMED_OUT: "timed out: not converged",
    Exit.PARTLY: "applied partly; what failed is listed",
    Exit.REFUSED: "refused: no permission, something that is needed is not there, another agent runs, or a guard",
    Exit.FAILED: "a part of the agent failed by a defect; its log has the traceback",
    Exit.INTERRUPTED: "ended by Ctrl-C; `--watch` and `lab logs --follow` end with 0",
}


def _commands(context: click.Context) -> Iterator[str]:
    command = context.command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below:
                yield from _commands(click.Context(below, info_name=name, parent=context))
        return
    yield f"## {context.command_path}\n"
    yield f"    {' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n"
    yield re.sub(r"\s*\n\s*", " ", (command.help or "").strip()) + "\n"
    rows = [row for each in (context.parent, context) if each for row in _options(each)]
    if rows:
        yield _table(("option", "variable", "meaning"), rows) + "\n"


def _options(context: click.Context) -> Iterator[tuple[str, str, str]]:
    for option in context.command.params:
        if isinstance(option, click.Option) and option.name != "version":
            names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
            given = option.envvar or f"{context.auto_envvar_prefix}_{str(option.name).upper()}"
            variables = [given] if isinstance(given, str) else given
            yield names, ", ".join(f"`{variable}`" for variable in variables), _meaning(option)


def _meaning(option: click.Option) -> str:
    choices = option.type.choices if isinstance(option.type, click.Choice) else ()
    parts = [option.help or "", *(f"`{choice}`" for choice in choices)]
    default = ", ".join(map(str, option.default)) if isinstance(option.default, list) else option.default
    parts += [f"(default: {default})"] if option.show_default else []
    return " ".join(filter(None, parts))


def _keys() -> str:
    root = bundled("cluster")
    parts = [
        _MADE,
        "# Keys of the short form\n",
        "`bgpctl schema cluster` prints the whole JSON Schema, Calico's resources included.\n",
    ]
    for title, name in _SECTIONS.items():
        shape = root["$defs"][name]
        parts += [f"## {title}\n", f"{shape['description']}\n"] if "description" in shape else [f"## {title}\n"]
        must = shape.get("required", ())
        rows = [
            (f"`{key}`", *_key(_whole(found, root)), "yes" if key in must else "")
            for key, found in shape["properties"].items()
            if found is not True
        ]
        parts.append(_table(("key", "value", "default", "meaning", "needed"), rows) + "\n")
    return "\n".join(parts)


def _whole(shape: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The shape merged with the one it refers to; its own keys win."""
    if "$ref" not in shape:
        return shape
    there: Any = root
    for step in shape["$ref"].split("/")[1:]:
        there = there[step]
    return {**_whole(there, root), **shape}


def _key(shape: Mapping[str, Any]) -> tuple[str, str, str]:
    kinds = shape.get("enum") or shape.get("type") or ()
    kinds = [kinds] if isinstance(kinds, str) else kinds
    values = " ".join(f"`{json.dumps(kind).strip(chr(34))}`" for kind in kinds if kind not in {None, "null"})
    default = f"`{json.dumps(shape['default'])}`" if "default" in shape else ""
    return values, default, str(shape.get("description", ""))


if __name__ == "__main__":
    for page, text in pages().items():
        Path(sys.argv[1], page).write_text(text)
