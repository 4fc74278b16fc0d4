"""
BGP peers: the part that both forms share, by the keys of Calico's BGPPeer.

Refuses to know: which sessions follow (core/bgp/sessions.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from bgpctl.core.cluster.configuration import EVERY_ASN, AsnRange, Bfd, NextHopMode, Peer, Role
from bgpctl.core.cluster.problems import Severity
from bgpctl.core.intent.draft import Draft, Located, PeerDraft, Stated, located, read_selector
from bgpctl.core.intent.field_kinds import (
    ADDRESS,
    ASN,
    BOOLEAN,
    FILE,
    NAME,
    PREFIX,
    SELECTOR,
    TEXT,
    FieldKind,
    coded,
    duration,
    enumeration,
    integer,
    several,
    short_duration,
    unsupported,
)
from bgpctl.core.intent.fields import Fields, dns_name
from bgpctl.core.intent.shapes import Shape, numbers, ref
from bgpctl.core.intent.tables import Row, Table, Values, read_only
from bgpctl.core.intent.tree import shown
from bgpctl.core.net.addresses import Address, Asn

_RESTART_TIME: Final = duration(0, 4095)
"""RFC 4724, section 3: 12 bits."""
_HOLD_TIME: Final = duration(3, 65535)
_KEEPALIVE: Final = duration(1, 65535 // 3)
"""RFC 4271, section 4.2: the hold time has 16 bits, and three keepalives fit into it."""
_MAX_HOPS: Final = 255
_MAX_OWN_AS: Final = (1 << 31) - 1
_NO_SECRETS: Final = "Not supported here: Secrets of Kubernetes cannot be read. See {}."


class Remote(NamedTuple):
    """A peer's address and port, as far as they could be read, and the key that the address stands under."""

    key: str
    address: Address | None
    port: int | None


# Fields that are like no others --------------------------------------------------------------------------------


def _secret(instead: str) -> FieldKind[object]:
    """A Kubernetes Secret cannot be read here; a file beside the resource can."""
    return unsupported(f"Secrets of Kubernetes cannot be read here: put it into a file and name that by {instead}")


def _read_keep(fields: Fields, key: str) -> NextHopMode | None:
    """The old form of nextHopMode: Keep."""
    keep = fields.boolean(key)
    if fields.has("nextHopMode") and fields.has(key):
        message = "keepOriginalNextHop is the old form of nextHopMode: Keep; they cannot both be given"
        fields.wrong(key, message, "both-forms")
    elif fields.has(key):
        fields.wrong(key, "an old form of nextHopMode: Keep", "old-spelling", Severity.INFO)
    return NextHopMode.KEEP if keep else None


def _read_nodes(fields: Fields, key: str) -> str | None:
    """The short form's nodeSelector; where it is absent, hints for misspelt keys do not suggest it."""
    return SELECTOR.read(fields, key) if fields.has(key) else None


def _read_node_selector(fields: Fields, key: str) -> str | None:
    if not fields.has("nodes"):
        return SELECTOR.read(fields, key)
    if fields.has(key):
        fields.ignore(key)
        fields.wrong(key, "nodes is short for nodeSelector; they cannot both be given", "both-forms")
    return None


def _read_peer_selector(fields: Fields, key: str) -> str | None:
    """The text as it is written, because an empty one selects nodes, and a wrong one still stands for a selector."""
    if fields.has(key):
        read_selector(fields, key)
    return fields.text(key)


_KEEP: Final = FieldKind(_read_keep, BOOLEAN.shape, None)
_MAX_DYNAMIC: Final = 5000
_EXTERNAL: Final = "external"
_AS_RANGE_TEXT: Final = re.compile("([0-9]{1,10})-([0-9]{1,10})")


def _read_as_range(fields: Fields, key: str) -> AsnRange | None:
    text = fields.text(key)
    if text is None or text == _EXTERNAL:
        return None if text is None else EVERY_ASN
    match = _AS_RANGE_TEXT.fullmatch(text)
    found = AsnRange(Asn(int(match[1])), Asn(int(match[2]))) if match else None
    if found and EVERY_ASN.least <= found.least <= found.greatest <= EVERY_ASN.greatest:
        return found
    fields.wrong(key, f"{shown(text)} is neither {_EXTERNAL} nor a range of AS numbers such as 65000-65099", "as-range")
    return None


