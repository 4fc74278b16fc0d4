"""
The short form: one document with `calico_backend`, `asNumber`, `pools`, `nodes`, `mesh`, `peers`.

Refuses to know: Calico's resources, and the keys of a lab file that are somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bgpctl.core.cluster import Backend, Node
from bgpctl.core.intent.draft import (
    ENCAPSULATIONS,
    BlockDraft,
    Draft,
    Kind,
    Located,
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
from bgpctl.core.intent.fields import Fields, is_name, not_a_name, parse_prefix, scalar
from bgpctl.core.intent.tree import Mapping

LAB_KEYS: Final = frozenset({"name", "description", "segments", "routers", "workloads", "checks", "ipip-drivers"})
"""What a lab file has beside the cluster: accepted, and of no effect on the intent."""


def read_short(draft: Draft, document: Mapping) -> None:
    """Take one document of the short form in."""
    fields = Fields(document, "", draft.problems)
    fields.ignore(*LAB_KEYS)
    draft.set("backend", fields.choice("calico_backend", Backend), located(fields, "calico_backend"))
    draft.set("asn", fields.asn("asNumber"), located(fields, "asNumber"))
    draft.set("mesh", fields.boolean("mesh"), located(fields, "mesh"))
    draft.set("listen_port", fields.integer("listenPort", 1, 65535), located(fields, "listenPort"))
    draft.set("vxlan_vni", fields.integer("vxlanVNI", 1, 16777215), located(fields, "vxlanVNI"))
    draft.set("vxlan_port", fields.integer("vxlanPort", 1, 65535), located(fields, "vxlanPort"))
    _each(draft, fields, "pools", "pool", _read_pool)
    _each(draft, fields, "nodes", "node", _read_node)
    _each(draft, fields, "peers", "peer", _read_peer)
    fields.finish()


def _each(draft: Draft, fields: Fields, key: str, kind: Kind, read: Callable[[Draft, Fields, str], None]) -> None:
    if fields.has(key) and not isinstance(fields.tree(key), Mapping):
        draft.miss(kind)
    for name, entry in fields.entries(key):
        if not is_name(name):
            draft.wrong(located(entry), not_a_name(name), "name")
        read(draft, entry, name)
        entry.finish()


def _read_pool(draft: Draft, fields: Fields, name: str) -> None:
    word = fields.one_of("encapsulation", ENCAPSULATIONS)
    read_pool(draft, fields, name, located(fields), ENCAPSULATIONS[word] if word else None)


def _read_node(draft: Draft, fields: Fields, name: str) -> None:
    at = located(fields)
    address, asn, labels = fields.interface("address"), fields.asn("asNumber"), read_labels(fields.fields("labels"))
    fields.need("a node", "address")
    for path, item in fields.items("blocks"):
        prefix = scalar(item, path, draft.problems, lambda leaf: parse_prefix(leaf.text), "cidr")
        if prefix:
            draft.blocks.append(Stated(BlockDraft(name, prefix), Located(item.place, path)))
    ipip, vxlan = fields.address("ipipTunnelAddress"), fields.address("vxlanTunnelAddress")
    mac = fields.mac("vxlanTunnelMACAddress")
    node = Node(name, address, (), asn, labels, ipip, vxlan, mac, place=at.place) if address else None
    parts = {
        "address": located(fields, "address"),
        "ipip": located(fields, "ipipTunnelAddress"),
        "vxlan": located(fields, "vxlanTunnelAddress"),
        "mac": located(fields, "vxlanTunnelMACAddress"),
    }
    take_node(draft, name, node, at, parts)


def _read_peer(draft: Draft, fields: Fields, name: str) -> None:
    address, asn, port = fields.address("ip"), fields.asn("asNumber"), fields.integer("port", 1, 65535)
    selector = read_selector(fields, "nodes")
    password_file = beside(fields.place, fields.text("passwordFile"))
    fields.need("a peer", "ip", "asNumber")
    peer = None
    if address and asn and selector:
        peer = PeerDraft(name, address, asn, port or 179, selector, None, password_file)
    parts = {"address": located(fields, "ip"), "nodes": located(fields, "nodes")}
    take_peer(draft, name, peer, located(fields), parts)
