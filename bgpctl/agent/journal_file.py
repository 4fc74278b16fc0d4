"""
A journal as a file of JSON lines: a header, the state at the start, then one line per entry.

Observations follow each other and are nearly the same, 100,000 routes each; the file has of each one only its
difference to the one before, so it grows with what changed. What follows from the rest of a state, such as the indexed
policy, is left out and made anew.

A journal may come from anyone: reading one runs no code of its own, and every refusal names file, line and rule.

Refuses to know: what an event means, when and where a journal is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from bgpctl.agent.codec import Codec, Tree, Undecodable
from bgpctl.agent.journal import Entry, Record
from bgpctl.core.agent.events import Command, Event, Observed
from bgpctl.core.agent.memo import Memo
from bgpctl.core.agent.sessions import with_policy
from bgpctl.core.agent.state import State
from bgpctl.core.bgp.import_policy import Policy
from bgpctl.core.bgp.possible_sources import PossibleSources
from bgpctl.core.net.dataplane import Dataplane

SCHEMA: Final = "bgpctl/journal/v2"
_LONGEST_LINE_BYTES: Final = 1 << 28
"""A state with 100,000 routes and paths takes about a fifth of it."""
_ANOTHER: Final = "have the agent write another one: bgpctl agent journal"
_PICKLE: Final = b"\x80"
"""Begins every pickle since protocol 2."""


@dataclass(frozen=True, slots=True)
class Header:
    """The program's version, the node, the wall-clock time of writing (ISO 8601) and the number of entries."""

    version: str
    node: str
    written: str
    entries: int


class BadJournal(ValueError):
    """A file that is no journal of this schema: `journal.jsonl:17: what is wrong`."""


@dataclass(frozen=True, slots=True)
class ObservedChange:
    """An observation, as objects that went and came since the one before it in the file."""

    gone: Dataplane
    new: Dataplane


@dataclass(frozen=True, slots=True)
class _Line:
    at_s: float
    event: Event | ObservedChange
    commands: tuple[Command, ...]


FOLLOWING: Final = (Policy, Memo, PossibleSources)
"""Parts of a state that follow from the rest of it."""


class _Codecs:
    """The codecs of one file."""

    def __init__(self) -> None:
        self.header: Codec[Header] = Codec(Header)
        self.state: Codec[State] = Codec(State, derived=FOLLOWING)
        self.line: Codec[_Line] = Codec(_Line)


# Writing -------------------------------------------------------------------------------------------------------


def dump(record: Record, version: str, written: str) -> bytes:
    """The journal as `load` reads it, by the program's `version`; `written` is the date (ISO 8601)."""
    header = Header(version, record.start.node, written, len(record.entries))
    return b"".join(line.encode() + b"\n" for line in _lines(header, record))


def _lines(header: Header, record: Record) -> Iterator[str]:
    codecs = _Codecs()
    yield _dumps({"schema": SCHEMA, **codecs.header.encode(header)})
    yield _dumps(codecs.state.encode(record.start))
    before = record.start.kernel.observed or Dataplane()
    for entry in record.entries:
        event: Event | ObservedChange = entry.event
        if isinstance(event, Observed):
            now = event.dataplane
            event, before = _difference(before, now), now
        yield _dumps(codecs.line.encode(_Line(entry.at_s, event, entry.commands)))


def _dumps(tree: Tree) -> str:
    return json.dumps(tree, separators=(",", ":"))


def _difference(before: Dataplane, now: Dataplane) -> ObservedChange:
    return ObservedChange(before.minus_all(now), now.minus_all(before))


# Reading -------------------------------------------------------------------------------------------------------


class _Rule(ValueError):
    """A rule that one line breaks."""


@dataclass(slots=True)
class _Source:
    """The trees of a file, line by line; `line` is the number of the last one that was read."""

    file: BinaryIO
    line: int = 0

    def tree(self) -> Tree:
        """The next line's. Raises _Rule."""
        raw = self._next()
        if not raw:
            raise _Rule("the journal ends before this line: it is cut short")
        if len(raw) > _LONGEST_LINE_BYTES:
            raise _Rule(f"the line is longer than {_LONGEST_LINE_BYTES} bytes")
        try:
            return json.loads(raw)
        except RecursionError:
            raise _Rule("the line is nested too deeply") from None
        except ValueError as error:
            cut = "" if raw.endswith(b"\n") else ": it is cut short"
            raise _Rule(f"the line is not JSON{cut} ({error})") from None

    def end(self) -> None:
        """Raises _Rule if there is another line."""
        if self._next():
            raise _Rule("more entries than the header counts")

    def _next(self) -> bytes:
        self.line += 1
        return self.file.readline(_LONGEST_LINE_BYTES + 1)


def load(path: Path) -> tuple[Header, Record]:
    """A journal that `dump` made. Raises OSError, BadJournal."""
    codecs = _Codecs()
    with path.open("rb") as file:
        source = _Source(file)
        try:
            _refuse_pickle(file)
            header = _header(codecs.header, source.tree())
            start = with_policy(codecs.state.decode(source.tree()))
            lines = [codecs.line.decode(source.tree()) for _ in range(header.entries)]
            source.end()
        except (_Rule, Undecodable) as error:
            raise BadJournal(f"{path}:{max(source.line, 1)}: {error}") from error
    return header, Record(start, tuple(_entries(lines, start.kernel.observed or Dataplane())))


def _refuse_pickle(file: BinaryIO) -> None:
    if file.read(1) == _PICKLE:
        raise _Rule(f"a pickle, as earlier versions wrote it; this one reads {SCHEMA}: {_ANOTHER}")
    file.seek(0)


def _header(codec: Codec[Header], tree: Tree) -> Header:
    schema = tree.get("schema") if type(tree) is dict else None
    if schema != SCHEMA:
        found = f"its schema is {schema}" if schema else "it has no schema"
        raise _Rule(f"no journal that this version reads: {found}, not {SCHEMA}; {_ANOTHER}")
    return codec.decode({name: value for name, value in tree.items() if name != "schema"})


def _entries(lines: Iterable[_Line], observed: Dataplane) -> Iterator[Entry]:
    for line in lines:
        match line.event:
            case ObservedChange(gone, new):
                observed = observed.minus_all(gone).plus_all(new)
                yield Entry(line.at_s, Observed(observed), line.commands)
            case event:
                yield Entry(line.at_s, event, line.commands)
