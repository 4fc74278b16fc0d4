"""From intent and paths to kernel objects, case by case."""

from dataclasses import replace

import pytest

from bgpctl.core.cluster import Backend, Intent, Mode, Pool
from bgpctl.core.fabric import derive
from bgpctl.core.fabric.desired import Desired, Slot, next_hop_ids
from bgpctl.core.model import (
    Address,
    Dataplane,
    Decap,
    InterfaceAddress,
    Ipip,
    Link,
    LinkAddress,
    NextHop,
    Plain,
    Prefix,
    Route,
    RouteType,
    Vni,
    Vxlan,
    vtep_mac,
)
from bgpctl.core.rib import Candidate, Choice, Received
from bgpctl.core.why import Hold, Lack
from tests.cluster import bare_kernel, learned_from_all, member, path, two_racks


def derived(intent: Intent, name: str = "a1", observed: Dataplane | None = None) -> Desired:
    here = member(intent, name)
    choices = () if intent.backend is Backend.VXLAN else learned_from_all(intent, here)
    return derive(intent, here, {}, choices, observed or bare_kernel(here))


def ways(desired: Desired) -> dict[str, tuple[str, str]]:
    """prefix -> (via, dev) of every unicast route."""
    hops = {hop.id: hop for hop in desired.dataplane.next_hops}
    used = {str(r.prefix): hops[r.next_hop] for r in desired.dataplane.routes if r.next_hop}
    return {prefix: (str(hop.gateway), hop.link) for prefix, hop in sorted(used.items())}


IPIP, VXLAN, DIRECT = "tunl0", "vxlan.bgpctl", "eth0"


@pytest.mark.parametrize(
    ("intent", "expected"),
    [
        (
            two_racks(ipip=Mode.CROSS_SUBNET),
            {
                "10.244.2.0/26": ("10.0.0.2", DIRECT),
                "10.244.3.0/26": ("10.1.0.3", IPIP),
                "10.244.4.0/26": ("10.1.0.4", IPIP),
            },
        ),
        (
            two_racks(ipip=Mode.ALWAYS),
            {
                "10.244.2.0/26": ("10.0.0.2", IPIP),
                "10.244.3.0/26": ("10.1.0.3", IPIP),
                "10.244.4.0/26": ("10.1.0.4", IPIP),
            },
        ),
        (
            two_racks(vxlan=Mode.CROSS_SUBNET, backend=Backend.VXLAN),
            {
                "10.244.2.0/26": ("10.0.0.2", DIRECT),
                "10.244.3.0/26": ("10.244.3.0", VXLAN),
                "10.244.4.0/26": ("10.244.4.0", VXLAN),
            },
        ),
        (
            two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN),
            {
                "10.244.2.0/26": ("10.244.2.0", VXLAN),
                "10.244.3.0/26": ("10.244.3.0", VXLAN),
                "10.244.4.0/26": ("10.244.4.0", VXLAN),
            },
        ),
        (
            two_racks(),
            {
                "10.244.2.0/26": ("10.0.0.2", DIRECT),
                "10.244.3.0/26": ("10.0.0.254", DIRECT),
                "10.244.4.0/26": ("10.0.0.254", DIRECT),
            },
        ),
    ],
    ids=["ipip-cross-subnet", "ipip-always", "vxlan-cross-subnet", "vxlan-always", "no-encapsulation"],
)
def test_each_mode_sends_each_block_its_way(intent: Intent, expected: dict[str, tuple[str, str]]) -> None:
    assert ways(derived(intent)) == expected


def test_the_own_block_is_a_blackhole() -> None:
    routes = derived(two_racks(ipip=Mode.ALWAYS)).dataplane.routes
    assert [str(route.prefix) for route in routes if route.type is RouteType.BLACKHOLE] == ["10.244.1.0/26"]


