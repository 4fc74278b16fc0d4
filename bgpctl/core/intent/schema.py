"""
The JSON Schema of cluster files, for editors: made of the tables that documents are read and written by.

`make schema` writes it into the package. It refuses every key and kind that the loader does not know, so that an editor
marks it; in foreign resources the loader has only a note for them. Of all else it accepts what the loader accepts;
rules that need more than one value are the loader's.

Refuses to know: keys, which stand in the tables; files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from bgpctl.core.intent import kubernetes, legacy, short
from bgpctl.core.intent.bgp import NODE_SPEC
from bgpctl.core.intent.calico import BOOKKEEPING, CALICO, KINDS, OTHER_KINDS
from bgpctl.core.intent.filters import FILTER, OPERATION_SHAPE, RULES
from bgpctl.core.intent.installation import operator_pool
from bgpctl.core.intent.nodes import short_node
from bgpctl.core.intent.pools import calico_pool, short_pool
from bgpctl.core.intent.services import SERVICE
from bgpctl.core.intent.shapes import DEFINITIONS, Shape, many, one_among, ref
from bgpctl.core.intent.tables import Table

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


def cluster_schema() -> Shape:
    """The schema of one document of a cluster file."""
    about = "One document of a cluster file: the short form, or a resource as Calico has it. null is as if left out."
    return {
        "$schema": DRAFT,
        "title": "bgpctl cluster file",
        "description": about,
        **ref("document"),
        "$defs": {**_short_form(), **_resources(), **DEFINITIONS},
    }


def _short_form() -> Mapping[str, Shape]:
    return {
        "document": {
            "type": ["object", "array", "null"],
            "items": ref("listed"),
            "if": {"type": "object", "required": ["kind"]},
            "then": ref("resource"),
            "else": {
                "if": {"type": "object", "required": ["items"]},
                "then": ref("list"),
                "else": {"if": {"type": "object"}, "then": ref("cluster")},
            },
        },
        "cluster": short.shape(),
        "shortPool": short_pool().shape(),
        "shortNode": short_node().shape(),
        "shortPeer": short.SHORT_PEER.shape(),
        "service": SERVICE.shape(),
        "filter": FILTER.shape(nullable=True),
        "filterRule": RULES[4].shape(),
        "filterOperation": OPERATION_SHAPE,
    }


# Resources -----------------------------------------------------------------------------------------------------


def _resources() -> Mapping[str, Shape]:
    return {
        "resource": {
            "description": "A resource of Calico, Kubernetes or the Tigera operator.",
            "properties": {"kind": {"enum": list(_kinds())}},
            "allOf": list(_by_kind()),
        },
        "list": _list(),
        "listed": {"required": ["kind"], "type": "object", **ref("resource")},
        "metadata": _metadata(),
        **{kind: _resource(kind) for kind in KINDS if kind not in _SPECIAL},
        "Node": _node(),
        "ConfigMap": _config_map(),
        "operatorPool": operator_pool().shape(),
        "calicoNode": NODE_SPEC.shape(nullable=True),
        **_old_resources(),
    }


_SPECIAL: Final = ("Node", "ConfigMap")
_DEPLOYED: Final = ("DaemonSet",)
"""Kinds of which there are no lists."""


def _kinds() -> Iterator[str]:
    yield from KINDS
    yield from legacy.READERS
    yield from ("List", *(f"{kind}List" for kind in (*KINDS, *OTHER_KINDS)))
    yield from (*OTHER_KINDS, *_DEPLOYED)


def _by_kind() -> Iterator[Shape]:
    """The shape of a resource, by its kind."""
    for kind in (*KINDS, *legacy.READERS):
        yield {"if": {"properties": {"kind": {"const": kind}}}, "then": ref(kind)}
    yield {"if": {"properties": {"kind": {"pattern": "List$"}}}, "then": ref("list")}


def _list() -> Shape:
    return {
        "properties": {"apiVersion": True, "kind": True, "metadata": True, "items": many(ref("listed"))},
        "additionalProperties": False,
    }


def _metadata() -> Shape:
    return {
        "type": "object",
        "required": ["name"],
        "properties": {"name": ref("name"), **dict.fromkeys(("labels", "annotations", *BOOKKEEPING), True)},
        "additionalProperties": False,
    }


def _envelope(kind: str, version: Shape, required: list[str], **parts: object) -> Shape:
    """A resource whose parts stand beside kind and version."""
    return {
        "required": required,
        "properties": {"apiVersion": version, "kind": {"const": kind}, **parts},
        "additionalProperties": False,
    }


def _resource(kind: str) -> Shape:
    found = KINDS[kind]
    required = ["metadata", "spec"] if _needs_keys(found.spec) else ["metadata"]
    parts = {"metadata": ref("metadata"), "spec": found.spec.shape(nullable=len(required) == 1), "status": True}
    return _envelope(kind, one_among(found.versions), required, **parts)


def _needs_keys(table: Table) -> bool:
    return bool(table.also) or any(row.needed for row in table.rows)


def _config_map() -> Shape:
    """Of those with other names nothing is read."""
    parts = dict.fromkeys(("data", "binaryData", "immutable", "status"), True)
    version = one_among(KINDS["ConfigMap"].versions)
    data = kubernetes.CONFIG_DATA.shape(nullable=True)
    is_named: Shape = {"properties": {"name": {"const": kubernetes.CONFIG_MAP_NAME}}}
    return {
        **_envelope("ConfigMap", version, ["metadata"], metadata=ref("metadata"), **parts),
        "if": {"properties": {"metadata": is_named}},
        "then": {"properties": {"data": data, "binaryData": False, "immutable": False}},
    }


# Nodes ---------------------------------------------------------------------------------------------------------

_LABELLED: Final[Shape] = {"properties": {"metadata": {"properties": {"labels": ref("labels")}}}}


def _node() -> Shape:
    """Calico's, or with version v1 that of Kubernetes."""
    parts = {"metadata": ref("metadata"), "spec": ref("calicoNode"), "status": True}
    calicos = _envelope("Node", one_among(CALICO), ["metadata", "spec"], **parts)
    return {
        "if": {"required": ["apiVersion"], "properties": {"apiVersion": {"const": "v1"}}},
        "then": _kubernetes_node(),
        "else": {"allOf": [_LABELLED, calicos]},
    }


