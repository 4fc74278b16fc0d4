"""
Calico's resources, as they stand in Calico's own files.

Refuses to know: the short form.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Final

from bgpctl.core.cluster import Backend, Node, Place
from bgpctl.core.intent import tree
from bgpctl.core.intent.draft import (
    BlockDraft,
    Draft,
    PeerDraft,
    Stated,
    beside,
    located,
    read_labels,
    read_pool,
    read_selector,
    take_node,
    take_peer,
)
from bgpctl.core.intent.fields import Fields, is_name, parse_address
from bgpctl.core.intent.tree import shown
from bgpctl.core.model import Address

_API: Final = ("projectcalico.org/v3", "crd.projectcalico.org/v1")
_CORE_API: Final = ("v1",)


def read_resource(draft: Draft, document: tree.Mapping) -> None:
    """Take one resource in, or the items of a list of them."""
    kind_tree = document.items["kind"]
    kind = kind_tree.text if isinstance(kind_tree, tree.Scalar) else ""
    if kind == "List" or kind.removesuffix("List") in _READERS.keys() - {kind}:
        _read_list(draft, document)
    elif kind in _READERS:
        _read_known(draft, document, kind)
    else:
        draft.miss("pool", "node")
        draft.problems.add(kind_tree.place, "kind", _unknown_kind(kind), "unknown-kind")


def _read_known(draft: Draft, document: tree.Mapping, kind: str) -> None:
    name, place = _name(document)
    fields = Fields(document, f"{kind}/{name}" if name else kind, draft.problems, place)
    version = fields.one_of("apiVersion", _CORE_API if kind == "ConfigMap" else _API)
    fields.ignore("kind", "status")
    _check_metadata(fields)
    if is_name(name) and (version or not fields.has("apiVersion")):
        _READERS[kind](draft, fields, name)
        fields.finish()
    else:
        draft.miss("pool", "node")


def _name(document: tree.Mapping) -> tuple[str, Place]:
    """The resource's name and where it stands; without one `""` and the place of the resource."""
    metadata = document.items.get("metadata")
    name = metadata.items.get("name") if isinstance(metadata, tree.Mapping) else None
    return (name.text, name.place) if isinstance(name, tree.Scalar) else ("", document.place)


def _check_metadata(fields: Fields) -> None:
    fields.need("a resource", "metadata")
    metadata = fields.fields("metadata")
    if metadata:
        metadata.name("name")
        metadata.need("a resource", "name")
        metadata.ignore("namespace", "labels", "annotations", "uid", "resourceVersion", "creationTimestamp")
        metadata.ignore("generation", "managedFields", "ownerReferences", "finalizers")
        metadata.finish()


def _unknown_kind(kind: str) -> str:
    near = difflib.get_close_matches(kind[:60], _READERS, n=1, cutoff=0.8)
    hint = f"did you mean {near[0]}?" if near else f"known kinds: {', '.join(sorted(_READERS))}, List"
    return f"{shown(kind)} is not understood; {hint}"


def _read_list(draft: Draft, document: tree.Mapping) -> None:
    fields = Fields(document, "", draft.problems)
    fields.ignore("apiVersion", "kind", "metadata")
    for path, item in fields.items("items"):
        if isinstance(item, tree.Mapping) and "kind" in item.items:
            read_resource(draft, item)
        else:
            draft.miss("pool", "node")
            draft.problems.add(item.place, path, "an item of a List is a resource with a kind", "type")
    fields.finish()


def _spec(fields: Fields, key: str = "spec") -> Fields:
    return fields.fields(key) or Fields(tree.Mapping(fields.place, {}, {}), fields.under(key), fields.problems)


def _read_pool(draft: Draft, fields: Fields, name: str) -> None:
    spec = _spec(fields)
    # Which node or namespace Calico would give a block to: here, that is said by the blocks themselves.
    spec.ignore("nodeSelector", "namespaceSelector", "allowedUses", "assignmentMode")
    read_pool(draft, spec, name, located(fields))
    spec.finish()


