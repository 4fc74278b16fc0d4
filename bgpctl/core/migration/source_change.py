"""
A node's address on the underlay changes, and with it the outer source address of all that the node sends by IPIP.

An IPIP receiver accepts packets from known outer sources only: IPIP has no authentication (RFC 2003, section 6), so
the addresses of the cluster's nodes are all that distinguishes a member's packet from an injected one. Therefore a
node that sent from its new address at once would be dropped by every member that has not read the new cluster file
yet, and a member that accepted the new address alone would drop a node that has not. The order is the same as for
devices:

1. Receive on both. A member accepts the new source in addition to the former one, which goes only after the node
   was seen to send from another address for DRAIN_S. The new address is received on as soon as it is on the link
   (Decap.also).
2. Send on one. The node itself sends from the former address until every member it sends to has answered a probe
   from the new one, all in the same round: a member that answered earlier may have been rolled back meanwhile, and
   the outer source is one setting for all of them.
3. Remove last. The former address is given up after that. Next hops that move to IPIP meanwhile wait for it: a
   probe proves the wanted source for them, and they would send from the former one.

VXLAN needs none of this: its device accepts any source, and its `local` address changes in place. With the ipip
module the kernel selects the outer source by its own route lookup (tunl0 has no local address and cannot be
configured), so there step 2 does not decide anything, and step 1 alone protects the traffic.

Refuses to know: how the sources are enforced (nftables or BPF), what else the same change of the cluster file asks
for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from bgpctl.core.migration.drain import may_still_send
from bgpctl.core.migration.probe_choice import is_proven_with_all
from bgpctl.core.migration.situation import PendingMember, Situation
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import PROTOCOL, Decap, NextHop


class SourceChange(NamedTuple):
    """
    The IPIP receiver and sender between two source addresses.

    Attributes:
        kept: the Decap until the change is complete; empty if it is the wanted one already.
        probed: next hops whose remotes have to accept the wanted source first.
        cutovers: members that keep this node at its former source.
        drains: members that may still send from a former source of theirs.
    """

    kept: tuple[Decap, ...] = ()
    probed: tuple[NextHop, ...] = ()
    cutovers: tuple[PendingMember, ...] = ()
    drains: tuple[PendingMember, ...] = ()

    @property
    def waiting_links(self) -> frozenset[str]:
        """Links by which this node does not send from the wanted source yet."""
        return frozenset(decap.link for decap in self.kept) if self.cutovers else frozenset()


class _Acceptance(NamedTuple):
    """Next hops to probe from the wanted source, and those that keep it from being used."""

    probed: tuple[NextHop, ...] = ()
    unproven: tuple[NextHop, ...] = ()


def source_change(situation: Situation) -> SourceChange:
    """The sources that IPIP accepts now, and the one that it sends from."""
    wanted, present = _only(situation.desired.dataplane.decaps), _only(situation.observed.decaps)
    if wanted is None or present is None or not _is_same_device(wanted, present):
        return SourceChange()
    acceptance = _acceptance(situation, wanted, present)
    former = sorted(set(present.sources).difference(wanted.sources))
    drains = tuple(sender for source in former for sender in _senders_from(situation, source, wanted.link))
    kept = _between(wanted, present.local if acceptance.unproven else wanted.local, former if drains else ())
    return SourceChange(
        (kept,) if kept != wanted else (),
        acceptance.probed if acceptance.unproven else (),
        _cutovers(situation, wanted, present, acceptance.unproven),
        drains,
    )


def _only(decaps: Collection[Decap]) -> Decap | None:
    return next(iter(decaps)) if len(decaps) == 1 else None


def _is_same_device(wanted: Decap, present: Decap) -> bool:
    return (wanted.link, wanted.underlay) == (present.link, present.underlay)


def _acceptance(situation: Situation, wanted: Decap, present: Decap) -> _Acceptance:
    """
    The members' acceptance of the wanted source, by next hops in use. A former source that is on the link no more
    cannot be sent from, so then no member is probed.

    Of a next hop that goes, because it leads elsewhere or no source announces its prefixes, nothing can be proven: its
    remote may not know the new address, so the source changes after it is gone.
    """
    if present.local not in wanted.also:
        return _Acceptance()
    wanted_ids = {hop.id for hop in situation.desired.dataplane.next_hops if hop.link == wanted.link}
    in_use = [hop for hop in situation.observed.next_hops if hop.link == wanted.link and hop.protocol == PROTOCOL]
    ids_in_use = {hop.id for hop in in_use}
    going = [hop for hop in sorted(in_use) if hop.id not in wanted_ids]
    probed = [hop for hop in sorted(situation.member_next_hops) if hop.link == wanted.link and hop.id in ids_in_use]
    unproven = [hop for hop in probed if not is_proven_with_all(situation, hop)]
    return _Acceptance(tuple(probed), (*going, *unproven))


def _between(wanted: Decap, local: Address, former_sources: Collection[Address]) -> Decap:
    """The wanted Decap, but sending from `local` and accepting `former_sources` as well."""
    return wanted._replace(
        local=local,
        also=tuple(address for address in wanted.own if address != local),
        sources=tuple(sorted({*wanted.sources, *former_sources})),
    )


def _cutovers(
    situation: Situation, wanted: Decap, present: Decap, unproven: Collection[NextHop]
) -> tuple[PendingMember, ...]:
    before, afterwards = f"{wanted.link} from {present.local}", f"{wanted.link} from {wanted.local}"
    return tuple(PendingMember(situation.member_name(hop), before, afterwards) for hop in unproven)


def _senders_from(situation: Situation, source: Address, link: str) -> Iterator[PendingMember]:
    """Members that may still send from a former source."""
    senders = {
        situation.member_name(hop)
        for hop in situation.member_next_hops
        if may_still_send(situation, hop, lambda path: path.source == source)
    }
    for name in sorted(senders | _members_without_next_hop(situation)):
        yield PendingMember(name, f"source {source} of {link}", "")


def _members_without_next_hop(situation: Situation) -> set[str]:
    """Members that no probe can reach, because no source announces their blocks now; they may send all the same."""
    blocks_of = situation.intent.blocks_of
    if not blocks_of(situation.node):
        return set()
    reached = {situation.member_name(hop) for hop in situation.member_next_hops}
    return {node.name for node in situation.members.values() if blocks_of(node)} - reached
