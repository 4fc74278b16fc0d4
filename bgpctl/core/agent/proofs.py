"""
Proven paths, one part of the agent's state: which packets are known to arrive at which members.

The prover (agent/prover.py) works beside the loop, and reports a verdict only when it changes: at rest proofs cost the
loop nothing. Until the first verdict on each path the agent has not converged.

The path of an unreachable member stays here when no route uses it any more, because another path is used in its place:
it is probed on, and its routes come back by its proof. It goes once a path in use leads to the same address.

Refuses to know: when and how a path is probed (core/proof).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from bgpctl.core.fabric.path_mtu import LEAST_BYTES, Sizes
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.replacing import replace
from bgpctl.core.proof.note import Difference
from bgpctl.core.proof.paths import MemberPath, PathKey
from bgpctl.core.proof.verdict import BROKEN, Proof, Verdict
from bgpctl.core.trace.firewall import Stop


class PathVerdict(NamedTuple):
    """A verdict on a path."""

    path: MemberPath
    proof: Proof


class KnownPath(NamedTuple):
    """A path with the last verdict on it; None before the first. `used`: a next hop in the kernel takes it."""

    path: MemberPath
    proof: Proof | None
    used: bool = True

    @property
    def verdict(self) -> Verdict:
        """The last one."""
        return self.proof.verdict if self.proof else Verdict.ASKED


Known: TypeAlias = Mapping[PathKey, KnownPath]


def is_limited(item: KnownPath) -> bool:
    """True of a narrow path whose size is known, and of use to senders."""
    passes_bytes = item.proof.passes_bytes if item.proof else 0
    return item.verdict is Verdict.NARROW and passes_bytes >= LEAST_BYTES[item.path.probe.remote.version]


@dataclass(frozen=True, slots=True)
class Proofs:
    """
    Attributes:
        is_on: a prover is there.
        known: the paths by their keys.
        paths: the same paths, for the prover.
        is_asking: a path in use has no verdict yet.
        is_broken: packets by a path in use are known to be lost, and no MTU of the routes helps.
        is_narrow: large packets by a path in use are known to be lost, and of which size is known.
        path_mtus: by link and address, the MTU of each path on which there was a verdict; 0 where that is the link's.
        found_mtus: those of the routes in the kernel when it was first observed, by the ids of their next hops.
        stops: chains of other programs that end packets of workloads.
        differences: the members that have another configuration than this node.
        unreachable: the addresses of members of which no path is proven, and one is unreachable.
    """

    is_on: bool = False
    known: Known = field(default_factory=dict)
    paths: tuple[MemberPath, ...] = ()
    is_asking: bool = False
    is_broken: bool = False
    is_narrow: bool = False
    path_mtus: Sizes = field(default_factory=dict)
    found_mtus: Mapping[int, int] = field(default_factory=dict)
    unreachable: frozenset[Address] = frozenset()
    differences: tuple[Difference, ...] = ()
    stops: tuple[Stop, ...] = ()

    def with_paths(self, wanted: Iterable[MemberPath], has_address: Callable[[str, Address], bool]) -> Proofs:
        """
        These are the paths in use; what is known of a path that stays is kept. An unreachable one that is not used
        stays while its member has the address (`has_address`) and no path in use leads there, which is probed instead.
        """
        if not self.is_on:
            return self
        found = {path.key: self._of(path) for path in wanted}
        in_use = {item.path.probe.remote for item in found.values()}
        kept = {
            key: item._replace(used=False)
            for key, item in self.known.items()
            if item.verdict is Verdict.UNREACHABLE
            and item.path.probe.remote not in in_use
            and has_address(item.path.member, item.path.probe.remote)
        }
        return self._with({**found, **kept})

    def _of(self, path: MemberPath) -> KnownPath:
        known = self.known.get(path.key)
        return KnownPath(path, known.proof) if known and known.path == path else KnownPath(path, None)

    def with_verdicts(self, verdicts: Iterable[PathVerdict]) -> Proofs:
        """New verdicts; one on a path that is another by now is none. A path that is not used goes with its proof."""
        known = dict(self.known)
        for path, proof in verdicts:
            item = known.get(path.key)
            if item is None or item.path != path:
                continue
            known[path.key] = item._replace(proof=proof)
            if not item.used and proof.verdict is not Verdict.UNREACHABLE:
                del known[path.key]
        return self._with(known)

    def _with(self, known: Known) -> Proofs:
        if known == self.known:
            return self
        paths = tuple(item.path for item in known.values())
        used = [item.verdict for item in known.values() if item.used]
        unreachable = frozenset(_unreachable(known.values()))
        path_mtus = dict(self._sizes(known.values()))
        return replace(
            self,
            known=known,
            paths=self.paths if paths == self.paths else paths,
            is_asking=Verdict.ASKED in used,
            is_broken=any(item.used and item.verdict in BROKEN and not is_limited(item) for item in known.values()),
            is_narrow=any(item.used and is_limited(item) for item in known.values()),
            path_mtus=self.path_mtus if path_mtus == self.path_mtus else path_mtus,
            unreachable=self.unreachable if unreachable == self.unreachable else unreachable,
        )

    def _sizes(self, known: Iterable[KnownPath]) -> Iterator[tuple[tuple[str, Address], int]]:
        """The MTU of each path. One that is lost, or that is searched anew, keeps what was known of it."""
        for item in known:
            link = item.path.probe.hop.link, item.path.probe.remote
            if is_limited(item) and item.proof:
                yield link, item.proof.passes_bytes
            elif item.verdict is Verdict.PROVEN:
                yield link, 0
            elif link in self.path_mtus:
                yield link, self.path_mtus[link]

    def is_proven(self, remote: Address) -> bool:
        """True if a path to the member with this address is proven, and none is broken."""
        verdicts = {item.verdict for item in self.known.values() if item.path.probe.remote == remote}
        return verdicts == {Verdict.PROVEN}

    def of_member(self, name: str) -> tuple[KnownPath, ...]:
        """The paths to a member."""
        return tuple(item for item in self.known.values() if item.path.member == name)


def _unreachable(known: Iterable[KnownPath]) -> Iterator[Address]:
    verdicts: dict[Address, set[Verdict]] = {}
    for item in known:
        verdicts.setdefault(item.path.probe.remote, set()).add(item.verdict)
    for remote, found in verdicts.items():
        if Verdict.UNREACHABLE in found and Verdict.PROVEN not in found:
            yield remote
