"""
BGPConfiguration, BGPPeer and Calico's Node.

Refuses to know: the short form.
"""

from __future__ import annotations

from typing import Final

from bgpctl.core.cluster.allocations import NodeAllocations
from bgpctl.core.cluster.configuration import Configuration, Node
from bgpctl.core.intent.draft import Draft, located, read_labels, spec_of
from bgpctl.core.intent.field_kinds import (
    ANYTHING,
    ASN,
    INTERFACE,
    TEXT,
    FieldKind,
    address_of,
    integer,
    interface_of,
    no_effect,
    risky,
    word,
)
from bgpctl.core.intent.fields import Fields, parse_address
from bgpctl.core.intent.filters import ADVERTISEMENTS
from bgpctl.core.intent.nodes import (
    ANNOTATIONS,
    Underlay,
    take_recorded_node,
    tunnel_rows,
    tunnels_of,
    underlay_of,
    written_ends,
)
from bgpctl.core.intent.peers import MESH_OPTIONS, Remote, mesh_row, peer_table, read_peer
from bgpctl.core.intent.settings import ASN_ROW, CHANNEL_PORT, LISTEN_PORT, MTU_DISCOVERY
from bgpctl.core.intent.shapes import many
from bgpctl.core.intent.tables import Row, Table, Values, Written, rows_for, set_all
from bgpctl.core.intent.tree import shown
from bgpctl.core.intent.tunnel_keys import BGP_END_KEYS, SPEC_END_KEYS
from bgpctl.core.net.addresses import Address

# BGPConfiguration ----------------------------------------------------------------------------------------------

_PRIORITY: Final = integer(1, 2147483646)
_SERVICES: Final = "Kubernetes services have no addresses here"
_WORKLOADS: Final = "workloads do not peer with their node"

_WITHOUT_EFFECT: Final = Table(
    rows_for(
        {
            "logSeverityScreen": no_effect("logs of the agent follow bgpctl agent run --log-level"),
            "bindMode": no_effect("BGP always listens on the node's own address alone", word("None", "NodeIP")),
            "serviceClusterIPs": risky(f"{_SERVICES}, so none are announced"),
            "serviceExternalIPs": risky(f"{_SERVICES}, so none are announced"),
            "serviceLoadBalancerIPs": risky(f"{_SERVICES}, so none are announced"),
            "serviceLoadBalancerAggregation": no_effect(_SERVICES, word("Enabled", "Disabled")),
            "ignoredInterfaces": no_effect("only blocks are announced, whatever interfaces there are"),
            "localWorkloadPeeringIPV4": no_effect(_WORKLOADS, address_of(4)),
            "localWorkloadPeeringIPV6": no_effect(_WORKLOADS, address_of(6)),
            "programClusterRoutes": no_effect("bgpctl alone writes every route of an encapsulation"),
            **{
                f"ipv{version}{kind}RoutePriority": no_effect("routes of bgpctl have one metric, 1024", _PRIORITY)
                for kind in ("Normal", "Elevated")
                for version in (4, 6)
            },
        }
    )
)
BGP_CONFIGURATION: Final = Table(
    (
        ASN_ROW,
        mesh_row("nodeToNodeMeshEnabled"),
        LISTEN_PORT,
        CHANNEL_PORT,
        MTU_DISCOVERY,
        *MESH_OPTIONS,
        *ADVERTISEMENTS,
        *_WITHOUT_EFFECT.rows,
    ),
    Configuration,
)


def read_configuration(draft: Draft, fields: Fields, name: str) -> None:
    """The global one is named default; node.NAME may override settings of one node alone."""
    spec = spec_of(fields)
    if name.startswith("node."):
        _read_node_configuration(spec)
    elif name == "default":
        set_all(draft, BGP_CONFIGURATION, spec)
    else:
        message = f"{shown(name)} is neither default nor node.NAME"
        fields.problems.add(fields.place, fields.path, message, "configuration-name")
        spec.ignore(*spec.names())
    spec.finish()


_GLOBAL_ONLY: Final = (
    "asNumber",
    "channelPort",
    "mtuDiscovery",
    "nodeMeshMaxRestartTime",
    "nodeMeshPassword",
    "nodeMeshPasswordFile",
    "nodeToNodeMeshEnabled",
    "serviceClusterIPs",
    "serviceExternalIPs",
    "serviceLoadBalancerIPs",
)


def _read_node_configuration(spec: Fields) -> None:
    for key in _GLOBAL_ONLY:
        if spec.has(key):
            spec.wrong(key, "only the BGPConfiguration named default can have this", "global-only")
    spec.ignore(*_GLOBAL_ONLY)
    instead = "it is the same on every node here; set it in the one named default"
    spec.unsupported(instead, "listenPort", "communities", "prefixAdvertisements")
    _WITHOUT_EFFECT.read(spec)


# BGPPeer -------------------------------------------------------------------------------------------------------


def read_bgp_peer(draft: Draft, fields: Fields, name: str) -> None:
    """PeerIP may carry a port. A key that is not known might select nodes or restrict routes, so it is an error."""
    spec = spec_of(fields).strict()
    address, port = _read_endpoint(spec, "peerIP") or (None, None)
    read_peer(draft, spec, BGP_PEER, name, located(fields), Remote("peerIP", address, port))
    spec.finish()


