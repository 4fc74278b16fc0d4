"""
A packet that leaves by a path of which the agent's probes are lost, and the cause that its node knows.

A neighbour that does not answer is the narrower cause of the two: then nothing was sent at all.

Refuses to know: how paths are probed (core/proof), which kernels the packet meets later.
"""

from __future__ import annotations

from typing import Final

from bgpctl.core.trace.snapshot import LostPath, Neighbour, Snapshot
from bgpctl.core.trace.steps import Break, Cause, Step, StepCode

_SILENT: Final = frozenset({Neighbour.ASKED, Neighbour.FAILED})


def loss(seen: Snapshot, step: Step) -> Cause | None:
    """Why the packet is lost behind this step; None if nothing is known of its path."""
    if step.code not in (StepCode.ENCAPSULATED, StepCode.LEAVES) or step.gateway is None:
        return None
    found = next((item for item in seen.lost if (item.link, item.remote) == (step.link, step.gateway)), None)
    if found is None:
        return None
    size_bytes = step.packet.inner.size_bytes if step.packet.inner else step.packet.size_bytes
    if size_bytes <= found.passes_bytes:
        return None
    return (None if found.passes_bytes else _silence(seen, found)) or _lost(found, step, size_bytes)


def _silence(seen: Snapshot, found: LostPath) -> Cause | None:
    beside = seen.links_beside(found.remote)
    for link in beside or (found.link,):
        if seen.neighbours.get((link, found.remote)) in _SILENT:
            code = Break.NEIGHBOUR_SILENT if beside else Break.NOT_ON_LINK
            return Cause(code, found.remote, link)
    return None


def _lost(found: LostPath, step: Step, size_bytes: int) -> Cause:
    """With the numbers of the packets on the underlay, which a firewall compares."""
    if found.passes_bytes:
        numbers = (("size", size_bytes), ("mtu", found.passes_bytes))
        return Cause(Break.NARROW_PATH, found.remote, found.link, numbers)
    port = step.packet.ports[1] if step.packet.ports else 0
    outer = (("protocol", step.packet.protocol), ("port", port)) if step.packet.inner else ()
    return Cause(Break.LOST_PATH, found.remote, found.link, outer)
