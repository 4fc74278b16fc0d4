"""Statements of members about the tunnels that they accept, and who may make them."""

from __future__ import annotations

from dataclasses import replace

from bgpctl.core.bgp import adj_rib_in
from bgpctl.core.bgp.adj_rib_in import AdjRibIn
from bgpctl.core.bgp.encap_community import (
    AcceptedTunnels,
    accepted,
    advertised_tunnels,
    communities,
    refusal,
    transitive,
)
from bgpctl.core.bgp.speaker import SessionDown, Update
from bgpctl.core.cluster.encapsulation import IPIP, VXLAN, Encapsulation, Mode
from bgpctl.core.fabric.encapsulations import accepted_by_kernel
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.simulate.preview import assumed_kernel, converged
from tests.cluster import member, path, two_racks, with_ipv6

CLUSTER = two_racks(vxlan=Mode.ALWAYS)
B1 = member(CLUSTER, "b1")
ITSELF, REFLECTOR, OTHER, TOR = map(Address.parse, ("10.1.0.3", "10.0.0.2", "10.1.0.4", "10.0.0.254"))
INSIDE = {ITSELF, REFLECTOR, OTHER}


def received(**by: frozenset[Encapsulation]) -> AdjRibIn:
    """Up sessions with peers that announce b1's block with its next hop and these encapsulation communities."""
    peers = {"itself": ITSELF, "reflector": REFLECTOR, "other": OTHER, "tor": TOR}
    tables = adj_rib_in.expect({}, [peers[name] for name in by], 0.0, 120.0)
    for name, tunnels in by.items():
        block = replace(path("10.244.3.0/26", ITSELF), extended=communities(tunnels))
        tables = adj_rib_in.session_up(tables, peers[name], 1.0)
        tables = adj_rib_in.updated(tables, Update(peers[name], (block,)), 2.0)
    return tables


def test_numbers_are_those_of_rfc_9012_and_reserved_octets_are_ignored() -> None:
    assert communities([VXLAN, IPIP]) == (0x030C_0000_0000_0007, 0x030C_0000_0000_0008)
    assert accepted([0x030C_FFFF_FFFF_0007, 0x0002_0000_0000_0008]) == {IPIP}
    assert transitive([0x030C_0000_0000_0007, 0x0002_0000_0000_0008]) == (0x0002_0000_0000_0008,)


def test_a_member_speaks_for_itself_and_else_the_slowest_reflector_does() -> None:
    both, one = frozenset({IPIP, VXLAN}), frozenset({IPIP})
    assert advertised_tunnels(received(itself=both, reflector=one), INSIDE, CLUSTER)(B1, 4) == both
    assert advertised_tunnels(received(reflector=both, other=one), INSIDE, CLUSTER)(B1, 4) == one
    assert advertised_tunnels(received(itself=both), INSIDE, CLUSTER)(B1, 6) == frozenset()


def test_no_external_peer_speaks_for_a_member_and_a_closed_session_counts_for_nothing() -> None:
    tables = received(itself=frozenset({IPIP}), tor=frozenset({VXLAN}))
    down = adj_rib_in.session_down(tables, SessionDown(ITSELF, "closing connection", notified=False), 3.0)
    assert advertised_tunnels(down, INSIDE, CLUSTER)(B1, 4) == frozenset()


def test_a_statement_can_only_forbid_and_both_that_of_the_file_and_that_of_bgp_do() -> None:
    def refused_by(tunnels: frozenset[Encapsulation]) -> AcceptedTunnels | None:
        return refusal(B1, VXLAN, lambda _, __: tunnels, 4)

    assert refused_by(frozenset()) is None
    assert refused_by(frozenset({VXLAN})) is None
    assert refused_by(frozenset({IPIP})) == AcceptedTunnels(frozenset({IPIP}), in_file=False)
    filed = replace(B1, accepts=frozenset[Encapsulation]())
    assert refusal(filed, VXLAN, lambda _, __: frozenset({VXLAN}), 4) == AcceptedTunnels(frozenset(), in_file=True)


def test_tunnels_that_a_kernel_receives_are_known_by_ip_version() -> None:
    cluster = with_ipv6(two_racks(ipip=Mode.ALWAYS), vxlan=Mode.ALWAYS)
    here = member(cluster, "a1")
    assert accepted_by_kernel(converged(cluster, here, assumed_kernel(here))) == {4: {IPIP}, 6: {VXLAN}}
    assert any(block == Prefix.parse("fd00:10:244::140/122") for block in cluster.blocks_of(here))


def test_a_node_advertises_the_tunnels_it_receives() -> None:
    ipip, vxlan = two_racks(ipip=Mode.ALWAYS), two_racks(vxlan=Mode.ALWAYS)
    here = member(ipip, "a1")
    both = (kernel := converged(ipip, here, assumed_kernel(here)), converged(vxlan, here, kernel))
    assert [set(accepted_by_kernel(item)[4]) for item in (assumed_kernel(here), *both)] == [set(), {IPIP}, {VXLAN}]
