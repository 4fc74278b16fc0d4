"""Many routes at once, in a plan and in messages, are what they are one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from random import Random
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from bgpctl.agent.codec import Codec
from bgpctl.core.agent.events import Apply
from bgpctl.core.cluster.reasons import Reason
from bgpctl.core.dataplane.effects import Op, Put, Remove, after_each
from bgpctl.core.dataplane.ops import RouteOps, by_kind, joined
from bgpctl.core.dataplane.plan import NOT_WANTED, cleanup, plan
from bgpctl.core.fabric import Desired
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import LOCAL_TABLE, MAIN_TABLE, METRIC, PROTOCOL, NextHop, Route, RouteType, key_of
from bgpctl.kernel import decode, encode, route_columns
from bgpctl.kernel.netlink import NLM_F_ACK, attribute, attributes, pack, pack_run
from bgpctl.kernel.runs import run_of
from tests.kernel_text import assert_same
from tests.laws.dataplanes import fold, foreign
from tests.laws.strategies import moments

APPLY: Codec[Apply] = Codec(Apply)
NAMES = {5: "vx", 6: "eth0"}


@contextmanager
def every_number_is_many() -> Iterator[None]:
    with patch("bgpctl.core.dataplane.plan.MANY", 1), patch("bgpctl.core.dataplane.route_order.MANY", 1):
        yield


def both(desired: Desired, observed: Dataplane) -> Iterator[tuple[Sequence[Op], Sequence[Op]]]:
    """The plan, and the cleanup, as of few routes and as of many."""
    few = (plan(desired, observed).ops, cleanup(observed))
    with every_number_is_many():
        many = (plan(desired, observed).ops, cleanup(observed))
    return zip(few, many, strict=True)


@given(moments())
def test_of_many_routes_a_plan_has_the_same_operations_as_of_few(moment: tuple[Desired, Dataplane]) -> None:
    for few, many in both(*moment):
        assert frozenset(many) == frozenset(few)
        assert len(many) == len(few)
        assert [op for op in many if not isinstance(op.object, Route)] == [
            op for op in few if not isinstance(op.object, Route)
        ]
        assert [type(op.object) for op in many] == [type(op.object) for op in few]


@given(moments())
def test_operations_on_many_routes_are_the_tuple_of_them(moment: tuple[Desired, Dataplane]) -> None:
    for _, many in both(*moment):
        each = tuple(many)
        assert many == each
        assert each == many
        assert (many != each[1:]) is bool(each)
        assert hash(many) == hash(each)
        assert repr(many) == repr(each)
        assert tuple(many[place] for place in range(len(many))) == each
        assert many[1:-1] == each[1:-1]
        assert tuple(chain.from_iterable(group for _, group in by_kind(many))) == each
        assert all(type(op.object) is kind for kind, group in by_kind(many) for op in group)
        assert APPLY.decode(json.loads(json.dumps(APPLY.encode(Apply(many))))) == Apply(many)


@given(moments())
def test_many_routes_come_to_the_same_dataplane_and_spare_what_is_foreign(moment: tuple[Desired, Dataplane]) -> None:
    desired, observed = moment
    for few, many in both(desired, observed):
        assert_same(fold(observed, many), fold(observed, few))
        reached, refused = after_each(observed, many)
        assert not refused
        assert foreign(observed) == foreign(reached)


@given(moments())
def test_the_more_specific_route_is_put_first_and_removed_last(moment: tuple[Desired, Dataplane]) -> None:
    for ops in chain.from_iterable(both(*moment)):
        for verb, sign in ((Put, -1), (Remove, 1)):
            lengths = [op.object.prefix.length for op in ops if isinstance(op, verb) and isinstance(op.object, Route)]
            assert lengths == sorted(lengths, key=lambda length: sign * length)


@given(moments(), st.randoms(use_true_random=False))
def test_the_order_of_many_routes_follows_from_their_values_alone(
    moment: tuple[Desired, Dataplane],
    choose: Random,
) -> None:
    desired, observed = moment
    objects = [*desired.dataplane]
    choose.shuffle(objects)
    again = Desired(Dataplane.of(objects), desired.reasons, desired.unmet, desired.prune_holds, desired.withdrawn)
    with every_number_is_many():
        assert plan(desired, observed).ops == plan(again, observed).ops


# Messages ------------------------------------------------------------------------------------------------------

numbers = st.sampled_from([0, 1, 0x42000001, 0xFFFFFFFF])
prefixes = st.one_of(
    st.builds(
        lambda bits, length: Prefix(4, bits >> (32 - length) << (32 - length), length),
        *(st.integers(0, 2**32 - 1), st.integers(0, 32)),
    ),
    st.builds(
        lambda bits, length: Prefix(6, bits >> (128 - length) << (128 - length), length),
        *(st.integers(0, 2**128 - 1), st.integers(0, 128)),
    ),
)
routes = st.builds(
    Route,
    prefixes,
    st.sampled_from([RouteType.UNICAST, RouteType.UNICAST, RouteType.BLACKHOLE, RouteType.LOCAL]),
    numbers,
    st.one_of(st.none(), st.builds(Address, st.just(4), st.integers(0, 2**32 - 1))),
    st.one_of(st.none(), st.sampled_from([*NAMES.values()])),
    st.sampled_from([METRIC, 0, 7]),
    st.sampled_from([MAIN_TABLE, 1000, LOCAL_TABLE]),
    st.sampled_from([PROTOCOL, 4]),
    st.sampled_from([0, 0, 1380]),
)
"""Few of them alike."""


@st.composite
def alike(draw: st.DrawFn) -> list[Route]:
    """Most of them differ in network and next hop only, as in a table of a cluster."""
    first = draw(routes)
    version, length = first.prefix.version, first.prefix.length
    shift = (32 if version == 4 else 128) - length
    networks = draw(st.lists(st.integers(0, 2**length - 1), min_size=1, max_size=5))
    more = [
        first._replace(
            prefix=Prefix(version, network << shift, length), next_hop=draw(numbers) if first.next_hop else 0
        )
        for network in networks
    ]
    return [first, *more, *draw(st.lists(routes, max_size=2))]


def body(route: Route, flags: int, *, reverse: bool) -> bytes:
    index = next((number for number, name in NAMES.items() if name == route.link), 0)
    packed = encode.put(route, index).body
    head, found = packed[: encode.RTMSG.size - 4] + flags.to_bytes(4, "little"), attributes(packed, encode.RTMSG.size)
    if route.next_hop:  # the kernel shows the paths of next-hop objects too
        found |= {encode.RTA_OIF: (5).to_bytes(4, "little"), encode.RTA_MULTIPATH: bytes(16)}
    order = sorted(found, reverse=reverse)
    return head + b"".join(attribute(kind, found[kind]) for kind in order)


@given(alike(), st.lists(st.sampled_from([0, 0, 0, 0x200, 0x10]), min_size=8, max_size=8), st.booleans(), st.data())
def test_many_messages_are_decoded_together_as_one_by_one(
    some: list[Route], flags: list[int], reverse: bool, data: st.DataObject
) -> None:
    bodies = [body(route, flag, reverse=reverse) for route, flag in zip(some, flags, strict=False)]
    spoiled = data.draw(st.integers(0, len(bodies[0]) - 1)) if data.draw(st.booleans()) else None
    if spoiled is not None and spoiled < encode.RTMSG.size:
        bodies[0] = bodies[0][:spoiled] + data.draw(st.binary(min_size=1, max_size=1)) + bodies[0][spoiled + 1 :]
    expected = {one: decode.route(one, NAMES) for one in bodies}
    together = route_columns.routes(bodies, NAMES)
    assert together == expected
    for found in filter(None, together.values()):
        assert (type(found), type(found.prefix), type(found.type)) == (Route, Prefix, RouteType)


@given(alike(), st.sampled_from([Put, Remove]), st.integers(1, 2**31))
def test_many_requests_are_packed_together_as_one_by_one(
    some: list[Route], verb: type[Put | Remove], sequence: int
) -> None:
    for ops in ([verb(route, NOT_WANTED) for route in some], RouteOps(verb, some, NOT_WANTED)):
        run = run_of(Route, ops, {})
        if run is None:
            kinds = {(route[1:2], bool(route.next_hop), *route[3:], *route.prefix[::2]) for route in some}
            assert len(kinds) > 1 or some[0].link
            continue
        requests = [encode.put(route, 0) if verb is Put else encode.remove(route, 0) for route in some]
        last = len(requests) - 1
        expected = [pack(one, sequence + i, NLM_F_ACK * (i == last)) for i, one in enumerate(requests)]
        assert pack_run(run, sequence) == b"".join(expected)


hops = st.builds(
    NextHop,
    st.integers(1, 2**32 - 1),
    st.sampled_from(["vx", "vx", "vx", "eth0", "gone"]),
    st.one_of(
        st.builds(Address, st.just(4), st.integers(0, 2**32 - 1)),
        st.sampled_from([None, Address.parse("fd00::1"), Address.parse("10.0.0.1")]),
    ),
    st.just(True),
    st.sampled_from([PROTOCOL, PROTOCOL, 4]),
)


@given(st.lists(hops, min_size=1, max_size=4), st.sampled_from([Put, Remove]), st.integers(1, 2**31))
def test_many_next_hops_are_packed_together_as_one_by_one(
    some: list[NextHop], verb: type[Put | Remove], sequence: int
) -> None:
    indexes = {name: number for number, name in NAMES.items()}
    run = run_of(NextHop, [verb(hop, NOT_WANTED) for hop in some], indexes)
    if run is None:
        assert verb is Put
        others = any(hop.gateway is None or hop.gateway.version == 6 for hop in some)
        assert others or some[0].link == "gone" or len({(hop.link, hop.protocol) for hop in some}) > 1
        return
    requests = [encode.put(hop, indexes[hop.link]) if verb is Put else encode.remove(hop, 0) for hop in some]
    last = len(requests) - 1
    expected = [pack(one, sequence + i, NLM_F_ACK * (i == last)) for i, one in enumerate(requests)]
    assert pack_run(run, sequence) == b"".join(expected)


def test_operations_on_many_routes_have_the_reason_of_each() -> None:
    some = [Route(Prefix(4, number << 8, 24), next_hop=1) for number in range(3)]
    reasons = {key_of(route): Reason(NOT_WANTED.code, str(route.prefix)) for route in some}
    ops = joined((RouteOps(Put, some, reasons), (Remove(some[0], NOT_WANTED),)))
    assert ops == (*(Put(route, reasons[key_of(route)]) for route in some), Remove(some[0], NOT_WANTED))
    assert ops[-1] == Remove(some[0], NOT_WANTED)
