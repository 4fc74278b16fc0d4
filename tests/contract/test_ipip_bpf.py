"""The BPF driver on the running kernel: what crosses the wire, what is let in, what outlives its maker."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import permutations

import pytest

from bgpctl.core.cluster.encapsulation import IPIP
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import Decap, Traffic
from bgpctl.kernel import traffic
from bgpctl.kernel.bpf import ingress, programs, syscalls, tcx
from bgpctl.kernel.bpf import tc as hook
from bgpctl.kernel.ipip import bpf as ipip_bpf
from bgpctl.kernel.ipip.bpf import BpfIpip
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.lab import netns
from tests.contract.ipip_rig import (
    NO_MEMBER,
    TUNNEL,
    Site,
    answers,
    ipv4,
    output,
    ping,
    raw_socket,
    receivers,
    three_sites,
    udp,
    udp_socket,
)
from tests.contract.kernel_rig import own_namespace, shell

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces, bpf(2)")]

PORT = 7000
DF = 0x4000
LOCAL = Address.parse("10.0.0.1")
DECAP = Decap("tunl0", "eth0", LOCAL, (Address.parse("10.0.0.2"), Address.parse("10.0.0.3")))
FOREIGN_FILTER = "filter add dev eth0 ingress prio 7 protocol ip u32 match ip protocol 1 0xff flowid 1:1"


@pytest.fixture(scope="module", params=["tcx", "clsact"])
def place(request: pytest.FixtureRequest) -> Iterator[str]:
    """The hook of the decapsulating programs: this kernel's, and that of a kernel before Linux 6.6."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "clsact":
            patch.setattr(tcx, "attach", _not_yet)
        elif not tcx.is_known():
            pytest.skip("tcx: Linux 6.6")
        yield request.param


def _not_yet(_index: int, _fd: int) -> None:
    raise OSError(errno.EINVAL, "no such hook")


@pytest.fixture(scope="module")
def sites(place: str) -> Iterator[list[Site]]:  # noqa: ARG001  it has its effect
    with three_sites() as made:
        yield made


@pytest.fixture
def driver(place: str) -> Iterator[BpfIpip]:  # noqa: ARG001  it has its effect
    """Alone, with an underlay link, in a namespace of its own."""
    with own_namespace():
        shell("link add eth0 type veth peer name far", "link set eth0 up", "link set far up", "link set lo up")
        made = BpfIpip()
        try:
            yield made
        finally:
            made.close()


def seen_by_a_new_driver() -> frozenset[Decap]:
    other = BpfIpip()
    try:
        return other.observe_decaps()
    finally:
        other.close()


def tc(*commands: str) -> str:
    return "".join(output(f"tc {command}") for command in commands)


# On the wire ---------------------------------------------------------------------------------------------------


def test_workloads_reach_each_other_by_next_hop_objects(sites: list[Site]) -> None:
    one, two, _ = sites
    assert answers(one, "10.244.2.2")
    assert answers(two, "10.244.1.2")
    assert answers(one, "10.244.2.3"), "the far node's tunnel address"


def test_a_packet_may_leave_by_another_tunnel_than_it_came(sites: list[Site]) -> None:
    one, _, three = sites
    one.via(2, 3)
    three.via(2, 1)
    try:
        answered = ping(one, "10.244.3.2", "-c", "1")
        assert answered.returncode == 0
        assert "ttl=61" in answered.stdout, "one router more than straight on"
    finally:
        one.via(3, 3)
        three.via(1, 1)


def test_a_full_packet_passes_undivided_and_a_larger_one_is_answered(sites: list[Site]) -> None:
    one = sites[0]
    assert answers(one, "10.244.2.2", "-M", "do", "-s", str(1480 - 28))
    netns.ip(["link set eth0 mtu 1500"], one.workload)
    try:
        answer = ping(one, "10.244.2.2", "-c", "1", "-M", "do", "-s", str(1481 - 28))
    finally:
        netns.ip(["link set eth0 mtu 1480"], one.workload)
    assert "Frag needed" in answer.stdout
    assert "mtu = 1480" in answer.stdout


def test_a_divided_packet_arrives_whole(sites: list[Site]) -> None:
    assert answers(sites[0], "10.244.2.2", "-M", "dont", "-s", "4000")