def _write_as_range(found: AsnRange) -> str:
    return _EXTERNAL if found == EVERY_ASN else f"{found.least}-{found.greatest}"


_AS_RANGE: Final = FieldKind(
    _read_as_range, {"type": ["string", "null"], "pattern": f"^({_EXTERNAL}|[0-9]+-[0-9]+)$"}, _write_as_range
)
_HOPS: Final = FieldKind(lambda fields, key: fields.integer(key, 0, _MAX_HOPS) or None, numbers(0, _MAX_HOPS))


# BFD -----------------------------------------------------------------------------------------------------------

_INTERVAL: Final = short_duration(50, 60_000)
_BFD: Final = Table(
    (
        Row("minimumSendInterval", _INTERVAL, "send_ms", "The least interval between two packets to the peer."),
        Row("minimumRecvInterval", _INTERVAL, "receive_ms", "The least interval between two packets of the peer."),
        Row("multiplier", integer(2, 255), "multiplier", "So many packets in a row that are lost end the session."),
        Row(
            "multihop",
            BOOLEAN,
            "multihop",
            "UDP port 4784 (RFC 5883) in place of 3784; absent: for peers outside the node's own network.",
        ),
    ),
    Bfd,
    "BFD",
    "BFD with the peer (RFC 5880): its paths go as soon as the way to it is dead. {} for 3 times 300 ms.",
)


def _read_bfd(fields: Fields, key: str) -> Bfd | None:
    found = fields.fields(key)
    if found is None:
        return None
    bfd = Bfd(**_BFD.read(found))
    found.finish()
    return bfd


# The table -----------------------------------------------------------------------------------------------------

_NODES: Final = Row("nodes", replace(SELECTOR, read=_read_nodes), "node_selector", "Short for nodeSelector.")
_NODE_SELECTOR: Final = Row(
    "nodeSelector", replace(SELECTOR, read=_read_node_selector), "node_selector", "The nodes that peer with it."
)
_OPTIONS: Final = (
    Row("asNumber", ASN, "asn", "The remote AS; not with peerSelector."),
    Row("localASNumber", ASN, "local_asn", "Our AS on these sessions."),
    Row("passwordFile", FILE, "password_file", "The file with the TCP-MD5 password (RFC 2385); beside this file."),
    Row("password", _secret("passwordFile"), about=_NO_SECRETS.format("passwordFile")),
    Row(
        "nextHopMode",
        enumeration(NextHopMode),
        "next_hop_mode",
        "The next hop that is announced to the peer. Auto: ourselves if it is external.",
    ),
    Row("keepOriginalNextHop", _KEEP, "next_hop_mode", "Old form of nextHopMode: Keep."),
    Row(
        "sourceAddress",
        coded({"UseNodeIP": True, "None": False}),
        "from_node_address",
        "UseNodeIP: sessions come from the node's own address.",
    ),
    Row("maxRestartTime", _RESTART_TIME, "restart_time_s", "The restart time (RFC 4724)."),
    Row("holdTime", _HOLD_TIME, "hold_time_s", "30 s, and beside keepaliveTime 240 s, as BIRD has it in Calico."),
    Row(
        "keepaliveTime",
        _KEEPALIVE,
        "keepalive_s",
        "Between two KEEPALIVEs, at most a third of the hold time, which is the default.",
    ),
    Row(
        "numAllowedLocalASNumbers",
        integer(0, _MAX_OWN_AS),
        "allowed_own_as",
        "Accepted occurrences of our own AS in a received AS path.",
    ),
    Row("ttlSecurity", _HOPS, "ttl_security", "Hops that the peer may be away (RFC 5082); 0 for no check."),
    Row("reachableBy", ADDRESS, "reachable_by", "The gateway to a peer that is on no connected network."),
    Row(
        "filters",
        several(dns_name, "name", ref("name")),
        "filters",
        "Filters by name, in the order in which they are tried.",
    ),
    Row(
        "reversePeering",
        coded({"Auto": True, "Manual": False}),
        "reverse",
        "Auto: nodes selected by peerSelector peer back by themselves.",
    ),
    Row(
        "routeServer",
        BOOLEAN,
        "route_server",
        "A route server (RFC 7947): AS paths of it need not begin with its own AS.",
    ),
    Row(
        "localRole",
        enumeration(Role),
        "local_role",
        "Our role on the sessions (RFC 9234), for the prevention of route leaks; its counterpart is the peer's.",
    ),
    Row("strictRole", BOOLEAN, "strict_role", "The session needs a role of the peer, too."),
    Row(
        "range",
        PREFIX,
        "listen_range",
        "Instead of an address: any address of it may connect, and is not connected to.",
    ),
    Row(
        "asRange",
        _AS_RANGE,
        "asn_range",
        "With range, in place of asNumber: the peers' AS numbers, 65000-65099, or external for any but ours.",
    ),
    Row("limit", integer(1, _MAX_DYNAMIC), "limit", "With range: how many of its addresses have a session at once."),
    Row(
        "addPath",
        coded({"receive": True, "none": False}),
        "add_path",
        "receive: the peer may send several paths to a prefix (RFC 7911), which are used as those of several peers.",
    ),
    Row("bfd", FieldKind(_read_bfd, _BFD.shape(nullable=True), _BFD.write), "bfd"),
    Row(
        "localWorkloadSelector",
        unsupported("workloads cannot peer with their node; name the speaker by its address", TEXT),
        about="Not supported here: workloads cannot peer with their node.",
    ),
)
"""Everything but which node peers with whom."""