def test_the_ipip_device_has_its_mtu_its_address_and_its_allow_list() -> None:
    dataplane = derived(two_racks(ipip=Mode.CROSS_SUBNET)).dataplane
    assert dataplane.links == {Link("tunl0", Ipip(), 1480)}
    assert dataplane.addresses == {LinkAddress("tunl0", InterfaceAddress.parse("10.244.1.0/32"))}
    sources = tuple(map(Address.parse, ("10.0.0.2", "10.1.0.3", "10.1.0.4")))
    assert dataplane.decaps == {Decap("tunl0", "eth0", Address.parse("10.0.0.1"), sources)}


def test_the_vxlan_device_knows_every_member() -> None:
    dataplane = derived(two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN)).dataplane
    kind = Vxlan(Vni(4096), 4789, Address.parse("10.0.0.1"), "eth0")
    assert dataplane.links == {Link("vxlan.bgpctl", kind, 1450, vtep_mac("a1"))}
    assert {(entry.mac, str(entry.remote)) for entry in dataplane.fdb} == {
        (vtep_mac("a2"), "10.0.0.2"),
        (vtep_mac("b1"), "10.1.0.3"),
        (vtep_mac("b2"), "10.1.0.4"),
    }
    assert {(str(entry.address), entry.mac) for entry in dataplane.neighbours} == {
        ("10.244.2.0", vtep_mac("a2")),
        ("10.244.3.0", vtep_mac("b1")),
        ("10.244.4.0", vtep_mac("b2")),
    }


def test_the_mtu_follows_the_underlay() -> None:
    intent = two_racks(ipip=Mode.ALWAYS)
    jumbo = derived(intent, observed=bare_kernel(member(intent, "a1"), mtu_bytes=9000)).dataplane
    assert {link.mtu_bytes for link in jumbo.links} == {8980}


def test_without_an_underlay_link_nothing_is_removed_and_the_reason_is_told() -> None:
    desired = derived(two_racks(ipip=Mode.ALWAYS), observed=Dataplane())
    assert [item.hold for item in desired.withheld] == [Hold.FACTS_UNKNOWN]
    assert [item.lack for item in desired.missing] == [Lack.UNDERLAY_UNKNOWN]


def test_a_remote_that_no_route_leads_to_is_missing_with_its_pool() -> None:
    intent = two_racks()
    here = member(intent, "a1")
    kernel = bare_kernel(here)
    cut_off = Dataplane(links=kernel.links, addresses=kernel.addresses)
    desired = derive(intent, here, {}, learned_from_all(intent, here), cut_off)
    assert [(item.lack, item.subject, item.detail) for item in desired.missing] == [
        (Lack.NEXT_HOP_UNRESOLVED, "10.1.0.3", "pool blue"),
        (Lack.NEXT_HOP_UNRESOLVED, "10.1.0.4", "pool blue"),
    ]


def test_an_ipv6_pool_is_not_routed_and_that_is_told() -> None:
    intent = two_racks(ipip=Mode.ALWAYS)
    six = Pool("six", Prefix.parse("fd00:244::/48"), vxlan_mode=Mode.ALWAYS)
    a1, *others = intent.nodes
    block = Prefix.parse("fd00:244::/122")
    both = replace(intent, pools=(*intent.pools, six), nodes=(replace(a1, blocks=(*a1.blocks, block)), *others))
    desired = derived(both)
    assert desired.dataplane == derived(intent).dataplane
    assert [(item.lack, item.subject) for item in desired.missing] == [(Lack.IPV6_POOL, "six")]


def test_the_way_to_a_remote_is_found_through_another_programs_next_hop_object() -> None:
    intent = two_racks()
    here = member(intent, "a1")
    kernel = bare_kernel(here)
    by_frr = NextHop(12, "eth0", Address.parse("10.0.0.253"), onlink=False, protocol=11)
    route = Route(Prefix.parse("10.1.0.0/24"), next_hop=12, metric=20, protocol=11)
    routed = replace(kernel, next_hops=frozenset({by_frr}), routes=kernel.routes | {route})
    assert ways(derived(intent, observed=routed))["10.244.4.0/26"] == ("10.0.0.253", DIRECT)