def test_the_first_packet_is_not_lost_while_the_neighbour_is_asked_for(sites: list[Site]) -> None:
    netns.ip(["neigh flush dev eth0"], sites[0].namespace)
    assert answers(sites[0], "10.244.2.2")


@pytest.mark.parametrize(
    ("fragment", "tos", "outer_tos"),
    [(DF, 0, 0), (0, 0, 0), (0, 0xB8, 0), (0, 1, 1), (0, 2, 2), (0, 3, 2)],
    ids=["DF", "no DF", "DSCP is not copied", "ECT(1)", "ECT(0)", "CE becomes ECT(0)"],
)
def test_the_outer_header_is_that_of_the_kernels_own_ipip(
    sites: list[Site], fragment: int, tos: int, outer_tos: int
) -> None:
    one, two, _ = sites
    inner = ipv4("10.244.1.2", "10.244.2.2", udp(PORT, b"x"), tos=tos, fragment=fragment)
    with _on_the_wire(two) as wire, raw_socket(one.workload) as sender:
        sender.sendto(inner, ("10.244.2.2", 0))
        packet = next(wire)
    version, seen_tos, length, _, seen_fragment, ttl, _, _, source, destination = struct.unpack_from(
        "!BBHHHBBH4s4s", packet
    )
    assert (version, seen_tos, length, seen_fragment, ttl) == (0x45, outer_tos, len(packet), fragment, 63)
    assert (source, destination) == (bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)))
    assert packet[20:][12:] == inner[12:], "all behind TTL and checksum"


def test_the_outer_checksum_is_right_for_any_packet(sites: list[Site]) -> None:
    one, two, _ = sites
    numbers = range(1, 0x10000, 0x0801)
    with _on_the_wire(two) as wire, raw_socket(one.workload) as sender:
        for number in numbers:
            inner = ipv4("10.244.1.2", "10.244.2.2", udp(PORT, b"x"), number=number)
            sender.sendto(inner, ("10.244.2.2", 0))
            header = struct.unpack_from("!10H", next(wire))
            assert (header[2], sum(header) % 0xFFFF) == (number, 0)


@contextmanager
def _on_the_wire(site: Site) -> Iterator[Iterator[bytes]]:
    """The IPIP packets that arrive at the node."""
    with netns.open_socket(site.namespace, socket.AF_PACKET, socket.SOCK_DGRAM) as tap:
        yield _ipip_packets(tap, "eth0")


def _ipip_packets(tap: socket.socket, link: str) -> Iterator[bytes]:
    tap.bind((link, 3))  # ETH_P_ALL: before the programs see them
    tap.settimeout(5)
    return (
        packet
        for packet, (_, _, direction, *_) in iter(lambda: tap.recvfrom(2000), None)
        if direction != socket.PACKET_OUTGOING and packet[0] == 0x45 and packet[9] == 4
    )


def test_only_sources_that_are_named_get_in(sites: list[Site]) -> None:
    with udp_socket(sites[0].workload, "10.244.1.2", PORT) as receiver, raw_socket(_bridge(sites)) as sender:
        for source, word in ((NO_MEMBER, b"no member"), ("10.0.0.3", b"node")):
            inner = ipv4("10.244.3.2", "10.244.1.2", udp(PORT, word))
            sender.sendto(ipv4(source, "10.0.0.1", inner, protocol=4), ("10.0.0.1", 0))
        # Had the first got in, it would be here before the second.
        assert receiver.recv(100) == b"node"


def test_what_is_sent_to_another_address_of_the_node_gets_in_by_the_same_rule(sites: list[Site]) -> None:
    one, *_ = sites
    netns.ip(["address add 10.0.0.21/24 dev eth0"], one.namespace)
    one.put_decap(one.decap._replace(also=(Address.parse("10.0.0.21"),)))
    with udp_socket(one.workload, "10.244.1.2", PORT) as receiver, raw_socket(_bridge(sites)) as sender:
        for source, word in ((NO_MEMBER, b"no member"), ("10.0.0.3", b"node")):
            inner = ipv4("10.244.3.2", "10.244.1.2", udp(PORT, word))
            sender.sendto(ipv4(source, "10.0.0.21", inner, protocol=4), ("10.0.0.21", 0))
        assert receiver.recv(100) == b"node"


