"""
Probes: echo requests that show whether packets sent over a path arrive, and by which link the answers come back.

An announcement states an intention. A reply shows what its kernel and the underlay really do: that the node
accepts the encapsulation and this sender, and that no firewall on the underlay drops IP protocol 4 or the UDP port.
It needs no agent, no BGP and no bgpctl at the other end, only an IP stack that answers ICMP.

A probe shows one of two things, and the source of its inner packet decides which:

- A forward probe comes from this node's own underlay address. The reply is addressed to the underlay and takes no
  tunnel, so the result depends on the path towards the member alone, not on the reverse path.
- A return probe comes from an address of one of our blocks. The member routes the reply as it routes all traffic to
  that block, so the link by which it arrives is the link by which the member sends to us at this moment.

A reply is one only if it repeats the secret of its request, and comes from the address that was asked: no other host
can prove a path.

A reply proves only the path that the probe took. A device of the same name can have another VNI by now, and a
member accepts one outer source and not another; so results are kept by everything that decides whether a packet
arrives. A reply counts for a few seconds, because a member may be reconfigured, or its agent rolled back, at any
time.

Refuses to know: which path needs a probe, how the packets are built and sent (kernel/probes.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.fabric.protocol import ProbeFrame
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import LinkKind, NextHop

REPLY_VALID_S: Final = 5.0
"""How long a reply counts."""
PROBE_EVERY_S: Final = 0.5


class ProbedPath(NamedTuple):
    """
    Everything that decides whether a packet arrives.

    The name of a device is not enough: after a change of VNI the same name stands for another one. Nor is the remote
    address: a receiver of IP in IP drops packets from an outer source that it does not know.
    """

    hop: NextHop
    encapsulation: Encapsulation
    local: Address
    remote: Address
    frame: ProbeFrame


@dataclass(frozen=True, slots=True)
class Probe:
    """
    An echo request sent as the next hop `hop` would send it, before any traffic uses that next hop.

    The outer packet goes from `local` to `remote`, the inner one from `source` to `target`. Without encapsulation there
    is only the inner one, and it goes to the gateway of `hop`. `frame` is the rest that a packet of this encapsulation
    consists of: only the encapsulation knows it.

    The inner packet has `size_bytes`, or is as small as can be with 0. `by_routes`: it is sent as the kernel's own
    routes lead to `target`, which then takes no encapsulation, instead of by `hop`.
    """

    hop: NextHop
    encapsulation: Encapsulation
    local: Address
    remote: Address
    source: Address
    target: Address
    frame: ProbeFrame = ProbeFrame()
    size_bytes: int = 0
    by_routes: bool = False

    @property
    def path(self) -> ProbedPath:
        """The path that a reply to this probe proves."""
        return ProbedPath(self.hop, self.encapsulation, self.local, self.remote, self.frame)

    @property
    def shows_return_path(self) -> bool:
        """True if the reply takes the path of the member's traffic to us, instead of the bare underlay."""
        return self.source != self.local


class ProbeReply(NamedTuple):
    """The reply to `probe` came in by `link`; the outer header, where it was seen, had the address `source`."""

    probe: Probe
    link: str
    source: Address | None = None


class ReturnPath(NamedTuple):
    """
    The link of ours and the outer source address by which a member's replies arrive, since when and when last; in
    seconds of the agent's clock.
    """

    link: str
    kind: LinkKind | None
    since_s: float
    last_s: float
    source: Address | None = None


@dataclass(frozen=True, slots=True)
class ProbeResults:
    """
    Results of probes, for one intent only: a member may have read the next cluster file before this node does.

    Attributes:
        answered: when each path was proven last.
        return_paths: how members send to us, by the id of our next hop to them.
        round_s: when the last round of probes ended. Only that round shows what is true of all members at once.
        rounds: how many have ended.
    """

    answered: Mapping[ProbedPath, float]
    return_paths: Mapping[int, ReturnPath]
    round_s: float = 0.0
    rounds: int = 0

    def proves(self, path: ProbedPath, at_s: float) -> bool:
        """True if a packet over this path arrived lately."""
        answered_s = self.answered.get(path)
        return answered_s is not None and _is_valid(answered_s, at_s)

    def proves_with_all(self, path: ProbedPath, at_s: float) -> bool:
        """True if a packet over this path arrived in the last round, as those over others did."""
        return self.proves(path, at_s) and self.answered[path] == self.round_s

    def return_path(self, next_hop_id: int, at_s: float) -> ReturnPath | None:
        """How the member behind the next hop sends to us; None if it is not known, or not any more."""
        known = self.return_paths.get(next_hop_id)
        return known if known and _is_valid(known.last_s, at_s) else None


NO_RESULTS: Final = ProbeResults({}, {})


def with_replies(
    results: ProbeResults, replies: Iterable[ProbeReply], observed: Dataplane, at_s: float
) -> ProbeResults:
    """The results after a round of probes that ended at `at_s`; results too old to count are dropped."""
    answered = {path: last_s for path, last_s in results.answered.items() if _is_valid(last_s, at_s)}
    return_paths = {number: item for number, item in results.return_paths.items() if _is_valid(item.last_s, at_s)}
    for reply in replies:
        answered[reply.probe.path] = at_s
        if reply.probe.shows_return_path:
            number = reply.probe.hop.id
            return_paths[number] = _updated(return_paths.get(number), reply, observed, at_s)
    return ProbeResults(answered, return_paths, at_s, results.rounds + 1)


def _updated(known: ReturnPath | None, reply: ProbeReply, observed: Dataplane, at_s: float) -> ReturnPath:
    """The return path that the reply shows; `since_s` stays while device, kind and outer source are the same."""
    now = ReturnPath(reply.link, kind_of(observed, reply.link), at_s, at_s, reply.source)
    is_same = known is not None and known._replace(since_s=at_s, last_s=at_s) == now
    return now._replace(since_s=known.since_s) if known and is_same else now


def _is_valid(last_s: float, at_s: float) -> bool:
    return at_s - last_s <= REPLY_VALID_S


def kind_of(dataplane: Dataplane, link: str) -> LinkKind | None:
    """The link's kind, VNI and port included; None if there is no link of this name."""
    found = dataplane.link(link)
    return found.kind if found else None
