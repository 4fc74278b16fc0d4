"""
`bgpctl resolver`: names of workloads, for this node's workloads, until it ends.

Refuses to know: DNS and where names come from (attach/dns).
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import click

from bgpctl.agent import logs
from bgpctl.attach.dns import forward, service
from bgpctl.attach.dns.forward import Forwarder, Upstream
from bgpctl.attach.dns.members import MemberNames
from bgpctl.attach.dns.names import Names, Source
from bgpctl.attach.wiring import RESOLVERS
from bgpctl.cli import cluster_source
from bgpctl.cli.cluster_source import ClusterInEtcd, source_of
from bgpctl.cli.exits import Exit
from bgpctl.cli.options import keys_directory, keys_option, run_dir_option, store_option
from bgpctl.cli.workload_options import cluster_files_option, state_dir_option, this_node_option
from bgpctl.ports import Unavailable
from bgpctl.process import parts
from bgpctl.store.etcd.workload_names import WorkloadNames


def _upstreams(_context: click.Context, _option: click.Parameter, found: Sequence[str]) -> tuple[Upstream, ...]:
    try:
        return tuple(map(forward.upstream_of, found))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@cluster_files_option("RESOLVER")
@store_option
@this_node_option("RESOLVER")
@state_dir_option
@run_dir_option
@keys_option
@click.option(
    "--forward",
    "upstreams",
    multiple=True,
    callback=_upstreams,
    metavar="ADDRESS[:PORT]",
    help="Ask this resolver for all other names; without, those of /etc/resolv.conf. May be given several times.",
)
@click.option("--log-format", type=click.Choice(logs.FORMATS), default="text", show_default=True)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def resolver(
    files: tuple[Path, ...],
    store: str | None,
    node: str | None,
    state_dir: Path,
    run_dir: Path,
    upstreams: tuple[Upstream, ...],
    log_format: str,
    log_level: str,
) -> None:
    """
    Answer this node's workloads at 169.254.1.1, in the foreground. SIGTERM and Ctrl-C end it.

    Names of other nodes' workloads come by the etcd; with cluster files, by the channel between agents. All other
    names are asked for at the host's own resolvers.
    """
    logs.set_up(log_format, log_level)
    parts.end_together(Exit.FAILED)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    cluster = source_of(files, store, node, "resolver")
    try:
        names = Names(state_dir, cluster.read, _source(cluster))
        forwarder = Forwarder(upstreams, frozenset(map(str, RESOLVERS.values())))
        service.Resolver(names, forwarder, run_dir, time.time()).run(ended)
    except Unavailable as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.REFUSED)
    finally:
        cluster.close()


def _source(cluster: cluster_source.Source) -> Source:
    if isinstance(cluster, ClusterInEtcd):
        return WorkloadNames(cluster.store.kv, cluster.node)
    return MemberNames(cluster.read, keys_directory())
