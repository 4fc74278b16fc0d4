"""
Nodes and routers of a lab that run another BGP daemon: its configuration follows from the sessions of the cluster.

A node is configured as Calico configures its own. A router has the other end of each session that a node has with it,
and one with each router of another AS on its segments, if that runs a daemon too.

Refuses to know: how a daemon writes its configuration (daemons/).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import assert_never

from bgpctl.core.bgp.sessions import router_id, speaker_config
from bgpctl.core.bgp.speaker import Session
from bgpctl.core.net.addresses import Asn
from bgpctl.lab import netns
from bgpctl.lab.daemons import bird, frr, session_options
from bgpctl.lab.daemons.session_options import Neighbor, Origin, Place
from bgpctl.lab.topology import Program, Router, Topology

_FILES = {Program.BIRD: (bird.PACKAGE, bird.PROGRAMS), Program.FRR: (frr.PACKAGE, frr.PROGRAMS)}


def missing(programs: Iterable[Program]) -> list[str]:
    """Which of them are not installed, each with what Debian calls its package."""
    found = ((program, *_FILES[program]) for program in sorted(set(programs), key=lambda program: program.value))
    return [
        f"{program.value} (Debian's {package})" for program, package, files in found if session_options.missing(files)
    ]


def start(topology: Topology, name: str, place: Place) -> None:
    """Start the daemon of the node or router; it ends with its namespace."""
    place.directory.mkdir(parents=True, exist_ok=True)
    match topology.runs[name]:
        case Program.BIRD:
            place.file("bird.conf").write_text(bird_configuration(topology, name))
            bird.start(place)
        case Program.FRR:
            frr.write(place, configured(topology, name))
            for program in ("zebra", "bgpd"):
                frr.start(place, program)
        case never:
            assert_never(never)


def bird_configuration(topology: Topology, name: str) -> str:
    """The text of bird.conf for a node or router that runs BIRD."""
    return bird.configuration(configured(topology, name), bird.CALICO if topology.intent.node(name) else bird.PLAIN)


def knows(topology: Topology, name: str, namespace: str) -> bool:
    """True if the kernel of the node or router has a route to every block of the others."""
    known = {line.split()[0] for line in netns.routes(namespace).splitlines() if line.strip()}
    others = (node for node in topology.intent.nodes if node.name != name)
    return known >= {str(block) for node in others for block in topology.intent.blocks_of(node)}


def configured(topology: Topology, name: str) -> session_options.Router:
    """The configuration of the daemon of a node or router."""
    node = topology.intent.node(name)
    if node is None:
        return _router(topology, next(router for router in topology.routers if router.name == name))
    config = speaker_config(topology.intent, name)
    neighbors = tuple(_neighbor(session) for session in (config.sessions if config else ()))
    allocated = topology.intent.allocations.of(name)
    own = {prefix: Origin() for prefix in (*allocated.blocks, *allocated.borrowed)}
    return session_options.Router(router_id(node), neighbors, own, topology.intent.asn_of(node), node.cluster_id)


def _neighbor(session: Session) -> Neighbor:
    return Neighbor(
        session.peer,
        session.local,
        session.peer_asn,
        passive=session.passive,
        password=Path(session.password_file).read_text(encoding="utf-8").strip() if session.password_file else None,
        ttl_security=session.ttl_security is not None,
        client=session.client,
    )


def _router(topology: Topology, router: Router) -> session_options.Router:
    sessions = tuple(sessions_with(topology, router))
    neighbors = tuple(
        Neighbor(
            session.local,
            session.peer,
            session.local_asn,
            password=_neighbor(session).password,
            ttl_security=session.ttl_security is not None,
        )
        for session in sessions
    )
    nearby = tuple(_between(topology, router, sessions[0].peer_asn))
    return session_options.Router(router.addresses[0].address, neighbors + nearby, asn=sessions[0].peer_asn)


def sessions_with(topology: Topology, router: Router) -> Iterator[Session]:
    """The sessions of nodes with the router, as the nodes see them."""
    own = {item.address for item in router.addresses}
    for node in topology.intent.nodes:
        config = speaker_config(topology.intent, node.name)
        yield from (session for session in (config.sessions if config else ()) if session.peer in own)


def _between(topology: Topology, router: Router, asn: Asn) -> Iterator[Neighbor]:
    for other in topology.routers:
        theirs = next(sessions_with(topology, other), None) if other.name in topology.runs else None
        if theirs is None or theirs.peer_asn == asn:
            continue
        for own in router.addresses:
            segment = topology.segment_of(own.address)
            for item in other.addresses:
                if segment and topology.segment_of(item.address) == segment:
                    yield Neighbor(item.address, own.address, theirs.peer_asn)
