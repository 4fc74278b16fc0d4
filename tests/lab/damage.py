"""
Damage by chance to a lab whose agents stand still, and where explain and verify say that packets break.

Each knows beforehand at which node packets break, and by which object. Kinds are drawn evenly. What is said is compared
with that, and the outcome with a real packet. Damage to a file has no packet: the kernel of that node is then the one
that its other file would make.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from bgpctl.cli import lab_asking
from bgpctl.cli.asking import Asker
from bgpctl.cli.explain import explained_by
from bgpctl.core.cluster.agreement import digest
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address
from bgpctl.core.simulate.declared import network
from bgpctl.core.trace.answers import Answers, NodeAnswer
from bgpctl.kernel import snapshot
from bgpctl.lab import netns
from bgpctl.lab.lab import Lab
from tests.lab.packet_cases import run
from tests.lab.rig import ping
from tests.topologies import read_cluster

SHARE: Final = 0.95
"""Of each kind at least so many are named."""
BLOCKS: Final = {"a1": "10.244.1.0/26", "a2": "10.244.2.0/26", "b1": "10.244.3.0/26"}
HOSTS: Final = {"a1": "10.0.0.1", "a2": "10.0.0.2", "b1": "10.1.0.3"}
ROUTER: Final = "core"


class Damage(NamedTuple):
    """
    Attributes:
        at: the node where packets from one workload to the other break.
        said: a part of the sentence about the object that breaks them.
        other_file: the text of the node's other file; None where the kernel is damaged.
    """

    kind: str
    at: str
    make: tuple[str, ...]
    undo: tuple[str, ...]
    ends: tuple[str, str]
    said: str
    size_bytes: int = 84
    other_file: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} at {self.at}, {self.ends[0]} to {self.ends[1]}: {'; '.join(self.make) or 'another file'}"


class Site(NamedTuple):
    """A lab, the text of its file, and chance."""

    lab: Lab
    text: str
    chance: random.Random

    def ends(self, *, across: bool = False) -> tuple[str, str]:
        """Two nodes with workloads; `across`: in two racks."""
        pairs = [(a, b) for a in BLOCKS for b in BLOCKS if a != b and (a[0] != b[0] or not across)]
        return self.chance.choice(pairs)

    def cable(self, node: str) -> str:
        """The node's end of its workload's cable."""
        address = BLOCKS[node].replace(".0/26", ".10")
        words = netns.routes(self.lab.names.of(node)).splitlines()
        (line,) = (line for line in words if line.startswith(f"{address} "))
        return line.split(" dev ")[1].split()[0]


_Draw: TypeAlias = Callable[[Site], Damage]


def _of(kind: str, at: str, make: str, undo: str, ends: tuple[str, str], said: str, size_bytes: int = 84) -> Damage:
    webs = f"web-{ends[0]}", f"web-{ends[1]}"
    return Damage(kind, at, tuple(make.splitlines()), tuple(undo.splitlines()), webs, said, size_bytes)


# Kinds -----------------------------------------------------------------------------------------------------------


def _route(site: Site) -> Damage:
    one, other = ends = site.ends()
    block = BLOCKS[other]
    refusing = site.chance.choice(["blackhole", "prohibit", "unreachable"])
    metric = site.chance.choice([0, 5, 1000])
    host = f"{block.replace('.0/26', '.10')}/32"
    narrow = site.chance.choice([block, f"{block.replace('/26', '/28')}", host])
    command = f"route {{}} {refusing} {narrow} metric {metric}"
    lost = f"the route {refusing} {narrow}"
    choices = [
        _of("route", one, f"ip {command.format('add')}", f"ip {command.format('del')}", ends, lost),
        _of("route", one, f"ip route del {block}", _again(site, one, block), ends, f"{one} differs from the files"),
    ]
    return site.chance.choice(choices)


def _again(site: Site, node: str, prefix: str) -> str:
    """The command that restores a route as it is."""
    lines = netns.routes(site.lab.names.of(node)).splitlines()
    (line,) = (line for line in lines if line.startswith(f"{prefix} "))
    return f"ip route add {_restored(line)}"


def _rule(site: Site) -> Damage:
    one, other = ends = site.ends()
    priority = site.chance.randrange(10, 32000)
    at = site.chance.choice(ends)
    which = site.chance.choice([f"to {BLOCKS[other]}", f"from {BLOCKS[one]} to {BLOCKS[other]}"])
    action = site.chance.choice(["prohibit", "blackhole", "unreachable"])
    rule = f"priority {priority} {which}"
    if site.chance.random() < 0.5:
        said = f"rule {priority} ({action}) drops it"
        return _of("rule", at, f"ip rule add {rule} {action}", f"ip rule del priority {priority}", ends, said)
    make = f"ip route add {action} default table 77\nip rule add {rule} lookup 77"
    undo = f"ip rule del priority {priority}\nip route flush table 77"
    return _of("rule", at, make, undo, ends, f"the route {action} 0.0.0.0/0 table 77")


def _device(site: Site) -> Damage:
    one, other = ends = site.ends(across=True)
    cable = site.cable(other)
    choices = [
        _down(site, one, "tunl0", ends, "tunl0 is down"),
        _down(site, other, "tunl0", ends, "tunl0 is down"),
        _down(site, other, cable, ends, "no workload has the address"),
        _of("device", ROUTER, "ip link set eth1 down", "ip link set eth1 up", ends, "no route leads to"),
    ]
    found = site.chance.choice(choices)
    if found.at == ROUTER and one.startswith("b"):
        return _of("device", ROUTER, "ip link set eth0 down", "ip link set eth0 up", ends, "no route leads to")
    return found


def _down(site: Site, node: str, link: str, ends: tuple[str, str], said: str) -> Damage:
    """The kernel forgets next hops, routes and neighbours of a link that is set down."""
    space = site.lab.names.of(node)
    shown = ("nexthop show dev", "neigh show nud permanent dev")
    hops, neighbours = (_lines("ip", "-n", space, *words.split(), link) for words in shown)
    numbers = {line.split()[1] for line in hops}
    routes = [line for line in netns.routes(space).splitlines() if _uses(line.split(), link, numbers)]
    undo = [
        f"ip link set {link} up",
        *(f"ip nexthop add {line.replace('scope link', '')}" for line in hops),
        *(
            f"ip neigh replace {line.split()[0]} lladdr {line.split()[2]} nud permanent dev {link}"
            for line in neighbours
        ),
        *(f"ip route replace {_restored(line)}" for line in routes),
    ]
    return _of("device", node, f"ip link set {link} down", "\n".join(undo), ends, said)


def _uses(words: list[str], link: str, numbers: Collection[str]) -> bool:
    is_by_hop = "nhid" in words and words[words.index("nhid") + 1] in numbers
    return is_by_hop or ("dev" in words and words[words.index("dev") + 1] == link)


def _restored(line: str) -> str:
    """A route as ip(8) takes it: the parts of a next hop that it names are the next hop's."""
    words = line.split()
    if "nhid" not in words:
        return line
    at = words.index("nhid")
    metric = words[words.index("metric") + 1]
    return f"{words[0]} nhid {words[at + 1]} proto 179 metric {metric}"


