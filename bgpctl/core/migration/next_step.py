"""
The next step of a migration: changing how packets cross the underlay, under traffic, without losing one.

The problem. A cluster file changes the encapsulation of a pool, a VNI or port, the backend, or a node's address.
Every node reads it at another moment, some much later, some never. A packet arrives only if its sender's
encapsulation is one that its receiver accepts at that moment, and no program could switch both at once.

The idea is make before break, in three parts that each node decides for itself:

- Receive on both. The wanted devices are set up as soon as they are wanted; the former ones stay beside them.
- Send on one. A next hop moves in one message, after a probe sent by the new path was answered (cutover.py).
- Remove last. A device goes once every member was seen to send by another one for DRAIN_S (drain.py). The same
  three parts again order the source addresses that tunnels accept and send from (source_change.py), and the
  addresses that they send to (address_change.py).

The kernel's state is the memory. A next hop of ours by another link than the wanted one is a cutover that has not
happened; a link of ours that is not wanted is a drain that has not ended. Nothing else is stored, so a migration
can be stopped, restarted, reversed, or cut off by a killed agent after any operation: the next step follows from
what is observed.

Cases that break simpler designs:

- The reverse path differs. A member may send by its old encapsulation still, so a reply through a tunnel would
  depend on both directions. Forward probes are answered over the bare underlay (probes.py).
- A member reads the file late, or its agent is dead or killed halfway. Nothing is assumed of it, no timer runs out:
  traffic to it stays on the path that it accepts, for as long as it takes, and `show` names it.
- The reply comes by a device of the wanted name with another VNI. Paths and devices are compared by kind, not by
  name.
- A next hop moves to a tunnel while its remote does not accept our new source address yet. The move waits for the
  source.
- A member is known by another address here before its host has that, or its tunnels take packets at it. What is sent
  there waits for a reply from the new address while the former one replies.
- A member has addresses borrowed from another's block, or the backend changes, and no source announces a prefix for
  a while. Routes to what members have, by the cluster file, stay while any device drains.
- The file changes back in between. Probe results count for one intent only; the agent drops them with each new one.

Decision record: docs/decisions/0013-the-kernel-remembers-the-switch.md. The property test
tests/laws/test_migration_laws.py changes encapsulation, VNI, port and node address of whole clusters in any order,
with late readers, lost replies and killed agents, and finds every member reachable after every single operation.

Refuses to know: which encapsulations there are, why one is wanted, how a probe is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from bgpctl.core.bgp.encap_community import AdvertisedTunnels, nothing_advertised
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Reason, ReasonCode
from bgpctl.core.fabric import Desired
from bgpctl.core.migration import address_change
from bgpctl.core.migration.address_change import FormerPath
from bgpctl.core.migration.cutover import held_next_hops, pending_cutover
from bgpctl.core.migration.drain import Drain, drain
from bgpctl.core.migration.probe_choice import forward_probe, return_probe
from bgpctl.core.migration.probes import Probe, ProbeResults
from bgpctl.core.migration.situation import HeldNextHop, PendingMember, Situation
from bgpctl.core.migration.source_change import SourceChange, is_source_changing, source_change
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import (
    KernelObject,
    NextHop,
    NextHopGroup,
    key_of,
)

_KEPT_REASON: Final = Reason(ReasonCode.KEPT)


@dataclass(frozen=True, slots=True)
class MigrationStep:
    """
    One step of a migration.

    Attributes:
        desired: the objects that should be in the kernel now.
        cutovers: members to whom the wanted path is not proven, or who refuse it.
        drains: members that are not known to have left a link, or a source address, that is to go.
        probes: the probes that would prove it.
    """

    desired: Desired
    cutovers: tuple[PendingMember, ...] = ()
    drains: tuple[PendingMember, ...] = ()
    probes: tuple[Probe, ...] = ()

    @property
    def settled(self) -> bool:
        """True if nothing is held back: the present desired state is the final one."""
        return not self.cutovers and not self.drains


def next_step(
    desired: Desired,
    observed: Dataplane,
    intent: Intent,
    node: Node,
    probe_results: ProbeResults,
    at_s: float,
    advertised: AdvertisedTunnels = nothing_advertised,
) -> MigrationStep:
    """The state that the kernel should have now, between `observed` and `desired`."""
    situation = Situation(desired, observed, intent, node, probe_results, at_s, advertised)
    former, left_entries = address_change.former_paths(situation)
    if not former and not left_entries and _nothing_moves(desired.dataplane, observed):
        return MigrationStep(desired)
    source = source_change(situation)
    held = held_next_hops(situation, source.waiting_links)
    draining = drain(situation, (*held, *(path.hop for path in former)))
    if not held and not former and not left_entries and not draining.links and not source.kept:
        return MigrationStep(desired)
    present = (*(hop.present for hop in held), *chain.from_iterable(path.kept for path in former))
    return MigrationStep(
        _with_kept(desired, (*present, *left_entries, *draining.kept, *source.kept)),
        (
            *(pending_cutover(situation, hop) for hop in held),
            *(address_change.pending(situation, path) for path in former),
            *source.cutovers,
        ),
        (*draining.pending, *source.drains),
        tuple(_probes(situation, held, former, draining, source)),
    )


def _nothing_moves(wanted: Dataplane, observed: Dataplane) -> bool:
    """
    True if no link goes, no source changes, and no next hop moves: so it is nearly always, and then there is no need to
    go through members and next hops, of which there may be thousands.
    """
    names = {link.name for link in wanted.links}
    goes = any(link.owned and link.name not in names for link in observed.links)
    if goes or is_source_changing(wanted, observed):
        return False
    others = observed.next_hops - wanted.next_hops
    links = {hop.id: hop.link for hop in wanted.next_hops} if others else {}
    return all(links.get(hop.id, hop.link) == hop.link for hop in others)


def _probes(
    situation: Situation,
    held: Iterable[HeldNextHop],
    former: Iterable[FormerPath],
    draining: Drain,
    source: SourceChange,
) -> Iterator[Probe]:
    """Probes of everything that is waited for, each once."""
    moving = (*held, *(path.hop for path in former))
    unproven = dict.fromkeys((*(hop.wanted for hop in moving), *source.probed))
    yield from filter(None, (forward_probe(situation, hop) for hop in unproven))
    yield from filter(None, (address_change.former_probe(situation, path) for path in former))
    if draining.links or source.drains:
        yield from filter(None, (return_probe(situation, hop) for hop in sorted(situation.member_next_hops)))


def _with_kept(desired: Desired, kept: Iterable[KernelObject]) -> Desired:
    """`desired` with the kept objects: of two with one key the kept one stays, and its reason is that it is kept."""
    reasons = dict(desired.reasons)
    objects = tuple(kept)
    held_ids: set[int] = set()
    for obj in objects:
        key = key_of(obj)
        reasons[key] = _kept(reasons.get(key, _KEPT_REASON))
        held_ids |= {obj.id} if isinstance(obj, NextHop | NextHopGroup) else set()
    for route in desired.dataplane.routes:
        # A route leads where its next hop leads, so its new reason does not apply yet.
        if route.next_hop in held_ids:
            reasons[key_of(route)] = _kept(reasons[key_of(route)])
    return replace(desired, dataplane=desired.dataplane.put(objects), reasons=reasons)


def _kept(reason: Reason) -> Reason:
    return replace(reason, code=ReasonCode.KEPT)
