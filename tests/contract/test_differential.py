"""
The kernel model against the running kernel: random walks, taken on the fake and on the real one in step.

After every operation both must have given the same answer (done, or refused with the same errno) and have equal state.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, TypeAlias

import pytest

from bgpctl.agent import words
from bgpctl.core.dataplane.effects import Op, Put, Remove
from bgpctl.core.dataplane.plan import NOT_WANTED
from bgpctl.core.net.addresses import (
    Address,
    InterfaceAddress,
    Mac,
    Prefix,
    Vni,
)
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import (
    FdbEntry,
    KernelObject,
    LinkAddress,
    Neighbour,
    NextHop,
    NextHopGroup,
    Route,
    RouteType,
    Sysctl,
)
from bgpctl.kernel.fake import FakeKernel
from bgpctl.ports import Kernel
from tests.contract.kernel_rig import (
    DECAP,
    KIND,
    OPERATIONS,
    OVER6,
    TUNNEL,
    VXLAN,
    VXLAN6,
    LinuxRig,
    own_namespace,
    puts,
)

SLOWNESS: Final = float(os.environ.get("BGPCTL_TEST_SLOWNESS", "1"))
WALKS: Final = int(max(6, 40 / SLOWNESS))
STEPS: Final = 60

LINKS: Final = (
    *(VXLAN, VXLAN, VXLAN, VXLAN, replace(VXLAN, mtu_bytes=1400), replace(VXLAN, mac=Mac("66:00:00:00:00:99"))),
    *(replace(VXLAN, up=False), replace(VXLAN, kind=replace(KIND, local=Address.parse("10.0.0.99")))),
    *(replace(VXLAN, kind=replace(KIND, vni=Vni(9))), replace(VXLAN, name="vxlan.two")),
    *(VXLAN6, VXLAN6, VXLAN6, replace(VXLAN6, up=False), replace(VXLAN6, name="vxlan.two")),
    *(replace(VXLAN6, kind=replace(OVER6, local=Address.parse(local))) for local in ("fd00:10::99", "10.0.0.99")),
    *(TUNNEL, TUNNEL, TUNNEL, TUNNEL, replace(TUNNEL, mtu_bytes=1400), replace(TUNNEL, up=False)),
)
TUNNELS: Final = (*("vxlan.test", "vxlan6.test", "tunl0") * 5, "nowhere")
ADDRESSES: Final = tuple(map(InterfaceAddress.parse, ("10.244.1.0/32", "10.244.1.1/32", "10.246.0.1/24")))
ADDRESSES6: Final = tuple(map(InterfaceAddress.parse, ("fd00:244:1::1/128", "fd00:246::1/64")))
MACS: Final = (Mac("66:00:00:00:00:02"), Mac("66:00:00:00:00:03"))
REMOTES: Final = tuple(map(Address.parse, ("10.0.0.2", "10.0.0.3", "10.0.0.99")))
REMOTES6: Final = tuple(map(Address.parse, ("fd00:10::2", "fd00:10::3")))
GATEWAYS: Final = tuple(map(Address.parse, ("10.244.2.0", "10.244.3.0")))
GATEWAYS6: Final = tuple(map(Address.parse, ("fd00:244:2::1", "fd00:247:3::1", "fe80::1")))
HOPS: Final = (0x42000001, 0x42000002, 0x42000003)
GROUPS: Final = (0x43000001, 0x43000002)
BLOCKS: Final = tuple(map(Prefix.parse, ("10.247.2.0/26", "10.247.3.0/26", "10.247.4.0/32")))
BLOCKS6: Final = tuple(map(Prefix.parse, ("fd00:247:2::/64", "fd00:247:3::/122")))

Choose = random.Random


def link(choose: Choose) -> KernelObject:
    return choose.choice(LINKS)


def address(choose: Choose) -> KernelObject:
    return LinkAddress(choose.choice(TUNNELS), choose.choice(ADDRESSES + ADDRESSES6))


def decap(choose: Choose) -> KernelObject:
    sources = tuple(sorted(choose.sample(REMOTES, choose.randint(0, 3))))
    return DECAP._replace(sources=sources, underlay=choose.choice(("eth0", "eth0", "eth0", "nowhere")))


def fdb(choose: Choose) -> KernelObject:
    return FdbEntry(choose.choice((*TUNNELS, "eth0")), choose.choice(MACS), choose.choice(REMOTES + REMOTES6))


def neighbour(choose: Choose) -> KernelObject:
    return Neighbour(
        choose.choice(("vxlan.test", "vxlan6.test")), choose.choice(GATEWAYS + GATEWAYS6), choose.choice(MACS)
    )


def next_hop(choose: Choose) -> KernelObject:
    number = choose.choice((*HOPS * 5, GROUPS[0]))
    if choose.random() < 0.3:
        return NextHop(number, "eth0", choose.choice(REMOTES + REMOTES6), onlink=choose.random() < 0.5)
    return NextHop(number, choose.choice(TUNNELS), choose.choice(GATEWAYS + GATEWAYS6), onlink=True)


def next_hop_outside(choose: Choose) -> KernelObject:
    """A next hop whose gateway is in no block: an emulated one is refused for that only with its first route."""
    hop = next_hop(choose)
    assert isinstance(hop, NextHop)
    inside = hop.gateway is not None and any(block.holds(hop.gateway) for block in BLOCKS6)
    return hop._replace(gateway=GATEWAYS6[0]) if inside else hop


def group(choose: Choose) -> KernelObject:
    members = choose.choices(HOPS, k=choose.choice((0, 1, 2, 2, 3))) if choose.random() < 0.2 else _some(choose, HOPS)
    return NextHopGroup(choose.choice((*GROUPS * 5, HOPS[0])), tuple(sorted(members)))


def _some(choose: Choose, numbers: Sequence[int]) -> list[int]:
    return choose.sample(numbers, choose.randint(1, len(numbers)))


def route(choose: Choose) -> KernelObject:
    prefix = choose.choice(BLOCKS + BLOCKS6)
    bare = Route(prefix, metric=choose.choice((1024, 1024, 7)), table=choose.choice((254, 254, 254, 1000)))
    kind = choose.random()
    if kind < 0.7:
        return bare._replace(next_hop=choose.choice(HOPS + GROUPS))
    if kind < 0.8:
        return bare._replace(type=RouteType.BLACKHOLE)
    if kind < 0.9:
        return bare._replace(link=choose.choice(TUNNELS))
    return bare._replace(prefix=choose.choice(BLOCKS), link="eth0", gateway=choose.choice(REMOTES))


Kinds: TypeAlias = Sequence[tuple[Callable[[Choose], KernelObject], int]]

KINDS: Final[Kinds] = (
    *((link, 3), (address, 3), (decap, 2), (fdb, 3), (neighbour, 3)),
    *((next_hop, 12), (group, 6), (route, 12)),
)


EMULATED: Final[Kinds] = ((fdb, 1), (neighbour, 1), (decap, 1), (next_hop_outside, 12), (group, 6), (route, 12))
"""
Without links and addresses: a plain route falls with the last IPv4 address of its link, one by a next-hop object does
not.
"""


def operation(choose: Choose, kinds: Kinds) -> Op:
    (make,) = choose.choices([make for make, _ in kinds], [weight for _, weight in kinds])
    return choose.choice((Put, Put, Put, Put, Remove))(make(choose), NOT_WANTED)


pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]


@contextmanager
def running(*, next_hop_objects: bool) -> Iterator[Kernel]:
    with own_namespace():
        rig = LinuxRig(next_hop_objects=next_hop_objects)
        try:
            yield rig.kernel
        finally:
            rig.kernel.close()


@pytest.mark.parametrize("seed", range(WALKS))
def test_the_running_kernel_and_the_kernel_model_never_disagree(
    seed: int, record_property: Callable[[str, object], None]
) -> None:
    choose = random.Random(seed)
    ops = (*puts(VXLAN, VXLAN6, TUNNEL), *(operation(choose, KINDS) for _ in range(STEPS)))
    with running(next_hop_objects=True) as linux:
        walk(linux, ops)
    record_property(OPERATIONS, len(ops))


@pytest.mark.parametrize("seed", range(WALKS // 3))
def test_emulated_next_hops_and_the_kernel_model_never_disagree(seed: int) -> None:
    choose = random.Random(seed)
    addresses = [LinkAddress(name, ADDRESSES[0]) for name in ("vxlan.test", "vxlan6.test", "tunl0")]
    with running(next_hop_objects=False) as linux:
        walk(linux, (*puts(VXLAN, VXLAN6, TUNNEL, *addresses), *(operation(choose, EMULATED) for _ in range(STEPS))))


def walk(linux: Kernel, ops: Iterable[Op]) -> None:
    """Take every step on both."""
    fake = FakeKernel(linux.observe())
    history: list[Op] = []
    for op in ops:
        history.append(op)
        answers = [[failure.errno for failure in kernel.apply((op,))] for kernel in (fake, linux)]
        assert answers[0] == answers[1], listed(history)
        assert compared(fake.observe()) == compared(linux.observe()), listed(history)


def compared(dataplane: Dataplane) -> set[KernelObject]:
    """Our objects. Sysctls are left out: the kernel changes many when one changes, and has more for each link."""
    return {obj for obj in dataplane.owned() if not isinstance(obj, Sysctl)}


def listed(history: Sequence[Op]) -> str:
    """The walk so far, one line an operation."""
    return "\n".join(f"{type(op).__name__} {words.kernel_object(op.object)}" for op in history)
