"""Next hops that are held back, and why."""

from __future__ import annotations

from dataclasses import replace

from bgpctl.core.bgp.encap_community import AcceptedTunnels
from bgpctl.core.cluster import encapsulation
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.dataplane.effects import Remove
from bgpctl.core.migration.probes import REPLY_VALID_S
from bgpctl.core.net.addresses import Vni
from bgpctl.core.net.objects import Link
from bgpctl.core.simulate.preview import assumed_kernel, converged, preview
from tests.cluster import member, two_racks
from tests.migration import Migrating, answered, names

IPIP, VXLAN = two_racks(ipip=Mode.ALWAYS), two_racks(vxlan=Mode.ALWAYS)


def test_a_member_that_accepts_only_another_tunnel_keeps_the_old_path_whatever_is_answered() -> None:
    migrating = Migrating.between(IPIP, VXLAN)
    tunnels = {"a2": {encapsulation.IPIP, encapsulation.VXLAN}, "b1": {encapsulation.IPIP}}
    then = migrating.step(answered(migrating.step()), advertised=lambda node, _: frozenset(tunnels.get(node.name, ())))
    assert [(waiting.member, waiting.accepts) for waiting in then.cutovers] == [
        ("b1", AcceptedTunnels(frozenset({encapsulation.IPIP}), in_file=False))
    ]


def test_accepts_in_the_file_counts_too_and_blocks_the_plan() -> None:
    nodes = tuple(
        replace(node, accepts=frozenset({encapsulation.IPIP})) if node.name == "b1" else node for node in VXLAN.nodes
    )
    wanted, here = replace(VXLAN, nodes=nodes), member(VXLAN, "a1")
    found = preview(wanted, here, converged(IPIP, here, assumed_kernel(here)))
    assert [(waiting.member, waiting.link) for waiting in found.blocked] == [("b1", "tunl0")]
    assert {waiting.member for waiting in found.kept} == {"b1"}
    there = member(wanted, "b1")
    its_own = preview(wanted, there, converged(IPIP, there, assumed_kernel(there)))
    assert its_own.blocked == ()
    assert {(waiting.member, waiting.link) for waiting in its_own.kept} == {(n, "tunl0") for n in ("a1", "a2", "b2")}
    for steps in (found.steps, its_own.steps):
        assert not any(isinstance(op, Remove) and isinstance(op.object, Link) for step in steps for op, _ in step.ops)


def test_each_next_hop_moves_by_itself_and_no_longer_once_its_reply_is_too_old() -> None:
    migrating = Migrating.between(IPIP, VXLAN)
    first = migrating.step()
    one = first.probes[0].path
    results = replace(answered(first), answered={one: 0.0})
    for at_s, links in ((REPLY_VALID_S, ["tunl0", "tunl0", "vxlan.bgpctl"]), (REPLY_VALID_S + 0.1, ["tunl0"] * 3)):
        assert sorted(hop.link for hop in migrating.step(results, at_s).desired.dataplane.next_hops) == links


def test_a_reply_by_another_vni_proves_nothing_of_the_wanted_one() -> None:
    other = replace(VXLAN, vxlan_vni=Vni(VXLAN.vxlan_vni + 1))
    results = answered(Migrating.between(IPIP, other).step())
    assert names(Migrating.between(IPIP, VXLAN).step(results))[0] == {"a2", "b1", "b2"}
