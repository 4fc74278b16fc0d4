"""
A lab of two racks whose router has a smaller MTU to one of them, and says nothing: with `mtuDiscovery` senders hear it
from their own node, and TCP passes; without it large packets are lost, and the node says so.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from bgpctl.core.net.addresses import Address
from bgpctl.lab import build, netns
from bgpctl.lab import lab as labs
from bgpctl.lab.lab import Lab
from tests.contract.path_rig import transferred
from tests.lab.packet_cases import QUICK_BGP, run, summary, verified
from tests.lab.rig import CONVERGE_S, ip, lab_report, ping
from tests.topologies import read_topology
from tests.waiting import wait_until

PATH_MTU: Final = 1400
OCTETS: Final = 3_000_000
_KEY: Final = "mtuDiscovery: true\n"
_FOUR: Final = """\
calico_backend: {backend}
pools:
  blue: {{cidr: 10.244.0.0/16, encapsulation: {encapsulation}}}
{bgp}nodes:
  a1: {{address: 10.0.0.1/24, blocks: [10.244.1.0/26]}}
  b1: {{address: 10.1.0.3/24, blocks: [10.244.3.0/26]}}
segments: {{rack-a: 10.0.0.0/24, rack-b: 10.1.0.0/24}}
routers:
  core: {{addresses: [10.0.0.254/24, 10.1.0.254/24]}}
workloads:
  web-a1: {{node: a1, address: 10.244.1.10}}
  web-b1: {{node: b1, address: 10.244.3.10}}
"""
_SIX: Final = """\
calico_backend: {backend}
pools:
  blue: {{cidr: "fd00:10:244::/64", blockSize: 122, encapsulation: {encapsulation}}}
{bgp}nodes:
  a1: {{address: "fd00:10:a::1/64", blocks: ["fd00:10:244::40/122"]}}
  b1: {{address: "fd00:10:b::3/64", blocks: ["fd00:10:244::c0/122"]}}
segments: {{rack-a: "fd00:10:a::/64", rack-b: "fd00:10:b::/64"}}
routers:
  core: {{addresses: ["fd00:10:a::fe/64", "fd00:10:b::fe/64"]}}
workloads:
  web-a1: {{node: a1, address: "fd00:10:244::4a"}}
  web-b1: {{node: b1, address: "fd00:10:244::ca"}}
