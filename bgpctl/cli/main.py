"""
The command line: one thin module per noun or verb, imported when it is used.

Refuses to know: how anything is done.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from bgpctl.cli.exits import Exit
from bgpctl.cli.lazy import LazyGroup

_SETTINGS: Final = {"auto_envvar_prefix": "BGPCTL", "help_option_names": ["-h", "--help"]}
_COMMANDS: Final = {
    "agent": "agent",
    "apply": "change",
    "cleanup": "agent",
    "cluster": "cluster",
    "completion": "completion",
    "confirm": "change",
    "docker-plugin": "docker_plugin:docker_plugin",
    "doctor": "doctor",
    "drain": "operate",
    "explain": "explain",
    "ipam": "ipam",
    "keys": "keys",
    "lab": "lab",
    "peer": "operate",
    "plan": "plan",
    "render": "render_intent",
    "resolver": "resolver",
    "schema": "schema",
    "show": "show",
    "simulate": "simulate",
    "top": "top",
    "trace": "trace",
    "ui": "ui",
    "undo": "change",
    "undrain": "operate",
    "validate": "validate",
    "verify": "verify",
    "workload": "workload",
}
"""The module of each, where it has its own name."""


class _Main(LazyGroup):
    """Ctrl-C ends a command that has no use of its own for it with 130, as shells do: 1 would be an answer."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(Exit.INTERRUPTED)


@click.group(cls=_Main, modules=_COMMANDS, context_settings=_SETTINGS)
@click.version_option(package_name="bgpctl")
def main() -> None:
    """
    BGP-integrated routing controller: Calico's overlay networking without Kubernetes.

    Every option can be given as a variable, such as BGPCTL_SHOW_RUN_DIR; BGPCTL_RUN_DIR is that of every command.
    """
