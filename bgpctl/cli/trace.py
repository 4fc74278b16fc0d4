"""
`bgpctl trace`: real packets from this node, and where they were seen, beside what explain says.

Refuses to know: how packets are sent and seen, how a journey is followed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import click

from bgpctl.agent import watches
from bgpctl.attach import ledger_file, netns
from bgpctl.cli import asking, suggest, tracing
from bgpctl.cli.explain import address, explained_by, of_one_version, size_option
from bgpctl.cli.options import keys_directory, keys_option, run_dir_option
from bgpctl.cli.refusals import NotFound
from bgpctl.cli.render import output_option, printable
from bgpctl.cli.tracing import Stage
from bgpctl.cli.workload_options import state_dir_option
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address
from bgpctl.core.trace.sightings import Mark, Sighting
from bgpctl.kernel import sightings, snapshot

_WORKLOAD: Final = "workload"
_WITHIN_S: Final = 5.0


@click.command()
@click.argument("source", shell_complete=suggest.nodes)
@click.argument("destination", shell_complete=suggest.nodes)
@size_option
@click.option(
    "--netns", "namespace", help="The network namespace of SOURCE, if another program has attached it: name or path."
)
@state_dir_option
@run_dir_option
@keys_option
@output_option
def trace(
    source: str,
    destination: str,
    size_bytes: int,
    namespace: str | None,
    state_dir: Path,
    run_dir: Path,
    output: str,
) -> None:
    """
    Send packets from SOURCE, on this node, to DESTINATION, and show where they were seen beside what explain says.

    SOURCE is an address of this node, its name, or the address of one of its workloads. Three echo requests that may
    not be cut are sent, and looked for on every link here, and of the nodes on the way by their agents, where these
    can be asked. Needs root. Exits 0 if all were answered, and 1 if not.
    """
    keys = keys_directory()
    with asking.or_exit():
        asker = asking.of_agent(run_dir, keys)
        intent, here = asking.configuration(run_dir)
    ends = of_one_version((address(source, intent), address(destination, intent)))
    home = _home(ends[0], namespace, state_dir)
    explained = explained_by(asker, ends, size_bytes)
    mark = sightings.new_mark(ends[0].version)
    names = _on_the_way(explained, intent) - {here}
    try:
        with ExitStack() as stack:
            stage = _stage(stack, mark, here, home, _Members(intent, here, names, keys, mark))
            outcome = tracing.run(stage, ends, size_bytes)
    except OSError as error:
        tracing.refuse(f"packets cannot be sent or seen here: {error.strerror}")
    tracing.show(tracing.body_of(explained, outcome), output)


def _home(source: Address, namespace: str | None, state_dir: Path) -> str | None:
    """The network namespace of the source; None for this node's own."""
    if namespace:
        return namespace
    if snapshot.read().has_address(source):
        return None
    try:
        known = ledger_file.read(state_dir).workloads.values()
    except ledger_file.LedgerUnusable as error:
        raise NotFound(str(error)) from error
    found = next((item.request.netns for item in known if source in item.addresses), None)
    if found is None:
        text = f"{source} is no address of this node, nor of one of its workloads: give --netns, or trace on its node"
        raise NotFound(text)
    return found


def _on_the_way(explained: Mapping[str, Any], intent: Intent) -> set[str]:
    parts = (part for part in (explained["there"], explained["back"]) if part)
    return {step["node"] for part in parts for step in part["steps"] if intent.node(step["node"])}


class _Members:
    """The agents of the nodes on the way: each is asked to watch, and later for what it has seen."""

    def __init__(self, intent: Intent, here: str, names: set[str], keys: Path, mark: Mark) -> None:
        self._ask: Callable[[str, set[str]], Mapping[str, Mapping[str, Any] | str]] = lambda view, wanted: (
            asking.of_members(intent, here, sorted(wanted), keys, f"{view}?{watches.query_of(mark)}", _WITHIN_S)
        )
        begun = self._ask(watches.BEGIN, names)
        self._silent = {name: answer for name, answer in begun.items() if isinstance(answer, str)}
        self.watching = frozenset(names - self._silent.keys())

    def seen(self) -> tuple[Sequence[Sighting], Mapping[str, str]]:
        """By those that watch, and why the others cannot say."""
        found: list[Sighting] = []
        silent = dict(self._silent)
        for name, answer in self._ask(watches.SEEN, set(self.watching)).items():
            if isinstance(answer, str):
                silent[name] = answer
                continue
            try:
                found += watches.sightings_of(name, answer)
            except ValueError as error:
                silent[name] = str(printable(str(error)))
        return found, silent


def _stage(stack: ExitStack, mark: Mark, here: str, home: str | None, members: _Members) -> Stage:
    """A watch in this namespace, and in the workload's."""
    sockets = {here: sightings.listener(mark)}
    name = here
    if home is not None:
        path = stack.enter_context(netns.opened(home))
        name = f"{_WORKLOAD} {home}"
        sockets[name] = netns.inside(path, lambda: sightings.listener(mark))
    watch = stack.enter_context(sightings.Watch(mark, sockets))
    inside = path_runner(path) if home is not None else _here
    return Stage(mark, watch, name, inside, frozenset({*sockets, *members.watching}), members.seen)


def path_runner(path: str) -> Callable[[Callable[[], None]], None]:
    """Runs functions in the network namespace of this name or path."""
    return lambda act: netns.inside(path, act)


def _here(act: Callable[[], None]) -> None:
    act()
