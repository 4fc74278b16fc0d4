"""The words for what happens: events and commands, one line each.

Refuses to know: when it happened, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias, assert_never

from bgpctl.agent import words
from bgpctl.core.agent.events import (
    Applied,
    Apply,
    Command,
    Configure,
    DrainRequested,
    Event,
    IntentLoaded,
    IntentRejected,
    KernelChanged,
    KernelLost,
    Observe,
    Observed,
    PeerRequested,
    Probed,
    RefreshRequested,
    SendProbes,
    Speak,
    WakeAt,
    Woken,
)
from bgpctl.core.bgp import speaker
from bgpctl.core.net.addresses import Address

_SHOWN: Final = 3

_FromOperator: TypeAlias = IntentLoaded | IntentRejected | DrainRequested | PeerRequested | RefreshRequested
Names: TypeAlias = Mapping[Address, str]


def event(item: Event, names: Names) -> str:
    """An event in words. `names` has the peers'."""
    if isinstance(item, speaker.PeerEvent):
        return f"{names.get(item.peer, str(item.peer))}: {_from_peer(item)}"
    if isinstance(item, speaker.SpeakerAttached | speaker.SpeakerDetached | speaker.SpeakerConfigRejected):
        return _from_speaker(item)
    if isinstance(item, _FromOperator):
        return _from_operator(item, names)
    return _from_kernel(item)


def _from_operator(item: _FromOperator, names: Names) -> str:
    match item:
        case IntentLoaded():
            return f"cluster file loaded: {len(item.intent.nodes)} nodes, {len(item.intent.pools)} pools"
        case IntentRejected():
            return f"cluster file refused: {', '.join(map(str, item.problems[:_SHOWN]))}"
        case DrainRequested():
            return "asked to drain" if item.on else "asked to undrain"
        case PeerRequested():
            return f"asked to bring {names.get(item.peer, str(item.peer))} {'up' if item.up else 'down'}"
        case RefreshRequested():
            return f"asked to refresh {names.get(item.peer, str(item.peer))}"
        case _:
            assert_never(item)


def _from_kernel(item: KernelChanged | KernelLost | Observed | Applied | Probed | Woken) -> str:
    match item:
        case KernelChanged():
            return "somebody changed the kernel"
        case KernelLost():
            return f"kernel lost: {item.reason}"
        case Observed():
            return f"kernel seen: {item.dataplane.size} objects"
        case Applied():
            return "operations done" + _failed(item)
        case Probed():
            return f"ways tried: {len(item.answers)} answers"
        case Woken():
            return "it is time"
        case _:
            assert_never(item)


def _from_speaker(item: speaker.SpeakerAttached | speaker.SpeakerDetached | speaker.SpeakerConfigRejected) -> str:
    match item:
        case speaker.SpeakerAttached():
            return f"ExaBGP answers: {len(item.established)} sessions are up"
        case speaker.SpeakerDetached():
            return f"ExaBGP is away: {item.reason}"
        case speaker.SpeakerConfigRejected():
            return f"ExaBGP refuses its configuration: {item.reason}"
        case _:
            assert_never(item)


def _failed(item: Applied) -> str:
    return "".join(f"; {words.failure(failure)}" for failure in item.failures[:_SHOWN])


def _from_peer(item: speaker.PeerEvent) -> str:
    match item:
        case speaker.SessionOpened():
            return f"OPEN from AS {item.asn}"
        case speaker.SessionUp():
            return "session up"
        case speaker.SessionDown():
            return f"session down: {item.reason}"
        case speaker.Update():
            announced = ", ".join(str(path.prefix) for path in item.announced[:_SHOWN])
            withdrawn = ", ".join(map(str, item.withdrawn[:_SHOWN]))
            parts = [
                f"tells {len(item.announced)} ({announced})" if announced else "",
                f"takes back {len(item.withdrawn)} ({withdrawn})" if withdrawn else "",
            ]
            return ", ".join(filter(None, parts)) or "an empty UPDATE"
        case speaker.EndOfRib():
            return "has told all"
        case speaker.RefreshBegun():
            return "begins to repeat all"
        case speaker.RefreshEnded():
            return "has repeated all"
        case _:
            assert_never(item)


def command(item: Command, at_s: float) -> str:
    """A command in words, given at `at_s`."""
    match item:
        case Observe():
            return "look"
        case Apply():
            first = ", ".join(words.operation(op) for op in item.ops[:_SHOWN])
            more = f" and {len(item.ops) - _SHOWN} more" if len(item.ops) > _SHOWN else ""
            return f"do {first}{more}"
        case Configure():
            return f"have {len(item.config.sessions)} sessions" if item.config else "end BGP"
        case Speak():
            return f"tell peers {len(item.commands)} things"
        case SendProbes():
            return f"try {len(item.probes)} ways"
        case WakeAt():
            return f"wake in {item.at_s - at_s:.1f} s"
        case _:
            assert_never(item)
