"""
YAML text → located trees.

Refuses to know: what the documents mean.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any, Final, NamedTuple, Protocol

import yaml
from yaml.constructor import SafeConstructor
from yaml.events import CollectionEndEvent, CollectionStartEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import Reader

from bgpctl.core.cluster.problems import Place, Problem
from bgpctl.core.intent.tree import Mapping, Scalar, Sequence, Tree, is_nothing, shown

_MAX_VALUES: Final = 500_000
"""Aliases count as often as they are used; a document beyond this is a bomb, or a mistake."""
_MAX_DEPTH: Final = 64
_TAG: Final = "tag:yaml.org,2002:"
_MERGE: Final = f"{_TAG}merge"
_COLLECTIONS: Final = frozenset({f"{_TAG}map", f"{_TAG}seq"})
_DECIMAL: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")

_SEPARATOR: Final = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
"""Ends a document wherever it stands, also in the middle of a text (YAML 1.1, section 4.5: c-forbidden)."""
_INSEPARABLE: Final = re.compile(r"^(?:%|\.\.\.)|\r(?!\n)|[\x85\u2028\u2029\ufeff]", re.MULTILINE)
"""Directives, ends without beginnings, and line breaks that Python's pattern does not take for one."""

# libyaml is some ten times faster; PyYAML built without it has the slow twin only.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Mark(Protocol):
    """The common part of PyYAML's two parsers; counted from 0."""

    line: int
    column: int


