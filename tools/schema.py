"""Writes bgpctl/schema from the tables of fields. `make schema` runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bgpctl.core.intent.schema import cluster_schema
from bgpctl.lab.schema import lab_schema
from bgpctl.store.etcd.records import shape

_WIDTH: Final = 118


def schemas() -> dict[str, str]:
    """The text of each schema, by the name of its file."""
    return {"cluster.json": _text(cluster_schema()), "lab.json": _text(lab_schema()), "store.json": _text(shape())}


def _text(schema: Mapping[str, object]) -> str:
    return _laid_out(schema, "", 0) + "\n"


def _laid_out(value: object, indent: str, taken: int) -> str:
    """JSON with everything on one line that fits into one; `taken` characters stand on the line already."""
    line = json.dumps(value, ensure_ascii=False)
    if len(indent) + taken + len(line) < _WIDTH or not isinstance(value, Mapping | list | tuple) or not value:
        return line
    below = f"{indent}  "
    if isinstance(value, Mapping):
        items = [f"{json.dumps(key)}: {_laid_out(item, below, len(key) + 4)}" for key, item in value.items()]
        return "{\n" + ",\n".join(f"{below}{item}" for item in items) + f"\n{indent}}}"
    return "[\n" + ",\n".join(f"{below}{_laid_out(item, below, 0)}" for item in value) + f"\n{indent}]"


if __name__ == "__main__":
    for name, text in schemas().items():
        Path(sys.argv[1], name).write_text(text, encoding="utf-8")