def test_what_goes_through_is_counted_and_the_count_outlives_the_programs(sites: list[Site]) -> None:
    def counted(site: Site) -> Traffic:
        found = site.inside(traffic.read).get("tunl0")
        assert found is not None
        return found

    one, two, _ = sites
    before = [counted(one), counted(two)]
    assert answers(one, "10.244.2.2", "-c", "1", "-s", "972")  # 1000 bytes with their IP header
    with raw_socket(_bridge(sites)) as sender:
        sender.sendto(ipv4(NO_MEMBER, "10.0.0.1", ipv4("10.244.3.2", "10.244.1.2", b""), protocol=4), ("10.0.0.1", 0))
    one.put_decap(one.decap._replace(sources=()))
    one.put()
    with_new_driver = one.inside(BpfIpip)
    with_new_driver.close()
    after = [counted(one), counted(two)]
    changes = [
        tuple((now or 0) - (then or 0) for now, then in zip(*(traffic[:5] for traffic in pair), strict=True))
        for pair in zip(after, before, strict=True)
    ]
    assert changes == [(1, 1000, 1, 1000, 1), (1, 1000, 1, 1000, 0)]


def _bridge(sites: list[Site]) -> str:
    return sites[0].namespace.replace("-n1", "-bridge")


def test_udp_in_one_large_piece_arrives_in_its_segments(sites: list[Site]) -> None:
    one = sites[0]
    segment_bytes, count = 1400, 40
    for origin in (one.workload, one.namespace):
        with udp_socket(sites[1].workload, "10.244.2.2", PORT) as receiver, udp_socket(origin) as sender:
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            sender.setsockopt(socket.IPPROTO_UDP, 103, segment_bytes)  # UDP_SEGMENT
            sender.sendto(os.urandom(segment_bytes * count), ("10.244.2.2", PORT))
            assert [len(receiver.recv(2000)) for _ in range(count)] == [segment_bytes] * count


# Lifetimes -----------------------------------------------------------------------------------------------------

_MAKER = """
import sys
from bgpctl.core.net.addresses import Address
from tests.contract.ipip_rig import TUNNEL
from bgpctl.kernel.ipip.bpf import BpfIpip
from bgpctl.core.net.objects import Decap
wanted = Decap("tunl0", "eth0", Address.parse("10.0.0.1"), tuple(map(Address.parse, sys.argv[1:])))
driver = BpfIpip()
driver.put_link(TUNNEL)
driver.put_decap(wanted)
print("done" if driver.observe_decaps() == {wanted} else "not seen", flush=True)
sys.stdin.read()
"""


