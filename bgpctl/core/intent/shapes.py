"""
JSON Schemas of single values: the checks of an editor that does not know the rest of a document.

They accept whatever the loader accepts, also the notations of YAML (a text may be written as a number), and null where
a key may be left out.

Refuses to know: keys, and rules that need more than one value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

Shape: TypeAlias = Mapping[str, object]
"""A JSON Schema (draft 2020-12), or a part of one."""


def ref(name: str) -> Shape:
    """The definition of that name in the schema of cluster files."""
    return {"$ref": f"#/$defs/{name}"}


def one_among(words: Iterable[str]) -> Shape:
    """One of some words."""
    return {"enum": [*words, None]}


def numbers(low: int, high: int) -> Shape:
    """Whole numbers between two, both included."""
    return {"type": ["integer", "null"], "minimum": low, "maximum": high}


def many(items: Shape, **limits: int) -> Shape:
    """A list; `limits` are those of JSON Schema."""
    return {"type": ["array", "null"], "items": items, **limits}


def by_name(items: Shape) -> Shape:
    """A mapping from names."""
    return {"type": ["object", "null"], "propertyNames": ref("name"), "additionalProperties": items}


_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"

DEFINITIONS: Final[Mapping[str, Shape]] = {
    "text": {"type": ["string", "number", "boolean", "null"]},
    "name": {
        "description": "A DNS name (RFC 1123).",
        "type": ["string", "number", "boolean", "null"],
        "pattern": rf"^{_LABEL}(\.{_LABEL})*$",
        "maxLength": 253,
    },
    "prefix": {
        "description": "A network without host bits, such as 10.244.0.0/16 or fd00:244::/48.",
        "type": ["string", "null"],
        "pattern": "^[0-9a-fA-F.:]+/[0-9]{1,3}$",
    },
    "address": {
        "description": "An IPv4 or IPv6 address.",
        "type": ["string", "null"],
        "pattern": "^[0-9a-fA-F.:]+$",
    },
    "interface": {
        "description": "An address with the length of its network, such as 10.0.0.1/24.",
        "type": ["string", "null"],
        "pattern": "^[0-9a-fA-F.:]+(/[0-9]{1,3})?$",
    },
    "mac": {
        "description": "A unicast MAC address, in any notation.",
        "type": ["string", "integer", "null"],
        "pattern": "^[0-9A-Fa-f.:-]+$",
    },
    "asn": {
        "description": "An AS number: 64512, or 1.10 as two halves.",
        "type": ["integer", "number", "string", "null"],
        "minimum": 0,
        "maximum": 4294967295,
        "pattern": r"^([0-9]{1,10}|[0-9]{1,5}\.[0-9]{1,5})$",
    },
    "duration": {
        "description": "Such as 90s or 2m.",
        "type": ["string", "null"],
        "pattern": "^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$",
    },
    "shortDuration": {
        "description": "Such as 300ms or 1s.",
        "type": ["string", "null"],
        "pattern": "^[0-9]{1,6}(ms|s)$",
    },
    "community": {
        "description": "65000:1 (RFC 1997) or 65000:1:2 (RFC 8092).",
        "type": ["string", "null"],
        "pattern": "^[0-9]{1,10}(:[0-9]{1,10}){1,2}$",
    },
    "selector": {
        "description": (
            "Calico's selector on labels: all(), has(rack), rack == 'a', zone in {'x', 'y'}, with &&, || and !."
        ),
        "type": ["string", "null"],
    },
    "labels": {
        "description": "Labels, for selectors.",
        "type": ["object", "null"],
        "additionalProperties": ref("text"),
    },
    "mtu": {"description": "Bytes; 0 derives it from the underlay.", **numbers(0, 65535)},
    "empty": {
        "description": "Not supported here.",
        "type": ["object", "array", "null"],
        "maxProperties": 0,
        "maxItems": 0,
    },
}
"""Of the kinds of values that stand under many keys."""
