"""
The BGP sessions of a node: the mesh, the configured peers and their mirror images.

Refuses to know: how a speaker is configured with them, which routes cross them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypedDict

from bgpctl.core.bfd.session import Intervals
from bgpctl.core.bgp.bfd import BfdOptions
from bgpctl.core.bgp.speaker import Session, SpeakerConfig
from bgpctl.core.cluster.configuration import Backend, Bfd, Configuration, Node, Peer, TtlSecurity
from bgpctl.core.net.addresses import Address, Asn, Prefix

HOLD_TIME_S: Final = 30
RESTART_TIME_S: Final = 120
_BIRDS_HOLD_TIME_S: Final = 240
"""BIRD's default, which Calico leaves as it is: in its resources there is a keepalive time, but no hold time."""
_BGP_PORT: Final = 179
_EVERY_NODE: Final = "all()"
_NO_RANGE: Final = Prefix(4, 0, 0)


NONE_CONNECTED: Final[Mapping[Address, Asn]] = MappingProxyType({})


def speaker_config(
    configuration: Configuration, name: str, connected: Mapping[Address, Asn] = NONE_CONNECTED
) -> SpeakerConfig | None:
    """
    The configuration of the speaker of node `name`; None where there is no BGP at all. `connected` are addresses of
    ranges that have connected, the first one first, and the AS of each.
    """
    node = configuration.node(name)
    if node is None or configuration.backend is not Backend.BIRD:
        return None
    sessions = {session.peer: session for session in _by_precedence(configuration, node)}
    accepted = _accepted(configuration, node, connected) if connected else ()
    sessions = {**{session.peer: session for session in accepted}, **sessions}
    return SpeakerConfig(
        router_id(node),
        node.address.address,
        configuration.listen_port,
        tuple(sessions[peer] for peer in sorted(sessions)),
        listen6=node.address6.address if node.address6 else None,
        ranges=tuple(peer.listen_range for peer in _with_range(configuration, node) if peer.listen_range),
    )


def _with_range(configuration: Configuration, node: Node) -> Iterator[Peer]:
    return (peer for peer in configuration.peers if peer.listen_range and node.name in peer.nodes)


def _accepted(configuration: Configuration, node: Node, connected: Mapping[Address, Asn]) -> Iterator[Session]:
    """
    The sessions with peers of ranges, up to each one's limit. Of ranges that hold an address the longest that takes its
    AS counts. No node is one: its sessions follow from its record. Nor is an address of a pool: that is a workload's.
    """
    members = {address for other in configuration.nodes for address in other.addresses}
    peers = sorted(_with_range(configuration, node), key=lambda peer: -(peer.listen_range or _NO_RANGE).length)
    left = {peer.name: peer.limit for peer in peers}
    for address, asn in connected.items():
        own = node.underlay(address.version)
        if own is None or address in members or any(pool.cidr.holds(address) for pool in configuration.pools):
            continue
        accepting = (peer for peer in peers if left[peer.name] and _accepts(configuration, node, peer, address, asn))
        peer = next(accepting, None)
        if peer:
            left[peer.name] -= 1
            yield _session_of_range(configuration, node, peer, own.address, address, asn)


def _accepts(configuration: Configuration, node: Node, peer: Peer, address: Address, asn: Asn) -> bool:
    if not (peer.listen_range and peer.listen_range.holds(address)):
        return False
    if peer.asn_range is None:
        return peer.asn == asn
    return peer.asn_range.holds(asn) and asn != (peer.local_asn or configuration.asn_of(node))


def _session_of_range(
    configuration: Configuration, node: Node, peer: Peer, local: Address, address: Address, asn: Asn
) -> Session:
    session = Session(
        peer=address,
        name=f"{peer.name}-{address}",
        local=local,
        local_asn=peer.local_asn or configuration.asn_of(node),
        peer_asn=asn,
        passive=True,
        accepted=True,
    )
    wanted = _as_wanted(peer, node, session)
    # The listening socket takes connections at the node's address alone.
    return replace(wanted, client=_is_client(node, None, session), bound=True)


def router_id(node: Node) -> Address:
    """The node's IPv4 address; four bytes that its name gives where it has none (RFC 6286 asks for no more)."""
    own = node.underlay(4)
    return own.address if own else Address(4, int.from_bytes(hashlib.sha256(node.name.encode()).digest()[:4]))


def waits_for(local: Address, peer: Address) -> bool:
    """
    True if `local` is the passive side: when the peer's address is the greater one *as a string*, Calico's rule, so
    that a mesh mixed with Calico nodes agrees. Two active sides collide and can abort a graceful restart.
    """
    return str(peer) > str(local)


def _by_precedence(configuration: Configuration, node: Node) -> Iterator[Session]:
    """All that ask for a session; of those with one address the last one counts, as in Calico."""
    yield from _mesh(configuration, node)
    yield from (session for peer in configuration.peers for session in _mirrored(configuration, node, peer))
    explicit = [peer for peer in configuration.peers if node.name in peer.nodes]
    for peer in sorted(explicit, key=lambda peer: peer.node_selector == _EVERY_NODE):
        yield from _configured(configuration, node, peer)


def _mesh(configuration: Configuration, node: Node) -> Iterator[Session]:
    """A reflector is in no mesh: its clients would learn everything twice."""
    if not configuration.mesh or node.cluster_id is not None:
        return
    restart_time_s = RESTART_TIME_S if configuration.mesh_restart_time_s is None else configuration.mesh_restart_time_s
    for other in configuration.nodes:
        if other.cluster_id is None:
            for session in _between(configuration, node, other):
                yield replace(session, restart_time_s=restart_time_s, password_file=configuration.mesh_password_file)


