"""
The steps of a packet, and what ends it, as values: each with the object that decided.

An ending is one of three. *Delivered*: a kernel takes the packet, or gives it to a link where it is at its destination.
*Broken*: a kernel drops it. *Unknown*: what decides could not be read. A suspicion is no ending: something on the way
that may be why a packet is lost later, as a foreign route in place of ours is.

Refuses to know: words (agent/trace_words.py).
"""

from __future__ import annotations

import enum
from typing import NamedTuple, TypeAlias

from bgpctl.core.cluster.reasons import Reason
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import Decap, InnerFilter, Masquerade, Route, Rule
from bgpctl.core.trace.netfilter import Fate
from bgpctl.core.trace.packet import Packet
from bgpctl.core.trace.snapshot import Unread


class StepCode(enum.Enum):
    """An event of the packet."""

    MADE = "made"
    ARRIVES = "arrives"
    DECAPSULATED = "decapsulated"
    ROUTED = "routed"
    TRANSLATED = "translated"
    ENCAPSULATED = "encapsulated"
    CUT = "cut"
    LEAVES = "leaves"
    CROSSES = "crosses"
    RECEIVED = "received"


class Break(enum.Enum):
    """Why a packet goes no further. The last ones are suspicions."""

    NO_ROUTE = "no-route"
    REFUSED_BY_ROUTE = "refused-by-route"
    REFUSED_BY_RULE = "refused-by-rule"
    NO_WORKLOAD = "no-workload"
    NO_NEXT_HOP = "no-next-hop"
    LINK_DOWN = "link-down"
    NO_LINK = "no-link"
    NO_NEIGHBOUR = "no-neighbour"
    NEIGHBOUR_SILENT = "neighbour-silent"
    NOT_ON_LINK = "not-on-link"
    NO_TUNNEL_END = "no-tunnel-end"
    TOO_BIG = "too-big"
    OUTER_TOO_BIG = "outer-too-big"
    NOT_FORWARDING = "not-forwarding"
    REVERSE_PATH = "reverse-path"
    MARTIAN = "martian"
    CHAIN = "chain"
    NOT_A_SENDER = "not-a-sender"
    INNER_REFUSED = "inner-refused"
    WORKLOAD_REFUSED = "workload-refused"
    NOT_A_TUNNEL = "not-a-tunnel"
    NO_SOURCE = "no-source"
    LOOP = "loop"
    LOST_PATH = "lost-path"
    NARROW_PATH = "narrow-path"
    NODE_DOWN = "node-down"
    CUT = "cut"
    SHADOWED = "shadowed"
    FOREIGN_MASQUERADE = "foreign-masquerade"


Subject: TypeAlias = Route | Rule | Fate | Decap | InnerFilter | Masquerade | Address | str | None


class Cause(NamedTuple):
    """
    Why a packet is lost. `subject` is the object that decides, `other` one that was passed over for it, `numbers` what
    was compared: sizes and limits in bytes, with their names.
    """

    code: Break
    subject: Subject = None
    other: Subject = None
    numbers: tuple[tuple[str, int], ...] = ()


class Step(NamedTuple):
    """
    One step at one node.

    Attributes:
        packet: as it is after this step.
        link: the device by which it arrives, leaves or is encapsulated.
        subject: the route, tunnel or rule that decided.
        gateway: the next hop, or the tunnel's other end.
        why: the reason of an object of ours.
        suspect: something that may be why the packet is lost later.
        choices: of how many next hops the flow has one.
    """

    node: str
    code: StepCode
    packet: Packet
    link: str = ""
    subject: Subject = None
    rule: Rule | None = None
    gateway: Address | None = None
    why: Reason | None = None
    suspect: Cause | None = None
    choices: int = 1


class Leaves(NamedTuple):
    """The packet goes to `next_hop`, which is the destination itself on a connected network."""

    link: str
    next_hop: Address
    packet: Packet


class Delivered(NamedTuple):
    """`link` is empty where the kernel takes it; `declared_block`: to a block of which no workload is known."""

    packet: Packet
    link: str = ""
    declared_block: bool = False


class Broken(NamedTuple):
    """A kernel drops it."""

    cause: Cause


class Unknown(NamedTuple):
    """Something that decides is not known."""

    unread: Unread


End: TypeAlias = Leaves | Delivered | Broken | Unknown


class Translation(NamedTuple):
    """At `node` the source of packets to `destination` became `outside`; answers get `inside` back."""

    node: str
    destination: Address
    inside: Address
    outside: Address


class Passage(NamedTuple):
    """All that one kernel does with a packet. `choices`: how many next hops it chose among."""

    steps: tuple[Step, ...]
    end: End
    choices: int = 1
    translations: tuple[Translation, ...] = ()
