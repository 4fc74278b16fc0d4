"""
`bgpctl docker-plugin`: Docker's networks on this node's blocks, served until it ends.

Refuses to know: Docker's protocol and what is done for it (attach/docker).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import click

from bgpctl.agent import logs
from bgpctl.attach.docker import engine, server, service
from bgpctl.attach.docker.messages import Rejected
from bgpctl.cli.exits import Exit
from bgpctl.cli.options import store_option
from bgpctl.cli.shared_ipam import chosen_store, opened
from bgpctl.cli.without_agent import now
from bgpctl.cli.workload_options import cluster_files_option, state_dir_option, this_node_option
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.ports import NotPossibleNow, Unavailable
from bgpctl.process import parts
from bgpctl.store import texts
from bgpctl.store.etcd.addresses import ClaimedAddresses
from bgpctl.store.etcd.options import UnusableStore

log = logging.getLogger("bgpctl.docker")

_SOCKET: Final = Path("/run/docker/plugins/bgpctl.sock")
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


@dataclass(slots=True)
class ClusterFiles:
    """
    The cluster files, read again when they were replaced or edited. While they have errors, or cannot be read, their
    last good content counts. Any thread may call.
    """

    files: Sequence[Path]
    node: str
    _reader: texts.Reader = field(default_factory=texts.Reader)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seen: object = None
    _good: Intent | None = None
    _problem: str = ""

    def read(self) -> tuple[Intent, Node]:
        """The cluster and this node. Raises Rejected."""
        with self._lock:
            seen = tuple(map(_version, self.files))
            if seen != self._seen or self._good is None:
                self._seen = seen
                self._load()
            if self._good is None:
                raise Rejected(self._problem)
        node = self._good.node(self.node)
        if node is None:
            raise Rejected(f"{self.node} is not a node of {', '.join(map(str, self.files))}; see --node")
        return self._good, node

    def _load(self) -> None:
        loaded = self._reader.understand(self.files, texts.read_texts(self.files))
        if isinstance(loaded, Intent):
            self._good = loaded
            return
        first = loaded[0]
        self._problem = (
            f"{first.place}: {first.path}: {first.message}" if first.path else f"{first.place}: {first.message}"
        )
        log.warning("the last good cluster file stays: %s", self._problem)


def _version(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _of_store(shared: ClaimedAddresses) -> tuple[Intent, Node]:
    """Raises Rejected."""
    try:
        return shared.cluster()
    except NotPossibleNow as error:
        raise Rejected(str(error)) from error


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
    here, store = node or socket.gethostname(), chosen_store(context)
    try:
        shared = opened(store, here, state_dir) if store else None
        cluster = partial(_of_store, shared) if shared else ClusterFiles(files, here).read
        listening = server.passed(os.environ) or server.listening(at)
    except (Unavailable, UnusableStore) as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.REFUSED)
    service.run(listening, service.Places(state_dir, docker), cluster, now, ended, shared)
