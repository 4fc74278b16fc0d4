"""
The command line: one thin module per noun or verb, imported when it is used, because all of them take half a second.

Refuses to know: how anything is done.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

_SETTINGS: Final = {"auto_envvar_prefix": "BGPCTL", "help_option_names": ["-h", "--help"]}
_COMMANDS: Final = {
    "agent": "agent",
    "apply": "change",
    "cleanup": "agent",
    "confirm": "change",
    "doctor": "doctor",
    "drain": "operate",
    "lab": "lab",
    "peer": "operate",
    "plan": "plan",
    "render": "render_intent",
    "schema": "schema",
    "show": "show",
    "undo": "change",
    "undrain": "operate",
    "validate": "validate",
}
"""The module of each, where it has its own name."""


class _Commands(click.Group):
    """Commands that are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """All names."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of this name, None if there is none."""
        if cmd_name not in _COMMANDS:
            return None
        found: click.Command = getattr(import_module(f"bgpctl.cli.{_COMMANDS[cmd_name]}"), cmd_name)
        return found


@click.group(cls=_Commands, context_settings=_SETTINGS)
@click.version_option(package_name="bgpctl")
def main() -> None:
    """
    BGP-integrated routing controller: Calico's overlay networking without Kubernetes.

    Every option can be given as a variable, such as BGPCTL_SHOW_RUN_DIR; BGPCTL_RUN_DIR is that of every command.
    """
