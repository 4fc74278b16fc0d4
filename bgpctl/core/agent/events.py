"""
The agent's inputs, events, and its outputs, commands. Values only.

Refuses to know: what follows from an event, and how a command is carried out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from bgpctl.core.agent.proofs import PathVerdict
from bgpctl.core.bgp import speaker
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Problem
from bgpctl.core.dataplane.drift import Mismatch
from bgpctl.core.dataplane.effects import Failure, Op
from bgpctl.core.migration.probes import Probe, ProbeReply
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.proof.note import Difference
from bgpctl.core.services.health import Verdict
from bgpctl.core.trace.firewall import Stop

# Events --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IntentLoaded:
    """The operator's files are good."""

    intent: Intent


@dataclass(frozen=True, slots=True)
class IntentRejected:
    """The operator's files are bad; the last good intent stays in force."""

    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class KernelChanged:
    """Another program changed the dataplane, or notifications were lost."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A whole observation of the dataplane."""

    dataplane: Dataplane


@dataclass(frozen=True, slots=True)
class MirrorMismatch:
    """A dump of the kernel differed from the mirror that follows its notifications. It has replaced the mirror."""

    mismatch: Mismatch


@dataclass(frozen=True, slots=True)
class KernelLost:
    """The kernel can neither be read nor changed now; of operations under way any may have been done."""

    reason: str


@dataclass(frozen=True, slots=True)
class Applied:
    """The operations were attempted; these failed."""

    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Woken:
    """The time that WakeAt named has come."""


@dataclass(frozen=True, slots=True)
class Probed:
    """The probes were sent; these were answered."""

    answers: tuple[ProbeReply, ...]


@dataclass(frozen=True, slots=True)
class PathsJudged:
    """The verdicts on paths to members that have changed."""

    verdicts: tuple[PathVerdict, ...]


@dataclass(frozen=True, slots=True)
class ConfigurationsCompared:
    """The members that have another configuration than this node are others than before."""

    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class ForwardingJudged:
    """The chains of other programs that end packets of workloads are others than before."""

    stops: tuple[Stop, ...]


@dataclass(frozen=True, slots=True)
class ServicesJudged:
    """Instances of services that this node has are in another status than before."""

    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class SelfCheckMismatch:
    """A decision was made again without what had been taken over, and these parts of its result were others."""

    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """The operator wants traffic to leave this node before it goes (RFC 8326), or to come back."""

    on: bool


@dataclass(frozen=True, slots=True)
class PeerRequested:
    """The operator wants the session with a peer down, or up again."""

    peer: Address
    up: bool


@dataclass(frozen=True, slots=True)
class RefreshRequested:
    """The operator wants a route refresh from a peer (RFC 2918)."""

    peer: Address


OperatorEvent: TypeAlias = IntentLoaded | IntentRejected | DrainRequested | PeerRequested | RefreshRequested
"""From the cluster files and the command line."""

KernelEvent: TypeAlias = KernelChanged | Observed | MirrorMismatch | KernelLost | Applied
"""From the kernel."""

MemberEvent: TypeAlias = Probed | PathsJudged | ConfigurationsCompared | ForwardingJudged
"""From packets to and from members, and from what stands in their way here."""

OwnEvent: TypeAlias = Woken | ServicesJudged | SelfCheckMismatch
"""From the agent itself, and its checks."""

Event: TypeAlias = OperatorEvent | KernelEvent | MemberEvent | speaker.SpeakerEvent | OwnEvent


# Commands ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Observe:
    """Observe the kernel once all events at hand are handled; Observed or KernelLost answers."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Carry the operations out in order; Applied or KernelLost answers."""

    ops: Sequence[Op]


@dataclass(frozen=True, slots=True)
class Configure:
    """Run the BGP speaker with this configuration; None: no BGP speaker at all."""

    config: speaker.SpeakerConfig | None


@dataclass(frozen=True, slots=True)
class Speak:
    """Pass these to the BGP speaker in order."""

    commands: tuple[speaker.SpeakerCommand, ...]


@dataclass(frozen=True, slots=True)
class SendProbes:
    """Send these probes and wait a moment for their replies; Probed answers, and nothing waits for it."""

    probes: tuple[Probe, ...]


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send Woken at this time; a later WakeAt replaces an earlier one."""

    at_s: float


Command: TypeAlias = Observe | Apply | Configure | Speak | SendProbes | WakeAt
