"""
A whole cluster put into an etcd: its settings as a configuration, its nodes and their allocations as records.

From then on operators apply the configuration, which names no node, and each node has its two records to itself. Nodes
that the store has and the cluster has not stay as they are.

Refuses to know: where the cluster comes from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

import yaml

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.intent import render_short
from bgpctl.core.net.addresses import Prefix
from bgpctl.ports import NotPossibleNow
from bgpctl.store.change import Standing
from bgpctl.store.etcd import configuration, ipam_records, records
from bgpctl.store.etcd.follower import FAULTS
from bgpctl.store.etcd.ipam import claims_of
from bgpctl.store.etcd.kv import Kv
from bgpctl.store.etcd.records import HeadChange

_WITH_THE_HEAD: Final = 40
"""So many records go in the transaction of the configuration, so that a small cluster comes as a whole."""


class Parts(NamedTuple):
    """A cluster in two: the text of its configuration, and the records of its nodes by key."""

    configuration: str
    records: Mapping[str, str]


class Imported(NamedTuple):
    """The outcome: the uuid and the generation of the store, the records written, and those that it has beside them."""

    uuid: str
    generation: int
    written: int
    others: tuple[str, ...]


def parts_of(intent: Intent) -> Parts:
    """The same for the same intent."""
    document: dict[str, Any] = dict(render_short.short(intent))
    nodes: Mapping[str, Mapping[str, Any]] = document.pop("nodes", {})
    found = {}
    for name, node in sorted(nodes.items()):
        rest = {key: value for key, value in node.items() if key not in ("blocks", "borrowed")}
        found[f"{records.NODES}{name}"] = records.written_node(rest)
        given = records.written_allocations(node.get("blocks", ()), node.get("borrowed", ()))
        found[f"{records.ALLOCATIONS}{name}"] = given
    documents = [document, *restrictions(intent)]
    return Parts(yaml.safe_dump_all(documents, sort_keys=False, default_flow_style=None, width=100), found)


def restrictions(intent: Intent) -> list[dict[str, Any]]:
    """Restrictions of the giving of addresses, which the short form does not have, as Calico's resources."""
    config: dict[str, Any] = {"strictAffinity": True} if intent.is_strict else {}
    if intent.most_blocks:
        config["maxBlocksPerHost"] = intent.most_blocks
    found = [_resource("IPAMConfig", "default", config)] if config else []
    if intent.reserved:
        found.append(_resource("IPReservation", "reserved", {"reservedCIDRs": list(map(str, intent.reserved))}))
    return found


def _resource(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": name}, "spec": spec}


def put(kv: Kv, name: str, parts: Parts, replaces: str | None = None) -> Imported:
    """
    Write what differs, the configuration as a file of this name, last. With `replaces` the store gets another uuid, and
    agents that know that one take what they find here for its successor.

    Raises:
        NotPossibleNow: the store cannot be changed.
    """
    try:
        return _put(kv, name, parts, replaces)
    except (*FAULTS, configuration.Overtaken) as error:
        raise NotPossibleNow(f"the store cannot be changed: {error}") from error


def _put(kv: Kv, name: str, parts: Parts, replaces: str | None) -> Imported:
    was = configuration.present(kv)
    there = {key: entry.value for key, entry in kv.list(records.WATCHED).entries.items() if key != records.HEAD}
    new = {key: value for key, value in parts.records.items() if there.get(key) != value}
    _refuse_claimed(kv, new)
    first, last = ({}, new) if len(new) <= _WITH_THE_HEAD else (new, {})
    for puts in configuration.batches_of(first):
        kv.commit({}, puts)
    files, blobs = configuration.files_of([name], [parts.configuration])
    number = was.head.generation + 1
    change = HeadChange(number, was.head.files, Standing.STAYS) if was.head.files else None
    head = replace(was.head, generation=number, files=files, change=change)
    meta = was.successor(replaces) if replaces else None
    configuration.commit(kv, was, head, blobs, meta, last)
    others = tuple(sorted(there.keys() - parts.records.keys()))
    return Imported(configuration.present(kv).uuid, number, len(new), others)


def _refuse_claimed(kv: Kv, new: Mapping[str, str]) -> None:
    """Raise NotPossibleNow for a block that is to be one node's, and of which another one has claimed a part."""
    claims = claims_of(kv.list(ipam_records.BLOCKS).entries).blocks.values()
    for key, value in new.items():
        node = key.removeprefix(records.ALLOCATIONS)
        for text in json.loads(value).get("blocks", ()) if key.startswith(records.ALLOCATIONS) else ():
            block = Prefix.parse(text)
            other = next((c for c in claims if c.node != node and c.block.overlaps(block)), None)
            if other:
                raise NotPossibleNow(f"{block} is to be node {node}'s, and node {other.node} has claimed {other.block}")


def renew(kv: Kv) -> str:
    """
    Give the store another uuid, which replaces the one it has: agents then take its content, although it is older than
    what they know. The new uuid.

    Raises:
        NotPossibleNow: it has no content, or cannot be changed.
    """
    try:
        was = configuration.present(kv)
        if not was.uuid:
            raise NotPossibleNow("the store has no content")
        meta = was.successor()
        if kv.commit({records.META: was.meta_revision}, {records.META: records.written_meta(meta)}) is None:
            raise NotPossibleNow("the store was changed at the same time: try again")
    except FAULTS as error:
        raise NotPossibleNow(f"the store cannot be changed: {error}") from error
    return meta.uuid
