"""
Views of the paths to members: which are proven. Pure functions to JSON.

Refuses to know: how a path is proven.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from bgpctl.agent import proof_words
from bgpctl.agent.snapshot import Json, Snapshot
from bgpctl.core.agent.proofs import KnownPath, is_limited
from bgpctl.core.proof.verdict import BROKEN, Proof, Verdict

NOT_PROBED: Final = "not probed"
"""No route takes a path to it on which a reply can be expected."""
_NOT_ASKED: Final = Proof(Verdict.ASKED, 0.0)
_WORST_FIRST: Final = (Verdict.UNREACHABLE, Verdict.NARROW, Verdict.UNPROVEN, Verdict.ASKED, Verdict.PROVEN)


def problems(snapshot: Snapshot) -> list[str]:
    """
    The chains that end packets of workloads here, every path in use that is not proven, and the members with another
    configuration, in words.
    """
    intent, proofs = snapshot.state.intent.in_force, snapshot.state.proofs
    known = (item for item in proofs.known.values() if not _is_heeded(snapshot, item))
    paths = proof_words.problems(known, intent) if intent else ()
    stops = (f"{item.text}: {item.remedy}" for item in proofs.stops)
    return [*stops, *paths, *_differences(snapshot)]


def _differences(snapshot: Snapshot) -> Iterator[str]:
    """Members with another configuration, of which the channel does not know more."""
    found = snapshot.state.proofs.differences
    explained = snapshot.cluster.explained() if found else ()
    return proof_words.differences(tuple(item for item in found if item.member not in explained))


def of_members(snapshot: Snapshot, of_sessions: Iterable[str]) -> list[Json]:
    """The same of members alone, with what sessions and the channel show of them: sentences, and what shows more."""
    intent, proofs = snapshot.state.intent.in_force, snapshot.state.proofs
    used = [item for item in proofs.known.values() if item.used and not _is_heeded(snapshot, item)]
    lost = [item for item in used if item.verdict in BROKEN]
    others = [item for item in used if item.verdict not in BROKEN]
    failed = (
        *(proof_words.problems(lost, intent) if intent else ()),
        *of_sessions,
        *_differences(snapshot),
        *snapshot.cluster.problems(),
    )
    unknown = proof_words.problems(others, intent) if intent else ()
    return [*(_said(text, is_broken=True) for text in failed), *(_said(text, is_broken=False) for text in unknown)]


def _is_heeded(snapshot: Snapshot, item: KnownPath) -> bool:
    """True of a narrow path whose MTU the routes have, so that larger packets are answered and not lost."""
    return snapshot.state.intent.discovers_mtu and is_limited(item)


def limits(snapshot: Snapshot, link: str) -> list[Json]:
    """The members by this link whose routes have a smaller MTU than the link: that of the path, found by probes."""
    known = [item for item in snapshot.state.proofs.known.values() if item.path.probe.hop.link == link]
    sizes = snapshot.state.proofs.path_mtus if snapshot.state.intent.discovers_mtu else {}
    found = ((item.path, sizes.get((link, item.path.probe.remote), 0)) for item in known)
    return [
        {"member": path.member, "mtu_bytes": size, "path_mtu_bytes": size + path.overhead_bytes}
        for path, size in found
        if size
    ]


def _said(text: str, *, is_broken: bool) -> Json:
    problem, _, following = text.partition("; see: ") if "; see: " in text else text.rpartition(": ")
    return {"problem": problem or text, "next": following if problem else "bgpctl show nodes", "is_broken": is_broken}


def counted(snapshot: Snapshot) -> Mapping[str, int]:
    """The number of paths by their verdicts."""
    found = Counter(item.verdict for item in snapshot.state.proofs.known.values() if item.used)
    return {verdict.value: found[verdict] for verdict in Verdict}


def of_member(snapshot: Snapshot, name: str) -> list[Json]:
    """Each path to a member with its verdict."""
    return [_path(snapshot, item) for item in snapshot.state.proofs.of_member(name)]


def _path(snapshot: Snapshot, item: KnownPath) -> Json:
    path, proof = item.path, item.proof or _NOT_ASKED
    return {
        "link": path.probe.hop.link,
        "encapsulation": path.probe.encapsulation.name,
        "address": str(path.probe.remote),
        "used": item.used,
        "state": proof.verdict.value,
        "age_s": snapshot.age_s(proof.since_s) if item.proof else None,
        "full_bytes": path.full_bytes,
        "answers_bare": proof.answers_bare,
        "path_mtu_bytes": proof.passes_bytes + path.overhead_bytes if proof.passes_bytes else None,
    }


def to_member(snapshot: Snapshot, name: str | None) -> str | None:
    """
    The worst verdict on the paths to a member that are used, or on others if none is; None for who is no member, and
    without a prover.
    """
    if name is None or not snapshot.state.proofs.is_on:
        return None
    known = snapshot.state.proofs.of_member(name)
    if not known:
        return NOT_PROBED
    used = [item for item in known if item.used]
    worst = min(used or known, key=lambda item: _WORST_FIRST.index(item.verdict))
    return proof_words.state(worst.path, worst.proof or _NOT_ASKED)


def unproven_by(snapshot: Snapshot, link: str) -> list[str]:
    """The members whose path by this link is not proven, but for those whose path MTU the routes have."""
    known = [item for item in snapshot.state.proofs.known.values() if not _is_heeded(snapshot, item)]
    names = {item.path.member for item in known if item.path.probe.hop.link == link}
    proven = {item.path.member for item in known if item.verdict is Verdict.PROVEN and item.path.probe.hop.link == link}
    return sorted(names - proven)
