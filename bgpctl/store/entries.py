"""
A document of the short form in pieces: its nodes one by one, and the rest.

A cluster of 5,000 nodes is one document, which takes YAML a second to read. Where nodes begin and end can be seen from
the indentation of lines, but only in simple YAML: a text in quotes, a flow mapping or a block of text may go on over
lines that resemble keys. So a document is split only if each of its lines is closed in itself: made of plain words,
whole quoted words and whole flow collections, without tabs, anchors, aliases, tags, merges and blocks of text. Then
only the indentation of block collections and plain texts reach beyond a line, and both end at a key that stands further
left (YAML 1.1, section 5.2). Everything else is read as a whole.

Refuses to know: the meaning of keys other than `nodes`.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final, NamedTuple

from bgpctl.store.yaml import Piece

_PLAIN: Final = r"A-Za-z0-9 ._:/,=()+\-"
_WORDS: Final = rf"[{_PLAIN}~]++|\"[{_PLAIN}]*+\"|'[{_PLAIN}]*+'"
_FLOW: Final = rf"[\[{{](?:{_WORDS})*+[\]}}]"
_NESTED_FLOW: Final = rf"[\[{{](?:{_WORDS}|{_FLOW})*+[\]}}]"
_CLOSED: Final = re.compile(rf"(?:---\n)?+(?:(?:{_WORDS}|{_NESTED_FLOW})*+(?:(?<![^ \n])#[^\n]*+)?+\n)*+")
"""Lines that are closed in themselves. A comment begins the line, or stands after a space."""
_LEFT: Final = re.compile(r"^[^ #\n][^\n]*", re.MULTILINE)
_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*:(?: .*)?")
_NODES: Final = re.compile(r"^nodes: *(?: #[^\n]*)?\n", re.MULTILINE)
_ANY_NODES: Final = re.compile(r"^nodes:", re.MULTILINE)
_FIRST: Final = re.compile(r"(?: *(?:#[^\n]*)?\n)*( +)[^ #\n]")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TOO_DEEP: Final = re.compile(r"^ {41}|- -", re.MULTILINE)
"""A level takes a column at least, so that no limit of depth (yaml.py) is near."""
_VALUES: Final = ":,-[{"
"""Before each value but the first stands one of these."""
_MOST_VALUES: Final = 400_000
"""Less than the limit of one document (yaml.py)."""


class Split(NamedTuple):
    """A document without its nodes, and a mapping of one node each."""

    rest: Piece
    nodes: tuple[Piece, ...]


def split(piece: Piece) -> Split | None:
    """The document in pieces; None if it has to be read as a whole."""
    text = piece.text
    found = _section(text)
    if found is None or not _is_simple(text):
        return None
    begin, end, indent = found
    starts = [match.start() for match in re.finditer(rf"^ {{{indent}}}(?=[^ #\n])", text[:end], re.MULTILINE)]
    starts = [start for start in starts if start >= begin]
    nodes = tuple(_pieces(piece, [*starts, end]))
    names = [_name(node.text) for node in nodes]
    is_outside = re.search(rf"^ {{1,{indent - 1}}}[^ #\n]", text[begin:end], re.MULTILINE)
    if None in names or len(set(names)) < len(names) or is_outside:
        return None
    after = text[end:]
    lines = "\n" * text.count("\n", starts[0], end) if after.strip() else ""
    return Split(Piece(piece.file, piece.line, text[: starts[0]] + lines + after), nodes)


def _is_simple(text: str) -> bool:
    if not _CLOSED.fullmatch(text) or _TOO_DEEP.search(text) or sum(map(text.count, _VALUES)) > _MOST_VALUES:
        return False
    first, *others = _LEFT.findall(text)
    return (first == "---" or _KEY.fullmatch(first) is not None) and all(map(_KEY.fullmatch, others))


def _section(text: str) -> tuple[int, int, int] | None:
    """The begin and the end of the nodes, and their indentation; None if there is no such block, or more than one."""
    found = _NODES.search(text)
    first = _FIRST.match(text, found.end()) if found and len(_ANY_NODES.findall(text)) == 1 else None
    if found is None or first is None:
        return None
    following = _LEFT.search(text, found.end())
    end = following.start() if following else len(text)
    indent = len(first[1])
    return (found.end(), end, indent) if first.end() <= end and indent > 1 else None


def _pieces(piece: Piece, bounds: list[int]) -> list[Piece]:
    line = piece.line + piece.text.count("\n", 0, bounds[0])
    found = []
    for start, end in pairwise(bounds):
        part = piece.text[start:end]
        found.append(Piece(piece.file, line, part))
        line += part.count("\n")
    return found


def _name(text: str) -> str | None:
    """The key that a node begins with; None if it is no plain word."""
    name, colon, rest = text.strip(" ").partition(":")
    return name if colon and rest[:1] in {" ", "\n"} and _NAME.fullmatch(name) else None
