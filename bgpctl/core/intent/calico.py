"""
Calico's resources, as they stand in Calico's own files.

Refuses to know: the short form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from bgpctl.core.intent import tree
from bgpctl.core.intent.draft import BlockDraft, Draft, PeerDraft, located, read_pool
from bgpctl.core.intent.fields import Fields
from bgpctl.core.model import Address, Backend, Node


def read_resource(draft: Draft, document: tree.Mapping) -> None:
    """Take one resource in."""
    kind_tree = document.items["kind"]
    kind = kind_tree.text if isinstance(kind_tree, tree.Scalar) else ""
    fields = Fields(document, "", draft.problems)
    fields.ignore("apiVersion", "kind", "status")
    if kind == "List":
        _read_list(draft, fields)
        return
    reader = _READERS.get(kind)
    if reader is None:
        message = f"kind {kind or '?'} is not understood; known kinds: {', '.join(sorted([*_READERS, 'List']))}"
        draft.problems.add(kind_tree.place, "kind", message, "unknown-kind")
        return
    name = _name(fields)
    fields.path = f"{kind}/{name or '?'}"
    if name:
        reader(draft, fields, name)
        fields.finish()


def _read_list(draft: Draft, fields: Fields) -> None:
    for path, item in fields.items("items"):
        if isinstance(item, tree.Mapping) and "kind" in item.items:
            read_resource(draft, item)
        else:
            draft.problems.add(item.place, path, "an item of a List is a resource with a kind", "type")
    fields.ignore("metadata")
    fields.finish()


def _name(fields: Fields) -> str | None:
    metadata = fields.fields("metadata")
    if metadata is None:
        fields.wrong("metadata", "a resource needs metadata with a name", "missing")
        return None
    metadata.ignore("namespace", "labels", "annotations", "uid", "resourceVersion", "creationTimestamp", "generation")
    name = metadata.name("name")
    if name is None and not metadata.has("name"):
        metadata.wrong("name", "a resource needs a name", "missing")
    metadata.finish()
    return name


def _spec(fields: Fields) -> Fields:
    spec = fields.fields("spec")
    return spec or Fields(tree.Mapping(fields.place, {}, {}), fields.under("spec"), fields.problems)


def _read_pool(draft: Draft, fields: Fields, name: str) -> None:
    spec = _spec(fields)
    read_pool(draft, spec, name, None)
    _without_effect(spec, "nodeSelector", "allowedUses", "assignmentMode", "namespaceSelector")
    spec.finish()


def _without_effect(fields: Fields, *keys: str) -> None:
    """Keys that concern how Calico hands out addresses; here blocks are given."""
    fields.ignore(*keys)


def _read_node(draft: Draft, fields: Fields, name: str) -> None:
    at = located(fields)
    spec = _spec(fields)
    bgp = spec.fields("bgp")
    labels = _labels(fields)
    vxlan_address, vxlan_mac = spec.address("ipv4VXLANTunnelAddr"), spec.mac("vxlanTunnelMACAddr")
    spec.ignore("addresses", "interfaces", "orchRefs", "wireguard")
    spec.finish()
    if bgp is None:
        spec.wrong("bgp", "a node needs bgp.ipv4Address with its mask, such as 10.0.0.1/24", "missing")
        return
    address = bgp.interface("ipv4Address")
    if address is None and not bgp.has("ipv4Address"):
        bgp.wrong("ipv4Address", "a node needs an address with its mask, such as 10.0.0.1/24", "missing")
    asn, tunnel = bgp.asn("asNumber"), bgp.address("ipv4IPIPTunnelAddr")
    bgp.finish()
    if address and draft.is_new("node", name, at):
        node = Node(name, address, (), asn, labels, tunnel, vxlan_address, vxlan_mac, at.place)
        draft.nodes[name] = (node, at)


def _labels(fields: Fields) -> tuple[tuple[str, str], ...]:
    metadata = fields.fields("metadata")
    labels = metadata.fields("labels") if metadata else None
    return tuple(sorted((key, labels.text(key) or "") for key in labels.names())) if labels else ()


def _read_bgp_configuration(draft: Draft, fields: Fields, name: str) -> None:
    spec = _spec(fields)
    if name != "default":
        message = f"only the BGPConfiguration default is supported, not {name}; per-node values go to the Node"
        fields.problems.add(fields.place, fields.path, message, "unsupported")
    draft.set("asn", spec.asn("asNumber"), located(spec, "asNumber"))
    draft.set("mesh", spec.boolean("nodeToNodeMeshEnabled"), located(spec, "nodeToNodeMeshEnabled"))
    draft.set("listen_port", spec.integer("listenPort", 1, 65535), located(spec, "listenPort"))
    spec.ignore("logSeverityScreen")
    spec.finish()


def _read_bgp_peer(draft: Draft, fields: Fields, name: str) -> None:
    at = located(fields)
    spec = _spec(fields)
    text, asn = spec.text("peerIP"), spec.asn("asNumber")
    for key, value in (("peerIP", text), ("asNumber", asn)):
        if value is None and not spec.has(key):
            spec.wrong(key, f"a peer needs {key}", "missing")
    node, selector = spec.name("node"), spec.text("nodeSelector")
    if node and selector:
        spec.wrong("nodeSelector", "node and nodeSelector cannot both be given", "both-forms")
    if spec.has("password"):
        spec.wrong("password", "secrets of Kubernetes cannot be read here; use passwordFile", "unsupported")
    spec.ignore("password")
    password_file = spec.text("passwordFile")
    spec.finish()
    endpoint = _endpoint(spec, text) if text else None
    if endpoint and asn and draft.is_new("peer", name, at):
        address, port = endpoint
        where = located(spec, "nodeSelector" if selector else "node")
        draft.peers[name] = PeerDraft(name, address, asn, selector, node, port, password_file, where)


def _endpoint(spec: Fields, text: str) -> tuple[Address, int] | None:
    """Calico's peerIP: an address, IPv4:port or [IPv6]:port."""
    host, port = text, "179"
    if text.startswith("[") and "]:" in text:
        host, port = text[1:].split("]:", 1)
    elif text.count(":") == 1:
        host, port = text.split(":")
    try:
        address, number = Address.parse(host), int(port)
    except ValueError:
        number = 0
    if 1 <= number <= 65535:
        return address, number
    spec.wrong("peerIP", f"{text} is not an address, or an address and a port such as 10.0.0.254:1790", "address")
    return None


