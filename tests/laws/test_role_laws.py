"""Route leaks by roles (RFC 9234, section 5): every pair of sessions with every mark, and chains of ASes."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.bgp import roles
from bgpctl.core.bgp.decision import Candidate, Choice
from bgpctl.core.bgp.export_policy import ExportInput, announceable, routes_for
from bgpctl.core.bgp.import_policy import Policy, verdict
from bgpctl.core.bgp.path import Path, RawAttribute
from bgpctl.core.bgp.received import Received
from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.cluster.configuration import Filter, FilterRule, Peer, Role
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.reasons import RejectCode, Rejection
from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.core.net.table import Table
from tests.cluster import member, path, two_racks

LOCAL, FIRST, SECOND, OTHER = Asn(64512), Asn(65001), Asn(65002), Asn(65003)
TOR, TOR2, A2 = map(Address.parse, ("10.0.0.254", "10.0.0.253", "10.0.0.2"))
ANY = Filter("any", import4=(FilterRule(accept=True),), export4=(FilterRule(accept=True),))
CLUSTER = two_racks(ipip=Mode.NEVER)
ROLES = (*Role, None)
OWN, OUTSIDE = Prefix.parse("10.244.1.0/26"), path("10.244.9.0/26", "10.0.0.254", FIRST)


class Marked(NamedTuple):
    """The OTC of a path inside the router, and as it is sent; None without."""

    inside: int | None
    sent: int | None


def by_the_rfc(ours: Role | None, theirs: Role | None, mark: int | None) -> Marked | str:
    """Section 5 word by word; the roles are those of the two neighbours. A text: where the path ends."""
    if mark is not None and ours in {Role.CUSTOMER, Role.RS_CLIENT}:
        return "leak"
    if mark is not None and ours is Role.PEER and mark != FIRST:
        return "leak"
    inside = mark if mark is not None or ours not in {Role.PROVIDER, Role.PEER, Role.RS} else FIRST
    if inside is not None and theirs in {Role.PROVIDER, Role.PEER, Role.RS}:
        return "kept in"
    adds = theirs in {Role.CUSTOMER, Role.PEER, Role.RS_CLIENT}
    return Marked(inside, LOCAL if inside is None and adds else inside)


def policy_of(first: Role | None, second: Role | None) -> Policy:
    peers = (
        Peer("tor", TOR, FIRST, ("a1",), filters=("any",), local_role=first),
        Peer("tor2", TOR2, SECOND, ("a1",), filters=("any",), local_role=second),
    )
    intent = replace(CLUSTER, peers=peers, filters=(ANY,))
    config = speaker_config(intent, "a1")
    assert config
    return Policy.of(intent, member(intent, "a1"), config)


def announced(policy: Policy, *paths: Path) -> ExportInput:
    candidates = [Candidate(TOR, FIRST, internal=False, received=Received(item, 0.0)) for item in paths]
    choices = Table.of((candidate.path.prefix, Choice(candidate)) for candidate in candidates)
    return ExportInput(policy, announceable(choices), lambda _: None, draining=False, accepts={})


def with_mark(mark: int | None) -> Path:
    marks = () if mark is None else (RawAttribute(0xC0, 35, mark.to_bytes(4)),)
    return replace(OUTSIDE, passed_on=(RawAttribute(0x40, 6, b""), *marks, RawAttribute(0xE0, 99, b"x")))


def neighbours(role: Role | None) -> Role | None:
    return roles.COUNTERPART[role] if role else None


@pytest.mark.parametrize(("first", "second", "mark"), [*product(ROLES, ROLES, (None, FIRST, OTHER))])
def test_each_pair_of_sessions_does_with_each_mark_what_the_rfc_says(
    first: Role | None, second: Role | None, mark: int | None
) -> None:
    expected, policy = by_the_rfc(neighbours(first), neighbours(second), mark), policy_of(first, second)
    found = verdict(policy.ownership, policy.session_policies[TOR], with_mark(mark))
    if expected == "leak":
        assert found == Rejection(RejectCode.ROUTE_LEAK, str(mark))
        return
    assert isinstance(found, Path)
    given_, prefix = announced(policy, found), OUTSIDE.prefix
    sent = routes_for(given_, policy.session_policies[TOR2]).routes.get(prefix)
    if expected == "kept in":
        assert sent is None
    else:
        assert isinstance(expected, Marked)
        assert sent
        assert roles.only_to_customer(found.passed_on) == expected.inside
        assert roles.only_to_customer(sent.passed_on) == expected.sent
        assert [raw.code for raw in sent.passed_on] == ([6, 99] if expected.sent is None else [6, 35, 99])
    internal = routes_for(given_, policy.session_policies[A2]).routes[prefix]
    assert internal.passed_on == found.passed_on


@pytest.mark.parametrize("role", ROLES)
def test_own_blocks_are_marked_down_and_across_and_nowhere_kept_in(role: Role | None) -> None:
    policy = policy_of(role, None)
    down = neighbours(role) in {Role.CUSTOMER, Role.PEER, Role.RS_CLIENT}
    for peer, marked in ((TOR, down), (TOR2, False), (A2, False)):
        sent = routes_for(announced(policy), policy.session_policies[peer]).routes[OWN].passed_on
        assert sent == ((RawAttribute(0xC0, 35, LOCAL.to_bytes(4)),) if marked else ())


class Step(NamedTuple):
    """A session that a route crosses: the role of its sender, and who of both knows it."""

    role: Role
    sender_knows: bool
    receiver_knows: bool

    @property
    def known(self) -> bool:
        return self.sender_knows or self.receiver_knows


STEPS = st.lists(st.builds(Step, st.sampled_from(Role), st.booleans(), st.booleans()), min_size=1, max_size=8)


def crosses(steps: list[Step]) -> bool:
    """True if the last AS uses the route; the AS number of each sender is its place."""
    route = OUTSIDE
    for number, step in enumerate(steps, 65100):
        sender, asn = step.role if step.sender_knows else None, Asn(number)
        if roles.is_kept_in(sender, route.passed_on):
            return False
        route = replace(route, passed_on=roles.sent(sender, asn, route.passed_on, learned=True))
        receiver = roles.COUNTERPART[step.role] if step.receiver_knows else None
        if roles.is_leak(receiver, asn, route):
            return False
        route = roles.received(receiver, asn, route)
    return True


def is_valley_free(steps: list[Step]) -> bool:
    """Up, across at most once, down; of the sessions of which either end knows the role."""
    descends = False
    for step in steps:
        if step.known and descends and step.role in {Role.CUSTOMER, Role.RS_CLIENT, Role.PEER}:
            return False
        descends = descends or (step.known and step.role in {Role.PROVIDER, Role.RS, Role.PEER})
    return True


@given(STEPS)
def test_a_leak_is_stopped_where_one_end_of_each_session_knows_its_role_and_nothing_else_is(steps: list[Step]) -> None:
    assert crosses(steps) == is_valley_free(steps)
