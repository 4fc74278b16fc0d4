"""The topologies that ship, and lab files and cluster files read."""

from __future__ import annotations

from pathlib import Path

from bgpctl.core.cluster.intent import Intent
from bgpctl.lab.labfile import load
from bgpctl.lab.topology import Topology
from bgpctl.store import texts

TOPOLOGIES = Path(__file__).parents[1] / "topologies"
FILTERED = "mesh: false\npeers:\n  all: {peerSelector: all(), filters: [keep]}\n"
"""Sessions between all nodes with a filter, which `keeping` gives."""


def keeping(direction: str, action: str = "Reject") -> str:
    """The document of the filter: what it does to 10.244.2.0/24 on its way in or out (`import`, `export`)."""
    return f"""\
---
kind: BGPFilter
apiVersion: projectcalico.org/v3
metadata: {{name: keep}}
spec:
  {direction}V4: [{{action: {action}, matchOperator: In, cidr: 10.244.2.0/24}}]
"""


def read_topology(path: Path) -> Topology:
    """The topology of a lab file that has no problem."""
    loaded = load(path)
    assert isinstance(loaded, Topology), loaded
    return loaded


def read_cluster(directory: Path, text: str) -> Intent:
    """The intent of a cluster file with this text, which is written into the directory and has no error."""
    file = directory / "cluster.yaml"
    file.write_text(text)
    found = texts.load([file])
    assert isinstance(found, Intent), found
    return found
