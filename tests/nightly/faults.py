"""
Faults of a running lab. Each says beforehand which flows it may cost and for how long at most; nothing else is lost.

A flow is named by the nodes of its ends, and goes one way only.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, TypeAlias

from bgpctl.lab.lab import Lab
from tests.lab.rig import inside, ip, kill
from tests.waiting import wait_until

Pair: TypeAlias = tuple[str, str]

BLOCKS: Final = {"a1": "10.244.1.0/26", "a2": "10.244.2.0/26", "b1": "10.244.3.0/26", "b2": "10.244.4.0/26"}
_NO_BGP: Final = "add table inet cut; add chain inet cut c { type filter hook input priority 0; }; add rule inet cut c"
_LASTS_S: Final = 2.0
"""How long a fault lasts that is no single moment: its length is a part of it, and nothing is waited for."""


class Fault(NamedTuple):
    """`happens` returns once it is over, and its cause is healed."""

    name: str
    node: str
    costs: frozenset[Pair]
    within_s: float
    happens: Callable[[Lab], None]

    def __str__(self) -> str:
        return f"{self.name} at {self.node}"


def any_fault(chance: random.Random) -> Fault:
    """One of all, at one of the nodes."""
    return chance.choice(KINDS)(chance.choice(sorted(BLOCKS)), chance)


def _others(node: str) -> list[str]:
    return [other for other in BLOCKS if other != node]


def _across(node: str) -> frozenset[Pair]:
    """Flows through the tunnels of a node, either way."""
    far = [other for other in BLOCKS if other[0] != node[0]]
    return frozenset((node, other) for other in far) | frozenset((other, node) for other in far)


def _agent_killed(node: str, _: random.Random) -> Fault:
    return Fault("agent killed", node, frozenset(), 0, lambda lab: replaced(lab, node, signal.SIGKILL))


def _agent_stopped(node: str, _: random.Random) -> Fault:
    return Fault("agent stopped", node, frozenset(), 0, lambda lab: replaced(lab, node, signal.SIGTERM))


def replaced(lab: Lab, node: str, number: signal.Signals) -> None:
    """End the agent by this signal, and start another."""
    kill(lab, node, number)
    lab.start_agent(node)


def _agent_frozen(node: str, _: random.Random) -> Fault:
    def happens(lab: Lab) -> None:
        with _frozen(lab.agents[node].pid):
            time.sleep(_LASTS_S)

    return Fault("agent frozen", node, frozenset(), 0, happens)


def _speaker_frozen(node: str, _: random.Random) -> Fault:
    def happens(lab: Lab) -> None:
        with _frozen(_speaker(lab, node)):
            time.sleep(_LASTS_S)

    return Fault("ExaBGP frozen", node, frozenset(), 0, happens)


def _speaker_killed(node: str, _: random.Random) -> Fault:
    def happens(lab: Lab) -> None:
        before = _speaker(lab, node)
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: _speaker(lab, node) != before, within_s=30)

    return Fault("ExaBGP killed", node, frozenset(), 0, happens)


def _speaker(lab: Lab, node: str) -> int:
    try:
        return int((lab.run_dir(node) / "exabgp.pid").read_text().split()[0])
    except (OSError, IndexError):
        return 0


@contextmanager
def _frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _bgp_cut(node: str, _: random.Random) -> Fault:
    def happens(lab: Lab) -> None:
        for end in ("sport", "dport"):
            inside(lab, node, f"nft '{_NO_BGP} tcp {end} 179 drop'")
        time.sleep(_LASTS_S)
        inside(lab, node, "nft delete table inet cut")

    return Fault("TCP 179 dropped", node, frozenset(), 0, happens)


def _route_deleted(node: str, chance: random.Random) -> Fault:
    other = chance.choice(_others(node))
    act = ("route", "del", BLOCKS[other])
    return Fault(f"route to {other} deleted", node, frozenset({(node, other)}), 3, lambda lab: _ip(lab, node, *act))


def _next_hops_flushed(node: str, _: random.Random) -> Fault:
    costs = frozenset((node, other) for other in _others(node))

    def happens(lab: Lab) -> None:
        for line in ip(lab, node, "nexthop").splitlines():
            _ip(lab, node, "nexthop", "del", "id", line.split()[1])

    return Fault("next hops deleted", node, costs, 4, happens)


def _tunnel_down(node: str, _: random.Random) -> Fault:
    act = ("link", "set", "tunl0", "down")
    return Fault("tunl0 set down", node, _across(node), 4, lambda lab: _ip(lab, node, *act))


def _tunnel_deleted(node: str, _: random.Random) -> Fault:
    act = ("link", "del", "tunl0")
    return Fault("tunl0 deleted", node, _across(node), 6, lambda lab: _ip(lab, node, *act))


def _link_down(node: str, _: random.Random) -> Fault:
    """The kernel forgets all routes by the link. The one to the router is the distribution's, not the agent's."""
    costs = frozenset(pair for other in _others(node) for pair in ((node, other), (other, node)))

    def happens(lab: Lab) -> None:
        (default,) = ip(lab, node, "route", "show", "default").splitlines()
        _ip(lab, node, "link", "set", "eth0", "down")
        time.sleep(_LASTS_S)
        _ip(lab, node, "link", "set", "eth0", "up")
        _ip(lab, node, "route", "add", *default.split())

    return Fault("eth0 down", node, costs, _LASTS_S + 8, happens)


def _foreign_route(node: str, chance: random.Random) -> Fault:
    other = chance.choice(_others(node))
    route = (BLOCKS[other], "via", f"10.{int(node[0] == 'b')}.0.254", "dev", "eth0", "proto", "bird")

    def happens(lab: Lab) -> None:
        _ip(lab, node, "route", "add", *route)
        time.sleep(_LASTS_S)
        _ip(lab, node, "route", "del", *route)

    return Fault(f"foreign route to {other}", node, frozenset({(node, other)}), _LASTS_S + 2, happens)


def _file_damaged(node: str, chance: random.Random) -> Fault:
    """All nodes of the lab read one file."""
    damage = chance.choice(["", "nodes: [", "\0", "pools: {blue: {cidr: 10.244.0.0/33}}\n"])

    def happens(lab: Lab) -> None:
        file = lab.topology.file
        good = file.read_text()
        file.write_text(damage)
        time.sleep(_LASTS_S)
        file.write_text(good)

    return Fault(f"cluster file replaced by {damage!r}", node, frozenset(), 0, happens)


def _run_directory_lost(node: str, _: random.Random) -> Fault:
    """The agent ends, and whoever started it starts it again."""

    def happens(lab: Lab) -> None:
        shutil.rmtree(lab.run_dir(node))
        wait_until(lambda: lab.agents[node].poll() is not None, within_s=30)
        lab.start_agent(node)

    return Fault("run directory lost", node, frozenset(), 0, happens)


def _ip(lab: Lab, node: str, *words: str) -> None:
    ip(lab, node, *words)


KINDS: Final = (
    _agent_killed,
    _agent_stopped,
    _agent_frozen,
    _speaker_frozen,
    _speaker_killed,
    _bgp_cut,
    _route_deleted,
    _next_hops_flushed,
    _tunnel_down,
    _tunnel_deleted,
    _link_down,
    _foreign_route,
    _file_damaged,
    _run_directory_lost,
)