def _kubernetes_node() -> Shape:
    addresses = many({"type": ["object", "null"]})
    parts = {
        "metadata": ref("metadata"),
        "spec": {"type": ["object", "null"]},
        "status": {"type": ["object", "null"], "properties": {"addresses": addresses}},
    }
    annotations = kubernetes.ANNOTATIONS.shape(nullable=True)
    annotated: Shape = {"properties": {"metadata": {"properties": {"annotations": annotations}}}}
    return {**_envelope("Node", {"const": "v1"}, ["metadata"], **parts), "allOf": [_LABELLED, annotated]}


# Calico v1 -----------------------------------------------------------------------------------------------------


def _old_resources() -> Mapping[str, Shape]:
    """The keys that a resource of today needs in its spec may stand in the metadata of an old one."""
    return {
        "ipPool": _old("ipPool", legacy.POOL_METADATA.shape(nullable=True), _optional(calico_pool())),
        "node": _old("node", legacy.NODE_METADATA.shape(), ref("calicoNode")),
        "bgpPeer": _old("bgpPeer", legacy.PEER_METADATA.shape(), _optional(legacy.PEER_SPEC)),
    }


def _old(kind: str, metadata: Shape, spec: Shape) -> Shape:
    return _envelope(kind, {"const": "v1"}, ["apiVersion", "metadata"], metadata=metadata, spec=spec)


def _optional(table: Table) -> Shape:
    return {key: value for key, value in table.shape(nullable=True).items() if key not in {"required", *table.also}}
