"""
One line for the neighbours that get the same routes, and for the routes with the same attributes: ExaBGP parses each
line for half a millisecond and sends what one round of its loop has read, and a reflector sends every route to all its
clients. A table that comes line by line leaves in thousands of UPDATEs.

Refuses to know: what a line orders, beyond its first words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, NamedTuple

from bgpctl.core.net.addresses import Address
from bgpctl.speaker import sent_patches

_ROUTES: Final = ("announce route ", "withdraw route ", "announce raw ", "withdraw raw ")
_RAW: Final = (sent_patches.ANNOUNCE, sent_patches.WITHDRAW)
_AT_ONCE: Final = 256
"""Prefixes in one line: with ExaBGP's longest, and with all neighbours, it stays far below a megabyte."""


class Order(NamedTuple):
    """An order for one neighbour, for all of them if None."""

    neighbour: Address | None
    text: str


class _Routes(NamedTuple):
    """The words of an order for a route; of another one all of them are in the place of the prefix."""

    prefix: str
    verb: str = ""
    attributes: str = ""


@dataclass(slots=True)
class _Lines:
    """
    Orders and their neighbours, in the order in which they go out. A neighbour joins an order that has its place behind
    the last one for this neighbour, so each gets its own orders in the order in which they came.
    """

    orders: list[tuple[str, list[Address]]] = field(default_factory=list)
    place_of: dict[str, int] = field(default_factory=dict)
    last_of: dict[Address, int] = field(default_factory=dict)

    def add(self, neighbour: Address, text: str) -> None:
        place = self.place_of.get(text, -1)
        if place < self.last_of.get(neighbour, 0):
            place = len(self.orders)
            self.orders.append((text, []))
            if text.startswith(_ROUTES):
                self.place_of[text] = place
        self.orders[place][1].append(neighbour)
        self.last_of[neighbour] = place + 1

    def texts(self) -> Iterator[str]:
        for neighbours, group in groupby(self.orders, key=_neighbours):
            to = " , ".join(f"neighbor {neighbour}" for neighbour in neighbours)
            yield from (f"{to} {text}\n" for text in _together(text for text, _ in group))


def _neighbours(order: tuple[str, list[Address]]) -> list[Address]:
    return order[1]


def _together(texts: Iterable[str]) -> Iterator[str]:
    """Orders for the same neighbours: of routes of a family that follow each other with the same attributes, one."""
    for (verb, attributes, _), group in groupby(map(_routes, texts), key=_same):
        prefixes = [routes.prefix for routes in group]
        if not verb:
            yield from prefixes
        for at in range(0, len(prefixes), _AT_ONCE) if verb else ():
            yield " ".join((verb, sent_patches.BETWEEN.join(prefixes[at : at + _AT_ONCE]), attributes)).rstrip()


def _routes(text: str) -> _Routes:
    for verb in _RAW:
        if text.startswith(f"{verb} "):
            prefix, _, attributes = text[len(verb) + 1 :].partition(" ")
            return _Routes(prefix, verb, attributes)
    return _Routes(text)


def _same(routes: _Routes) -> tuple[str, str, bool]:
    return routes.verb, routes.attributes, ":" in routes.prefix


def joined(orders: Iterable[Order]) -> str:
    """The lines that order the same as these. Orders to all neighbours keep their place."""
    texts: list[str] = []
    collected = _Lines()
    for neighbour, text in orders:
        if neighbour:
            collected.add(neighbour, text)
        else:
            texts += [*collected.texts(), f"{text}\n"]
            collected = _Lines()
    return "".join((*texts, *collected.texts()))
