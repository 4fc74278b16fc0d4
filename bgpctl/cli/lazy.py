"""
Groups whose commands are imported when they are used: all of them take half a second, and the agent keeps what it
imports in memory for as long as it runs.

Refuses to know: what a command does.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """
    `modules` has the module of `bgpctl.cli` for each command, which has its own name there, or after a colon another
    one.
    """

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
        name, _, attribute = self._modules[cmd_name].partition(":")
        with _without_collection():
            module = import_module(f"bgpctl.cli.{name}")
        found: click.Command = getattr(module, attribute or cmd_name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, which suggests only commands that are imported already."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = get_close_matches(args[0], self.list_commands(ctx))
            if not near or self.get_command(ctx, args[0]):
                raise
            meant = " or ".join(repr(name) for name in near)
            raise click.UsageError(f"No such command {args[0]!r}. Did you mean {meant}?", ctx) from error


@contextmanager
def _without_collection() -> Iterator[None]:
    """While modules are imported, Python's search for cycles finds none and takes a tenth of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
