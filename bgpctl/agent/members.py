"""
The configurations of the other members, asked by the channel, a member after the other.

A round asks each member for its configuration, with the digest of ours; one that has the same answers with that alone.
Rounds begin at fixed intervals, and at once after an edit here. The pace is bounded, so that a round through a large
cluster takes minutes rather than processors.

Knowledge of a member that cannot be asked any more is kept until its answer is a different one; a member that left
the configuration is forgotten.

Refuses to know: which words follow (core/cluster/agreement.py).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from bgpctl.core.cluster.agreement import Fingerprint, Outline, differences, fingerprint, outline, received
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent

if TYPE_CHECKING:
    from bgpctl.channel import Answer

log = logging.getLogger("bgpctl.agent")

ROUND_EVERY_S: Final = 10.0
_PACE_S: Final = 0.25
"""Between two questions: a handshake costs 2 ms of processor time on both sides."""
_WITHIN_S: Final = 3.0

_LONGEST: Final = 4
"""Times our own configuration: another one, also after a large edit, is not longer than that."""
_LONGEST_BYTES: Final = 1 << 20
"""On top of it."""

Ask = Callable[[Node, str, float, int], "Answer | None"]
"""(member, request, seconds, bytes of the longest answer) → its answer; None while there are no keys."""


class Configurations:
    """The fingerprint and the outline of the intent in force, each derived once. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fingerprint: Fingerprint | None = None
        self._outline: tuple[Intent, Outline] | None = None

    def digest(self, intent: Intent) -> str:
        return str(self._of(intent))

    def longest_bytes(self, intent: Intent) -> int:
        """Of another member's outline as JSON."""
        return _LONGEST * self._of(intent).length + _LONGEST_BYTES

    def _of(self, intent: Intent) -> Fingerprint:
        with self._lock:
            if self._fingerprint is None or self._fingerprint.intent is not intent:
                self._fingerprint = fingerprint(intent, self._fingerprint)
            return self._fingerprint

    def outline(self, intent: Intent) -> Outline:
        with self._lock:
            if self._outline is None or self._outline[0] is not intent:
                self._outline = (intent, outline(intent))
            return self._outline[1]


@dataclass(slots=True)
class _Known:
    """By the name of the member."""

    others: dict[str, Outline] = field(default_factory=dict)
    same: set[str] = field(default_factory=set)
    unknown_to: set[str] = field(default_factory=set)

    def shared(self, found: Outline) -> Outline:
        """The equal one that is kept for another member already: a whole configuration takes megabytes."""
        kept = {id(other): other for other in self.others.values()}
        return next((other for other in kept.values() if other == found), found)

    def forget(self, name: str) -> None:
        self.others.pop(name, None)
        self.same.discard(name)
        self.unknown_to.discard(name)


class Members:
    """
    Asks until closed.

    Args:
        intent: the one in force, None without.
        node: the name of this node.
        ask: asks a member.
    """

    def __init__(
        self, node: str, intent: Callable[[], Intent | None], configurations: Configurations, ask: Ask
    ) -> None:
        self._node = node
        self._intent = intent
        self._configurations = configurations
        self._ask = ask
        self._known = _Known()
        self._lock = threading.Lock()
        self._words: tuple[object, tuple[str, ...]] | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="members", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()
        self._thread.join()

    def differing(self) -> frozenset[str]:
        """The members of which another configuration is known; `problems` has the differences."""
        with self._lock:
            return frozenset(self._known.others)

    def problems(self) -> tuple[str, ...]:
        """The differences in words, for the summary."""
        intent = self._intent()
        if intent is None:
            return ()
        with self._lock:
            known = {name: found for name, found in self._known.others.items() if name in intent.by_name}
            unknown_to = sorted(name for name in self._known.unknown_to if name in intent.by_name)
            same = sorted(name for name in self._known.same if name in intent.by_name)
        if not known and not unknown_to:
            return ()
        here = self._configurations.outline(intent)
        key = (here, [*known.items()], unknown_to, same)
        if self._words is None or self._words[0] != key:
            there = {**known, **dict.fromkeys(same, here)}
            self._words = (key, differences(self._node, here, there, unknown_to))
        return self._words[1]

    def _run(self) -> None:
        while not self._closed.is_set():
            began = self._intent()
            try:
                self._round(began)
            except Exception:
                log.exception("members cannot be asked for their configurations")
            waited_s = 0.0
            while waited_s < ROUND_EVERY_S and self._intent() is began and not self._closed.wait(_PACE_S):
                waited_s += _PACE_S

    def _round(self, intent: Intent | None) -> None:
        if intent is None or not intent.channel_port:
            self._forget(())
            return
        self._forget(intent.by_name)
        digest = self._configurations.digest(intent)
        longest_bytes = self._configurations.longest_bytes(intent)
        for node in intent.nodes:
            if node.name == self._node:
                continue
            if self._closed.wait(_PACE_S) or self._intent() is not intent:
                return
            try:
                answer = self._ask(node, f"configuration?digest={quote(digest)}", _WITHIN_S, longest_bytes)
                if answer is not None:
                    self._learn(node.name, answer, digest)
            except Exception:
                log.exception("a member cannot be asked for its configuration", extra={"facts": {"member": node.name}})

    def _forget(self, but: Mapping[str, object] | tuple[()]) -> None:
        with self._lock:
            known = self._known
            for name in {*known.others, *known.same, *known.unknown_to}.difference(but):
                known.forget(name)

    def _learn(self, name: str, answer: Answer, digest: str) -> None:
        with self._lock:
            known = self._known
            if not isinstance(answer, dict):
                if answer.not_a_member:
                    known.forget(name)
                    known.unknown_to.add(name)
                return
            if answer.get("digest") == digest:
                known.forget(name)
                known.same.add(name)
                return
            try:
                found = received(answer.get("outline"))
            except ValueError as error:
                log.warning(
                    "the configuration of a member cannot be read",
                    extra={"facts": {"member": name, "error": str(error)}},
                )
                return
            known.forget(name)
            known.others[name] = known.shared(found)
