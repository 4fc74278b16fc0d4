"""
The short form: one document with `calico_backend`, `asNumber`, `pools`, `nodes`, `mesh`, `peers`.

Refuses to know: Calico's resources, and the keys of a lab file that are somebody else's.
"""

from __future__ import annotations

from typing import Final

from bgpctl.core.intent.draft import (
    ENCAPSULATIONS,
    BlockDraft,
    Draft,
    Located,
    PeerDraft,
    located,
    read_pool,
)
from bgpctl.core.intent.fields import Fields, is_name, parse_prefix, scalar
from bgpctl.core.intent.tree import Mapping
from bgpctl.core.model import Address, Backend, InterfaceAddress, Mode, Node

LAB_KEYS: Final = frozenset({"name", "description", "segments", "routers", "workloads", "checks"})
"""What a lab file has beside the cluster: accepted, and of no effect on the intent."""


_UNKNOWN: Final = InterfaceAddress(Address(4, 0), 32)
"""Stands in for an address that could not be read, so that the rest of the node is still looked at."""


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
    for name, pool in _named(draft, fields, "pools"):
        _read_pool(draft, pool, name)
    for name, node in _named(draft, fields, "nodes"):
        _read_node(draft, node, name)
    for name, peer in _named(draft, fields, "peers"):
        _read_peer(draft, peer, name)
    fields.finish()


def _named(draft: Draft, fields: Fields, key: str) -> list[tuple[str, Fields]]:
    entries = list(fields.entries(key))
    for name, entry in entries:
        if not is_name(name):
            message = f"{name} is not a name (lower-case letters, digits, '-' and '.')"
            draft.problems.add(entry.place, entry.path, message, "name")
    return entries


def _read_pool(draft: Draft, fields: Fields, name: str) -> None:
    word = fields.one_of("encapsulation", ENCAPSULATIONS)
    modes: tuple[Mode, Mode] | None = ENCAPSULATIONS[word] if word else None
    read_pool(draft, fields, name, modes)
    fields.finish()


def _read_node(draft: Draft, fields: Fields, name: str) -> None:
    at = located(fields)
    address = fields.interface("address")
    if address is None and not fields.has("address"):
        fields.wrong("address", "a node needs an address with its mask, such as 10.0.0.1/24", "missing")
    for path, item in fields.items("blocks"):
        prefix = scalar(item, path, draft.problems, lambda leaf: parse_prefix(leaf.text), "cidr")
        if prefix:
            draft.blocks.append(BlockDraft(name, prefix, Located(item.place, path)))
    node = Node(
        name=name,
        address=address or _UNKNOWN,
        asn=fields.asn("asNumber"),
        labels=_labels(fields),
        ipip_address=fields.address("ipipTunnelAddress"),
        vxlan_address=fields.address("vxlanTunnelAddress"),
        vxlan_mac=fields.mac("vxlanTunnelMACAddress"),
        place=at.place,
    )
    fields.finish()
    if draft.is_new("node", name, at) and address:
        draft.nodes[name] = (node, at)


def _labels(fields: Fields) -> tuple[tuple[str, str], ...]:
    labels = fields.fields("labels")
    if labels is None:
        return ()
    return tuple(sorted((key, labels.text(key) or "") for key in labels.names()))


def _read_peer(draft: Draft, fields: Fields, name: str) -> None:
    at = located(fields)
    address, asn = fields.address("ip"), fields.asn("asNumber")
    for key, value in (("ip", address), ("asNumber", asn)):
        if value is None and not fields.has(key):
            fields.wrong(key, f"a peer needs {key}", "missing")
    selector = fields.text("nodes")
    port = fields.integer("port", 1, 65535)
    password_file = fields.text("passwordFile")
    fields.finish()
    if address and asn and draft.is_new("peer", name, at):
        where = located(fields, "nodes")
        draft.peers[name] = PeerDraft(name, address, asn, selector, None, port or 179, password_file, where)
