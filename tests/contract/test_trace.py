"""
Answers of trace against the running kernel: `ip route get`, and packets that are sent and captured.

Each round makes the node anew from a random number: routes of another program in three tables, rules, filters,
sysctls, MTUs. Then packets with numbers are sent, and where each arrives is compared with what was said before.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import DEFAULT_TABLE, LOCAL_TABLE, MAIN_TABLE, Route
from bgpctl.core.net.objects import PROTOCOL as OURS
from bgpctl.core.trace.netfilter import Verdict
from bgpctl.core.trace.packet import IP_IN_IP, UDP, Packet
from bgpctl.core.trace.passage import passage
from bgpctl.core.trace.reading import Kernel
from bgpctl.core.trace.snapshot import Snapshot
from bgpctl.core.trace.steps import Break, Broken, Delivered, Leaves, Passage, StepCode, Unknown
from bgpctl.kernel import snapshot
from tests.contract import trace_rig
from tests.contract.trace_rig import (
    BLOCK,
    GATEWAYS,
    LINKS,
    MEMBER,
    OWN,
    POOL,
    PROTOCOL,
    STRANGER,
    THEIR_BLOCK,
    VXLAN,
    WORKLOADS,
    Arrival,
    TraceRig,
)

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

PACKETS: Final = int(os.environ.get("BGPCTL_TEST_TRACE", "120"))
PER_ROUND: Final = 24
LEAST: Final = 50
"""How often each kind has to matter where a thousand packets and more are compared."""
KINDS: Final = (
    *("rule", "table", "metric", "foreign route", "group", "NAT", "chain", "reject", "rp_filter", "MTU"),
    *("tunnel lets in", "tunnel keeps out", "encapsulated", "received"),
)
TABLES: Final = (MAIN_TABLE, MAIN_TABLE, 77, 100)
TYPES: Final = ("unicast",) * 8 + ("blackhole", "unreachable", "prohibit", "throw")
WORLD: Final = {4: Prefix.parse("11.0.0.0/8"), 6: Prefix.parse("2001:db8::/32")}
USUAL_TABLES: Final = frozenset({LOCAL_TABLE, MAIN_TABLE, DEFAULT_TABLE})
PLAIN_RULE: Final = "rule add priority 30000 from 198.18.0.0/15 lookup 77"
"""There is always one from the second round on: the kernel remembers that there were rules, which nobody can read."""


@pytest.fixture(scope="module")
def rig() -> Iterator[TraceRig]:
    with trace_rig.trace_rig() as made:
        made.put(*trace_rig.tunnels())
        yield made


def test_what_trace_says_is_what_the_kernel_does(
    rig: TraceRig, record_property: pytest.FixtureRequest | object
) -> None:
    mattered: Counter[str] = Counter()
    wrong: list[str] = []
    rounds = -(-PACKETS // PER_ROUND)
    seed, first = int(os.environ.get("BGPCTL_TEST_SEED", "1")), int(os.environ.get("BGPCTL_TEST_FIRST", "0"))
    for number in range(first, first + rounds):
        choose = trace_rig.seeded(seed * 100_000 + number)
        make_node(choose, with_rules=number > 0)
        wrong += compare(rig, choose, number, mattered)
    undo()
    shown = ", ".join(f"{kind} {mattered[kind]}" for kind in KINDS)
    record_property("summary", f"trace: {rounds * PER_ROUND} packets as the kernel does; mattered: {shown}")  # type: ignore[operator]
    assert not wrong, "\n".join(wrong[:20])
    if PACKETS >= 1000:
        assert {kind: mattered[kind] for kind in KINDS if mattered[kind] < LEAST} == {}


# The node ------------------------------------------------------------------------------------------------------


def make_node(choose: random.Random, *, with_rules: bool) -> None:
    for version in (4, 6):
        lines = [*UNDONE, *routes(choose, version)]
        if with_rules:
            lines += [*(PLAIN_RULE for _ in range(version == 4)), *rules(choose, version)]
        if version == 4:
            lines.append(f"link set eth1 mtu {choose.choice((1500, 1500, 1400))}")
        trace_rig.batch(version, lines)
    trace_rig.filters(tables(choose))
    for link in ("all", *LINKS):
        write(f"net/ipv4/conf/{link}/rp_filter", choose.choice("0001112"))
    for link in LINKS:
        write(f"net/ipv4/conf/{link}/forwarding", choose.choice("11111110"))
    write("net/ipv6/conf/all/forwarding", choose.choice("1111110"))


UNDONE: Final = (
    "route flush table all proto 12",
    *(f"rule del priority {priority}" for priority in (50, 60, 70, 80, 30000)),
)


def undo() -> None:
    for version in (4, 6):
        trace_rig.batch(version, list(UNDONE))
    trace_rig.filters("")


def write(name: str, value: str) -> None:
    Path("/proc/sys", name).write_text(value)


def routes(choose: random.Random, version: int) -> Iterator[str]:
    """Of another program, over each other; a wide one that leads on, so that much arrives somewhere."""
    yield f"route add {WORLD[version]} via {gateway(choose, version)} proto 12 metric 300"
    for table in (77, 100):
        yield f"route add {inside(choose, WORLD[version], 1)} via {gateway(choose, version)} table {table} proto 12"
    for _ in range(14):
        kind, table = choose.choice(TYPES), choose.choice(TABLES)
        led = f"via {gateway(choose, version)}" if kind == "unicast" else ""
        if kind == "unicast" and choose.random() < 0.15:
            led = f"nexthop {led} nexthop via {gateway(choose, version)}"
        mtu = f" mtu {choose.choice((1300, 1400))}" if led.startswith("via") and choose.random() < 0.2 else ""
        metric = choose.choice((10, 200, 1024))
        prefix = inside(choose, WORLD[version], choose.choice((1, 2, 2, 3, 4)))
        yield f"route add {kind} {prefix} {led} table {table} proto 12 metric {metric}{mtu}"
    if version == 4 and choose.random() < 0.3:
        yield f"route add {choose.choice(tuple(THEIR_BLOCK.values()))} via {gateway(choose, 4)} proto 12 metric 0"
    if version == 4:
        yield f"route add {inside(choose, WORLD[4], 2)} nhid {0x43000001} proto 12 metric 5"


def inside(choose: random.Random, wide: Prefix, bits: int) -> Prefix:
    width = 32 if wide.version == 4 else 128
    shift = width - wide.length - bits
    return Prefix(wide.version, wide.network | choose.getrandbits(bits) << shift, wide.length + bits)


def gateway(choose: random.Random, version: int) -> Address:
    return choose.choice(GATEWAYS[choose.choice(LINKS), version])


def rules(choose: random.Random, version: int) -> Iterator[str]:
    for priority in (50, 60, 70, 80):
        selector = choose.choice(
            (
                f"from {inside(choose, WORLD[version], 1)}",
                f"to {inside(choose, WORLD[version], 2)}",
                f"iif {choose.choice(LINKS)}",
                "fwmark 0x1/0x3",
                f"not from {inside(choose, WORLD[version], 1)}",
            )
        )
        action = choose.choice(("lookup 77", "lookup 100", "lookup 77", "lookup 100", "prohibit", "blackhole"))
        if action in ("prohibit", "blackhole"):
            selector = f"to {inside(choose, WORLD[version], 4)}"
        if choose.random() < 0.98:
            yield f"rule add {selector} priority {priority} {action}"


def tables(choose: random.Random) -> str:
    chains = "".join(chain(choose, hook) for hook in ("forward", "input", "output", "prerouting", "postrouting"))
    return f"table inet f {{\n{chains}{nat(choose)}\n}}\n" if choose.random() < 0.8 else ""


def chain(choose: random.Random, hook: str) -> str:
    if choose.random() < (0.1 if hook in REJECTING else 0.6):
        return ""
    policy = "drop" if hook == "forward" and choose.random() < 0.1 else "accept"
    verdicts = ("drop", "accept", "reject", "reject") if hook in REJECTING else ("drop", "accept")
    lines = "; ".join(f"{condition(choose, hook)} {choose.choice(verdicts)}" for _ in range(3))
    passes = "ct state established,related accept;" if choose.random() < 0.5 else ""
    head = f"type filter hook {hook} priority 10; policy {policy}; {passes} meta l4proto {{ 4, 17, 58 }} accept;"
    return f"chain {hook} {{ {head} {lines}; }}\n"


REJECTING: Final = frozenset({"forward", "input", "output"})


def condition(choose: random.Random, hook: str) -> str:
    source = inside(choose, WORLD[4], choose.choice((1, 2, 3)))
    found = [
        f"ip saddr {source}",
        f"ip daddr {inside(choose, WORLD[4], 3)}",
        f"ip6 saddr {inside(choose, WORLD[6], 2)}",
    ]
    found += [f"ip daddr != {inside(choose, WORLD[4], 1)}", f"ip6 daddr {inside(choose, WORLD[6], 3)}"]
    found += [f"ip saddr {{ {source}, {inside(choose, WORLD[4], 4)} }}", "ct state new ip saddr 11.240.0.0/12"]
    if hook in ("forward", "input", "prerouting"):
        found.append(f'iifname "eth0" ip saddr {source}')
    if hook in ("forward", "output", "postrouting"):
        found.append(f'oifname "eth*" ip daddr {inside(choose, WORLD[4], 3)}')
    return choose.choice(found)


def nat(choose: random.Random) -> str:
    if choose.random() < 0.5:
        return ""
    rule = choose.choice(
        (f"ip saddr {inside(choose, WORLD[4], 1)} masquerade", f"ip saddr {POOL} ip daddr != 224.0.0.0/4 masquerade")
    )
    return f"chain nat {{ type nat hook postrouting priority {choose.choice((90, 100, 110))}; {rule}; }}"


# Packets -------------------------------------------------------------------------------------------------------


def compare(rig: TraceRig, choose: random.Random, number: int, mattered: Counter[str]) -> list[str]:
    seen = snapshot.read()
    kernel, bare = Kernel("n", seen), Kernel("n", without_filters(seen))
    rig.forget_connections()
    rig.arrived.clear()
    wrong: list[str] = []
    said: dict[int, tuple[Packet, str | None, list[Passage]]] = {}
    used: set[Address] = set()
    for index in range(PER_ROUND):
        packet, arrives = another_packet(choose, used)
        found = followed(kernel, packet, arrives)
        said[number * PER_ROUND + index + 1] = packet, arrives, found
        if packet.inner is None:
            wrong += routed_otherwise(rig, bare, packet, arrives)
    for key, (packet, arrives, _) in said.items():
        rig.send(key, packet, arrives)
    rig.settle({key: arrivals(found) for key, (_, _, found) in said.items()})
    for key, (packet, arrives, found) in said.items():
        count(mattered, found, kernel, seen)
        wrong += arrived_otherwise(key, packet, arrives, found, rig.arrived.get(key, set()))
    return wrong


def another_packet(choose: random.Random, used: set[Address]) -> tuple[Packet, str | None]:
    """To where none was sent: two from one masqueraded address to one destination would be one connection."""
    while True:
        packet, arrives = some_packet(choose)
        innermost = packet.inner or packet
        if innermost.destination not in used:
            used.update({innermost.destination} - OWN_ADDRESSES)
            return packet, arrives


OWN_ADDRESSES: Final = frozenset(address for own in OWN.values() for address in own.values()) | {
    BLOCK.nth(0),
    BLOCK.nth(1),
}


def some_packet(choose: random.Random) -> tuple[Packet, str | None]:
    """Of any origin: by one of the links, out of a tunnel, or made here."""
    version, size = choose.choice((4, 4, 6)), choose.choice((100, 100, 1350, 1450, 1500, 1500))
    df, destination = choose.random() < 0.7, some_address(choose, version)
    origin = choose.random()
    if origin < 0.2:
        return tunnelled(choose)
    if origin < 0.4:
        source = OWN[choose.choice(LINKS)][version]
        if version == 4 and choose.random() < 0.4:
            destination = choose.choice(tuple(THEIR_BLOCK.values())).nth(choose.randrange(2, 60))
        return Packet(source, destination, size, df, PROTOCOL, mark=choose.choice((0, 0, 1))), None
    source = (
        some_address(choose, version)
        if choose.random() < 0.85
        else WORKLOADS.nth(1)
        if version == 4
        else OWN["eth0"][6]
    )
    if version == 4 and choose.random() < 0.4:
        source, destination = BLOCK.nth(choose.randrange(6, 60)), outside_or_theirs(choose)
    # A veth takes nothing that is larger than its own MTU, which eth1's may be smaller than the far end's.
    return Packet(source, destination, size, df or version == 6, PROTOCOL), "eth0" if size > 1400 else choose.choice(
        LINKS
    )


def outside_or_theirs(choose: random.Random) -> Address:
    if choose.random() < 0.3:
        return some_address(choose, 4)
    return choose.choice(tuple(THEIR_BLOCK.values())).nth(choose.randrange(2, 60))


def some_address(choose: random.Random, version: int) -> Address:
    if choose.random() < 0.12:
        return OWN[choose.choice(LINKS)][version]
    wide = WORLD[version]
    return Address(version, wide.network | choose.getrandbits((32 if version == 4 else 128) - wide.length))


def tunnelled(choose: random.Random) -> tuple[Packet, str]:
    """From the member or a stranger, with what a member may send or not."""
    workload = WORKLOADS.nth(choose.randrange(WORKLOADS.size))
    theirs = choose.choice(tuple(THEIR_BLOCK.values())).nth(choose.randrange(2, 60))
    source = choose.choice((theirs, theirs, theirs, BLOCK.nth(9), some_address(choose, 4)))
    destination = choose.choice(
        (workload, workload, BLOCK.nth(0), BLOCK.nth(1), OWN["eth0"][4], some_address(choose, 4))
    )
    inner = Packet(source, destination, 100, df=True, protocol=PROTOCOL)
    outer = choose.choice((MEMBER, MEMBER, MEMBER, STRANGER))
    if choose.random() < 0.5:
        return Packet(outer, OWN["eth0"][4], 120, df=True, protocol=IP_IN_IP, inner=inner), "eth0"
    wire = tuple(sorted(VXLAN.wire().items()))
    return Packet(outer, OWN["eth0"][4], 150, False, UDP, (50000, VXLAN.port), inner=inner, wire=wire), "eth0"


def followed(kernel: Kernel, packet: Packet, arrives: str | None) -> list[Passage]:
    """By each next hop that the flow may have."""
    first = passage(kernel, packet, arrives)
    return [first, *(passage(kernel, packet, arrives, choice=other) for other in range(1, first.choices))]


# Comparisons ---------------------------------------------------------------------------------------------------


def without_filters(seen: Snapshot) -> Snapshot:
    plain: Dataplane = replace(seen.dataplane, masquerades=frozenset(), inner_filters=frozenset())
    return replace(seen, dataplane=plain, chains=())


def routed_otherwise(rig: TraceRig, bare: Kernel, packet: Packet, arrives: str | None) -> list[str]:
    """`ip route get` says something else."""
    small = packet._replace(size_bytes=60)
    said = {route_said(found) for found in followed(bare, small, arrives)}
    got = rig.route_get(small, arrives)
    same = 0 if isinstance(got, int) else got
    return [] if None in said or same in said else [f"route get {small} from {arrives}: said {said}, kernel {got}"]


def route_said(found: Passage) -> tuple[str, Address | None] | int | None:
    """In the words of RTM_GETROUTE: link and gateway, or that it fails. None: it asks for less than a packet does."""
    first = next((step for step in found.steps if step.code is StepCode.ROUTED), None)
    if isinstance(found.end, Broken) and found.end.cause.code in LOOKUP_FAILS:
        return 0
    if isinstance(found.end, Broken) and found.end.cause.code is Break.NOT_FORWARDING:
        return None if first and first.packet.version == 6 else 0
    if first is None:
        return None
    if first.gateway is None:
        return "", None
    via = first.gateway != first.packet.destination
    return first.link, first.gateway if via else None


LOOKUP_FAILS: Final = frozenset(
    {
        Break.NO_ROUTE,
        Break.REFUSED_BY_ROUTE,
        Break.REFUSED_BY_RULE,
        Break.NO_WORKLOAD,
        Break.REVERSE_PATH,
        Break.MARTIAN,
    }
)


def arrivals(found: list[Passage]) -> frozenset[Arrival]:
    """Where the packet may be seen; of several next hops any."""
    return frozenset(item for one in found for item in [arrival(one)] if item)


def arrival(found: Passage) -> Arrival | None:
    match found.end:
        case Leaves(link=link, next_hop=next_hop, packet=packet):
            return Arrival(link, next_hop, packet.source)
        case Delivered():
            return Arrival()
        case _:
            return None


def arrived_otherwise(
    key: int, packet: Packet, arrives: str | None, found: list[Passage], seen: set[Arrival]
) -> list[str]:
    said = {arrival(one) for one in found}
    ends = [(type(one.end).__name__, arrival(one) or one.end) for one in found]
    text = f"packet {key} {packet.source} > {packet.destination} from {arrives}: said {ends}, seen {seen}; {packet}"
    if any(isinstance(one.end, Unknown) for one in found):
        return [text]
    same = (not seen and None in said) or (len(seen) == 1 and seen <= said)
    return [] if same else [text]


def count(mattered: Counter[str], found: list[Passage], kernel: Kernel, seen: Snapshot) -> None:
    kinds = {kind for one in found for kind in kinds_of(one, kernel, seen)}
    mattered.update(kinds)


def kinds_of(found: Passage, kernel: Kernel, seen: Snapshot) -> Iterator[str]:
    cause = found.end.cause if isinstance(found.end, Broken) else None
    for step in found.steps:
        if step.rule and step.rule.table not in USUAL_TABLES:
            yield from ("rule", "table")
        if isinstance(step.subject, Route) and step.code is StepCode.ROUTED:
            yield from route_kinds(step.subject, kernel, step.packet.destination)
        if step.choices > 1:
            yield "group"
        yield from STEP_KINDS.get(step.code, ())
    if cause:
        yield from CAUSE_KINDS.get(cause.code, ())
        verdict = getattr(cause.subject, "verdict", None)
        if verdict is Verdict.REJECT:
            yield "reject"
    del seen


def route_kinds(route: Route, kernel: Kernel, destination: Address) -> Iterator[str]:
    same = [other for other in kernel.fib.matches(route.table, destination) if other.prefix == route.prefix]
    if len({other.metric for other in same}) > 1:
        yield "metric"
    if route.protocol not in (2, OURS):
        yield "foreign route"


STEP_KINDS: Final = {
    StepCode.TRANSLATED: ("NAT",),
    StepCode.CUT: ("MTU",),
    StepCode.DECAPSULATED: ("tunnel lets in",),
    StepCode.ENCAPSULATED: ("encapsulated",),
    StepCode.RECEIVED: ("received",),
}
CAUSE_KINDS: Final = {
    Break.TOO_BIG: ("MTU",),
    Break.OUTER_TOO_BIG: ("MTU",),
    Break.CHAIN: ("chain",),
    Break.REVERSE_PATH: ("rp_filter",),
    Break.MARTIAN: ("rp_filter",),
    Break.NOT_A_SENDER: ("tunnel keeps out",),
    Break.INNER_REFUSED: ("tunnel keeps out",),
    Break.REFUSED_BY_RULE: ("rule",),
}
