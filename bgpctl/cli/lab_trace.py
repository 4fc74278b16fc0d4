"""
`bgpctl lab explain`, `verify` and `trace`: packets through the nodes of a running lab.

Refuses to know: how they are followed, how a lab's nodes are asked.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from bgpctl.cli import lab_asking, tracing
from bgpctl.cli.explain import Ends, explained_by, reverse_option, size_option
from bgpctl.cli.explain import show as show_journey
from bgpctl.cli.refusals import NotFound, Refusal
from bgpctl.cli.render import output_option
from bgpctl.cli.tracing import Stage
from bgpctl.cli.verify import live, until_well_option
from bgpctl.cli.verify import show as show_verdict
from bgpctl.cli.which_lab import find, name_option
from bgpctl.core.net.addresses import Address
from bgpctl.kernel import sightings
from bgpctl.lab import netns
from bgpctl.lab.lab import Lab
from bgpctl.lab.runtime import NETNS


@click.command()
@click.argument("source")
@click.argument("destination")
@name_option
@size_option
@reverse_option
@output_option
def explain(source: str, destination: str, name: str | None, size_bytes: int, output: str, *, reverse: bool) -> None:
    """
    Show what becomes of a packet from SOURCE to DESTINATION in a running lab.

    Both are workloads, nodes, hosts outside the cluster, or addresses. `bgpctl explain` describes the answer.
    """
    found = find(name)
    ends = lab_asking.ends(found, source, destination)
    show_journey(explained_by(lab_asking.of_lab(found), ends, size_bytes), output, reverse=reverse)


@click.command()
@click.argument("source")
@click.argument("destination")
@name_option
@size_option
@output_option
def trace(source: str, destination: str, name: str | None, size_bytes: int, output: str) -> None:
    """
    Send packets from SOURCE to DESTINATION in a running lab, and show where they were seen beside what explain says.

    Both are workloads, nodes, hosts outside the cluster, or addresses. They are looked for on every link of all parts.
    """
    found = find(name)
    ends = lab_asking.ends(found, source, destination)
    tracing.show(traced(found, ends, size_bytes), output)


def traced(lab: Lab, ends: Ends, size_bytes: int) -> dict[str, Any]:
    """The answer as JSON."""
    if lab.runtime.word != NETNS:
        raise Refusal("packets are watched in labs of network namespaces alone")
    explained = explained_by(lab_asking.of_lab(lab), ends, size_bytes)
    parts = _parts(lab)
    home = next((name for name, addresses in parts.items() if ends[0] in addresses), None)
    if home is None:
        raise NotFound(f"{ends[0]} is the address of no part of lab {lab.names.lab}")
    mark = sightings.new_mark(ends[0].version)
    sockets = {part: netns.inside(lab.names.of(part), lambda: sightings.listener(mark)) for part in parts}
    with sightings.Watch(mark, sockets) as watch:
        stage = Stage(mark, watch, home, partial(netns.inside, lab.names.of(home)), frozenset(parts))
        outcome = tracing.run(stage, ends, size_bytes)
    return tracing.body_of(explained, outcome)


def _parts(lab: Lab) -> dict[str, frozenset[Address]]:
    """The addresses of nodes, workloads, hosts and routers, by their names."""
    topology = lab.topology
    return {
        **{node.name: frozenset(node.addresses) for node in topology.intent.nodes},
        **{workload.name: frozenset(workload.addresses) for workload in topology.workloads},
        **{host.name: frozenset(own.address for own in host.addresses) for host in topology.hosts},
        **{router.name: frozenset(own.address for own in router.addresses) for router in topology.routers},
    }


@click.command()
@name_option
@until_well_option
@output_option
def verify(name: str | None, within_s: float | None, output: str) -> None:
    """Follow packets between the blocks of every two nodes of a running lab, as `bgpctl verify` does."""
    found = find(name)
    show_verdict(live(lambda: lab_asking.of_lab(found), within_s or 0.0), output)
