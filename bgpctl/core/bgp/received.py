"""
The paths that a peer has announced, by prefix: of most peers one, of one that sends identifiers (RFC 7911) several.

Refuses to know: sessions, and how long a path is used.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final, NamedTuple

from bgpctl.core.bgp.path import Path
from bgpctl.core.bgp.speaker import Update
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.table import Table, in_shards

MOST_PATHS: Final = 64
"""Of more paths of one peer to a prefix those with the lowest identifiers are kept: what a peer can cost is bounded."""


class OtherPath(NamedTuple):
    """Another path of a peer to the same prefix (RFC 7911)."""

    path: Path
    at_s: float


class Received(NamedTuple):
    """
    A path with the time it was first received unchanged, in seconds of the agent's clock. Of a peer that sends several
    to a prefix (RFC 7911) it is that of the lowest identifier, and `others` has the rest in their order.
    """

    path: Path
    at_s: float
    others: tuple[OtherPath, ...] = ()

    @property
    def each(self) -> tuple[Received, ...]:
        """All paths of the peer to the prefix, each without others."""
        if not self.others:
            return (self,)
        return (Received(self.path, self.at_s), *(Received(path, at_s) for path, at_s in self.others))


def updated_paths(
    before: Table[Received], update: Update, at_s: float, unconfirmed: Container[Prefix]
) -> Table[Received]:
    """The paths after an UPDATE; those to `unconfirmed` prefixes are of an earlier session, or before a refresh."""
    if _has_identifiers(update):
        return _with_identified_paths(before, update, at_s, unconfirmed)
    return _updated_paths(before, update, at_s)


def _has_identifiers(update: Update) -> bool:
    """A session has them in all its UPDATEs of a family, or in none."""
    return bool(update.withdrawn_paths) or bool(update.announced and update.announced[0].path_id is not None)


def _with_identified_paths(
    before: Table[Received], update: Update, at_s: float, unconfirmed: Container[Prefix]
) -> Table[Received]:
    """
    The paths by their identifiers (RFC 7911, section 3). While a whole table is awaited, the first path to a prefix
    takes the place of all that were there before: identifiers of an earlier session mean nothing.
    """
    of_prefix: dict[Prefix, dict[int, Path | None]] = {}
    for prefix, path_id in update.withdrawn_paths:
        of_prefix.setdefault(prefix, {})[path_id] = None
    for path in update.announced:
        of_prefix.setdefault(path.prefix, {})[path.path_id or 0] = path
    left = before.changed({}, gone=update.withdrawn)
    found: dict[Prefix, Received] = {}
    gone: list[Prefix] = []
    for prefix, changes in of_prefix.items():
        is_anew = prefix in unconfirmed and any(changes.values())
        received = None if is_anew else left.get(prefix)
        known = {item.path.path_id or 0: item for item in received.each} if received else {}
        for path_id, change in changes.items():
            if change is None:
                known.pop(path_id, None)
            elif path_id not in known or known[path_id].path != change:
                known[path_id] = Received(change, at_s)
        kept = [known[path_id] for path_id in sorted(known)[:MOST_PATHS]]
        if kept:
            others = tuple(OtherPath(item.path, item.at_s) for item in kept[1:])
            found[prefix] = Received(kept[0].path, kept[0].at_s, others)
        else:
            gone.append(prefix)
    return left.changed(found, gone)


def _updated_paths(before: Table[Received], update: Update, at_s: float) -> Table[Received]:
    left = before.changed({}, gone=update.withdrawn)
    # Of two for a prefix the last counts.
    announced = {path.prefix: path for path in update.announced}
    known = dict(left.among(in_shards(announced))) if left else {}
    return left.changed(
        {
            prefix: Received(path, at_s)
            for prefix, path in announced.items()
            if prefix not in known or known[prefix].path != path
        }
    )
