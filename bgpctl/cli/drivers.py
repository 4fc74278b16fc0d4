"""
Options for who does an encapsulation, one for each that leaves a choice.

Refuses to know: which encapsulations there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from bgpctl.kernel.encapsulations import with_drivers
from bgpctl.kernel.protocol import AUTO, Implementation

F = TypeVar("F", bound=Callable[..., Any])

_SELECTED: Final = "bgpctl.drivers"


def drivers_option(command: F) -> F:
    """`--NAME-driver`, AUTO if it is not given."""
    for item in with_drivers():
        kind = click.Choice(item.drivers)
        command = _option(item, kind, default=AUTO, show_default=True, help=item.drivers_help)(command)
    return command


def other_drivers_option(command: F) -> F:
    """`--NAME-driver` for a driver that the agent does not have now."""
    for item in with_drivers():
        kind = click.Choice([driver for driver in item.drivers if driver != AUTO])
        text = "With -f: as if the agent were started with this driver."
        command = _option(item, kind, help=text)(command)
    return command


def _option(item: Implementation, kind: click.Choice[str], **how: Any) -> Callable[[F], F]:
    name = item.encapsulation.name

    def keep(context: click.Context, _option: click.Parameter, driver: str | None) -> None:
        selected_in(context)[name] = driver

    return click.option(f"--{name}-driver", type=kind, callback=keep, expose_value=False, **how)


def selected_in(context: click.Context) -> dict[str, str | None]:
    """The drivers given, by the name of the encapsulation."""
    found: dict[str, str | None] = context.meta.setdefault(_SELECTED, {})
    return found


def selected() -> Mapping[str, str]:
    """The drivers that the present command was given."""
    return {name: driver for name, driver in selected_in(click.get_current_context()).items() if driver}
