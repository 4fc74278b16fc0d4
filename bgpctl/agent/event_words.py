"""Events and commands in words, one line each.

Refuses to know: when an event happened, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias, assert_never

from bgpctl.agent import bgp_words, proof_words, words
from bgpctl.core.agent.events import (
    Applied,
    Apply,
    Command,
    ConfigurationsCompared,
    Configure,
    DrainRequested,
    Event,
    ForwardingJudged,
    IntentLoaded,
    IntentRejected,
    KernelChanged,
    KernelEvent,
    KernelLost,
    MemberEvent,
    MirrorMismatch,
    Observe,
    Observed,
    OwnEvent,
    PathsJudged,
    PeerRequested,
    Probed,
    RefreshRequested,
    SelfCheckMismatch,
    SendProbes,
    ServicesJudged,
    Speak,
    WakeAt,
    Woken,
)
from bgpctl.core.bgp import speaker
from bgpctl.core.bgp.bfd import BfdChanged
from bgpctl.core.cluster.count import count
from bgpctl.core.net.addresses import Address

_SHOWN: Final = 3

_FromOperator: TypeAlias = IntentLoaded | IntentRejected | DrainRequested | PeerRequested | RefreshRequested
_FromSpeaker: TypeAlias = (
    speaker.SpeakerAttached | speaker.SpeakerDetached | speaker.SpeakerConfigRejected | speaker.PeerConnecting
)
Names: TypeAlias = Mapping[Address, str]


def event(item: Event, names: Names) -> str:
    """An event in words. `names` has the peers'."""
    if isinstance(item, speaker.PeerEvent):
        return f"{names.get(item.peer, str(item.peer))}: {_from_peer(item)}"
    if isinstance(item, _FromSpeaker):
        return _from_speaker(item)
    if isinstance(item, _FromOperator):
        return _from_operator(item, names)
    if isinstance(item, MemberEvent):
        return _from_members(item)
    return _from_kernel(item)


def _from_operator(item: _FromOperator, names: Names) -> str:
    match item:
        case IntentLoaded():
            return (
                f"cluster file loaded: {count(len(item.intent.nodes), 'node')}, {count(len(item.intent.pools), 'pool')}"
            )
        case IntentRejected():
            return f"cluster file rejected: {', '.join(map(str, item.problems[:_SHOWN]))}"
        case DrainRequested():
            return "drain requested" if item.on else "undrain requested"
        case PeerRequested():
            return f"peer {'up' if item.up else 'down'} requested: {names.get(item.peer, str(item.peer))}"
        case RefreshRequested():
            return f"route refresh requested: {names.get(item.peer, str(item.peer))}"
        case _:
            assert_never(item)


def _from_kernel(item: KernelEvent | OwnEvent) -> str:
    match item:
        case KernelChanged():
            return "another program changed kernel state"
        case KernelLost():
            return f"kernel state unavailable: {item.reason}"
        case MirrorMismatch(mismatch):
            return words.mismatch(mismatch)
        case Observed():
            return f"kernel state read: {count(item.dataplane.size, 'object')}"
        case Applied():
            return "operations applied" + _failed(item)
        case Woken():
            return "timer expired"
        case ServicesJudged(verdicts):
            return ", ".join(words.service(item) for item in verdicts)
        case SelfCheckMismatch(parts):
            return words.selfcheck(parts)
        case _:
            assert_never(item)


def _from_members(item: MemberEvent) -> str:
    match item:
        case Probed():
            return f"probes sent: {count(len(item.answers), 'reply', 'replies')}"
        case PathsJudged(verdicts):
            return ", ".join(proof_words.verdict(item) for item in verdicts[:_SHOWN]) + _more(len(verdicts))
        case ConfigurationsCompared(differences):
            return "; ".join(proof_words.differences(differences)) or "all members have this configuration"
        case ForwardingJudged(stops):
            return "; ".join(item.text for item in stops) or "no chain ends packets of workloads"
        case _:
            assert_never(item)


def _more(number: int) -> str:
    return f" and {number - _SHOWN} more" if number > _SHOWN else ""


def _from_speaker(item: _FromSpeaker) -> str:
    match item:
        case speaker.SpeakerAttached():
            return f"ExaBGP attached: {count(len(item.established), 'session')} established"
        case speaker.SpeakerDetached():
            return f"ExaBGP detached: {item.reason}"
        case speaker.SpeakerConfigRejected():
            return f"ExaBGP rejected its configuration: {item.reason}"
        case speaker.PeerConnecting():
            return f"{item.peer}, of a range, connects from AS {item.asn}"
        case _:
            assert_never(item)


def _failed(item: Applied) -> str:
    return "".join(f"; {words.failure(failure)}" for failure in item.failures[:_SHOWN])


def _from_peer(item: speaker.PeerEvent) -> str:
    match item:
        case speaker.SessionOpened():
            return f"OPEN from AS {item.asn}"
        case speaker.SessionUp():
            return "session established"
        case speaker.SessionDown():
            return f"session down: {item.reason}"
        case speaker.Update():
            announced = ", ".join(str(path.prefix) for path in item.announced[:_SHOWN])
            gone = (*item.withdrawn, *(prefix for prefix, _ in item.withdrawn_paths))
            withdrawn = ", ".join(map(str, gone[:_SHOWN]))
            parts = [
                f"announces {count(len(item.announced), 'prefix', 'prefixes')} ({announced})" if announced else "",
                f"withdraws {count(len(gone), 'prefix', 'prefixes')} ({withdrawn})" if withdrawn else "",
            ]
            return ", ".join(filter(None, parts)) or "empty UPDATE"
        case speaker.Malformed():
            return bgp_words.malformed(item)
        case speaker.EndOfRib():
            return "End-of-RIB received"
        case speaker.RefreshBegun():
            return "route refresh started (BoRR)"
        case speaker.RefreshEnded():
            return "route refresh complete (EoRR)"
        case BfdChanged(_, report):
            return f"BFD {bgp_words.bfd_state(report.state)}" if report else "BFD is not known"
        case _:
            assert_never(item)


def command(item: Command, at_s: float) -> str:
    """A command in words, given at `at_s`."""
    match item:
        case Observe():
            return "read kernel state"
        case Apply():
            first = ", ".join(words.operation(op) for op in item.ops[:_SHOWN])
            more = f" and {len(item.ops) - _SHOWN} more" if len(item.ops) > _SHOWN else ""
            return f"apply {first}{more}"
        case Configure():
            return f"configure {count(len(item.config.sessions), 'session')}" if item.config else "stop ExaBGP"
        case Speak():
            return f"send {count(len(item.commands), 'command')} to ExaBGP"
        case SendProbes():
            return f"send {count(len(item.probes), 'probe')}"
        case WakeAt():
            return f"wake in {item.at_s - at_s:.1f} s"
        case _:
            assert_never(item)
