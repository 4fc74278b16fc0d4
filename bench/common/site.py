"""
A node under test and a place where all its peers are: two network namespaces and one cable.

The node is 10.99.9.9 and fd99::ffff, whose spellings are greater than those of all peers: by Calico's rule, which
compares them as strings, the node connects.

Refuses to know: which program runs on the node.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.common.ending import finishing
from bgpctl.core.net.addresses import Address
from bgpctl.lab import build, netns
from bgpctl.lab.build import Names
from bgpctl.lab.daemons.session_options import Place

NODE: Final = {4: Address.parse("10.99.9.9"), 6: Address.parse("fd99::ffff")}
MASK: Final = {4: 16, 6: 64}
SYSCTLS: Final = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    **{f"net/ipv6/conf/{which}/{key}": "0" for which in ("all", "default") for key in ("disable_ipv6", "accept_dad")},
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv6/route/max_size": "1000000",
}
_numbers: Final = itertools.count()


def peer_address(number: int, version: int = 4) -> Address:
    """The address of one of at most 2,250 peers."""
    if version == 6:
        return Address(6, NODE[6].value - 0xFFFF + number + 1)
    return Address(4, (10 << 24) + (99 << 16) + (number // 250 << 8) + number % 250 + 1)


class Site:
    """
    The two namespaces.

    Args:
        directory: of the node's program; FRR's own user has to reach it.
        peers: how many peers there are, of either IP version.
    """

    def __init__(self, directory: Path, peers: int) -> None:
        self.directory = directory
        self.names = Names(f"bench{os.getpid()}-{next(_numbers)}")
        self.peers = peers

    def build(self) -> None:
        """Make them; what is there of them when that fails is for `tear_down`."""
        peers = self.peers
        for part in ("node", "peers"):
            netns.ip([f"netns add {self.names.of(part)}"])
            netns.set_sysctls(self.names.of(part), SYSCTLS)
        cable = f"type veth peer name eth0 netns {self.names.of('peers')}"
        netns.ip([f"link add eth0 netns {self.names.of('node')} {cable}"])
        netns.ip(_up([NODE[version] for version in (4, 6)]), self.node)
        netns.ip(
            _up([peer_address(number, version) for version in (4, 6) for number in range(peers)]),
            self.names.of("peers"),
        )

    @property
    def node(self) -> str:
        """The name of the node's namespace."""
        return self.names.of("node")

    @property
    def around(self) -> str:
        """The name of the peers' namespace."""
        return self.names.of("peers")

    def place(self) -> Place:
        """Where another daemon finds its files."""
        directory = self.directory / "node"
        directory.mkdir(exist_ok=True)
        return Place(self.node, directory)

    def processes(self) -> list[int]:
        """The processes of the node."""
        return netns.processes(self.node)

    def tear_down(self) -> None:
        """End everything inside and delete it."""
        build.tear_down(self.names)


def _up(addresses: list[Address]) -> list[str]:
    lines = [
        f"address add {own}/{MASK[own.version]} dev eth0{' nodad' if own.version == 6 else ''}" for own in addresses
    ]
    return ["link set lo up", "link set eth0 up", *lines]


@contextmanager
def site(peers: int) -> Iterator[Site]:
    """A site, and its end, whatever happens."""
    # Short, because a unix socket's path has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="bn") as directory:
        made = Site(Path(directory), peers)
        try:
            made.build()
            yield made
        finally:
            with finishing():
                made.tear_down()
