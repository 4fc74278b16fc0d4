"""
Two kernels behind one set of promises: the fake one, and the running one in a network namespace of its own.

The namespace has no name: the test's thread moves into a new one and back. It ends with the last socket in it, so
nothing can be left behind, and whatever the test starts is in it too.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import pytest

from bgpctl.core.dataplane.effects import Failure, Op, Put, Remove
from bgpctl.core.dataplane.plan import NOT_WANTED
from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.fabric.vxlan import Vxlan
from bgpctl.core.net.addresses import (
    Address,
    InterfaceAddress,
    Mac,
    Prefix,
    Vni,
    link_local,
)
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import (
    Decap,
    FdbEntry,
    KernelObject,
    Link,
    LinkAddress,
    Neighbour,
    NextHop,
    NextHopGroup,
    Plain,
    Route,
)
from bgpctl.kernel.fake import FakeKernel
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.kernel.mirror import MirrorBuilder
from bgpctl.ports import Kernel

OPERATIONS: Final = "operations"
"""A test records so how many were done on the fake and on the running kernel with the same result."""
DEADLINE_S: Final = 5.0
_CLONE_NEWNET: Final = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

ETH0: Final = Link("eth0", Plain("veth"), 1500, Mac("02:00:00:00:00:01"), owned=False)
NODE: Final = LinkAddress("eth0", InterfaceAddress.parse("10.0.0.1/24"))
KIND: Final = Vxlan(Vni(4096), 4789, Address.parse("10.0.0.1"), "eth0")
VXLAN: Final = Link("vxlan.test", KIND, 1450, Mac("66:00:00:00:00:01"))
ADDRESS: Final = LinkAddress("vxlan.test", InterfaceAddress.parse("10.244.1.0/32"))
ADDRESS6: Final = LinkAddress("vxlan.test", InterfaceAddress.parse("fd00:244:1::1/128"))
NEIGHBOUR: Final = Neighbour("vxlan.test", Address.parse("10.244.2.0"), Mac("66:00:00:00:00:02"))
NEIGHBOUR6: Final = Neighbour("vxlan.test", Address.parse("fd00:244:2::1"), Mac("66:00:00:00:00:02"))
FDB: Final = FdbEntry("vxlan.test", Mac("66:00:00:00:00:02"), Address.parse("10.0.0.2"))
HOP: Final = NextHop(0x42000001, "vxlan.test", Address.parse("10.244.2.0"), onlink=True)
HOP6: Final = NextHop(0x42000006, "vxlan.test", Address.parse("fd00:244:2::1"), onlink=True)
DIRECT: Final = NextHop(0x42000002, "eth0", Address.parse("10.0.0.2"), onlink=False)
ROUTE: Final = Route(Prefix.parse("10.244.2.0/26"), next_hop=HOP.id)
ROUTE6: Final = Route(Prefix.parse("fd00:244:2::/64"), next_hop=HOP6.id)
STACK: Final = (VXLAN, ADDRESS, ADDRESS6, FDB, NEIGHBOUR, NEIGHBOUR6, HOP, HOP6, ROUTE, ROUTE6)
"""Everything that VXLAN to one other node needs, in the order of addition."""


NODE6: Final = LinkAddress("eth0", InterfaceAddress.parse("fd00:10::1/64"))
OVER6: Final = Vxlan(Vni(4096), 4789, Address.parse("fd00:10::1"), "eth0")
VXLAN6: Final = Link("vxlan6.test", OVER6, 1430, Mac("66:00:00:00:00:61"))
VTEP6: Final = LinkAddress("vxlan6.test", InterfaceAddress.parse("fd00:246:1::/128"))
FDB6: Final = FdbEntry("vxlan6.test", Mac("66:00:00:00:00:62"), Address.parse("fd00:10::2"))
LINK_LOCAL6: Final = Neighbour("vxlan6.test", link_local(FDB6.mac), FDB6.mac)
TUNNEL_HOP6: Final = NextHop(0x42000016, "vxlan6.test", LINK_LOCAL6.address, onlink=True)
TUNNEL_ROUTE6: Final = Route(Prefix.parse("fd00:246:2::/122"), next_hop=TUNNEL_HOP6.id)
DIRECT6: Final = NextHop(0x42000012, "eth0", Address.parse("fd00:10::2"), onlink=True)
STACK6: Final = (VXLAN6, VTEP6, FDB6, LINK_LOCAL6, TUNNEL_HOP6, TUNNEL_ROUTE6)
"""Everything that VXLAN over IPv6 to one other node needs, in the order of addition."""


GROUP: Final = NextHopGroup(0x43000001, (HOP.id, DIRECT.id))
GROUP_ROUTE: Final = Route(Prefix.parse("10.244.5.0/26"), next_hop=GROUP.id)

TUNNEL: Final = Link("tunl0", Ipip(), 1480)
TUNNEL_ADDRESS: Final = LinkAddress("tunl0", InterfaceAddress.parse("10.245.1.0/32"))
DECAP: Final = Decap("tunl0", "eth0", Address.parse("10.0.0.1"), (Address.parse("10.0.0.2"), Address.parse("10.0.0.3")))
TUNNEL_HOP: Final = NextHop(0x42000003, "tunl0", Address.parse("10.0.0.2"), onlink=True)
TUNNEL_ROUTE: Final = Route(Prefix.parse("10.245.2.0/26"), next_hop=TUNNEL_HOP.id)
TUNNEL_STACK: Final = (TUNNEL, TUNNEL_ADDRESS, DECAP, TUNNEL_HOP, TUNNEL_ROUTE)
"""Everything that IPIP to one other node needs, in the order of addition."""


class Rig(Protocol):
    """
    A kernel with a link `eth0` that is not ours, and another program that changes it too.

    Emulated next-hop objects are invisible to other programs, and their routes are plain ones with gateways.
    """

    emulates: bool

    @property
    def kernel(self) -> Kernel: ...

    def other_program(self, *ops: Op) -> None:
        """Apply as another program."""

    def other_program_unnotified(self, *ops: Op) -> None:
        """The same, and the notification is lost without an error."""


class FakeRig:
    emulates = False

    def __init__(self) -> None:
        self.kernel = FakeKernel(Dataplane.of((ETH0, NODE, NODE6)))

    def other_program(self, *ops: Op) -> None:
        self.kernel.tamper(*ops)

    def other_program_unnotified(self, *ops: Op) -> None:
        self.kernel.tamper_unnotified(*ops)


class LinuxRig:
    """
    To be made inside a namespace of its own. Without next-hop objects they are emulated. The kernel is watched and
    observed from the start, as an agent's is: later observations follow from notifications.
    """

    def __init__(self, *, next_hop_objects: bool = True) -> None:
        shell(f"link add eth0 address {ETH0.mac} type veth peer name far", "link set far addrgenmode none")
        shell("link set eth0 up", "link set far up")
        shell("addr add 10.0.0.1/24 dev eth0", "addr add fd00:10::1/64 dev eth0 nodad")
        self.emulates = not next_hop_objects
        self.kernel = LinuxKernel(next_hop_objects=next_hop_objects)
        self.kernel.watch(lambda: None)
        self.kernel.observe()

    def other_program(self, *ops: Op) -> None:
        other = LinuxKernel()
        try:
            assert other.apply(ops) == ()
        finally:
            other.close()

    def other_program_unnotified(self, *ops: Op) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MirrorBuilder, "apply", lambda *_: False)
            self.other_program(*ops)
            self.kernel.observe()


def shell(*commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)


@contextmanager
def own_namespace() -> Iterator[None]:
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(_libc.unshare(_CLONE_NEWNET))
        yield
    finally:
        _checked(_libc.setns(home, _CLONE_NEWNET))
        os.close(home)


def _checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def puts(*objects: KernelObject) -> tuple[Op, ...]:
    return tuple(Put(obj, NOT_WANTED) for obj in objects)


def removals(*objects: KernelObject) -> tuple[Op, ...]:
    return tuple(Remove(obj, NOT_WANTED) for obj in objects)


def put(kernel: Kernel, *objects: KernelObject) -> None:
    assert kernel.apply(puts(*objects)) == ()


def remove(kernel: Kernel, *objects: KernelObject) -> None:
    assert kernel.apply(removals(*objects)) == ()


def refusals(failures: tuple[Failure, ...]) -> list[tuple[KernelObject, int]]:
    return [(failure.op.object, failure.errno) for failure in failures]


def missing(kernel: Kernel, *objects: KernelObject) -> set[KernelObject]:
    return set(objects) - set(kernel.observe())


class Bell:
    """The callback of `watch`."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        self._rung.set()

    def rang_within(self, limit_s: float) -> bool:
        """True if it rang since the last time this was asked; waits for it."""
        rang = self._rung.wait(limit_s)
        self._rung.clear()
        return rang
