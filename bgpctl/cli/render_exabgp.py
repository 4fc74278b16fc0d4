"""
`bgpctl render exabgp`: ExaBGP's configuration on each node, without starting anything.

Refuses to know: passwords; a peer that has one is rendered with a placeholder.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

import click

from bgpctl.cli.findings import valid
from bgpctl.cli.options import files_or_arguments, node_option
from bgpctl.cli.refusals import NotFound
from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.cluster.intent import Intent
from bgpctl.speaker import conf
from bgpctl.store import texts

BRIDGE_COMMAND: Final = "/usr/bin/env python3 -m bgpctl.speaker.bridge /run/bgpctl/bridge.sock"
_PLACEHOLDER: Final = "the-password"


def rendered(intent: Intent, node: str) -> str | None:
    """ExaBGP's configuration on `node`, its environment first as comments; None where no BGP is spoken."""
    config = speaker_config(intent, node)
    if config is None:
        return None
    settings = "".join(f"# {name}={shlex.quote(value)}\n" for name, value in sorted(conf.environment(config).items()))
    secrets = {session.peer: _PLACEHOLDER for session in config.sessions if session.password_file}
    return f"# Environment of ExaBGP on node {node}:\n{settings}\n{conf.render(config, BRIDGE_COMMAND, secrets)}"


def write(intent: Intent, node: str | None, directory: Path | None) -> None:
    """Print the configuration of one node or all, or write one file each into `directory`."""
    for name in [member.name for member in intent.nodes] if node is None else [node]:
        text = rendered(intent, name)
        if text is None:
            click.echo(f"# {name}: no BGP with calico_backend {intent.backend.value}", err=True)
        elif directory is None:
            click.echo(text, nl=False)
        else:
            directory.mkdir(parents=True, exist_ok=True)
            (directory / f"{name}.conf").write_text(text)


@click.command()
@files_or_arguments
@node_option("Only this node.")
@click.option("--to", "directory", type=click.Path(path_type=Path, file_okay=False), help="Write NODE.conf there.")
def exabgp(files: tuple[Path, ...], node: str | None, directory: Path | None) -> None:
    """Print the ExaBGP configuration of each node."""
    intent = valid(texts.load(files))
    if node is not None and intent.node(node) is None:
        raise NotFound(f"{node} is not a node of {', '.join(map(str, files))}")
    write(intent, node, directory)
