"""
`bgpctl completion bash|zsh|fish`: the script for a shell to complete our commands and options.

Refuses to know: any shell's language; click has a script for each.
"""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

SHELLS: Final = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
_PROGRAM: Final = "bgpctl"
_VARIABLE: Final = "_BGPCTL_COMPLETE"
"""Given by the script, it makes bgpctl answer what fits instead of running; the name is click's."""


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script with which SHELL completes our commands and options."""
    script = SHELLS[shell](context.find_root().command, {}, _PROGRAM, _VARIABLE)
    click.echo(script.source())
