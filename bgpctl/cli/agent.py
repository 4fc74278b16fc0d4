"""
`bgpctl agent run|journal|replay` and `bgpctl cleanup`: the daemon of this node, and the commands without it.

Refuses to know: how a node is run and cleaned up (agent/wiring.py).
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bgpctl import client
from bgpctl.agent import logs, wiring
from bgpctl.agent.service import Servers, collect_seldom
from bgpctl.agent.words import failure as failure_words
from bgpctl.agent.words import kernel_object as object_words
from bgpctl.cli import values
from bgpctl.cli.drivers import drivers_option, selected
from bgpctl.cli.exits import Exit
from bgpctl.cli.findings import valid
from bgpctl.cli.lazy import LazyGroup
from bgpctl.cli.options import (
    files_or_store_option,
    keys_directory,
    keys_option,
    node_option,
    run_dir_option,
    store_option,
)
from bgpctl.cli.refusals import NotFound
from bgpctl.core.cluster.count import count
from bgpctl.core.net.objects import PROTOCOL
from bgpctl.ports import AlreadyRunning, NotPossibleNow, Store, Unavailable
from bgpctl.process import parts

protocol_option = click.option(
    "--route-protocol",
    type=click.IntRange(5, 255),
    default=PROTOCOL,
    show_default=True,
    envvar="BGPCTL_ROUTE_PROTOCOL",
    help="Marks bgpctl's routes and next hops in the kernel; another number where another program claims this one.",
)


@click.group(cls=LazyGroup, modules={"journal": "operate", "replay": "replay"})
def agent() -> None:
    """The per-node daemon."""


@agent.command()
@node_option("Name of this node in the cluster file.", required=True)
@files_or_store_option
@store_option
@run_dir_option
@drivers_option
@click.option(
    "--nexthop-objects/--no-nexthop-objects",
    default=True,
    show_default=True,
    help="Routes name next-hop objects (Linux 5.3); without, each has its gateways, as other tools expect.",
)
@protocol_option
@click.option(
    "--health",
    callback=values.place,
    metavar="HOST:PORT",
    help="Serve /liveness, /readiness and /metrics there too; choose a local address, such as 127.0.0.1:9099.",
)
@click.option(
    "--plan-group",
    callback=values.group,
    metavar="GROUP",
    help="Members may ask for plans of their own content, as root may; all users may read the rest but kernels.",
)
@keys_option
@click.option(
    "--unpatched",
    is_flag=True,
    help="Run ExaBGP as it is, whatever its version; without, any but the one that is patched is refused.",
)
@click.option(
    "--prove-every",
    "prove_every_s",
    callback=values.duration_s,
    default="10s",
    show_default=True,
    metavar="TIME",
    help="Send probes to each member at least so often; more often where there are few members; 0: none.",
)
@click.option("--log-format", type=click.Choice(logs.FORMATS), default="text", show_default=True)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def run(  # noqa: PLR0913 (click passes every option)
    node: str,
    files: tuple[Path, ...],
    store: str | None,
    run_dir: Path,
    route_protocol: int,
    health: tuple[str, int] | None,
    plan_group: int | None,
    *,
    nexthop_objects: bool,
    unpatched: bool,
    prove_every_s: float,
    **log: str,
) -> None:
    """
    Run this node's agent in the foreground.

    SIGTERM and Ctrl-C end it and leave forwarding and BGP sessions in place; `bgpctl cleanup` removes them.
    """
    logs.set_up(log["log_format"], log["log_level"])
    collect_seldom()
    if bool(files) == bool(store):
        raise click.UsageError("either -f FILE, or --store STORE, is required")
    source = _store_at(store, node) if store else _store_of(files, node)
    parts.end_together(Exit.FAILED)
    try:
        wiring.run(
            node,
            source,
            run_dir,
            selected(),
            Servers(run_dir / client.SOCKET, health, plan_group, keys_directory()),
            wiring.Choices(nexthop_objects, route_protocol, not unpatched, prove_every_s or None),
        )
    except (AlreadyRunning, Unavailable) as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.REFUSED)


def _store_of(files: tuple[Path, ...], node: str) -> Store:
    """One for both readings: what was understood here is not read again by the loop."""
    store = wiring.store_of(files)
    intent = valid(store.load())  # a change that was cut short may have left them invalid
    if intent.node(node) is None:
        names = ", ".join(member.name for member in intent.nodes) or "none"
        raise NotFound(f"{node} is not a node of {', '.join(map(str, files))} (nodes: {names})")
    return store


def _store_at(word: str, node: str) -> Store:
    """It may be away, or have no record of this node yet: the agent waits for it, with what it knew before."""
    try:
        return wiring.store_at(word, node, keys_directory())
    except NotPossibleNow as error:
        raise NotFound(str(error)) from error


@click.command()
@run_dir_option
@protocol_option
def cleanup(run_dir: Path, route_protocol: int) -> None:
    """
    End this node's BGP speaker, remove everything that is bgpctl's from the kernel, and put back the sysctls that it
    changed. Nothing else is touched.
    """
    try:
        ops, failures = wiring.clean_up(run_dir, route_protocol)
    except (AlreadyRunning, Unavailable) as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.REFUSED)
    for op in ops:
        click.echo(f"- {object_words(op.object)}")
    for failure in failures:
        click.echo(failure_words(failure), err=True)
    click.echo(f"removed {count(len(ops) - len(failures), 'object')}")
    sys.exit(Exit.PARTLY if failures else Exit.OK)