def peer_table(address: str, remote: tuple[Row, ...], *, is_short: bool) -> Table:
    """The keys of a peer in one form, where `remote` names the remote speaker, by the key `address` or beside it."""
    node = "The only node that peers with it; without node and nodeSelector all do."
    selector = replace(SELECTOR, read=_read_peer_selector)
    peer_selector = Row(
        "peerSelector", selector, "peer_selector", "The nodes that are peered with, instead of an address."
    )
    which = Row("node", NAME, "node", node)
    whom = (*remote, peer_selector)
    choices = (_NODES, read_only(_NODE_SELECTOR)) if is_short else (read_only(_NODES), _NODE_SELECTOR)
    rows = (*whom, which, *choices) if is_short else (which, *choices, *whom)
    also: Shape = {
        "anyOf": [{"required": [address, "asNumber"]}, {"required": ["range"]}, {"required": ["peerSelector"]}]
    }
    about = "BGP sessions beside the mesh."
    return Table((*rows, *_OPTIONS), Peer, "a peer", about, also)


# Reading -------------------------------------------------------------------------------------------------------


def read_peer(draft: Draft, fields: Fields, table: Table, name: str, at: Located, remote: Remote) -> None:
    """Take a peer in, by the keys of its form."""
    _remote_rules(fields, remote.key)
    found = table.read(fields)
    peer_selector = read_selector(fields, "peerSelector") if fields.has("peerSelector") else None
    peer = _peer(name, found, remote, at, None if peer_selector else found.get("asn"))
    _gateway_rules(fields, peer)
    _range_rules(fields, peer)
    _role_rules(fields, peer)
    if fields.has("node") and fields.has("nodeSelector"):
        fields.wrong("nodeSelector", "node and nodeSelector cannot both be given", "both-forms")
    node_key = "nodes" if fields.has("nodes") else "nodeSelector"
    selector = read_selector(fields, node_key)
    if not draft.declare("peer", name, at):
        return
    has_asn = "asn" in found or peer.asn_range
    if selector and (peer_selector or ((remote.address or peer.listen_range) and has_asn)):
        stated = PeerDraft(peer, found.get("node"), selector, peer_selector, remote.port)
        draft.peers[name] = Stated(stated, at, _parts(fields, remote.key, node_key))


