"""
`bgpctl keys init|node`: the certificate authority of a cluster, and certificates of nodes.

Refuses to know: how keys are made.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click

from bgpctl.cli.refusals import Refusal
from bgpctl.core.intent.fields import is_name, not_a_name
from bgpctl.process import keys as authority

_ca_option = click.option(
    "--keys",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("bgpctl-keys"),
    show_default=True,
    help="The directory of the cluster's certificate authority, on the operator's machine.",
)
_DAYS: Final = click.IntRange(1, 36500)


@click.group()
def keys() -> None:
    """Certificates for the channel between agents."""


@keys.command()
@_ca_option
@click.option("--days", type=_DAYS, default=authority.CA_DAYS, show_default=True, help="How long the CA is valid.")
def init(directory: Path, days: int) -> None:
    """
    Make the certificate authority of a cluster: a private key and a certificate.

    A program that reads `ca.key` can be any member: keep the directory on a machine that is no node.
    """
    try:
        authority.make_ca(directory, days=days)
    except authority.KeysError as error:
        raise Refusal(str(error)) from error
    click.echo(f"{directory} has a new certificate authority; next, for each node: bgpctl keys node NAME")


@keys.command()
@click.argument("name")
@_ca_option
@click.option("--days", type=_DAYS, default=authority.NODE_DAYS, show_default=True, help="How long it is valid.")
def node(name: str, directory: Path, days: int) -> None:
    """
    Issue a key and a certificate for the node NAME, or renew them.

    They are for the agent of that node: copy the files to its directory of keys. A running agent takes new ones within
    a second.
    """
    if not is_name(name):
        raise click.UsageError(not_a_name(name))
    try:
        place = authority.issue(directory, name, days=days)
        found = (authority.ends(place) - datetime.now(UTC)) / timedelta(days=1)
    except authority.KeysError as error:
        raise Refusal(str(error)) from error
    valid = f"valid for {round(found)} days{', as long as the CA' if round(found) < days else ''}"
    click.echo(f"{place} is for node {name}, {valid}; copy its files to /etc/bgpctl/keys there")