def _read_node(draft: Draft, fields: Fields, name: str) -> None:
    at, spec = located(fields), _spec(fields)
    bgp = _spec(spec, "bgp")
    metadata = fields.fields("metadata")
    labels = read_labels(metadata.fields("labels")) if metadata else ()
    address, asn = bgp.interface("ipv4Address"), bgp.asn("asNumber")
    ipip, vxlan, mac = bgp.address("ipv4IPIPTunnelAddr"), spec.address("ipv4VXLANTunnelAddr"), spec.mac(_MAC_KEY)
    bgp.need("a node", "ipv4Address")
    bgp.unsupported("ipv6Address", instead="IPv6 node addresses come later")
    bgp.unsupported("routeReflectorClusterID")
    bgp.finish()
    spec.unsupported("ipv6VXLANTunnelAddr", "vxlanTunnelMACAddrV6", instead="IPv6 tunnels come later")
    spec.ignore("addresses", "interfaces", "orchRefs")
    spec.unsupported("wireguard")
    spec.finish()
    node = Node(name, address, (), asn, labels, ipip, vxlan, mac, place=at.place) if address else None
    parts = {
        "address": located(bgp, "ipv4Address"),
        "ipip": located(bgp, "ipv4IPIPTunnelAddr"),
        "vxlan": located(spec, "ipv4VXLANTunnelAddr"),
        "mac": located(spec, _MAC_KEY),
    }
    take_node(draft, name, node, at, parts)


def _read_bgp_configuration(draft: Draft, fields: Fields, name: str) -> None:
    spec = _spec(fields)
    _only_named(fields, name, "default", "what differs per node is said in the Node")
    draft.set("asn", spec.asn("asNumber"), located(spec, "asNumber"))
    draft.set("mesh", spec.boolean("nodeToNodeMeshEnabled"), located(spec, "nodeToNodeMeshEnabled"))
    draft.set("listen_port", spec.integer("listenPort", 1, 65535), located(spec, "listenPort"))
    spec.ignore("logSeverityScreen")
    spec.unsupported(*_BGP_CONFIGURATION_REST)
    spec.finish()


def _read_felix_configuration(draft: Draft, fields: Fields, name: str) -> None:
    spec = _spec(fields)
    _only_named(fields, name, "default", "what differs per node is said in the Node")
    draft.set("vxlan_vni", spec.integer("vxlanVNI", 1, 16777215), located(spec, "vxlanVNI"))
    draft.set("vxlan_port", spec.integer("vxlanPort", 1, 65535), located(spec, "vxlanPort"))
    rest = [key for key in spec.names() if key not in ("vxlanVNI", "vxlanPort")]
    spec.unsupported(*rest, instead="of a FelixConfiguration, vxlanVNI and vxlanPort are read")


def _only_named(fields: Fields, name: str, wanted: str, instead: str) -> None:
    if name != wanted:
        message = f"only the one named {wanted} is supported here; {instead}"
        fields.problems.add(fields.place, fields.path, message, "unsupported")


def _read_bgp_peer(draft: Draft, fields: Fields, name: str) -> None:
    spec = _spec(fields)
    address, port = _endpoint(spec)
    asn, node, selector = spec.asn("asNumber"), spec.name("node"), read_selector(spec, "nodeSelector")
    password_file = beside(spec.place, spec.text("passwordFile"))
    spec.need("a peer", "peerIP", "asNumber")
    if spec.has("node") and spec.has("nodeSelector"):
        spec.wrong("nodeSelector", "node and nodeSelector cannot both be given", "both-forms")
    for key, default in _BGP_PEER_DEFAULTS.items():
        spec.only(key, default)
    spec.unsupported("password", instead="Secrets of Kubernetes cannot be read here: use passwordFile")
    spec.unsupported(*_BGP_PEER_REST)
    spec.finish()
    peer = PeerDraft(name, address, asn, port, selector, node, password_file) if address and asn and selector else None
    nodes = located(spec, "node" if spec.has("node") else "nodeSelector")
    take_peer(draft, name, peer, located(fields), {"address": located(spec, "peerIP"), "nodes": nodes})


