"""Who talks to this host, read from the running kernel."""

from __future__ import annotations

import os
import socket

import pytest

from bgpctl.core.net.addresses import Address
from bgpctl.kernel import sockets
from bgpctl.lab import netns
from tests.contract.conftest import ENDS

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")
PORT = 4711


@pytest.mark.parametrize("version", [4, 6])
def test_the_other_end_of_a_connection_is_seen_and_our_own_ends_are_not(hosts: tuple[str, str], version: int) -> None:
    here, there = hosts
    with netns.open_socket(here, socket.AF_INET6, socket.SOCK_STREAM) as listener:
        listener.bind(("::", PORT))  # takes IPv4 too, as sshd does
        listener.listen()
        assert netns.inside(here, sockets.talking) == frozenset()
        family = {4: socket.AF_INET, 6: socket.AF_INET6}[version]
        with netns.open_socket(there, family, socket.SOCK_STREAM) as caller:
            caller.settimeout(5)
            caller.connect((ENDS[version][0], PORT))
            with netns.open_socket(here, family, socket.SOCK_STREAM) as neighbour:
                neighbour.connect((ENDS[version][0], PORT))
                assert netns.inside(here, sockets.talking) == {Address.parse(ENDS[version][1])}
        assert list(netns.inside(here, lambda: list(sockets.ports("tcp", sockets.LISTENING)))) == [PORT]