@contextmanager
def made_by_another_process(site: Site, *sources: str, prefix: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    command = ("ip", "netns", "exec", site.namespace, *prefix, sys.executable, "-c", _MAKER, *sources)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        try:
            assert maker.stdout.readline() == "done\n"
            yield maker
        finally:
            maker.kill()


@contextmanager
def no_packet_lost(site: Site, destination: str, count: int) -> Iterator[None]:
    """500 packets a second while the block runs; it must take less time than they do."""
    command = ("ip", "netns", "exec", site.workload, "ping", "-q", "-i", "0.002", "-c", str(count), "-W", "1")
    with subprocess.Popen((*command, destination), stdout=subprocess.PIPE, text=True) as stream:
        yield
        assert stream.poll() is None, "the packets ended too early"
        output, _ = stream.communicate()
    assert f"{count} packets transmitted, {count} received" in output


def routing(site: Site) -> str:
    return "".join(site.shell(command) for command in ("ip nexthop", "ip route", "ip addr show tunl0"))


def test_a_maker_that_is_killed_and_a_new_one_lose_no_packet_no_route_and_no_next_hop(sites: list[Site]) -> None:
    one, two, _ = sites
    before = routing(one)
    assert "10.244.2.0/26 nhid" in before
    with no_packet_lost(two, "10.244.1.2", 1500):
        for _ in range(2):
            with made_by_another_process(one, "10.0.0.2") as maker:
                maker.send_signal(signal.SIGKILL)
                maker.wait()
            assert routing(one) == before
            assert one.inside(seen_by_a_new_driver) == {one.decap._replace(sources=one.decap.sources[:1])}
            one.put()


def test_programs_are_replaced_without_losing_a_packet(sites: list[Site]) -> None:
    one, two, _ = sites
    tunnel = one.driver._all()["tunl0"]
    with no_packet_lost(two, "10.244.1.2", 1500):
        for number in range(30):
            one.put_decap(one.decap._replace(sources=(*one.decap.sources, Address(4, number))))
            one.driver._send_from(tunnel, LOCAL)
    one.put()


def test_without_cap_sys_admin_it_works_and_knows_what_it_put(sites: list[Site]) -> None:
    one, two, _ = sites
    few = ("setpriv", "--bounding-set", "-all,+net_admin,+bpf,+dac_override")
    with made_by_another_process(one, "10.0.0.2", prefix=few):
        assert answers(two, "10.244.1.2")
    one.put()


# Observation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sources", [(), DECAP.sources, tuple(Address(4, 0xAC100000 + n) for n in range(3000))])
def test_a_new_driver_sees_whom_an_earlier_one_let_in(driver: BpfIpip, sources: tuple[Address, ...]) -> None:
    wanted = DECAP._replace(sources=sources, also=(Address.parse("10.0.0.9"),))
    driver.put_link(TUNNEL)
    driver.put_decap(wanted)
    assert driver.recognises("tunl0", "veth")
    assert seen_by_a_new_driver() == driver.observe_decaps() == {wanted}


def test_a_driver_sees_what_another_put_since(driver: BpfIpip) -> None:
    driver.put_link(TUNNEL)
    driver.put_decap(DECAP)
    changed = DECAP._replace(sources=())
    other = BpfIpip()
    other.put_decap(changed)
    other.close()
    assert driver.observe_decaps() == {changed}


def test_the_allow_list_of_a_program_cannot_be_changed() -> None:
    allowed = syscalls.hash_map({b"\0\0\0\1": b"\1"}, key_bytes=4, value_bytes=1)
    try:
        with pytest.raises(PermissionError):
            syscalls._update(allowed, b"\0\0\0\1", b"\2")
    finally:
        os.close(allowed)


def test_nothing_is_sent_before_it_is_known_from_where_nor_without_a_gateway(driver: BpfIpip) -> None:
    driver.put_link(TUNNEL)
    output("sysctl -qw net.ipv4.conf.tunl0.forwarding=1")
    netns.ip(
        [
            "addr add 10.0.0.1/24 dev eth0",
            "addr add 10.245.1.0/32 dev tunl0",
            "neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0",
            "route add 10.245.2.0/26 via 10.0.0.2 dev tunl0 onlink",
            "route add 10.245.3.0/26 dev tunl0",
        ]
    )
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as tap,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        wire = _ipip_packets(tap, "far")
        sender.sendto(b"from nowhere", ("10.245.2.1", PORT))
        driver.put_decap(DECAP)
        sender.sendto(b"no gateway", ("10.245.3.1", PORT))
        sender.sendto(b"all is known", ("10.245.2.1", PORT))
        assert next(wire).endswith(b"all is known")


def test_putting_the_same_again_changes_nothing(driver: BpfIpip) -> None:
    def put() -> tuple[str, tuple[ingress.Receiver, ...]]:
        driver.put_link(TUNNEL)
        driver.put_decap(DECAP)
        return tc("filter show dev tunl0 egress"), receivers()

    first = put()
    sender, (receiver,) = first
    assert re.findall(r"bgpctl-(\w+)-10.0.0.1", sender + receiver.name) == ["encap", "decap"]
    assert put() == first


def test_another_underlay_takes_the_place_of_the_first(driver: BpfIpip) -> None:
    driver.put_link(TUNNEL)
    driver.put_decap(DECAP)
    moved = DECAP._replace(underlay="far")
    links = driver._all()
    driver._receive(links["tunl0"], links["tunl0-end"], links["far"], moved)  # a driver that dies here leaves both
    assert seen_by_a_new_driver() == frozenset()
    driver.put_decap(moved)
    assert seen_by_a_new_driver() == {moved}
    assert [receiver.link for receiver in receivers()] == [links["far"].number]


def test_what_an_earlier_version_had_on_a_clsact_is_replaced(driver: BpfIpip) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tcx, "attach", _not_yet)
        driver.put_link(TUNNEL)
        driver.put_decap(DECAP)
    assert seen_by_a_new_driver() == {DECAP}
    changed = DECAP._replace(sources=())
    driver.put_decap(changed)
    assert seen_by_a_new_driver() == {changed}
    assert len(receivers()) == 1


