"""
When each path is probed, with which packets, and the verdict from the replies: a state machine without a clock.

The problem. A probe may be lost without a fault: one packet among many, or a moment without CPU here. A fault has to be
known within seconds all the same, and a thousand members must cost next to nothing.

The idea. At rest each path gets one probe of full size: its reply proves small packets too. One that is missed is sent
again at once, and now with company: a small one, which tells a narrow path from a dead one, and one without
encapsulation, which tells a dropped encapsulation from a dead host. Only TRIES misses in a row, within a second,
make a verdict. So a fault costs a few packets more on the path that has it, and nothing on the others.

Each path has its turn after the operator's interval. On a path that is not proven, and while this node sends packets,
it is sooner, as far as PER_S probes a second allow. Turns are spread by chance, so that many nodes do not probe one
member at once. The kernel counts packets by link, not by member: all members of a node that is busy count as busy.

Cases that break a simpler design:

- This process stands still between a request and its reply. A round that took longer than it should is no evidence of a
  miss; a reply in it counts, because the kernel of the member has sent it. After TRIES such rounds a path without a
  verdict is UNPROVEN: a host that is always slow gets no other.
- A host that answers no probes, ever: no fault can be told from its nature. It is UNPROVEN, which is no claim. One in a
  network of this node that does not answer for its address either (ARP, RFC 826; RFC 4861) is not there.
- The path of an unreachable member is used no more, because another one is: it is probed on, or it would never come
  back (core/agent/proofs.py keeps it).
- A narrow path that gets wider: the full size is probed in each turn, although it did not pass last time.

Refuses to know: how a probe is sent, what is done with a verdict, and what time it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from bgpctl.core.migration.probes import Probe
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.replacing import replace
from bgpctl.core.proof.paths import MemberPath, PathKey
from bgpctl.core.proof.verdict import BROKEN, Proof, Verdict

TRIES: Final = 3
EVERY_S: Final = 10.0
"""Between two probes of one path, unless the operator wants another interval."""
FASTEST_S: Final = 1.5
"""With the tries it makes less than three seconds from a fault to the verdict, on a node that sends packets."""
PER_S: Final = 30
"""The probes a second for whose sake paths are probed more often than `every_s`; they cost about 0.3 % of a core."""
BUSY_PER_S: Final = 100
"""A node that sends more packets a second than this, probes left out, carries traffic; keepalives are fewer."""
LOAD_EVERY_S: Final = 2.0
_TOGETHER_S: Final = 0.25
"""Paths that are due so soon are probed in the same round: a round costs two sockets, however many there are."""
_ROUND_PATHS: Final = 64
"""More paths in a round would take so long to be sent that the first replies were late."""
_SMALLEST_BYTES: Final = 68
"""Any link takes it (RFC 791, section 3.2)."""
_SIZES_AT_ONCE: Final = 8

Chance: TypeAlias = Callable[[], float]
"""A number from 0 to 1, another one each time."""


class Request(NamedTuple):
    """A probe of one path in a round; `size_bytes` is 0 for the smallest one, None without encapsulation."""

    key: PathKey
    probe: Probe
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Track:
    """
    One path as it is followed.

    Attributes:
        due_s: its next turn.
        misses: probes of full size in a row that were not answered.
        passed: a smaller one was answered in the same tries.
        late: rounds before the first verdict that were held up here.
        is_known: the member has answered a probe before, or is no neighbour that is there, so that silence means a
            fault.
        between: of a narrow path whose limit is searched, the largest size that passes and the smallest that does not.
    """

    path: MemberPath
    due_s: float
    proof: Proof
    misses: int = 0
    passed: bool = False
    late: int = 0
    is_known: bool = False
    between: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """All paths by their keys."""

    tracks: Mapping[PathKey, Track] = field(default_factory=dict)
    every_s: float = EVERY_S
    is_busy: bool = False

    @property
    def fast_s(self) -> float:
        """From one turn of a path to its next where that is urgent."""
        return min(self.every_s, max(FASTEST_S, len(self.tracks) / PER_S))

    def with_load(self, at_s: float, chance: Chance, *, is_busy: bool) -> Schedule:
        """The schedule of a node that carries traffic (`is_busy`), or does no more; its paths have their turns soon."""
        if is_busy == self.is_busy:
            return self
        within_s = self.fast_s if is_busy else self.every_s
        tracks = {
            key: replace(track, due_s=min(track.due_s, at_s + within_s * chance()))
            for key, track in self.tracks.items()
        }
        return replace(self, tracks=tracks, is_busy=is_busy)

    @property
    def next_s(self) -> float | None:
        """When the next turn is; None without a path."""
        return min((track.due_s for track in self.tracks.values()), default=None)

    @property
    def proofs(self) -> Mapping[PathKey, tuple[MemberPath, Proof]]:
        """The verdicts."""
        return {key: (track.path, track.proof) for key, track in self.tracks.items()}

    def with_paths(self, paths: Iterable[MemberPath], at_s: float) -> Schedule:
        """These paths and no others: a new one has its turn at once, and one that is another by now is new."""
        tracks: dict[PathKey, Track] = {}
        for path in paths:
            known = self.tracks.get(path.key)
            is_same = known is not None and known.path == path
            tracks[path.key] = known if known and is_same else _begun(path, known, at_s)
        return replace(self, tracks=tracks)

    def due(self, at_s: float) -> tuple[Request, ...]:
        """The requests of the round that begins now; those that have waited longest go first, so each has its turn."""
        soon = [track for track in self.tracks.values() if track.due_s <= at_s + _TOGETHER_S]
        soon.sort(key=lambda track: track.due_s)
        return tuple(request for track in soon[:_ROUND_PATHS] for request in _requests(track))

    def unable(self, requests: Iterable[Request], at_s: float) -> Schedule:
        """The schedule where no probe can be sent: verdicts stay, and where there is none, none is to be had."""
        keys = {request.key for request in requests}
        tracks = {key: _unable(self.tracks[key], at_s + self.every_s) for key in keys if key in self.tracks}
        return replace(self, tracks={**self.tracks, **tracks})

    def after_round(
        self,
        requests: Sequence[Request],
        answered: Collection[Probe],
        at_s: float,
        chance: Chance,
        *,
        is_late: bool,
        silent: Collection[Address] = (),
    ) -> Schedule:
        """
        The schedule once the round has ended at `at_s`. `is_late`: it took longer than it should, so this process may
        have missed what came. `silent`: neighbours that do not answer for their addresses.
        """
        sizes: dict[PathKey, tuple[set[int | None], set[int | None]]] = {}
        for request in requests:
            sent, got = sizes.setdefault(request.key, (set(), set()))
            sent.add(request.size_bytes)
            if request.probe in answered:
                got.add(request.size_bytes)
        tracks = dict(self.tracks)
        for key, (sent, got) in sizes.items():
            if key in tracks:
                track = tracks[key]
                is_proven = track.path.full_bytes in got
                pause_s = self.every_s if is_proven and not self.is_busy else self.fast_s
                if track.path.probe.remote in silent:
                    track = replace(track, is_known=True)
                tracks[key] = _after(track, sent, got, at_s, pause_s * (0.9 + 0.2 * chance()), is_late=is_late)
        return replace(self, tracks=tracks)


def _unable(track: Track, at_s: float) -> Track:
    is_asked = track.proof.verdict is Verdict.ASKED
    return replace(track, due_s=at_s, proof=Proof(Verdict.UNPROVEN, at_s) if is_asked else track.proof)


def _begun(path: MemberPath, before: Track | None, at_s: float) -> Track:
    is_known = before is not None and before.is_known and before.path.probe.remote == path.probe.remote
    return Track(path, at_s, Proof(Verdict.ASKED, at_s), is_known=is_known)


# A round ---------------------------------------------------------------------------------------------------------


def _requests(track: Track) -> Iterable[Request]:
    path, proof = track.path, track.proof
    sizes: set[int | None] = {path.full_bytes}
    if track.misses or proof.verdict in {*BROKEN, Verdict.UNPROVEN}:
        sizes |= {0, None} if path.is_encapsulated else {0}
    if track.between:
        sizes |= set(_steps(*track.between))
    elif proof.verdict is Verdict.NARROW:
        sizes.add(proof.passes_bytes)
    for size_bytes in sizes:
        probe = path.bare if size_bytes is None else path.sized(size_bytes) if size_bytes else path.probe
        yield Request(path.key, probe, size_bytes)


def _steps(low: int, high: int) -> Iterable[int]:
    """Sizes between two, at most so many, evenly spread."""
    count = min(_SIZES_AT_ONCE, high - low - 1)
    return (low + (high - low) * step // (count + 1) for step in range(1, count + 1))


def _after(
    track: Track,
    sent: Collection[int | None],
    got: Collection[int | None],
    at_s: float,
    pause_s: float,
    *,
    is_late: bool,
) -> Track:
    track = replace(track, is_known=track.is_known or bool(got))
    if track.path.full_bytes in got:
        return _judged(track, Proof(Verdict.PROVEN, at_s), at_s + pause_s)
    if is_late and track.path.full_bytes in sent:
        return _held_up(track, at_s, at_s + pause_s)
    passed = [size_bytes for size_bytes in got if size_bytes is not None]
    if track.proof.verdict is Verdict.NARROW and passed:
        return _narrowed(track, sent, passed, at_s, pause_s)
    return _missed(track, is_bare=None in got, passed=bool(passed), at_s=at_s, pause_s=pause_s)


def _held_up(track: Track, at_s: float, due_s: float) -> Track:
    """A miss that proves nothing. Its next turn is not at once: that would keep this process as busy as it was."""
    track = replace(track, due_s=due_s, late=track.late + 1)
    is_asked = track.proof.verdict is Verdict.ASKED
    return _judged(track, Proof(Verdict.UNPROVEN, at_s), due_s) if is_asked and track.late >= TRIES else track


def _missed(track: Track, *, is_bare: bool, passed: bool, at_s: float, pause_s: float) -> Track:
    """One more miss: at the last try the verdict, until then another one at once."""
    track = replace(track, misses=track.misses + 1, passed=track.passed or passed)
    was_silent = track.proof.verdict is (Verdict.UNREACHABLE if track.is_known else Verdict.UNPROVEN)
    is_silent = was_silent and not track.passed
    if track.misses < TRIES and not is_silent:
        return replace(track, due_s=at_s)
    if track.passed:
        begun = replace(track, between=(_SMALLEST_BYTES, track.path.full_bytes))
        return _judged(begun, Proof(Verdict.NARROW, at_s), at_s)
    verdict = Verdict.UNREACHABLE if track.is_known else Verdict.UNPROVEN
    return _judged(track, Proof(verdict, at_s, answers_bare=is_bare), at_s + pause_s)


def _narrowed(
    track: Track, sent: Collection[int | None], passed: Collection[int], at_s: float, pause_s: float
) -> Track:
    """The search for the largest size that passes; once it was found, it begins anew if that passes no more."""
    if track.between is None and track.proof.passes_bytes in passed:
        return replace(track, due_s=at_s + pause_s, misses=0, passed=False)
    floor, ceiling = track.between or (_SMALLEST_BYTES, track.path.full_bytes)
    low = max(floor, *passed)
    too_large = [size_bytes for size_bytes in sent if size_bytes is not None and low < size_bytes]
    high = min(too_large, default=ceiling)
    if high - low > 1:
        return replace(track, due_s=at_s, misses=0, between=(low, high))
    found = replace(track, between=None)
    return _judged(found, track.proof._replace(passes_bytes=low), at_s + pause_s)


def _judged(track: Track, proof: Proof, due_s: float) -> Track:
    """The verdict; an equal one stays as old as it is."""
    is_same = track.proof._replace(since_s=proof.since_s) == proof
    between = track.between if proof.verdict is Verdict.NARROW else None
    return replace(track, proof=track.proof if is_same else proof, due_s=due_s, misses=0, passed=False, between=between)
