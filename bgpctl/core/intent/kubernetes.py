"""
Kubernetes' own objects that Calico reads: Node with Calico's annotations, ConfigMap calico-config.

Refuses to know: everything else that Kubernetes says about a node.
"""

from __future__ import annotations

from typing import Final

from bgpctl.core.cluster.configuration import Backend
from bgpctl.core.intent.bgp import underlay_among
from bgpctl.core.intent.draft import Draft, located, read_labels, spec_of
from bgpctl.core.intent.fields import Fields, parse_interface
from bgpctl.core.intent.nodes import ACCEPTS, Rest, Underlay, read_accepts, read_tunnels, read_underlay, take_node
from bgpctl.core.intent.settings import MAX_MTU_BYTES
from bgpctl.core.intent.tree import Scalar
from bgpctl.core.intent.tunnel_keys import ANNOTATED_END_KEYS
from bgpctl.core.intent.values import of_version

_PREFIX: Final = "projectcalico.org/"
_RANKS: Final = ("InternalIP", "ExternalIP")


def read_node(draft: Draft, fields: Fields, name: str) -> None:
    """Calico's annotations say what spec.bgp says in its own Node; without them the node's InternalIP counts."""
    metadata = spec_of(fields, "metadata")
    labels = read_labels(metadata.fields("labels"))
    notes = spec_of(metadata, "annotations")
    asn = notes.asn(f"{_PREFIX}ASNumber")
    cluster_id = notes.value(f"{_PREFIX}RouteReflectorClusterID", of_version(4), "address")
    ends = read_tunnels((notes, ANNOTATED_END_KEYS))
    underlay = read_underlay(notes, f"{_PREFIX}IPv4Address", f"{_PREFIX}IPv6Address")
    accepts = read_accepts(notes)
    _finish_annotations(notes)
    status = spec_of(fields, "status")
    listed = _internal(status)
    status.bookkeeping(*(key for key in status.names() if key != "addresses"))
    spec = spec_of(fields)
    spec.bookkeeping(*spec.names())
    if not underlay and not listed:
        fields.problems.add(fields.place, fields.path, f"a node needs {_PREFIX}IPv4Address or an InternalIP", "missing")
    take_node(draft, name, located(fields), underlay or listed, ends, Rest(asn, labels, cluster_id, accepts))


def _finish_annotations(notes: Fields) -> None:
    """A misspelt annotation of Calico's has no effect; those of others are none of ours."""
    notes.no_effect("the node's address alone counts", f"{_PREFIX}Interfaces")
    encrypted = [key for key in notes.names() if key.startswith(f"{_PREFIX}") and "Wireguard" in key]
    notes.risky("packets between nodes are not encrypted", *encrypted)
    notes.bookkeeping(*(key for key in notes.names() if not key.startswith((_PREFIX, ACCEPTS))))
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


def read_config_map(draft: Draft, fields: Fields, name: str) -> None:
    """calico_backend and veth_mtu; other ConfigMaps say nothing about the network."""
    data = spec_of(fields, "data")
    if name != "calico-config":
        because = "of ConfigMaps, only the one named calico-config is about the network"
        fields.no_effect(because, "data", "binaryData", "immutable")
        return
    draft.set("backend", data.choice("calico_backend", Backend), located(data, "calico_backend"))
    draft.set("workload_mtu", data.value("veth_mtu", _mtu, "range"), located(data, "veth_mtu"))
    data.no_effect("no CNI plugin is configured", "cni_network_config", "cni_network_config_flannel")
    data.no_effect("there is no Typha", "typha_service_name")
    data.finish()


def _mtu(leaf: Scalar) -> int:
    """A ConfigMap holds texts."""
    if not leaf.text.isascii() or not leaf.text.isdigit() or len(leaf.text) > 5 or int(leaf.text) > MAX_MTU_BYTES:
        raise ValueError(f"{leaf.text[:20]!r} is not a whole number from 0 to {MAX_MTU_BYTES}")
    return int(leaf.text)