def test_a_device_whose_sending_program_is_of_an_earlier_version_goes_on_sending(driver: BpfIpip) -> None:
    """It is not recognised, so that it is put again; between that and its Decap packets still leave."""
    with pytest.MonkeyPatch.context() as earlier:
        earlier.setattr(ipip_bpf, "_named", lambda role, local, _: f"{hook.NAME_PREFIX}{role}-{local}-0123456789ab")
        driver.put_link(TUNNEL)
        driver.put_decap(DECAP)
    assert not driver.recognises("tunl0", "veth")
    driver.put_link(TUNNEL)
    assert driver.recognises("tunl0", "veth")
    assert f"encap-{LOCAL}-" in tc("filter show dev tunl0 egress")


def test_a_program_without_a_label_goes_too(driver: BpfIpip) -> None:
    """The device on which it was labelled was deleted by hand."""
    driver.put_link(TUNNEL)
    driver.put_decap(DECAP)
    output("ip link del tunl0")
    assert [decap.underlay for decap in ipip_bpf.left_behind(driver._netlink)] == ["eth0"]
    ipip_bpf.stop_receiving(driver._netlink)
    assert receivers() == ()


@pytest.mark.parametrize(
    "damage",
    [
        "tc qdisc del dev tunl0 clsact",
        "tc filter del dev tunl0 egress",
        "ip link set tunl0-end down",
        "ip link del tunl0",
    ],
)
def test_a_damaged_device_is_not_recognised_until_it_is_mended(driver: BpfIpip, damage: str) -> None:
    driver.put_link(TUNNEL)
    driver.put_decap(DECAP)
    output(damage)
    assert not driver.recognises("tunl0", "veth")
    driver.put_link(TUNNEL)
    assert driver.recognises("tunl0", "veth")
    driver.put_decap(DECAP)
    assert driver.observe_decaps() == {DECAP}
    assert "bgpctl-encap-10.0.0.1-" in tc("filter show dev tunl0 egress")


DAMAGE = {
    "tcx": ("", "tc qdisc del dev tunl0-end clsact"),
    "clsact": ("tc qdisc del dev eth0 clsact", "tc filter del dev eth0 ingress"),
}


@pytest.mark.parametrize("number", range(3))
def test_a_damaged_decapsulation_is_not_seen_until_it_is_put_again(driver: BpfIpip, place: str, number: int) -> None:
    damage = (*DAMAGE[place], "ip link set tunl0 address 02:00:00:00:00:99")[number]
    driver.put_link(TUNNEL)
    driver.put_decap(DECAP)
    if damage:
        output(damage)
    else:
        (receiver,) = receivers()
        tcx.detach(receiver.link, receiver.program_id)
    assert seen_by_a_new_driver() == driver.observe_decaps() == frozenset()
    driver.put_decap(DECAP)
    assert seen_by_a_new_driver() == {DECAP}


def test_a_program_that_is_detached_without_a_notification_is_missing_in_the_next_observation(driver: BpfIpip) -> None:
    driver.put_link(TUNNEL)
    driver.put_decap(DECAP)
    kernel = LinuxKernel({IPIP.name: "bpf"})
    kernel.watch(lambda: None)
    assert kernel.observe().decaps == {DECAP}
    (receiver,) = receivers()
    if receiver.on_tcx:
        tcx.detach(receiver.link, receiver.program_id)
    else:
        output("tc qdisc del dev eth0 clsact")
    assert kernel.observe().decaps == frozenset()
    assert kernel.resync() is None
    kernel.close()


def test_a_program_made_for_an_earlier_device_is_not_taken_for_one_of_this(driver: BpfIpip) -> None:
    driver.put_link(TUNNEL)
    driver.put_decap(DECAP)
    output("ip link del tunl0")
    driver.put_link(TUNNEL)
    assert driver.observe_decaps() == frozenset()


