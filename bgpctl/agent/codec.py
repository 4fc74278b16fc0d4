"""
Values as JSON trees and back, driven by type annotations.

A dataclass is an object by field name, without the fields that have a simple default; a NamedTuple is an array; a class
that parses its own text, such as a prefix, is that text; a mapping is an array of pairs. Where an annotation allows
several classes, or one that others derive from, the value is an object with one key, the name of its class. A tree can
become only what the annotations lead to, so a tree from anywhere is harmless.

Refuses to know: what the values mean, and where the trees are kept.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, Generic, NamedTuple, NewType, TypeAlias, TypeVar

from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.objects import Route
from bgpctl.core.net.table import Table

T = TypeVar("T")

Tree: TypeAlias = Any
"""A JSON value: objects, arrays, text, numbers, true, false and null."""


class Undecodable(ValueError):
    """A tree that the annotation does not allow. `place` leads to the part that is wrong: `Update.announced[0]`."""

    def __init__(self, rule: str, place: str = "") -> None:
        super().__init__(f"{place.lstrip('.')}: {rule}" if place else rule)
        self.rule = rule
        self.place = place

    def inside(self, place: str) -> Undecodable:
        """The same, seen from one level further out."""
        return Undecodable(self.rule, f"{place}{self.place}")


class _Form(NamedTuple):
    """How the values of one annotation are written and read."""

    encode: Callable[[Any], Tree]
    decode: Callable[[Tree], Any]


class _Field(NamedTuple):
    name: str
    form: _Form
    default: object
    """Left out of the tree where the field has it."""
    is_required: bool


_LATER: Final[Mapping[type, tuple[object, ...]]] = {Route: (0,)}
"""
The defaults of the last fields of NamedTuples that came after the others. Without them a value is written as before, so
agents that do not know them read it, as this one reads theirs.
"""
_ATOMS: Final[Mapping[object, tuple[type, ...]]] = {
    bool: (bool,),
    int: (int,),
    float: (float, int),
    str: (str,),
    types.NoneType: (types.NoneType,),
}
"""The types of a tree that each of these may be; a bool is no int."""
_NEVER: Final = object()
"""Equal to no field's value."""


class Codec(Generic[T]):
    """
    The values of `root`, any annotation; `derived` are classes whose values follow from the rest. Fields for them are
    left out, and have their defaults in a value that was read. It remembers every text that it has seen, so
    that equal ones become one object: make one for each file.

    Raises:
        TypeError: an annotation leads to something that has no form.
    """

    def __init__(self, root: object, derived: Collection[type] = ()) -> None:
        self._derived = frozenset(derived)
        self._forms: dict[object, _Form] = {}
        self._root = self._form(root)

    def encode(self, value: T) -> Tree:
        """The tree of a value."""
        return self._root.encode(value)

    def decode(self, tree: Tree) -> T:
        """The value of a tree. Raises Undecodable."""
        value: T = self._root.decode(tree)
        return value

    def _form(self, annotation: object) -> _Form:
        if annotation not in self._forms:
            self._forms[annotation] = self._new_form(annotation)
        return self._forms[annotation]

    def _new_form(self, annotation: object) -> _Form:
        if isinstance(annotation, NewType):
            return self._form(annotation.__supertype__)
        if annotation in _ATOMS:
            return _atom(annotation)
        arguments = typing.get_args(annotation)
        match typing.get_origin(annotation):
            case typing.Union | types.UnionType:
                return self._union(arguments)
            case origin if origin is tuple and arguments[1:] == (...,):
                return _array(tuple, self._form(arguments[0]))
            case origin if origin is Sequence:
                return _array(tuple, self._form(arguments[0]))
            case origin if origin is tuple:
                return _row("tuple", tuple, [(f"[{index}]", self._form(item)) for index, item in enumerate(arguments)])
            case origin if origin in {frozenset, AbstractSet}:
                return _array(frozenset, self._form(arguments[0]))
            case origin if origin is Mapping:
                return _mapping(dict, self._form(arguments[0]), self._form(arguments[1]))
            case origin if origin is Table:
                return _mapping(Table.of, self._form(Prefix), self._form(arguments[0]))
            case None if isinstance(annotation, type):
                return self._class(annotation)
            case _:
                raise TypeError(f"{annotation} has no form")

    def _class(self, cls: type) -> _Form:
        if issubclass(cls, enum.Enum):
            return _enum(cls)
        if hasattr(cls, "parse"):
            return _text(cls)
        if kinds := _kinds(cls):
            return _one_of({kind: _object(kind, list(self._fields(kind))) for kind in kinds})
        if dataclasses.is_dataclass(cls):
            return _object(cls, list(self._fields(cls)))
        if issubclass(cls, tuple):
            hints = typing.get_type_hints(cls)
            fields = [(f".{name}", self._form(hints[name])) for name in cls._fields]  # type: ignore[attr-defined]
            return _row(cls.__name__, cls._make, fields, _LATER.get(cls, ()))  # type: ignore[attr-defined]
        raise TypeError(f"{cls} has no form")

    def _fields(self, cls: type) -> Iterator[_Field]:
        hints = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            hint = hints[field.name]
            if self._derived.isdisjoint((hint, *typing.get_args(hint))):
                required = field.default is field.default_factory is dataclasses.MISSING
                yield _Field(field.name, self._form(hint), _simple(field.default), required)

    def _union(self, members: tuple[object, ...]) -> _Form:
        known = {_plain(member): self._form(member) for member in members}
        is_optional = known.pop(types.NoneType, None) is not None
        if len(known) == 1:
            (form,) = known.values()
            return _optional(form) if is_optional else form
        form = _one_of(known)
        return _optional(form) if is_optional else form


