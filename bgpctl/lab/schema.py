"""
The JSON Schema of lab files, for editors; it refers to that of cluster files beside it.

Refuses to know: keys, which stand in tables.py; files.
"""

from __future__ import annotations

from collections.abc import Mapping

from bgpctl.core.intent.schema import DRAFT
from bgpctl.core.intent.shapes import Shape, ref
from bgpctl.lab.tables import lab_table


def lab_schema() -> Shape:
    """The schema of one document of a lab file."""
    return {
        "$schema": DRAFT,
        "title": "bgpctl lab file",
        "description": "A cluster file with the network around it.",
        "allOf": [
            _in_cluster_file(ref("document")),
            {"properties": _in_cluster_file(lab_table().shape()["properties"])},
        ],
        "$defs": {},
    }


def _in_cluster_file(shape: object) -> object:
    """The shape with its definitions where they are, in the other file."""
    if isinstance(shape, Mapping):
        return {key: f"cluster.json{part}" if key == "$ref" else _in_cluster_file(part) for key, part in shape.items()}
    return [_in_cluster_file(part) for part in shape] if isinstance(shape, list) else shape