def test_what_others_attached_stays_and_what_is_ours_goes(driver: BpfIpip) -> None:
    tc("qdisc add dev eth0 clsact", FOREIGN_FILTER)
    others = _on_eth0()
    driver.put_link(TUNNEL)
    driver.put_decap(DECAP)
    assert _on_eth0() != others
    for _ in range(2):
        driver.remove_decap("tunl0")
        driver.remove_link("tunl0")
    assert _on_eth0() == others
    assert "tunl0" not in output("ip link")


def _on_eth0() -> tuple[str, tuple[int, ...]]:
    return tc("filter show dev eth0 ingress"), tcx.attached(socket.if_nametoindex("eth0"))


@pytest.mark.parametrize("place", ["tcx"], indirect=True)
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_programs_of_others_on_the_same_hook_stay_as_they_are(driver: BpfIpip, order: tuple[int, ...]) -> None:
    """And a program is taken from wherever it stands among them."""
    eth0 = driver._all()["eth0"].number
    programs_by_number: dict[int, int] = {}
    for number in range(3):
        program = syscalls.load(programs.discard(), f"theirs{number}")
        programs_by_number[number] = syscalls.id_of(program)
        tcx.attach(eth0, program)
        os.close(program)
    running = list(tcx.attached(eth0))
    for number in order:
        tcx.detach(eth0, programs_by_number[number])
        tcx.detach(eth0, programs_by_number[number])
        running.remove(programs_by_number[number])
        assert list(tcx.attached(eth0)) == running
        driver.put_link(TUNNEL)
        driver.put_decap(DECAP)
        driver.remove_decap("tunl0")
        assert list(tcx.attached(eth0)) == running


@pytest.mark.parametrize("place", ["clsact"], indirect=True)
def test_a_foreign_filter_in_our_place_is_left_alone(driver: BpfIpip) -> None:
    eth0 = driver._all()["eth0"]
    program = syscalls.load(programs.discard(), "foreign")
    hook.attach(driver._netlink, eth0.number, hook.INGRESS, program, "foreign")
    os.close(program)
    driver.put_link(TUNNEL)
    with pytest.raises(OSError, match="has the filter foreign of another program"):
        driver.put_decap(DECAP)
    driver.remove_decap("tunl0")
    assert "foreign" in tc("filter show dev eth0 ingress")


def test_a_foreign_device_is_left_alone(driver: BpfIpip) -> None:
    output("ip tuntap add tunl0 mode tun")
    with pytest.raises(OSError, match="a device of another program") as error:
        driver.put_link(TUNNEL)
    assert error.value.errno == errno.EEXIST
    assert not driver.recognises("tunl0", "tun")


def test_a_tagged_frame_is_left_to_vlan_devices(driver: BpfIpip) -> None:
    output("ip link set eth0 address 02:00:00:00:00:08")
    driver.put_link(TUNNEL)
    driver.put_decap(DECAP)
    tagged = frame(struct.pack("!HH", 7, 0x0800) + outer(source="10.0.0.4"), to=b"\2\0\0\0\0\x08", kind=0x8100)
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as receiver,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender,
    ):
        receiver.bind(("eth0", 0x0800))  # behind the programs
        receiver.settimeout(5)
        sender.bind(("far", 0))
        sender.send(tagged)
        assert receiver.recv(2000) == outer(source="10.0.0.4")


def test_an_underlay_without_ethernet_is_refused(driver: BpfIpip) -> None:
    output("ip tuntap add wg0 mode tun")
    driver.put_link(TUNNEL)
    with pytest.raises(OSError, match="wg0 has no Ethernet header"):
        driver.put_decap(DECAP._replace(underlay="wg0"))


def test_without_privilege_the_error_names_what_is_missing() -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(OSError, match="CAP_BPF and CAP_NET_ADMIN"):
            BpfIpip()
    finally:
        os.seteuid(0)


# The program that lets in, run on single packets without any network --------------------------------------------

TUNNEL_MAC = bytes.fromhex("020000000004")
INNER = ipv4("10.244.2.2", "10.244.1.2", udp(PORT, b"inner"))