def test_every_wanted_object_has_a_reason() -> None:
    desired = derived(two_racks(ipip=Mode.CROSS_SUBNET))
    assert len(desired.why) == len(list(desired.dataplane))


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        (
            Route(Prefix.parse("10.1.0.0/24"), gateway=Address.parse("10.9.0.254"), link="eth1", metric=0, protocol=4),
            1400,
        ),
        (Route(Prefix.parse("10.1.0.0/24"), link="eth1", metric=5000, protocol=4), 1400),
        (Route(Prefix.parse("10.1.0.0/25"), next_hop=7, protocol=4), 1400),
        (Route(Prefix.parse("10.2.0.0/24"), link="eth1", protocol=4), 1500),
        (Route(Prefix.parse("10.1.0.0/24"), link="eth1", table=100, protocol=4), 1500),
        (Route(Prefix.parse("10.1.0.0/24"), link="eth1"), 1500),
    ],
    ids=["by a gateway", "on link", "by next-hop object", "elsewhere", "in another table", "ours"],
)
def test_the_mtu_of_tunnels_is_that_of_the_links_by_which_outer_packets_leave(way: Route, expected: int) -> None:
    intent = two_racks(ipip=Mode.CROSS_SUBNET)
    kernel = bare_kernel(member(intent, "a1"))
    eth1 = Link("eth1", Plain("veth"), 1400, owned=False)
    hops = frozenset({NextHop(7, "eth1", Address.parse("10.9.0.254"), onlink=False, protocol=4)})
    kernel = replace(kernel, links=kernel.links | {eth1}, next_hops=hops, routes=kernel.routes | {way})
    tunnel = derived(intent, observed=kernel).dataplane.link("tunl0")
    assert tunnel is not None
    assert tunnel.mtu_bytes == expected - 20


def ecmp(intent: Intent, prefix: str, *owners: str) -> Desired:
    """a1's wishes when all `owners` announce the prefix and the paths are equally good."""
    here = member(intent, "a1")
    remotes = [member(intent, name).address.address for name in owners]
    best, *also = (
        Candidate(peer, intent.asn, internal=True, received=Received(path(prefix, peer), 0)) for peer in remotes
    )
    return derive(intent, here, {}, [Choice(best, also=tuple(also))], bare_kernel(here))


def test_equal_paths_make_a_group_of_their_next_hops() -> None:
    desired = ecmp(two_racks(ipip=Mode.CROSS_SUBNET), "10.244.9.0/26", "a2", "b1").dataplane
    (group,) = desired.groups
    hops = {hop.id: (str(hop.gateway), hop.link) for hop in desired.next_hops}
    assert sorted(hops[number] for number in group.members) == [("10.0.0.2", DIRECT), ("10.1.0.3", IPIP)]
    assert Route(Prefix.parse("10.244.9.0/26"), next_hop=group.id) in desired.routes
    assert group.id >> 24 == 0x43


def test_the_id_of_a_group_depends_on_its_members_alone() -> None:
    intent = two_racks(ipip=Mode.ALWAYS)
    one, other = (ecmp(intent, "10.244.9.0/26", *owners).dataplane.groups for owners in (("a2", "b1"), ("b1", "a2")))
    assert one == other
    assert one != ecmp(intent, "10.244.9.0/26", "a2", "b2").dataplane.groups


def test_next_hop_ids_depend_on_the_slots_alone() -> None:
    slots = [Slot(Prefix.parse("10.244.0.0/16"), Address(4, value)) for value in range(2000)]
    ids = next_hop_ids(slots)
    assert next_hop_ids(reversed(slots)) == ids
    assert len(set(ids.values())) == 2000
    assert all(number >> 24 == 0x42 for number in ids.values())


def test_an_encapsulation_change_keeps_the_next_hop_ids() -> None:
    before = derived(two_racks(ipip=Mode.ALWAYS)).dataplane
    after = derived(two_racks()).dataplane
    assert {hop.id for hop in before.next_hops} == {hop.id for hop in after.next_hops}
    assert before.routes == after.routes
    assert all(isinstance(hop, NextHop) for hop in after.next_hops)