class BadYaml(Exception):
    """The text is no YAML that we read."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class Inseparable(Exception):
    """Pieces of a document are no mappings of one key each."""


class Piece(NamedTuple):
    """
    A part of a file with whole documents. Whatever it says stands in it alone: an alias reaches no other document.

    Attributes:
        line: where it begins, counted from 0.
    """

    file: str
    line: int
    text: str


def documents(text: str, file: str) -> tuple[Tree, ...]:
    """
    All documents of one file, at least one that says something.

    A key that is given twice is kept in the tree, for its reader to report.

    Raises:
        BadYaml: with the place of the first thing that cannot be read.
    """
    _refuse_characters(text, file)
    found = trees(Piece(file, 0, text))
    if all(map(is_nothing, found)):
        raise says_nothing(file)
    return found


def says_nothing(file: str) -> BadYaml:
    """An editor or a full disk can leave an empty file; that must not be read as a cluster without nodes."""
    return BadYaml(Problem(Place(file, 1, 1), "", "the file says nothing", "empty"))


def pieces(text: str, file: str) -> tuple[Piece, ...]:
    """
    The file in pieces, one for each document; a single one where that cannot be told from the beginnings of lines.

    Raises:
        BadYaml: with the place of the first character that YAML does not allow.
    """
    _refuse_characters(text, file)
    starts = [0] if _INSEPARABLE.search(text) else [0, *(match.start() for match in _SEPARATOR.finditer(text))]
    found, line = [], 0
    for start, end in pairwise([*starts, len(text)]):
        part = text[start:end]
        if part:
            found.append(Piece(file, line, part))
        line += part.count("\n")
    return tuple(found)


def trees(piece: Piece) -> tuple[Tree, ...]:
    """
    The documents of a piece.

    Raises:
        BadYaml: with the place of the first thing that cannot be read.
    """
    try:
        _refuse_depth(piece)
        nodes = yaml.compose_all(piece.text, Loader=_LOADER)
        converter = _Converter(piece)
        return tuple(converter.convert(node).tree for node in nodes)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if mark:
            # libyaml has a limit of its own since PyYAML 6.0.4, which its look-ahead meets before we see any event.
            with suppress(yaml.MarkedYAMLError):
                _refuse_depth(piece._replace(text=_before(piece.text, mark)))
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise _bad(piece, mark, f"not YAML: {said}") from error


def trees_of_each(run: list[Piece]) -> tuple[list[Tree], ...]:
    """
    The documents of each of several pieces that follow each other, read in one go: the parser's start costs as much as
    a small document. Documents that say nothing may be counted to another piece.

    Raises:
        BadYaml: with the place of the first thing that cannot be read.
    """
    lines = [piece.line for piece in run]
    found: tuple[list[Tree], ...] = tuple([] for _ in run)
    for tree in trees(Piece(run[0].file, run[0].line, "".join(piece.text for piece in run))):
        found[bisect_right(lines, tree.place.line - 1) - 1].append(tree)
    return found


def entries_of_each(run: list[Piece]) -> Iterator[Mapping]:
    """
    The mapping of one key in each of several pieces, which are read in one go where they follow each other.

    Raises:
        BadYaml: with the place of the first thing that cannot be read.
        Inseparable: a piece has another number of keys, or is no mapping.
    """
    joined: list[list[Piece]] = []
    for piece in run:
        last = joined[-1][-1] if joined else None
        if last and last.line + last.text.count("\n") == piece.line:
            joined[-1].append(piece)
        else:
            joined.append([piece])
    for pieces_ in joined:
        yield from _entries(pieces_)


def _entries(run: list[Piece]) -> Iterator[Mapping]:
    found = trees(Piece(run[0].file, run[0].line, "".join(piece.text for piece in run)))
    match found:
        case (Mapping(items=items, keys=keys, repeated=()),) if len(items) == len(run):
            for piece, (name, value) in zip(run, items.items(), strict=True):
                if keys[name].line != piece.line + 1:
                    raise Inseparable
                yield Mapping(keys[name], {name: value}, {name: keys[name]})
        case _:
            raise Inseparable


def _bad(piece: Piece, mark: _Mark | None, message: str) -> BadYaml:
    place = _place(piece, mark) if mark else Place(piece.file, piece.line + 1, 1)
    return BadYaml(Problem(place, "", message, "yaml"))


def _place(piece: Piece, mark: _Mark) -> Place:
    return Place(piece.file, piece.line + mark.line + 1, mark.column + 1)


def _refuse_characters(text: str, file: str) -> None:
    """Found before libyaml reads, which would report the position in bytes of an encoding of its own."""
    match = Reader.NON_PRINTABLE.search(text)
    if match:
        line, column = text.count("\n", 0, match.start()) + 1, match.start() - text.rfind("\n", 0, match.start())
        message = f"not YAML: character {match[0]!r} is not allowed"
        raise BadYaml(Problem(Place(file, line, column), "", message, "yaml"))


def _refuse_depth(piece: Piece) -> None:
    """Composing recurses, in C, where older versions have no limit; the parser below it does not."""
    depth = 0
    for event in yaml.parse(piece.text, Loader=_LOADER):
        if isinstance(event, CollectionStartEvent):
            depth += 1
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            raise _bad(piece, event.start_mark, f"nested more than {_MAX_DEPTH} deep")


def _before(text: str, mark: _Mark) -> str:
    lines = text.splitlines(keepends=True)  # all that ends a line here does in YAML 1.1; the rest was refused
    return "".join((*lines[: mark.line], *(line[: mark.column] for line in lines[mark.line : mark.line + 1])))


class _Grown(NamedTuple):
    """A tree, with its number of values and its depth when every alias is expanded."""

    tree: Tree
    size: int
    depth: int


class _Converter:
    """
    The documents of a piece. A node that is used often through aliases is converted once, and counted often. Aliases
    and merges of all documents together have a limit too, which is met while they are expanded and not thereafter: what
    a merge copies is memory at once.
    """

    def __init__(self, piece: Piece) -> None:
        self._piece = piece
        self._repeated = 0
        self._done: dict[Node, _Grown] = {}
        self._open: set[Node] = set()

    def convert(self, node: Node) -> _Grown:
        """Raises BadYaml if it grows too large."""
        if node not in self._done:
            if node in self._open:
                raise _bad(self._piece, node.start_mark, "an alias inside its own anchor")
            self._open.add(node)
            self._done[node] = self._convert(node)
            self._open.remove(node)
        else:
            self._count(self._done[node].size, node)
        return self._done[node]

    def _count(self, values: int, node: Node) -> None:
        """Values that an alias or a merge repeats."""
        self._repeated += values
        if self._repeated > _MAX_VALUES:
            raise self._too_large(node)

    def _too_large(self, node: Node) -> BadYaml:
        limits = f"{_MAX_VALUES} values or {_MAX_DEPTH} levels"
        return _bad(self._piece, node.start_mark, f"larger than {limits} with its aliases expanded")

    def _convert(self, node: Node) -> _Grown:
        match node:
            case ScalarNode():
                return _Grown(self._scalar(node), 1, 1)
            case SequenceNode():
                items = [self.convert(item) for item in node.value]
                tree: Tree = Sequence(self._place(node), tuple(item.tree for item in items))
            case MappingNode():
                tree, items = self._mapping(node)
            case _:
                raise _bad(self._piece, node.start_mark, "neither a value, a list nor a mapping")
        if node.tag not in _COLLECTIONS:
            raise _bad(self._piece, node.start_mark, f"the tag {shown(node.tag)} has no meaning here")
        size, depth = 1 + sum(item.size for item in items), 1 + max((item.depth for item in items), default=0)
        if size > _MAX_VALUES or depth > _MAX_DEPTH:
            raise self._too_large(node)
        return _Grown(tree, size, depth)

    def _mapping(self, node: MappingNode) -> tuple[Mapping, list[_Grown]]:
        """The mapping, and what it grew from. Its own keys come before those of the mappings merged into it."""
        items: dict[str, Tree] = {}
        keys: dict[str, Place] = {}
        repeated: list[tuple[str, Place]] = []
        parts: list[_Grown] = []
        for key, value in node.value:
            if key.tag == _MERGE:
                continue
            name, place = self._name(key), self._place(key)
            parts.append(self.convert(value))
            if name in items:
                repeated.append((name, place))
            else:
                items[name], keys[name] = parts[-1].tree, place
        for source, grown in self._merged(node):
            parts.append(grown)
            self._count(len(items), node)  # those that are copied to be merged with
            items = {**source.items, **items}
            keys = {**source.keys, **keys}
        return Mapping(self._place(node), items, keys, tuple(repeated)), parts

    def _merged(self, node: MappingNode) -> Iterator[tuple[Mapping, _Grown]]:
        """The mappings that `<<` names; of two, the first one wins."""
        for key, value in node.value:
            for source in _sources(value) if key.tag == _MERGE else ():
                grown = self.convert(source)
                if not isinstance(grown.tree, Mapping):
                    raise _bad(self._piece, source.start_mark, "only mappings can be merged with <<")
                yield grown.tree, grown

    def _name(self, key: Node) -> str:
        if not isinstance(key, ScalarNode):
            raise _bad(self._piece, key.start_mark, "a key is a single value (text with braces needs quotes)")
        return str(key.value)

    def _scalar(self, node: ScalarNode) -> Scalar:
        text = str(node.value)
        kind = node.tag.removeprefix(_TAG)
        match kind:
            case "null":
                value: str | int | bool | None = None
            case "bool":
                value = SafeConstructor.bool_values.get(text.lower(), text)
            case "int":
                # Only plain decimals: YAML 1.1 would read 026 as 22 and 10:30 as 630.
                value = int(text) if _DECIMAL.fullmatch(text) else text
            case "float" | "str" | "timestamp" | "value" | "merge":
                value = text
            case _:
                raise _bad(self._piece, node.start_mark, f"the tag {shown(node.tag)} has no meaning here")
        return Scalar(self._place(node), value, text)

    def _place(self, node: Node) -> Place:
        return _place(self._piece, node.start_mark)


def _sources(value: Node) -> Iterable[Node]:
    return value.value if isinstance(value, SequenceNode) else [value]
