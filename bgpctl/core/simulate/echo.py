"""
Probes in a simulated cluster: whether an echo request arrives by the kernels as they are, and by which link its answer
comes back.

Refuses to know: which probes are sent, and what follows from a reply.
"""

from __future__ import annotations

from bgpctl.core.cluster.encapsulation import DIRECT
from bgpctl.core.fabric.encapsulations import behaviour_of
from bgpctl.core.migration.probes import Probe, ProbeReply
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Route
from bgpctl.core.proof.paths import MemberPath
from bgpctl.core.proof.verdict import Proof, Verdict
from bgpctl.core.trace.journey import Exchange, Follower, Origin, exchange
from bgpctl.core.trace.packet import DEFAULT_BYTES, IP_IN_IP, UDP, Packet, echo_protocol
from bgpctl.core.trace.steps import Delivered, StepCode


def reply(follower: Follower, name: str, kernel: Dataplane, probe: Probe) -> ProbeReply | None:
    """The reply to a probe of the node `name`, which has this kernel; None without one."""
    found = _followed(follower, name, kernel, probe)
    if found.back is None or not isinstance(found.back.end, Delivered) or found.back.node != name:
        return None
    comes_in = StepCode.ARRIVES, StepCode.DECAPSULATED
    arrivals = [step for step in found.back.steps if step.node == name and step.code in comes_in]
    if not arrivals:
        return None  # it never left this node
    arrival = arrivals[-1]
    if arrival.code is StepCode.ARRIVES:
        return ProbeReply(probe, arrival.link)
    outer = next(step.packet for step in reversed(found.back.steps) if step.packet.inner is not None)
    return ProbeReply(probe, arrival.link, outer.source)


def proof(
    follower: Follower, name: str, kernel: Dataplane, path: MemberPath, before: Proof | None, at_s: float
) -> Proof:
    """The verdict of the prover on a path, at once: by a packet of full size, then a small one, then a bare one."""
    if reply(follower, name, kernel, path.sized(path.full_bytes)):
        return Proof(Verdict.PROVEN, at_s)
    if reply(follower, name, kernel, path.probe):
        return Proof(Verdict.NARROW, at_s)
    bare = path.is_encapsulated and reply(follower, name, kernel, path.bare) is not None
    known = bare or (before is not None and before.verdict is not Verdict.UNPROVEN)
    return Proof(Verdict.UNREACHABLE if known else Verdict.UNPROVEN, at_s, answers_bare=bare)


def _followed(follower: Follower, name: str, kernel: Dataplane, probe: Probe) -> Exchange:
    inner = Packet(
        probe.source, probe.target, probe.size_bytes or DEFAULT_BYTES, protocol=echo_protocol(probe.target.version)
    )
    origin = Origin(name, None)
    if probe.encapsulation == DIRECT:
        return exchange(follower if probe.by_routes else _by_its_hop(follower, name, kernel, probe), inner, origin)
    link = kernel.link(probe.hop.link)
    wire = tuple(sorted(link.kind.wire().items())) if link else ()
    outer = Packet(
        probe.local,
        probe.remote,
        inner.size_bytes + behaviour_of(probe.encapsulation).overhead_bytes(probe.remote.version),
        protocol=UDP if wire else IP_IN_IP,
        ports=(0, dict(wire)["port"]) if wire else None,
        inner=inner,
        wire=wire,
    )
    return exchange(follower, outer, origin)


def _by_its_hop(follower: Follower, name: str, kernel: Dataplane, probe: Probe) -> Follower:
    """As if the kernel had a route for the target by the next hop alone."""
    route = Route(probe.target.host_prefix, gateway=probe.hop.gateway, link=probe.hop.link, metric=0, protocol=0)
    return follower.with_dataplane(name, kernel.put([route]))
