"""
Workloads connected to their nodes, in namespaces that have names or paths, or that another program makes.

Refuses to know: the wiring itself (wiring.py), what makes the namespaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bgpctl.attach import netns
from bgpctl.attach.wiring import Wiring


class Cable(NamedTuple):
    """A wiring, and the namespaces of both ends; the node's is None where it is the caller's own."""

    wiring: Wiring
    node: str | None
    workload: str


def connect(cables: Sequence[Cable]) -> None:
    """
    Make all cables: first the links, then both ends. A node's end is up only once it heeds nothing.

    Raises:
        RuntimeError: with ip's output; what was made stays, and goes with the namespaces.
        OSError: a namespace cannot be entered.
    """
    netns.ip([cable.wiring.cable(cable.node, cable.workload) for cable in cables])
    for node in dict.fromkeys(cable.node for cable in cables):
        _connect_node(node, [cable.wiring for cable in cables if cable.node == node])
    for cable in cables:
        netns.ip([*cable.wiring.workload_commands()], cable.workload)


def connect_half(wiring: Wiring) -> None:
    """
    Make a cable whose workload's end stays here and down: another program moves it, and gives it addresses and routes.

    Raises:
        RuntimeError: with ip's output; what was made stays.
    """
    netns.ip([wiring.cable(None, None)])
    _connect_node(None, [wiring])


def _connect_node(node: str | None, wirings: Sequence[Wiring]) -> None:
    sysctls = {name: value for wiring in wirings for name, value in wiring.node_sysctls().items()}
    netns.set_sysctls(node, sysctls, where_possible=True)
    netns.ip([line for wiring in wirings for line in wiring.node_commands()], node)
