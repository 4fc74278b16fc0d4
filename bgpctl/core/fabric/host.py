"""
The host that a node is to run on: facts about it, requirements of a cluster, and checks that compare both.

Refuses to know: how facts are found out, which checks there are (core/trace/doctor and each encapsulation).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.encapsulation import Encapsulation, tunnels
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.dataplane import Dataplane

T = TypeVar("T")


class Verdict(enum.Enum):
    """WARN: it works, but not always or not well. FAIL: it does not work."""

    PASS = "PASS"  # noqa: S105 (no password)
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Facts:
    """
    The facts about a host.

    Attributes:
        release: the kernel's, as uname(1) prints it.
        privileged: CAP_NET_ADMIN is held.
        tunnels: the facts of each encapsulation, by its name.
        nftables_missing: the reason against using nftables; None if there is none.
        sysctls: values by name, with slashes.
        listening: TCP ports on which a program listens; `bound` the UDP ports that a program has.
        chains: base chains of other programs with their rules (core/trace/netfilter.py: Chain).
        agent: an agent of ours answers, so that what it uses is in use by us.
        speakers: the processes of every BGP speaker of ours in this network namespace.
        silent: neighbours that were asked for and do not answer, by link and address.
        legacy: the tables of the former iptables that are in use, whose rules are not read.
        members: what the agent knows against members, each with what shows more, and whether packets are lost.
        keys_unusable: the reason against using this node's keys; None if there is none.
        keys_days: how long its certificate is still valid.
    """

    release: str
    privileged: bool = True
    next_hop_objects: bool = True
    tunnels: Mapping[str, object] = field(default_factory=dict)
    nftables_missing: str | None = None
    namespaces: bool = True
    sysctls: Mapping[str, str] = field(default_factory=dict)
    dataplane: Dataplane = field(default_factory=Dataplane)
    listening: frozenset[int] = frozenset()
    bound: frozenset[int] = frozenset()
    chains: tuple[Any, ...] = ()
    agent: bool = False
    speakers: tuple[int, ...] = ()
    silent: frozenset[tuple[str, Address]] = frozenset()
    legacy: tuple[str, ...] = ()
    members: tuple[tuple[str, str, bool], ...] = ()
    keys_unusable: str | None = None
    keys_days: float = 0.0

    def of(self, encapsulation: Encapsulation, unknown: T) -> T:
        """The facts of the encapsulation; `unknown` if it has not tried."""
        found = self.tunnels.get(encapsulation.name)
        return found if isinstance(found, type(unknown)) else unknown


@dataclass(frozen=True, slots=True)
class Needs:
    """The abilities that a node needs. Without a cluster file: everything, for a node whose address is unknown."""

    tunnels: frozenset[Encapsulation] = field(default_factory=lambda: frozenset(tunnels().values()))
    bgp: bool = True
    masquerade: bool = True
    node: Node | None = None
    remotes: tuple[Address, ...] = ()
    intent: Intent = field(default_factory=Intent)


Answer: TypeAlias = tuple[Verdict, str, str]
"""The verdict, the finding, and the command to run, empty where nothing has to be done."""

Check: TypeAlias = Callable[[Facts, Needs], Iterator[Answer]]


def good(message: str) -> Answer:
    """Nothing has to be done."""
    return Verdict.PASS, message, ""
