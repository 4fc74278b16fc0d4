"""
The agreement of members about the configuration: their notes beside our own. Its owner keeps threads apart.

Refuses to know: how notes travel, and what is in a configuration.
"""

from __future__ import annotations

from typing import NamedTuple

from bgpctl.core.cluster.agreement import Fingerprint, fingerprint
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address
from bgpctl.core.proof.note import SETTLE_S, Difference, HeardNote, Note, differences, note_of
from bgpctl.ports import Clock


class Own(NamedTuple):
    """The configuration of this node, with its note."""

    fingerprint: Fingerprint
    note: Note
    members: frozenset[Address]


class Agreement:
    """
    Attributes:
        is_changed: `differences` may be others than at the last call.
    """

    def __init__(self, clock: Clock) -> None:
        self.is_changed = False
        self._clock = clock
        self._own: Own | None = None
        self._since_s = 0.0
        self._heard: dict[Address, HeardNote] = {}
        self._differing: frozenset[Address] = frozenset()

    def prepared(self, intent: Intent) -> Own | None:
        """The next argument of `take`; None if it is the present one. It may take a moment, and needs no lock."""
        own = self._own
        if own and own.fingerprint.intent is intent:
            return None
        made = fingerprint(intent, own.fingerprint if own else None)
        return Own(made, note_of(made), frozenset(address for node in intent.nodes for address in node.addresses))

    def take(self, own: Own) -> None:
        """Compare with this configuration from now on. An equal one changes nothing."""
        if self._own is None or self._own.note != own.note:
            self._since_s = self._clock.now_s()
            self.is_changed = bool(self._differing)
        self._own = own
        self._heard = {address: item for address, item in self._heard.items() if address in own.members}

    def heard(self, source: Address, note: Note) -> bool:
        """A note came; True if that changes something. One of a host that is no member counts for nothing."""
        own, now_s = self._own, self._clock.now_s()
        if own is None or source not in own.members:
            return False
        self._heard[source] = HeardNote(note, now_s)
        differs = note != own.note and now_s >= self._since_s + SETTLE_S
        self.is_changed = self.is_changed or differs != (source in self._differing)
        return self.is_changed

    def differences(self) -> tuple[Difference, ...]:
        """The members that have another configuration."""
        self.is_changed = False
        if self._own is None:
            return ()
        found = differences(self._own.note, self._since_s, self._heard, self._own.fingerprint.intent)
        names = {item.member for item in found}
        nodes = (node for node in self._own.fingerprint.intent.nodes if node.name in names)
        self._differing = frozenset(address for node in nodes for address in node.addresses)
        return found
