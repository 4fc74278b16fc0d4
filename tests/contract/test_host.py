"""Facts of a node's host about its network, read from the running kernel, and from one in memory."""

from __future__ import annotations

import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest

from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import Traffic
from bgpctl.kernel import sockets
from bgpctl.kernel.fake import FakeHost
from bgpctl.kernel.host import LinuxHost
from bgpctl.lab import netns
from tests.contract.hosts import ENDS

PORT = 4711
DEVICE = "vxlan.test"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")


class Rig(ABC):
    """A host with a neighbour."""

    @abstractmethod
    def connected(self) -> frozenset[Address]:
        """As the host reports it."""

    @abstractmethod
    def traffic(self) -> Mapping[str, Traffic]:
        """As the host reports it."""

    @abstractmethod
    def connect(self, version: int) -> None:
        """The neighbour and the host itself connect to the host."""

    @abstractmethod
    def add_tunnel(self) -> None:
        """A VXLAN device that nothing has passed yet."""


class InMemory(Rig):
    def __init__(self) -> None:
        self.host = FakeHost()

    def connected(self) -> frozenset[Address]:
        return self.host.connected()

    def traffic(self) -> Mapping[str, Traffic]:
        return self.host.traffic()

    def connect(self, version: int) -> None:
        self.host.peers |= {Address.parse(ENDS[version][1])}

    def add_tunnel(self) -> None:
        self.host.counters = {DEVICE: Traffic(0, 0, 0, 0)}


class Linux(Rig):
    def __init__(self, names: tuple[str, str], stack: ExitStack) -> None:
        self.here, self.there = names
        self._stack = stack

    def connected(self) -> frozenset[Address]:
        return netns.inside(self.here, LinuxHost().connected)

    def traffic(self) -> Mapping[str, Traffic]:
        return netns.inside(self.here, LinuxHost().traffic)

    def connect(self, version: int) -> None:
        listener = self._stack.enter_context(netns.open_socket(self.here, socket.AF_INET6, socket.SOCK_STREAM))
        listener.bind(("::", PORT))  # takes IPv4 too, as sshd does
        listener.listen()
        family = {4: socket.AF_INET, 6: socket.AF_INET6}[version]
        for name in (self.there, self.here):
            caller = self._stack.enter_context(netns.open_socket(name, family, socket.SOCK_STREAM))
            caller.settimeout(5)
            caller.connect((ENDS[version][0], PORT))

    def add_tunnel(self) -> None:
        netns.ip([f"link add {DEVICE} type vxlan id 7 dstport 4789 dev eth0"], self.here)

    def listening(self) -> list[int]:
        return netns.inside(self.here, lambda: list(sockets.ports("tcp", sockets.LISTENING)))


@pytest.fixture(params=["fake", pytest.param("linux", marks=[pytest.mark.kernel, needs_root])])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    if request.param == "fake":
        yield InMemory()
        return
    with ExitStack() as stack:
        yield Linux(request.getfixturevalue("hosts"), stack)


@pytest.mark.parametrize("version", [4, 6])
def test_the_other_end_of_a_connection_is_seen_and_our_own_ends_are_not(rig: Rig, version: int) -> None:
    assert rig.connected() == frozenset()
    rig.connect(version)
    assert rig.connected() == {Address.parse(ENDS[version][1])}
    if isinstance(rig, Linux):
        assert rig.listening() == [PORT]


def test_a_tunnel_device_is_counted_by_its_name_and_other_links_are_not(rig: Rig) -> None:
    assert rig.traffic() == {}
    rig.add_tunnel()
    assert rig.traffic() == {DEVICE: Traffic(0, 0, 0, 0)}
