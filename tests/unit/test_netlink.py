"""Bytes in, bytes out: layouts are those of rtnetlink(7) on a little-endian machine."""

from __future__ import annotations

import errno
import struct
import sys

import pytest

from bgpctl.core.net.addresses import Address, Mac, Prefix
from bgpctl.core.net.objects import FdbEntry, Neighbour, NextHop, Route, RouteType, Rule, RuleAction
from bgpctl.kernel import decode, encode, rules
from bgpctl.kernel.encode import Batched
from bgpctl.kernel.netlink import Message, Refusal, Request, attribute, attributes, messages, pack, refusal

little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="a little-endian machine")

HOP = NextHop(0x42000001, "vx", Address.parse("10.244.2.0"), onlink=True)
ROUTE = Route(Prefix.parse("10.244.2.0/26"), next_hop=HOP.id)
ROUTE6 = Route(Prefix.parse("fd00:244:2::/64"), next_hop=HOP.id)
BLOCK = Route(Prefix.parse("10.244.1.0/26"), RouteType.BLACKHOLE)
PLAIN = Route(Prefix.parse("192.0.2.0/24"), gateway=Address.parse("10.0.0.9"), link="vx", metric=7, table=1000)
FDB = FdbEntry("vx", Mac("66:00:00:00:00:02"), Address.parse("10.0.0.2"))
NEIGHBOUR = Neighbour("vx", Address.parse("10.244.2.0"), Mac("66:00:00:00:00:02"))
NAMES = {5: "vx"}


@little_endian
@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (  # RTM_NEWROUTE create|replace, AF_INET /26 protocol 179 unicast; DST, PRIORITY 1024, TABLE 254, NH_ID
            encode.put(ROUTE, 0),
            (
                "3c000000 18000105 07000000 00000000 021a0000 00b30001 00000000"
                "08000100 0af40200 08000600 00040000 08000f00 fe000000 08001e00 01000042"
            ),
        ),
        (  # RTM_DELROUTE: scope 255 and type 0 match any
            encode.remove(ROUTE, 0),
            (
                "34000000 19000100 07000000 00000000 021a0000 00b3ff00 00000000"
                "08000100 0af40200 08000600 00040000 08000f00 fe000000"
            ),
        ),
        (  # type 6
            encode.put(BLOCK, 0),
            (
                "34000000 18000105 07000000 00000000 021a0000 00b30006 00000000"
                "08000100 0af40100 08000600 00040000 08000f00 fe000000"
            ),
        ),
        (  # AF_INET6
            encode.put(ROUTE6, 0),
            (
                "48000000 18000105 07000000 00000000 0a400000 00b30001 00000000"
                "14000100 fd000244 00020000 00000000 00000000 08000600 00040000 08000f00 fe000000 08001e00 01000042"
            ),
        ),
        (  # RTM_NEWNEXTHOP, RTNH_F_ONLINK; ID, OIF, GATEWAY
            encode.put(HOP, 5),
            (
                "30000000 68000105 07000000 00000000 0200b300 04000000 08000100"
                "01000042 08000500 05000000 08000600 0af40200"
            ),
        ),
        (  # RTM_DELNEXTHOP, AF_UNSPEC; ID
            encode.remove(HOP, 5),
            ("20000000 69000100 07000000 00000000 00000000 00000000 0800010001000042"),
        ),
        (  # RTM_NEWNEIGH, AF_BRIDGE, PERMANENT|NOARP, NTF_SELF; LLADDR, DST
            encode.put(FDB, 5),
            (
                "30000000 1c000105 07000000 00000000 07000000 05000000 c0000200"
                "0a000200 66000000 00020000 08000100 0a000002"
            ),
        ),
        (  # RTM_NEWNEIGH, AF_INET, PERMANENT; DST, LLADDR
            encode.put(NEIGHBOUR, 5),
            (
                "30000000 1c000105 07000000 00000000 02000000 05000000 80000000"
                "08000100 0af40200 0a000200 66000000 00020000"
            ),
        ),
    ],
)
def test_a_request_has_exactly_these_bytes(request_: Request, expected: str) -> None:
    assert pack(request_, sequence=7) == bytes.fromhex(expected)


