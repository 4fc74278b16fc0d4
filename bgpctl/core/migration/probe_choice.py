"""
The probe that shows something about a next hop, and the conclusion from its results.

No probe can be made where this node has no address to send it from (no block in the pool), or where the other end's
MAC is not known yet. Then nothing is proven, and nothing that depends on a proof happens.

Refuses to know: the consequences of a proven path.
"""

from __future__ import annotations

from bgpctl.core.cluster.encapsulation import DIRECT, Encapsulation
from bgpctl.core.fabric.encapsulations import behaviour_of
from bgpctl.core.fabric.protocol import ProbeFrame
from bgpctl.core.migration.probes import Probe
from bgpctl.core.migration.situation import Situation
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import NextHop


def forward_probe(situation: Situation, hop: NextHop) -> Probe | None:
    """A probe from our underlay address: the reply depends on the path to the member alone."""
    return _probe(situation, hop, _underlay_address(situation, hop))


def return_probe(situation: Situation, hop: NextHop) -> Probe | None:
    """A probe from an address of our block in this pool: the reply comes as the member's traffic does."""
    return _probe(situation, hop, situation.address_in_pool(situation.node, hop))


def is_proven(situation: Situation, hop: NextHop) -> bool:
    """True if packets sent by this next hop arrive."""
    probe = forward_probe(situation, hop)
    return probe is not None and situation.probe_results.proves(probe.path, situation.at_s)


def is_proven_with_all(situation: Situation, hop: NextHop) -> bool:
    """True if packets sent by this next hop arrived in the same round as those sent by the others."""
    probe = forward_probe(situation, hop)
    return probe is not None and situation.probe_results.proves_with_all(probe.path, situation.at_s)


def _probe(situation: Situation, hop: NextHop, source: Address | None) -> Probe | None:
    remote, encapsulation = situation.remote_of(hop), situation.encapsulation_of(hop)
    local = _underlay_address(situation, hop)
    if remote is None or encapsulation is None or local is None or source is None:
        return None
    target = _target(situation, hop, remote, encapsulation)
    frame = _frame(situation, hop, encapsulation)
    if target is None or frame is None:
        return None
    return Probe(hop, encapsulation, local, remote, source, target, frame)


def _underlay_address(situation: Situation, hop: NextHop) -> Address | None:
    remote = situation.remote_of(hop)
    own = situation.node.underlay(remote.version) if remote else None
    return own.address if own else None


def _target(situation: Situation, hop: NextHop, remote: Address, encapsulation: Encapsulation) -> Address | None:
    """
    An address that the member answers for: its underlay address. Without encapsulation a router in between forwards by
    the pool's addresses, and may know the node but not the pool; so there it is an address of the member's block.
    """
    if encapsulation != DIRECT or hop.gateway == remote:
        return remote
    return situation.address_in_pool(situation.members[remote], hop)


def _frame(situation: Situation, hop: NextHop, encapsulation: Encapsulation) -> ProbeFrame | None:
    link = situation.desired.dataplane.link(hop.link)
    return behaviour_of(encapsulation).frame(link, situation.neighbour_macs.get((hop.link, hop.gateway)))
