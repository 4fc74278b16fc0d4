"""
Tables of fields: one row per key of a document, for reading, for writing and for the JSON Schema.

A row has the key of a value in a document, its kind (field_kinds.py), the attribute of the noun that it becomes, and
its description for editors. From a table come the reader, the renderer and the schema of one mapping, so
that a new key is one row more and one attribute more. What depends on several keys together stands beside the
table, in the function that makes the noun.

Refuses to know: which kinds of documents there are (short.py, calico.py), and the rules (check.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeAlias

from bgpctl.core.intent.draft import Draft, Located, located
from bgpctl.core.intent.field_kinds import FieldKind
from bgpctl.core.intent.fields import Fields
from bgpctl.core.intent.shapes import Shape

Values: TypeAlias = dict[str, Any]
"""Values by attribute: those that are given."""
Written: TypeAlias = dict[str, object]
"""A document or a part of one, of texts, numbers, booleans, lists and dicts."""


@dataclass(frozen=True, slots=True)
class Row:
    """
    One key of a document.

    Attributes:
        attribute: of the noun; the first of several rows with the same one counts. "" if it is only checked.
        about: the description for editors.
        needed: a document without it is wrong.
        always: also written where it equals the meaning of an absent key.
        implied: the meaning of an absent key, where that depends on the noun; else it is the default of the attribute.
    """

    key: str
    kind: FieldKind[Any]
    attribute: str = ""
    about: str = ""
    needed: bool = False
    always: bool = False
    implied: Callable[[Any], object] | None = None

    def shape(self, default: object) -> Shape:
        """Its JSON Schema."""
        about = self.about or self.kind.about
        given = self.kind.write(default) if self.kind.write and default is not None and not self.implied else None
        return {
            **({"description": about} if about else {}),
            **_without_null(self.kind.shape, needed=self.needed),
            **({"default": given} if isinstance(given, bool | int | str) else {}),
        }


def _without_null(shape: Shape, *, needed: bool) -> Shape:
    words = shape.get("enum")
    return (
        {**shape, "enum": [word for word in words if word is not None]} if needed and isinstance(words, list) else shape
    )


@dataclass(frozen=True, slots=True)
class Table:
    """
    The rows of one mapping.

    Attributes:
        noun: has the attributes' defaults.
        what: the mapping in a sentence, such as "a pool".
        about: the description for editors.
        also: further keywords of the mapping's schema.
    """

    rows: tuple[Row, ...]
    noun: type[Any] | None = None
    what: str = ""
    about: str = ""
    also: Mapping[str, object] = dataclasses.field(default_factory=dict)
    _defaults: Mapping[str, object] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        """The defaults are computed once: tables are written for every object of a cluster."""
        object.__setattr__(self, "_defaults", _defaults(self.noun))

    def read(self, fields: Fields) -> Values:
        """The values of the mapping, by attribute."""
        fields.need(self.what, *(row.key for row in self.rows if row.needed))
        found: Values = {}
        for row in self.rows:
            value = row.kind.read(fields, row.key)
            if row.attribute and value is not None:
                found.setdefault(row.attribute, value)
        return found

    def write(self, noun: object, **instead: object) -> Written:
        """The mapping that reads as `noun`; `instead` has values by attribute that are not the noun's own."""
        return dict(self._written(noun, instead))

    def _written(self, noun: object, instead: Mapping[str, object]) -> Iterator[tuple[str, object]]:
        for row in self.rows:
            if row.kind.write is None or not row.attribute:
                continue
            value = instead[row.attribute] if row.attribute in instead else getattr(noun, row.attribute)
            default = row.implied(noun) if row.implied else self._defaults.get(row.attribute)
            if value is not None and (row.always or value != default):
                yield row.key, row.kind.write(value)

    def keys(self) -> tuple[str, ...]:
        """The keys of all rows."""
        return tuple(row.key for row in self.rows)

    def parts(self, fields: Fields, attributes: Container[str]) -> Mapping[str, Located]:
        """Where each of some attributes stands; the whole mapping, where it is not given."""
        return {row.attribute: located(fields, row.key) for row in self.rows if row.attribute in attributes}

    def shape(self, *, nullable: bool = False, more: Iterable[tuple[str, object]] = ()) -> Shape:
        """The JSON Schema of the mapping, with `more` properties than those of the rows."""
        needed = [row.key for row in self.rows if row.needed]
        return {
            **({"description": self.about} if self.about else {}),
            "type": ["object", "null"] if nullable else "object",
            **({"required": needed} if needed else {}),
            "properties": dict(
                chain(((row.key, row.shape(self._defaults.get(row.attribute))) for row in self.rows), more)
            ),
            "additionalProperties": False,
            **self.also,
        }


def _defaults(noun: type[Any] | None) -> Mapping[str, object]:
    """The values of absent attributes of a dataclass."""
    found = dataclasses.fields(noun) if noun else ()
    return {item.name: item.default for item in found if item.default is not dataclasses.MISSING}


def read_only(row: Row) -> Row:
    """The row of a form for the same value under another key."""
    return replace(row, kind=replace(row.kind, write=None))


def always(rows: Iterable[Row], *keys: str) -> tuple[Row, ...]:
    """The rows, of which some are written also where an absent key would mean the same."""
    return tuple(replace(row, always=True) if row.key in keys else row for row in rows)


def rows_for(kinds: Mapping[str, FieldKind[Any]]) -> tuple[Row, ...]:
    """Rows of fields that become nothing: they are checked or mentioned."""
    return tuple(Row(key, kind) for key, kind in kinds.items())


def set_all(draft: Draft, table: Table, fields: Fields) -> Values:
    """Take in the values of a table whose attributes are settings of the whole cluster."""
    found = table.read(fields)
    for row in table.rows:
        if row.attribute and row.attribute in found:
            draft.set(row.attribute, found[row.attribute], located(fields, row.key))  # type: ignore[arg-type]
    return found