@pytest.fixture(scope="module")
def decapsulate() -> Iterator[int]:
    """The program, letting in 10.0.0.2. Packets of a test run come in by lo, whose MAC is all zeros."""
    roles = {bytes((10, 0, 0, 2)): programs.SOURCE, LOCAL.packed: programs.OWN}
    known = syscalls.hash_map({key: bytes([role]) for key, role in roles.items()}, key_bytes=4, value_bytes=1)
    counters = syscalls.value_map(programs.COUNTERS_BYTES)
    program = syscalls.load(programs.decapsulate(1, TUNNEL_MAC, known, counters), "test")
    yield program
    for opened in (program, known, counters):
        os.close(opened)


def frame(packet: bytes, *, to: bytes = bytes(6), kind: int = 0x0800) -> bytes:
    return to + b"\2\0\0\0\0\x09" + struct.pack("!H", kind) + packet


def outer(payload: bytes = INNER, *, source: str = "10.0.0.2", to: str = "10.0.0.1", **fields: int) -> bytes:
    return ipv4(source, to, payload, **{"protocol": 4, **fields})


def with_ecn(packet: bytes, ecn: int) -> bytes:
    """Without mending the checksum."""
    return packet[:1] + bytes((ecn,)) + packet[2:]


CAPABLE, CONGESTED = 2, 3


@pytest.mark.parametrize(
    ("packet", "verdict"),
    [
        (frame(outer()), programs.REDIRECT),
        (frame(outer(source="10.0.0.4")), programs.DROP),
        (frame(outer(source="0.0.0.0")), programs.DROP),
        (frame(outer(b"\x60" + bytes(39))), programs.DROP),
        (frame(b"\x46" + outer()[1:20] + bytes(4) + INNER), programs.DROP),
        (frame(outer(with_ecn(INNER, 0), tos=CONGESTED)), programs.DROP),
        (frame(outer(with_ecn(INNER, CAPABLE), tos=CONGESTED)), programs.REDIRECT),
        (frame(outer(to="10.0.0.4")), programs.NEXT_FILTER),
        (frame(outer(protocol=17)), programs.NEXT_FILTER),
        (frame(outer(fragment=0x2000)), programs.NEXT_FILTER),
        (frame(outer(fragment=5)), programs.NEXT_FILTER),
        (frame(outer(), to=b"\2\0\0\0\0\x08"), programs.NEXT_FILTER),
        (frame(outer(), to=b"\xff" * 6), programs.NEXT_FILTER),
        (frame(outer(), kind=0x86DD), programs.NEXT_FILTER),
        (frame(struct.pack("!HH", 7, 0x0800) + outer(), kind=0x8100), programs.NEXT_FILTER),
    ],
    ids=[
        *("a node", "no member", "no source", "IPv6 inside", "options outside"),
        *("congested without ECN", "congested with ECN"),
        *("to another", "no IPIP", "a first fragment", "a last fragment"),
        *("a frame for another", "a broadcast", "IPv6", "a VLAN"),
    ],
)
def test_what_the_decapsulating_program_decides(decapsulate: int, packet: bytes, verdict: int) -> None:
    decided, _ = syscalls.run(decapsulate, packet)
    assert struct.unpack("=i", struct.pack("=I", decided)) == (verdict,)


def test_what_gets_in_is_the_inner_packet_in_a_frame_for_the_tunnel_device(decapsulate: int) -> None:
    _, left = syscalls.run(decapsulate, frame(outer()))
    assert left == frame(INNER, to=TUNNEL_MAC)


def test_congestion_on_the_path_is_copied_to_the_inner_packet(decapsulate: int) -> None:
    inner = ipv4("10.244.2.2", "10.244.1.2", udp(PORT, b"inner"), tos=CAPABLE)
    _, left = syscalls.run(decapsulate, frame(outer(inner, tos=CONGESTED)))
    assert left == frame(ipv4("10.244.2.2", "10.244.1.2", udp(PORT, b"inner"), tos=CONGESTED), to=TUNNEL_MAC)


def test_a_refused_program_comes_with_the_verifiers_words() -> None:
    with pytest.raises(OSError, match="R0 !read_ok"):
        syscalls.load(bytes.fromhex("9500000000000000"), "broken")
