"""
Kinds of fields: how a value is read out of a document, how it is written into one, and its JSON Schema.

The three stand together in one value, so that a row of a table (tables.py) is complete with the name of its kind. The
regular kinds are here; an irregular field has a kind of its own, in the file of the nouns that it is about.

Refuses to know: which key a value stands under, and which noun it becomes part of.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

from bgpctl.core.cluster.configuration import Backend, Community
from bgpctl.core.intent.draft import Located, beside, read_labels, read_selector
from bgpctl.core.intent.fields import Fields, scalar
from bgpctl.core.intent.shapes import Shape, many, numbers, one_among, ref
from bgpctl.core.intent.tree import Scalar
from bgpctl.core.intent.values import community, interface_of_version, milliseconds, of_version, seconds
from bgpctl.core.net.addresses import Address, InterfaceAddress

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)
MAX_MTU_BYTES: Final = 65535
MAX_PORT: Final = 65535


def same(value: object) -> object:
    """Numbers, booleans and texts are written as they are."""
    return value


@dataclass(frozen=True, slots=True)
class FieldKind(Generic[T]):
    """
    One kind of field.

    Attributes:
        read: the value under a key; None if it is absent, or wrong, which is a problem then.
        shape: the JSON Schema for editors. It accepts all that `read` does.
        write: the reverse of `read`; None where the field is read and never written.
        about: the description of a field of this kind, where its row has none.
    """

    read: Callable[[Fields, str], T | None]
    shape: Shape
    write: Callable[[Any], object] | None = same
    about: str = ""


# Single values -------------------------------------------------------------------------------------------------

ANYTHING: Final[FieldKind[Any]] = FieldKind(lambda _fields, _key: None, {}, None)
"""A field that its table leaves to another reader."""
UNREAD: Final[FieldKind[Any]] = FieldKind(lambda fields, key: fields.ignore(key), {}, None)
"""A field of which any value is right, and none has a meaning here."""
BOOLEAN: Final = FieldKind(Fields.boolean, {"type": ["boolean", "null"]})
TEXT: Final = FieldKind(Fields.text, ref("text"))
NAME: Final = FieldKind(Fields.name, ref("name"))
ASN: Final = FieldKind(Fields.asn, ref("asn"))
PREFIX: Final = FieldKind(Fields.prefix, ref("prefix"), str)
ADDRESS: Final = FieldKind(Fields.address, ref("address"), str)
INTERFACE: Final = FieldKind(Fields.interface, ref("interface"), str)
MAC: Final = FieldKind(Fields.mac, ref("mac"))
LABELS: Final = FieldKind(lambda fields, key: read_labels(fields.fields(key)), ref("labels"), dict)


def address_of(version: int) -> FieldKind[Address]:
    """Addresses of one IP version."""
    return FieldKind(lambda fields, key: fields.value(key, of_version(version), "address"), ref("address"), str)


def interface_of(version: int) -> FieldKind[InterfaceAddress]:
    """Addresses of one IP version, with or without a mask."""
    read = interface_of_version(version)
    return FieldKind(lambda fields, key: fields.value(key, read, "address"), ref("interface"), str)


def integer(low: int, high: int) -> FieldKind[int]:
    """Whole numbers from `low` to `high`."""
    return FieldKind(lambda fields, key: fields.integer(key, low, high), numbers(low, high))


PORT: Final = integer(1, MAX_PORT)
MTU: Final = FieldKind(lambda fields, key: fields.integer(key, 0, MAX_MTU_BYTES), ref("mtu"))


def _write_enum(member: enum.Enum) -> object:
    return member.value


def enumeration(kind: type[E]) -> FieldKind[E]:
    """The members of an enum, by their values."""
    shape = one_among(str(member.value) for member in kind)
    return FieldKind(lambda fields, key: fields.choice(key, kind), shape, _write_enum)


def coded(meanings: Mapping[str, T]) -> FieldKind[T]:
    """Words, each with a meaning of its own."""
    words = {meaning: word for word, meaning in meanings.items()}

    def read(fields: Fields, key: str) -> T | None:
        word = fields.one_of(key, meanings)
        return None if word is None else meanings[word]

    return FieldKind(read, one_among(meanings), words.get)


def word(*words: str) -> FieldKind[str]:
    """One of some words, for its own sake."""
    return FieldKind(lambda fields, key: fields.one_of(key, words), one_among(words))


BACKEND: Final = replace(
    enumeration(Backend), about="bird: BGP, spoken by ExaBGP. vxlan: no BGP at all. none: neither."
)


def duration(low_s: int, high_s: int) -> FieldKind[int]:
    """Durations such as `2m30s`, in seconds."""
    read = seconds(low_s, high_s)
    return FieldKind(
        lambda fields, key: fields.value(key, read, "duration"), ref("duration"), lambda value: f"{value}s"
    )


def short_duration(low_ms: int, high_ms: int) -> FieldKind[int]:
    """Durations such as `300ms` or `1s`, in milliseconds."""
    read = milliseconds(low_ms, high_ms)
    return FieldKind(
        lambda fields, key: fields.value(key, read, "duration"), ref("shortDuration"), lambda value: f"{value}ms"
    )


def _read_selector(fields: Fields, key: str) -> str | None:
    """The text of a selector; None also for an empty one, which selects as an absent one does."""
    return (fields.text(key) or None) if read_selector(fields, key) else None


SELECTOR: Final = FieldKind(_read_selector, ref("selector"))
FILE: Final = FieldKind(lambda fields, key: beside(fields.place, fields.file_name(key)), ref("text"))
"""A path beside the file that names it."""


def written_community(value: Community) -> str:
    """`65000:1` or `65000:1:2`."""
    return ":".join(map(str, value))


COMMUNITY: Final = FieldKind(
    lambda fields, key: fields.value(key, lambda leaf: community(leaf.text), "community"),
    ref("community"),
    written_community,
)


# Lists ---------------------------------------------------------------------------------------------------------


def several(
    read: Callable[[Scalar], T], rule: str, item: Shape, write: Callable[[Any], object] = same
) -> FieldKind[tuple[T, ...]]:
    """A list of single values; an empty one is not an absent one."""

    def read_all(fields: Fields, key: str) -> tuple[T, ...] | None:
        found = fields.values(key, read, rule)
        return found if fields.has(key) else None

    return FieldKind(read_all, many(item), lambda values: [write(value) for value in values])


def placed(read: Callable[[Scalar], T], rule: str, item: Shape) -> FieldKind[tuple[tuple[T, Located], ...]]:
    """A list of single values, each with where it stands. Written as texts."""

    def read_all(fields: Fields, key: str) -> tuple[tuple[T, Located], ...]:
        found = (
            (scalar(leaf, path, fields.problems, read, rule), Located(leaf.place, path))
            for path, leaf in fields.items(key)
        )
        return tuple((value, at) for value, at in found if value is not None)

    return FieldKind(read_all, many(item), lambda values: [str(value) for value in values])


def records(read: Callable[[Fields], T], item: Shape, write: Callable[[T], object]) -> FieldKind[tuple[T, ...]]:
    """A list of mappings, of each of which `read` makes a value."""
    return FieldKind(
        lambda fields, key: tuple(map(read, fields.each(key))),
        many(item),
        lambda values: [write(value) for value in values],
    )


# What is right in Calico and not, or not wholly, done here -------------------------------------------------------


def no_effect(because: str, kind: FieldKind[T] = ANYTHING) -> FieldKind[T]:
    """A field that changes nothing here."""
    return risky(because, kind, when=lambda _: False)


def risky(
    because: str, kind: FieldKind[T] = ANYTHING, when: Callable[[T | None], bool] = lambda _: True
) -> FieldKind[T]:
    """A field without effect here, and a warning where `when` is true for its value: the effect may be counted on."""

    def read(fields: Fields, key: str) -> T | None:
        value = kind.read(fields, key)
        (fields.risky if when(value) else fields.no_effect)(because, key)
        return value

    return FieldKind(read, kind.shape, None, f"No effect here: {because}.")


def unsupported(instead: str, kind: FieldKind[T] = ANYTHING) -> FieldKind[T]:
    """A field whose loss would change the behaviour here."""

    def read(fields: Fields, key: str) -> T | None:
        kind.read(fields, key)
        fields.unsupported(instead, key)
        return None

    return FieldKind(read, ref("empty"), None, f"Not supported here; {instead}.")


def bookkeeping(*keys: str) -> FieldKind[object]:
    """One of the fields that a datastore writes for itself; the first of `keys` reports them all."""

    def read(fields: Fields, key: str) -> None:
        if key == keys[0]:
            fields.bookkeeping(*keys)

    return FieldKind(read, {}, None)
