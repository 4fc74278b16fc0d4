"""
`bgpctl lab explain` and `bgpctl lab verify`: packets through the nodes of a running lab.

Refuses to know: how they are followed, how a lab's nodes are asked.
"""

from __future__ import annotations

import click

from bgpctl.cli import lab_asking
from bgpctl.cli.explain import explained_by, reverse_option, size_option
from bgpctl.cli.explain import show as show_journey
from bgpctl.cli.render import output_option
from bgpctl.cli.verify import live, until_well_option
from bgpctl.cli.verify import show as show_verdict
from bgpctl.cli.which_lab import find, name_option


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
@name_option
@until_well_option
@output_option
def verify(name: str | None, within_s: float | None, output: str) -> None:
    """Follow packets between the blocks of every two nodes of a running lab, as `bgpctl verify` does."""
    found = find(name)
    show_verdict(live(lambda: lab_asking.of_lab(found), within_s or 0.0), output)