def _read_endpoint(fields: Fields, key: str) -> tuple[Address, int | None] | None:
    """Calico's peerIP: an address, IPv4:port or [IPv6]:port."""
    text = fields.text(key)
    if text is None:
        return None
    host, port = text, ""
    if text.startswith("[") and "]:" in text:
        host, port = text[1:].split("]:", 1)
    elif text.count(":") == 1:
        host, port = text.split(":")
    try:
        address = parse_address(host)
    except ValueError:
        message = f"{shown(text)} is not an address, or an address and a port such as 10.0.0.254:1790"
        fields.wrong(key, message, "address")
        return None
    if host == text:
        return address, None
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    if not 1 <= number <= 65535:
        fields.wrong(key, f"port {shown(port)} is not a whole number from 1 to 65535", "range")
    return address, number


def _written_endpoint(endpoint: tuple[Address, int | None]) -> str:
    address, port = endpoint
    if port is None:
        return str(address)
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


_ENDPOINT: Final = FieldKind(
    _read_endpoint,
    {"type": ["string", "null"], "pattern": r"^[0-9a-fA-F.:]+$|^\[[0-9a-fA-F.:]+\]:[0-9]{1,5}$"},
    _written_endpoint,
)
_PEER_IP: Final = Row(
    "peerIP",
    _ENDPOINT,
    "endpoint",
    "The speaker's address, with a port as in 10.0.0.254:1790 or [fd00::1]:1790.",
)
BGP_PEER: Final = peer_table("peerIP", (_PEER_IP,), is_short=False)


# Node ----------------------------------------------------------------------------------------------------------


_LISTED: Final = Table((Row("type", TEXT, "type"), Row("address", INTERFACE, "address")))
NODE_BGP: Final = Table(
    (
        Row("ipv4Address", interface_of(4), "ipv4"),
        Row("ipv6Address", interface_of(6), "ipv6"),
        Row("asNumber", ASN, "asn"),
        Row("routeReflectorClusterID", address_of(4), "cluster_id"),
        *tunnel_rows(BGP_END_KEYS),
        *rows_for(
            dict.fromkeys(
                ("ipv4Interface", "ipv6Interface"), no_effect("an interface with the node's address is the one")
            )
        ),
    )
)
"""spec.bgp of Calico's Node."""
_BGP: Final = FieldKind(lambda fields, key: fields.fields(key), NODE_BGP.shape(nullable=True))
NODE_SPEC: Final = Table(
    (
        Row("bgp", _BGP),
        Row("addresses", FieldKind(ANYTHING.read, many(_LISTED.shape(nullable=True)), None)),
        *tunnel_rows(SPEC_END_KEYS),
        Row("interfaces", no_effect("the node's address alone counts")),
        Row("orchRefs", no_effect("the node is known by its name")),
        Row("wireguard", risky("packets between nodes are not encrypted")),
    )
)
"""spec of Calico's Node."""


def read_node(draft: Draft, fields: Fields, name: str) -> None:
    """Without an address in spec.bgp, which may have a tunnel's alone, the node is known by one of spec.addresses."""
    spec, metadata = spec_of(fields), fields.fields("metadata")
    bgp = spec_of(spec, "bgp")
    found, ends, listed = NODE_BGP.read(bgp), NODE_SPEC.read(spec), _listed(spec)
    if metadata:
        found["labels"] = read_labels(metadata.fields("labels"))
        found |= _read_annotations(metadata)
    underlay = underlay_of(bgp, NODE_BGP, found)
    if not listed:
        _need_address(bgp)
    bgp.finish()
    if underlay:
        spec.no_effect("spec.bgp has the node's address", "addresses")
    spec.finish()
    tunnels = tunnels_of((bgp, BGP_END_KEYS, found), (spec, SPEC_END_KEYS, ends))
    take_recorded_node(draft, name, located(fields), underlay or listed, tunnels, found)


def _read_annotations(metadata: Fields) -> Values:
    """Ours; those of others are bookkeeping, and a remark where ours is absent."""
    annotations = metadata.fields("annotations")
    found = ANNOTATIONS.read(annotations) if annotations else {}
    if not found:
        metadata.bookkeeping("annotations")
    return found


def written_node(node: Node, allocated: NodeAllocations) -> tuple[Written, Written]:
    """The metadata and the spec of Calico's Node."""
    ends = written_ends(allocated)
    bgp = NODE_BGP.write(node, ipv4=node.underlay(4), ipv6=node.underlay(6), **ends)
    labels: Written = {"labels": dict(node.labels)} if node.labels else {}
    notes = ANNOTATIONS.write(node)
    metadata: Written = {"name": node.name, **labels, **({"annotations": notes} if notes else {})}
    return metadata, {"bgp": bgp, **NODE_SPEC.write(node, **ends)}


def _need_address(bgp: Fields) -> None:
    if not bgp.has("ipv4Address") and not bgp.has("ipv6Address"):
        bgp.need("a node", "ipv4Address")


_BY_TYPE: Final = ("CalicoNodeIP", "InternalIP", "ExternalIP", "")
"""The types of addresses by which a node is known, the preferred first."""


def _listed(spec: Fields) -> Underlay | None:
    found: list[tuple[int, Underlay]] = []
    for item in spec.each("addresses"):
        values = _LISTED.read(item)
        item.finish()
        kind, address = values.get("type", ""), values.get("address")
        if address and kind in _BY_TYPE:
            found.append((_BY_TYPE.index(kind), Underlay(address, located(item, "address"))))
    return underlay_among(found)


def underlay_among(found: list[tuple[int, Underlay]]) -> Underlay | None:
    """The best address of each IP version, by rank; the IPv4 one is the main one."""
    ranked = sorted(found, key=lambda pair: pair[0])
    v4, v6 = (next((one for _, one in ranked if one.main.address.version == version), None) for version in (4, 6))
    if v4 and v6:
        return Underlay(v4.main, v4.main_at, v6.main, v6.main_at)
    return v4 or v6
