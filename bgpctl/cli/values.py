"""
Values of options that click has no type for, as callbacks: times such as 60s, places such as 127.0.0.1:9099, groups.

Refuses to know: which options have them.
"""

from __future__ import annotations

import grp
import re
from typing import Final

import click

_UNITS_S: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|)")
_LAST_PORT: Final = 65535


def duration_s(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    """A time in seconds. Raises BadParameter."""
    if text is None:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no time, such as 60s, 500ms or 2m")
    return float(match[1]) * _UNITS_S[match[2]]


def place(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, int] | None:
    """A host and a port. Raises BadParameter."""
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > _LAST_PORT:
        raise click.BadParameter(f"{text!r} is no HOST:PORT, such as 127.0.0.1:9099")
    return host, int(port)


def group(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    """The number of a group of this host. Raises BadParameter."""
    if text is None:
        return None
    try:
        return grp.getgrnam(text).gr_gid
    except KeyError:
        raise click.BadParameter(f"this host has no group {text!r}") from None