def _kinds(base: type) -> list[type]:
    """
    The dataclasses that stand for a base class: all that derive from it and, if it is one, the base. Empty for a class
    that nothing derives from. A dataclass with slots is made anew by its decorator, and the first one, without slots,
    may still be among the subclasses.
    """
    subclasses: list[type] = type.__subclasses__(base)
    derived = [cls for cls in subclasses if "__slots__" in vars(cls)]
    return [cls for cls in (base, *derived) if dataclasses.is_dataclass(cls)] if derived else []


def _plain(annotation: object) -> object:
    """The class that a NewType stands for; a class for itself."""
    return annotation.__supertype__ if isinstance(annotation, NewType) else annotation


def _simple(default: object) -> object:
    """The default where it can be compared with a value cheaply and exactly."""
    is_simple = default in ((), frozenset()) or isinstance(default, bool | int | float | str | enum.Enum | None)
    return default if is_simple else _NEVER


# Forms ---------------------------------------------------------------------------------------------------------


def _itself(value: Any) -> Tree:
    return value


def _wanted(name: str, tree: Tree) -> Undecodable:
    shown = str(tree)
    return Undecodable(f"{name} expected, not {shown[:60]}{'…' if len(shown) > 60 else ''}")


def _atom(annotation: Any) -> _Form:
    allowed, name = _ATOMS[annotation], annotation.__name__

    def decode(tree: Tree) -> object:
        if type(tree) not in allowed:
            raise _wanted(name, tree)
        return tree

    return _Form(_itself, decode)


def _enum(cls: type[enum.Enum]) -> _Form:
    def decode(tree: Tree) -> enum.Enum:
        try:
            return cls(tree)
        except ValueError as error:
            raise _wanted(cls.__name__, tree) from error

    return _Form(lambda value: value.value, decode)


def _text(cls: Any) -> _Form:
    """Each text is made and parsed once: a table names a prefix in many places."""
    texts: dict[object, str] = {}
    values: dict[str, object] = {}

    def encode(value: object) -> Tree:
        if value not in texts:
            texts[value] = str(value)
        return texts[value]

    def decode(tree: Tree) -> object:
        if type(tree) is not str:
            raise _wanted(cls.__name__, tree)
        if tree not in values:
            try:
                values[tree] = cls.parse(tree)
            except ValueError as error:
                raise Undecodable(str(error)) from error
        return values[tree]

    return _Form(encode, decode)


