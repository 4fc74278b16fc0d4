"""
What the agent tells: pure functions from its state to JSON. Each answer names its schema, `bgpctl/<view>/v1`.

Refuses to know: sockets, tables, colours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from bgpctl.agent import words
from bgpctl.core.cluster import Encapsulation, Node
from bgpctl.core.fabric import encapsulation_to, ipip, vxlan
from bgpctl.core.fabric.facts import underlay_of
from bgpctl.core.loop import Phase, State, missing, peers_down, selection
from bgpctl.core.model import PROTOCOL, Address, Dataplane, Ipip, Link, NextHop, Prefix, Route, RouteType, Vxlan, key_of
from bgpctl.core.rib import Heard
from bgpctl.core.tunnels import borrowed

Json: TypeAlias = dict[str, Any]
View: TypeAlias = Callable[["Snapshot"], Json]


class Snapshot:
    """One state with what a view needs beside it: the time, of the state's own clock, and the query."""

    def __init__(self, state: State, now_s: float, query: Mapping[str, str]) -> None:
        self.state = state
        self.now_s = now_s
        self.query = query
        self.observed = state.observed or Dataplane()
        self.node: Node | None = state.intent.node(state.node) if state.intent else None

    def age_s(self, since_s: float) -> float:
        return round(self.now_s - since_s, 1)


def summary(snapshot: Snapshot) -> Json:
    """One line for the whole node, and everything that is not well."""
    state = snapshot.state
    intent = state.intent
    chosen, _ = selection(state)
    wanted = state.desired.dataplane.routes if state.desired else frozenset()
    return {
        "node": state.node,
        "backend": ("bgp" if state.config else intent.backend.value) if intent else None,
        "pools": len(intent.pools) if intent else 0,
        "peers": {"wanted": len(state.rib), "established": len(state.rib) - len(peers_down(state))},
        "routes": {
            "received": sum(len(table.paths) for table in state.rib.values()),
            "best": len(chosen),
            "wanted": sum(1 for route in wanted if route.next_hop),
            "installed": sum(1 for route in wanted & snapshot.observed.routes if route.next_hop),
        },
        "tunnels": [f"{row['kind']} {len(row['remotes'])}" for row in _tunnels(snapshot)],
        "mtu_bytes": _workload_mtu_bytes(snapshot),
        "repaired_1h": sum(1 for at_s in state.repairs if at_s > snapshot.now_s - 3600),
        "state": state.phase.value,
        "converged": state.phase is Phase.CONVERGED,
        "state_age_s": snapshot.age_s(state.since_s),
        "problems": _problems(state),
    }


def _problems(state: State) -> list[str]:
    """Everything not well, in words; what the operator must mend first."""
    down = [f"peer {_peer_name(state, peer)} is {_session_words(state, peer)}" for peer in peers_down(state)]
    return [
        *(f"edit refused: {problem}" for problem in state.problems),
        *map(words.failure, state.failures),
        *map(words.missing, missing(state)),
        *down,
        *(map(words.withheld, state.desired.withheld) if state.desired else ()),
    ]


def _session_words(state: State, peer: Address) -> str:
    table = state.rib[peer]
    kept = f", keeping {len(table.paths)} stale routes" if table.heard is Heard.STALE and table.paths else ""
    return f"not established{kept}" + (f" ({table.last_error})" if table.last_error else "")


def _peer_name(state: State, peer: Address) -> str:
    sessions = state.config.sessions if state.config else ()
    return next((session.name for session in sessions if session.peer == peer), str(peer))


def _workload_mtu_bytes(snapshot: Snapshot) -> int | None:
    """The smallest MTU of the underlay and the tunnels in use."""
    underlay = underlay_of(snapshot.observed, snapshot.node) if snapshot.node else None
    tunnels = [link.mtu_bytes for link in snapshot.observed.links if link.owned]
    return min([underlay.mtu_bytes, *tunnels]) if underlay else None


