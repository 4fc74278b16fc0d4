"""Routes and next hops marked by another number than the usual one."""

from __future__ import annotations

import subprocess

from bgpctl.core.dataplane.effects import Put, Remove
from bgpctl.core.dataplane.plan import NOT_WANTED as WHY
from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.objects import PROTOCOL, Route, RouteType
from bgpctl.kernel.linux import LinuxKernel
from tests.contract.kernel_rig import own_namespace


def test_another_protocol_number_marks_ours_and_makes_the_usual_one_foreign() -> None:
    with own_namespace():
        subprocess.run(("ip", "link", "add", "one", "type", "veth", "peer", "name", "two"), check=True)
        subprocess.run(("ip", "route", "add", "blackhole", "10.9.0.0/24", "proto", "179"), check=True)
        kernel = LinuxKernel(protocol=80)
        block = Route(Prefix.parse("10.244.1.0/26"), RouteType.BLACKHOLE)
        assert kernel.apply([Put(block, WHY)]) == ()
        assert "10.244.1.0/26" in shown("80")
        routes = {route.prefix: route.protocol for route in kernel.observe().routes}
        assert routes == {block.prefix: PROTOCOL, Prefix.parse("10.9.0.0/24"): 80}
        assert kernel.apply([Remove(block, WHY)]) == ()
        assert shown("80") == ""
        assert "10.9.0.0/24" in shown("179")
        kernel.close()


def shown(protocol: str) -> str:
    command = ("ip", "route", "show", "proto", protocol)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
