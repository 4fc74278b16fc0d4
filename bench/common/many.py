"""
Many nodes on one bridge, and a feed: a peer of all of them, or of the reflectors, that announces other routes.

The feed's address is smaller, as a string, than those of the nodes: by Calico's rule the nodes connect.

Refuses to know: which program runs on the nodes.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.common.ending import finishing
from bench.common.site import SYSCTLS
from bgpctl.core.net.addresses import Address
from bgpctl.lab import build, netns
from bgpctl.lab.build import Names
from bgpctl.lab.daemons.session_options import Place

FEED: Final = Address.parse("10.99.0.1")
MASK: Final = 16
REFLECTORS: Final = 2
_numbers: Final = itertools.count()


def node_address(number: int) -> Address:
    """The address of one of at most 250 nodes."""
    return Address.parse(f"10.99.9.{number + 1}")


class Many:
    """
    The namespaces of all nodes, of the feed and of the bridge.

    Args:
        directory: the nodes' programs have theirs below it; FRR's own user has to reach it.
        nodes: how many there are.
        reflected: the first two are reflectors; else all are in one mesh.
    """

    def __init__(self, directory: Path, nodes: int, *, reflected: bool) -> None:
        self.directory, self.nodes, self.reflected = directory, nodes, reflected
        self.names = Names(f"bench{os.getpid()}-m{next(_numbers)}")

    def build(self) -> None:
        """Make them; what is there of them when that fails is for `tear_down`."""
        nodes = self.nodes
        parts = ["fabric", "feed", *(f"n{number}" for number in range(nodes))]
        for part in parts:
            netns.ip([f"netns add {self.names.of(part)}"])
            netns.set_sysctls(self.names.of(part), SYSCTLS)
        fabric = self.names.of("fabric")
        netns.ip(["link add br0 type bridge mcast_snooping 0", "link set br0 up"], fabric)
        addresses = [FEED, *(node_address(number) for number in range(nodes))]
        stations = dict(zip(parts[1:], addresses, strict=True))
        for index, (part, address) in enumerate(stations.items()):
            place = self.names.of(part)
            netns.ip(
                [f"link add eth0 address {_mac(address)} netns {place} type veth peer name p{index} netns {fabric}"]
            )
            netns.ip([f"link set p{index} master br0 up"], fabric)
            # The table of neighbours has 1,024 places for all namespaces together, but for those that are permanent.
            others = (other for other in addresses if other != address)
            known = [f"neighbour add {other} lladdr {_mac(other)} dev eth0 nud permanent" for other in others]
            netns.ip(["link set lo up", "link set eth0 up", f"address add {address}/{MASK} dev eth0", *known], place)

    def node(self, number: int) -> str:
        """The name of a node's namespace."""
        return self.names.of(f"n{number}")

    @property
    def feed(self) -> str:
        """The name of the feed's namespace."""
        return self.names.of("feed")

    def place(self, number: int) -> Place:
        """Where the program of a node finds its files."""
        directory = self.directory / f"n{number}"
        directory.mkdir(exist_ok=True)
        return Place(self.node(number), directory)

    def neighbors(self, number: int) -> Sequence[Address]:
        """With whom a node has a session."""
        others = [node_address(other) for other in range(self.nodes) if other != number]
        if not self.reflected:
            return [FEED, *others]
        if number < REFLECTORS:
            return [FEED, *others]
        return [node_address(hub) for hub in range(REFLECTORS)]

    @property
    def feeds(self) -> int:
        """How many nodes have a session with the feed."""
        return REFLECTORS if self.reflected else self.nodes

    def tear_down(self) -> None:
        """End everything inside and delete it."""
        build.tear_down(self.names)


def _mac(address: Address) -> str:
    return f"02:00:00:63:{address.value >> 8 & 0xFF:02x}:{address.value & 0xFF:02x}"


@contextmanager
def many(nodes: int, *, reflected: bool) -> Iterator[Many]:
    """The nodes, and their end, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="bn") as directory:
        made = Many(Path(directory), nodes, reflected=reflected)
        try:
            made.build()
            yield made
        finally:
            with finishing():
                made.tear_down()
