"""From intent and paths to kernel objects, case by case."""

from dataclasses import replace

import pytest

from bgpctl.core.bgp.decision import Candidate, Choice
from bgpctl.core.bgp.received import Received
from bgpctl.core.cluster import encapsulation
from bgpctl.core.cluster.allocations import TunnelAddress
from bgpctl.core.cluster.configuration import Backend, Pool
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import PruneHoldCode, UnmetCode
from bgpctl.core.dataplane.plan import plan
from bgpctl.core.fabric import derive, encapsulation_to
from bgpctl.core.fabric.desired import Desired, NextHopKey, next_hop_ids
from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.fabric.vxlan import Vxlan
from bgpctl.core.net.addresses import (
    Address,
    InterfaceAddress,
    Prefix,
    Vni,
    vtep_mac,
)
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Decap, Link, LinkAddress, NextHop, NextHopGroup, Plain, Route, RouteType
from tests.cluster import (
    allocated,
    bare_kernel,
    blocks,
    derived,
    learned_from_all,
    member,
    node,
    path,
    prefixes,
    two_racks,
)
from tests.kernel_text import assert_same


def next_hops_of(desired: Desired) -> dict[str, tuple[str, str]]:
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
def test_each_mode_sends_each_block_by_its_link(intent: Intent, expected: dict[str, tuple[str, str]]) -> None:
    assert next_hops_of(derived(intent)) == expected


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


@pytest.mark.parametrize(
    ("underlay", "ipip", "vxlan"),
    [
        (1500, 1480, 1450),
        (9000, 8980, 8950),
        (9001, 8981, 8951),
        (1460, 1440, 1410),
        (1450, 1430, 1400),
    ],
    ids=["ethernet", "jumbo", "aws", "gce", "openstack"],
)
def test_the_mtu_of_a_tunnel_is_that_of_the_underlay_less_its_headers(underlay: int, ipip: int, vxlan: int) -> None:
    for intent, mtu_bytes in ((two_racks(ipip=Mode.ALWAYS), ipip), (two_racks(vxlan=Mode.ALWAYS), vxlan)):
        kernel = bare_kernel(member(intent, "a1"), mtu_bytes=underlay)
        assert {link.mtu_bytes for link in derived(intent, observed=kernel).dataplane.links} == {mtu_bytes}


def test_a_given_mtu_is_taken_and_that_of_a_tunnel_before_that_of_workloads() -> None:
    ipip = replace(two_racks(ipip=Mode.ALWAYS), ipip_mtu=1400, workload_mtu=1300)
    vxlan = replace(two_racks(vxlan=Mode.ALWAYS), workload_mtu=1300)
    assert {link.mtu_bytes for link in derived(ipip).dataplane.links} == {1400}
    assert {link.mtu_bytes for link in derived(vxlan).dataplane.links} == {1300}


@pytest.mark.parametrize(
    ("local", "remote", "same"),
    [
        ("10.0.0.1/24", "10.0.0.2/24", True),
        ("10.0.0.1/24", "10.0.1.2/24", False),
        ("10.0.0.1/16", "10.0.1.2/24", True),
        ("10.0.1.2/24", "10.0.0.1/16", False),
        ("10.0.0.1/32", "10.0.0.2/24", False),
        ("10.0.0.1/24", "10.0.0.2/32", True),
        ("10.0.0.0/31", "10.0.0.1/31", True),
        ("10.0.0.1/0", "192.0.2.1/24", True),
    ],
)
def test_same_subnet_is_asked_of_the_local_mask_alone(local: str, remote: str, *, same: bool) -> None:
    pool = Pool("p", Prefix.parse("10.244.0.0/16"), encapsulation.IPIP, Mode.CROSS_SUBNET)
    here, there = node("a", local), InterfaceAddress.parse(remote).address
    assert encapsulation_to(pool, here, there) == (encapsulation.DIRECT if same else encapsulation.IPIP)


def borrowing(intent: Intent) -> Intent:
    """b1 uses an address of a2's block."""
    return allocated(intent, "b1", borrowed=prefixes("10.244.2.9/32"))