def peers(snapshot: Snapshot) -> Json:
    """The BGP sessions this node owes."""
    state = snapshot.state
    _, rejected = selection(state)
    sessions = state.config.sessions if state.config else ()
    return {
        "peers": [
            {
                "name": session.name,
                "address": str(session.peer),
                "asn": session.peer_asn,
                "type": "internal" if session.peer_asn == session.local_asn else "external",
                "passive": session.passive,
                "established": table.established,
                "uptime_s": None if table.up_since_s is None else snapshot.age_s(table.up_since_s),
                "table": table.heard.value,
                "age_s": snapshot.age_s(table.since_s),
                "received": len(table.paths),
                "rejected": sum(1 for item in rejected if item.peer == session.peer),
                "stale": len(table.stale),
                "last_error": table.last_error,
            }
            for session in sessions
            if (table := state.rib.get(session.peer)) is not None
        ]
    }


def routes(snapshot: Snapshot) -> Json:
    """What should be in the routing table, why, and whether it is."""
    state, node = snapshot.state, snapshot.node
    if state.desired is None or node is None:
        return {"routes": []}
    only = Prefix.parse(snapshot.query["prefix"]) if snapshot.query.get("prefix") else None
    hops = {hop.id: hop for hop in state.desired.dataplane.next_hops}
    reasons = state.desired.why
    rows = sorted(state.desired.dataplane.routes, key=lambda route: route.prefix)
    return {
        "routes": [
            {
                **_route(route, hops.get(route.next_hop)),
                "installed": _installed(route, hops.get(route.next_hop), snapshot.observed),
                "why": words.why(reasons[key_of(route)], node),
            }
            for route in rows
            if only is None or only.overlaps(route.prefix)
        ]
    }


def _route(route: Route, hop: NextHop | None) -> Json:
    return {
        "prefix": str(route.prefix),
        "type": route.type.name.lower(),
        "via": str(hop.gateway) if hop else None,
        "dev": hop.link if hop else None,
        "onlink": hop.onlink if hop else False,
        "next_hop_id": route.next_hop or None,
        "metric": route.metric,
    }


def _installed(route: Route, hop: NextHop | None, observed: Dataplane) -> bool:
    return route in observed.routes and (hop is None or hop in observed.next_hops)


def rib(snapshot: Snapshot) -> Json:
    """Every path received: best, not best and why, rejected and why. `which` narrows: in, best, rejected."""
    state = snapshot.state
    chosen, rejected = selection(state)
    best = {(choice.best.peer, prefix): "" for prefix, choice in chosen.items()}
    lost = {(loser.peer, prefix): step for prefix, choice in chosen.items() for loser, step in choice.lost}
    refused = {(item.peer, item.prefix): item.reason for item in rejected}
    rows: list[Json] = []
    for peer, table in sorted(state.rib.items()):
        for prefix, received in sorted(table.paths.items()):
            key = (peer, prefix)
            status = "best" if key in best else "lost" if key in lost else "rejected"
            path = received.path
            rows.append(
                {
                    "prefix": str(prefix),
                    "peer": _peer_name(state, peer),
                    "next_hop": str(path.next_hop) if path.next_hop else None,
                    "as_path": list(path.as_path),
                    "origin": path.origin,
                    "local_pref": path.local_pref,
                    "med": path.med,
                    "status": status,
                    "reason": lost[key].value if key in lost else refused.get(key, ""),
                    "stale": prefix in table.stale,
                    "age_s": snapshot.age_s(received.at_s),
                }
            )
    which = snapshot.query.get("which", "in")
    return {"paths": [row for row in rows if which == "in" or row["status"] == which]}


def tunnels(snapshot: Snapshot) -> Json:
    """The tunnel devices and the remotes reached through them."""
    return {"tunnels": _tunnels(snapshot)}


def _tunnels(snapshot: Snapshot) -> list[Json]:
    links = sorted((link for link in snapshot.observed.links if link.owned), key=lambda link: link.name)
    return [_tunnel(snapshot, link) for link in links if isinstance(link.kind, Ipip | Vxlan)]


