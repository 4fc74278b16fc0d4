"""
Reasons as data: why an object is wanted, kept, or cannot be had. The words for them are in `agent/words.py`, those for
rejected paths in `agent/bgp_words.py`.

Refuses to know: how a reason is worded.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.net.addresses import Address, Prefix


class ReasonCode(enum.Enum):
    """The reasons why a kernel object is wanted."""

    OWN_BLOCK = "own-block"
    BEST_PATH = "best-path"
    MEMBER = "member"
    TUNNEL = "tunnel"
    FORWARDING = "forwarding"
    NAT_OUTGOING = "nat-outgoing"
    WORKLOADS = "workloads"
    SERVICE = "service"
    KEPT = "kept"
    NOT_WANTED = "not-wanted"


@dataclass(frozen=True, slots=True)
class Reason:
    """
    The reason of one wanted object, with its facts.

    Attributes:
        pool: name of the pool that decided the encapsulation.
        source: the node or peer that the knowledge came from.
        remote: the BGP next hop or the remote node's underlay address.
        same_subnet: whether `remote` lies inside this node's own network; None where it was not asked.
    """

    code: ReasonCode
    pool: str | None = None
    source: str | None = None
    remote: Address | None = None
    encapsulation: Encapsulation | None = None
    same_subnet: bool | None = None


class UnmetCode(enum.Enum):
    """The reasons why something wanted cannot be had now."""

    UNDERLAY_UNKNOWN = "underlay-unknown"
    NEXT_HOP_UNRESOLVED = "next-hop-unresolved"
    NO_TUNNEL_ADDRESS = "no-tunnel-address"
    KEY_TAKEN = "key-taken"
    NO_ADDRESS = "no-address"
    STRICT_REVERSE_PATH = "strict-reverse-path"


@dataclass(frozen=True, slots=True)
class Unmet:
    """Something wanted that cannot be had: `subject` is a prefix or a name."""

    code: UnmetCode
    subject: str
    detail: str = ""


class PruneHoldCode(enum.Enum):
    """The reasons why nothing may be removed now."""

    FACTS_UNKNOWN = "facts-unknown"
    SPEAKER_AWAY = "speaker-detached"
    PEER_TABLE_INCOMPLETE = "awaiting-end-of-rib"


@dataclass(frozen=True, slots=True)
class PruneHold:
    """A removal that is deferred: `subject` names the source whose information is missing."""

    code: PruneHoldCode
    subject: str


class RejectCode(enum.Enum):
    """The reasons why the import policy rejects a received path."""

    BAD_ORIGIN = "bad-origin"
    NO_NEXT_HOP = "no-next-hop"
    BAD_NEXT_HOP = "bad-next-hop"
    OWN_NEXT_HOP = "own-next-hop"
    FIRST_AS = "first-as"
    OWN_AS = "own-as"
    ROUTE_LEAK = "route-leak"
    OWN_ORIGINATOR = "own-originator"
    OWN_CLUSTER = "own-cluster"
    MARTIAN = "martian"
    OWN_BLOCK = "own-block"
    OTHERS_BLOCK = "others-block"
    NOBODYS_BLOCK = "nobodys-block"
    OWN_SERVICE = "own-service"
    NO_INSTANCE = "no-instance"
    COVERS_NODE = "covers-node"
    ON_UNDERLAY = "on-underlay"
    NOT_BY_BGP = "not-by-bgp"
    NOT_A_MEMBER = "not-a-member"
    FILTER = "filter"
    DEFAULT_ROUTE = "default-route"
    OUTSIDE_POOLS = "outside-pools"
    NO_POLICY = "no-policy"


class Rejection(NamedTuple):
    """A rule that forbids a path. `detail` names its subject: an address, an AS, a node, a filter."""

    reason: RejectCode
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RejectedPath:
    """A path that was received and not used. It stays visible with its reason. `path_id` as in Path."""

    prefix: Prefix
    peer: Address
    rejection: Rejection
    path_id: int | None = None
