"""Our agent and routers of one kind around it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.lab.daemons.session_options import CLUSTER_AS, Neighbor, Origin, Place, Router
from tests.interop.daemon import Daemon
from tests.interop.world import ADDRESS, BLOCK, Part, World
from tests.waiting import wait_until

UP_WITHIN_S = 30.0


def router(
    part: Part, *, asn: Asn = CLUSTER_AS, routes: Mapping[Prefix, Origin] | None = None, **options: object
) -> Router:
    """A router at `part` with one session to us; as a member of the cluster it waits or connects as Calico does."""
    member = asn == CLUSTER_AS
    passive = member and str(ADDRESS["us"]) > str(ADDRESS[part])
    neighbor = dataclasses.replace(Neighbor(ADDRESS["us"], ADDRESS[part], passive=passive), **options)  # type: ignore[arg-type]
    announced = {BLOCK[part]: Origin()} if routes is None else routes
    return Router(ADDRESS[part], (neighbor,), announced, asn)


class Rig:
    """The routers that a test starts, by where they live."""

    def __init__(self, world: World, kind: type[Daemon]) -> None:
        self.world = world
        self.kind = kind
        self._running: dict[Part, Daemon] = {}

    def start(self, part: Part, wanted: Router) -> Daemon:
        """Start a router, in place of the one that lives there."""
        place: Place = self.world.place(part)
        daemon = self._running[part] = self._running.get(part) or self.kind(place)
        daemon.start(wanted)
        return daemon

    def running(self, part: Part) -> Daemon:
        return self._running[part]

    def up(self, part: Part) -> None:
        """Wait until the session of a router with us is established at both ends."""
        peer, us = ADDRESS[part], ADDRESS["us"]
        wait_until(lambda: self.world.established(peer) and self._running[part].established(us), within_s=UP_WITHIN_S)

    def end(self) -> None:
        """End all routers, and wait until our agent has seen it, so that nothing of it is left for the next test."""
        for daemon in self._running.values():
            daemon.end()


def has_block(daemon: Daemon, prefix: Prefix, neighbor: Address) -> bool:
    """True if the neighbour announced the prefix to the router, with itself as the next hop."""
    entry = daemon.table(neighbor).get(prefix)
    return entry is not None and entry.next_hop == neighbor
