"""
`bgpctl lab exec`: a command or a shell in a part of a lab.

Refuses to know: what the command does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

import click

from bgpctl.cli import suggest
from bgpctl.cli.refusals import NotFound
from bgpctl.cli.which_lab import name_option, which
from bgpctl.lab import lab as labs
from bgpctl.lab import netns
from bgpctl.lab.build import Names

_SHELL: Final = "/bin/sh"
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
"""The codes of POSIX's shell for a command that cannot be run (2.8.2)."""


@click.command("exec", context_settings={"ignore_unknown_options": True})
@name_option
@click.argument("where", metavar="NODE", shell_complete=suggest.parts)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def exec_command(name: str | None, where: str, command: tuple[str, ...]) -> None:
    """
    Run COMMAND in the namespace of a node, router, host or workload; without one, a shell.

    `bgpctl show …` there talks to that node's agent.
    """
    # Not the whole lab: its file may be one that has to be undone, in which a workload has left its block.
    names = Names(which(name))
    namespace = names.of(where)
    if namespace not in netns.names(namespace):
        raise NotFound(f"{where} is not a part of lab {names.lab} (parts: {', '.join(_parts(names)) or 'none'})")
    if not command and sys.stdin.isatty():
        click.echo(f"a shell in {where} of lab {names.lab}; it ends with: exit", err=True)
    netns.enter(namespace)
    _become(command or (os.environ.get("SHELL") or _SHELL,), {**os.environ, **_variables(names, where)})


def _parts(names: Names) -> list[str]:
    found = (namespace.removeprefix(names.prefix) for namespace in netns.names(names.prefix))
    return [part for part in found if names.of(part) != names.fabric]


def _variables(names: Names, where: str) -> Mapping[str, str]:
    return {
        "BGPCTL_RUN_DIR": str(labs.run_dir_of(names, where)),
        "BGPCTL_KEYS": str(labs.keys_of(names, where)),
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "PS1": f"{where}# ",
    }


def _become(command: Sequence[str], variables: Mapping[str, str]) -> NoReturn:
    """
    The command takes the place of this process: terminal, signals and exit code are its own. A shell that waits in
    between would have to hand on all three.
    """
    try:
        os.execvpe(command[0], list(command), variables)  # noqa: S606 (the user's own command)
    except OSError as error:
        click.echo(f"{command[0]}: {error.strerror}", err=True)
        sys.exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE)
