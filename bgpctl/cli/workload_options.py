"""
Options of the commands that know this node's workloads, spelled alike in each.

Refuses to know: what the commands do with them.
"""

from __future__ import annotations

from pathlib import Path

import click

from bgpctl.attach import ledger_file
from bgpctl.cli import suggest
from bgpctl.cli.options import Decorator
from bgpctl.cli.without_agent import CLUSTER_FILE

state_dir_option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=ledger_file.DIRECTORY,
    show_default=True,
    envvar="BGPCTL_STATE_DIR",
    help="Where the ledger of this node's workloads is kept.",
)


def cluster_files_option(command: str) -> Decorator:
    """`-f FILE`, as `files`. `command` is its part of the variables' names; the agent's count too."""
    return click.option(
        "-f",
        "--file",
        "files",
        type=click.Path(path_type=Path, dir_okay=False),
        multiple=True,
        default=[CLUSTER_FILE],
        show_default=True,
        envvar=[f"BGPCTL_{command}_FILES", "BGPCTL_AGENT_RUN_FILES"],
        help="Cluster file; may be given several times.",
    )


def this_node_option(command: str) -> Decorator:
    """`--node NAME`, likewise."""
    return click.option(
        "--node",
        metavar="NAME",
        shell_complete=suggest.nodes,
        envvar=[f"BGPCTL_{command}_NODE", "BGPCTL_AGENT_RUN_NODE"],
        help="Name of this node in the cluster file; without, the host name.",
    )
