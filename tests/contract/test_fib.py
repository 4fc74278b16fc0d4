"""The FIB against the running kernel: random rules and tables in a namespace, and what `ip route get` answers."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.fib import Fib
from bgpctl.core.net.objects import LOCAL_TABLE, RouteType, Rule, RuleAction
from bgpctl.kernel.linux import LinuxKernel
from tests.contract.kernel_rig import Bell, own_namespace, shell

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

TABLES: Final = ("254", "253", "77", "1000")
KINDS: Final = ("unicast",) * 6 + ("blackhole", "unreachable", "prohibit", "throw", "throw")
TABLE_OF: Final = {"local": 255, "main": 254, "default": 253}
ERRORS: Final = {
    "Invalid argument": RouteType.BLACKHOLE,
    "No route to host": RouteType.UNREACHABLE,
    "Network is unreachable": RouteType.UNREACHABLE,
    "Permission denied": RouteType.PROHIBIT,
}
LOOKUPS: Final = 50


class Answer(NamedTuple):
    """The fate of a packet; by which route and link, where a route decides and delivers."""

    type: RouteType
    prefix: Prefix | None = None
    table: int | None = None
    metric: int | None = None
    link: str | None = None
    gateway: str | None = None


class World(NamedTuple):
    """How to write one IP version: prefixes are 8 bits of a common one, so that many cover each other."""

    version: int
    shift: int
    base: int
    length: int

    def prefix(self, choose: random.Random) -> Prefix:
        bits = choose.choice((0, 0, 1, 2, 3, 4, 6, 8))
        value = choose.getrandbits(8) >> (8 - bits) << (8 - bits)
        return Prefix(self.version, self.base | value << self.shift, self.length + bits)

    def destination(self, choose: random.Random) -> Address:
        return Address(self.version, self.base | choose.getrandbits(8) << self.shift | choose.getrandbits(4) << 8 | 5)


WORLDS: Final = {
    4: World(4, 16, 11 << 24, 8),
    6: World(6, 96, Address.parse("2001::").value, 24),
}


@pytest.fixture
def kernel() -> Iterator[LinuxKernel]:
    with own_namespace():
        for name in ("eth0", "eth1"):
            shell(f"link add {name} type veth peer name far{name}", f"link set {name} up", f"link set far{name} up")
        shell("link set lo up", "addr add 10.0.0.1/24 dev eth0", "addr add 10.0.1.1/24 dev eth1")
        shell("addr add fd00:1::1/64 dev eth0 nodad", "addr add fd00:2::1/64 dev eth1 nodad")
        linux = LinuxKernel()
        yield linux
        linux.close()


def scatter_routes(choose: random.Random, world: World) -> None:
    """Routes of every type, by gateway, link, next-hop object and group, in four tables."""
    near = ("10.0.0.7", "10.0.1.7") if world.version == 4 else ("fd00:1::7", "fd00:2::7")
    family = f"-{world.version}"
    for number, gateway in enumerate(near, 1):
        shell(f"{family} nexthop add id {number} via {gateway} dev eth{number - 1}")
    shell("nexthop add id 3 group 1", "nexthop add id 4 group 2")
    everything = "0.0.0.0/0" if world.version == 4 else "::/0"
    for _ in range(60):
        kind = choose.choice(KINDS)
        prefix = everything if choose.random() < 0.1 else str(world.prefix(choose))
        place = choose.randrange(2)
        hop = choose.choice((f"via {near[place]} dev eth{place}", f"dev eth{place}", f"nhid {choose.randint(1, 4)}"))
        metric, table = choose.choice((5, 10, 20)), choose.choice(TABLES)
        line = f"{family} route replace {kind} {prefix} metric {metric} table {table}"
        shell(f"{line} {hop}" if kind == "unicast" else line)


def scatter_rules(choose: random.Random, world: World) -> None:
    """Rules by destination and by what a plain packet has not; some inverted, suppressing, refusing or jumping."""
    family = f"-{world.version}"
    for _ in range(choose.randrange(12)):
        priority = choose.randrange(1, 40) * 100
        selector = choose.choice(
            ("", "", f"to {world.prefix(choose)}", f"fwmark {choose.choice(('0x7', '0x10/0x30'))}")
        )
        inverted = "not" if selector and choose.random() < 0.3 else ""
        action = choose.choice(
            (
                *(f"lookup {choose.choice(TABLES)}",) * 4,
                f"lookup {choose.choice(TABLES)} suppress_prefixlength {choose.choice((0, world.length, 12))}",
                *(f"goto {priority + choose.choice((100, 150, 500))}", "nop"),
                *(("blackhole", "unreachable", "prohibit") if selector.startswith("to") else ()),
            )
        )
        shell(f"{family} rule add pref {priority} {inverted} {selector} {action}")


def asked_kernel(destination: Address) -> Answer:
    """
    The route that the kernel's own lookup matches. It caches an IPv6 result with the next-hop object
    (fib6_nh.rt6i_pcpu), so of a route by such an object it may name another one that uses the same: there only link
    and gateway count.
    """
    family = f"-{destination.version}"
    command = ("ip", family, "-j", "-d", "route", "get", "fibmatch", str(destination))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return Answer(next(kind for text, kind in ERRORS.items() if text in done.stderr))
    (found,) = json.loads(done.stdout)
    kind = RouteType[found.get("type", "unicast").upper()]
    if kind not in {RouteType.UNICAST, RouteType.LOCAL}:
        return Answer(kind)
    table = str(found.get("table", "main"))
    text = {"default": "0.0.0.0/0" if destination.version == 4 else "::/0"}.get(found["dst"], found["dst"])
    hop = found.get("nexthops", [found])[0]
    if destination.version == 6 and "nhid" in found:
        return Answer(kind, link=hop["dev"], gateway=hop.get("gateway"))
    metric = int(found.get("metric", 0))
    number = TABLE_OF[table] if table in TABLE_OF else int(table)
    return Answer(kind, Prefix.parse(text), number, metric, hop["dev"], hop.get("gateway"))


def asked_fib(fib: Fib, destination: Address) -> Answer:
    found = fib.lookup(destination)
    route = found.route
    if route is None or found.type not in {RouteType.UNICAST, RouteType.LOCAL}:
        return Answer(found.type)
    hop = fib.resolve(route, destination)
    assert hop is not None
    gateway = None if hop.gateway == destination else str(hop.gateway)
    if destination.version == 6 and route.next_hop:
        return Answer(found.type, link=hop.link, gateway=gateway)
    return Answer(found.type, route.prefix, route.table, route.metric, hop.link, gateway)


def shown(destination: Address) -> str:
    """Rules and routes, as the kernel lists them."""
    family = f"-{destination.version}"
    listed = (("rule",), ("route", "show", "table", "all"))
    outputs = (subprocess.run(("ip", family, *verb), capture_output=True, text=True, check=True) for verb in listed)
    return "\n".join((str(destination), *(done.stdout for done in outputs)))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("seed", range(8))
def test_the_fib_finds_the_route_that_the_kernel_finds(seed: int, version: int, kernel: LinuxKernel) -> None:
    choose = random.Random(seed * 10 + version)
    world = WORLDS[version]
    scatter_routes(choose, world)
    scatter_rules(choose, world)
    fib = Fib(kernel.observe())
    for _ in range(LOOKUPS):
        destination = world.destination(choose)
        assert asked_fib(fib, destination) == asked_kernel(destination), shown(destination)


@pytest.mark.parametrize("own", ["10.0.0.1", "127.0.0.1", "127.9.9.9", "fd00:1::1", "::1"])
def test_an_own_address_is_local_without_a_route_that_is_observed(own: str, kernel: LinuxKernel) -> None:
    seen = kernel.observe()
    assert not [route for route in seen.routes if route.table == LOCAL_TABLE]
    assert asked_fib(Fib(seen), Address.parse(own)).type is RouteType.LOCAL
    assert asked_kernel(Address.parse(own)).type is RouteType.LOCAL


def test_an_address_of_a_link_that_is_down_is_local_and_its_network_is_not(kernel: LinuxKernel) -> None:
    shell("link set eth1 down")
    fib = Fib(kernel.observe())
    for text, kind in (("10.0.1.1", RouteType.LOCAL), ("10.0.1.9", RouteType.UNREACHABLE)):
        assert asked_fib(fib, Address.parse(text)).type is asked_kernel(Address.parse(text)).type is kind


def test_rules_are_observed_with_what_they_choose_packets_by(kernel: LinuxKernel) -> None:
    shell(
        "rule add pref 10 to 10.9.0.0/16 lookup 77 suppress_prefixlength 8",
        "rule add pref 20 not fwmark 0xca6c lookup 51820",
        "rule add pref 30 from 10.1.0.0/16 iif eth0 tos 0x10 lookup 1000",
        "rule add pref 30 uidrange 5-7 ipproto 17 dport 53 oif eth1 prohibit",
        "-6 rule add pref 40 fwmark 0x10/0x30 goto 32766",
    )
    default = {rule for rule in kernel.observe().rules if rule.priority in {0, 32766, 32767}}
    assert default == {Rule(4, 0, 255), Rule(4, 32766, 254), Rule(4, 32767, 253), Rule(6, 0, 255), Rule(6, 32766, 254)}
    assert kernel.observe().rules - default == {
        Rule(4, 10, 77, destination=Prefix.parse("10.9.0.0/16"), suppress_prefixlength=8),
        Rule(4, 20, 51820, selector="fwmark 0xca6c", inverted=True),
        Rule(4, 30, 1000, selector="from 10.1.0.0/16 tos 0x10 iif eth0"),
        Rule(4, 30, 0, RuleAction.PROHIBIT, selector="oif eth1 uidrange 5-7 ipproto 17 dport 53-53", place=1),
        Rule(6, 40, 0, RuleAction.GOTO, selector="fwmark 0x10/0x30", goto=32766),
    }


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_a_changed_rule_makes_the_watch_call(family: str, kernel: LinuxKernel) -> None:
    bell = Bell()
    kernel.watch(bell.ring)
    bell.rang_within(0.1)  # the first call may come at once
    for change in ("add", "del"):
        shell(f"{family} rule {change} pref 10 lookup 77")
        assert bell.rang_within(1.0), change
