"""
The words for proven paths, and for those that are not.

Refuses to know: how a verdict was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final, assert_never

from bgpctl.core.agent.proofs import KnownPath, PathVerdict
from bgpctl.core.cluster.configuration import Configuration
from bgpctl.core.cluster.encapsulation import DIRECT, ENCAPSULATIONS
from bgpctl.core.fabric.encapsulations import behaviour_of
from bgpctl.core.proof.note import Difference
from bgpctl.core.proof.paths import MemberPath
from bgpctl.core.proof.verdict import Proof, Verdict

_SHOWN: Final = 5
_NOT_ASKED: Final = Proof(Verdict.ASKED, 0.0)


def state(path: MemberPath, proof: Proof) -> str:
    """The verdict in a word or two."""
    if proof.verdict is Verdict.NARROW and proof.passes_bytes:
        return f"path MTU {proof.passes_bytes + path.overhead_bytes}"
    return proof.verdict.value


def verdict(item: PathVerdict) -> str:
    """A new verdict, as an event."""
    path, proof = item
    return f"path to {path.member} by {path.probe.hop.link}: {state(path, proof)}"


def problems(known: Iterable[KnownPath], configuration: Configuration) -> Iterator[str]:
    """Each cause with the members that have it; what is broken comes before what is only unknown."""
    used = [item for item in known if item.used and item.verdict is not Verdict.PROVEN]
    for _, found in groupby(sorted(used, key=_cause), key=_cause):
        yield _problem(list(found), configuration)


def differences(found: Iterable[Difference]) -> Iterator[str]:
    """The members that have another configuration."""
    for of_members in (True, False):
        names = [item.member for item in found if item.members is of_members]
        if names:
            verb = "has" if len(names) == 1 else "have"
            what = "other members" if of_members else "another configuration"
            yield f"{_listed(names)} {verb} {what} than this node: compare the cluster files"


def _cause(item: KnownPath) -> tuple[int, str, bool, int, int]:
    proof, path = item.proof or _NOT_ASKED, item.path
    return _ORDER.index(proof.verdict), path.probe.hop.link, proof.answers_bare, proof.passes_bytes, path.full_bytes


_ORDER: Final = (Verdict.UNREACHABLE, Verdict.NARROW, Verdict.ASKED, Verdict.UNPROVEN, Verdict.PROVEN)


def _problem(items: Sequence[KnownPath], configuration: Configuration) -> str:
    path, proof = items[0].path, items[0].proof or _NOT_ASKED
    link, members = path.probe.hop.link, _members(items)
    match proof.verdict:
        case Verdict.UNREACHABLE:
            return f"no probe reply from {members} by {link}{_silence(path, proof, configuration)}"
        case Verdict.NARROW:
            lost = f"packets of {path.full_bytes} bytes to {members} by {link} are lost"
            return f"{lost}, smaller ones are not{_fit(path, proof)}"
        case Verdict.ASKED:
            return f"the path to {members} by {link} is not proven yet"
        case Verdict.UNPROVEN:
            return f"{members} by {link}: unproven, no probe was ever answered"
        case Verdict.PROVEN:
            return f"the path to {members} by {link} is proven"
        case _:
            assert_never(proof.verdict)


def _members(items: Sequence[KnownPath]) -> str:
    return _listed([item.path.member for item in items])


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _silence(path: MemberPath, proof: Proof, configuration: Configuration) -> str:
    ping = f"check `ping {path.probe.remote}`"
    if not path.is_encapsulated:
        return f": {ping}"
    packets = behaviour_of(path.probe.encapsulation).incoming(configuration)
    if proof.answers_bare:
        return f" ({packets}), but without encapsulation: check that its firewall and the underlay pass {packets}"
    return f" ({packets}), nor without encapsulation: {ping}"


def _fit(path: MemberPath, proof: Proof) -> str:
    if not proof.passes_bytes:
        return ": the path MTU is searched"
    outer = proof.passes_bytes + path.overhead_bytes
    version = path.probe.remote.version
    tunnels = [item for item in ENCAPSULATIONS.values() if item != DIRECT and version in item.versions]
    fitting = sorted(
        ((outer - behaviour_of(item).overhead_bytes(version), item.title) for item in tunnels), reverse=True
    )
    sizes = [f"{size} ({title})" for size, title in fitting]
    return f": path MTU {outer}, mtu {' or '.join(sizes)} fits, or set mtuDiscovery"
