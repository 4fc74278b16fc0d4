"""
BGP peers: what both forms say alike, by the keys of Calico's BGPPeer.

Refuses to know: which sessions follow (core/bgp/sessions.py).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, NamedTuple

from bgpctl.core.cluster.configuration import NextHopMode, Peer
from bgpctl.core.cluster.problems import Severity
from bgpctl.core.intent.draft import Draft, Located, PeerDraft, Stated, beside, located, read_selector
from bgpctl.core.intent.fields import Fields, dns_name
from bgpctl.core.intent.values import seconds
from bgpctl.core.net.addresses import Address

MAX_RESTART_TIME_S: Final = 4095
"""RFC 4724, section 3: 12 bits."""
_MAX_KEEPALIVE_S: Final = 65535 // 3
"""RFC 4271, section 4.2: the hold time has 16 bits, and three keepalives fit into it."""
_MAX_HOPS: Final = 255
_MAX_OWN_AS: Final = (1 << 31) - 1


class _Reverse(enum.Enum):
    AUTO = "Auto"
    MANUAL = "Manual"


class _Source(enum.Enum):
    NODE = "UseNodeIP"
    NONE = "None"


class Remote(NamedTuple):
    """A peer's address and port, as far as they could be read, and the key that the address stands under."""

    key: str
    address: Address | None
    port: int | None


def read_peer(draft: Draft, fields: Fields, name: str, at: Located, remote: Remote) -> None:
    """Take a peer in, by the keys of Calico's BGPPeer; `nodes` is the short form's nodeSelector."""
    peer_selector = read_selector(fields, "peerSelector") if fields.has("peerSelector") else None
    _remote_rules(fields, remote.key)
    asn = fields.asn("asNumber")
    node_key = "nodes" if fields.has("nodes") else "nodeSelector"
    node, selector = fields.name("node"), read_selector(fields, node_key)
    if fields.has("node") and fields.has("nodeSelector"):
        fields.wrong("nodeSelector", "node and nodeSelector cannot both be given", "both-forms")
    _secret(fields, "password", "passwordFile")
    peer = Peer(
        name=name,
        address=remote.address,
        asn=None if peer_selector else asn,
        nodes=(),
        port=remote.port or 179,
        password_file=beside(fields.place, fields.text("passwordFile")),
        node_selector=fields.text(node_key) or "all()",
        peer_selector=fields.text("peerSelector"),
        local_asn=fields.asn("localASNumber"),
        next_hop_mode=_next_hop_mode(fields),
        restart_time_s=fields.value("maxRestartTime", seconds(0, MAX_RESTART_TIME_S), "duration"),
        keepalive_s=fields.value("keepaliveTime", seconds(1, _MAX_KEEPALIVE_S), "duration"),
        allowed_own_as=fields.integer("numAllowedLocalASNumbers", 0, _MAX_OWN_AS) or 0,
        ttl_security=fields.integer("ttlSecurity", 0, _MAX_HOPS) or None,
        reachable_by=_reachable_by(fields, remote.address),
        filters=fields.values("filters", dns_name, "name"),
        from_node_address=fields.choice("sourceAddress", _Source) is not _Source.NONE,
        reverse=fields.choice("reversePeering", _Reverse) is not _Reverse.MANUAL,
        place=at.place,
    )
    instead = "workloads cannot peer with their node; name the speaker by its address"
    fields.text("localWorkloadSelector")
    fields.unsupported(instead, "localWorkloadSelector")
    if not draft.declare("peer", name, at):
        return
    if selector and (peer_selector or (remote.address and asn)):
        found = PeerDraft(peer, node, selector, peer_selector, remote.port)
        draft.peers[name] = Stated(found, at, _parts(fields, remote.key, node_key))


def _parts(fields: Fields, address_key: str, node_key: str) -> Mapping[str, Located]:
    return {
        "address": located(fields, address_key),
        "nodes": located(fields, "node" if fields.has("node") else node_key),
        "remotes": located(fields, "peerSelector"),
        "filters": located(fields, "filters"),
        "asn": located(fields, "asNumber"),
    }


def _remote_rules(fields: Fields, address: str) -> None:
    """Exactly one of address, peerSelector and localWorkloadSelector says whom to peer with."""
    given = [key for key in (address, "peerSelector", "localWorkloadSelector") if fields.has(key)]
    if len(given) > 1:
        fields.wrong(given[1], f"{' and '.join(given)} cannot both be given: each says whom to peer with", "both-forms")
    elif not given:
        fields.need("a peer", address, "asNumber")
    elif "peerSelector" in given and fields.has("asNumber"):
        message = "with peerSelector each selected node's own AS number counts: leave asNumber out"
        fields.wrong("asNumber", message, "as-with-selector")
    elif address in given:
        fields.need("a peer", "asNumber")


def _secret(fields: Fields, key: str, instead: str) -> None:
    """A Kubernetes Secret cannot be read here; a file beside the resource can."""
    fields.unsupported(f"Secrets of Kubernetes cannot be read here: put it into a file and name that by {instead}", key)


def read_mesh(draft: Draft, fields: Fields, mesh_key: str) -> None:
    """The mesh and what goes with it."""
    draft.set("mesh", fields.boolean(mesh_key), located(fields, mesh_key))
    _secret(fields, "nodeMeshPassword", "nodeMeshPasswordFile")
    file = beside(fields.place, fields.text("nodeMeshPasswordFile"))
    draft.set("mesh_password_file", file, located(fields, "nodeMeshPasswordFile"))
    restart_s = fields.value("nodeMeshMaxRestartTime", seconds(0, MAX_RESTART_TIME_S), "duration")
    draft.set("mesh_restart_time_s", restart_s, located(fields, "nodeMeshMaxRestartTime"))


def _next_hop_mode(fields: Fields) -> NextHopMode:
    mode, keep = fields.choice("nextHopMode", NextHopMode), fields.boolean("keepOriginalNextHop")
    if fields.has("nextHopMode") and fields.has("keepOriginalNextHop"):
        message = "keepOriginalNextHop is the old form of nextHopMode: Keep; they cannot both be given"
        fields.wrong("keepOriginalNextHop", message, "both-forms")
    elif fields.has("keepOriginalNextHop"):
        message = "an old form of nextHopMode: Keep"
        fields.wrong("keepOriginalNextHop", message, "old-spelling", Severity.INFO)
    return mode or (NextHopMode.KEEP if keep else NextHopMode.AUTO)


def _reachable_by(fields: Fields, address: Address | None) -> Address | None:
    gateway = fields.address("reachableBy")
    if gateway and address is None:
        fields.wrong("reachableBy", "reachableBy is the way to the peer's address, which is not given", "missing")
    elif gateway and address and gateway.version != address.version:
        fields.wrong("reachableBy", f"{gateway} is no gateway to {address}: another IP version", "family")
    return gateway
