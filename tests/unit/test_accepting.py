"""What members say that they accept, and who may say it for them."""

from __future__ import annotations

from dataclasses import replace

from bgpctl.core import rib
from bgpctl.core.accepting import Statement, accepted, communities, may_leave, objection, received_now, said_in
from bgpctl.core.bgp import SessionDown, Update
from bgpctl.core.cluster import Encapsulation, Mode
from bgpctl.core.foresight import assumed_kernel, converged
from bgpctl.core.model import Address, Prefix
from bgpctl.core.rib import Rib
from tests.cluster import member, path, two_racks, with_ipv6

IPIP, VXLAN = Encapsulation.IPIP, Encapsulation.VXLAN
CLUSTER = two_racks(vxlan=Mode.ALWAYS)
B1 = member(CLUSTER, "b1")
ITSELF, REFLECTOR, OTHER, TOR = map(Address.parse, ("10.1.0.3", "10.0.0.2", "10.1.0.4", "10.0.0.254"))
INSIDE = {ITSELF, REFLECTOR, OTHER}


def told(**by: frozenset[Encapsulation]) -> Rib:
    """Up sessions with whoever tells b1's block, with its next hop and this statement."""
    peers = {"itself": ITSELF, "reflector": REFLECTOR, "other": OTHER, "tor": TOR}
    tables = rib.expect({}, [peers[name] for name in by], 0.0, 120.0)
    for name, tunnels in by.items():
        block = replace(path("10.244.3.0/26", ITSELF), extended=communities(tunnels))
        tables = rib.session_up(tables, peers[name], 1.0)
        tables = rib.updated(tables, Update(peers[name], (block,)), 2.0)
    return tables


def test_numbers_are_those_of_rfc_9012_and_reserved_octets_say_nothing() -> None:
    assert communities([VXLAN, IPIP]) == (0x030C_0000_0000_0007, 0x030C_0000_0000_0008)
    assert accepted([0x030C_FFFF_FFFF_0007, 0x0002_0000_0000_0008]) == {IPIP}
    assert may_leave([0x030C_0000_0000_0007, 0x0002_0000_0000_0008]) == (0x0002_0000_0000_0008,)


def test_a_member_speaks_for_itself_and_else_the_slowest_reflector_does() -> None:
    both, one = frozenset({IPIP, VXLAN}), frozenset({IPIP})
    assert said_in(told(itself=both, reflector=one), INSIDE)(B1, 4) == both
    assert said_in(told(reflector=both, other=one), INSIDE)(B1, 4) == one
    assert said_in(told(itself=both), INSIDE)(B1, 6) == frozenset()


def test_nobody_outside_speaks_for_a_member_and_a_dead_session_says_nothing() -> None:
    tables = told(itself=frozenset({IPIP}), tor=frozenset({VXLAN}))
    down = rib.session_down(tables, SessionDown(ITSELF, "closing connection", notified=False), 3.0)
    assert said_in(down, INSIDE)(B1, 4) == frozenset()


def test_a_statement_can_only_forbid_and_both_that_of_the_file_and_that_of_bgp_do() -> None:
    def said(tunnels: frozenset[Encapsulation]) -> Statement | None:
        return objection(B1, VXLAN, lambda _, __: tunnels, 4)

    assert said(frozenset()) is None
    assert said(frozenset({VXLAN})) is None
    assert said(frozenset({IPIP})) == Statement(frozenset({IPIP}), in_file=False)
    filed = replace(B1, accepts=frozenset[Encapsulation]())
    assert objection(filed, VXLAN, lambda _, __: frozenset({VXLAN}), 4) == Statement(frozenset(), in_file=True)


def test_what_a_kernel_receives_is_told_by_ip_version() -> None:
    cluster = with_ipv6(two_racks(ipip=Mode.ALWAYS), vxlan=Mode.ALWAYS)
    here = member(cluster, "a1")
    assert received_now(converged(cluster, here, assumed_kernel(here))) == {4: {IPIP}, 6: {VXLAN}}
    assert any(block == Prefix.parse("fd00:10:244::140/122") for block in here.blocks)
