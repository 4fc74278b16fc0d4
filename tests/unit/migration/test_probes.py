"""Results of probes: how long they count, and when a return path is a new one."""

from __future__ import annotations

from bgpctl.core.cluster.encapsulation import IPIP
from bgpctl.core.fabric.ipip import LINK as IPIP_LINK
from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.migration.probes import NO_RESULTS, REPLY_VALID_S, Probe, ProbeReply, with_replies
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Link, NextHop, Plain

OWN, BLOCK, REMOTE, FORMER = map(Address.parse, ("10.0.0.1", "10.244.1.0", "10.1.0.3", "10.1.0.9"))
HOP = NextHop(7, IPIP_LINK, REMOTE, onlink=True)
THERE = Probe(HOP, IPIP, OWN, REMOTE, OWN, REMOTE)
BACK = Probe(HOP, IPIP, OWN, REMOTE, BLOCK, REMOTE)
KERNEL = Dataplane.of((Link(IPIP_LINK, Ipip(), 1480), Link("eth0", Plain(""), 1500, owned=False)))


def test_a_reply_counts_for_a_while_and_is_then_forgotten() -> None:
    results = with_replies(NO_RESULTS, [ProbeReply(THERE, "eth0")], KERNEL, 10.0)
    assert results.proves(THERE.path, 10.0 + REPLY_VALID_S)
    assert not results.proves(THERE.path, 10.1 + REPLY_VALID_S)
    assert with_replies(results, [], KERNEL, 10.1 + REPLY_VALID_S).answered == {}


def test_only_a_probe_from_a_block_shows_how_the_member_sends() -> None:
    assert with_replies(NO_RESULTS, [ProbeReply(THERE, "eth0")], KERNEL, 1.0).return_path(HOP.id, 1.0) is None
    results = with_replies(NO_RESULTS, [ProbeReply(BACK, IPIP_LINK, REMOTE)], KERNEL, 1.0)
    assert results.return_path(HOP.id, 1.0 + REPLY_VALID_S) is not None
    assert results.return_path(HOP.id, 1.1 + REPLY_VALID_S) is None


def test_a_return_path_is_as_old_as_the_first_of_equal_replies() -> None:
    results = NO_RESULTS
    since_s = []
    for at_s, link, source in ((1.0, IPIP_LINK, FORMER), (2.0, IPIP_LINK, FORMER), (3.0, IPIP_LINK, REMOTE)):
        results = with_replies(results, [ProbeReply(BACK, link, source)], KERNEL, at_s)
        since_s.append(results.return_paths[HOP.id].since_s)
    results = with_replies(results, [ProbeReply(BACK, "eth0")], KERNEL, 4.0)
    assert [*since_s, results.return_paths[HOP.id].since_s] == [1.0, 1.0, 3.0, 4.0]


def test_only_the_last_round_counts_for_all_members_at_once() -> None:
    before = with_replies(NO_RESULTS, [ProbeReply(THERE, "eth0")], KERNEL, 1.0)
    assert before.proves_with_all(THERE.path, 1.5)
    later = with_replies(before, [], KERNEL, 2.0)
    assert (later.proves(THERE.path, 2.0), later.proves_with_all(THERE.path, 2.0)) == (True, False)
