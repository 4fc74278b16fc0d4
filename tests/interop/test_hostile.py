"""A peer that keeps to no rule: malformed messages and floods, written by hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

import pytest

from bgpctl.core.net.addresses import Address, Asn, Prefix
from tests.interop import wire
from tests.interop.world import ADDRESS, POOL, US, World, made
from tests.waiting import wait_until

EVIL, GOOD = Asn(65001), Asn(65002)
ONE, TWO = ADDRESS["one"], ADDRESS["two"]
FLOOD = int(os.environ.get("BGPCTL_TEST_FLOOD", "1000000"))
"""Prefixes; a million take half a minute."""
BAIT, PROOF = Prefix.parse("172.20.1.0/24"), Prefix.parse("172.21.1.0/24")
CLUSTER: Final = f"""\
calico_backend: bird
pools: {{blue: {{cidr: {POOL}, encapsulation: None}}}}
nodes:
{US}peers:
  evil: {{ip: {ONE}, asNumber: {EVIL}, filters: [outside]}}
  good: {{ip: {TWO}, asNumber: {GOOD}, filters: [outside]}}
filters:
  outside: {{importV4: [{{action: Accept, cidr: 172.16.0.0/12, matchOperator: In}}]}}
"""


def right(*attributes: bytes, prefix: bytes = wire.nlri(BAIT)) -> bytes:
    return wire.update(b"".join(attributes), prefix)


_ORIGIN, _PATH, _HOP = wire.origin(), wire.as_path(EVIL), wire.next_hop(ONE)

REJECTED: Final[dict[str, tuple[bytes, str]]] = {
    "next hop is us": (right(_ORIGIN, _PATH, wire.next_hop(ADDRESS["us"])), "own-next-hop"),
    "our own AS": (right(_ORIGIN, wire.as_path(EVIL, 64512), _HOP), "own-as"),
    "another first AS": (right(_ORIGIN, wire.as_path(65009, EVIL), _HOP), "first-as"),
    "empty AS path": (right(_ORIGIN, wire.attribute(2, b""), _HOP), "first-as"),
    "multicast": (right(_ORIGIN, _PATH, _HOP, prefix=wire.nlri(Prefix.parse("239.0.0.0/8"))), "martian"),
}
"""Well-formed, and not to be used: the session stays, and the table shows why."""

WITHDRAWN: Final[dict[str, bytes]] = {
    "origin 9": right(wire.origin(9), _PATH, _HOP),
    "no next hop": right(_ORIGIN, _PATH),
    "next hop 0.0.0.0": right(_ORIGIN, _PATH, wire.next_hop(Address.parse("0.0.0.0"))),
    "next hop 127.0.0.1": right(_ORIGIN, _PATH, wire.next_hop(Address.parse("127.0.0.1"))),
    "AS path cut short": right(_ORIGIN, wire.attribute(2, bytes([2, 3, 0, 0])), _HOP),
    "AS path of an unknown kind": right(_ORIGIN, wire.attribute(2, bytes([9, 1, 0, 0, 253, 233])), _HOP),
    "MED of one byte": right(_ORIGIN, _PATH, _HOP, wire.attribute(4, b"\x01", flags=0x80)),
    "communities of three bytes": right(_ORIGIN, _PATH, _HOP, wire.attribute(8, b"abc", flags=0xC0)),
    "attribute longer than all": right(_ORIGIN, _PATH, _HOP, wire.attribute(8, b"abcd", flags=0xC0, length=200)),
}
"""Errors that RFC 7606 treats as a withdrawal: the session stays, the route goes."""

BROKEN: Final[dict[str, bytes]] = {
    "prefix of 33 bits": right(_ORIGIN, _PATH, _HOP, prefix=bytes([33, 172, 20, 1, 0, 0])),
    "prefix cut short": right(_ORIGIN, _PATH, _HOP, prefix=bytes([24, 172])),
    "attributes longer than the message": wire.update(_ORIGIN + _PATH + _HOP, b"", length=4000),
    "bad marker": wire.message(2, b"\0\0\0\0", marker=b"\0" * 16),
    "message shorter than its header": wire.message(4, b"", length=5),
    "message longer than any": wire.message(2, b"", length=65535),
    "unknown kind of message": wire.message(77, b"?"),
    "noise": bytes(range(256)) * 4,
}
"""After these no session can go on, and a new one must be possible."""

LAST: Final = BROKEN["unknown kind of message"]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with made("hostile") as world:
        yield world


@pytest.fixture(scope="module", autouse=True)
def good(world: World) -> Iterator[wire.Speaker]:
    """A peer that does nothing wrong, whose route is in the kernel."""
    peer = wire.Speaker(world.names.of("two"), TWO, GOOD)
    world.agree(CLUSTER)
    peer.up()
    peer.send(wire.END_OF_RIB)

    def is_used() -> bool:
        """An agent that has come to its speaker only now asks again, which this peer does not answer."""
        route = right(_ORIGIN, wire.as_path(GOOD), wire.next_hop(TWO), prefix=wire.nlri(PROOF))
        peer.send(route, wire.END_OF_RIB)  # without it no route of any peer would go for half a minute
        return world.gateways(PROOF) == {str(TWO)}

    wait_until(is_used)
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def evil(world: World) -> Iterator[wire.Speaker]:
    peer = wire.Speaker(world.names.of("one"), ONE, EVIL)
    yield peer
    peer.close()


@pytest.fixture
def attacker(world: World, evil: wire.Speaker) -> Iterator[wire.Speaker]:
    """A new session, with a good route; afterwards the other one's session and route have not been disturbed."""
    since_s = world.peer(TWO)["uptime_s"]
    evil.up()
    evil.send(right(_ORIGIN, _PATH, _HOP), wire.END_OF_RIB)
    wait_until(lambda: world.gateways(BAIT) == {str(ONE)})
    yield evil
    assert world.gateways(PROOF) == {str(TWO)}
    assert world.peer(TWO)["uptime_s"] >= since_s
    evil.hang_up()
    wait_until(lambda: not world.established(ONE))


