"""
Cluster files as texts: read, understood, and sent to an agent as a proposal.

A proposal is the texts themselves and not their names: an agent may read files that the operator may not, and under
systemd it does not see his home.

Refuses to know: the keys of a cluster file (core/intent), how files are changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import TypeAlias

from bgpctl import filesystem
from bgpctl.core.cluster.count import count
from bgpctl.core.cluster.problems import Place, Problem
from bgpctl.core.intent import combined, fragment
from bgpctl.core.intent.draft import Draft
from bgpctl.core.intent.tree import is_nothing
from bgpctl.ports import Loaded, NotPossibleNow, Proposal
from bgpctl.store.change import Contents
from bgpctl.store.yaml import BadYaml, Piece, documents, pieces, says_nothing, trees_of_each

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


class Reader:
    """
    Understands texts again and again, and reads only the documents that differ from the last ones, or stand elsewhere.
    Their meaning together is assembled and checked as a whole. Any thread may call.
    """

    def __init__(self) -> None:
        self._known: Mapping[Piece, tuple[Draft, ...]] = {}

    def understand(self, paths: Sequence[Path], texts: Sequence[str | Problem]) -> Loaded:
        """As the function does."""
        read: list[tuple[Piece, tuple[Draft, ...]]] = []
        problems: list[Problem] = []
        left = dict(self._known)  # a copy: another thread may read meanwhile
        for path, text in zip(paths, texts, strict=True):
            try:
                read += _read(text, str(path), left)
            except BadYaml as bad:
                problems.append(_from_the_beginning(bad, text, str(path)))
        if problems:
            # With a file that cannot be read, the rest would only look wrong.
            return tuple(sorted(problems))
        # A file of one document, as all of the short form can be, changes as a whole.
        known = dict(read)
        self._known = known if len(paths) < len(known) == len(read) else {}
        return combined(chain.from_iterable(parts for _, parts in read))


def _read(
    text: str | Problem, file: str, left: dict[Piece, tuple[Draft, ...]]
) -> list[tuple[Piece, tuple[Draft, ...]]]:
    """
    The documents of a file, those in `left` without reading them. What is taken from there is no longer left: a file
    that is given twice has everything twice, and its objects must not be the same ones.
    """
    if isinstance(text, Problem):
        raise BadYaml(text)
    found: list[tuple[Piece, tuple[Draft, ...]]] = []
    for is_known, following in groupby(pieces(text, file), left.__contains__):
        run = list(following)
        found += [(piece, left.pop(piece)) for piece in run] if is_known else _read_anew(run)
    if not any(fragments for _, fragments in found):
        raise says_nothing(file)
    return found


def _read_anew(run: list[Piece]) -> Iterator[tuple[Piece, tuple[Draft, ...]]]:
    for piece, trees in zip(run, trees_of_each(run), strict=True):
        yield piece, tuple(fragment(tree) for tree in trees if not is_nothing(tree))


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
