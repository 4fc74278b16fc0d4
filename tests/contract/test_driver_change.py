"""
The driver of IP in IP changes while packets flow: from BPF to the ipip module and back, on request. Needs the
module, which not every kernel has: `make vm` brings one.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bgpctl.core.dataplane.plan import NOT_WANTED, plan
from bgpctl.core.fabric.desired import Desired, gather
from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.objects import KernelObject, Route
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.kernel.protocol import AUTO
from bgpctl.lab import netns
from tests.contract.ipip_rig import NODES, wired
from tests.contract.kernel_rig import own_namespace
from tests.contract.tunnel_rig import IPIP, hop, wanted

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces, bpf(2)")]

ROUNDS = 5
EVERY_S = 0.02


def desired(number: int) -> Desired:
    """The tunnel of one node, and the routes to the others' workloads."""
    others = [other for other in NODES if other != number]
    objects: list[KernelObject] = [obj for obj in wanted(number) if "vxlan.test" not in str(obj)]
    objects += [hop(other, IPIP) for other in others]
    objects += [Route(Prefix.parse(f"10.244.{other}.0/26"), next_hop=hop(other, IPIP).id) for other in others]
    return gather([(obj, NOT_WANTED) for obj in objects], (), ())


def settle(kernel: LinuxKernel, number: int) -> None:
    """As the agent does: observe, plan, apply, until nothing is left to do."""
    for _ in range(ROUNDS):
        ops = plan(desired(number), kernel.observe()).ops
        if not ops:
            return
        assert kernel.apply(ops) == ()
    raise AssertionError(plan(desired(number), kernel.observe()).ops)


def driver_of(kernel: LinuxKernel) -> str:
    link = kernel.observe().link("tunl0")
    assert link is not None
    assert isinstance(link.kind, Ipip)
    return link.kind.driver()


class Nodes:
    """The kernels of all nodes; only their own namespaces are entered, each time anew."""

    def __init__(self, namespace: Callable[[str], str]) -> None:
        self.namespace = namespace

    def settle(self, number: int, driver: str) -> str:
        """Apply everything wanted through a new kernel port; returns the driver of IP in IP."""

        def act() -> str:
            kernel = LinuxKernel({"ipip": driver})
            try:
                settle(kernel, number)
                return driver_of(kernel)
            finally:
                kernel.close()

        return netns.inside(self.namespace(f"n{number}"), act)

    @contextmanager
    def stream(self) -> Iterator[list[int]]:
        """Pings from w1 to w2 meanwhile; the list gets how many were lost."""
        # Ended from outside: with a deadline of its own, ping gives up at the first ICMP error.
        limited = ("timeout", "--foreground", "--signal=INT", "60", "ping", "-i", str(EVERY_S), "-W", "1")
        command = ("ip", "netns", "exec", self.namespace("w1"), *limited)
        lost: list[int] = []
        with subprocess.Popen((*command, "10.244.2.2"), stdout=subprocess.PIPE, text=True) as pings:
            assert pings.stdout is not None
            answered = (line for line in pings.stdout if "bytes from" in line)
            assert all(next(answered) for _ in range(10))
            yield lost
            assert all(next(answered) for _ in range(10)), "packets flow again"
            pings.send_signal(signal.SIGINT)
            output = pings.stdout.read()
            counted = re.search(r"(\d+) packets transmitted, (\d+) received", output)
            assert counted, output
            lost.append(int(counted[1]) - int(counted[2]))


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with wired() as namespace:
        yield Nodes(namespace)


def module_makes_tunnels_on_request() -> bool:
    with own_namespace():
        if "tunl0" in {name for _, name in socket.if_nameindex()}:
            return False
        made = subprocess.run(("ip", "link", "add", "tunl0", "type", "ipip"), capture_output=True, check=False)
        return made.returncode == 0


def test_the_driver_changes_there_and_back_and_packets_flow_again(
    nodes: Nodes, capfd: pytest.CaptureFixture[str]
) -> None:
    if not module_makes_tunnels_on_request():
        pytest.skip("ipip: the module, with net.core.fb_tunnels_only_for_init_net=1")
    for number in (1, 2):
        assert nodes.settle(number, "bpf") == "bpf"
    for driver in ("kernel", "bpf"):
        with nodes.stream() as lost:
            assert nodes.settle(1, driver) == driver
        with capfd.disabled():
            print(f"\nIPIP driver changed to {driver}: {lost[0]} packets lost, {1 / EVERY_S:.0f} a second were sent")


@pytest.fixture
def late() -> Iterator[Callable[[], None]]:
    """The module can be had, but not yet; the result loads it."""
    if Path("/sys/module/ipip").exists() and subprocess.run(("modprobe", "-r", "ipip"), check=False).returncode:
        pytest.skip("ipip: the module is in use")
    if subprocess.run(("modprobe", "-n", "ipip"), capture_output=True, check=False).returncode:
        pytest.skip("ipip: the module")
    subprocess.run(("modprobe", "nf_tables"), check=True)
    helper = Path("/proc/sys/kernel/modprobe")
    usual = helper.read_text()
    helper.write_text("/nowhere")  # or the first device that is asked for would load it

    def load() -> None:
        helper.write_text(usual)
        subprocess.run(("modprobe", "ipip"), check=True)

    try:
        yield load
    finally:
        helper.write_text(usual)


def test_a_module_that_comes_later_does_not_disturb_and_makes_the_next_tunnel(late: Callable[[], None]) -> None:
    with own_namespace():
        subprocess.run(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far"], check=True)
        kernel = LinuxKernel({"ipip": AUTO})
        try:
            settle(kernel, 1)
            assert driver_of(kernel) == "bpf"
            late()
            assert plan(desired(1), kernel.observe()).ops == ()
            with closing(LinuxKernel({"ipip": AUTO})) as restarted:
                assert plan(desired(1), restarted.observe()).ops == ()
            subprocess.run(["ip", "link", "del", "tunl0"], check=True)
            settle(kernel, 1)
            assert driver_of(kernel) == "kernel"
        finally:
            kernel.close()