def _lines(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def _filter(site: Site) -> Damage:
    one, other = ends = site.ends()
    at = site.chance.choice(ends)
    hook = site.chance.choice(["forward", "prerouting", "postrouting"])
    verdict = site.chance.choice(["drop", "reject"]) if hook == "forward" else "drop"
    match = site.chance.choice(
        ["", f"ip saddr {BLOCKS[one]}", f"ip daddr {BLOCKS[other]}", "meta l4proto icmp", "ip daddr != 10.0.0.0/16"]
    )
    match = f"ip saddr 10.244.0.0/16 {match}".strip()
    priority = site.chance.choice([-150, -10, 0, 7, 300])
    chain = f"chain c {{ type filter hook {hook} priority {priority}; {match} {verdict}; }}"
    said = f"of chain inet damage c ({hook}): {verdict}"
    make = f"nft 'table inet damage {{ {chain}; }}'"
    return _of("filter", at, make, "nft delete table inet damage", ends, said)


def _mtu(site: Site) -> Damage:
    one, _ = ends = site.ends(across=True)
    far = "eth1" if one.startswith("a") else "eth0"
    most = site.chance.randrange(1000, 1400)
    fit = f"do not fit {{}}, which has an MTU of {most}"
    choices = [
        _of("MTU", one, f"ip link set tunl0 mtu {most}", "ip link set tunl0 mtu 1480", ends, fit.format("tunl0"), 1480),
        _of(
            *("MTU", ROUTER, f"ip link set {far} mtu {most}", f"ip link set {far} mtu 1500", ends, fit.format(far)),
            1480,
        ),
        _of(
            *("MTU", one, f"ip link set eth0 mtu {most}", "ip link set eth0 mtu 1500", ends),
            f"outer packet: 1500 bytes do not fit eth0 with an MTU of {most}",
            1480,
        ),
    ]
    return site.chance.choice(choices)


def _file(site: Site) -> Damage:
    one, other = site.ends()
    at = site.chance.choice([one, other])
    far = other if at == one else one
    edits = {
        f"blocks: [{BLOCKS[other]}]": "blocks: [10.244.99.0/26]",
        f"{far}: {{address: {HOSTS[far]}/24": f"{far}: {{address: {HOSTS[far][:-1]}99/24",
        "encapsulation: IPIPCrossSubnet": "encapsulation: VXLAN",
        "cidr: 10.244.0.0/16": "cidr: 10.244.0.0/17",
    }
    before = site.chance.choice(sorted(edits))
    text = site.text.replace(before, edits[before])
    webs = f"web-{one}", f"web-{other}"
    return Damage("file", at, (), (), webs, f"{at} has another configuration", other_file=text)


_KINDS: Final[tuple[_Draw, ...]] = (_route, _rule, _device, _filter, _mtu, _file)


# Said and done ---------------------------------------------------------------------------------------------------


def misses(lab: Lab, directory: Path, count: int, seed: int) -> tuple[Counter[str], dict[str, list[str]]]:
    """How many of each kind were made, and of which the true place was not named, with what was said."""
    site = Site(lab, lab.topology.file.read_text(), random.Random(seed))
    made, found = Counter[str](), dict[str, list[str]]()
    with _still(lab):
        for number in range(count):
            damage = _KINDS[number % len(_KINDS)](site)
            made[damage.kind] += 1
            wrong = _missed(lab, directory, damage)
            if wrong:
                found.setdefault(damage.kind, []).append(f"{damage}: {wrong}")
    return made, found


def _missed(lab: Lab, directory: Path, damage: Damage) -> str:
    """The words in place of the truth; empty if it was said."""
    try:
        for command in damage.make:
            run(lab, damage.at, command)
        said = explained_by(_asker(lab, directory, damage), lab_asking.ends(lab, *damage.ends), damage.size_bytes)
        arrives = damage.other_file is None and _pings(lab, damage)
    finally:
        for command in damage.undo:
            run(lab, damage.at, command)
    text = (
        str(said)
        if damage.other_file is None
        else str([f"{name} has another configuration" for name in said["differing"]])
    )
    if damage.said not in text:
        return text
    if damage.other_file is None and arrives is not (said["outcome"] == "delivered"):
        return f"explain: {said['outcome']}, and the packet {'arrives' if arrives else 'is lost'}"
    return "" if damage.other_file is not None or _is_at(said, damage) else f"named at another node: {text}"


def _is_at(said: Mapping[str, Any], damage: Damage) -> bool:
    """True if the end, or the place where a kernel differs from the files, is the damaged node."""
    parts = [part for part in (said["there"], said["back"]) if part]
    return any(part["at"] == damage.at for part in parts) or any(
        str(part["difference"]).startswith(f"{damage.at} differs") for part in parts
    )


def _pings(lab: Lab, damage: Damage) -> bool:
    destination = str(lab_asking.ends(lab, *damage.ends)[1])
    return ping(lab, damage.ends[0], destination, damage.size_bytes).returncode == 0


def _asker(lab: Lab, directory: Path, damage: Damage) -> Asker:
    """Kernels that are read without agents, which stand still."""
    intent = lab.topology.intent
    other = read_cluster(directory, damage.other_file) if damage.other_file is not None else None

    def ask(names: Iterable[str]) -> Answers:
        return Answers({name: _answer(lab, intent, name, other if name == damage.at else None) for name in names})

    routers = {
        router.name: NodeAnswer(router.name, "", netns.inside(lab.names.of(router.name), snapshot.read))
        for router in lab.topology.routers
    }
    return Asker(intent, ask, routers)


def _answer(lab: Lab, intent: Intent, name: str, other: Intent | None) -> NodeAnswer:
    if other is None:
        return NodeAnswer(name, digest(intent), netns.inside(lab.names.of(name), snapshot.read))
    ends = [Address.parse(host) for host in HOSTS.values()]
    kernel = network(other, ends, {}).snapshots.get(name)
    assert kernel
    return NodeAnswer(name, digest(other), replace(kernel, declared=False))


@contextmanager
def _still(lab: Lab) -> Iterator[None]:
    """Agents would repair what is theirs."""
    for agent in lab.agents.values():
        os.kill(agent.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for agent in lab.agents.values():
            os.kill(agent.pid, signal.SIGCONT)
