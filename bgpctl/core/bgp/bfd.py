"""
BFD (RFC 5880) as BGP sees it: which sessions have it, and the reports about it.

Refuses to know: packets, timers, and what a failure means for BGP (liveness.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from bgpctl.core.bfd.packet import Diagnostic, SessionState
from bgpctl.core.bfd.session import Intervals
from bgpctl.core.net.addresses import Address


@dataclass(frozen=True, slots=True, order=True)
class BfdOptions:
    """BFD beside one session of BGP. `multihop`: RFC 5883 in place of RFC 5881."""

    intervals: Intervals
    multihop: bool = False


@dataclass(frozen=True, slots=True)
class BfdReport:
    """
    One BFD session as it is. Times are seconds of the agent's clock.

    Attributes:
        independent: the peer's BFD does not share the fate of its control plane (the C bit).
        since_s: when `state` changed.
        failed_at_s: when it went from Up to Down, None if it is Up again, or if that was the peer's AdminDown.
        interval_us: between two packets of ours.
        detection_us: without a packet of the peer for so long it is down; 0 before the first one.
    """

    state: SessionState
    diagnostic: Diagnostic = Diagnostic.NONE
    remote_state: SessionState = SessionState.DOWN
    remote_diagnostic: Diagnostic = Diagnostic.NONE
    independent: bool = False
    since_s: float = 0.0
    failed_at_s: float | None = None
    interval_us: int = 0
    detection_us: int = 0


@dataclass(frozen=True, slots=True)
class BfdChanged:
    """Another state of BFD with a peer, or the one that was found; None: it is not known now."""

    peer: Address
    report: BfdReport | None