def _tunnel(snapshot: Snapshot, link: Link) -> Json:
    observed, state = snapshot.observed, snapshot.state
    remotes = set()
    if state.desired:
        through = {hop.id for hop in observed.next_hops if hop.link == link.name}
        used = (route for route in state.desired.dataplane.routes if route.next_hop in through)
        remotes = {state.desired.why[key_of(route)].remote for route in used}
    kind = link.kind
    return {
        "name": link.name,
        "kind": "vxlan" if isinstance(kind, Vxlan) else "ipip",
        "driver": kind.driver if isinstance(kind, Ipip) else "kernel",
        "up": link.up,
        "mtu_bytes": link.mtu_bytes,
        "addresses": sorted(str(item.address) for item in observed.addresses if item.link == link.name),
        "vni": kind.vni if isinstance(kind, Vxlan) else None,
        "port": kind.port if isinstance(kind, Vxlan) else None,
        "mac": link.mac,
        "accepts_from": sorted(str(a) for decap in observed.decaps if decap.link == link.name for a in decap.sources),
        "remotes": sorted(str(remote) for remote in remotes if remote),
    }


def nodes(snapshot: Snapshot) -> Json:
    """The members of the cluster as this node sees them."""
    intent, here = snapshot.state.intent, snapshot.node
    if intent is None or here is None:
        return {"nodes": []}
    return {
        "nodes": [
            {
                "name": node.name,
                "address": str(node.address),
                "this": node == here,
                "same_subnet": here.address.network.holds(node.address.address),
                "blocks": [str(block) for block in node.blocks],
                "borrowed": [str(prefix) for prefix in borrowed(intent, node)],
                "asn": intent.asn_of(node),
                "tunnel_addresses": [
                    str(address)
                    for address in (ipip.tunnel_address(intent, node), vxlan.tunnel_address(intent, node))
                    if address
                ],
                "session": _session_state(snapshot.state, node) if node != here else None,
            }
            for node in intent.nodes
        ]
    }


def _session_state(state: State, node: Node) -> str | None:
    table = state.rib.get(node.address.address)
    if table is None:
        return None
    return "established" if table.established else "down"


def pools(snapshot: Snapshot) -> Json:
    """The pools and how this node sends to each other node of each."""
    intent, here = snapshot.state.intent, snapshot.node
    if intent is None or here is None:
        return {"pools": []}
    others = [node for node in intent.nodes if node != here]
    return {
        "pools": [
            {
                "name": pool.name,
                "cidr": str(pool.cidr),
                "encapsulation": pool.encapsulation.value,
                "mode": pool.mode.value,
                "block_size": pool.block_size,
                "nat_outgoing": pool.nat_outgoing,
                "disabled": pool.disabled,
                "blocks": sum(1 for node in intent.nodes for block in node.blocks if pool.cidr.covers(block)),
                "encapsulated_to": sorted(
                    node.name
                    for node in others
                    if encapsulation_to(pool, here, node.address.address) is not Encapsulation.DIRECT
                ),
            }
            for pool in intent.pools
        ]
    }


def blocks(snapshot: Snapshot) -> Json:
    """Every block with its owner, and whether this node routes it."""
    intent = snapshot.state.intent
    if intent is None:
        return {"blocks": []}
    installed = {route.prefix: route for route in snapshot.observed.routes if route.protocol == PROTOCOL}
    owners = [(block, node) for node in intent.nodes for block in node.blocks]
    return {
        "blocks": [
            {
                "block": str(block),
                "node": node.name,
                "pool": pool.name if (pool := intent.pool_of(block)) else None,
                "here": _block_state(installed.get(block)),
            }
            for block, node in sorted(owners, key=lambda pair: pair[0])
        ]
    }


def _block_state(route: Route | None) -> str:
    if route is None:
        return "absent"
    return "own" if route.type is RouteType.BLACKHOLE else "routed"


VIEWS: Final[Mapping[str, View]] = {
    "summary": summary,
    "peers": peers,
    "routes": routes,
    "rib": rib,
    "tunnels": tunnels,
    "nodes": nodes,
    "pools": pools,
    "blocks": blocks,
}


def answer(name: str, snapshot: Snapshot) -> Json:
    """The view `name` with its schema. Raises KeyError for an unknown one, ValueError for a bad query."""
    view = VIEWS[name]
    return {"schema": f"bgpctl/{name}/v1", **view(snapshot)}
