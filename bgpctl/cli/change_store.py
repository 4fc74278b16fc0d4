"""
`bgpctl apply|confirm|undo --store`: another configuration for a whole cluster in an etcd.

Refuses to know: how a store keeps it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from bgpctl.agent import plan_words
from bgpctl.cli import plan_reach
from bgpctl.cli.cluster import opened
from bgpctl.cli.exits import Exit
from bgpctl.cli.findings import valid
from bgpctl.cli.refusals import Refusal
from bgpctl.core.cluster.intent import Intent
from bgpctl.ports import NotPossibleNow
from bgpctl.store import texts
from bgpctl.store.etcd.store import EtcdStore


def apply_to(word: str, files: tuple[Path, ...], confirm_within_s: float | None, *, force: bool) -> None:
    """Exits 2 if the files are not valid with the store's nodes, 3 if it does not answer, 6 if a guard refuses."""
    store = opened(word, files)
    before = store.load()
    found = texts.read_texts(files)
    if any(not isinstance(text, str) for text in found):
        valid(texts.understand(files, found))
    proposal = texts.proposal_of(found)
    wanted = valid(store.preview(proposal))
    if isinstance(before, Intent) and _is_loss(before, wanted) and not force:
        click.echo("nothing was applied; to apply it all the same: --force", err=True)
        sys.exit(Exit.REFUSED)
    try:
        store.propose(proposal, confirm_within_s)
    except NotPossibleNow as error:
        raise Refusal(str(error)) from error
    name = store.status().name
    click.echo(f"applied to {name} as generation {store.generation}; undo it with: bgpctl undo --store {word}")
    if confirm_within_s is not None:
        click.echo(f"it is undone in {confirm_within_s:g} s unless confirmed with: bgpctl confirm --store {word}")


def _is_loss(before: Intent, wanted: Intent) -> bool:
    """Show what pairs of nodes and sessions would lose."""
    body = plan_words.body(before, wanted)
    for line in plan_reach.lines(body):
        click.echo(line)
    return plan_reach.is_loss(body)


def confirm_at(word: str) -> None:
    """Exits 3 if the store does not answer, 6 if no change waits."""
    _do(opened(word), EtcdStore.confirm)
    click.echo(f"the change is kept; undo it with: bgpctl undo --store {word}")


def undo_at(word: str) -> None:
    """Exits 3 if the store does not answer, 6 if there is nothing to undo."""
    store = opened(word)
    _do(store, EtcdStore.undo)
    click.echo(f"{store.status().name}: previous configuration restored, as generation {store.generation}")


def _do(store: EtcdStore, verb: Callable[[EtcdStore], None]) -> None:
    try:
        verb(store)
    except NotPossibleNow as error:
        raise Refusal(str(error)) from error
