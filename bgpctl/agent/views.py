"""
Views of the agent: pure functions from its state to JSON. Each answer names its schema (client.py).

Refuses to know: sockets, tables, colours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import islice
from operator import attrgetter
from typing import Final, TypeAlias

from bgpctl import client
from bgpctl.agent import (
    bgp_views,
    event_words,
    filter_views,
    health,
    operator_commands,
    proof_views,
    resolver_views,
    service_views,
    words,
)
from bgpctl.agent.errors import Unknown
from bgpctl.agent.snapshot import Json, Snapshot
from bgpctl.core.agent.state import Phase, State
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.encapsulation import DIRECT, ENCAPSULATIONS
from bgpctl.core.fabric import encapsulation_to, same_subnet
from bgpctl.core.fabric.encapsulations import BEHAVIOURS, behind
from bgpctl.core.fabric.facts import underlay_of
from bgpctl.core.fabric.protocol import Behaviour
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import PROTOCOL, Link, NextHop, Route, RouteType, key_of
from bgpctl.core.trace.snapshot import Snapshot as Kernel

View: TypeAlias = Callable[[Snapshot], Json]
ReadKernel: TypeAlias = Callable[[Dataplane], Kernel]
"""All that decides about a packet, around a dataplane that was observed. Raises Unavailable."""

_SHOWN_CONFLICTS: Final = 5


def summary(snapshot: Snapshot) -> Json:
    """One line for the whole node, and every problem."""
    state = snapshot.state
    intent, bgp = state.intent.in_force, state.bgp
    wanted, installed = _counted(snapshot)
    return {
        "node": state.node,
        "backend": ("bgp" if bgp.config else intent.backend.value) if intent else None,
        "pools": len(intent.pools) if intent else 0,
        "peers": {"wanted": len(bgp.adj_rib_in), "established": len(bgp.adj_rib_in) - len(bgp.peers_down)},
        "routes": {
            "received": sum(len(table.paths) for table in bgp.adj_rib_in.values()),
            "best": len(bgp.loc_rib.best),
            "wanted": wanted,
            "installed": installed,
        },
        "tunnels": [f"{_short(row)} {len(row['remotes'])}" for row in _tunnels(snapshot)],
        "mtu_bytes": _workload_mtu_bytes(snapshot),
        "repaired_1h": sum(1 for at_s in state.attempts.repairs if at_s > snapshot.now_s - 3600),
        "state": state.phase.value,
        "converged": state.phase is Phase.CONVERGED and snapshot.cluster.settled == snapshot.cluster.generation,
        "generation": snapshot.cluster.generation,
        "configuration": snapshot.cluster.digest(intent) if intent else None,
        "config_rejected": bool(state.intent.problems),
        "unconfirmed_s": snapshot.unconfirmed_s,
        "store": _store(snapshot),
        "unready": list(health.unready(state)),
        "state_age_s": snapshot.age_s(state.since_s),
        "paths": proof_views.counted(snapshot),
        "problems": _problems(snapshot),
        "members": proof_views.of_members(snapshot, bgp_views.problems(snapshot)),
        "waiting": list(_waiting(snapshot)),
    }


def _store(snapshot: Snapshot) -> Json | None:
    """Where configuration and allocations come from; None: files."""
    store = snapshot.store
    if store is None:
        return None
    silent_s = None if store.is_heard or store.heard_at_s is None else snapshot.age_s(store.heard_at_s)
    return {
        "name": store.name,
        "heard": store.is_heard,
        "silent_s": silent_s,
        "uuid": store.uuid,
        "revision": store.revision,
        "from_disk": store.is_from_disk,
        "held_off": bool(store.problems),
    }


def _counted(snapshot: Snapshot) -> tuple[int, int]:
    """How many routes lead to other nodes, and how many of these are installed."""
    kernel = snapshot.state.kernel
    if kernel.desired is None:
        return 0, 0
    routes = kernel.desired.dataplane.routes
    wanted = _leading_on(routes)
    if not kernel.pending.ops and not kernel.pending.blocked:  # nothing is missing: no 50,000 routes to compare
        return wanted, wanted
    return wanted, _leading_on(routes & snapshot.observed.routes)


def _leading_on(routes: Iterable[Route]) -> int:
    return sum(map(bool, map(attrgetter("next_hop"), routes)))


def _waiting(snapshot: Snapshot) -> Iterator[Json]:
    """The members that a change of encapsulation waits for."""
    migration = snapshot.state.migration
    for reason, found in ((words.cutover, migration.cutovers), (words.drain, migration.drains)):
        for item in found:
            since_s = migration.waiting_since[item]
            yield {"member": item.member, "reason": reason(item), "age_s": snapshot.age_s(since_s)}


def _problems(snapshot: Snapshot) -> list[str]:
    """Every problem in words, in the order in which an operator solves them."""
    state = snapshot.state
    return [
        *([words.kernel_lost(state.kernel.error)] if state.kernel.error else []),
        *(f"cluster file rejected, the previous one stays in force: {problem}" for problem in state.intent.problems),
        *(words.store(snapshot.store, snapshot.now_s) if snapshot.store else ()),
        *([] if snapshot.unconfirmed_s is None else [words.unconfirmed(snapshot.unconfirmed_s)]),
        *([words.config_rejected(state.bgp.rejection)] if state.bgp.rejection else []),
        *map(words.failure, state.attempts.failures),
        *_conflicts(snapshot),
        *map(words.unmet, state.kernel.unmet),
        *_shadows(state),
        *bgp_views.problems(snapshot),
        *proof_views.problems(snapshot),
        *_requested(state),
        *(map(words.prune_hold, state.kernel.desired.prune_holds) if state.kernel.desired else ()),
        *map(words.cutover, state.migration.cutovers),
        *map(words.drain, state.migration.drains),
        *snapshot.cluster.problems(),
    ]


def _conflicts(snapshot: Snapshot) -> list[str]:
    found = snapshot.state.attempts.persistent_conflicts
    shown = [words.conflict(op, conflict, snapshot.now_s) for op, conflict in islice(found.items(), _SHOWN_CONFLICTS)]
    return [*shown, *([f"… and {len(found) - len(shown)} more like it"] if len(found) > len(shown) else [])]


def _shadows(state: State) -> list[str]:
    found = state.kernel.shadows
    shown = [f"{item.text}: {item.remedy}" for item in found[:_SHOWN_CONFLICTS]]
    return [*shown, *([f"… and {len(found) - len(shown)} more like it"] if len(found) > len(shown) else [])]


def _requested(state: State) -> list[str]:
    """States that the operator asked for, or made by an edit, and that do not last."""
    known = operator_commands.names(state)
    return [
        *([words.draining()] if state.bgp.draining else []),
        *(words.shut(known[peer]) for peer in sorted(state.bgp.shut_down_peers) if peer in known),
        *(words.handover(session.name) for session in state.bgp.handover.sessions),
    ]


def _workload_mtu_bytes(snapshot: Snapshot) -> int | None:
    """The smallest MTU of the underlay and the tunnels in use."""
    underlay = underlay_of(snapshot.observed, snapshot.node.address) if snapshot.node else None
    tunnels = [link.mtu_bytes for link in snapshot.observed.links if link.owned]
    return min([underlay.mtu_bytes, *tunnels]) if underlay else None


def routes(snapshot: Snapshot) -> Json:
    """The wanted routes, each with its reason, and whether it is installed."""
    desired, node = snapshot.state.kernel.desired, snapshot.node
    if desired is None or node is None:
        return {"routes": []}
    only = snapshot.prefix
    asked = (route for route in desired.dataplane.routes if only is None or only.overlaps(route.prefix))
    hops = _hops_by_id(desired.dataplane)
    ways = {number: _way(of_route) for number, of_route in hops.items()}  # many routes share one
    reason = cache(partial(words.reason, node=node))
    shadowed = {item.ours: item.text for item in snapshot.state.kernel.shadows}
    return {
        "routes": [
            {
                "prefix": str(route.prefix),
                "type": route.type.name.lower(),
                **ways.get(route.next_hop, _NO_WAY),
                "next_hop_id": route.next_hop or None,
                "metric": route.metric,
                "installed": _installed(route, hops.get(route.next_hop, ()), snapshot.observed),
                "shadowed": shadowed.get(route),
                "reason": reason(desired.reasons[key_of(route)]),
                "age_s": _age_s(snapshot, route.prefix),
            }
            for route in sorted(asked, key=attrgetter("prefix"))
        ]
    }


def _age_s(snapshot: Snapshot, prefix: Prefix) -> float | None:
    """The time since when the best path is unchanged; None for a prefix that was not learned."""
    choice = snapshot.state.bgp.loc_rib.best.get(prefix)
    return snapshot.age_s(choice.best.received.at_s) if choice else None


def _hops_by_id(dataplane: Dataplane) -> Mapping[int, tuple[NextHop, ...]]:
    """The next hops that each id of a next hop or group stands for."""
    single = {hop.id: (hop,) for hop in dataplane.next_hops}
    groups = {group.id: tuple(single[member][0] for member in group.members) for group in dataplane.groups}
    return {**single, **groups}


def _way(hops: Sequence[NextHop]) -> Json:
    return {
        "via": ", ".join(str(hop.gateway) for hop in hops) or None,
        "dev": ", ".join(dict.fromkeys(hop.link for hop in hops)) or None,
        "onlink": any(hop.onlink for hop in hops),
    }


_NO_WAY: Final = _way(())


def _installed(route: Route, hops: Sequence[NextHop], observed: Dataplane) -> bool:
    return route in observed.routes and all(hop in observed.next_hops for hop in hops)


def tunnels(snapshot: Snapshot) -> Json:
    """The tunnel devices, the remotes reached through them, and their traffic."""
    counted, dropped = snapshot.traffic(), snapshot.drops()
    return {
        "tunnels": [
            {
                **row,
                "traffic": filter_views.counters(counted.get(row["name"])),
                "dropped": filter_views.of_tunnel(counted.get(row["name"]), dropped.get(row["name"], ())),
            }
            for row in _tunnels(snapshot)
        ]
    }


def _tunnels(snapshot: Snapshot) -> list[Json]:
    links = sorted((link for link in snapshot.observed.links if link.owned), key=lambda link: link.name)
    found = ((link, behind(link.kind)) for link in links)
    return [_tunnel(snapshot, link, tunnel) for link, tunnel in found if tunnel]


def _short(tunnel: Json) -> str:
    encapsulation = ENCAPSULATIONS[tunnel["kind"]]
    of_ipv6 = tunnel["name"] in BEHAVIOURS[encapsulation.name].link_names(6)
    return encapsulation.label(6 if of_ipv6 else 4)


def _tunnel(snapshot: Snapshot, link: Link, tunnel: Behaviour) -> Json:
    observed, desired = snapshot.observed, snapshot.state.kernel.desired
    hops = (key_of(hop) for hop in observed.next_hops if hop.link == link.name)
    remotes = {desired.reasons[key].remote for key in hops if key in desired.reasons} if desired else set()
    wire = link.kind.wire()
    return {
        "name": link.name,
        "kind": tunnel.encapsulation.name,
        "driver": link.kind.driver(),
        "up": link.up,
        "mtu_bytes": link.mtu_bytes,
        "addresses": sorted(str(item.address) for item in observed.addresses if item.link == link.name),
        "vni": wire.get("vni"),
        "port": wire.get("port"),
        "mac": link.mac,
        "accepts_from": sorted(str(a) for decap in observed.decaps if decap.link == link.name for a in decap.sources),
        "remotes": sorted(str(remote) for remote in remotes if remote),
        "unproven": proof_views.unproven_by(snapshot, link.name),
        "path_mtus": proof_views.limits(snapshot, link.name),
    }


def nodes(snapshot: Snapshot) -> Json:
    """The members of the cluster as this node sees them."""
    intent, here = snapshot.state.intent.in_force, snapshot.node
    if intent is None or here is None:
        return {"nodes": [], "channel_port": 0}
    return {
        "channel_port": intent.channel_port,
        "nodes": [
            {
                "name": node.name,
                "address": str(node.address),
                "address6": str(node.address6) if node.address6 else None,
                "this": node == here,
                "same_subnet": same_subnet(here, node.address.address),
                "blocks": [str(block) for block in intent.blocks_of(node)],
                "borrowed": [str(prefix) for prefix in intent.borrowed_by(node)],
                "asn": intent.asn_of(node),
                "tunnel_addresses": [str(address) for address in intent.tunnel_addresses(node)],
                "session": _session_state(snapshot.state, node) if node != here else None,
                "path": proof_views.to_member(snapshot, node.name) if node != here else None,
                "paths": proof_views.of_member(snapshot, node.name),
            }
            for node in intent.nodes
        ],
    }


def _session_state(state: State, node: Node) -> str | None:
    table = state.bgp.adj_rib_in.get(node.address.address)
    if table is None:
        return None
    return "established" if table.established else "down"


def configuration(snapshot: Snapshot) -> Json:
    """For another member: the digest of the configuration in force, and its outline unless `digest` is the same."""
    intent = snapshot.state.intent.in_force
    if intent is None:
        return {"node": snapshot.state.node, "digest": None, "outline": {}}
    digest = snapshot.cluster.digest(intent)
    is_same = snapshot.query.get("digest") == digest
    return {
        "node": snapshot.state.node,
        "digest": digest,
        "outline": None if is_same else snapshot.cluster.outline(intent),
    }


def pools(snapshot: Snapshot) -> Json:
    """The pools and how this node sends to each other node of each."""
    intent, here = snapshot.state.intent.in_force, snapshot.node
    if intent is None or here is None:
        return {"pools": []}
    others = [node for node in intent.nodes if node != here]
    return {
        "pools": [
            {
                "name": pool.name,
                "cidr": str(pool.cidr),
                "encapsulation": pool.encapsulation.name,
                "mode": pool.mode.value,
                "block_size": pool.block_size,
                "nat_outgoing": pool.nat_outgoing,
                "disabled": pool.disabled,
                "blocks": sum(
                    1 for node in intent.nodes for block in intent.blocks_of(node) if pool.cidr.covers(block)
                ),
                "encapsulated_to": sorted(
                    node.name
                    for node in others
                    if (remote := node.underlay(pool.cidr.version))
                    and encapsulation_to(pool, here, remote.address) != DIRECT
                ),
            }
            for pool in intent.pools
        ]
    }


def blocks(snapshot: Snapshot) -> Json:
    """Every block with its owner, and whether this node routes it."""
    intent = snapshot.state.intent.in_force
    if intent is None:
        return {"blocks": []}
    owners = {block: node for node in intent.nodes for block in intent.blocks_of(node)}
    ours = (route for route in snapshot.observed.routes if route.protocol == PROTOCOL)
    installed = {route.prefix: route for route in ours if route.prefix in owners}
    return {
        "blocks": [
            {
                "block": str(block),
                "node": node.name,
                "pool": pool.name if (pool := intent.pool_of(block)) else None,
                "here": _block_state(installed.get(block)),
            }
            for block, node in sorted(owners.items())
        ]
    }


def _block_state(route: Route | None) -> str:
    if route is None:
        return "absent"
    return "own" if route.type is RouteType.BLACKHOLE else "routed"


def events(snapshot: Snapshot) -> Json:
    """The last events, oldest first, and the commands that answered them."""
    names = operator_commands.names(snapshot.state)
    return {
        "events": [
            {
                "age_s": snapshot.age_s(entry.at_s),
                "event": event_words.event(entry.event, names),
                "commands": [event_words.command(command, entry.at_s) for command in entry.commands],
            }
            for entry in snapshot.happened()
        ]
    }


def intent(snapshot: Snapshot) -> Json:
    """The configuration in force as a value."""
    from bgpctl.agent import trace_views  # noqa: PLC0415 (asked now and then)

    return trace_views.intent(snapshot)


def map_part(snapshot: Snapshot) -> Json:
    """The part of this node in a map of the cluster."""
    from bgpctl.agent import map_views  # noqa: PLC0415 (as above)

    return map_views.part(snapshot, summary(snapshot))


VIEWS: Final[Mapping[str, View]] = {
    "summary": summary,
    "peers": bgp_views.peers,
    "neighbor": bgp_views.neighbor,
    "routes": routes,
    "rib": bgp_views.rib,
    "tunnels": tunnels,
    "workloads": filter_views.workloads,
    "names": resolver_views.names,
    "nodes": nodes,
    "configuration": configuration,
    "pools": pools,
    "blocks": blocks,
    "services": service_views.services,
    "events": events,
}
MAP: Final = "map-part"
"""The view of which a map is put together."""
_FOR_COMMANDS: Final[Mapping[str, View]] = {"intent": intent, MAP: map_part}
"""Of which `bgpctl show` has no form."""
KERNEL: Final = "kernel"
"""The view that needs a kernel to be read."""
GUARDED: Final = frozenset({KERNEL, "intent"})
"""Not for every local user: root alone can read the chains of other programs, and the places of files are no one's."""
FOR_MEMBERS: Final = frozenset({*VIEWS, KERNEL, MAP})


def kernel(snapshot: Snapshot, read: ReadKernel) -> Json:
    """
    The kernel with all that decides about a packet, for `bgpctl explain` and `bgpctl verify`, with its schema.

    Raises:
        BadRequest: there is no answer now.
    """
    from bgpctl.agent import trace_views  # noqa: PLC0415 (as above)

    problems = _problems(snapshot) if snapshot.state.phase is Phase.DEGRADED else ()
    return {"schema": client.schema(KERNEL), **trace_views.kernel(snapshot, read, problems)}


def answer(name: str, snapshot: Snapshot) -> Json:
    """The view `name` with its schema. Raises Unknown, BadRequest."""
    view = VIEWS.get(name) or _FOR_COMMANDS.get(name)
    if view is None:
        raise Unknown(name)
    return {"schema": client.schema(name), **view(snapshot)}
