"""
`bgpctl cluster serve`: the join service, in the foreground.

Beside its requests it ends changes of the configuration that nobody has confirmed in time: agents of nodes may not.

Refuses to know: what is answered (bgpctl/join).
"""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import click

from bgpctl.agent import logs
from bgpctl.attach.docker.server import passed
from bgpctl.cli import values
from bgpctl.cli.exits import Exit
from bgpctl.cli.join_options import directory_option, places_of, refusals, state_option
from bgpctl.join import server
from bgpctl.join.server import JoinServer
from bgpctl.join.service import Cluster
from bgpctl.process import parts
from bgpctl.process.clock import LinuxClock
from bgpctl.store.etcd.store import EtcdStore


@click.command()
@click.option(
    "--listen",
    callback=values.place,
    default=f"0.0.0.0:{server.PORT}",
    show_default=True,
    metavar="HOST:PORT",
    help="Where hosts reach it; unused where the service manager passes a socket.",
)
@directory_option
@state_option
@click.option("--log-format", type=click.Choice(logs.FORMATS), default="text", show_default=True)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def serve(listen: tuple[str, int], directory: Path, state_dir: Path, log_format: str, log_level: str) -> None:
    """
    Serve hosts that join, on the host of `bgpctl cluster init`, in the foreground. SIGTERM and Ctrl-C end it.

    It may be away: nodes go on, and hosts that join have to wait.
    """
    logs.set_up(log_format, log_level)
    parts.end_together(Exit.FAILED)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    places = places_of(directory, state_dir)
    with refusals():
        cluster = Cluster(places)
        tls = server.context(places.service, places.ca / "ca.crt")
        at = passed(os.environ) or server.listening(*listen)
        serving = JoinServer(at, tls, cluster.answer)
        settling = EtcdStore(replace(cluster.options, snapshot=None), LinuxClock())
        settling.watch(lambda _: None)
    ended.wait()
    serving.close()
    settling.close()
