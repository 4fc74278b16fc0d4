"""Sources of maps for tests: files, a large cluster, and documents that follow each other as in a change."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bgpctl.cli.map_sources import FileSource
from bgpctl.core.cluster.intent import Intent
from bgpctl.lab import labfile
from bgpctl.lab.topology import Topology
from bgpctl.store import texts
from tests.topologies import TOPOLOGIES

RACKS, EACH = 10, 20
BROKEN = """\
calico_backend: bird
pools:
  blue: {cidr: 10.244.0.0/16, encapsulation: IPIPCrossSubnet, disableBGPExport: true}
nodes:
  a1: {address: 10.0.0.1/24, blocks: [10.244.1.0/26]}
  b1: {address: 10.1.0.3/24, blocks: [10.244.3.0/26]}
"""
"""No block is announced, so that each packet goes to a router that is not asked."""


def topology(name: str) -> FileSource:
    """A topology that ships, as its file has it."""
    return of_file(Path(os.path.relpath(TOPOLOGIES / f"{name}.yaml")))  # places are shown as an operator sees them


def of_file(path: Path) -> FileSource:
    intent, found = texts.load([path]), labfile.load(path)
    assert isinstance(intent, Intent), intent
    return FileSource(intent, [path], found if isinstance(found, Topology) else None)


class Kept:
    """Files whose map is computed once for all tests."""

    every_s = math.inf

    def __init__(self, ground: FileSource) -> None:
        self._ground = ground
        self._map = ground.map()

    def map(self) -> dict[str, Any]:
        return self._map

    def explain(self, source: str, destination: str, size_bytes: int) -> dict[str, Any]:
        return self._ground.explain(source, destination, size_bytes)

    def verify(self) -> dict[str, Any]:
        return self._ground.verify()


def large(directory: Path) -> Kept:
    """200 nodes in ten racks."""
    lines = [
        "calico_backend: bird",
        "pools:",
        "  blue: {cidr: 10.244.0.0/15, encapsulation: VXLANCrossSubnet}",
        "nodes:",
    ]
    for rack in range(RACKS):
        for number in range(EACH):
            block = rack * EACH + number
            address, labels = f"10.{rack}.0.{number + 1}/24", f"{{rack: r{rack:02}}}"
            lines.append(
                f"  r{rack:02}-n{number:02}: {{address: {address}, blocks: [10.244.{block}.0/26], labels: {labels}}}"
            )
    path = directory / "large.yaml"
    path.write_text("\n".join(lines) + "\n")
    return Kept(of_file(path))


class Breaking:
    """Files, but a chain of another program on one node rejects every packet: as its kernel would be explained."""

    every_s = math.inf
    because = "rule 2 of chain inet f F (forward): reject"
    next = "nft -a list table inet f"

    def __init__(self, ground: FileSource, node: str) -> None:
        self._ground = ground
        self._node = node

    def map(self) -> dict[str, Any]:
        return self._ground.map()

    def explain(self, source: str, destination: str, size_bytes: int) -> dict[str, Any]:
        body = self._ground.explain(source, destination, size_bytes)
        there = body["there"]
        broken = {**there, "outcome": "broken", "at": self._node, "because": self.because, "next": self.next}
        return {**body, "outcome": "broken", "there": broken, "back": None}

    def verify(self) -> dict[str, Any]:
        return self._ground.verify()


class Scripted:
    """Documents, of which the test says when the next one is the map. Packets are followed by the files of `ground`."""

    every_s = 0.05

    def __init__(self, ground: FileSource, documents: Sequence[dict[str, Any]]) -> None:
        self._ground = ground
        self._documents = [{**document, "source": "lab"} for document in documents]
        self.now = 0

    def map(self) -> dict[str, Any]:
        return self._documents[self.now]

    def explain(self, source: str, destination: str, size_bytes: int) -> dict[str, Any]:
        return self._ground.explain(source, destination, size_bytes)

    def verify(self) -> dict[str, Any]:
        return self._ground.verify()


def changed(document: dict[str, Any], name: str, **values: Any) -> dict[str, Any]:
    """With another part of one node."""
    nodes = [{**node, **values} if node["name"] == name else node for node in document["nodes"]]
    return {**document, "nodes": nodes}


def switch(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Documents of a change from IPIP to VXLAN: each node in turn prepares, then sends by the other one."""
    found = [document]
    names = [node["name"] for node in document["nodes"] if node["tunnels"]]
    for name in names:
        members = next(node["tunnels"][0]["to"] for node in document["nodes"] if node["name"] == name)
        for number in range(len(members) + 1):
            tunnels = [tunnel("ipip", members[number:]), tunnel("vxlan", members[:number])]
            found.append(changed(found[-1], name, tunnels=tunnels, state="migrating", health="changing"))
    for name in names:
        node = next(node for node in found[-1]["nodes"] if node["name"] == name)
        found.append(changed(found[-1], name, tunnels=node["tunnels"][1:], state="converged", health="good"))
    return found


def tunnel(encapsulation: str, members: Sequence[str]) -> dict[str, Any]:
    device = {"ipip": "tunl0", "vxlan": "vxlan.calico"}[encapsulation]
    return {"device": device, "encapsulation": encapsulation, "up": True, "mtu_bytes": 1450, "to": list(members)}
