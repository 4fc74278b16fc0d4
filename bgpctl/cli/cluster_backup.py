"""
`bgpctl cluster backup|restore`: a cluster's content of its store as a file.

Refuses to know: what is in it (join/backup.py).
"""

from __future__ import annotations

from pathlib import Path

import click

from bgpctl import filesystem
from bgpctl.cli.cluster import options_at
from bgpctl.cli.join_options import refusals
from bgpctl.cli.options import store_option
from bgpctl.cli.refusals import NotFound
from bgpctl.core.cluster.count import count
from bgpctl.join import backup as content
from bgpctl.process import keys
from bgpctl.store.etcd.gateway import PATIENT_S, Gateway
from bgpctl.store.etcd.kv import Kv

_FILE = click.Path(path_type=Path, dir_okay=False)
_LONGEST_BYTES = 256 << 20


@click.command()
@click.argument("file", type=_FILE)
@store_option
def backup(file: Path, store: str | None) -> None:
    """
    Write all that the store has of the cluster to FILE, as it was at one moment. It is for its owner alone.

    The user has to be one that may read all, as the operator's (operator.yaml) may.
    """
    options = options_at(store)
    with refusals():
        text = content.content_of(Kv(Gateway(options, PATIENT_S), options.cluster), options.cluster)
        keys.write_private(file.absolute(), text.encode())
    click.echo(f"{file} has {options.name}: {count(len(content.read(text, str(file))), 'record')}")


@click.command()
@click.argument("file", type=_FILE)
@store_option
def restore(file: Path, store: str | None) -> None:
    """
    Put a backup in place of what the store has of the cluster. It gets another uuid, and agents take it within seconds.

    What was written since the backup is gone: blocks that were given since are free, nodes that joined since are none.
    """
    options = options_at(store)
    try:
        text = filesystem.read(file, _LONGEST_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    with refusals():
        entries = content.read(text, str(file))
        now = content.restore(Kv(Gateway(options, PATIENT_S), options.cluster), entries)
    click.echo(f"{options.name} has the content of {file}: {count(len(entries), 'record')}, as {now} from now on")
