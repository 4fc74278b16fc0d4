"""
Options that several commands have.

Refuses to know: what the commands do with them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from bgpctl import client

DEFAULT_RUN_DIR: Final = Path("/run/bgpctl")
_KEYS: Final = "bgpctl.keys"

run_dir_option = click.option(
    "--run-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_RUN_DIR,
    show_default=True,
    envvar="BGPCTL_RUN_DIR",
    help="Where the agent keeps its socket and its ExaBGP.",
)

keys_option = click.option(
    "--keys",
    type=click.Path(path_type=Path, file_okay=False),
    default=client.KEYS,
    show_default=True,
    envvar="BGPCTL_KEYS",
    expose_value=False,
    callback=lambda context, _option, value: context.meta.__setitem__(_KEYS, value),
    help="The directory with this node's keys for the channel between agents.",
)


def keys_directory() -> Path:
    """The directory that was given to the command that runs."""
    found: Path = click.get_current_context().meta[_KEYS]
    return found


optional_files_option = click.option(
    "-f",
    "--file",
    "files",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help="Cluster file; may be given several times. Without, the running agents are asked.",
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
