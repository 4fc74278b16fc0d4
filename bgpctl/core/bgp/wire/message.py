"""
An UPDATE as values: the session that it came by, and the meaning of its bytes or the reason why it has none.

Refuses to know: bytes, and which route is used.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, NamedTuple

from bgpctl.core.bgp.path import RawAttribute
from bgpctl.core.net.addresses import Address, Asn, Prefix


class Family(NamedTuple):
    """Address family and subsequent address family (RFC 4760)."""

    afi: int
    safi: int

    @property
    def version(self) -> int:
        """The IP version of its prefixes."""
        return 4 if self.afi == 1 else 6

    def __str__(self) -> str:
        return f"IPv{self.version} unicast" if self in UNICAST else f"AFI {self.afi} SAFI {self.safi}"


IPV4_UNICAST: Final = Family(1, 1)
IPV6_UNICAST: Final = Family(2, 1)
UNICAST: Final = frozenset({IPV4_UNICAST, IPV6_UNICAST})
"""The families that are understood; all others are ignored, also if negotiated."""

_NO_FAMILIES: Final = frozenset[Family]()


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """
    The outcome of both OPENs, as far as it changes the meaning of an UPDATE that is received.

    Attributes:
        peer_asn: the peer's AS, four octets also on a two-octet session.
        internal: the peer is in our AS; in a confederation, in our Member-AS.
        confederation: we are in a confederation (RFC 5065), and the peer is in it too.
        four_octet: AS numbers have four octets: both OPENs had the capability (RFC 6793).
        families: both OPENs had them; a peer without the capability has IPv4 unicast (RFC 4760, section 8).
        add_path: those in which the peer sends path identifiers (RFC 7911).
        extended_next_hop: those whose prefixes may have an IPv6 next hop although they are IPv4 (RFC 8950).
        extended_message: a message may have 65,535 octets (RFC 8654), otherwise 4,096.
        first_as_check: an external peer's path has to begin with its AS (RFC 4271, section 6.3); off for a route
            server, which leaves itself out (RFC 7947).
    """

    local_asn: Asn
    peer_asn: Asn
    internal: bool
    confederation: bool = False
    four_octet: bool = True
    families: frozenset[Family] = frozenset({IPV4_UNICAST})
    add_path: frozenset[Family] = _NO_FAMILIES
    extended_next_hop: frozenset[Family] = _NO_FAMILIES
    extended_message: bool = False
    first_as_check: bool = True

    # One session has the same facts for all its UPDATEs, which are remembered by them: a few tell sessions apart.
    def __hash__(self) -> int:
        return hash((self.local_asn, self.peer_asn, self.four_octet))

    @property
    def external(self) -> bool:
        """The peer is outside our AS and outside our confederation."""
        return not self.internal and not self.confederation


# Attributes ----------------------------------------------------------------------------------------------------


class SegmentKind(enum.IntEnum):
    """Kinds of AS_PATH segments, with their numbers (RFC 4271, section 4.3; RFC 5065, section 3)."""

    SET = 1
    SEQUENCE = 2
    CONFED_SEQUENCE = 3
    CONFED_SET = 4


class Segment(NamedTuple):
    """A part of an AS path, the AS that was passed last first."""

    kind: SegmentKind
    asns: tuple[Asn, ...]


class Aggregator(NamedTuple):
    """The router that made an aggregate (RFC 4271, section 5.1.7)."""

    asn: Asn
    router_id: Address


class PathAttributes(NamedTuple):
    """
    The path attributes of an UPDATE after all error handling, next hops aside. A tuple, since each UPDATE has one.

    Attributes:
        origin: "igp", "egp" or "incomplete".
        as_path: with AS4_PATH merged into it (RFC 6793, section 4.2.3).
        local_pref: None from an external peer.
        communities: the plain ones as pairs (RFC 1997), then the large ones as triples (RFC 8092).
        extended: of each extended community (RFC 4360) the eight octets as one number.
        originator, cluster_list: None and empty from an external peer.
        only_to_customer: the AS in OTC (RFC 9234).
        others: of attributes that are not understood the transitive ones, Partial set: as they are passed on (RFC 4271,
            section 5). Sorted by code, without duplicates.
        partial: codes of those understood that came with Partial, which no other AS may clear.
    """

    origin: str
    as_path: tuple[Segment, ...] = ()
    med: int | None = None
    local_pref: int | None = None
    communities: tuple[tuple[int, ...], ...] = ()
    extended: tuple[int, ...] = ()
    originator: Address | None = None
    cluster_list: tuple[Address, ...] = ()
    atomic_aggregate: bool = False
    aggregator: Aggregator | None = None
    only_to_customer: Asn | None = None
    others: tuple[RawAttribute, ...] = ()
    partial: frozenset[int] = frozenset()


# Routes --------------------------------------------------------------------------------------------------------


class NextHop(NamedTuple):
    """`address` is global, unless the peer has only a link-local one; `link_local` is the second of two (RFC 2545)."""

    address: Address
    link_local: Address | None = None


class Nlri(NamedTuple):
    """Prefixes of one family, each once; with add-path `path_ids` has one identifier for each, and a prefix several."""

    family: Family
    prefixes: tuple[Prefix, ...]
    path_ids: tuple[int, ...] = ()


class Announcement(NamedTuple):
    """Prefixes that share attributes and next hop."""

    attributes: PathAttributes
    next_hop: NextHop
    nlri: Nlri


class Treatment(enum.IntEnum):
    """The cost of a fault, the lowest first (RFC 7606, section 2)."""

    DISCARD = 1
    """The attribute, or the prefixes of a family that was not negotiated, are ignored."""
    WITHDRAW = 2
    """All announced prefixes of the message are withdrawn."""


class Fault(NamedTuple):
    """
    An error in a message that leaves the session as it is.

    Attributes:
        code: type code of the attribute, None where none can be named.
        section: where the treatment is prescribed, as "RFC 7606, section 7.1".
        reason: one line for a log.
    """

    treatment: Treatment
    code: int | None
    section: str
    reason: str


class UpdateMessage(NamedTuple):
    """
    The meaning of an UPDATE.

    Attributes:
        announced: at most two. Empty if a fault asks for treat-as-withdraw.
        withdrawn: at most one Nlri for each family, none of whose routes is announced.
        end_of_rib: the family whose initial table is complete (RFC 4724, section 2).
        faults: in the order in which they were found.
    """

    announced: tuple[Announcement, ...] = ()
    withdrawn: tuple[Nlri, ...] = ()
    end_of_rib: Family | None = None
    faults: tuple[Fault, ...] = ()


class SessionReset(NamedTuple):
    """An error that ends the session: the NOTIFICATION to send (RFC 4271, section 6), and one line for a log."""

    code: int
    subcode: int
    data: bytes
    section: str
    reason: str