def _configured(configuration: Configuration, node: Node, peer: Peer) -> Iterator[Session]:
    """The sessions that `peer` asks of a node that it names."""
    yield from _to_address(configuration, node, peer)
    for other in _named(configuration, peer.remotes):
        yield from (
            _as_wanted(peer, node, session) for session in _between(configuration, node, other, ours=peer.local_asn)
        )


def _mirrored(configuration: Configuration, node: Node, peer: Peer) -> Iterator[Session]:
    """The other ends, at the nodes that `peer` selects as remotes."""
    if not peer.reverse or node.name not in peer.remotes:
        return
    for other in _named(configuration, peer.nodes):
        yield from (
            _as_wanted(peer, node, session) for session in _between(configuration, node, other, theirs=peer.local_asn)
        )


def _to_address(configuration: Configuration, node: Node, peer: Peer) -> Iterator[Session]:
    own = node.underlay(peer.address.version) if peer.address else None
    if peer.address is None or own is None or peer.address == own.address:
        return
    member = next((other for other in configuration.nodes if _has(other, peer.address)), None)
    asn = peer.asn or (configuration.asn_of(member) if member else None)
    if asn is None:
        return
    session = Session(
        peer=peer.address,
        name=peer.name,
        local=own.address,
        local_asn=peer.local_asn or configuration.asn_of(node),
        peer_asn=asn,
        passive=member is not None and waits_for(own.address, peer.address),
        port=configuration.listen_port if member and peer.port == _BGP_PORT else peer.port,
        hold_time_s=HOLD_TIME_S,
        restart_time_s=RESTART_TIME_S,
    )
    if member:
        session = replace(session, **_gtsm(node, member, peer.address.version))
    yield replace(_as_wanted(peer, node, session), client=_is_client(node, member, session))


def _between(
    configuration: Configuration, node: Node, other: Node, *, ours: Asn | None = None, theirs: Asn | None = None
) -> Iterator[Session]:
    """One session for each IP version that two different nodes have; `ours` and `theirs` override their AS numbers."""
    for version in (4, 6):
        own, others = node.underlay(version), other.underlay(version)
        if own is None or others is None or own == others:
            continue
        session = Session(
            peer=others.address,
            name=other.name,
            local=own.address,
            local_asn=ours or configuration.asn_of(node),
            peer_asn=theirs or configuration.asn_of(other),
            passive=waits_for(own.address, others.address),
            port=configuration.listen_port,
            hold_time_s=HOLD_TIME_S,
            restart_time_s=RESTART_TIME_S,
            **_gtsm(node, other, version),
        )
        yield replace(session, client=_is_client(node, other, session))


class _Gtsm(TypedDict):
    ttl_security: int | None
    greatest_ttl: bool


def _gtsm(node: Node, other: Node, version: int) -> _Gtsm:
    """
    Without a flag day: a node sends the greatest TTL once its record says so, and requires it of those whose records
    say so. Between networks there are routers, an unknown number of them.
    """
    requires = node.ttl_security is TtlSecurity.REQUIRES and other.ttl_security is not None
    ends = (node.underlay(version), other.underlay(version))
    is_adjacent = all(a and b and a.network.holds(b.address) for a, b in (ends, ends[::-1]))
    return {"ttl_security": 1 if requires and is_adjacent else None, "greatest_ttl": node.ttl_security is not None}


def _as_wanted(peer: Peer, node: Node, session: Session) -> Session:
    """The session with the options of `peer` for both ends; the source address is an option of its nodes."""
    return replace(
        session,
        by=peer.name,
        hold_time_s=_hold_time_s(peer),
        keepalive_s=peer.keepalive_s,
        restart_time_s=RESTART_TIME_S if peer.restart_time_s is None else peer.restart_time_s,
        password_file=peer.password_file,
        bound=peer.from_node_address or node.name not in peer.nodes,
        ttl_security=session.ttl_security if peer.ttl_security is None else peer.ttl_security,
        bfd=_bfd(peer.bfd, node, session) if peer.bfd else None,
        role=peer.local_role,
        strict_role=peer.strict_role,
        add_path=peer.add_path,
    )


def _hold_time_s(peer: Peer) -> int:
    if peer.hold_time_s is not None:
        return peer.hold_time_s
    return HOLD_TIME_S if peer.keepalive_s is None else _BIRDS_HOLD_TIME_S


def _bfd(wanted: Bfd, node: Node, session: Session) -> BfdOptions:
    """A peer in the node's own network is one hop away, and others are more, unless the operator knows better."""
    own = node.underlay(session.version)
    is_near = own is not None and own.network.covers(session.peer.host_prefix)
    intervals = Intervals(wanted.send_ms * 1000, wanted.receive_ms * 1000, wanted.multiplier)
    return BfdOptions(intervals, multihop=not is_near if wanted.multihop is None else wanted.multihop)


def _is_client(node: Node, other: Node | None, session: Session) -> bool:
    """Of a reflector, every internal peer is a client unless it is a reflector of the same cluster."""
    theirs = other.cluster_id if other else None
    return node.cluster_id is not None and session.internal and theirs != node.cluster_id


def _named(configuration: Configuration, names: Iterable[str]) -> Iterator[Node]:
    return (node for node in map(configuration.node, names) if node is not None)


def _has(node: Node, address: Address) -> bool:
    own = node.underlay(address.version)
    return own is not None and own.address == address