@pytest.mark.parametrize(
    ("intent", "expected"),
    [
        (two_racks(ipip=Mode.CROSS_SUBNET), ("10.1.0.3", IPIP)),
        (two_racks(vxlan=Mode.CROSS_SUBNET, backend=Backend.VXLAN), ("10.244.3.0", VXLAN)),
    ],
    ids=["ipip", "vxlan"],
)
def test_a_borrowed_address_leads_to_the_borrower_also_from_the_owner_of_its_block(
    intent: Intent, expected: tuple[str, str]
) -> None:
    borrowed = borrowing(intent)
    for name in ("a1", "a2"):
        assert next_hops_of(derived(borrowed, name))["10.244.2.9/32"] == expected
    assert "10.244.2.9/32" not in next_hops_of(derived(borrowed, "b1"))


def test_the_owner_can_reach_a_borrowed_address_before_the_rest_of_its_block_is_a_blackhole() -> None:
    intent = borrowing(two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN))
    desired = derived(intent, "a2")
    routes = [
        op.object.prefix for op in plan(desired, bare_kernel(member(intent, "a2"))).ops if isinstance(op.object, Route)
    ]
    assert routes.index(Prefix.parse("10.244.2.9/32")) < routes.index(Prefix.parse("10.244.2.0/26"))


def test_a_tunnel_address_from_another_nodes_block_leads_to_the_node_that_has_it() -> None:
    intent = two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN)
    end = TunnelAddress(encapsulation.VXLAN, Address.parse("10.244.2.1"))
    given = allocated(intent, "b1", tunnel_addresses=frozenset({end}))
    found = next_hops_of(derived(given, "a2"))
    assert (found["10.244.2.1/32"], found["10.244.3.0/26"]) == (("10.244.2.1", VXLAN),) * 2


def test_a_disabled_pool_is_routed_like_any_other() -> None:
    intent = two_racks(ipip=Mode.ALWAYS)
    disabled = replace(intent, pools=tuple(replace(pool, disabled=True) for pool in intent.pools))
    assert_same(derived(disabled).dataplane, derived(intent).dataplane)


def test_pools_of_three_kinds_stand_side_by_side() -> None:
    pools = (
        Pool("bare", Prefix.parse("10.250.0.0/16")),
        Pool("ipip", Prefix.parse("10.251.0.0/16"), encapsulation.IPIP, Mode.ALWAYS),
        Pool("vxlan", Prefix.parse("10.252.0.0/16"), encapsulation.VXLAN, Mode.ALWAYS),
    )
    intent = Intent(
        pools=pools,
        nodes=(node("a1", "10.0.0.1/24"), node("b1", "10.1.0.3/24")),
        allocations=blocks(
            a1=["10.250.1.0/26", "10.251.1.0/26", "10.252.1.0/26"],
            b1=["10.250.3.0/26", "10.251.3.0/26", "10.252.3.0/26"],
        ),
    )
    assert next_hops_of(derived(intent)) == {
        "10.250.3.0/26": ("10.0.0.254", DIRECT),
        "10.251.3.0/26": ("10.1.0.3", IPIP),
        "10.252.3.0/26": ("10.252.3.0", VXLAN),
    }


def test_without_an_underlay_link_nothing_is_removed_and_the_reason_is_reported() -> None:
    desired = derived(two_racks(ipip=Mode.ALWAYS), observed=Dataplane())
    assert [item.code for item in desired.prune_holds] == [PruneHoldCode.FACTS_UNKNOWN]
    assert [item.code for item in desired.unmet] == [UnmetCode.UNDERLAY_UNKNOWN]


def test_a_remote_that_no_route_leads_to_is_missing_with_its_pool() -> None:
    intent = two_racks()
    here = member(intent, "a1")
    kernel = bare_kernel(here)
    cut_off = kernel.drop(kernel.routes)
    desired = derive(intent, here, {}, learned_from_all(intent, here), cut_off)
    assert [(item.code, item.subject, item.detail) for item in desired.unmet] == [
        (UnmetCode.NEXT_HOP_UNRESOLVED, "10.1.0.3", "pool blue"),
        (UnmetCode.NEXT_HOP_UNRESOLVED, "10.1.0.4", "pool blue"),
    ]


def test_a_remote_is_resolved_through_another_programs_next_hop_object() -> None:
    intent = two_racks()
    here = member(intent, "a1")
    kernel = bare_kernel(here)
    by_frr = NextHop(12, "eth0", Address.parse("10.0.0.253"), onlink=False, protocol=11)
    route = Route(Prefix.parse("10.1.0.0/24"), next_hop=12, metric=20, protocol=11)
    routed = kernel.put((by_frr, route))
    assert next_hops_of(derived(intent, observed=routed))["10.244.4.0/26"] == ("10.0.0.253", DIRECT)


