"""IPv6 and dual stack: from intent and paths to kernel objects, case by case."""

from dataclasses import replace

import pytest

from bgpctl.core.cluster.configuration import Backend
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import PruneHoldCode, UnmetCode
from bgpctl.core.dataplane.effects import after
from bgpctl.core.dataplane.plan import plan
from bgpctl.core.fabric import derive
from bgpctl.core.fabric.desired import Desired
from bgpctl.core.fabric.vxlan import Vxlan
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix, Vni, link_local, vtep_mac
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Link, LinkAddress, Masquerade, Route, RouteType, Sysctl
from tests.cluster import allocated, bare_kernel, learned_from_all, member, only_ipv6, prefixes, two_racks, with_ipv6

IPIP, VXLAN, VXLAN6, DIRECT = "tunl0", "vxlan.bgpctl", "vxlan-v6.bgpctl", "eth0"


def derived(intent: Intent, name: str = "a1", observed: Dataplane | None = None) -> Desired:
    here = member(intent, name)
    choices = () if intent.backend is Backend.VXLAN else learned_from_all(intent, here)
    return derive(intent, here, {}, choices, observed or bare_kernel(here))


def next_hops_of(desired: Desired, version: int = 6) -> dict[str, tuple[str, str]]:
    """prefix -> (via, dev) of every unicast route of the IP version."""
    hops = {hop.id: hop for hop in desired.dataplane.next_hops}
    used = {route.prefix: hops[route.next_hop] for route in desired.dataplane.routes if route.next_hop}
    return {str(p): (str(hop.gateway), hop.link) for p, hop in sorted(used.items()) if p.version == version}


def vtep(name: str) -> str:
    return str(link_local(vtep_mac(f"{name}-v6")))


BLOCKS = {"a2": "fd00:10:244::240/122", "b1": "fd00:10:244::340/122", "b2": "fd00:10:244::440/122"}
NEAR = ("fd00:10:a::2", DIRECT)


@pytest.mark.parametrize("stack", [lambda intent: intent, only_ipv6], ids=["dual-stack", "IPv6 only"])
@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (Mode.ALWAYS, {name: (vtep(name), VXLAN6) for name in BLOCKS}),
        (Mode.CROSS_SUBNET, {"a2": NEAR, "b1": (vtep("b1"), VXLAN6), "b2": (vtep("b2"), VXLAN6)}),
        (Mode.NEVER, {"a2": NEAR, "b1": ("fd00:10:a::fe", DIRECT), "b2": ("fd00:10:a::fe", DIRECT)}),
    ],
)
def test_each_mode_sends_each_ipv6_block_by_its_link(
    stack: object, mode: Mode, expected: dict[str, tuple[str, str]]
) -> None:
    assert callable(stack)
    intent = stack(with_ipv6(two_racks(ipip=Mode.ALWAYS), vxlan=mode))
    assert next_hops_of(derived(intent)) == {BLOCKS[name]: next_hop for name, next_hop in expected.items()}


def test_the_ipv4_side_is_the_same_with_ipv6_and_without() -> None:
    intent = two_racks(ipip=Mode.CROSS_SUBNET)
    both, alone = (derived(each).dataplane for each in (with_ipv6(intent, vxlan=Mode.ALWAYS), intent))
    assert set(alone) - alone.workload_filters <= set(both), "one filter is for both"
    assert {link.name for link in both.links - alone.links} == {VXLAN6}


def test_the_ipv6_device_has_the_vni_and_port_of_the_ipv4_one_and_a_mac_of_its_own() -> None:
    intent = with_ipv6(two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN), vxlan=Mode.ALWAYS)
    links = {link.name: link for link in derived(intent).dataplane.links}
    kind = Vxlan(Vni(4096), 4789, Address.parse("fd00:10:a::1"), "eth0")
    assert links[VXLAN6] == Link(VXLAN6, kind, 1430, intent.vtep_mac(member(intent, "a1"), 6))
    assert links[VXLAN].mtu_bytes == 1450
    assert links[VXLAN].mac != links[VXLAN6].mac


def test_the_ipv6_device_has_an_address_of_the_pool_and_knows_every_member() -> None:
    intent = with_ipv6(two_racks(), vxlan=Mode.ALWAYS)
    dataplane = derived(intent).dataplane
    assert dataplane.addresses == {LinkAddress(VXLAN6, InterfaceAddress.parse("fd00:10:244::140/128"))}
    others = [node for node in intent.nodes if node.name != "a1"]
    assert {(entry.mac, entry.remote) for entry in dataplane.fdb} == {
        (intent.vtep_mac(node, 6), node.address6.address) for node in others if node.address6
    }
    assert {(str(entry.address), entry.mac) for entry in dataplane.neighbours} == {
        (vtep(node.name), intent.vtep_mac(node, 6)) for node in others
    }


@pytest.mark.parametrize(
    ("workload_mtu", "vxlan_mtu6", "mtu_bytes"), [(0, 0, 8930), (1400, 0, 1400), (1400, 5000, 5000)]
)
def test_the_mtu_leaves_room_for_the_larger_header_or_is_as_given(
    workload_mtu: int, vxlan_mtu6: int, mtu_bytes: int
) -> None:
    intent = with_ipv6(two_racks(), vxlan=Mode.ALWAYS)
    intent = replace(intent, workload_mtu=workload_mtu, vxlan_mtu6=vxlan_mtu6)
    jumbo = bare_kernel(member(intent, "a1"), mtu_bytes=9000)
    assert {link.mtu_bytes for link in derived(intent, observed=jumbo).dataplane.links} == {mtu_bytes}


