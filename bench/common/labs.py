"""
Labs of a benchmark's own: from a topology of the project, with other words in its file, and gone afterwards.

Refuses to know: what is measured in them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.common.ending import finishing
from bench.common.machine import PROJECT
from bgpctl.lab import lab as labs
from bgpctl.lab.lab import Lab
from bgpctl.lab.labfile import load
from bgpctl.lab.topology import Topology

TOPOLOGIES: Final = PROJECT / "topologies"


@contextmanager
def lab_of(name: str, topology: str, words: Mapping[str, str] | None = None, more: str = "") -> Iterator[Lab]:
    """
    A lab, whose agents have been started.

    Args:
        name: of the lab.
        topology: a file in topologies/, without its suffix.
        words: replaced in the topology's file; each is there.
        more: at the end of it.
    """
    text = (TOPOLOGIES / f"{topology}.yaml").read_text()
    for old, new in (words or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    full = f"bench{os.getpid()}-{name}"
    with tempfile.TemporaryDirectory(prefix="bn") as directory:
        file = Path(directory) / "cluster.yaml"
        file.write_text(text + more)
        found = load(file)
        assert isinstance(found, Topology), found
        lab = labs.up(found, full, keep=False)
        try:
            yield lab
        finally:
            with finishing():
                labs.down(full)
