"""
The mirror against the running kernel: whatever we and others do, and however the kernel tells of it, what is observed
by notifications is what a dump shows.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from bgpctl.core.dataplane.effects import Failure, Put, Remove
from bgpctl.core.dataplane.plan import NOT_WANTED
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import LinkAddress, Masquerade, NextHop, NextHopGroup, Route, RouteType, Sysctl
from bgpctl.kernel import encode, sysctl
from bgpctl.kernel.dumps import Dumps
from bgpctl.kernel.links import list_links
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.kernel.mirror import Mirror, MirrorBuilder
from bgpctl.kernel.netlink import Message, Netlink
from bgpctl.ports import Unavailable
from tests.contract.kernel_rig import (
    DEADLINE_S,
    DIRECT,
    HOP,
    ROUTE,
    STACK,
    STACK6,
    Bell,
    LinuxRig,
    missing,
    own_namespace,
    put,
    remove,
    shell,
)

SLOWNESS: Final = float(os.environ.get("BGPCTL_TEST_SLOWNESS", "1"))
WALKS: Final = int(max(4, 16 / SLOWNESS))
STEPS: Final = 60

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

Choose = random.Random
NAT: Final = Masquerade((Prefix.parse("10.244.0.0/16"),), (Prefix.parse("10.244.0.0/16"),), (1024, 4788))

GATEWAYS: Final = ("10.0.0.7", "10.0.0.8", "10.0.0.9")
GATEWAYS6: Final = ("fd00:10::7", "fd00:10::8", "fd00:10::9")
LINKS: Final = ("eth0", "other", "vxlan.test", "vxlan6.test")
HOPS: Final = (11, 12, 13)
MACS: Final = ("02:00:00:00:00:21", "02:00:00:00:00:22", "00:00:00:00:00:00", "01:00:5e:00:00:01")


def route(choose: Choose) -> str:
    """A foreign one."""
    verb = choose.choice(("add", "replace", "replace", "append", "prepend", "del", "del"))
    extra = choose.choice(("", "", "", " metric 7", " table 100", " tos 0x10", " mtu 1400"))
    kind = choose.random()
    if verb == "del" or kind < 0.5:
        way = f"via {choose.choice(GATEWAYS)}" if verb != "del" else ""
    elif kind < 0.6:
        way = f"dev {choose.choice(LINKS)} scope link"
    elif kind < 0.7:
        return f"route {verb} blackhole {choose.choice(('198.51.100.0/24', '203.0.113.0/26'))}{extra}"
    elif kind < 0.8:
        return f"route {verb} 198.51.100.0/24 nhid {choose.choice((*HOPS, 21))}{extra}"
    else:
        way = " ".join(f"nexthop via {gateway}" for gateway in choose.sample(GATEWAYS, 2))
        return f"route {verb} 198.51.100.0/24{extra} {way}"
    return f"route {verb} {choose.choice(('198.51.100.0/24', '203.0.113.0/26'))} {way}{extra}"


def route6(choose: Choose) -> str:
    verb = choose.choice(("add", "replace", "replace", "append", "prepend", "del", "del"))
    extra = choose.choice(("", "", "", " metric 7", " table 100", " mtu 1400"))
    prefix = choose.choice(("2001:db8::/48", "2001:db8:1::/64"))
    kind = choose.random()
    if kind < 0.5:
        way = f"via {choose.choice(GATEWAYS6)}" if verb != "del" or choose.random() < 0.5 else ""
    elif kind < 0.65:
        way = f"dev {choose.choice(LINKS)}"
    elif kind < 0.75:
        return f"-6 route {verb} blackhole {prefix}{extra}"
    else:
        way = " ".join(f"nexthop via {gateway}" for gateway in choose.sample(GATEWAYS6, 2))
        return f"-6 route {verb} {prefix}{extra} {way}"
    return f"-6 route {verb} {prefix} {way}{extra}"


def next_hop(choose: Choose) -> str:
    number = choose.choice(HOPS)
    match choose.randrange(6):
        case 0 | 1:
            return f"nexthop replace id {number} via {choose.choice(GATEWAYS)} dev eth0"
        case 2:
            return f"nexthop replace id {number} dev {choose.choice(LINKS)}"
        case 3:
            return f"nexthop replace id 21 group {'/'.join(map(str, choose.sample(HOPS, choose.randint(1, 3))))}"
        case 4:
            return f"nexthop replace id {number} blackhole"
        case _:
            return f"nexthop del id {choose.choice((*HOPS, 21))}"


def neighbour(choose: Choose) -> str:
    verb = choose.choice(("replace", "replace", "del"))
    address = choose.choice((*GATEWAYS, *GATEWAYS6))
    if choose.random() < 0.1:
        return f"neigh {choose.choice(('add', 'del'))} proxy {address} dev eth0"
    state = choose.choice(("permanent", "permanent", "reachable", "noarp"))
    how = f" lladdr {MACS[choose.randrange(2)]} nud {state}" if verb == "replace" else ""
    return f"neigh {verb} {address} dev {choose.choice(LINKS[:3])}{how}"


def entry(choose: Choose) -> str:
    verb = choose.choice(("append", "replace", "replace", "del"))
    state = choose.choice(("permanent", "permanent", "dynamic"))
    # Of a multicast entry that it refuses to replace the kernel changes the state all the same, without a word.
    mac = choose.choice(MACS[:2] if verb == "replace" else MACS)
    return f"bridge fdb {verb} {mac} dev vxlan.test dst {choose.choice(GATEWAYS)} self {state}"


def address(choose: Choose) -> str:
    verb, link = choose.choice(("add", "add", "del")), choose.choice(LINKS)
    text = choose.choice(("10.9.0.1/24", "10.9.0.2/24", "10.9.1.1/32", "fd00:9::1/64", "fd00:9::2/128"))
    return f"addr {verb} {text} dev {link}" + (" nodad" if ":" in text and verb == "add" else "")


def rule(choose: Choose) -> str:
    verb = choose.choice(("add", "del"))
    return (
        f"{choose.choice(('', '-6 '))}rule {verb} pref {choose.choice((100, 200))} lookup {choose.choice((100, 101))}"
    )


def link(choose: Choose) -> str:
    match choose.randrange(8):
        case 0 | 1:
            return f"link set {choose.choice(LINKS)} down"
        case 2 | 3 | 4:
            return f"link set {choose.choice(LINKS)} up"
        case 5:
            return f"link set {choose.choice(LINKS)} mtu {choose.choice((1400, 1420))}"
        case 6:
            return f"link set other address {MACS[choose.randrange(2)]}"
        case _:
            return choose.choice(
                ("link del other", "link add other type veth peer name peer", "link set other name another")
            )


COMMANDS: Final[tuple[tuple[Callable[[Choose], str], int], ...]] = (
    *((route, 12), (route6, 12), (next_hop, 6), (neighbour, 6), (entry, 6)),
    *((address, 4), (rule, 2), (link, 3)),
)


def own(kernel: LinuxKernel, choose: Choose) -> str:
    """An operation of ours."""
    hop = NextHop(0x42000000 + choose.randrange(4), "eth0", Address.parse(choose.choice(GATEWAYS)), onlink=True)
    hop6 = NextHop(0x42000010 + choose.randrange(2), "eth0", Address.parse(choose.choice(GATEWAYS6)), onlink=True)
    group = NextHopGroup(0x43000000, (0x42000000, 0x42000001))
    prefix = Prefix.parse(choose.choice(("10.244.9.0/26", "10.244.9.64/26", "fd00:244:9::/122")))
    number = choose.choice((hop.id, group.id, 0)) if prefix.version == 4 else hop6.id
    routes = Route(prefix, next_hop=number) if number else Route(prefix, RouteType.BLACKHOLE)
    thing = choose.choice((hop, hop6, group, routes, routes, routes, *STACK[1:], *STACK6[1:]))
    op = choose.choice((Put, Put, Put, Remove))(thing, NOT_WANTED)
    return f"{op} {kernel.apply((op,))}"


def done(choose: Choose) -> str:
    """A change by another program, which the kernel may refuse."""
    (make,) = choose.choices([make for make, _ in COMMANDS], [weight for _, weight in COMMANDS])
    command = make(choose)
    words = command.split() if command.startswith("bridge") else ["ip", *command.split()]
    refused = subprocess.run(words, check=False, capture_output=True, text=True).stderr
    return f"{' '.join(words)}  {refused.strip()}"


def dumped() -> Dataplane:
    other = LinuxKernel()
    try:
        return other.observe()
    finally:
        other.close()


@pytest.fixture(params=[True, False], ids=["next-hop objects", "emulated"])
def watching(request: pytest.FixtureRequest) -> Iterator[LinuxKernel]:
    with own_namespace():
        rig = LinuxRig(next_hop_objects=request.param)
        shell("link add other type veth peer name peer", "link set other up", "link set peer up")
        put(rig.kernel, *STACK, *STACK6)
        rig.kernel.observe()
        try:
            yield rig.kernel
        finally:
            rig.kernel.close()


@contextmanager
def dumps(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[int]]:
    """The message types that the kernel is asked to dump inside this block."""
    asked: set[int] = set()
    dump = Netlink.dump

    def recorded(netlink: Netlink, kind: int, body: bytes) -> tuple[bytes, ...]:
        asked.add(kind)
        return dump(netlink, kind, body)

    monkeypatch.setattr(Netlink, "dump", recorded)
    yield asked
    monkeypatch.undo()


ONE: Final = (
    "route add 198.51.100.0/24 via 10.0.0.7",
    "route replace 203.0.113.0/24 via 10.0.0.8",
    "route del 203.0.113.0/24",
    "route append 203.0.113.0/24 via 10.0.0.8",
    "-6 route add 2001:db8::/48 via fd00:10::7",
    "-6 route del 2001:db8:1::/48",
    "neigh add 10.0.0.7 dev eth0 lladdr 02:00:00:00:00:21 nud permanent",
    "neigh del 10.0.0.8 dev eth0",
    "addr add 10.9.0.1/24 dev eth0",
)


@pytest.mark.parametrize("command", ONE)
@pytest.mark.parametrize("watching", [True], indirect=True)
def test_a_foreign_change_of_one_object_causes_no_dump(
    command: str, watching: LinuxKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell("route add 203.0.113.0/24 via 10.0.0.7", "-6 route add 2001:db8:1::/48 via fd00:10::7")
    shell("neigh add 10.0.0.8 dev eth0 lladdr 02:00:00:00:00:21 nud permanent")
    watching.observe()
    with dumps(monkeypatch) as asked:
        shell(command)
        seen = watching.observe()
    assert asked == set()
    assert seen == dumped()


SILENT: Final = {
    "a link goes down": "link set vxlan.test down",
    "a link goes away": "link del vxlan.test",
    "a link gets another MAC": "link set vxlan.test address 02:00:00:00:00:77",
    "a link gets another name": "link set other name another",
    "an IPv4 address goes": "addr del 10.244.1.0/32 dev vxlan.test",
    "an IPv6 address goes": "addr del fd00:9::7/64 dev other",
    "an MTU becomes too small for IPv6": "link set other mtu 1200",
    "a next hop goes": f"nexthop del id {HOP.id}",
}


@pytest.mark.parametrize("command", SILENT.values(), ids=SILENT.keys())
@pytest.mark.parametrize("watching", [True], indirect=True)
def test_routes_are_dumped_after_changes_that_take_them_along_without_a_notification(
    command: str, watching: LinuxKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some routing setups have this one, and then the IPv6 routes go as quietly as those of IPv4.
    sysctl.write(Sysctl("net/ipv6/route/skip_notify_on_dev_down", "1"))
    shell("addr add fd00:9::7/64 dev other nodad", "-6 route add 2001:db8::/48 via fd00:9::8 dev other")
    watching.observe()
    with dumps(monkeypatch) as asked:
        shell(command)
        seen = watching.observe()
    assert encode.RTM_GETROUTE in asked
    assert seen == dumped()


@pytest.mark.parametrize("watching", [True], indirect=True)
def test_a_link_that_appears_during_a_dump_has_its_routes_once(
    watching: LinuxKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def and_then_another(netlink: Netlink) -> object:
        found = list_links(netlink)
        monkeypatch.undo()
        shell("link add late type veth peer name later", "link set late up", "route add 198.51.100.0/24 dev late")
        return found

    shell("link set other down")  # makes everything stale
    monkeypatch.setattr("bgpctl.kernel.dumps.list_links", and_then_another)
    watching.observe()
    assert watching.observe() == dumped()
    shell("route del 198.51.100.0/24 dev late")
    assert watching.observe() == dumped()


@pytest.mark.parametrize("watching", [True], indirect=True)
def test_a_difference_is_found_while_the_kernel_goes_on_notifying(
    watching: LinuxKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(MirrorBuilder, "apply", lambda *_: False)
        shell("route add 198.51.100.0/24 via 10.0.0.7")
        watching.observe()
    renewed, busy = Dumps.renewed, iter(range(100))

    def and_then_another(dumps: Dumps, mirror: Mirror) -> Mirror:
        found = renewed(dumps, mirror)
        shell(f"neigh replace 10.0.0.{100 + next(busy)} dev eth0 lladdr 02:00:00:00:00:21 nud permanent")
        return found

    monkeypatch.setattr(Dumps, "renewed", and_then_another)
    mismatch = watching.resync()
    assert mismatch is not None
    assert [str(route.prefix) for route in mismatch.unknown.routes] == ["198.51.100.0/24"]
    assert (mismatch.absent.size, mismatch.unknown.size) == (0, 1)
    assert watching.observe() == dumped()


@pytest.mark.parametrize("watching", [True], indirect=True)
def test_entries_of_a_device_for_all_vnis_are_not_shown(watching: LinuxKernel) -> None:
    shell("link add every type vxlan external vnifilter dstport 4790", "link set every up")
    for vni in (5, 6):
        entry = f"fdb append 02:00:00:00:00:21 dev every dst 10.0.0.7 src_vni {vni} self permanent"
        subprocess.run(["bridge", *entry.split()], check=True)
    assert not any(item.link == "every" for item in watching.observe().fdb)
    assert watching.resync() is None


@pytest.mark.parametrize("watching", [True], indirect=True)
def test_after_a_lost_carrier_what_is_observed_is_what_a_dump_shows(watching: LinuxKernel) -> None:
    put(watching, DIRECT, ROUTE._replace(next_hop=DIRECT.id))
    watching.observe()
    shell("link set far down")
    assert becomes_true(lambda: DIRECT not in watching.observe() and watching.observe() == dumped())


@pytest.mark.parametrize("watching", [True], indirect=True)
def test_after_lost_notifications_what_is_observed_is_what_a_dump_shows(
    watching: LinuxKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bgpctl.kernel.watch._RECEIVE_BUFFER_BYTES", 1)  # the kernel's least: a few notifications
    watching.watch(lambda: None)
    watching.observe()
    blocks = [Route(Prefix(4, (10 << 24) + number * 64, 26), RouteType.BLACKHOLE) for number in range(500)]
    put(watching, *blocks)
    assert set(blocks) <= set(watching.observe().routes)
    assert watching.observe() == dumped()


@pytest.mark.parametrize("watching", [True], indirect=True)
def test_an_object_that_was_put_and_is_not_notified_of_is_dumped_before_it_counts(
    watching: LinuxKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MirrorBuilder, "apply", lambda *_: False)
    put(watching, ROUTE._replace(metric=7))
    assert ROUTE._replace(metric=7) in watching.observe()
    remove(watching, ROUTE._replace(metric=7))
    assert ROUTE._replace(metric=7) not in watching.observe()


@pytest.mark.parametrize("watching", [True], indirect=True)
def test_many_routes_at_once_are_dumped(watching: LinuxKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [Route(Prefix(4, (10 << 24) + number * 64, 26), RouteType.BLACKHOLE) for number in range(2000)]
    with dumps(monkeypatch) as asked:
        put(watching, *blocks)
        seen = watching.observe()
    assert encode.RTM_GETROUTE in asked
    assert seen == dumped()


@pytest.mark.parametrize("watching", [True], indirect=True)
def test_what_others_do_to_routes_while_many_of_ours_change_is_seen_and_after_that_reported(
    watching: LinuxKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    bell = Bell()
    watching.watch(bell.ring)
    watching.observe()
    batch = LinuxKernel._batch

    def and_another(*arguments: Any, unset: bool) -> Iterator[Failure]:
        shell("route replace 203.0.113.0/24 via 10.0.0.9")
        return batch(*arguments, unset=unset)

    blocks = [Route(Prefix(4, (10 << 24) + number * 64, 26), RouteType.BLACKHOLE) for number in range(2000)]
    with monkeypatch.context() as patch:
        patch.setattr(LinuxKernel, "_batch", and_another)
        put(watching, *blocks)
    assert watching.observe() == dumped()
    assert any(route.gateway == Address.parse("10.0.0.9") for route in watching.observe().routes)
    with dumps(monkeypatch) as asked:
        shell("route replace 203.0.113.0/24 via 10.0.0.7")
        assert bell.rang_within(1.0)
        seen = watching.observe()
    assert encode.RTM_GETROUTE not in asked
    assert seen == dumped()


@pytest.mark.parametrize("watching", [True], indirect=True)
def test_the_echo_of_many_routes_of_ours_is_not_asked_for(
    watching: LinuxKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    echoed: list[Message] = []
    apply = MirrorBuilder.apply

    def counted(builder: MirrorBuilder, message: Message) -> bool:
        echoed.append(message)
        return apply(builder, message)

    monkeypatch.setattr(MirrorBuilder, "apply", counted)
    blocks = [Route(Prefix(4, (10 << 24) + number * 64, 26), RouteType.BLACKHOLE) for number in range(2000)]
    put(watching, *blocks)
    assert len(echoed) < len(blocks)
    assert set(blocks) <= watching.observe().routes


@pytest.mark.parametrize("watching", [True], indirect=True)
def test_routes_are_reported_again_after_many_of_ours_could_not_be_sent(
    watching: LinuxKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object, **__: object) -> Iterator[Failure]:
        raise Unavailable("the socket is gone")

    bell = Bell()
    watching.watch(bell.ring)
    watching.observe()
    blocks = [Route(Prefix(4, (10 << 24) + number * 64, 26), RouteType.BLACKHOLE) for number in range(2000)]
    with monkeypatch.context() as patch:
        patch.setattr(LinuxKernel, "_batch", lost)
        with pytest.raises(Unavailable):
            put(watching, *blocks)
    assert watching.observe() == dumped()
    shell("route replace 203.0.113.0/24 via 10.0.0.9")
    assert bell.rang_within(1.0)
    assert watching.observe() == dumped()


@pytest.mark.parametrize("watching", [True], indirect=True)
def test_an_ipv6_address_is_there_once_duplicate_address_detection_has_succeeded(watching: LinuxKernel) -> None:
    address = LinkAddress("eth0", InterfaceAddress.parse("fd00:10::99/64"))
    shell("addr add fd00:10::99/64 dev eth0")
    assert address not in watching.observe().addresses
    assert watching.resync() is None
    assert becomes_true(lambda: address in watching.observe().addresses)


@pytest.mark.parametrize("watching", [True], indirect=True)
def test_a_dump_that_changes_interrupted_is_repeated_by_the_next_observation(
    watching: LinuxKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump_once = Netlink._dump_once

    def interrupted(netlink: Netlink, kind: int, body: bytes) -> tuple[tuple[bytes, ...], bool]:
        return dump_once(netlink, kind, body)[0][:1], True

    bell = Bell()
    watching.watch(bell.ring)
    with monkeypatch.context() as patch:
        patch.setattr(Netlink, "_dump_once", interrupted)
        seen = watching.observe()
    assert seen != dumped()
    assert bell.rang_within(1.0)
    assert watching.observe() == dumped()


@pytest.mark.parametrize("watching", [True], indirect=True)
def test_changes_of_nftables_and_sysctls_show_in_the_next_observation(watching: LinuxKernel) -> None:
    forwarding = Sysctl("net/ipv4/ip_forward", "1")
    put(watching, NAT, forwarding)
    assert missing(watching, NAT, forwarding) == set()
    subprocess.run(["nft", "delete", "table", "ip", "bgpctl_nat"], check=True)
    sysctl.write(forwarding._replace(value="0"))
    assert becomes_true(lambda: missing(watching, NAT, forwarding) == {NAT, forwarding})


@pytest.mark.parametrize("watching", [True], indirect=True)
@pytest.mark.parametrize(
    "name", ["net/ipv4/ip_forward", "net/ipv4/conf/eth0/rp_filter", "net/ipv6/conf/all/forwarding"]
)
def test_a_sysctl_that_another_program_sets_is_an_event(watching: LinuxKernel, name: str) -> None:
    put(watching, Sysctl(name, "1"))
    watching.observe()
    bell = Bell()
    watching.watch(bell.ring)
    sysctl.write(Sysctl(name, "0"))
    assert bell.rang_within(15.0)
    assert Sysctl(name, "0") in watching.observe().sysctls


@pytest.mark.parametrize("watching", [True], indirect=True)
@pytest.mark.parametrize(
    "name",
    [
        "net/ipv4/ip_forward",
        "net/ipv4/conf/eth0/forwarding",
        "net/ipv4/conf/eth0/rp_filter",
        "net/ipv4/conf/all/rp_filter",
        "net/ipv6/conf/all/forwarding",
        "net/ipv6/conf/eth0/accept_ra",
    ],
)
def test_a_sysctl_has_its_present_value_in_each_observation(watching: LinuxKernel, name: str) -> None:
    put(watching, Sysctl(name, "1"))
    for value in ("0", "1", "0"):
        sysctl.write(Sysctl(name, value))
        seen = watching.observe()
        assert {one.value for one in seen.sysctls if one.name == name} == {value}
        assert watching.observe() is seen


@pytest.mark.parametrize("watching", [True], indirect=True)
def test_the_switches_of_a_link_that_comes_back_are_the_new_ones(watching: LinuxKernel) -> None:
    name = "net/ipv4/conf/extra/rp_filter"
    for value in ("1", "2"):
        shell("link add extra type veth peer name extra1", "addr add 10.7.7.1/24 dev extra")
        sysctl.write(Sysctl(name, value))
        assert Sysctl(name, value) in watching.observe().sysctls
        shell("link del extra")
        assert all(one.name != name for one in watching.observe().sysctls)


@pytest.mark.parametrize("watching", [True], indirect=True)
def test_a_table_of_nftables_that_goes_during_an_operation_of_ours_is_missed(
    watching: LinuxKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(watching, NAT)
    assert missing(watching, NAT) == set()
    scene = LinuxKernel._scene

    def and_without_it(kernel: LinuxKernel, kinds: Iterable[type]) -> object:
        subprocess.run(["nft", "delete", "table", "ip", "bgpctl_nat"], check=True)
        monkeypatch.undo()
        return scene(kernel, kinds)

    monkeypatch.setattr(LinuxKernel, "_scene", and_without_it)
    put(watching, ROUTE._replace(metric=7))
    assert becomes_true(lambda: missing(watching, NAT) == {NAT})


@pytest.mark.parametrize("watching", [True], indirect=True)
def test_a_table_of_nftables_that_another_program_restores_is_seen(watching: LinuxKernel) -> None:
    put(watching, NAT)
    table = subprocess.run(["nft", "list", "table", "ip", "bgpctl_nat"], check=True, capture_output=True).stdout
    remove(watching, NAT)
    assert missing(watching, NAT) == {NAT}
    subprocess.run(["nft", "-f", "-"], input=table, check=True)
    assert becomes_true(lambda: missing(watching, NAT) == set())


def test_routes_with_another_protocol_number_are_ours_in_notifications_too() -> None:
    with own_namespace():
        LinuxRig().kernel.close()
        kernel = LinuxKernel(protocol=180)
        kernel.watch(lambda: None)
        kernel.observe()
        put(kernel, DIRECT, ROUTE._replace(next_hop=DIRECT.id))
        assert missing(kernel, DIRECT, ROUTE._replace(next_hop=DIRECT.id)) == set()
        assert kernel.resync() is None
        kernel.close()


@pytest.mark.parametrize("seed", range(WALKS))
@pytest.mark.parametrize("watching", [True], indirect=True)
def test_what_is_observed_by_notifications_is_what_a_dump_shows(seed: int, watching: LinuxKernel) -> None:
    choose = random.Random(seed)
    history = []
    for _ in range(STEPS):
        history.append(own(watching, choose) if choose.random() < 0.3 else done(choose))
        if choose.random() < 0.7:
            assert becomes_true(lambda: watching.observe() == dumped()), shown(watching, history)


@pytest.mark.parametrize("seed", range(WALKS // 2))
@pytest.mark.parametrize("watching", [False], indirect=True)
def test_routes_by_emulated_next_hops_are_observed_by_notifications_too(seed: int, watching: LinuxKernel) -> None:
    choose = random.Random(seed)
    history = []
    for _ in range(STEPS):
        history.append(own(watching, choose) if choose.random() < 0.3 else done(choose))
        watching.observe()
    mismatch = watching.resync()
    assert mismatch is None, "\n".join([*history, str([*mismatch.absent]), str([*mismatch.unknown])])


def becomes_true(holds: Callable[[], bool]) -> bool:
    """True if it holds soon: some of what the kernel does it does by and by."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not holds():
        if time.monotonic() > deadline_s:
            return False
    return True


def shown(kernel: LinuxKernel, history: list[str]) -> str:
    mirrored, real = kernel.observe(), dumped()
    differences = (f"only mirrored: {[*mirrored.minus_all(real)]}", f"only real: {[*real.minus_all(mirrored)]}")
    return "\n".join((*history, *differences))
