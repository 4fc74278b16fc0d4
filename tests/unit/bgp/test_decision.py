"""The decision process, case by case; tests/laws/test_decision_laws.py compares it with the RFCs."""

from dataclasses import replace

from bgpctl.core.bgp.decision import Candidate, Lost, choose
from bgpctl.core.bgp.path import AsSet
from bgpctl.core.bgp.received import Received
from bgpctl.core.net.addresses import Address, Asn
from tests.cluster import path

BLOCK = "10.244.9.0/26"


def candidate(peer: str, asn: int, *as_path: int, med: int | None = None, internal: bool = False) -> Candidate:
    learned = replace(path(BLOCK, peer, *as_path), med=med)
    return Candidate(Address.parse(peer), Asn(asn), internal, Received(learned, 0.0))


def test_med_is_compared_only_within_one_neighbour_as() -> None:
    cheap = candidate("10.0.0.3", 65001, 65001, med=10)
    dear = candidate("10.0.0.2", 65001, 65001, med=20)
    other = candidate("10.0.0.1", 65002, 65002, med=500)
    choice = choose([dear, cheap, other])
    assert choice.best == other
    assert choice.also == (cheap,)
    assert dict(choice.lost) == {dear: Lost.MED}


def test_the_shorter_as_path_wins() -> None:
    near, far = candidate("10.0.0.9", 65001, 65001), candidate("10.0.0.1", 65002, 65002, 65003)
    assert choose([far, near]).best == near


def test_a_set_counts_as_one_as() -> None:
    far = candidate("10.0.0.1", 65002, 65002, 65020, 65021)
    near = candidate("10.0.0.9", 65001, 65001)
    aggregate = replace(near.path, as_path=(Asn(65001), AsSet((Asn(65010), Asn(65011), Asn(65012)))))
    near = near._replace(received=Received(aggregate, 0.0))
    assert choose([far, near]).lost == ((far, Lost.AS_PATH),)


def test_an_external_path_beats_an_internal_one() -> None:
    inside = candidate("10.0.0.1", 64512, 65001, internal=True)
    outside = candidate("10.0.0.9", 65001, 65001)
    assert choose([inside, outside]).lost == ((inside, Lost.INTERNAL),)


def test_two_top_of_rack_switches_carry_traffic_together_and_a_twin_of_one_does_not() -> None:
    left, right = candidate("10.0.0.8", 65001, 65001), candidate("10.0.0.9", 65002, 65002)
    twin = right._replace(peer=Address.parse("10.0.0.10"))
    choice = choose([twin, right, left])
    assert choice.used == (left, right)
    assert choice.lost == ((twin, Lost.ROUTER_ID),)


def test_a_path_that_no_route_leads_to_loses_to_any_other() -> None:
    lost = candidate("10.0.0.1", 65001, 65001)._replace(cost=None)
    far = candidate("10.0.0.9", 65001, 65001, 65002, 65003)._replace(cost=100)
    assert choose([lost, far]).lost == ((lost, Lost.UNRESOLVED),)


def test_a_path_to_a_member_that_does_not_answer_loses_to_any_other_and_is_used_where_there_is_none() -> None:
    silent = candidate("10.0.0.1", 65001, 65001)._replace(answers=False)
    far = candidate("10.0.0.9", 65001, 65001, 65002, 65003)._replace(cost=100)
    assert choose([silent, far]).lost == ((silent, Lost.UNREACHABLE),)
    other = candidate("10.0.0.2", 65001, 65001)._replace(answers=False)
    assert choose([silent, other]).used == (silent, other)


def test_the_nearer_next_hop_wins_before_any_tie_break() -> None:
    near, far = candidate("10.0.0.9", 65001, 65001), candidate("10.0.0.1", 65001, 65001)._replace(cost=1)
    assert choose([far, near]).lost == ((far, Lost.COST),)


def test_a_reflected_path_counts_as_its_originators_and_a_second_reflection_loses() -> None:
    once = candidate("10.0.0.9", 64512, internal=True)
    begun = replace(once.path, originator=Address.parse("10.0.0.3"), cluster_list=(Address.parse("1.1.1.1"),))
    twice_begun = replace(begun, cluster_list=begun.cluster_list * 2)
    once = once._replace(received=Received(begun, 0.0))
    twice = once._replace(peer=Address.parse("10.0.0.8"), received=Received(twice_begun, 0.0))
    assert choose([twice, once]).lost == ((twice, Lost.CLUSTER_LIST),)
