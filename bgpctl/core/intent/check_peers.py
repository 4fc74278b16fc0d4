"""
Rules of BGP: peers, filters, and the blocks that reach no peer.

Refuses to know: sessions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bgpctl.core.cluster.configuration import Backend, Node, Peer
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Severity
from bgpctl.core.intent.breach import Breach, note, some
from bgpctl.core.intent.draft import Draft, Setting
from bgpctl.core.net.addresses import Address, Prefix

_BGP_PORT: Final = 179
"""Of a peer at a node's address it stands for the port at which nodes listen, as in Calico."""


def check_peers(intent: Intent, draft: Draft) -> None:
    """Note every rule about BGP that `intent` breaks."""
    for peer in intent.peers:
        note(draft, draft.peers[peer.name], _peer_rules(intent, draft, peer))
    _peers_of_one_node(intent, draft)
    _mesh_off(intent, draft)
    _unannounced(intent, draft)


def _peer_rules(intent: Intent, draft: Draft, peer: Peer) -> Iterator[Breach]:
    if intent.backend is not Backend.BIRD:
        message = f"a peer needs BGP, and calico_backend is {intent.backend.value}"
        yield Breach("", message, "needs-bgp")
    if peer.address is not None:
        yield from _address_rules(intent, peer, peer.address)
        yield from _unable_rules(draft, peer, peer.address)
    if peer.listen_range is not None:
        yield from _range_rules(intent, peer.listen_range)
        yield from _unable_rules(draft, peer, peer.listen_range)
    yield from _role_rules(intent, peer)
    if draft.knows_all("node") and peer.name not in draft.suppressed:
        yield from _selection_rules(intent, draft, peer)
    for name in peer.filters:
        if not draft.declared("filter", name) and draft.knows_all("filter"):
            known = some([item.name for item in intent.filters])
            yield Breach("filters", f"filter {name} is not given (filters: {known})", "unknown-filter")


def _selection_rules(intent: Intent, draft: Draft, peer: Peer) -> Iterator[Breach]:
    """A selector may be waiting for its nodes; a name may not."""
    stated, names = draft.peers[peer.name].value, some([node.name for node in intent.nodes])
    named = stated.node
    if named and not draft.declared("node", named):
        yield Breach("nodes", f"node {named} is not given (nodes: {names})", "unknown-node")
    elif not peer.nodes and not draft.unable[peer.name]:
        yield Breach("nodes", f"no node is selected (nodes: {names})", "no-node", Severity.WARNING)
    if peer.peer_selector and stated.peer_selector and not peer.remotes:
        yield Breach("remotes", f"no node to peer with is selected (nodes: {names})", "no-node", Severity.WARNING)


def _address_rules(intent: Intent, peer: Peer, address: Address) -> Iterator[Breach]:
    node = _node_at(intent, address)
    if node and intent.mesh and not node.cluster_id:
        message = (
            f"{address} is the address of node {node.name}, which the mesh peers with already: this takes its place"
        )
        yield Breach("address", message, "peer-is-node", Severity.WARNING)
    if node and peer.asn != intent.asn_of(node):
        message = (
            f"node {node.name} has AS {intent.asn_of(node)}, not {peer.asn}, unless its own peer sets localASNumber"
        )
        yield Breach("asn", message, "peer-asn", Severity.WARNING)
    pool = intent.pool_of(address.host_prefix)
    if pool:
        yield Breach("address", f"{address} is inside pool {pool.name} ({pool.cidr})", "peer-in-pool")


def _range_rules(intent: Intent, listen_range: Prefix) -> Iterator[Breach]:
    """From addresses of a pool no session is accepted in any case; a range of such addresses alone is a mistake."""
    pool = intent.pool_of(listen_range)
    if pool:
        yield Breach("range", f"{listen_range} is inside pool {pool.name} ({pool.cidr})", "peer-in-pool")


def _role_rules(intent: Intent, peer: Peer) -> Iterator[Breach]:
    """RFC 9234, section 4.1: roles are those of ASes."""
    nodes = [node for node in intent.nodes if node.name in peer.nodes]
    inside = [node.name for node in nodes if peer.asn == (peer.local_asn or intent.asn_of(node))]
    if peer.local_role and inside:
        message = f"a role is for a peer in another AS; AS {peer.asn} is that of node {some(inside)}"
        yield Breach("role", message, "role-inside")


def _node_at(intent: Intent, address: Address) -> Node | None:
    owners = (node for node in intent.nodes for own in (node.address, node.address6) if own and own.address == address)
    return next(owners, None)


def _unable_rules(draft: Draft, peer: Peer, address: Address | Prefix) -> Iterator[Breach]:
    unable = draft.unable[peer.name]
    if unable:
        message = f"no IPv{address.version} address to reach {address} from: node {some(unable)}"
        is_idle = not peer.nodes and peer.name not in draft.suppressed
        part = "address" if peer.address else "range"
        yield Breach(part, message, "no-underlay", Severity.ERROR if is_idle else Severity.WARNING)


def _peers_of_one_node(intent: Intent, draft: Draft) -> None:
    """
    A node has one session per address, so the second of two such peers would be lost. What ExaBGP reports of a session,
    and commands to it, name the address alone; and with a connection of the peer's, its port is any.
    """
    sessions = dict(_to_nodes_at_their_port(intent))
    for peer in intent.peers:
        if peer.address is None:
            continue
        twins = [sessions.setdefault((node, peer.address), peer) for node in peer.nodes]
        twin = next((twin for twin in twins if twin is not peer and not _is_replaced(intent, twin, peer)), None)
        if twin:
            already = f"{peer.address} is already a peer of the same node, as {twin.name} at {twin.place}"
            message = already if peer.port == twin.port else f"{already}: another port makes no second session"
            draft.wrong(draft.peers[peer.name].part("address"), message, "duplicate-peer")


def _to_nodes_at_their_port(intent: Intent) -> Iterator[tuple[tuple[str, Address], Peer]]:
    """The sessions with nodes that a peer selects."""
    for peer in intent.peers:
        for name in peer.remotes:
            remote = intent.node(name)
            for address in remote.addresses if remote else ():
                yield from (((node, address), peer) for node in peer.nodes)


def _is_replaced(intent: Intent, twin: Peer, peer: Peer) -> bool:
    """True if both mean one session, for which the peer with an address counts, as in Calico."""
    return twin.address is None and peer.port in {_BGP_PORT, intent.listen_port}


def _mesh_off(intent: Intent, draft: Draft) -> None:
    """The statements about a mesh that another document may have switched off."""
    settings: tuple[Setting, ...] = ("mesh_password_file", "mesh_restart_time_s")
    for setting in settings if not intent.mesh else ():
        if setting in draft.settings:
            off = draft.settings["mesh"].at.place
            draft.wrong(draft.settings[setting].at, f"this is about the mesh, which is off at {off}", "mesh-off")


def _unannounced(intent: Intent, draft: Draft) -> None:
    """Without mesh and peers no node learns of a block that only BGP carries."""
    carried = [stated for stated in draft.pools.values() if stated.value.by_bgp]
    is_connected = intent.mesh or draft.peers or len(intent.nodes) < 2 or intent.backend is not Backend.BIRD
    for stated in [] if is_connected else carried:
        message = f"blocks of pool {stated.value.name} travel by BGP, and there is neither a mesh nor a peer"
        draft.wrong(stated.at, message, "no-sessions", Severity.WARNING)
