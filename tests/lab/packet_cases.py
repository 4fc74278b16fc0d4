"""
Packets that are lost in a lab, as data: what makes them so, who has to say what, and the command that mends it.

Each row is made in a lab with one encapsulation or the other. Then the node has not converged, `verify` and `explain`
name the cause, and `doctor` has a line; where a command on the node mends it, the one of that line is run, until all is
well again. Else the fault is undone.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from bgpctl import client
from bgpctl.cli import lab_asking
from bgpctl.cli.asking import Asker
from bgpctl.cli.explain import explained_by
from bgpctl.cli.verify import live
from bgpctl.core.fabric.host import Verdict
from bgpctl.core.trace.doctor import Finding, examine, needs_of
from bgpctl.kernel import survey
from bgpctl.lab import build, netns
from bgpctl.lab import lab as labs
from bgpctl.lab.lab import Lab
from tests.cluster import member
from tests.lab.rig import CONVERGE_S, lab_report, ping
from tests.topologies import read_topology
from tests.waiting import wait_until

WITHIN_S: Final = 15.0
FAIL: Final = Verdict.FAIL
_MOST_COMMANDS: Final = 4
TOPOLOGY: Final = """\
calico_backend: {backend}
pools:
  blue: {{cidr: 10.244.0.0/16, encapsulation: {encapsulation}, natOutgoing: true}}
{bgp}nodes:
  a1: {{address: 10.0.0.1/24, blocks: [10.244.1.0/26]}}
  a2: {{address: 10.0.0.2/24, blocks: [10.244.2.0/26]}}
  b1: {{address: 10.1.0.3/24, blocks: [10.244.3.0/26]}}
  b2: {{address: 10.1.0.4/24}}
segments:
  rack-a: 10.0.0.0/24
  rack-b: 10.1.0.0/24
routers:
  core: {{addresses: [10.0.0.254/24, 10.1.0.254/24]}}
workloads:
  web-a1: {{node: a1, address: 10.244.1.10}}
  web-a2: {{node: a2, address: 10.244.2.10}}
  web-b1: {{node: b1, address: 10.244.3.10}}
"""
QUICK_BGP: Final = "mesh: false\npeers: {all: {peerSelector: all(), holdTime: 3s}}\n"
"""A hold time of 3 s instead of 30 s."""


class Encapsulated(NamedTuple):
    """A lab's encapsulation: what names it in the file, its tunnel, and its packets as words and as nft has them."""

    backend: str
    encapsulation: str
    bgp: str
    tunnel: str
    packets: str
    match: str
    topology: str = TOPOLOGY


ENCAPSULATED: Final = {
    "ipip": Encapsulated("bird", "IPIPCrossSubnet", QUICK_BGP, "tunl0", "IP protocol 4", "ip protocol 4"),
    "vxlan": Encapsulated("vxlan", "VXLANCrossSubnet", "", "vxlan.bgpctl", "UDP port 4789", "udp dport 4789"),
}


class Row(NamedTuple):
    """
    A fault.

    Attributes:
        make: commands, each with the part of the lab in which it is run.
        undo: they undo it; what is undone already may fail.
        ends: of a packet that the fault concerns.
        passes: it arrives all the same.
        state: a part of a line of the summary of `node`.
        cause: what explain says of the packet, and verify of its pair; where it passes, what verify says beside.
        doctor: a part of the doctor's line there.
        mends: the command in that line mends it.
        asked: explain and verify read the lab's routers too.
        verify: what verify says, if it is not the cause.
        size_bytes: of the packet.
    """

    make: tuple[tuple[str, str], ...]
    undo: tuple[tuple[str, str], ...]
    ends: tuple[str, str]
    state: str
    cause: str
    doctor: str
    node: str = "a1"
    passes: bool = False
    mends: bool = False
    asked: bool = True
    verify: str = ""
    size_bytes: int = 84


def _chain(family: str, table: str, kind: str, rules: str) -> str:
    return f"nft 'table {family} {table} {{ chain {table} {{ type {kind}; {rules}; }}; }}'"


SHADOW: Final = "10.244.3.0/26 via 10.0.0.254 dev eth0 proto bird"
POOL: Final = "10.244.0.0/16"
DOCKER: Final = """*nat
:POSTROUTING ACCEPT
-A POSTROUTING -s 10.244.1.0/26 ! -o br-0 -j MASQUERADE
COMMIT
*filter
:FORWARD DROP
:DOCKER -
:DOCKER-ISOLATION-STAGE-1 -
:DOCKER-ISOLATION-STAGE-2 -
:DOCKER-USER -
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o br-0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o br-0 -j DOCKER
-A FORWARD -i br-0 ! -o br-0 -j ACCEPT
-A FORWARD -i br-0 -o br-0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i br-0 ! -o br-0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o br-0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
"""
"""Docker 20.10 with a network of the node's block."""
_NO_DOCKER: Final = "*nat\nCOMMIT\n*filter\n:FORWARD ACCEPT\nCOMMIT\n"


