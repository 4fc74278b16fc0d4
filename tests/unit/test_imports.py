"""The modules that a running agent keeps in memory: what other commands need is not among them."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

LEFT_OUT: Final = {
    "asyncio": "pyroute2 stands on it",
    "bgpctl.agent.metrics": "imported by the first scrape",
    "bgpctl.cli.operate": "another command",
    "bgpctl.cli.replay": "another command",
    "bgpctl.cli.show": "another command",
    "bgpctl.cli.validate": "another command",
    "bgpctl.lab": "no part of an agent",
    "importlib.metadata": "imported when a journal is written",
    "jsonschema": "for tests and editors",
    "netaddr": "imported for the first MAC address of a cluster file",
    "prometheus_client": "imported by the first scrape",
    "pyroute2": "imported by the first change of a link",
    "rich": "prints tables",
}
"""With the reason."""


@pytest.fixture(scope="module")
def imported() -> frozenset[str]:
    program = "import sys, bgpctl.cli.agent; print(*sys.modules)"
    command = (sys.executable, "-c", program)
    return frozenset(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_an_agent_imports_its_loop_and_its_ports(imported: frozenset[str]) -> None:
    assert imported >= {"bgpctl.agent.runner", "bgpctl.kernel.linux", "bgpctl.speaker.exabgp", "bgpctl.store.file"}


@pytest.mark.parametrize("module", sorted(LEFT_OUT))
def test_an_agent_starts_without(module: str, imported: frozenset[str]) -> None:
    assert module not in imported, LEFT_OUT[module]
