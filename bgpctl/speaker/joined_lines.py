"""
One line for the neighbours that get the same route: ExaBGP parses each line for half a millisecond, and a reflector
sends every route to all its clients.

Refuses to know: what a line orders, beyond its first words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

_TO: Final = "neighbor "
_ROUTES: Final = ("announce route ", "withdraw route ", "announce raw ", "withdraw raw ")


@dataclass(slots=True)
class _Lines:
    """
    Orders and their neighbours, in the order in which they go out. A neighbour joins an order that has its place behind
    the last one for this neighbour, so each gets its own orders in the order in which they came.
    """

    orders: list[tuple[str, list[str]]] = field(default_factory=list)
    place_of: dict[str, int] = field(default_factory=dict)
    last_of: dict[str, int] = field(default_factory=dict)

    def add(self, neighbour: str, order: str) -> None:
        place = self.place_of.get(order, -1)
        if place < self.last_of.get(neighbour, 0):
            place = len(self.orders)
            self.orders.append((order, []))
            if order.startswith(_ROUTES):
                self.place_of[order] = place
        self.orders[place][1].append(neighbour)
        self.last_of[neighbour] = place + 1

    def texts(self) -> Iterable[str]:
        return (f"{_TO}{f' , {_TO}'.join(neighbours)} {order}" for order, neighbours in self.orders)


def joined(lines: Iterable[str]) -> str:
    """The text that orders the same as these lines, each with its newline. Lines to all neighbours keep their place."""
    texts: list[str] = []
    collected = _Lines()
    for line in lines:
        if line.startswith(_TO):
            _, neighbour, order = line.split(" ", 2)
            collected.add(neighbour, order)
        else:
            texts += [*collected.texts(), line]
            collected = _Lines()
    return "".join((*texts, *collected.texts()))
