"""
Cluster files as texts: read, understood, and sent to an agent as a proposal.

A proposal is the texts themselves and not their names: an agent may read files that the operator may not, and under
systemd it does not see his home.

Refuses to know: the keys of a cluster file (core/intent), how files are changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from bgpctl import filesystem
from bgpctl.core.cluster.count import count
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Place, Problem
from bgpctl.core.intent import fragment
from bgpctl.core.intent.draft import Draft
from bgpctl.core.intent.edit import Basis, edited, may_move
from bgpctl.core.intent.load import node_fragment, whole
from bgpctl.core.intent.tree import is_nothing
from bgpctl.ports import Loaded, NotPossibleNow, Proposal
from bgpctl.store.change import Contents
from bgpctl.store.entries import split
from bgpctl.store.yaml import (
    BadYaml,
    Inseparable,
    Piece,
    documents,
    entries_of_each,
    pieces,
    says_nothing,
    trees,
    trees_of_each,
)

Texts: TypeAlias = tuple[str | Problem, ...]
"""Of each file; a problem where it cannot be read."""


def load(paths: Sequence[Path]) -> Loaded:
    """The intent of some files together, or all their problems."""
    return understand(paths, read_texts(paths))


def read_texts(paths: Sequence[Path]) -> Texts:
    """The texts of some files."""
    return tuple(map(_text, paths))


def understand(paths: Sequence[Path], texts: Sequence[str | Problem]) -> Loaded:
    """The intent that files with these texts make; paths of other files in them are as seen from the file."""
    return Reader().understand(paths, texts)


class _Unit(NamedTuple):
    """A piece that is read by itself: documents, or a node of a document (entries.py), or its rest."""

    piece: Piece
    of: Literal["documents", "node", "rest"] = "documents"


class _Read(NamedTuple):
    """The meaning of a unit, and the line in which it stood when it was read: places count from there."""

    fragments: tuple[Draft, ...]
    line: int


_Known: TypeAlias = Mapping[_Unit, _Read]


class Reader:
    """
    Understands texts again and again, and reads only the documents, and the nodes of the short form, that differ from
    the last ones. If they are about nodes alone, only these are checked again (core/intent/edit.py). Any thread may
    call. The objects of an intent are those of the last one wherever both are equal.
    """

    def __init__(self) -> None:
        self._last: tuple[_Known, Basis | None, Intent | None] = ({}, None, None)

    def understand(self, paths: Sequence[Path], texts: Sequence[str | Problem]) -> Loaded:
        """As the function does."""
        known, basis, _ = self._last
        read: list[tuple[_Unit, _Read]] = []
        problems: list[Problem] = []
        left = dict(known)  # a copy: another thread may read meanwhile
        can_move = basis is not None and not basis.has_found
        for path, text in zip(paths, texts, strict=True):
            try:
                read += _read_text(text, str(path), left, can_move=can_move)
            except BadYaml as bad:
                problems.append(_from_the_beginning(bad, text, str(path)))
        if problems:
            # With a file that cannot be read, the rest would only look wrong.
            return tuple(sorted(problems))
        return self._answer(known, basis, read)

    def _answer(self, known: _Known, basis: Basis | None, read: list[tuple[_Unit, _Read]]) -> Loaded:
        now = dict(read)
        if len(now) < len(read):  # a file is given twice
            self._last = {}, None, None
            return whole(chain.from_iterable(item.fragments for _, item in _in_place(read)))[0]
        stays = {id(item.fragments) for item in now.values()}
        was = {id(item.fragments) for item in known.values()}
        gone = [part for item in known.values() if id(item.fragments) not in stays for part in item.fragments]
        new = [part for item in now.values() if id(item.fragments) not in was for part in item.fragments]
        after = edited(basis, gone, new) if basis else None
        if after:
            self._last = now, after, after.intent
            return after.intent
        placed = dict(_in_place(now.items()))
        parts = chain.from_iterable(item.fragments for item in placed.values())
        good = self._last[2]
        loaded, basis = whole(parts, good)
        self._last = placed, basis, loaded if isinstance(loaded, Intent) else good
        return loaded


def _in_place(read: Iterable[tuple[_Unit, _Read]]) -> Iterator[tuple[_Unit, _Read]]:
    """With the places of where everything stands now."""
    runs = groupby(read, lambda item: (item[0].piece.file, item[0].of, item[1].line == item[0].piece.line))
    for (_, of, is_there), run in runs:
        yield from run if is_there else _READERS[of]([unit for unit, _ in run])


def _read_text(
    text: str | Problem, file: str, left: dict[_Unit, _Read], *, can_move: bool
) -> list[tuple[_Unit, _Read]]:
    """
    The units of a file, those in `left` without reading them. What is taken from there is no longer left: a file
    that is given twice has everything twice, and its objects must not be the same ones.
    """
    if isinstance(text, Problem):
        raise BadYaml(text)
    whole_pieces = pieces(text, file)
    units = list(chain.from_iterable(map(_units, whole_pieces)))
    try:
        found = _read_units(units, left, can_move=can_move)
    except (BadYaml, Inseparable):
        # The fault is that of whole documents.
        found = _read_units(list(map(_Unit, whole_pieces)), left, can_move=False)
    if not any(item.fragments for _, item in found):
        raise says_nothing(file)
    return found


def _units(piece: Piece) -> list[_Unit]:
    found = split(piece)
    if found is None:
        return [_Unit(piece)]
    return [_Unit(found.rest, "rest"), *(_Unit(node, "node") for node in found.nodes)]


def _read_units(units: list[_Unit], left: dict[_Unit, _Read], *, can_move: bool) -> list[tuple[_Unit, _Read]]:
    wanted = set(units)
    moved = {_what(unit): unit for unit in left if unit not in wanted} if can_move else {}
    found: list[tuple[_Unit, _Read]] = []
    for (_, is_known), following in groupby(units, lambda unit: (unit.of, unit in left)):
        run = list(following)
        if is_known:
            found += [(unit, left.pop(unit)) for unit in run if unit in left]
        else:
            found += _read_moved(run, left, moved)
    return found


_What: TypeAlias = tuple[str, str, str]
"""Of a unit all but where it stands."""


def _what(unit: _Unit) -> _What:
    return unit.piece.file, unit.of, unit.piece.text


def _read_moved(
    run: list[_Unit], left: dict[_Unit, _Read], moved: Mapping[_What, _Unit]
) -> Iterator[tuple[_Unit, _Read]]:
    """A unit about nodes that stands elsewhere now is taken over if nothing was remarked on it."""

    def known(unit: _Unit) -> _Unit | None:
        former = moved.get(_what(unit))
        return former if former and former in left and all(map(may_move, left[former].fragments)) else None

    for is_known, following in groupby(run, lambda unit: known(unit) is not None):
        same = list(following)
        if is_known:
            yield from ((unit, left.pop(former)) for unit in same if (former := known(unit)))
        else:
            yield from _READERS[same[0].of](same)


def _read_documents(run: list[_Unit]) -> Iterator[tuple[_Unit, _Read]]:
    for unit, found in zip(run, trees_of_each([unit.piece for unit in run]), strict=True):
        yield unit, _Read(tuple(fragment(tree) for tree in found if not is_nothing(tree)), unit.piece.line)


def _read_rest(run: list[_Unit]) -> Iterator[tuple[_Unit, _Read]]:
    for unit in run:
        yield unit, _Read(tuple(map(fragment, trees(unit.piece))), unit.piece.line)


def _read_nodes(run: list[_Unit]) -> Iterator[tuple[_Unit, _Read]]:
    """In one go, if they follow each other. Raises BadYaml, Inseparable."""
    found = [*entries_of_each([unit.piece for unit in run])]
    for unit, tree in zip(run, found, strict=True):
        yield unit, _Read((node_fragment(tree),), unit.piece.line)


_READERS: Final[Mapping[str, Callable[[list[_Unit]], Iterator[tuple[_Unit, _Read]]]]] = {
    "documents": _read_documents,
    "node": _read_nodes,
    "rest": _read_rest,
}
"""Of each kind of unit; units that are given together follow each other in one file, unless they are nodes."""


def _from_the_beginning(bad: BadYaml, text: str | Problem, file: str) -> Problem:
    """The fault as a reader of the whole file meets it: the words for it depend on what follows the document."""
    if isinstance(text, str):
        try:
            documents(text, file)
        except BadYaml as whole:
            return whole.problem
    return bad.problem


def _text(path: Path) -> str | Problem:
    try:
        content = filesystem.read(path)
    except OSError as error:
        return Problem(Place(str(path), 1, 1), "", f"cannot be read: {error.strerror}", "unreadable")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = content.count(b"\n", 0, error.start) + 1, error.start - content.rfind(b"\n", 0, error.start)
        return Problem(Place(str(path), line, column), "", f"is not UTF-8 text: {error.reason}", "unreadable")


def proposal_of(texts: Texts) -> Proposal:
    """Good texts as a store is proposed them."""
    return Proposal(json.dumps([text for text in texts if isinstance(text, str)]))


def contents_of(proposal: Proposal, names: Sequence[str]) -> Contents:
    """The texts that a proposal has for the files with these names. Raises NotPossibleNow."""
    try:
        found = json.loads(proposal)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise NotPossibleNow("the content is the new cluster files, as a JSON list of texts")
    if len(found) != len(names):
        raise NotPossibleNow(f"this agent reads {count(len(names), 'file')}: {', '.join(names)}")
    return tuple(found)
