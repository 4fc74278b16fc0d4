"""
`bgpctl plan`: the effect of a change of the cluster file on each node's kernel, before anything is changed.

Refuses to know: how the effects are computed.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from bgpctl import client
from bgpctl.agent import plan_words, words
from bgpctl.cli import plan_reach
from bgpctl.cli.drivers import other_drivers_option, selected
from bgpctl.cli.exits import Exit
from bgpctl.cli.findings import valid
from bgpctl.cli.options import node_option, run_dir_option, some_files_option
from bgpctl.cli.refusals import NotFound, Refusal
from bgpctl.cli.render import emit, output_option
from bgpctl.core.cluster.count import count
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.simulate.of_cluster import of_cluster, of_node
from bgpctl.store import texts

_SIGNS: Final = {"put": "+", "change": "~", "remove": "-"}
_SHOWN: Final = 12
"""Of names and prefixes, one line's worth."""

_TIMEOUT_S: Final = 60.0
"""For 1,000 nodes an agent computes a few seconds, beside its work."""


@click.command()
@some_files_option("The new cluster file; may be given several times.")
@click.option(
    "--from", "before", type=click.Path(path_type=Path), help="Plan for a whole cluster: the cluster file in force."
)
@click.option("--to", "after", type=click.Path(path_type=Path), help="Plan for a whole cluster: the new cluster file.")
@node_option("Only this node.")
@other_drivers_option
@run_dir_option
@output_option
def plan(
    files: tuple[Path, ...],
    before: Path | None,
    after: Path | None,
    node: str | None,
    run_dir: Path,
    output: str,
) -> None:
    """
    Show the changes to the kernel and their effect on traffic. Changes nothing.

    With -f, this node's agent plans from its own kernel, for root and the members of its --plan-group. With --to, and
    --from unless the cluster is new, every node is planned from the files alone, on kernels with nothing beside bgpctl,
    for any user. Both follow a packet between nodes, by the old file and by the new one, of alike nodes between one
    pair. Exits 0 if nothing would change, 1 if something would, 6 if something that is reachable now would not be, or
    is not known to be, if an MTU is too large, or if a host connected to this node would be cut off.
    """
    if bool(files) == bool(after):
        raise click.UsageError("either -f FILE, for this node, or --to FILE, for a whole cluster, is required")
    more = {f"{name}_driver": driver for name, driver in selected().items()}
    body = of_agent(run_dir, contents(files), **more) if files else _of_files(before, after, node)
    nodes = [item for item in body["nodes"] if node in (None, item["node"])]
    if node and not nodes:
        raise NotFound(f"the plan has no node {node}")
    body = {**body, "nodes": nodes}
    if output == "table":
        show_plan(body)
    else:
        emit(body, output, (), ())
    if dangerous(body):
        sys.exit(Exit.REFUSED)
    is_different = any(item["steps"] for item in nodes) or plan_reach.changes(body)
    sys.exit(Exit.DIFFERENT if is_different else Exit.OK)


def _of_files(before: Path | None, after: Path | None, name: str | None) -> dict[str, Any]:
    former, wanted = _intent(before) if before else None, _intent(after) if after else Intent()
    node = wanted.node(name) if name else None
    # Of one node alone in no time, where a cluster of a thousand takes half a minute.
    previews = (of_node(former, wanted, node),) if node else () if name else of_cluster(former, wanted)
    more = plan_words.body(former, wanted, name) if former and (node or not name) else {}
    return {"schema": client.schema("plan"), "nodes": [words.preview(item) for item in previews], **more}


def _intent(file: Path) -> Intent:
    return valid(texts.load([file]))


def contents(files: Sequence[Path]) -> str:
    """The contents of valid files, as an agent takes them. Exits 2 if they are not."""
    found = texts.read_texts(files)
    valid(texts.understand(files, found))
    return texts.proposal_of(found)


def of_agent(run_dir: Path, content: str, **query: str) -> dict[str, Any]:
    """The plan of this node's agent. Exits 2 if it could not, 3 if no agent answers, 6 if it does for other users."""
    try:
        return client.read(run_dir / client.SOCKET, "plan", query, content=content, timeout_s=_TIMEOUT_S)
    except client.AgentAway as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.UNREACHABLE)
    except client.Denied as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.REFUSED)
    except client.NotPossible as error:
        raise Refusal(str(error)) from error
    except client.BadRequest as error:
        raise NotFound(str(error)) from error


def dangerous(body: Mapping[str, Any]) -> bool:
    """True if something that is reachable now would not be, or a remote that talks to the node would be cut off."""
    of_nodes = any(item[name] for item in body["nodes"] for name in ("unreachable", "cut", "outside", "too_big"))
    return of_nodes or plan_reach.is_loss(body)


def show_plan(body: Mapping[str, Any]) -> None:
    """Print a plan step by step, then what it does to the whole cluster."""
    nodes, more = body["nodes"], tuple(plan_reach.lines(body))
    for item in nodes:
        for step in item["steps"]:
            wait = f"; then waits for {', '.join(step['waits_for'])}" if step["waits_for"] else ""
            click.echo(f"{item['node']}  {step['stage']}{wait}")
            for op in step["ops"]:
                click.echo(f"  {_SIGNS[op['verb']]} {op['object']:<64} {op['effect']}")
        if item["steps"] and item["alike"]:
            click.echo(f"  = {_first(item['alike'])}: the same, with their own addresses")
        for text in (*item["unmet"], *item["blocked"], *item["too_big"], *_losses(item)):
            click.echo(f"  ! {item['node']}: {text}")
    for line in more:
        click.echo(line)
    click.echo("Nothing else to change." if more and not any(item["steps"] for item in nodes) else _total(nodes))


def _losses(item: Mapping[str, Any]) -> Iterator[str]:
    if item["unreachable"]:
        yield f"{_first(item['unreachable'])} would become unreachable"
    if item["outside"]:
        yield f"workloads would be in no block of {item['node']}: {_first(item['outside'])}"
    for peer in item["cut"]:
        yield f"{peer} has a connection with this node, and its packets would be routed by a pool"


def _first(names: Sequence[str]) -> str:
    """The first names, and how many there are beyond them; JSON has all."""
    more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join((*names[:_SHOWN], *more))


def _total(nodes: Sequence[dict[str, Any]]) -> str:
    """The sum over all nodes, those that are alike included."""
    sizes = [1 + len(item["alike"]) for item in nodes]
    found: Counter[str] = Counter()
    for item, size in zip(nodes, sizes, strict=True):
        for step in item["steps"]:
            found.update({verb: size * number for verb, number in Counter(op["verb"] for op in step["ops"]).items()})
    worst = max((item["worst"] for item in nodes), key=words.EFFECTS.index, default=words.EFFECTS[0])
    counts = ", ".join(f"{found[verb]} to {verb}" for verb in _SIGNS)
    return f"{counts} on {count(sum(sizes), 'node')}. Worst: {worst}." if found else "Nothing to change."
