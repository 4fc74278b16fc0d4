"""Who talks to this host, read from the running kernel."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from bgpctl.core.model import Address
from bgpctl.kernel import sockets
from bgpctl.lab import space

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")
PORT = 4711
ENDS = {4: ("10.9.0.1", "10.9.0.2"), 6: ("fd00:9::1", "fd00:9::2")}


@pytest.fixture
def pair() -> Iterator[tuple[str, str]]:
    """Two hosts side by side."""
    here, there = names = (f"s{os.getpid()}-here", f"s{os.getpid()}-there")
    space.ip([f"netns add {name}" for name in names])
    try:
        space.ip([f"link add eth0 netns {here} type veth peer name eth0 netns {there}"])
        for name, number in ((here, 0), (there, 1)):
            addresses = (f"address add {ends[number]}/64 dev eth0 nodad" for ends in (ENDS[6],))
            space.ip(
                [f"address add {ENDS[4][number]}/24 dev eth0", *addresses, "link set lo up", "link set eth0 up"], name
            )
        yield here, there
    finally:
        for name in names:
            subprocess.run(("ip", "netns", "delete", name), check=True)


@pytest.mark.parametrize("version", [4, 6])
def test_the_other_end_of_a_connection_is_seen_and_our_own_ends_are_not(pair: tuple[str, str], version: int) -> None:
    here, there = pair
    with space.open_socket(here, socket.AF_INET6, socket.SOCK_STREAM) as listener:
        listener.bind(("::", PORT))  # takes IPv4 too, as sshd does
        listener.listen()
        assert space.inside(here, sockets.talking) == frozenset()
        family = {4: socket.AF_INET, 6: socket.AF_INET6}[version]
        with space.open_socket(there, family, socket.SOCK_STREAM) as caller:
            caller.settimeout(5)
            caller.connect((ENDS[version][0], PORT))
            with space.open_socket(here, family, socket.SOCK_STREAM) as neighbour:
                neighbour.connect((ENDS[version][0], PORT))
                assert space.inside(here, sockets.talking) == {Address.parse(ENDS[version][1])}
        assert list(space.inside(here, lambda: list(sockets.ports("tcp", sockets.LISTENING)))) == [PORT]
