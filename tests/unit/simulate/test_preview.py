"""Effects of a change on a kernel, before anything is touched."""

from __future__ import annotations

from dataclasses import replace

from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.dataplane.effects import after_all
from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.fabric.vxlan import LINKS as VXLAN_LINKS
from bgpctl.core.fabric.vxlan import Vxlan
from bgpctl.core.net.addresses import Address, InterfaceAddress, Vni
from bgpctl.core.simulate.effect import Effect
from bgpctl.core.simulate.of_cluster import of_cluster
from bgpctl.core.simulate.preview import (
    Present,
    Stage,
    assumed_kernel,
    converged,
    preview,
    with_other_driver,
)
from tests.cluster import member, two_racks
from tests.kernel_text import assert_same

IPIP, VXLAN = two_racks(ipip=Mode.CROSS_SUBNET), two_racks(vxlan=Mode.CROSS_SUBNET)


def stages(before: Intent, wanted: Intent) -> list[Stage]:
    return [step.stage for step in of_cluster(before, wanted)[0].steps]


def test_a_changed_encapsulation_is_prepared_then_used_then_the_old_one_is_taken_away() -> None:
    (foreseen, *_) = of_cluster(IPIP, VXLAN)
    assert [step.stage for step in foreseen.steps] == [Stage.PREPARE, Stage.CUTOVER, Stage.RETIRE]
    assert foreseen.steps[0].waits_for == ("a2", "b1", "b2")
    effects = [{effect for _, effect in step.ops} for step in foreseen.steps]
    assert effects == [{Effect.NONE}, {Effect.ATOMIC}, {Effect.NONE}]
    assert foreseen.unreachable == ()


def test_nothing_changes_where_nothing_is_to_change() -> None:
    assert all(foreseen.steps == () for foreseen in of_cluster(IPIP, IPIP))


def test_a_new_cluster_is_made_in_one_step() -> None:
    here = member(IPIP, "a1")
    foreseen = preview(IPIP, here, assumed_kernel(here))
    assert [step.stage for step in foreseen.steps] == [Stage.PREPARE]
    assert foreseen.worst is Effect.NONE


def test_another_vni_is_a_second_device_that_traffic_moves_to() -> None:
    (foreseen, *_) = of_cluster(VXLAN, replace(VXLAN, vxlan_vni=Vni(4097)))
    assert [step.stage for step in foreseen.steps] == [Stage.PREPARE, Stage.CUTOVER, Stage.RETIRE]
    assert foreseen.worst is Effect.ATOMIC


def test_another_ipip_driver_is_reported_as_a_gap_after_which_everything_is_as_before() -> None:
    here = member(IPIP, "a1")
    kernel = converged(IPIP, here, assumed_kernel(here))
    by_bpf = kernel.put(replace(link, kind=Ipip("bpf")) for link in kernel.links if isinstance(link.kind, Ipip))
    assert preview(IPIP, here, with_other_driver(by_bpf, "ipip", "bpf")).steps == ()
    found = preview(IPIP, here, seen := with_other_driver(by_bpf, "ipip", "kernel"))
    assert found.worst is Effect.GAP
    assert_same(after_all(seen, (op for step in found.steps for op, _ in step.ops)), kernel)


def test_a_device_that_has_to_be_recreated_is_reported_as_a_gap() -> None:
    """There are three names, and each has a device with another VNI."""
    here = member(VXLAN, "a1")
    kernel = converged(VXLAN, here, assumed_kernel(here))
    ((link, kind),) = ((link, link.kind) for link in kernel.links if isinstance(link.kind, Vxlan))
    others = enumerate(VXLAN_LINKS[4][1:], start=5)
    more = {replace(link, name=name, kind=replace(kind, vni=Vni(vni))) for vni, name in others}
    crowded = kernel.put(more)
    assert preview(replace(VXLAN, vxlan_vni=Vni(4097)), here, crowded).worst is Effect.GAP


def test_a_pool_without_encapsulation_between_racks_is_followed_as_far_as_the_underlay_lets_it() -> None:
    assert stages(IPIP, two_racks()) == [Stage.CUTOVER, Stage.RETIRE]


def test_after_all_steps_the_kernel_has_the_desired_objects_and_nothing_else_of_ours() -> None:
    here = member(VXLAN, "a1")
    kernel = converged(IPIP, here, assumed_kernel(here))
    ops = [op for step in preview(VXLAN, here, kernel).steps for op, _ in step.ops]
    assert_same(after_all(kernel, ops).owned(), converged(VXLAN, here, assumed_kernel(here)).owned())


def test_prefixes_that_become_unreachable_are_named() -> None:
    bare = two_racks()
    here = member(bare, "a1")
    kernel = converged(bare, here, assumed_kernel(here))
    without_default = kernel.drop(route for route in kernel.routes if not route.prefix.length)
    moved = replace(member(bare, "a2"), address=InterfaceAddress.parse("192.0.2.2/24"))
    nodes = tuple(moved if node.name == "a2" else node for node in bare.nodes)
    foreseen = preview(replace(bare, nodes=nodes), here, without_default)
    assert "10.244.2.0/26" in map(str, foreseen.unreachable)


def test_a_remote_that_talks_to_the_node_by_another_route_and_would_be_led_into_a_pool_is_named() -> None:
    here = member(IPIP, "a1")
    kernel = assumed_kernel(here)
    workload, operator = Address.parse("10.244.2.9"), Address.parse("203.0.113.7")
    assert preview(IPIP, here, kernel, Present(talking=[workload, operator])).cut == (workload,)
    now = converged(IPIP, here, kernel)
    assert preview(VXLAN, here, now, Present(talking=[workload, operator])).cut == ()