def test_an_own_ipv6_block_is_a_blackhole_with_an_explicit_metric_and_a_host_prefix_is_none() -> None:
    intent = with_ipv6(two_racks(), vxlan=Mode.ALWAYS)
    own = (*intent.blocks_of(member(intent, "a1")), Prefix.parse("fd00:10:244::9/128"))
    routes = derived(allocated(intent, "a1", blocks=own)).dataplane.routes
    holes = {route for route in routes if route.type is RouteType.BLACKHOLE and route.prefix.version == 6}
    assert holes == {Route(Prefix.parse("fd00:10:244::140/122"), RouteType.BLACKHOLE, metric=1024)}


@pytest.mark.parametrize(("seen", "wanted"), [("0", False), ("1", True), ("2", True)])
def test_router_advertisements_are_heeded_on_by_a_router_that_heeded_them_as_a_host(seen: str, wanted: bool) -> None:
    intent = only_ipv6(with_ipv6(two_racks(), vxlan=Mode.ALWAYS))
    name = "net/ipv6/conf/eth0/accept_ra"
    kernel = bare_kernel(member(intent, "a1")).put((Sysctl(name, seen),))
    desired = derived(intent, observed=kernel)
    forwarding = Sysctl("net/ipv6/conf/all/forwarding", "1")
    assert (Sysctl(name, "2") in desired.dataplane.sysctls, forwarding in desired.dataplane.sysctls) == (wanted, True)
    sysctls = (op.object for op in plan(desired, kernel).ops if isinstance(op.object, Sysctl))
    puts = [sysctl for sysctl in sysctls if "vxlan" not in sysctl.name]
    assert puts == ([Sysctl(name, "2"), forwarding] if seen == "1" else [forwarding])


def test_each_ip_version_is_masqueraded_by_itself() -> None:
    intent = with_ipv6(two_racks(ipip=Mode.ALWAYS), vxlan=Mode.ALWAYS)
    pools = tuple(replace(pool, nat_outgoing=True) for pool in intent.pools)
    blue, six = Prefix.parse("10.244.0.0/16"), Prefix.parse("fd00:10:244::/64")
    own = {blue: Address.parse("10.0.0.1"), six: Address.parse("fd00:10:a::1")}
    ports = (4790, 65535), (179,)
    expected = {Masquerade((cidr,), (cidr,), *ports, "eth0", address) for cidr, address in own.items()}
    assert derived(replace(intent, pools=pools)).dataplane.masquerades == expected


def test_while_no_link_has_the_ipv6_address_ipv4_goes_on_and_nothing_is_removed() -> None:
    intent = with_ipv6(two_racks(ipip=Mode.ALWAYS), vxlan=Mode.ALWAYS)
    here = member(intent, "a1")
    desired = derived(intent, observed=bare_kernel(replace(here, address6=None)))
    assert (next_hops_of(desired, 4), next_hops_of(desired, 6)) == (next_hops_of(derived(intent), 4), {})
    assert [(item.code, item.subject) for item in desired.prune_holds] == [
        (PruneHoldCode.FACTS_UNKNOWN, "fd00:10:a::1")
    ]
    assert [(item.code, item.subject) for item in desired.unmet] == [(UnmetCode.UNDERLAY_UNKNOWN, "fd00:10:a::1")]


def test_a_member_without_an_ipv6_address_is_missing_with_its_ipv6_block_only() -> None:
    intent = with_ipv6(two_racks(ipip=Mode.ALWAYS), vxlan=Mode.ALWAYS)
    nodes = tuple(replace(node, address6=None) if node.name == "b1" else node for node in intent.nodes)
    desired = derived(replace(intent, nodes=nodes))
    assert [(item.code, item.subject, item.detail) for item in desired.unmet] == [
        (UnmetCode.NO_ADDRESS, BLOCKS["b1"], "b1")
    ]
    assert set(next_hops_of(desired)) == {BLOCKS["a2"], BLOCKS["b2"]}


def test_a_node_without_an_ipv6_address_leaves_ipv6_alone() -> None:
    intent = with_ipv6(two_racks(ipip=Mode.ALWAYS), vxlan=Mode.ALWAYS)
    a1, *others = intent.nodes
    own = tuple(block for block in intent.blocks_of(a1) if block.version == 4)
    without = replace(intent, nodes=(replace(a1, address6=None), *others))
    desired = derived(allocated(without, "a1", blocks=own))
    assert (next_hops_of(desired), desired.unmet, desired.prune_holds) == ({}, (), ())
    assert not [sysctl for sysctl in desired.dataplane.sysctls if "ipv6" in sysctl.name]


def test_a_borrowed_ipv6_address_is_led_to_its_borrower_on_the_node_that_has_the_block() -> None:
    intent = with_ipv6(two_racks(), vxlan=Mode.ALWAYS)
    borrowing = allocated(intent, "b1", borrowed=prefixes("fd00:10:244::14a/128"))
    assert next_hops_of(derived(borrowing))["fd00:10:244::14a/128"] == (vtep("b1"), VXLAN6)


@pytest.mark.parametrize(
    ("before", "now"),
    [(one, other) for one in Mode for other in Mode if one is not other],
)
def test_a_change_of_the_mode_is_done_with_no_step_that_the_kernel_would_refuse(before: Mode, now: Mode) -> None:
    """The kernel refuses an IPv6 gateway that it can reach by another link: a member's, in its block, still direct."""
    kernel = bare_kernel(member(with_ipv6(two_racks()), "a1"))
    for mode in (before, now):
        desired = derived(with_ipv6(two_racks(), vxlan=mode), observed=kernel)
        for op in plan(desired, kernel).ops:
            kernel = after(kernel, op)
        assert plan(desired, kernel).ops == ()
