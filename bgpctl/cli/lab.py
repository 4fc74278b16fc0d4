"""
`bgpctl lab`: topologies in network namespaces, with real packets.

Refuses to know: its commands (lab_*.py).
"""

from __future__ import annotations

import os
from typing import Final

import click

from bgpctl.cli.lazy import LazyGroup
from bgpctl.cli.refusals import Refusal

_COMMANDS: Final = {
    "down": "lab_up:down_command",
    "exec": "lab_enter:exec_command",
    "explain": "lab_trace",
    "export": "lab_export:export",
    "graph": "lab_graph:graph_command",
    "list": "lab_list:list_command",
    "logs": "lab_logs:logs_command",
    "ping": "lab_ping:ping_command",
    "run": "lab_run:run_command",
    "status": "lab_list:status_command",
    "switch": "lab_switch:switch_command",
    "top": "top:lab_top",
    "ui": "ui:lab_ui",
    "up": "lab_up:up_command",
    "verify": "lab_trace",
}
"""The module and the function of each."""


@click.group(cls=LazyGroup, modules=_COMMANDS)
def lab() -> None:
    """Topologies in network namespaces, with real packets. Needs root."""
    if os.geteuid() != 0:
        raise Refusal("labs need root: they make network namespaces")
