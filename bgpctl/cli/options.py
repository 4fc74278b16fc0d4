"""
Options that several commands have, spelled alike everywhere.

Refuses to know: what the commands do with them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from bgpctl import client
from bgpctl.cli import suggest
from bgpctl.cli.values import duration_s

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

DEFAULT_RUN_DIR: Final = Path("/run/bgpctl")
_KEYS: Final = "bgpctl.keys"
_FILE: Final = click.Path(path_type=Path, dir_okay=False)

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


def some_files_option(text: str, *, required: bool = False) -> Decorator:
    """`-f FILE`, any number of times, as `files`."""
    return click.option("-f", "--file", "files", type=_FILE, multiple=True, required=required, help=text)


files_option = some_files_option("Cluster file; may be given several times.", required=True)


files_or_store_option = some_files_option("Cluster file; may be given several times. Or --store.")


optional_files_option = some_files_option(
    "Cluster file; may be given several times. Without, the running agents are asked."
)


store_option = click.option(
    "--store",
    metavar="STORE",
    envvar="BGPCTL_STORE",
    help="The etcd that has the cluster: etcd://HOST:PORT,…/CLUSTER, or a file with keys and a password beside it.",
)


def _files_with_arguments(text: str, *, required: bool) -> Decorator:
    """Files as arguments or with `-f`, which mean the same, all of them as `files`."""

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        @some_files_option(text)
        @click.argument("more_files", metavar="[FILE]...", nargs=-1, type=_FILE)
        @functools.wraps(command)
        def with_files(*words: Any, files: tuple[Path, ...], more_files: tuple[Path, ...], **values: Any) -> Any:
            found = (*files, *more_files)
            if required and not found:
                raise click.UsageError("a cluster file is missing: FILE, or -f FILE")
            return command(*words, files=found, **values)

        return with_files

    return decorated


files_or_arguments = _files_with_arguments(
    "Cluster file; may be given several times, and without -f too.", required=True
)
optional_files_or_arguments = _files_with_arguments(
    "Cluster file; may be given several times, and without -f too. Without any, the running agents are asked.",
    required=False,
)


def file_or_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """One lab file, as an argument or with `-f`, which mean the same, as `file`."""

    @click.option("-f", "--file", "file", type=_FILE, help="Lab file; -f may be left out.")
    @click.argument("argument", metavar="[FILE]", required=False, type=_FILE)
    @functools.wraps(command)
    def with_file(*words: Any, file: Path | None, argument: Path | None, **values: Any) -> Any:
        if bool(file) == bool(argument):
            raise click.UsageError("one lab file is needed: FILE, or -f FILE")
        return command(*words, file=file or argument, **values)

    return with_file


def node_option(text: str, *, required: bool = False) -> Decorator:
    """`--node NAME`, as `node`; nodes of the files given with -f are completed."""
    return click.option("--node", metavar="NAME", required=required, help=text, shell_complete=suggest.nodes)


def wait_option(text: str, *, default: str | None = None) -> Decorator:
    """
    `--wait TIME`, with the other name `--timeout`, as `within_s`: for something that may take some time, and is waited
    for at most so long.
    """
    return click.option(
        "--wait",
        "--timeout",
        "within_s",
        callback=duration_s,
        default=default,
        show_default=default is not None,
        metavar="TIME",
        help=text,
    )
