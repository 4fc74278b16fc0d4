"""
`bgpctl explain`: a packet from node to node with the reason at each step, and the first place where it breaks.

Refuses to know: how a packet is followed, how nodes are asked, how a kernel is read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import click
from rich.text import Text

from bgpctl.agent import trace_words
from bgpctl.cli import asking, suggest
from bgpctl.cli.asking import Asker
from bgpctl.cli.exits import Exit
from bgpctl.cli.findings import valid
from bgpctl.cli.options import keys_directory, keys_option, node_option, optional_files_option, run_dir_option
from bgpctl.cli.refusals import NotFound
from bgpctl.cli.render import console, emit, output_option
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address
from bgpctl.core.simulate.asked import network_of, obstacle_of
from bgpctl.core.simulate.declared import network, node_at, obstacle
from bgpctl.core.simulate.services import with_instance
from bgpctl.core.trace.announced import Obstacle
from bgpctl.core.trace.answers import Answers
from bgpctl.core.trace.difference import difference
from bgpctl.core.trace.journey import Exchange, Follower, Journey, Network, exchange
from bgpctl.core.trace.packet import DEFAULT_BYTES, Packet, echo_protocol
from bgpctl.core.trace.snapshot import Snapshot
from bgpctl.core.trace.steps import Delivered, Unknown
from bgpctl.kernel import snapshot
from bgpctl.ports import Unavailable
from bgpctl.store import texts

_LARGEST: int = 65535
Ends: TypeAlias = tuple[Address, Address]
KeptBack: TypeAlias = Callable[[str, Address], Obstacle | None]
"""(node, destination) → what keeps the route away."""

size_option = click.option(
    "--size",
    "size_bytes",
    type=click.IntRange(20, _LARGEST),
    default=DEFAULT_BYTES,
    show_default=True,
    help="Bytes of the IP packet, which may not be cut into fragments.",
)
reverse_option = click.option(
    "--reverse", is_flag=True, help="Show the answer's steps too; without, only where it breaks."
)


@click.command()
@click.argument("source", shell_complete=suggest.nodes)
@click.argument("destination", shell_complete=suggest.nodes)
@optional_files_option
@node_option("With -f, this node's name: read its own kernel; the others are as the files have them.")
@size_option
@reverse_option
@run_dir_option
@keys_option
@output_option
def explain(
    source: str,
    destination: str,
    files: tuple[Path, ...],
    node: str | None,
    size_bytes: int,
    run_dir: Path,
    output: str,
    *,
    reverse: bool,
) -> None:
    """
    Show what becomes of a packet from SOURCE to DESTINATION: each step with its reason, and where it breaks.

    Both are addresses, or names of nodes. The agents of the nodes on the way are asked for their kernels, this node's
    by its socket and the others by the channel between agents, which takes root. With -f the files alone answer, and no
    root is needed. Exits 0 if the packet and its answer are delivered, 1 if one breaks or what decides is not known.
    """
    if node and not files:
        raise click.UsageError("--node is for kernels beside files: give -f")
    with asking.or_exit():
        asker = None if files else asking.of_agent(run_dir, keys_directory())
    intent = asker.intent if asker else valid(texts.load(files))
    ends = of_one_version((address(source, intent), address(destination, intent)))
    body = explained_by(asker, ends, size_bytes) if asker else explained(intent, ends, size_bytes, _live(intent, node))
    show(body, output, reverse=reverse)


def show(body: Mapping[str, Any], output: str, *, reverse: bool) -> None:
    """Print the answer, and exit by its outcome."""
    if output == "table":
        _show(body, reverse=reverse)
    else:
        emit(body, output, (), ())
    sys.exit(Exit.OK if body["outcome"] == "delivered" else Exit.DIFFERENT)


def address(text: str, intent: Intent) -> Address:
    """The address, or that of the node of this name. Anything else is a usage error."""
    node = intent.node(text)
    if node:
        return node.address.address
    try:
        return Address.parse(text)
    except ValueError:
        raise NotFound(f"{text} is no address, and no node of the configuration") from None


def of_one_version(ends: Ends) -> Ends:
    """Both, unless they are of two."""
    if ends[0].version != ends[1].version:
        raise NotFound(f"{ends[0]} and {ends[1]} are of two IP versions")
    return ends


def _live(intent: Intent, name: str | None) -> Mapping[str, Snapshot]:
    if name is None:
        return {}
    if intent.node(name) is None:
        raise NotFound(f"{name} is no node of the files")
    try:
        return {name: snapshot.read()}
    except (Unavailable, OSError) as error:
        click.echo(f"the kernel of this node cannot be read: {error}", err=True)
        sys.exit(Exit.REFUSED)


# Following -------------------------------------------------------------------------------------------------------


def explained(intent: Intent, ends: Ends, size_bytes: int, live: Mapping[str, Snapshot]) -> dict[str, Any]:
    """The answer of the files as JSON. `live`: kernels that were read, by node."""
    nodes = network(intent, ends, live)
    return _body(intent, nodes, _followed(intent, nodes, ends, size_bytes), partial(obstacle, intent))


def explained_by(asker: Asker, ends: Ends, size_bytes: int) -> dict[str, Any]:
    """The answer of the nodes on the way as JSON: each is asked once, when the packet has come to it."""
    intent = asker.intent
    answers = Answers(asker.beside).plus(asker.ask({owner.name for end in ends if (owner := node_at(intent, end))}))
    while True:
        nodes = network_of(intent, ends, answers)
        found = _followed(intent, nodes, ends, size_bytes)
        name = _not_asked_yet(found, nodes)
        if name is None or intent.node(name) is None:
            break
        answers = answers.plus(asker.ask([name]))
    by_files = network(intent, ends, {})
    declared = _followed(intent, by_files, ends, size_bytes)
    body = _body(intent, nodes, found, partial(_kept_back, intent, answers), declared)
    return {**body, "differing": asking.differing(intent, answers)}


def _followed(intent: Intent, nodes: Network, ends: Ends, size_bytes: int) -> Exchange:
    follower = Follower(nodes)
    owners = [owner.name if owner else None for owner in (node_at(intent, end) for end in ends)]
    origin = follower.origin(ends[0], owners[0])
    if origin is None:
        raise NotFound(f"{ends[0]} is no address of a node, and in no node's block")
    packet = Packet(*ends, size_bytes, protocol=echo_protocol(ends[0].version))
    return exchange(follower, packet, origin, owners[1])


def _not_asked_yet(found: Exchange, nodes: Network) -> str | None:
    """The node at which nothing more is known, because it was not asked."""
    last = found.first
    asked = last.node in nodes.unasked or nodes.snapshots.get(last.node)
    return last.node if isinstance(last.end, Unknown) and not asked else None


def _kept_back(intent: Intent, answers: Answers, name: str, destination: Address) -> Obstacle | None:
    answer = answers.given.get(name)
    return obstacle_of(intent, answer, destination) if answer else obstacle(intent, name, destination)


# The answer ------------------------------------------------------------------------------------------------------


def _body(
    intent: Intent, nodes: Network, found: Exchange, kept_back: KeptBack, declared: Exchange | None = None
) -> dict[str, Any]:
    there = _part(intent, nodes, found.there, kept_back, declared.there if declared else None)
    back = _part(intent, nodes, found.back, kept_back, declared.back if declared else None) if found.back else None
    worst = there if back is None or found.first is found.there else back
    outcome = "unknown" if there["outcome"] == "unknown" else worst["outcome"]
    service = _service(intent, found.there)
    return {"schema": "bgpctl/explain/v1", "outcome": outcome, "there": there, "back": back, "service": service}


def _service(intent: Intent, there: Journey) -> dict[str, Any] | None:
    """The service whose address is the destination, and the nodes that have an instance of it."""
    address = there.steps[0].packet.destination if there.steps else None
    service = next((item for item in intent.services if item.address == address), None)
    if service is None:
        return None
    return {"name": service.name, "nodes": [node.name for node in with_instance(intent, service.address)]}


def _part(
    intent: Intent, nodes: Network, journey: Journey, kept_back: KeptBack, declared: Journey | None
) -> dict[str, Any]:
    """
    A journey, and why there is no route of ours where it does not end well. A node that could not be asked makes its
    end unknown, whatever the files say of it.
    """
    body = trace_words.journey(journey, intent)
    unasked = dict.fromkeys(step.node for step in journey.steps if step.node in nodes.unasked)
    for step in body["steps"]:
        step["declared"] = step["node"] in unasked and nodes.snapshots.get(step["node"]) is not None
    if unasked:
        body["outcome"] = "unknown"
    first = journey.steps[0] if journey.steps else None
    is_lost = first and not isinstance(journey.end, Delivered)
    kept = kept_back(first.node, first.packet.destination) if first and is_lost else None
    return {
        **body,
        "missing": trace_words.missing(kept, first.packet.destination) if first and kept else None,
        "unasked": [{"node": name, "reason": nodes.unasked[name]} for name in unasked],
        "difference": _difference(nodes, journey, declared) if declared and not unasked else None,
    }


def _difference(nodes: Network, live: Journey, declared: Journey) -> str | None:
    """With the state of the link that the files would have it leave by, where that is why."""
    found = difference(live, declared, nodes.addresses)
    if found is None:
        return None
    seen, name = nodes.snapshots.get(found.live.node), found.declared.link
    link = seen.link(name) if seen else None
    why = "" if seen is None or (link and link.up) else f"; {name} is down" if link else f"; there is no {name}"
    return f"{trace_words.difference(found)}{why}"


def _show(body: Mapping[str, Any], *, reverse: bool) -> None:
    page = console()
    there, back = body["there"], body["back"]
    if service := body["service"]:
        page.print(f"service {service['name']}: {', '.join(service['nodes']) or 'no node'} may have it")
    for line in _lines(there):
        page.print(line)
    if back and (reverse or back["outcome"] != "delivered"):
        page.print(Text("answer", style="bold"))
        for line in _lines(back):
            page.print(line)
    elif back:
        page.print("answer  delivered, see --reverse")
    for name in body.get("differing", ()):
        page.print(Text(f"! {name} has another configuration: bgpctl show summary", style="yellow"))


def _lines(part: Mapping[str, Any]) -> Iterator[Text]:
    width = max((len(step["node"]) for step in part["steps"]), default=0)
    for step in part["steps"]:
        mark = " (declared)" if step["declared"] else ""
        yield Text(f"{step['node']:<{width}} {step['step']:<6} {step['text']}{mark}")
        if step["why"]:
            place = f" ({step['place']})" if step["place"] else ""
            yield Text(f"{'':<{width}} {'':<6}   {step['why']}{place}", style="dim")
        if step["suspect"]:
            yield Text(f"{'':<{width}} {'':<6} ! {step['suspect']}", style="yellow")
            yield Text(f"{'':<{width}} next   {step['next']}")
    yield from _ending(part, width)


def _ending(part: Mapping[str, Any], width: int) -> Iterator[Text]:
    at = part["at"] or "?"
    marks = {"delivered": ("", "green"), "broken": ("BREAKS HERE: ", "bold red"), "unknown": ("", "yellow")}
    mark, style = marks[part["outcome"]]
    end = " (declared)" if part["steps"] and part["steps"][-1]["declared"] else ""
    yield Text(f"{at:<{width}} {'end':<6} {mark}{part['because']}{end}", style=style)
    if part["missing"]:
        place = f"{part['missing']['place']}: " if part["missing"]["place"] else ""
        yield Text(f"{'':<{width}} why    {place}{part['missing']['text']}", style="yellow")
    command = part["next"] or (part["missing"] or {}).get("next")
    if command:
        yield Text(f"{'':<{width}} next   {command}")
    if part["difference"]:
        yield Text(f"{'':<{width}} {'':<6} ! {part['difference']}", style="yellow")
    for item in part["unasked"]:
        yield Text(f"{'':<{width}} {'':<6} ! {item['node']} could not be asked: {item['reason']}", style="yellow")
