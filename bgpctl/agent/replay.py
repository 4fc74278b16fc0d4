"""
A journal's events replayed on this version of the loop: the first command that differs from the recorded ones.

Refuses to know: where the journal came from, which of the two commands is right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from bgpctl.agent.codec import Codec
from bgpctl.agent.journal import Entry, Record
from bgpctl.core.agent.events import Command


@dataclass(frozen=True, slots=True)
class Difference:
    """
    The command number `command` of entry number `index`, both counted from 1: as recorded and as replayed; None where
    there is none.
    """

    index: int
    entry: Entry
    command: int
    recorded: Command | None
    replayed: Command | None


def first_difference(record: Record) -> Difference | None:
    """The first command that is not answered as it was; None if all are."""
    for index, (entry, commands) in enumerate(zip(record.entries, record.replayed(), strict=True), 1):
        for number, (recorded, replayed) in enumerate(zip_longest(entry.commands, commands), 1):
            if recorded != replayed:
                return Difference(index, entry, number, recorded, replayed)
    return None


def lines(difference: Difference) -> list[str]:
    """The objects of both commands, one a line: `-` recorded, `+` replayed. Equal ones at both ends are left out."""
    before, after = list(objects(difference.recorded)), list(objects(difference.replayed))
    start = _equal_start(before, after)
    before, after = before[start:], after[start:]
    end = _equal_start(before[::-1], after[::-1])
    return [
        *(f"- {line}" for line in before[: len(before) - end]),
        *(f"+ {line}" for line in after[: len(after) - end]),
    ]


def _equal_start(left: list[str], right: list[str]) -> int:
    """The number of equal items before the first difference."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((index for index, (mine, other) in pairs if mine != other), min(len(left), len(right)))


def objects(command: Command | None) -> Iterator[str]:
    """The objects of a command, exactly and one a line: each operation, each announcement, or the command itself."""
    if command is None:
        return
    codec: Codec[Command] = Codec(Command)
    ((name, fields),) = codec.encode(command).items()
    match tuple(fields.values()):
        case (list() as items,) if items:
            yield from (f"{name} {json.dumps(item)}" for item in items)
        case _:
            yield f"{name} {json.dumps(fields)}"