@pytest.mark.parametrize("case", REJECTED)
def test_an_unusable_route_is_not_used_and_the_table_shows_why(world: World, attacker: wire.Speaker, case: str) -> None:
    message, rule = REJECTED[case]
    attacker.send(message)
    wait_until(lambda: [row["rule"] for row in world.received(which="rejected").values()] == [rule])
    assert world.peer(ONE)["rejected"] == 1
    if rule != "martian":
        wait_until(lambda: not world.gateways(BAIT))
    assert world.established(ONE)


@pytest.mark.parametrize("case", WITHDRAWN)
def test_what_is_malformed_is_withdrawn_and_counted(world: World, attacker: wire.Speaker, case: str) -> None:
    since_s, before = world.peer(ONE)["uptime_s"], world.peer(ONE)["malformed"]
    attacker.send(WITHDRAWN[case])
    wait_until(lambda: not world.gateways(BAIT))
    wait_until(lambda: world.peer(ONE)["malformed"] > before)
    assert "(RFC " in world.peer(ONE)["last_malformed"]
    assert world.peer(ONE)["uptime_s"] >= since_s


@pytest.mark.parametrize("case", BROKEN)
def test_what_breaks_a_session_breaks_that_one_alone(world: World, attacker: wire.Speaker, case: str) -> None:
    attacker.send(BROKEN[case])
    wait_until(lambda: not world.established(ONE))
    wait_until(lambda: not world.gateways(BAIT))


def test_a_peer_above_the_prefix_limit_is_ended_and_the_table_shows_it(world: World, attacker: wire.Speaker) -> None:
    before = world.kernel() - {str(BAIT)}
    first = Prefix.parse("172.16.0.0/12").network
    prefixes = (Prefix(4, first + number, 32) for number in range(FLOOD))
    attacker.send(*wire.packed(_ORIGIN + _PATH + _HOP, prefixes))
    wait_until(lambda: bool(world.peer(ONE).get("prefix_limit_exceeded")), within_s=60)
    wait_until(lambda: world.kernel() == before, within_s=60)
    assert "exceeds the prefix limit" in world.peer(ONE)["error"]
    attacker.send(LAST)
    wait_until(lambda: not world.established(ONE), within_s=60)
    assert world.kernel() == before
