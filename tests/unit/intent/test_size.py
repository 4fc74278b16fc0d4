"""Large clusters: the work of reading one grows as it does, and not as its square."""

from __future__ import annotations

from bgpctl.core.intent import read
from bgpctl.core.intent.tree import Tree
from bgpctl.store.yaml import documents
from tests.work import instructions


def cluster(size: int) -> tuple[Tree, ...]:
    """A peer of all nodes and one of a rack, two blocks for each node."""
    text = "pools: {blue: {cidr: 10.0.0.0/8, encapsulation: IPIP}}\n"
    text += "peers:\n"
    text += "  all: {ip: 172.30.0.1, asNumber: 65001}\n"
    text += "  rack: {ip: 172.30.0.2, asNumber: 65001, nodes: rack == 'r1'}\n"
    text += "nodes:\n"
    for number in range(size):
        high, low = divmod(number, 256)
        text += f"  n{number}:\n"
        text += f"    address: 172.16.{high}.{low}/12\n" if number else "    address: 172.16.255.1/12\n"
        text += f"    blocks: [10.{high}.{low}.0/26, 10.{high}.{low}.64/26]\n"
        text += f"    labels: {{rack: r{number % 10}}}\n"
    return documents(text, "cluster.yaml")


def test_four_times_the_nodes_are_four_times_the_work() -> None:
    small, large = cluster(50), cluster(200)
    read(small)  # what is done once in a process
    assert instructions(lambda: read(large)) < 4.1 * instructions(lambda: read(small))