"""


class Case(NamedTuple):
    """
    A lab.

    Attributes:
        at, silent: a table there: nobody hears of packets that are too large for the router, or nobody gets fragments.
        tunnel: the device at a1.
        full_bytes: the largest packet that it takes.
        fits_bytes: the largest that the path takes.
    """

    text: str
    version: int
    remote: Address
    at: str
    silent: str
    tunnel: str
    full_bytes: int
    fits_bytes: int


_SILENT4: Final = "chain c { type filter hook output priority 0; icmp type destination-unreachable drop; };"
_SILENT6: Final = "chain c { type filter hook output priority 0; icmpv6 type packet-too-big drop; };"
_UNCUT: Final = "chain c { type filter hook prerouting priority -450; ip frag-off & 0x3fff != 0 drop; };"
"""VXLAN over IPv4 is cut by the router."""
CASES: Final = {
    "ipip": Case(
        _FOUR.format(backend="bird", encapsulation="IPIPCrossSubnet", bgp=QUICK_BGP),
        4,
        Address.parse("10.244.3.10"),
        "core",
        f"table ip silent {{ {_SILENT4} }}",
        "tunl0",
        1480,
        PATH_MTU - 20,
    ),
    "vxlan": Case(
        _FOUR.format(backend="vxlan", encapsulation="VXLANCrossSubnet", bgp=""),
        4,
        Address.parse("10.244.3.10"),
        "b1",
        f"table ip silent {{ {_UNCUT} }}",
        "vxlan.bgpctl",
        1450,
        PATH_MTU - 50,
    ),
    "vxlan6": Case(
        _SIX.format(backend="vxlan", encapsulation="VXLANCrossSubnet", bgp=""),
        6,
        Address.parse("fd00:10:244::ca"),
        "core",
        f"table ip6 silent {{ {_SILENT6} }}",
        "vxlan-v6.bgpctl",
        1430,
        PATH_MTU - 70,
    ),
}


@contextmanager
def lab_of(case: Case, directory: Path, name: str) -> Iterator[Lab]:
    """The lab, once it has converged."""
    file = directory / "narrow.yaml"
    file.write_text(case.text)
    lab = labs.up(read_topology(file), name, keep=False)
    try:
        assert lab.wait(CONVERGE_S), lab_report(lab)
        yield lab
    finally:
        labs.down(name)
        assert netns.names(build.Names(name).prefix) == []


def check(case: Case, lab: Lab) -> None:
    """Narrow without the key, then with it, then healed."""
    sender, receiver = lab.names.of("web-a1"), lab.names.of("web-b1")
    run(lab, case.at, f"nft '{case.silent}'")
    run(lab, "core", f"ip link set eth1 mtu {PATH_MTU}")
    wait_until(lambda: _has_problem(lab, "a1", f"path MTU {PATH_MTU}"), within_s=30)
    assert not _is_told(lab, case)
    assert not _mtus(lab, case)

    file = lab.topology.file
    file.write_text(_KEY + file.read_text())
    wait_until(lambda: _mtus(lab, case) == [case.fits_bytes], within_s=30)
    wait_until(lambda: all(item["converged"] for item in lab.summaries()), within_s=60)
    wait_until(lambda: _is_told(lab, case), within_s=10)
    assert transferred(sender, receiver, case.remote, OCTETS) == OCTETS
    if case.at == "core":  # nodes' own chains are followed, and that rule is not understood
        assert verified(lab) == ""
    (tunnel,) = (item for item in lab.read("a1", "tunnels")["tunnels"] if item["name"] == case.tunnel)
    assert tunnel["path_mtus"] == [{"member": "b1", "mtu_bytes": case.fits_bytes, "path_mtu_bytes": PATH_MTU}]
    events = str(lab.read("a1", "events"))
    assert f"path to b1 by {case.tunnel}: path MTU {PATH_MTU}" in events

    run(lab, "core", "ip link set eth1 mtu 1500")
    run(lab, case.at, f"nft delete {case.silent.partition(' {')[0]}")
    wait_until(lambda: not _mtus(lab, case), within_s=60)
    run(lab, "web-a1", "ip route flush cache; ip -6 route flush cache")
    wait_until(lambda: _passes(lab, case), within_s=30)
    assert lab.wait(CONVERGE_S), lab_report(lab)


def _has_problem(lab: Lab, node: str, text: str) -> bool:
    found = summary(lab, node)
    return not found["converged"] and any(text in line for line in found["problems"])


def _mtus(lab: Lab, case: Case) -> Sequence[int]:
    """The MTUs of the routes by next-hop object at a1."""
    lines = ip(lab, "a1", f"-{case.version}", "route").splitlines()
    return [int(line.split(" mtu ")[1].split()[0]) for line in lines if "nhid" in line and " mtu " in line]


def _is_told(lab: Lab, case: Case) -> bool:
    """True if the sender of a packet of full size hears what fits."""
    answer = _ping(lab, case)
    return answer.returncode != 0 and f"mtu={case.fits_bytes}" in (answer.stdout + answer.stderr).replace(" ", "")


def _passes(lab: Lab, case: Case) -> bool:
    return _ping(lab, case).returncode == 0


def _ping(lab: Lab, case: Case) -> subprocess.CompletedProcess[str]:
    """One of full size; `ping` reckons with the header of IPv4, which has 20 bytes less."""
    return ping(lab, "web-a1", str(case.remote), case.full_bytes - (20 if case.version == 6 else 0))
