"""
`bgpctl docker-plugin`: Docker's networks on this node's blocks, served until it ends.

Refuses to know: Docker's protocol and what is done for it (attach/docker).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Final

import click

from bgpctl.agent import logs
from bgpctl.attach.docker import engine, server, service
from bgpctl.attach.docker.messages import Rejected
from bgpctl.cli.cluster_source import source_of
from bgpctl.cli.exits import Exit
from bgpctl.cli.options import store_option
from bgpctl.cli.shared_ipam import chosen_store, opened
from bgpctl.cli.without_agent import now
from bgpctl.cli.workload_options import cluster_files_option, state_dir_option, this_node_option
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.ports import Unavailable
from bgpctl.process import parts
from bgpctl.store.etcd.options import UnusableStore

_SOCKET: Final = Path("/run/docker/plugins/bgpctl.sock")
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


@click.command("docker-plugin")
@cluster_files_option("DOCKER_PLUGIN")
@store_option
@this_node_option("DOCKER_PLUGIN")
@state_dir_option
@click.option(
    "--socket",
    "at",
    type=_FILE,
    default=_SOCKET,
    show_default=True,
    help="Where Docker finds this plugin; unused where the service manager passes a socket.",
)
@click.option("--docker", type=_FILE, default=engine.SOCKET, show_default=True, help="Docker's own socket.")
@click.option("--log-format", type=click.Choice(logs.FORMATS), default="text", show_default=True)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.pass_context
def docker_plugin(
    context: click.Context,
    /,
    files: tuple[Path, ...],
    node: str | None,
    state_dir: Path,
    at: Path,
    docker: Path,
    **logging_as: str,
) -> None:
    """
    Serve Docker as network and IPAM driver `bgpctl`, in the foreground: containers get addresses of this node's blocks.

    No agent is asked. Containers keep their networks while this program does not run; what is asked for meanwhile
    waits or fails. SIGTERM and Ctrl-C end it.
    """
    logs.set_up(logging_as["log_format"], logging_as["log_level"])
    parts.end_together(Exit.FAILED)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    store = chosen_store(context)
    try:
        cluster = source_of(files, store, node, "docker")
        shared = opened(store, cluster.node, state_dir) if store else None
        listening = server.passed(os.environ) or server.listening(at)
    except (Unavailable, UnusableStore) as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.REFUSED)

    def read() -> tuple[Intent, Node]:
        try:
            return cluster.read()
        except Unavailable as error:
            raise Rejected(str(error)) from error

    try:
        service.run(listening, service.Places(state_dir, docker), read, now, ended, shared)
    finally:
        cluster.close()