def _read_block_affinity(draft: Draft, fields: Fields, _: str) -> None:
    spec = _spec(fields)
    node, cidr = spec.name("node"), spec.prefix("cidr")
    for key, value in (("node", node), ("cidr", cidr)):
        if value is None and not spec.has(key):
            spec.wrong(key, f"a block affinity needs {key}", "missing")
    spec.ignore("type", "deleted")
    state = spec.one_of("state", ("confirmed", "pending", "pendingDeletion"))
    spec.finish()
    if node and cidr and state != "pendingDeletion":
        draft.blocks.append(BlockDraft(node, cidr, located(spec, "cidr")))


def _read_config_map(draft: Draft, fields: Fields, _: str) -> None:
    data = fields.fields("data")
    if data is None:
        return
    draft.set("backend", data.choice("calico_backend", Backend), located(data, "calico_backend"))
    data.ignore("veth_mtu", "cni_network_config", "typha_service_name")
    data.finish()


_READERS: Final[Mapping[str, Callable[[Draft, Fields, str], None]]] = {
    "IPPool": _read_pool,
    "Node": _read_node,
    "BGPConfiguration": _read_bgp_configuration,
    "BGPPeer": _read_bgp_peer,
    "BlockAffinity": _read_block_affinity,
    "ConfigMap": _read_config_map,
}
