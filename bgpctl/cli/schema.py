"""
`bgpctl schema cluster|lab`: the JSON Schemas that ship with the package, for editors.

Refuses to know: what the keys mean.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final

import click

NAMES: Final = ("cluster", "lab")
_SHARED: Final = "cluster"
"""The schema whose definitions the others refer to."""


@click.command()
@click.argument("name", type=click.Choice(NAMES))
def schema(name: str) -> None:
    """The JSON Schema of a cluster file or of a lab file, complete in itself."""
    click.echo(json.dumps(bundled(name), indent=2))


def bundled(name: str) -> dict[str, Any]:
    """The schema with the definitions that it refers to in another file: a copy works wherever it lies."""
    found: dict[str, Any] = json.loads(_text(name).replace(f'"{_SHARED}.json#/', '"#/'))
    shared: dict[str, Any] = json.loads(_text(_SHARED))
    return {**found, "$defs": {**shared["$defs"], **found["$defs"]}}


def _text(name: str) -> str:
    return (files("bgpctl") / "schema" / f"{name}.json").read_text(encoding="utf-8")
