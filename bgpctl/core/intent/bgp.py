"""
BGPConfiguration, BGPPeer and Calico's Node.

Refuses to know: the short form.
"""

from __future__ import annotations

from typing import Final

from bgpctl.core.intent.draft import Draft, located, read_labels, spec_of
from bgpctl.core.intent.fields import Fields, parse_address, parse_interface
from bgpctl.core.intent.filters import read_advertisements
from bgpctl.core.intent.nodes import Rest, Underlay, read_accepts, read_tunnels, read_underlay, take_node
from bgpctl.core.intent.peers import Remote, read_mesh, read_peer
from bgpctl.core.intent.tree import shown
from bgpctl.core.intent.tunnel_keys import BGP_END_KEYS, SPEC_END_KEYS
from bgpctl.core.intent.values import of_version
from bgpctl.core.net.addresses import Address

# BGPConfiguration ----------------------------------------------------------------------------------------------


def read_configuration(draft: Draft, fields: Fields, name: str) -> None:
    """The global one is named default; node.NAME may override what is about one node alone."""
    spec = spec_of(fields)
    if name.startswith("node."):
        _read_node_configuration(spec)
    elif name == "default":
        draft.set("asn", spec.asn("asNumber"), located(spec, "asNumber"))
        draft.set("listen_port", spec.integer("listenPort", 1, 65535), located(spec, "listenPort"))
        read_mesh(draft, spec, "nodeToNodeMeshEnabled")
        read_advertisements(draft, spec)
        _without_effect(spec)
    else:
        message = f"{shown(name)} is neither default nor node.NAME"
        fields.problems.add(fields.place, fields.path, message, "configuration-name")
        spec.ignore(*spec.names())
    spec.finish()


_GLOBAL_ONLY: Final = (
    "asNumber",
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
            spec.wrong(key, "only the BGPConfiguration named default can say this", "global-only")
    spec.ignore(*_GLOBAL_ONLY)
    instead = "it is the same on every node here; say it in the one named default"
    spec.unsupported(instead, "listenPort", "communities", "prefixAdvertisements")
    _without_effect(spec)


_MAX_PRIORITY: Final = 2147483646
_PRIORITIES: Final = tuple(f"ipv{version}{kind}RoutePriority" for version in (4, 6) for kind in ("Normal", "Elevated"))


def _without_effect(spec: Fields) -> None:
    """Also what has no effect must be right."""
    spec.one_of("bindMode", ("None", "NodeIP"))
    spec.one_of("serviceLoadBalancerAggregation", ("Enabled", "Disabled"))
    for key in _PRIORITIES:
        spec.integer(key, 1, _MAX_PRIORITY)
    spec.value("localWorkloadPeeringIPV4", of_version(4), "address")
    spec.value("localWorkloadPeeringIPV6", of_version(6), "address")
    spec.no_effect("logs of the agent follow bgpctl agent run --log-level", "logSeverityScreen")
    spec.no_effect("BGP always listens on the node's own address alone", "bindMode")
    services = "Kubernetes services have no addresses here"
    spec.risky(
        f"{services}, so none are announced", "serviceClusterIPs", "serviceExternalIPs", "serviceLoadBalancerIPs"
    )
    spec.no_effect(services, "serviceLoadBalancerAggregation")
    spec.no_effect("only blocks are announced, whatever interfaces there are", "ignoredInterfaces")
    workloads = "workloads do not peer with their node"
    spec.no_effect(workloads, "localWorkloadPeeringIPV4", "localWorkloadPeeringIPV6")
    spec.no_effect("bgpctl alone writes every route of an encapsulation", "programClusterRoutes")
    spec.no_effect("routes of bgpctl have one metric, 1024", *_PRIORITIES)


# BGPPeer -------------------------------------------------------------------------------------------------------


def read_bgp_peer(draft: Draft, fields: Fields, name: str) -> None:
    """PeerIP may carry a port."""
    spec = spec_of(fields)
    address, port = _endpoint(spec)
    read_peer(draft, spec, name, located(fields), Remote("peerIP", address, port))
    spec.finish()


def _endpoint(spec: Fields) -> tuple[Address | None, int | None]:
    """Calico's peerIP: an address, IPv4:port or [IPv6]:port."""
    text = spec.text("peerIP")
    if text is None:
        return None, None
    host, port = text, ""
    if text.startswith("[") and "]:" in text:
        host, port = text[1:].split("]:", 1)
    elif text.count(":") == 1:
        host, port = text.split(":")
    try:
        address = parse_address(host)
    except ValueError:
        message = f"{shown(text)} is not an address, or an address and a port such as 10.0.0.254:1790"
        spec.wrong("peerIP", message, "address")
        return None, None
    if host == text:
        return address, None
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    if not 1 <= number <= 65535:
        spec.wrong("peerIP", f"port {shown(port)} is not a whole number from 1 to 65535", "range")
    return address, number


# Node ----------------------------------------------------------------------------------------------------------


def read_node(draft: Draft, fields: Fields, name: str) -> None:
    """Without spec.bgp the node is known by an address of spec.addresses alone, as in Calico."""
    spec, metadata = spec_of(fields), fields.fields("metadata")
    bgp = spec_of(spec, "bgp")
    labels = read_labels(metadata.fields("labels")) if metadata else ()
    listed = _listed(spec)
    accepts = read_accepts(metadata.fields("annotations")) if metadata else None
    if metadata and accepts is None:
        metadata.bookkeeping("annotations")
    cluster_id = bgp.value("routeReflectorClusterID", of_version(4), "address")
    rest = Rest(bgp.asn("asNumber"), labels, cluster_id, accepts)
    ends = read_tunnels((bgp, BGP_END_KEYS), (spec, SPEC_END_KEYS))
    underlay = read_underlay(bgp, "ipv4Address", "ipv6Address")
    if spec.has("bgp") or not listed:
        _need_address(bgp)
    bgp.no_effect("an interface with the node's address is the one", "ipv4Interface", "ipv6Interface")
    bgp.finish()
    if underlay:
        spec.no_effect("spec.bgp says the node's address", "addresses")
    spec.no_effect("the node's address alone counts", "interfaces")
    spec.no_effect("the node is known by its name", "orchRefs")
    spec.risky("packets between nodes are not encrypted", "wireguard")
    spec.finish()
    take_node(draft, name, located(fields), underlay or listed, ends, rest)


def _need_address(bgp: Fields) -> None:
    if not bgp.has("ipv4Address") and not bgp.has("ipv6Address"):
        bgp.need("a node", "ipv4Address")


_BY_TYPE: Final = ("CalicoNodeIP", "InternalIP", "ExternalIP", "")
"""Which of a node's addresses it is known by: the first type that is there."""


def _listed(spec: Fields) -> Underlay | None:
    found: list[tuple[int, Underlay]] = []
    for item in spec.each("addresses"):
        kind = item.text("type") or ""
        address = item.value("address", lambda leaf: parse_interface(leaf.text), "address")
        item.finish()
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
