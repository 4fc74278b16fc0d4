"""Labs as tests handle them: what they wait for, what they break, what the kernel of a node shows."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bgpctl.lab import etcd, foreign, netns
from bgpctl.lab.lab import Lab
from tests.topologies import read_topology
from tests.waiting import SLOWNESS

CONVERGE_S = 60.0 * SLOWNESS


def peers(lab: Lab, node: str) -> dict[str, dict[str, Any]]:
    """The agent's view of its BGP sessions, by name."""
    return {row["name"]: row for row in lab.read(node, "peers")["peers"]}


def needs(file: Path) -> None:
    """Skip the test if a daemon that the topology runs is not installed."""
    topology = read_topology(file)
    if missing := foreign.missing(topology.runs.values()):
        pytest.skip(f"not installed: {', '.join(missing)} (tools/system-packages test)")
    if topology.stores and (absent := etcd.missing()):
        pytest.skip(f"not installed: {absent}")


def lab_report(lab: Lab) -> str:
    """Everything that helps to understand what became of a lab: agents that ended, states, the ends of logs."""
    ended = {node: agent.poll() for node, agent in lab.agents.items()}
    parts = [f"{node}'s agent has ended: {code}" for node, code in ended.items() if code is not None]
    for summary in lab.summaries():
        node = summary["node"]
        log = lab.log(node).read_text(errors="replace") if lab.log(node).exists() else ""
        parts.append(f"--- {node}: {summary['state']} {summary['problems']}\n{log[-3000:]}")
    return "\n".join(parts)


def ip(lab: Lab, part: str, *words: str) -> str:
    command = ("ip", "-n", lab.names.of(part), *words)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def kernel_of(lab: Lab, node: str) -> str:
    """All that bgpctl may touch, as iproute2 shows it."""
    shows = (
        ("route", "show", "table", "all"),
        ("nexthop",),
        ("neighbour", "show", "nud", "permanent"),
        ("-d", "link"),
        ("address",),
    )
    return "\n".join(ip(lab, node, *words) for words in shows)


def kill(lab: Lab, node: str, number: signal.Signals = signal.SIGKILL) -> None:
    agent = lab.agents[node]
    agent.send_signal(number)
    agent.wait(timeout=20)


def inside(lab: Lab, part: str, command: str) -> None:
    netns.inside(lab.names.of(part), lambda: subprocess.run(command, shell=True, check=True))  # noqa: S602


def ping(lab: Lab, source: str, destination: str, size_bytes: int) -> subprocess.CompletedProcess[str]:
    """One DF-marked packet of this size, IP header included; a second try, since the first may learn the path MTU."""
    payload = str(size_bytes - 28)
    command = ("ip", "netns", "exec", lab.names.of(source), "ping", "-c", "1", "-W", "1", "-M", "do", "-s", payload)
    return subprocess.run((*command, destination), capture_output=True, text=True, check=False)
