"""
Packets of members' traces, seen here: a member begins a watch, sends, and asks for what was seen.

Packets are known by an identifier and a secret that the member has chosen, so that nothing else is seen, and what was
seen is given to the member that knows both. A watch ends by itself, and there are few at a time.

Refuses to know: who may ask (agent/channel.py), how packets are seen (kernel/sightings.py).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from bgpctl import client
from bgpctl.agent.errors import BadRequest
from bgpctl.core.net.addresses import Address
from bgpctl.core.trace.sightings import NONCE_BYTES, Direction, Leg, Mark, Point, Sighting
from bgpctl.ports import Unavailable, Watching

BEGIN: Final = "watch"
SEEN: Final = "watched"
WATCHING: Final = frozenset({BEGIN, SEEN})
LASTS_S: Final = 5.0
"""Longer than a trace takes."""
_MOST: Final = 4
_MOST_SIGHTINGS: Final = 1000
_FORMS: Final = {
    "version": re.compile("[46]"),
    "ident": re.compile("[1-9][0-9]{0,4}"),
    "nonce": re.compile(f"[0-9a-f]{{{2 * NONCE_BYTES}}}"),
}
_MOST_NAME: Final = 64

Open: TypeAlias = Callable[[Mark], Watching]


class _Running(NamedTuple):
    watch: Watching
    until_s: float


class Watches:
    """
    Any thread may call.

    Args:
        now_s: of a clock that cannot be set.
        opened: begins a watch. Raises Unavailable.
    """

    def __init__(self, now_s: Callable[[], float], opened: Open) -> None:
        self._now_s = now_s
        self._opened = opened
        self._running: dict[Mark, _Running] = {}
        self._lock = threading.Lock()

    def answer(self, view: str, query: Mapping[str, str]) -> dict[str, Any]:
        """
        The answer to BEGIN or SEEN.

        Raises:
            BadRequest: the mark is none, there are enough watches, or nothing can be watched.
        """
        mark = mark_of(query)
        self.expire()
        found = self._begin(mark) if view == BEGIN else self._end(mark)
        return {"schema": client.schema(view), "sightings": [_row(item) for item in found[:_MOST_SIGHTINGS]]}

    def _begin(self, mark: Mark) -> Sequence[Sighting]:
        with self._lock:
            if mark not in self._running:
                if len(self._running) >= _MOST:
                    raise BadRequest(f"{_MOST} traces are watched here already")
                try:
                    watch = self._opened(mark)
                except Unavailable as error:
                    raise BadRequest(str(error)) from error
                self._running[mark] = _Running(watch, self._now_s() + LASTS_S)
        return ()

    def _end(self, mark: Mark) -> Sequence[Sighting]:
        with self._lock:
            running = self._running.pop(mark, None)
        if running is None:
            raise BadRequest("there is no such watch, or it has ended by itself")
        running.watch.close()
        return running.watch.sightings

    def expire(self) -> None:
        """End those whose time is over. Never waits for one that begins."""
        if not self._running or not self._lock.acquire(blocking=False):
            return
        try:
            now_s = self._now_s()
            over = [self._running.pop(mark) for mark, item in [*self._running.items()] if item.until_s <= now_s]
        finally:
            self._lock.release()
        for item in over:
            item.watch.close()

    def close(self) -> None:
        """End all."""
        with self._lock:
            running, self._running = self._running, {}
        for item in running.values():
            item.watch.close()


# A mark and sightings as text ------------------------------------------------------------------------------------


def query_of(mark: Mark) -> str:
    """The mark as the query of a request."""
    return f"version={mark.version}&ident={mark.ident}&nonce={mark.nonce.hex()}"


def mark_of(query: Mapping[str, str]) -> Mark:
    """The mark of a query. Raises BadRequest."""
    found = [_FORMS[name].fullmatch(query.get(name, "")) for name in _FORMS]
    version, ident, nonce = (item[0] if item else "" for item in found)
    if not (version and ident and nonce):
        raise BadRequest("a version, an identifier and a nonce are needed")
    return Mark(int(version), int(ident) & 0xFFFF, bytes.fromhex(nonce))


def _row(item: Sighting) -> list[Any]:
    point = item.point
    detail = list(item.detail) if item.detail else None
    return [point.link, point.direction.value, item.leg.value, item.number, str(item.source), detail]


def sightings_of(node: str, answer: Mapping[str, Any]) -> tuple[Sighting, ...]:
    """The sightings of a node's answer, of which nothing is believed before. Raises ValueError."""
    try:
        return tuple(_sighting(node, *row) for row in answer["sightings"])
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"its answer cannot be read: {error}") from error


def _sighting(node: str, link: Any, direction: Any, leg: Any, number: Any, source: Any, detail: Any) -> Sighting:
    is_name = isinstance(link, str) and link.isprintable() and len(link) <= _MOST_NAME
    if not is_name or not isinstance(number, int):
        raise TypeError("a link and a number expected")
    kind = None if detail is None else (int(detail[0]), int(detail[1]))
    return Sighting(Point(node, link, Direction(direction)), Leg(leg), number, Address.parse(str(source)), kind)
