"""
Everything that one agent knows, as one value made of parts, and the phase that follows from it.

Each part is replaced by its own named transitions (intent.py, bgp.py, kernel_view.py, migration.py, attempts.py). An
event leaves the parts that it does not concern the very same objects, so `is` proves that nothing in them has changed.

Refuses to know: the event that led to the state, and the commands that follow.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from bgpctl.core.agent.attempts import Attempts
from bgpctl.core.agent.bgp import Bgp
from bgpctl.core.agent.intent import OperatorIntent
from bgpctl.core.agent.kernel_view import KernelView
from bgpctl.core.agent.memo import Memo
from bgpctl.core.agent.migration import Migration
from bgpctl.core.agent.proofs import Proofs
from bgpctl.core.agent.services import Services
from bgpctl.core.net.replacing import replace
from bgpctl.core.services.health import Verdict


class Phase(enum.Enum):
    """The condition of the agent as a whole."""

    STARTING = "starting"
    LEARNING = "learning"
    CONVERGING = "converging"
    MIGRATING = "migrating"
    DEGRADED = "degraded"
    CONVERGED = "converged"


@dataclass(frozen=True, slots=True)
class State:
    """
    Attributes:
        node: the name of this agent's node.
        intent: the operator's configuration with the allocations.
        bgp: routes received from peers, and routes announced to them.
        kernel: the objects that the kernel has, and should have.
        migration: how far a change of encapsulation is.
        proofs: the members that packets are known to reach.
        services: the verdicts on this node's instances of services.
        attempts: operations on the kernel, and those that have to wait.
        since_s: when `phase` last changed.
        selfcheck_mismatches: how often a decision differed when it was made again without the memo.
        memo: results to be taken over; nothing follows from it.
    """

    node: str
    intent: OperatorIntent = field(default_factory=OperatorIntent)
    bgp: Bgp = field(default_factory=Bgp)
    kernel: KernelView = field(default_factory=KernelView)
    migration: Migration = field(default_factory=Migration)
    proofs: Proofs = field(default_factory=Proofs)
    services: Services = field(default_factory=Services)
    attempts: Attempts = field(default_factory=Attempts)
    phase: Phase = Phase.STARTING
    since_s: float = 0.0
    selfcheck_mismatches: int = 0
    memo: Memo = field(default_factory=Memo, compare=False, repr=False)


def begin(node: str, at_s: float, *, proving: bool = False, verdicts: Iterable[Verdict] = ()) -> State:
    """
    Nothing is known yet but the `verdicts` on services that an earlier agent left. `proving`: a prover is there, and
    convergence needs its verdicts.
    """
    services = Services().with_verdicts(verdicts)
    return State(node, proofs=Proofs(is_on=proving), services=services, since_s=at_s)


_PHASES: Final[tuple[tuple[Phase, Callable[[State], bool]], ...]] = (
    (Phase.DEGRADED, lambda state: bool(state.kernel.error)),
    (Phase.STARTING, lambda state: state.intent.in_force is None or state.kernel.desired is None),
    (Phase.DEGRADED, lambda state: bool(state.attempts.failures or state.attempts.persistent_conflicts)),
    (Phase.DEGRADED, lambda state: state.bgp.lost_a_peer or state.kernel.misses_own_address),
    (Phase.LEARNING, lambda state: state.kernel.is_pruning_held),
    (Phase.CONVERGING, lambda state: bool(state.kernel.pending.ops)),
    (Phase.MIGRATING, lambda state: state.migration.in_progress),
    (Phase.DEGRADED, lambda state: bool(state.kernel.unmet or state.bgp.peers_down or state.bgp.rejection)),
    (Phase.DEGRADED, lambda state: bool(state.kernel.shadows)),
    (Phase.DEGRADED, lambda state: state.proofs.is_broken or bool(state.proofs.differences)),
    (Phase.DEGRADED, lambda state: state.proofs.is_narrow and not state.intent.discovers_mtu),
    (Phase.DEGRADED, lambda state: bool(state.proofs.stops)),
    (Phase.CONVERGING, lambda state: state.proofs.is_asking),
    (Phase.CONVERGED, lambda _: True),
)
"""The first rule that applies decides. What is lost counts for more than what is not known yet."""


def with_phase(state: State, at_s: float) -> State:
    """The state with the phase that follows from it."""
    phase = _phase(state)
    return state if phase is state.phase else replace(state, phase=phase, since_s=at_s)


def _phase(state: State) -> Phase:
    for phase, applies in _PHASES:
        if applies(state):
            return phase
    raise AssertionError("the last rule applies always")
