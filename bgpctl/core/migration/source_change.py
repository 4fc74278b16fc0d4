"""
A node's address on the underlay changes, and with it the outer source address of all that the node sends by a tunnel.

A receiver accepts packets from known outer sources only: neither IPIP (RFC 2003, section 6) nor VXLAN (RFC 7348,
section 7) has authentication, so the addresses of the cluster's nodes are all that distinguishes a member's packet from
an injected one. Therefore a node that sent from its new address at once would be dropped by every member that has not
read the new cluster file yet, and a member that accepted the new address alone would drop a node that has not. The
order is the same as for devices:

1. Receive on both. A member accepts the new source in addition to the former one, which goes only after the node
   was seen to send from another address for DRAIN_S. The new address is received on as soon as it is on the link
   (Decap.also).
2. Send on one. The node itself sends from the former address until every member it sends to has answered a probe
   from the new one, all in the same round: a member that answered earlier may have been rolled back meanwhile, and
   the outer source is one setting for all of them.
3. Remove last. The former address is given up after that. Next hops that move to the tunnel meanwhile wait for it: a
   probe proves the wanted source for them, and they would send from the former one.

Each tunnel device changes on its own. The outer source of a VXLAN device is an attribute of the link, which is kept
with it. With the ipip module the kernel selects the outer source by its own route lookup (tunl0 has no local address
and cannot be configured), so there step 2 does not decide anything, and step 1 alone protects the traffic.

Refuses to know: how the sources are enforced (nftables or BPF), what else the same change of the cluster file asks
for.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator
from dataclasses import replace
from itertools import repeat
from operator import contains
from typing import NamedTuple, cast

from bgpctl.core.migration.drain import may_still_send
from bgpctl.core.migration.probe_choice import is_proven_with_all
from bgpctl.core.migration.situation import PendingMember, Situation
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import PROTOCOL, Decap, KernelObject, Link, NextHop


class SourceChange(NamedTuple):
    """
    The receivers and senders of tunnels between two source addresses.

    Attributes:
        kept: the Decaps, and the links that have a source, until the change is complete; none of those that are the
            wanted ones already.
        probed: next hops whose remotes have to accept the wanted source first.
        cutovers: members that keep this node at its former source.
        drains: members that may still send from a former source of theirs.
        waiting_links: links by which this node does not send from the wanted address yet.
    """

    kept: tuple[KernelObject, ...] = ()
    probed: tuple[NextHop, ...] = ()
    cutovers: tuple[PendingMember, ...] = ()
    drains: tuple[PendingMember, ...] = ()
    waiting_links: frozenset[str] = frozenset()


class _Acceptance(NamedTuple):
    """Next hops to probe from the wanted source, and those that keep it from being used."""

    probed: tuple[NextHop, ...] = ()
    unproven: tuple[NextHop, ...] = ()


def source_change(situation: Situation) -> SourceChange:
    """The sources that tunnels accept now, and the one that each sends from."""
    wanted = sorted(situation.desired.dataplane.decaps)
    changes = [change for decap in wanted if (change := _of_device(situation, decap))]
    return SourceChange(
        tuple(obj for change in changes for obj in change.kept),
        tuple(hop for change in changes for hop in change.probed),
        tuple(member for change in changes for member in change.cutovers),
        tuple(member for change in changes for member in change.drains),
        frozenset(link for change in changes for link in change.waiting_links),
    )


def is_source_changing(wanted: Dataplane, observed: Dataplane) -> bool:
    """True if a tunnel that is there is to accept a source no longer, or to send from another one."""
    present = {decap.link: decap for decap in observed.decaps}
    if not all(_accepts_as_well(decap, present.get(decap.link, decap)) for decap in wanted.decaps):
        return True
    sources = {link.name: link.kind.sends_from() for link in observed.links if link.owned}
    return any(sources.get(link.name, link.kind.sends_from()) != link.kind.sends_from() for link in wanted.links)


def _accepts_as_well(wanted: Decap, present: Decap) -> bool:
    """True if both are the same but for sources that are new, which nothing waits for."""
    if wanted.sources == present.sources:
        return wanted == present
    # Both are sorted, so one pass over the wanted sources meets all present ones that are among them.
    ahead = cast(Container[Address], iter(wanted.sources))
    are_wanted = map(contains, repeat(ahead), present.sources)
    return wanted == present._replace(sources=wanted.sources) and all(are_wanted)


def _of_device(situation: Situation, wanted: Decap) -> SourceChange | None:
    present = _present(situation.observed, wanted)
    if present is None or (wanted.link, wanted.underlay) != (present.link, present.underlay):
        return None
    acceptance = _acceptance(situation, wanted, present)
    former = sorted(set(present.sources).difference(wanted.sources))
    drains = tuple(sender for source in former for sender in _senders_from(situation, source, wanted.link))
    kept = _between(wanted, present.local if acceptance.unproven else wanted.local, former if drains else ())
    cutovers = _cutovers(situation, wanted, present, acceptance.unproven)
    return SourceChange(
        tuple(_kept(situation.desired.dataplane, wanted, kept)),
        acceptance.probed if acceptance.unproven else (),
        cutovers,
        drains,
        frozenset({wanted.link}) if cutovers and kept != wanted else frozenset(),
    )


def _present(observed: Dataplane, wanted: Decap) -> Decap | None:
    """The device's Decap as it is, with the source that packets really have; None if there is none, nor a source."""
    link = observed.link(wanted.link)
    local = link.kind.sends_from() if link and link.owned else None
    found = next((decap for decap in observed.decaps if decap.link == wanted.link), None)
    if local is None:
        return found
    return (found or wanted)._replace(local=local)


def _kept(wanted: Dataplane, wanted_decap: Decap, kept: Decap) -> Iterator[KernelObject]:
    if kept == wanted_decap:
        return
    yield kept
    for inner in wanted.inner_filters:
        if inner.link == kept.link:
            yield inner._replace(members=kept.sources, own=kept.own)
    link = wanted.link(kept.link)
    if link and link.kind.sends_from():
        yield _sending_from(link, kept.local)


def _sending_from(link: Link, local: Address) -> Link:
    return replace(link, kind=link.kind.sending_from(local))


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
        if situation.is_over(hop, source.version) and may_still_send(situation, hop, lambda path: path.source == source)
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