@pytest.mark.parametrize("obj", [ROUTE, ROUTE6, BLOCK, PLAIN, HOP, FDB, NEIGHBOUR])
def test_an_encoded_object_is_decoded_alike_in_any_order_of_attributes(obj: Batched) -> None:
    request_ = encode.put(obj, 5)
    read = {Route: decode.route, NextHop: decode.next_hop, FdbEntry: decode.fdb_entry, Neighbour: decode.neighbour}
    size = encode.NHMSG.size if isinstance(obj, NextHop) else encode.RTMSG.size
    found = attributes(request_.body, size)
    # The kernel writes a route's table first, and so do we read most of them: by position.
    table_first = sorted(found, key=lambda kind: (kind != encode.RTA_TABLE, kind))
    for order in (list(found), list(reversed(found)), table_first):
        body = request_.body[:size] + b"".join(attribute(kind, found[kind]) for kind in order)
        assert read[type(obj)](body, NAMES) == obj


def test_a_multipath_route_is_known_by_its_first_next_hop() -> None:
    gateways = [attribute(encode.RTA_GATEWAY, bytes([10, 0, 0, last])) for last in (7, 8)]
    hops = b"".join(struct.pack("=HBBi", 8 + len(gateway), 0, 0, 5) + gateway for gateway in gateways)
    header = encode.RTMSG.pack(encode.FAMILY[4], 0, 0, 0, 254, 4, 0, 1, 0)
    route = decode.route(header + attribute(9, hops), NAMES)
    assert route == Route(Prefix.parse("0.0.0.0/0"), gateway=Address.parse("10.0.0.7"), link="vx", metric=0, protocol=4)


@pytest.mark.parametrize(
    "header",
    [
        encode.RTMSG.pack(encode.FAMILY[4], 0, 0, 0, 255, 2, 0, 2, 0),  # local table
        encode.RTMSG.pack(encode.FAMILY[4], 0, 0, 0, 254, 2, 0, 5, 0),  # multicast
        encode.RTMSG.pack(encode.FAMILY[4], 0, 0, 16, 254, 2, 0, 1, 0),  # another route for each type of service
        encode.RTMSG.pack(encode.FAMILY[6], 0, 0, 0, 254, 2, 0, 1, 0x200),  # a path-MTU exception
    ],
)
def test_a_route_that_is_no_route_of_a_table_is_left_out(header: bytes) -> None:
    assert decode.route(header, NAMES) is None


@pytest.mark.parametrize("capped", [True, False])
def test_a_refusal_carries_the_kernels_own_explanation(capped: bool) -> None:
    original = pack(Request(24, 0, bytes(12)), sequence=7)
    shown = original[:16] if capped else original
    body = struct.pack("=i", -errno.EINVAL) + shown + attribute(1, b"Nexthop id does not exist\0")
    flags = 0x200 | (0x100 if capped else 0)
    assert refusal(Message(2, flags, 7, 0, body), 3) == Refusal(3, errno.EINVAL, "Nexthop id does not exist")


def test_a_datagram_holds_many_messages() -> None:
    bodies = [bytes([size]) * size for size in (4, 5, 8)]
    datagram = b"".join(pack(Request(24, 0, body), sequence) for sequence, body in enumerate(bodies))
    assert [(message.sequence, message.body) for message in messages(datagram)] == list(enumerate(bodies))


def rule(family: int, action: int, *found: bytes, destination_bits: int = 0, flags: int = 0) -> bytes:
    return struct.pack("=BBBBBBBBI", family, destination_bits, 0, 0, 0, 0, 0, action, flags) + b"".join(found)


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def test_rules_are_read_in_order_with_their_selectors() -> None:
    to = attribute(1, bytes([10, 0, 0, 0]))
    listed = [
        rule(2, 1, u32(6, 10), u32(15, 1000), u32(14, 8), to, destination_bits=8),  # to 10.0.0.0/8, suppressing /8
        rule(2, 1, u32(6, 10), u32(15, 77), u32(14, (1 << 32) - 1), u32(10, 7), u32(16, (1 << 32) - 1), flags=2),
        rule(10, 3, u32(6, 20), u32(99, 1)),  # an attribute of a later kernel
        rule(128, 1, u32(6, 0)),  # multicast forwarding
        rule(2, 4, u32(6, 30)),  # an action that does not exist
    ]
    assert list(rules.rules(listed)) == [
        Rule(4, 10, 1000, destination=Prefix.parse("10.0.0.0/8"), suppress_prefixlength=8),
        Rule(4, 10, 77, selector="fwmark 0x7", inverted=True, place=1),
        Rule(6, 20, 0, RuleAction.NOP, selector="attribute 99"),
    ]
