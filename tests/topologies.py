"""The topologies that ship, and lab files read."""

from __future__ import annotations

from pathlib import Path

from bgpctl.lab.labfile import load
from bgpctl.lab.topology import Topology

TOPOLOGIES = Path(__file__).parents[1] / "topologies"


def read_topology(path: Path) -> Topology:
    """The topology of a lab file that has no problem."""
    loaded = load(path)
    assert isinstance(loaded, Topology), loaded
    return loaded
