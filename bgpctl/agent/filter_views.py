"""
Views of what filters dropped: of a tunnel's packets, and of those that workloads sent.

Refuses to know: how packets are dropped and counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from operator import attrgetter

from bgpctl.agent.snapshot import Json, Snapshot
from bgpctl.core.net.addresses import LINK_LOCAL, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import MAIN_TABLE, Drops, Link, Traffic


def counters(traffic: Traffic | None) -> Json | None:
    """The counters of a tunnel device."""
    return {name: value for name, value in traffic._asdict().items() if name != "drops"} if traffic else None


def of_tunnel(traffic: Traffic | None, drops: Iterable[Drops]) -> list[Json]:
    """Packets that were not let in, of which a driver may have one count and no reasons, and those dropped inside."""
    outside: tuple[Drops, ...] = ()
    if traffic and traffic.dropped_packets is not None:
        outside = traffic.drops or (Drops("sender", traffic.dropped_packets),)
    return _rows((*outside, *drops))


def workloads(snapshot: Snapshot) -> Json:
    """The links that lead to workloads, the addresses that these may send from, and what was dropped of theirs."""
    links = _links(snapshot)
    addresses = _addresses_behind(snapshot.observed, {link.name for link in links})
    dropped = dict(of_workloads(snapshot))
    desired = snapshot.state.kernel.desired
    filtered = bool(desired and desired.dataplane.workload_filters & snapshot.observed.workload_filters)
    return {
        "workloads": [
            {
                "device": link.name,
                "up": link.up,
                "mtu_bytes": link.mtu_bytes,
                "addresses": [str(prefix) for prefix in sorted(addresses.get(link.name, ()))],
                "filtered": filtered,
                "dropped": dropped[link.name],
            }
            for link in links
        ]
    }


def of_workloads(snapshot: Snapshot) -> Iterator[tuple[str, list[Json]]]:
    """Each link that leads to a workload, and what was dropped of its packets."""
    links = _links(snapshot)
    dropped = snapshot.drops() if links else {}
    return ((link.name, _rows(dropped.get(link.name, ()))) for link in links)


def _links(snapshot: Snapshot) -> list[Link]:
    return sorted((link for link in snapshot.observed.links if link.workload), key=attrgetter("name"))


def _addresses_behind(observed: Dataplane, links: Collection[str]) -> Mapping[str, list[Prefix]]:
    """The prefixes whose route in the main table leads to each of the links."""
    found: dict[str, list[Prefix]] = {}
    for route in observed.routes if links else ():
        if route.link and route.link in links and route.table == MAIN_TABLE and not LINK_LOCAL.covers(route.prefix):
            found.setdefault(route.link, []).append(route.prefix)
    return found


def _rows(drops: Iterable[Drops]) -> list[Json]:
    return [
        {"reason": item.reason, "packets": item.packets, "last": str(item.last) if item.last else None}
        for item in sorted(drops, key=attrgetter("reason"))
    ]
