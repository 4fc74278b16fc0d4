"""
Kubernetes' own objects that Calico reads: Node with Calico's annotations, ConfigMap calico-config.

Refuses to know: everything else that Kubernetes records of a node.
"""

from __future__ import annotations

from typing import Final

from bgpctl.core.cluster.configuration import Configuration
from bgpctl.core.intent.bgp import underlay_among
from bgpctl.core.intent.draft import Draft, located, read_labels, spec_of
from bgpctl.core.intent.field_kinds import ASN, BACKEND, MAX_MTU_BYTES, FieldKind, address_of, interface_of, no_effect
from bgpctl.core.intent.fields import Fields, parse_interface
from bgpctl.core.intent.nodes import ANNOTATIONS as OURS
from bgpctl.core.intent.nodes import Underlay, take_recorded_node, tunnel_rows, tunnels_of, underlay_of
from bgpctl.core.intent.tables import Row, Table, set_all
from bgpctl.core.intent.tree import Scalar
from bgpctl.core.intent.tunnel_keys import ANNOTATED_END_KEYS

_PREFIX: Final = "projectcalico.org/"
ANNOTATIONS: Final = Table(
    (
        Row(f"{_PREFIX}ASNumber", ASN, "asn"),
        Row(f"{_PREFIX}IPv4Address", interface_of(4), "ipv4"),
        Row(f"{_PREFIX}IPv6Address", interface_of(6), "ipv6"),
        Row(f"{_PREFIX}RouteReflectorClusterID", address_of(4), "cluster_id"),
        *tunnel_rows(ANNOTATED_END_KEYS),
        Row(f"{_PREFIX}Interfaces", no_effect("the node's address alone counts")),
    ),
    also={"patternProperties": {r"^(?!projectcalico\.org/)": True, r"^projectcalico\.org/.*Wireguard": True}},
)
"""Calico's annotations on a Node of Kubernetes, beside which there may be any others."""
_RANKS: Final = ("InternalIP", "ExternalIP")


def read_node(draft: Draft, fields: Fields, name: str) -> None:
    """Calico's annotations stand for spec.bgp of its own Node; without them the node's InternalIP counts."""
    metadata = spec_of(fields, "metadata")
    labels = read_labels(metadata.fields("labels"))
    notes = spec_of(metadata, "annotations")
    found = ANNOTATIONS.read(notes) | OURS.read(notes)
    tunnels, underlay = tunnels_of((notes, ANNOTATED_END_KEYS, found)), underlay_of(notes, ANNOTATIONS, found)
    _finish_annotations(notes)
    status = spec_of(fields, "status")
    listed = _internal(status)
    status.bookkeeping(*(key for key in status.names() if key != "addresses"))
    spec = spec_of(fields)
    spec.bookkeeping(*spec.names())
    if not underlay and not listed:
        fields.problems.add(fields.place, fields.path, f"a node needs {_PREFIX}IPv4Address or an InternalIP", "missing")
    take_recorded_node(draft, name, located(fields), underlay or listed, tunnels, {**found, "labels": labels})


def _finish_annotations(notes: Fields) -> None:
    """A misspelt annotation of Calico's has no effect; those of others are none of ours."""
    encrypted = [key for key in notes.names() if key.startswith(f"{_PREFIX}") and "Wireguard" in key]
    notes.risky("packets between nodes are not encrypted", *encrypted)
    notes.bookkeeping(*(key for key in notes.names() if not key.startswith((_PREFIX, *(row.key for row in OURS.rows)))))
    notes.finish()


def _internal(status: Fields) -> Underlay | None:
    """Of status.addresses; a mask is never given there."""
    found: list[tuple[int, Underlay]] = []
    for item in status.each("addresses"):
        kind = item.text("type")
        if kind in _RANKS:
            address = item.value("address", lambda leaf: parse_interface(leaf.text), "address")
            found += [(_RANKS.index(kind), Underlay(address, located(item, "address")))] if address else []
    return underlay_among(found)


def _read_mtu(leaf: Scalar) -> int:
    """The values of a ConfigMap are texts."""
    if not leaf.text.isascii() or not leaf.text.isdigit() or len(leaf.text) > 5 or int(leaf.text) > MAX_MTU_BYTES:
        raise ValueError(f"{leaf.text[:20]!r} is not a whole number from 0 to {MAX_MTU_BYTES}")
    return int(leaf.text)


_MTU: Final = FieldKind(
    lambda fields, key: fields.value(key, _read_mtu, "range"),
    {"type": ["string", "integer", "null"], "pattern": "^[0-9]{1,5}$"},
    str,
    "Bytes; 0 derives it from the underlay.",
)
CONFIG_DATA: Final = Table(
    (
        Row("calico_backend", BACKEND, "backend", always=True),
        Row("veth_mtu", _MTU, "workload_mtu"),
        Row("cni_network_config", no_effect("no CNI plugin is configured")),
        Row("cni_network_config_flannel", no_effect("no CNI plugin is configured")),
        Row("typha_service_name", no_effect("there is no Typha")),
    ),
    Configuration,
)
"""The data of the ConfigMap calico-config."""
CONFIG_MAP_NAME: Final = "calico-config"


def read_config_map(draft: Draft, fields: Fields, name: str) -> None:
    """calico_backend and veth_mtu; other ConfigMaps do not concern the network."""
    data = spec_of(fields, "data")
    if name != CONFIG_MAP_NAME:
        because = "of ConfigMaps, only the one named calico-config is about the network"
        fields.no_effect(because, "data", "binaryData", "immutable")
        return
    set_all(draft, CONFIG_DATA, data)
    data.finish()