def _peer(name: str, found: Values, remote: Remote, at: Located, asn: Asn | None) -> Peer:
    others = {key: value for key, value in found.items() if key not in {"address", "port", "endpoint", "node", "asn"}}
    return Peer(name, remote.address, asn, (), remote.port or 179, **others, place=at.place)


def _parts(fields: Fields, address_key: str, node_key: str) -> Mapping[str, Located]:
    return {
        "address": located(fields, address_key),
        "nodes": located(fields, "node" if fields.has("node") else node_key),
        "remotes": located(fields, "peerSelector"),
        "filters": located(fields, "filters"),
        "asn": located(fields, "asNumber"),
        "role": located(fields, "localRole"),
        "range": located(fields, "range"),
    }


def _remote_rules(fields: Fields, address: str) -> None:
    """Exactly one of address, range, peerSelector and localWorkloadSelector names the remote speaker."""
    given = [key for key in (address, "range", "peerSelector", "localWorkloadSelector") if fields.has(key)]
    if len(given) > 1:
        fields.wrong(
            given[1], f"{' and '.join(given)} cannot both be given: each names the remote speaker", "both-forms"
        )
    elif not given:
        fields.need("a peer", address, "asNumber")
    elif "peerSelector" in given and fields.has("asNumber"):
        message = "with peerSelector each selected node's own AS number counts: leave asNumber out"
        fields.wrong("asNumber", message, "as-with-selector")
    elif address in given:
        fields.need("a peer", "asNumber")
    elif "range" in given and not fields.has("asNumber") and not fields.has("asRange"):
        fields.wrong("range", "a range of peers needs asNumber or asRange", "missing")


def _gateway_rules(fields: Fields, peer: Peer) -> None:
    gateway, address = peer.reachable_by, peer.address
    if gateway and address is None:
        fields.wrong("reachableBy", "reachableBy is the gateway to the peer's address, which is not given", "missing")
    elif gateway and address and gateway.version != address.version:
        fields.wrong("reachableBy", f"{gateway} is no gateway to {address}: another IP version", "family")


def _range_rules(fields: Fields, peer: Peer) -> None:
    for key in ("asRange", "limit"):
        if fields.has(key) and not fields.has("range"):
            fields.wrong(key, f"{key} is about the peers of a range, which is not given", "missing")
    if fields.has("range") and fields.has("asRange") and fields.has("asNumber"):
        fields.wrong("asRange", "asNumber and asRange cannot both be given", "both-forms")
    if peer.listen_range and peer.password_file:
        message = "not supported here; a range has no TCP-MD5 password: name each such peer by its address"
        fields.wrong("passwordFile", message, "unsupported")


def _role_rules(fields: Fields, peer: Peer) -> None:
    role = peer.local_role
    if role and fields.has("peerSelector"):
        message = "a role is for a peer with an address in another AS: nodes are no customers of each other"
        fields.wrong("localRole", message, "role-with-selector")
    if peer.strict_role and not fields.has("localRole"):
        fields.wrong("strictRole", "strictRole asks for the counterpart of localRole, which is not given", "missing")
    if role and role is not Role.RS_CLIENT and peer.route_server:
        message = f"of a route server this end is rs-client, not {role.value}"
        fields.wrong("localRole", message, "role-of-server")


# The mesh ------------------------------------------------------------------------------------------------------


def mesh_row(key: str) -> Row:
    """The mesh, by its key in one form."""
    return Row(key, BOOLEAN, "mesh", "Every node peers with every other.", always=True)


MESH_OPTIONS: Final = (
    Row(
        "nodeMeshPasswordFile",
        FILE,
        "mesh_password_file",
        "The file with the TCP-MD5 password of the mesh; beside this file.",
    ),
    Row("nodeMeshPassword", _secret("nodeMeshPasswordFile"), about=_NO_SECRETS.format("nodeMeshPasswordFile")),
    Row("nodeMeshMaxRestartTime", _RESTART_TIME, "mesh_restart_time_s"),
)