def rows(by: Encapsulated) -> Mapping[str, Row]:
    """All faults of one lab over IPv4, by name."""
    return {**_of_kernels(), **_of_masks(), **_of_the_underlay(by), **(_of_ipip() if by.bgp else {})}


def _of_kernels() -> Mapping[str, Row]:
    across = ("web-a1", "web-b1")
    return {
        "a foreign route": Row(
            (("a1", f"ip route add {SHADOW}"),),
            (("a1", f"ip route del {SHADOW}"),),
            across,
            "do not take our route: the route 10.244.3.0/26 via 10.0.0.254 dev eth0 metric 0 comes first",
            "the foreign route 10.244.3.0/26 via 10.0.0.254 dev eth0 proto bird metric 0 is used in place of ours",
            "do not take our route: the route 10.244.3.0/26 via 10.0.0.254 dev eth0 metric 0 comes first",
            mends=True,
        ),
        "a rule that prohibits": Row(
            (("a1", f"ip rule add priority 100 to {POOL} prohibit"),),
            (("a1", "ip rule del priority 100"),),
            across,
            "do not take our route: rule 100 ends them",
            "rule 100 (prohibit) drops it",
            "do not take our route: rule 100 ends them",
        ),
        "a chain that ends with reject": Row(
            (
                (
                    "a1",
                    _chain(
                        "inet", "f", "filter hook forward priority 10", "ct state established,related accept; reject"
                    ),
                ),
            ),
            (("a1", "nft delete table inet f"),),
            across,
            "chain inet f f (forward) has a reject for packets of workloads",
            "of chain inet f f (forward): reject",
            "chain inet f f (forward) has a reject for packets of workloads",
            mends=True,
        ),
        "the same by iptables": Row(
            (
                ("a1", "iptables-nft -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
                ("a1", "iptables-nft -A FORWARD -j REJECT --reject-with icmp-host-prohibited"),
            ),
            (("a1", "iptables-nft -F FORWARD"),),
            across,
            "chain ip filter FORWARD (forward) has a reject for packets of workloads",
            "of chain ip filter FORWARD (forward): reject",
            "chain ip filter FORWARD (forward) has a reject for packets of workloads",
            mends=True,
        ),
        "another program masquerades the pool": Row(
            (
                (
                    "a1",
                    _chain(
                        *("ip", "m", "nat hook postrouting priority 90"),
                        f"ip saddr {POOL} ip daddr != 224.0.0.0/4 masquerade",
                    ),
                ),
            ),
            (("a1", "nft delete table ip m"),),
            across,
            "chain ip m m (postrouting) has a masquerade for packets of workloads",
            "of chain ip m m (postrouting): masquerade gives it another source",
            "chain ip m m (postrouting) has a masquerade for packets of workloads",
            passes=True,
            mends=True,
        ),
        "a Docker network of the block": Row(
            (
                ("a1", "ip link add br-0 type bridge"),
                ("a1", "ip link set br-0 up"),
                ("a1", "ip addr add 10.244.1.1/26 dev br-0"),
                ("a1", f"iptables-nft-restore <<'END'\n{DOCKER}END"),
            ),
            (
                ("a1", f"iptables-nft-restore <<'END'\n{_NO_DOCKER}END"),
                ("a1", "ip link del br-0"),
            ),
            across,
            "chain ip filter FORWARD (forward) has a drop for packets of workloads: its policy",
            "chain ip filter FORWARD (forward) has the policy drop",
            "chain ip filter FORWARD (forward) has a drop for packets of workloads: its policy",
            mends=True,
        ),
        "a strict filter at a node without a tunnel address": Row(
            (("b2", "sysctl -w net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1"),),
            (("b2", "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0"),),
            ("b2", "web-a1"),
            "this node has no tunnel address, and eth0 drops answers of workloads to it",
            "rp_filter of eth0",
            "answers of workloads to it are dropped",
            node="b2",
            mends=True,
            verify="this node has no tunnel address, and eth0 drops answers of workloads to it",
        ),
    }


def _of_masks() -> Mapping[str, Row]:
    """Two nodes of one rack that reach each other through its router alone, as in clouds."""
    make, undo = list[tuple[str, str]](), list[tuple[str, str]]()
    for number, node in enumerate(("a1", "a2"), 1):
        own = f"10.0.0.{number}"
        make += [
            ("fabric", f"bridge link set dev $(port {node}) isolated on"),
            (node, f"ip addr add {own}/32 dev eth0"),
            (node, f"ip addr del {own}/24 dev eth0"),
            (node, "ip route replace 10.0.0.254 dev eth0"),
            (node, f"ip route replace default via 10.0.0.254 dev eth0 src {own}"),
            (node, "ip neigh flush dev eth0"),
        ]
        undo += [
            ("fabric", f"bridge link set dev $(port {node}) isolated off"),
            (node, f"ip addr add {own}/24 dev eth0"),
            (node, "ip route replace default via 10.0.0.254 dev eth0"),
            (node, f"ip addr del {own}/32 dev eth0"),
            (node, "ip route del 10.0.0.254 dev eth0"),
        ]
    return {
        "the link's mask is not the file's": Row(
            tuple(make),
            tuple(undo),
            ("web-a1", "web-a2"),
            "no probe reply from a2 by eth0",
            "no neighbour answers on eth0 for 10.0.0.2, in no network of it: the file's mask is wrong",
            "eth0 has 10.0.0.1/32, and the cluster file says 10.0.0.1/24: 10.0.0.2 is taken for a neighbour",
        )
    }


def _at_core(*matches: str) -> tuple[tuple[str, str], ...]:
    return (("core", _chain("ip", "cut", "filter hook forward priority 0", "; ".join(f"{m} drop" for m in matches))),)


def _of_the_underlay(by: Encapsulated) -> Mapping[str, Row]:
    dropped = Row(
        _at_core(by.match),
        (("core", "nft delete table ip cut"),),
        ("web-a1", "web-b1"),
        f"no probe reply from b1 by {by.tunnel} ({by.packets}), but without encapsulation",
        "of chain ip cut cut (forward): drop",
        f"no probe reply from b1 by {by.tunnel} ({by.packets}), but without encapsulation",
    )
    return {
        "the underlay drops the encapsulation": dropped,
        "the same where routers are not asked": dropped._replace(
            cause=f"no probe to 10.1.0.3 by {by.tunnel} is answered: the underlay or a firewall drops {by.packets}",
            asked=False,
        ),
    }


def _of_ipip() -> Mapping[str, Row]:
    """IP in IP takes over that a packet may not be cut; VXLAN's outer packets are cut, and pass."""
    narrow = Row(
        (("core", "ip link set eth1 mtu 1400"),),
        (
            ("core", "ip link set eth1 mtu 1500"),
            # The path MTU that was learned is remembered for ten minutes.
            *((part, "ip route flush cache") for part in ("a1", "web-a1")),
        ),
        ("web-a1", "web-b1"),
        "packets of 1480 bytes to b1 by tunl0 are lost, smaller ones are not: path MTU 1400",
        "1500 bytes do not fit eth1, which has an MTU of 1400, and it may not be cut",
        "packets of 1480 bytes to b1 by tunl0 are lost, smaller ones are not",
        size_bytes=1480,
    )
    return {
        "a link of the underlay is narrower": narrow,
        "the same where routers are not asked either": narrow._replace(
            cause="1480 bytes do not pass to 10.1.0.3 by tunl0: probes of 1380 bytes do", asked=False
        ),
        **_of_sessions(),
    }


def _of_sessions() -> Mapping[str, Row]:
    return {
        "control is lost, and the path is proven": Row(
            _at_core("tcp dport 179", "tcp sport 179"),
            (("core", "nft delete table ip cut"),),
            ("web-a1", "web-b1"),
            "peer b1 is not established, control lost, path proven, 1 stale route kept",
            "peer b1 is not established, control lost, path proven, 1 stale route kept",
            "peer b1 is not established, control lost, path proven",
            passes=True,
        )
    }


# A lab -----------------------------------------------------------------------------------------------------------


@contextmanager
def lab_with(by: Encapsulated, directory: Path, name: str) -> Iterator[Lab]:
    """A lab for all rows of an encapsulation, once it has converged."""
    file = directory / f"{by.encapsulation}.yaml"
    file.write_text(by.topology.format(backend=by.backend, encapsulation=by.encapsulation, bgp=by.bgp))
    lab = labs.up(read_topology(file), name, keep=False)
    try:
        assert lab.wait(CONVERGE_S), lab_report(lab)
        wait_until(lambda: is_well(lab), within_s=60)
        yield lab
    finally:
        labs.down(name)
        assert netns.names(build.Names(name).prefix) == []


def run(lab: Lab, part: str, command: str) -> None:
    """A line of shell in a part of the lab; `$(port NODE)` is the port of a node on the fabric's bridge."""
    for port, owner in lab.ports.items():
        command = command.replace(f"$(port {owner.owner})", port)
    words = ("ip", "netns", "exec", lab.names.of(part), "sh", "-e", "-c", command)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{part}: {command}: {done.stderr}")


def summary(lab: Lab, node: str) -> Mapping[str, Any]:
    """Without problems where the agent does not answer for a moment."""
    try:
        return lab.read(node, "summary")
    except client.AgentAway:
        return {"converged": False, "problems": [], "members": []}


def asker(lab: Lab, *, asked: bool = True) -> Asker:
    found = lab_asking.of_lab(lab)
    return found if asked else replace(found, beside={})


def verified(lab: Lab, *, asked: bool = True) -> str:
    """The causes of verify's classes, and what it names beside them; empty if all is well."""
    body = live(lambda: asker(lab, asked=asked), 0.0)
    said = [f"{item['node']}: {item['because']}" for item in body["classes"]]
    said += [f"! {item['node']}: {item['problem']}" for item in body["problems"]]
    return "\n".join([*said, *(f"! {item['node']}: {item['reason']}" for item in body["unasked"])])


def explained(lab: Lab, row: Row) -> Mapping[str, Any]:
    return explained_by(asker(lab, asked=row.asked), lab_asking.ends(lab, *row.ends), row.size_bytes)


def findings(lab: Lab, node: str) -> Sequence[Finding]:
    """The doctor's, but for those that are good."""
    facts = netns.inside(lab.names.of(node), partial(survey.survey, agent=True))
    said = tuple((item["problem"], item["next"], item["is_broken"]) for item in summary(lab, node)["members"])
    found = examine(replace(facts, members=said), needs_of(lab.topology.intent, member(lab.topology.intent, node)))
    return [item for item in found if item.verdict is not Verdict.PASS]


def pings(lab: Lab, row: Row) -> bool:
    """True if one packet of the row's size is answered, or another after it."""
    source, destination = row.ends[0], str(lab_asking.ends(lab, *row.ends)[1])
    return any(ping(lab, source, destination, row.size_bytes).returncode == 0 for _ in range(2))


def is_well(lab: Lab) -> bool:
    return all(item["converged"] for item in lab.summaries()) and not verified(lab)


def check(lab: Lab, name: str, row: Row) -> None:
    """Make the fault, see who says what, mend it, and see that all is well."""
    before = {item.message for item in findings(lab, row.node)}
    try:
        for part, command in row.make:
            run(lab, part, command)
        wait_until(lambda: _is_said(lab, row), within_s=WITHIN_S)
        assert pings(lab, row) is row.passes, f"{name}: {row.ends}"
        _wait_for(lambda: verified(lab, asked=row.asked), row.verify or row.cause, f"{name}: verify")
        _wait_for(lambda: str(explained(lab, row)), "" if row.passes else row.cause, f"{name}: explain")
        assert (explained(lab, row)["outcome"] == "delivered") is row.passes, name
        _wait_for(lambda: "\n".join(item.message for item in findings(lab, row.node)), row.doctor, f"{name}: doctor")
        if row.mends:
            _mend(lab, name, row, before)
    finally:
        _undo(lab, row)
    wait_until(lambda: is_well(lab) and pings(lab, row), within_s=60)


def _is_said(lab: Lab, row: Row) -> bool:
    found = summary(lab, row.node)
    return not found["converged"] and any(row.state in line for line in found["problems"])


def _wait_for(said: Callable[[], str], text: str, what: str) -> None:
    """Answers of agents may be a second old."""
    answers: list[str] = []

    def is_said() -> bool:
        answers.append(said())
        return text in answers[-1]

    try:
        wait_until(is_said, within_s=WITHIN_S)
    except AssertionError:
        raise AssertionError(f"{what} does not say {text!r}, but: {answers[-1]}") from None


def _mend(lab: Lab, name: str, row: Row, before: Collection[str]) -> None:
    """By the commands that doctor shows, one finding after the other: the first may hide another."""
    for _ in range(_MOST_COMMANDS):
        found = [item for item in findings(lab, row.node) if item.message not in before and item.verdict is FAIL]
        for item in found[:1]:
            run(lab, row.node, item.next)
        with suppress(AssertionError):
            wait_until(lambda: is_well(lab) and pings(lab, row), within_s=WITHIN_S)
            return
    raise AssertionError(f"{name}: the doctor's commands do not mend it: {findings(lab, row.node)} {verified(lab)}")


def _undo(lab: Lab, row: Row) -> None:
    for part, command in row.undo:
        with suppress(RuntimeError):  # it is mended, or was never made
            run(lab, part, command)