def _array(make: Callable[[list[Any]], object], item: _Form) -> _Form:
    encode = item.encode

    def decode(tree: Tree) -> object:
        if type(tree) is not list:
            raise _wanted("array", tree)
        return make(list(_each(item.decode, tree)))

    return _Form(lambda values: [encode(value) for value in values], decode)


def _each(decode: Callable[[Tree], object], trees: list[Tree]) -> Iterator[object]:
    for index, tree in enumerate(trees):
        try:
            yield decode(tree)
        except Undecodable as error:
            raise error.inside(f"[{index}]") from error


def _mapping(make: Callable[[list[Any]], object], key: _Form, value: _Form) -> _Form:
    pairs = _array(make, _row("pair", tuple, [("[key]", key), ("[value]", value)]))
    return _Form(lambda mapping: pairs.encode(mapping.items()), pairs.decode)


def _row(
    name: str, make: Callable[[list[Any]], object], fields: list[tuple[str, _Form]], later: tuple[object, ...] = ()
) -> _Form:
    """An array with a form of its own for each item. The last ones are left out if they are `later`."""
    encoders = [form.encode for _, form in fields]
    least = len(fields) - len(later)

    def encode(values: tuple[object, ...]) -> Tree:
        given = values[:least] if later and values[least:] == later else values
        return [encode_one(value) for encode_one, value in zip(encoders, given, strict=False)]

    def decode(tree: Tree) -> object:
        if type(tree) is not list or len(tree) not in (least, len(fields)):
            raise _wanted(f"{name} of {len(fields)} items", tree)
        if len(tree) < len(fields):
            parts = [_part(place, form, item) for (place, form), item in zip(fields, tree, strict=False)]
            return make([*parts, *later])
        return make([_part(place, form, item) for (place, form), item in zip(fields, tree, strict=True)])

    return _Form(encode, decode)


def _part(place: str, form: _Form, tree: Tree) -> object:
    try:
        return form.decode(tree)
    except Undecodable as error:
        raise error.inside(place) from error


def _object(cls: type, fields: list[_Field]) -> _Form:
    by_name = {field.name: field for field in fields}
    required = {field.name for field in fields if field.is_required}

    def encode(value: object) -> Tree:
        tree = {}
        for name, form, default, _ in fields:
            held = getattr(value, name)
            if type(held) is not type(default) or held != default:
                tree[name] = form.encode(held)
        return tree

    def decode(tree: Tree) -> object:
        if type(tree) is not dict:
            raise _wanted(cls.__name__, tree)
        if unknown := sorted(tree.keys() - by_name.keys()):
            raise Undecodable(f"{cls.__name__} has no field {', '.join(unknown)}")
        if missing := sorted(required - tree.keys()):
            raise Undecodable(f"{cls.__name__} needs {', '.join(missing)}")
        return cls(**{name: _part(f".{name}", by_name[name].form, part) for name, part in tree.items()})

    return _Form(encode, decode)


def _optional(form: _Form) -> _Form:
    return _Form(
        lambda value: None if value is None else form.encode(value),
        lambda tree: None if tree is None else form.decode(tree),
    )


def _one_of(members: Mapping[Any, _Form]) -> _Form:
    """Atoms are written as they are, classes with their names."""
    by_name = {member.__name__: form for member, form in members.items() if member not in _ATOMS}
    if len(by_name) + len(members.keys() & _ATOMS.keys()) < len(members):
        raise TypeError(f"two classes of one name among {members}")
    atoms = {kind: form for atom, form in members.items() if atom in _ATOMS for kind in _ATOMS[atom]}

    def encode(value: Any) -> Tree:
        cls = type(value)
        return value if cls in atoms else {cls.__name__: members[cls].encode(value)}

    def decode(tree: Tree) -> object:
        if type(tree) in atoms:
            return tree
        if type(tree) is not dict or len(tree) != 1:
            raise _wanted("a class", tree)
        ((name, content),) = tree.items()
        if name not in by_name:
            raise Undecodable(f"unknown class {name}")
        return _part(f".{name}", by_name[name], content)

    return _Form(encode, decode)
