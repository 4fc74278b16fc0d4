"""
Firewalls and leftovers of other programs as they look, loaded into the running kernel: what the doctor finds, and the
command that mends it, which is run where its program is here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Final, NamedTuple

import pytest

from bgpctl.core.cluster.configuration import Backend
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.fabric.host import Verdict
from bgpctl.core.trace.doctor import Finding, examine, needs_of
from bgpctl.kernel import survey
from tests.cluster import member, two_racks
from tests.contract.kernel_rig import own_namespace

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces"),
    pytest.mark.skipif(shutil.which("iptables") is None, reason="iptables is not installed"),
]

INTENT: Final = two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN)
POOL: Final = "10.244.0.0/16"
LEGACY: Final = "iptables-legacy"
"""Of the package iptables, as iptables-nft."""
DOCKER: Final = """*nat
:POSTROUTING ACCEPT
:DOCKER -
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
COMMIT
*filter
:FORWARD DROP
:DOCKER -
:DOCKER-ISOLATION-STAGE-1 -
:DOCKER-ISOLATION-STAGE-2 -
:DOCKER-USER -
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
"""
"""Docker 20.10 on a host with its own bridge alone."""
DOCKER_IN_BLOCK: Final = DOCKER.replace("172.17.0.0/16", "10.244.1.0/26").replace(":FORWARD DROP", ":FORWARD ACCEPT")
UFW: Final = """*filter
:INPUT DROP
:FORWARD DROP
:OUTPUT ACCEPT
:ufw-before-input -
:ufw-before-forward -
:ufw-user-input -
:ufw-user-forward -
:ufw-after-input -
:ufw-reject-forward -
-A INPUT -j ufw-before-input
-A INPUT -j ufw-after-input
-A FORWARD -j ufw-before-forward
-A FORWARD -j ufw-reject-forward
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A ufw-before-input -j ufw-user-input
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-forward -j ufw-user-forward
-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
"""
"""ufw 0.36 with `ufw enable` and `ufw allow ssh`, without its logging."""
FIREWALLD: Final = """table inet firewalld {
    chain filter_IN_public { tcp dport 22 accept; }
    chain filter_FWD_public { }
    chain filter_INPUT_ZONES { goto filter_IN_public; }
    chain filter_FORWARD_ZONES { goto filter_FWD_public; }
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname "lo" accept
        jump filter_INPUT_ZONES
        ct state { invalid } drop
        reject with icmpx type admin-prohibited
    }
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state { established, related } accept
        iifname "lo" accept
        jump filter_FORWARD_ZONES
        ct state { invalid } drop
        reject with icmpx type admin-prohibited
    }
}
"""
"""firewalld 1.3 with its zone public."""
FLANNEL: Final = """*nat
:POSTROUTING ACCEPT
:FLANNEL-POSTRTG -
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -s 10.244.1.0/24 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE
COMMIT
"""
"""flannel 0.22 of a cluster whose block of this node was another one: 10.244.2.0/24."""
KUBE_ROUTER: Final = """*filter
:FORWARD ACCEPT
:KUBE-ROUTER-FORWARD -
-A FORWARD -m comment --comment "kube-router netpol" -j KUBE-ROUTER-FORWARD
-A KUBE-ROUTER-FORWARD -m comment --comment "rule to REJECT traffic" -j REJECT --reject-with icmp-port-unreachable
COMMIT
"""
"""The chain of network policies that kube-router leaves behind when it is killed."""


class Case(NamedTuple):
    """A ruleset, the line about it, a part of its command, and whether that can be run here."""

    rules: str
    text: str
    command: str
    runs: bool = True


CASES: Final = {
    "Docker": Case(
        DOCKER,
        "chain ip filter FORWARD (forward) has a drop for packets of workloads: its policy",
        f"iptables -I DOCKER-USER -s {POOL} -j ACCEPT && iptables -I DOCKER-USER -d {POOL} -j ACCEPT",
    ),
    "a network of Docker's in the block": Case(
        DOCKER_IN_BLOCK,
        "chain ip nat POSTROUTING (postrouting) has a masquerade for packets of workloads",
        f"iptables -t nat -I POSTROUTING -s {POOL} -j RETURN",
    ),
    "ufw": Case(
        UFW,
        "chain ip filter FORWARD (forward) has a drop for packets of workloads: its policy",
        f"ufw route allow from {POOL} && ufw route allow to {POOL}",
        runs=False,
    ),
    "ufw, tunnels": Case(
        UFW,
        "chain ip filter INPUT (input) has a drop for UDP port 4789: its policy",
        "ufw allow 4789/udp",
        runs=False,
    ),
    "firewalld": Case(
        FIREWALLD,
        "chain inet firewalld filter_FORWARD (forward) has a reject for packets of workloads",
        f"firewall-cmd --permanent --zone=trusted --add-source={POOL} && firewall-cmd --reload",
        runs=False,
    ),
    "flannel": Case(
        FLANNEL,
        "chain ip nat POSTROUTING (postrouting) has a masquerade for packets of workloads",
        "iptables -t nat -F FLANNEL-POSTRTG",
    ),
    "kube-router": Case(
        KUBE_ROUTER,
        "chain ip filter FORWARD (forward) has a reject for packets of workloads",
        "iptables -F KUBE-ROUTER-FORWARD",
    ),
}


def load(rules: str) -> None:
    program = "nft" if rules.startswith("table") else "iptables-nft-restore"
    words = (program, "-f", "-") if program == "nft" else (program,)
    subprocess.run(words, input=rules, text=True, check=True, capture_output=True)


def found() -> list[Finding]:
    needs = needs_of(INTENT, member(INTENT, "a2"))
    return [item for item in examine(survey.survey(agent=True), needs) if item.check == "firewall"]


@pytest.mark.parametrize("name", CASES)
def test_a_firewall_as_it_looks_is_found_with_the_command_that_mends_it(name: str) -> None:
    case = CASES[name]
    with own_namespace():
        load(case.rules)
        (line,) = (item for item in found() if case.text in item.message)
        assert line.verdict is Verdict.FAIL
        assert case.command in line.next
        if case.runs:
            subprocess.run(line.next, shell=True, check=True, capture_output=True)  # noqa: S602
            assert not [item for item in found() if item.verdict is Verdict.FAIL], found()


def test_a_chain_of_another_program_gets_an_exception_by_nft() -> None:
    with own_namespace():
        load("table inet f { chain c { type filter hook forward priority 10; ct state established accept; reject; }; }")
        (line,) = found()
        subprocess.run(line.next, shell=True, check=True)  # noqa: S602
        assert [item.verdict for item in found()] == [Verdict.PASS]


@pytest.mark.skipif(shutil.which(LEGACY) is None, reason="iptables-legacy is not installed")
def test_rules_of_the_former_iptables_are_named_by_their_table() -> None:
    with own_namespace():
        done = subprocess.run((LEGACY, "-A", "FORWARD", "-j", "DROP"), check=False, capture_output=True)
        if done.returncode:
            pytest.skip(f"this kernel has no iptables-legacy: {done.stderr.decode()}")
        warned = [item for item in found() if item.verdict is Verdict.WARN]
        assert [(item.next, "(table filter)" in item.message) for item in warned] == [
            ("iptables-legacy -t filter -S", True)
        ]
