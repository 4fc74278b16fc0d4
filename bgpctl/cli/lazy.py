"""
Groups whose commands are imported when they are used: all of them take half a second, and the agent keeps what it
imports in memory for as long as it runs.

Refuses to know: what a command does.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """`modules` has the module of `bgpctl.cli` for each command, which has its own name there."""

    def __init__(self, *args: Any, modules: Mapping[str, str], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted((*super().list_commands(ctx), *self._modules))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, None if there is none."""
        if cmd_name not in self._modules:
            return super().get_command(ctx, cmd_name)
        found: click.Command = getattr(import_module(f"bgpctl.cli.{self._modules[cmd_name]}"), cmd_name)
        return found