def test_a_remote_is_resolved_through_the_first_member_of_another_programs_group() -> None:
    intent = two_racks()
    by_frr = [
        NextHop(number, "eth0", Address.parse(f"10.0.0.{number}"), onlink=False, protocol=11) for number in (52, 53)
    ]
    route = Route(Prefix.parse("10.1.0.0/24"), next_hop=54, metric=20, protocol=11)
    routed = bare_kernel(member(intent, "a1")).put((*by_frr, NextHopGroup(54, (52, 53), protocol=11), route))
    assert next_hops_of(derived(intent, observed=routed))["10.244.4.0/26"] == ("10.0.0.52", DIRECT)


def test_every_wanted_object_has_a_reason() -> None:
    desired = derived(two_racks(ipip=Mode.CROSS_SUBNET))
    assert len(desired.reasons) == len(list(desired.dataplane))


@pytest.mark.parametrize(
    ("underlay_route", "expected"),
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
def test_the_mtu_of_tunnels_is_that_of_the_links_by_which_outer_packets_leave(
    underlay_route: Route, expected: int
) -> None:
    intent = two_racks(ipip=Mode.CROSS_SUBNET)
    kernel = bare_kernel(member(intent, "a1"))
    eth1 = Link("eth1", Plain("veth"), 1400, owned=False)
    hop = NextHop(7, "eth1", Address.parse("10.9.0.254"), onlink=False, protocol=4)
    kernel = kernel.put((eth1, hop, underlay_route))
    tunnel = derived(intent, observed=kernel).dataplane.link("tunl0")
    assert tunnel is not None
    assert tunnel.mtu_bytes == expected - 20


def ecmp(intent: Intent, prefix: str, *owners: str) -> Desired:
    """The desired state of a1 when all `owners` announce the prefix and the paths are equally good."""
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
    keys = [NextHopKey(Prefix.parse("10.244.0.0/16"), Address(4, value)) for value in range(2000)]
    ids = next_hop_ids(keys)
    assert next_hop_ids(reversed(keys)) == ids
    assert len(set(ids.values())) == 2000
    assert all(number >> 24 == 0x42 for number in ids.values())


def test_an_encapsulation_change_keeps_the_next_hop_ids() -> None:
    before = derived(two_racks(ipip=Mode.ALWAYS)).dataplane
    after = derived(two_racks()).dataplane
    assert {hop.id for hop in before.next_hops} == {hop.id for hop in after.next_hops}
    assert before.routes == after.routes
    assert all(isinstance(hop, NextHop) for hop in after.next_hops)


def on_loopback(intent: Intent) -> Dataplane:
    """Node a1 with its address on lo, as nodes with several uplinks have it."""
    kernel = bare_kernel(member(intent, "a1"))
    moved = (Link("lo", Plain(""), 65536, owned=False), LinkAddress("lo", member(intent, "a1").address))
    return kernel.drop(kernel.addresses).put(moved)


@pytest.mark.parametrize("mode", [{"ipip": Mode.ALWAYS}, {"vxlan": Mode.ALWAYS, "backend": Backend.VXLAN}])
def test_an_address_on_the_loopback_device_uses_the_link_of_the_default_route(mode: dict[str, Mode]) -> None:
    intent = two_racks(**mode)  # type: ignore[arg-type]
    (tunnel,) = (link for link in derived(intent, observed=on_loopback(intent)).dataplane.links)
    assert tunnel.mtu_bytes < 1500
    decaps = derived(intent, observed=on_loopback(intent)).dataplane.decaps
    assert {*(item.underlay for item in decaps), tunnel.kind.stands_on()} - {None} == {"eth0"}


def test_an_address_on_the_loopback_device_without_a_default_route_is_reported() -> None:
    intent = two_racks(ipip=Mode.ALWAYS)
    desired = derived(intent, observed=on_loopback(intent).drop(on_loopback(intent).routes))
    assert [item.code for item in desired.unmet] == [UnmetCode.UNDERLAY_UNKNOWN]
    assert [item.code for item in desired.prune_holds] == [PruneHoldCode.FACTS_UNKNOWN]
