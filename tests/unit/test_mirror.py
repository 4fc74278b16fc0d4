"""The mirror of the kernel as a pure function, over notifications that are packed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.dataplane.effects import Failure, Op, Put, Remove
from bgpctl.core.dataplane.plan import NOT_WANTED
from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.net.addresses import Address, Mac, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import FdbEntry, KernelObject, Link, Neighbour, NextHop, NextHopGroup, Route
from bgpctl.core.net.table import shard_of
from bgpctl.kernel import encode
from bgpctl.kernel.decode import LinkFacts
from bgpctl.kernel.mirror import EVERYTHING, Mirror, Part, applied, unconfirmed
from bgpctl.kernel.netlink import NLM_F_REPLACE, Message, Request

ETH0: Final = LinkFacts(1, "eth0", "veth", 1500, None, up=True, running=True, alias="", details=b"")
FRESH: Final = Mirror(Dataplane(), {1: ETH0}, stale=frozenset())
PREFIXES: Final = tuple(
    map(Prefix.parse, ("10.1.0.0/26", "10.1.0.64/26", "10.2.0.0/16", "fd00::/64", "fd00:0:0:1::/64"))
)
GATEWAYS: Final = tuple(map(Address.parse, ("10.0.0.2", "10.0.0.3")))
MACS: Final = (Mac("02:00:00:00:00:01"), Mac("02:00:00:00:00:02"))


def put(thing: KernelObject, flags: int = NLM_F_REPLACE) -> Message:
    """The notification that another program has put it."""
    assert isinstance(thing, encode.Batched)
    return _notification(encode.put(thing, 1), flags)


def removed(thing: KernelObject) -> Message:
    """The notification that it is gone: the kernel shows the whole object."""
    request = encode.put(thing, 1)  # type: ignore[arg-type]
    return _notification(request._replace(type=request.type + 1), 0)


def _notification(request: Request, flags: int) -> Message:
    return Message(request.type, flags, 0, 4711, request.body)


routes = st.builds(
    lambda prefix, hop, metric, table: Route(prefix, next_hop=hop, metric=metric, table=table),
    *map(st.sampled_from, (PREFIXES, (7, 8), (0, 1024), (254, 1000))),
)
neighbours = st.builds(partial(Neighbour, "eth0"), st.sampled_from(GATEWAYS), st.sampled_from(MACS))
entries = st.builds(partial(FdbEntry, "eth0"), st.sampled_from(MACS), st.sampled_from(GATEWAYS))
next_hops = st.builds(
    lambda number, gateway: NextHop(number, "eth0", gateway, onlink=True),
    st.sampled_from([1, 2]),
    st.sampled_from(GATEWAYS),
)
groups = st.builds(lambda members: NextHopGroup(3, members), st.sampled_from([(1,), (1, 2)]))
things: st.SearchStrategy[KernelObject] = st.one_of(routes, neighbours, entries, next_hops, groups)
notifications = st.lists(
    st.builds(lambda make, thing: make(thing), st.sampled_from([put, removed]), things), max_size=12
)


@given(notifications)
def test_the_last_notification_of_a_key_counts_however_often_all_of_them_are_applied(heard: list[Message]) -> None:
    once = applied(FRESH, heard)
    again = applied(once, heard)
    for part, table in (("routes", "routes"), ("neighbours", "neighbours"), ("fdb", "fdb")):
        if Part(part) not in again.stale:
            assert getattr(again.dataplane, table) == getattr(once.dataplane, table)


@given(notifications, st.integers(0, 12))
def test_it_does_not_matter_how_many_notifications_are_read_at_a_time(heard: list[Message], at: int) -> None:
    assert applied(applied(FRESH, heard[:at]), heard[at:]) == applied(FRESH, heard)


@given(st.lists(st.tuples(st.booleans(), things), max_size=12))
def test_the_objects_of_a_mirror_that_is_not_stale_are_those_of_the_kernel_model(
    steps: list[tuple[bool, KernelObject]],
) -> None:
    model, heard = Dataplane(), list[Message]()
    for is_put, thing in steps:
        if is_put:
            model = model.put((thing,))
            heard.append(put(thing))
        elif thing in model:
            model = model.drop((thing,))
            heard.append(removed(thing))
    mirror = applied(FRESH, heard)
    if not mirror.stale:
        assert mirror.dataplane == model


def test_one_change_among_many_routes_makes_one_new_shard() -> None:
    many = [Route(Prefix(4, (10 << 24) + number * 64, 26), next_hop=7) for number in range(5000)]
    mirror = replace(FRESH, dataplane=Dataplane.of(many))
    changed = applied(mirror, [put(many[4000]._replace(next_hop=8))])
    before, after = mirror.dataplane.route_set.shards, changed.dataplane.route_set.shards
    assert [key for key in after if after[key] is not before[key]] == [shard_of(many[4000].prefix)]
    assert applied(mirror, [put(many[4000])]).dataplane is mirror.dataplane


def test_of_very_many_routes_at_once_none_is_applied() -> None:
    many = [Route(Prefix(4, (10 << 24) + number * 64, 26), next_hop=7) for number in range(1001)]
    assert applied(FRESH, map(put, many)).stale == {Part.ROUTES}
    assert applied(FRESH, map(put, many[:1000])).dataplane == Dataplane.of(many[:1000])


def test_a_removed_next_hop_makes_routes_stale_only_if_one_names_it() -> None:
    hop, route = NextHop(7, "eth0", GATEWAYS[0], onlink=True), Route(PREFIXES[0], next_hop=7)
    mirror = applied(FRESH, [put(hop), put(route)])
    assert applied(mirror, [removed(hop)]).stale == {Part.NEXT_HOPS, Part.ROUTES}
    assert applied(mirror, [removed(route), removed(hop)]) == FRESH


def test_one_of_several_routes_with_one_key_is_replaced_by_nobody_knows_which_rule() -> None:
    first, second = (Route(PREFIXES[0], gateway=gateway, link="eth0", metric=0) for gateway in GATEWAYS)
    mirror = applied(FRESH, [put(first, 0), put(second, 0)])
    assert set(mirror.dataplane.routes) == {first, second}
    assert applied(mirror, [put(first._replace(next_hop=7))]).stale == {Part.ROUTES}
    assert set(applied(mirror, [removed(first)]).dataplane.routes) == {second}


HOP: Final = NextHop(7, "eth0", GATEWAYS[0], onlink=True)
ROUTE: Final = Route(PREFIXES[0], next_hop=7)


def ops(*things: KernelObject, kind: type[Put | Remove] = Put) -> Sequence[Op]:
    return [kind(thing, NOT_WANTED) for thing in things]


def test_an_operation_counts_once_its_notification_has_come() -> None:
    mirror = applied(FRESH, [put(HOP), put(ROUTE)])
    assert unconfirmed(mirror, ops(HOP, ROUTE), []) == mirror
    assert unconfirmed(FRESH, ops(HOP, ROUTE), []).stale == {Part.NEXT_HOPS, Part.ROUTES}
    assert unconfirmed(mirror, ops(ROUTE, kind=Remove), []).stale == {Part.ROUTES}
    assert unconfirmed(FRESH, ops(ROUTE, kind=Remove), []) == FRESH


def test_a_refused_operation_is_not_waited_for() -> None:
    (op,) = ops(ROUTE)
    assert unconfirmed(FRESH, [op], [Failure(op, 22)]) == FRESH


@pytest.mark.parametrize("emulated", [True, False])
def test_after_a_changed_link_everything_is_dumped(*, emulated: bool) -> None:
    mirror = replace(FRESH, emulated=emulated)
    assert unconfirmed(mirror, ops(Link("tunl0", Ipip(), 1480)), []).stale == EVERYTHING


def test_emulated_next_hops_have_no_notifications() -> None:
    mirror = replace(applied(FRESH, [put(HOP)]), emulated=True)
    assert unconfirmed(mirror, ops(HOP), []).stale == {Part.NEXT_HOPS}


def test_a_question_to_programs_that_resolve_addresses_changes_nothing() -> None:
    question = put(Neighbour("eth0", GATEWAYS[0], MACS[0]))._replace(type=encode.RTM_GETNEIGH)
    assert applied(FRESH, [question]) == FRESH
