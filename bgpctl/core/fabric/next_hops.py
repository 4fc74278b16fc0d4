"""
The next hops that routes to remote prefixes share.

Linux finds a route with many equal gateways slowly, and a change of one gateway would be a message per route. So all
prefixes of one pool behind one remote share a next-hop object, and all that are spread over the same remotes share a
group (docs/decisions/0006, 0011). The encapsulation is the content of a next hop, not part of its identity: changing it
is one message per pool and remote, and touches no route.

Nothing here depends on the prefixes: with as many routes as there may be, the next-hop sets are few.

Refuses to know: how an encapsulation reaches a remote, where prefixes were learned.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from bgpctl.core.cluster.configuration import Node, Pool
from bgpctl.core.cluster.crossing import encapsulation_to, same_subnet
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Reason, ReasonCode, Unmet, UnmetCode
from bgpctl.core.fabric.desired import NextHopKey, NextHopSet, group_ids, in_order, next_hop_ids, renumbered
from bgpctl.core.fabric.encapsulations import behaviour_of
from bgpctl.core.fabric.protocol import Site
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Key, NextHop, NextHopGroup
from bgpctl.core.net.table import is_same

_OUTSIDE: Final = {4: Pool("", Prefix.parse("0.0.0.0/0")), 6: Pool("", Prefix.parse("::/0"))}
"""Stands for no pool at all: what a filter let in from outside the pools. None asks for a tunnel."""


def outside(version: int) -> Pool:
    """The pool of prefixes that are in no pool."""
    return _OUTSIDE[version]


class ResolvedSet(NamedTuple):
    """The next hop, or of several their group, that routes of one next-hop set name, and the reason of these routes."""

    next_hop: int
    why: Reason


class ResolutionInput(NamedTuple):
    """All that next hops depend on."""

    site: Site
    hop_sets: frozenset[NextHopSet]


class Owners(NamedTuple):
    """Members by their addresses on the underlay; `is_distinct` if no two have the same one."""

    by_address: Mapping[Address, Node]
    is_distinct: bool


class Resolution(NamedTuple):
    """
    The next-hop sets as they are from this site.

    Attributes:
        ids: of each key that a next-hop set may use.
        users: the next-hop sets that use a key.
        owners: the members by their addresses.
        hops: the next hop of each key that has one.
        outs: of each next-hop set that has a usable next hop.
        dataplane: next hops and groups, with their `reasons` by key.
        missing: the remotes that nothing leads to, by key.
        is_plain: every next-hop set has one key, so that there are no groups.
        moved: a next-hop set in use before has another id now; None if that is not known.
    """

    made_from: ResolutionInput
    ids: Mapping[NextHopKey, int]
    users: Mapping[NextHopKey, tuple[NextHopSet, ...]]
    owners: Owners
    hops: Mapping[NextHopKey, NextHop]
    outs: Mapping[NextHopSet, ResolvedSet]
    dataplane: Dataplane
    reasons: Mapping[Key, Reason]
    missing: Mapping[NextHopKey, Unmet]
    is_plain: bool
    moved: bool | None = None

    @property
    def unmet(self) -> tuple[Unmet, ...]:
        """The remotes that nothing leads to, in the order of the ids."""
        return tuple(self.missing[key] for key in in_order(self.missing))


def resolved(
    read: ResolutionInput, before: Resolution | None = None, changed: frozenset[str] | None = None
) -> Resolution:
    """
    The next hops of the next-hop sets. What equals a part of the result `before` is the same object. `changed` are the
    nodes that differ from the intent `before`; None if more than nodes does.
    """
    if before and is_same(before.made_from, read):
        return before
    if before and changed is not None and _is_same_place(before.made_from.site, read.site):
        edited = _edited(read, before, changed)
        if edited:
            return edited
    return _whole(read, before)


def _whole(read: ResolutionInput, before: Resolution | None) -> Resolution:
    # From the same site every next hop that has its id still is as it was.
    known = before if before and is_same(before.made_from, read, but="hop_sets") else None
    site, hop_sets = read
    pools = {pool.cidr: pool for pool in (*_OUTSIDE.values(), *site.intent.pools)}
    ids, users = next_hop_ids({key for hop_set in hop_sets for key in hop_set.keys}), _users(hop_sets)
    owners = _owners(site.intent)
    hops, missing = _next_hops(site, ids, pools, owners.by_address, known.hops if known else {})
    usable = {hop_set: found for hop_set in hop_sets if (found := [hops[key] for key in hop_set.keys if key in hops])}
    groups = group_ids(_ids(found) for found in usable.values() if len(found) > 1)
    outs: dict[NextHopSet, ResolvedSet] = {}
    for hop_set, found in usable.items():
        number = groups[_ids(found)] if len(found) > 1 else found[0].id
        out = known.outs.get(hop_set) if known else None
        same = out is not None and out.next_hop == number
        outs[hop_set] = out if out and same else ResolvedSet(number, _why(site.node, pools, hop_set, hop_set.remote))
    reasons = _reasons(site.node, pools, hops, outs)
    objects = Dataplane.of((*hops.values(), *(NextHopGroup(number, members) for members, number in groups.items())))
    is_plain = not any(hop_set.also for hop_set in hop_sets)
    now = Resolution(read, ids, users, owners, hops, outs, objects, reasons, missing, is_plain)
    return _sharing(now, before) if before else now


def _sharing(now: Resolution, before: Resolution) -> Resolution:
    return now._replace(
        outs=before.outs if now.outs == before.outs else now.outs,
        dataplane=now.dataplane.sharing(before.dataplane),
        reasons=before.reasons if now.reasons == before.reasons else now.reasons,
    )


def _next_hops(
    site: Site,
    ids: Mapping[NextHopKey, int],
    pools: Mapping[Prefix, Pool],
    members: Mapping[Address, Node],
    known: Mapping[NextHopKey, NextHop],
) -> tuple[Mapping[NextHopKey, NextHop], Mapping[NextHopKey, Unmet]]:
    """The next hop of each key that has one, and the keys that have none."""
    hops: dict[NextHopKey, NextHop] = {}
    missing: dict[NextHopKey, Unmet] = {}
    for key, number in ids.items():
        hop = known.get(key)
        if hop is None or hop.id != number:
            hop = _next_hop(site, pools[key.pool], key, number, members.get(key.remote))
        if hop:
            hops[key] = hop
        else:
            missing[key] = _missing(pools[key.pool], key)
    return hops, missing


def _next_hop(site: Site, pool: Pool, key: NextHopKey, number: int, member: Node | None) -> NextHop | None:
    return behaviour_of(encapsulation_to(pool, site.node, key.remote)).next_hop(site, number, key.remote, member)


def _missing(pool: Pool, key: NextHopKey) -> Unmet:
    return Unmet(UnmetCode.NEXT_HOP_UNRESOLVED, str(key.remote), f"pool {pool.name or 'none'}")


def _users(hop_sets: Iterable[NextHopSet]) -> Mapping[NextHopKey, tuple[NextHopSet, ...]]:
    found: dict[NextHopKey, tuple[NextHopSet, ...]] = {}
    for hop_set in hop_sets:
        for key in hop_set.keys:
            found[key] = (*found[key], hop_set) if key in found else (hop_set,)
    return found


def _owners(intent: Intent) -> Owners:
    found = _members(intent.nodes)
    return Owners(found, len(found) == sum(len({*node.addresses}) for node in intent.nodes))


def _members(nodes: Iterable[Node]) -> Mapping[Address, Node]:
    return {own.address: member for member in nodes for version in (4, 6) if (own := member.underlay(version))}


def _ids(hops: Iterable[NextHop]) -> tuple[int, ...]:
    return tuple(sorted(hop.id for hop in hops))


def _reasons(
    node: Node,
    pools: Mapping[Prefix, Pool],
    hops: Mapping[NextHopKey, NextHop],
    outs: Mapping[NextHopSet, ResolvedSet],
) -> Mapping[Key, Reason]:
    """Of several sources of the same next hop or group the first by name counts, whichever came first."""
    users: dict[int, tuple[NextHopSet, Address]] = {}
    for hop_set, out in outs.items():
        numbers = {hops[key].id: key.remote for key in hop_set.keys if key in hops}
        for number, remote in {out.next_hop: hop_set.remote, **numbers}.items():
            other = users.get(number)
            if other is None or (hop_set.source, hop_set) < (other[0].source, other[0]):
                users[number] = hop_set, remote
    return {
        ("next-hop", number): outs[hop_set].why if remote == hop_set.remote else _why(node, pools, hop_set, remote)
        for number, (hop_set, remote) in users.items()
    }


def _why(node: Node, pools: Mapping[Prefix, Pool], hop_set: NextHopSet, remote: Address) -> Reason:
    pool = pools[hop_set.pool]
    return Reason(
        ReasonCode.BEST_PATH if pool.by_bgp else ReasonCode.MEMBER,
        pool=pool.name or None,
        source=hop_set.source,
        remote=remote,
        encapsulation=encapsulation_to(pool, node, remote),
        same_subnet=same_subnet(node, remote),
    )


# An edit of some members -------------------------------------------------------------------------------------------


def _is_same_place(before: Site, now: Site) -> bool:
    """True if nothing differs but the intent."""
    same = before.node is now.node and before.observed is now.observed
    return same and before.underlays == now.underlays and before.links == now.links


def _edited(read: ResolutionInput, before: Resolution, changed: Iterable[str]) -> Resolution | None:
    """The result where only some members and some next-hop sets are others; None if groups take part."""
    new, gone = frozenset[NextHopSet](), frozenset[NextHopSet]()
    if read.hop_sets is not before.made_from.hop_sets:
        new, gone = read.hop_sets - before.made_from.hop_sets, before.made_from.hop_sets - read.hop_sets
    owners = _owners_after(before, read.site.intent, changed)
    if owners is None or not before.is_plain or any(hop_set.also for hop_set in new):
        return None
    users = _users_after(before.users, new, gone)
    keys = {key for hop_set in (*new, *gone) for key in hop_set.keys}
    # Never by set operations with the keys of a dictionary: those go through all of them.
    vanished, appeared = [key for key in keys if key not in users], [key for key in keys if key not in before.users]
    ids, renumbered_keys = renumbered(before.ids, vanished, appeared)
    intents = (read.site.intent, before.made_from.site.intent)
    of_changed = _members(node for name in changed for intent in intents if (node := intent.node(name)))
    pools = {pool.cidr: pool for pool in (*_OUTSIDE.values(), *read.site.intent.pools)}
    at_changed = {key for pool in pools for remote in of_changed if (key := NextHopKey(pool, remote)) in users}
    touched = keys | renumbered_keys | at_changed
    hops = {
        key: _next_hop(read.site, pools[key.pool], key, ids[key], owners.by_address.get(key.remote))
        for key in touched
        if key in users
    }
    if not keys and all(before.hops.get(key) == hop for key, hop in hops.items()):
        return before._replace(made_from=read, owners=owners, moved=False)
    edit = _Edit(before, touched)
    for key, hop in hops.items():
        if hop:
            edit.put(key, hop, users[key], lambda hop_set: _why(read.site.node, pools, hop_set, hop_set.remote))
        else:
            edit.missing[key] = _missing(pools[key.pool], key)
    return edit.result(read, ids, users, owners)


class _Edit:
    """A resolution in the making: the keys that may have changed are taken out of `before`, and put in anew."""

    def __init__(self, before: Resolution, keys: AbstractSet[NextHopKey]) -> None:
        self._before = before
        self.missing = dict(before.missing)
        self._hops, self._outs, self._reasons = dict(before.hops), dict(before.outs), dict(before.reasons)
        self._old: set[NextHop] = set()
        self._new: set[NextHop] = set()
        self._users = {hop_set for key in keys for hop_set in before.users.get(key, ())}
        for key in keys:
            self.missing.pop(key, None)
            hop = self._hops.pop(key, None)
            if hop:
                self._old.add(hop)
                del self._reasons["next-hop", hop.id]
        for hop_set in self._users:
            self._outs.pop(hop_set, None)

    def put(
        self, key: NextHopKey, hop: NextHop, users: Iterable[NextHopSet], why: Callable[[NextHopSet], Reason]
    ) -> None:
        self._hops[key] = hop
        self._new.add(hop)
        for hop_set in users:
            out = self._before.outs.get(hop_set)
            self._outs[hop_set] = out if out and out.next_hop == hop.id else ResolvedSet(hop.id, why(hop_set))
        first = min(users, key=lambda hop_set: (hop_set.source, hop_set))
        self._reasons["next-hop", hop.id] = self._outs[first].why

    def result(
        self,
        read: ResolutionInput,
        ids: Mapping[NextHopKey, int],
        users: Mapping[NextHopKey, tuple[NextHopSet, ...]],
        owners: Owners,
    ) -> Resolution:
        before = self._before
        outs_before, outs = before.outs, self._outs
        stay = self._users & read.hop_sets
        moved = any(_id(outs_before.get(hop_set)) != _id(outs.get(hop_set)) for hop_set in stay)
        is_same_outs = not moved and len(stay) == len(self._users) and len(outs) == len(outs_before)
        dataplane = before.dataplane
        if self._old != self._new:
            next_hops = (dataplane.next_hops - (self._old - self._new)) | (self._new - self._old)
            dataplane = Dataplane(next_hops=next_hops)
        return Resolution(
            read,
            ids,
            users,
            owners,
            self._hops,
            outs_before if is_same_outs else outs,
            dataplane,
            self._reasons,
            self.missing,
            is_plain=True,
            moved=moved,
        )


def _id(out: ResolvedSet | None) -> int | None:
    return out.next_hop if out else None


def _owners_after(before: Resolution, intent: Intent, changed: Iterable[str]) -> Owners | None:
    """None if two members have the same address: of those the last one counts."""
    names, earlier = tuple(changed), before.made_from.site.intent
    if not before.owners.is_distinct:
        return None
    if all(intent.node(name) is earlier.node(name) for name in names):
        return before.owners
    found = dict(before.owners.by_address)
    for address in _members(node for name in names if (node := earlier.node(name))):
        del found[address]
    for name in names:
        for address, member in _members(node for node in (intent.node(name),) if node).items():
            if found.setdefault(address, member) is not member:
                return None
    return Owners(found, is_distinct=True)


def _users_after(
    before: Mapping[NextHopKey, tuple[NextHopSet, ...]], new: Collection[NextHopSet], gone: Collection[NextHopSet]
) -> Mapping[NextHopKey, tuple[NextHopSet, ...]]:
    if not new and not gone:
        return before
    found = dict(before)
    for hop_set in gone:
        for key in hop_set.keys:
            left = tuple(other for other in found.pop(key) if other != hop_set)
            if left:
                found[key] = left
    for hop_set in new:
        for key in hop_set.keys:
            found[key] = (*found.get(key, ()), hop_set)
    return found
