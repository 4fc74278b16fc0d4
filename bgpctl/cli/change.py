"""
`bgpctl apply|confirm|undo`: another cluster file for a running agent, and its undoing.

Refuses to know: how the agent changes its files.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bgpctl.cli.convergence import await_convergence
from bgpctl.cli.exits import Exit
from bgpctl.cli.operate import ask
from bgpctl.cli.options import files_or_arguments, run_dir_option, store_option, wait_option
from bgpctl.cli.plan import contents, dangerous, of_agent, show_plan
from bgpctl.cli.values import duration_s


@click.command()
@files_or_arguments
@click.option(
    "--confirm-within",
    "confirm_within_s",
    callback=duration_s,
    metavar="TIME",
    help="Undo the change after TIME (60s) unless it is confirmed: even if you are cut off, or the agent is killed.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Apply even if something would become unreachable, or a host connected to this node would be cut off.",
)
@wait_option("Wait until this node has converged on the change, at most TIME (60s).")
@run_dir_option
@store_option
def apply(
    files: tuple[Path, ...],
    confirm_within_s: float | None,
    within_s: float | None,
    run_dir: Path,
    store: str | None,
    *,
    force: bool,
) -> None:
    """
    Put the contents of FILE into the cluster file that this node's agent reads, and show the changes.

    With --store FILE becomes the configuration of the whole cluster in that etcd, in one transaction, from any host,
    and agents follow by themselves. What pairs of nodes and sessions would lose is shown; kernels are known to agents
    only: `bgpctl plan`.

    A node that has a cluster file of its own needs an apply of its own; nodes may follow in any order. Agents that read
    the same file, as those of a lab do, follow together. An agent that reads several files needs a FILE for each, in
    the same order.

    While a change waits to be confirmed no other is applied, and an edit of the file by hand is not undone. Exits 6,
    and changes nothing, if `bgpctl plan` of the same files exits 6: if something that is reachable now would not be,
    or a host connected to this node would be cut off. With --wait exits 4 if this node has not converged in time; the
    change stays.
    """
    if store:
        from bgpctl.cli.change_store import apply_to  # noqa: PLC0415 (etcd, of which most have none)

        apply_to(store, files, confirm_within_s, force=force)
        return
    wanted = contents(files)
    planned = of_agent(run_dir, wanted)
    show_plan(planned)
    if dangerous(planned) and not force:
        click.echo("nothing was applied; to apply it all the same: --force", err=True)
        sys.exit(Exit.REFUSED)
    within = {} if confirm_within_s is None else {"within_s": str(confirm_within_s)}
    body = ask(run_dir, "apply", wanted, **within)
    click.echo(f"applied to {', '.join(body['files'])} as generation {body['generation']}; undo it with: bgpctl undo")
    if confirm_within_s is not None:
        click.echo(f"it is undone in {confirm_within_s:g} s unless confirmed with: bgpctl confirm")
    if within_s is not None and not await_convergence(run_dir, within_s, body["generation"]):
        click.echo(f"not converged within {within_s:g} s; see: bgpctl show summary", err=True)
        sys.exit(Exit.TIMED_OUT)


@click.command()
@run_dir_option
@store_option
def confirm(run_dir: Path, store: str | None) -> None:
    """Keep a change that was applied with --confirm-within."""
    if store:
        from bgpctl.cli.change_store import confirm_at  # noqa: PLC0415

        confirm_at(store)
        return
    ask(run_dir, "confirm")
    click.echo("the change is kept; undo it with: bgpctl undo")


@click.command()
@run_dir_option
@store_option
def undo(run_dir: Path, store: str | None) -> None:
    """
    Undo the last applied change, confirmed or not; a second time restores it.

    Rejected if there is nothing to undo: the change was undone already, or the file was edited since.
    """
    if store:
        from bgpctl.cli.change_store import undo_at  # noqa: PLC0415

        undo_at(store)
        return
    body = ask(run_dir, "undo")
    click.echo(f"{', '.join(body['files'])}: previous contents restored, as generation {body['generation']}")
