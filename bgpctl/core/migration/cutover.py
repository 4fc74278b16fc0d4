"""
Cutover: a next hop moves to its wanted link at once, but only after a probe by the new path was answered.

All prefixes of a pool behind one member share one next-hop object, and the kernel replaces it in one message
(RTM_NEWNEXTHOP with NLM_F_REPLACE): traffic takes the old link for one packet and the new one for the next. So the
only question is when. A next hop is held back while one of three things is true:

- The path is not proven. The member may read the new cluster file later than this node; until then it has no device
  to receive by, and drops or refuses what arrives. Routers in between may drop the new encapsulation altogether.
- The member refuses. A proof shows what its kernel accepts at this moment, perhaps by a device that is about to go;
  an announced statement or the cluster file may forbid what the kernel accepts by chance. A statement never
  permits: it proves nothing about the underlay.
- It moves to a tunnel by which this node still sends from a former address, as the proof is for the wanted address
  alone.

Next hops to other routers than members move at once.

Refuses to know: which link is wanted and why, what happens to the old one (drain.py).
"""

from __future__ import annotations

from collections.abc import Collection

from bgpctl.core.bgp.encap_community import AcceptedTunnels, refusal
from bgpctl.core.cluster.encapsulation import DIRECT
from bgpctl.core.migration.probe_choice import is_proven
from bgpctl.core.migration.situation import HeldNextHop, PendingMember, Situation
from bgpctl.core.net.objects import PROTOCOL, NextHop


def held_next_hops(situation: Situation, waiting_links: Collection[str]) -> tuple[HeldNextHop, ...]:
    """Next hops that do not move yet; by `waiting_links` this node does not send from the wanted address yet."""
    wanted = {hop.id: hop for hop in situation.member_next_hops}
    moving = (
        HeldNextHop(hop, wanted[hop.id])
        for hop in sorted(situation.observed.next_hops, key=_id)
        if hop.protocol == PROTOCOL and hop.id in wanted and hop.link != wanted[hop.id].link
    )
    return tuple(pair for pair in moving if _is_held(situation, pair.wanted, waiting_links))


def _id(hop: NextHop) -> int:
    return hop.id


def _is_held(situation: Situation, wanted: NextHop, waiting_links: Collection[str]) -> bool:
    if wanted.link in waiting_links or not is_proven(situation, wanted):
        return True
    return _refusal(situation, wanted) is not None


def _refusal(situation: Situation, wanted: NextHop) -> AcceptedTunnels | None:
    """The statement that forbids the encapsulation of the next hop; packets without one cannot be refused."""
    encapsulation, remote = situation.encapsulation_of(wanted), situation.remote_of(wanted)
    if remote is None or encapsulation is None or encapsulation == DIRECT:
        return None
    return refusal(situation.members[remote], encapsulation, situation.advertised, remote.version)


def pending_cutover(situation: Situation, held: HeldNextHop) -> PendingMember:
    """The member that has to answer, or to accept, before its next hop moves."""
    name = situation.member_name(held.wanted)
    return PendingMember(name, held.present.link, held.wanted.link, _refusal(situation, held.wanted))