def _endpoint(spec: Fields) -> tuple[Address | None, int]:
    """Calico's peerIP: an address, IPv4:port or [IPv6]:port."""
    text = spec.text("peerIP")
    if text is None:
        return None, 0
    host, port = text, "179"
    if text.startswith("[") and "]:" in text:
        host, port = text[1:].split("]:", 1)
    elif text.count(":") == 1:
        host, port = text.split(":")
    try:
        address = parse_address(host)
    except ValueError:
        message = f"{shown(text)} is not an address, or an address and a port such as 10.0.0.254:1790"
        spec.wrong("peerIP", message, "address")
        return None, 0
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    if not 1 <= number <= 65535:
        spec.wrong("peerIP", f"port {shown(port)} is not a whole number from 1 to 65535", "range")
    return address, number


def _read_block_affinity(draft: Draft, fields: Fields, _: str) -> None:
    spec = _spec(fields)
    node, cidr = spec.name("node"), spec.prefix("cidr")
    spec.need("a block affinity", "node", "cidr")
    state = spec.one_of("state", ("confirmed", "pending", "pendingDeletion"))
    deleted = spec.one_of("deleted", ("false", "true"))
    spec.only("type", "host")
    spec.finish()
    # Calico routes to a block once the claim is confirmed; before and after that it is nobody's.
    if node and cidr and state in (None, "confirmed") and deleted != "true":
        draft.blocks.append(Stated(BlockDraft(node, cidr), located(spec, "cidr"), {"node": located(spec, "node")}))


def _read_config_map(draft: Draft, fields: Fields, name: str) -> None:
    data = _spec(fields, "data")
    _only_named(fields, name, "calico-config", "other ConfigMaps say nothing about the cluster's network")
    draft.set("backend", data.choice("calico_backend", Backend), located(data, "calico_backend"))
    data.ignore("veth_mtu", "cni_network_config", "typha_service_name")
    data.finish()


_MAC_KEY: Final = "vxlanTunnelMACAddr"

_BGP_CONFIGURATION_REST: Final = (
    "bindMode",
    "communities",
    "ignoredInterfaces",
    "ipv4ElevatedRoutePriority",
    "ipv4NormalRoutePriority",
    "ipv6ElevatedRoutePriority",
    "ipv6NormalRoutePriority",
    "localWorkloadPeeringIPV4",
    "localWorkloadPeeringIPV6",
    "nodeMeshMaxRestartTime",
    "nodeMeshPassword",
    "prefixAdvertisements",
    "programClusterRoutes",
    "serviceClusterIPs",
    "serviceExternalIPs",
    "serviceLoadBalancerAggregation",
    "serviceLoadBalancerIPs",
)
_BGP_PEER_REST: Final = (
    "filters",
    "keepaliveTime",
    "localASNumber",
    "localWorkloadSelector",
    "maxRestartTime",
    "numAllowedLocalASNumbers",
    "peerSelector",
    "reachableBy",
    "ttlSecurity",
)
_BGP_PEER_DEFAULTS: Final = {
    "keepOriginalNextHop": "false",
    "nextHopMode": "Auto",
    "reversePeering": "Auto",
    "sourceAddress": "UseNodeIP",
}

_READERS: Final[Mapping[str, Callable[[Draft, Fields, str], None]]] = {
    "BGPConfiguration": _read_bgp_configuration,
    "BGPPeer": _read_bgp_peer,
    "BlockAffinity": _read_block_affinity,
    "ConfigMap": _read_config_map,
    "FelixConfiguration": _read_felix_configuration,
    "IPPool": _read_pool,
    "Node": _read_node,
}
