"""Notes in probes: what is read of one, and who differs."""

from __future__ import annotations

from dataclasses import replace

from bgpctl.agent.agreement import Agreement
from bgpctl.core.cluster.agreement import fingerprint
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Asn
from bgpctl.core.proof.note import SETTLE_S, Difference, decode, encode, note_of
from bgpctl.process.fake import FakeClock
from tests.cluster import allocated, node, prefixes, two_racks

INTENT = two_racks(ipip=Mode.CROSS_SUBNET)
OTHER = replace(INTENT, asn=Asn(INTENT.asn + 1))
LARGER = replace(INTENT, nodes=(*INTENT.nodes, node("b3", "10.1.0.5/24")))
A2, B1, STRANGER = map(Address.parse, ("10.0.0.2", "10.1.0.3", "10.9.9.9"))


def note(intent: Intent) -> bytes:
    return encode(note_of(fingerprint(intent)))


def test_a_note_is_read_as_it_was_written_whatever_follows() -> None:
    written = note(INTENT)
    assert len(written) == 24
    assert decode(written) == decode(written + b"more") == note_of(fingerprint(INTENT))


def test_a_later_version_is_read_as_far_as_it_is_the_same() -> None:
    later = bytearray(note(INTENT)) + b"appended"
    later[4] = 2
    assert decode(bytes(later)) == note_of(fingerprint(INTENT))


def test_no_note_is_read_where_there_is_none() -> None:
    assert [decode(octets) for octets in (b"", bytes(24), b"bgpn" + bytes(20), note(INTENT)[:23])] == [None] * 4


def test_an_equal_configuration_has_an_equal_note_and_another_one_another() -> None:
    assert note(INTENT) == note(two_racks(ipip=Mode.CROSS_SUBNET))
    moved = allocated(INTENT, "a1", blocks=prefixes("10.244.9.0/26"))
    assert len({note(INTENT), note(OTHER), note(LARGER), note(moved)}) == 4
    assert note(INTENT)[16:] == note(OTHER)[16:] == note(moved)[16:] != note(LARGER)[16:]


class Node:
    """The agreement of one node, as its prover keeps it."""

    def __init__(self, intent: Intent) -> None:
        self.clock = FakeClock()
        self.agreement = Agreement(self.clock)
        self.load(intent)

    def load(self, intent: Intent) -> None:
        own = self.agreement.prepared(intent)
        assert own
        self.agreement.take(own)

    def hears(self, source: Address, intent: Intent) -> bool:
        found = decode(note(intent))
        assert found
        return self.agreement.heard(source, found)


def test_a_member_with_another_configuration_is_named_until_it_has_ours() -> None:
    here = Node(INTENT)
    here.clock.advance(SETTLE_S)
    assert not here.hears(A2, INTENT)
    assert here.hears(B1, OTHER)
    assert here.agreement.differences() == (Difference("b1", members=False),)
    assert not here.hears(B1, OTHER)
    assert here.hears(B1, LARGER) is False
    assert here.agreement.differences() == (Difference("b1", members=True),)
    assert here.hears(B1, INTENT)
    assert here.agreement.differences() == ()


def test_while_a_change_spreads_nobody_is_named() -> None:
    here = Node(INTENT)
    here.clock.advance(SETTLE_S)
    here.load(OTHER)
    assert not here.hears(B1, INTENT)
    assert here.agreement.differences() == ()
    here.clock.advance(SETTLE_S)
    assert here.hears(B1, INTENT)
    assert here.agreement.differences() == (Difference("b1", members=False),)


def test_a_change_here_forgets_who_differed_until_it_is_heard_again() -> None:
    here = Node(INTENT)
    here.clock.advance(SETTLE_S)
    assert here.hears(B1, OTHER)
    assert here.agreement.differences()
    here.load(OTHER)
    assert here.agreement.is_changed
    assert here.agreement.differences() == ()


def test_a_host_that_is_no_member_counts_for_nothing() -> None:
    here = Node(INTENT)
    here.clock.advance(SETTLE_S)
    assert not here.hears(STRANGER, OTHER)
    assert here.agreement.differences() == ()
