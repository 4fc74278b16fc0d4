"""
Options that several commands have.

Refuses to know: what the commands do with them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

DEFAULT_RUN_DIR: Final = Path("/run/bgpctl")

run_dir_option = click.option(
    "--run-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_RUN_DIR,
    show_default=True,
    envvar="BGPCTL_RUN_DIR",
    help="Where the agent keeps its socket and its ExaBGP.",
)

files_option = click.option(
    "-f",
    "--file",
    "files",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    required=True,
    help="Cluster file; may be given several times.",
)
