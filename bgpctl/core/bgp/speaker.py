"""BGP nouns: sessions wanted, reports of a speaker, commands to it.

Refuses to know: ExaBGP, its text and its JSON.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

from bgpctl.core.bgp.bfd import BfdChanged, BfdOptions
from bgpctl.core.bgp.path import Attributes, Path
from bgpctl.core.cluster.configuration import Role
from bgpctl.core.net.addresses import Address, Asn, Prefix


@dataclass(frozen=True, slots=True, order=True)
class Session:
    """
    One BGP session of this node. Times in seconds.

    Attributes:
        name: that of the node or of the Peer at the other end; a node may be there twice, once per IP version.
        local: our address in it.
        passive: we wait for the peer to connect.
        port: where the peer listens.
        by: name of the cluster.Peer that asked for it, whose policy it follows; None for the mesh.
        client: the peer is our route reflector client (RFC 4456).
        bound: connections come from `local`; otherwise from any address that the kernel picks.
        ttl_security: GTSM (RFC 5082), the number of hops the peer may be away; None without.
        keepalive_s: between two KEEPALIVEs, at most a third of the hold time; None for that (RFC 4271, section 10).
        greatest_ttl: packets leave with a TTL of 255, so that the peer may require it.
        bfd: BFD (RFC 5880) with the peer; None without.
        role: our role, which is sent and enforced (RFC 9234); None without.
        strict_role: the peer has to send one.
        accepted: the peer is none that was named, but one of a range, which has connected.
        add_path: the peer may send several paths to a prefix (RFC 7911); we send one.
    """

    peer: Address
    name: str
    local: Address
    local_asn: Asn
    peer_asn: Asn
    passive: bool
    port: int = 179
    hold_time_s: int = 90
    keepalive_s: int | None = None
    restart_time_s: int = 120
    password_file: str | None = None
    by: str | None = None
    client: bool = False
    bound: bool = True
    ttl_security: int | None = None
    greatest_ttl: bool = False
    bfd: BfdOptions | None = None
    role: Role | None = None
    strict_role: bool = False
    accepted: bool = False
    add_path: bool = False

    @property
    def internal(self) -> bool:
        """True if both ends are in one AS."""
        return self.local_asn == self.peer_asn

    @property
    def version(self) -> int:
        """The one IP version that is spoken and spoken about: a node with both has a session for each, as in Calico."""
        return self.peer.version


@dataclass(frozen=True, slots=True)
class SpeakerConfig:
    """
    Everything the BGP speaker of one node is configured with. `sessions` is sorted by peer address; `listen6` is the
    IPv6 address of a node that has both. A connection from an address in `ranges` that has no session waits
    a while, and PeerConnecting reports it.
    """

    router_id: Address
    listen: Address
    listen_port: int
    sessions: tuple[Session, ...]
    listen6: Address | None = None
    ranges: tuple[Prefix, ...] = ()


# Reports of the speaker ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpeakerAttached:
    """
    The channel to the BGP speaker is open.

    `instance` changes when the speaker itself was restarted. `established` has each peer whose session is up now,
    with its uptime in seconds; whatever such a peer announced earlier has to be asked for again.
    """

    instance: int
    established: tuple[tuple[Address, float], ...]


@dataclass(frozen=True, slots=True)
class SpeakerDetached:
    """The channel to the BGP speaker is closed. Sessions may well be up; we cannot know."""

    reason: str


@dataclass(frozen=True, slots=True)
class SpeakerConfigRejected:
    """
    The configuration that was asked for last cannot be put in force; the one before stays. It is tried again, and
    SpeakerAttached reports when it is in force.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class PeerConnecting:
    """An address in one of the configured ranges has connected, and its OPEN names this AS; it has no session yet."""

    peer: Address
    asn: Asn


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """
    The peer's OPEN. `restart_time_s` is None without the graceful restart capability (RFC 4724); `enhanced_refresh`:
    it marks the end of a table that it was asked for (RFC 7313). `notification_restart`: both ends have set the N bit
    (RFC 8538), so a NOTIFICATION does not end a graceful restart, unless it is meant to. `route_refresh`: it may be
    asked for its table again (RFC 2918). `extended_message`: it takes messages of 65,535 octets (RFC 8654).
    `four_octet`: it knows AS numbers of four octets (RFC 6793). `roles`: each different one that it sent, by its number
    (RFC 9234, section 4.2); one is right.
    """

    peer: Address
    asn: Asn
    router_id: Address
    hold_time_s: int
    restart_time_s: int | None
    forwarding_preserved: bool
    enhanced_refresh: bool = False
    notification_restart: bool = False
    route_refresh: bool = True
    extended_message: bool = False
    four_octet: bool = True
    roles: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionUp:
    """The session is Established."""

    peer: Address


class DownKind(enum.Enum):
    """Why a session is not up, as far as it shows at our end."""

    OTHER = "other"
    REFUSED = "refused"
    """No daemon listens at the peer's port."""
    UNREACHABLE = "unreachable"
    """No route to the peer, or its host does not answer ARP or NDP."""
    NO_ANSWER = "no-answer"
    """Packets that we send are dropped without a word: a wrong or missing TCP MD5 password, GTSM, a firewall."""
    SILENT = "silent"
    """The peer took the connection and sent no OPEN."""
    CLOSED = "closed"
    """The connection ended without a NOTIFICATION."""
    WRONG_AS = "wrong-as"
    """One end expected another AS number (NOTIFICATION 2/2)."""
    WRONG_ROLE = "wrong-role"
    """The roles of both ends do not belong together, or one is missing (NOTIFICATION 2/11, RFC 9234)."""
    BAD_OPEN = "bad-open"
    """One end did not like another thing in the OPEN (NOTIFICATION 2)."""
    HOLD_EXPIRED = "hold-expired"
    """One end received nothing from the other for the hold time (NOTIFICATION 4)."""
    PREFIX_LIMIT = "prefix-limit"
    """Too many prefixes (NOTIFICATION 6/1)."""
    SHUT_DOWN = "shut-down"
    """An operator did it (NOTIFICATION 6/2, 6/4)."""
    NOT_CONFIGURED = "not-configured"
    """The peer does not know us, or no longer (NOTIFICATION 6/3, 6/5)."""
    BFD_DOWN = "bfd-down"
    """BFD has seen the path between the two fail, at one end or at both (NOTIFICATION 6/10, RFC 9384)."""


@dataclass(frozen=True, slots=True)
class SessionDown:
    """
    The session ended, or a try to open it failed.

    Attributes:
        notified: by a NOTIFICATION.
        is_final: by one from which the peer does not come back by itself: Cease with Hard Reset (RFC 8538),
            Administrative Shutdown or Peer De-configured; or by BFD Down (RFC 9384).
    """

    peer: Address
    reason: str
    notified: bool
    kind: DownKind = DownKind.OTHER
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    """
    One UPDATE, or several of one peer in their order joined: `withdrawn` and `announced` never share a prefix. Of a
    peer that sends several paths (RFC 7911), `withdrawn_paths` are those by their identifiers, none of them announced.
    """

    peer: Address
    announced: tuple[Path, ...] = ()
    withdrawn: tuple[Prefix, ...] = ()
    withdrawn_paths: tuple[tuple[Prefix, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Malformed:
    """
    Errors in UPDATEs that leave the session as it is (RFC 7606); their treatment is in the Updates already.

    Attributes:
        withdrawn: all prefixes of the message were withdrawn; otherwise an attribute or a family was ignored.
        count: the number of errors.
        reason: the first one in words.
    """

    peer: Address
    withdrawn: bool
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class EndOfRib:
    """The peer has sent all it has for one address family (RFC 4724), `version` 4 or 6."""

    peer: Address
    version: int


@dataclass(frozen=True, slots=True)
class RefreshBegun:
    """The peer's whole table follows, until RefreshEnded (RFC 7313)."""

    peer: Address
    version: int


@dataclass(frozen=True, slots=True)
class RefreshEnded:
    """The peer's whole table has been sent (RFC 7313)."""

    peer: Address
    version: int


PeerEvent: TypeAlias = (
    SessionOpened | SessionUp | SessionDown | Update | Malformed | EndOfRib | RefreshBegun | RefreshEnded | BfdChanged
)
"""An event of one peer."""

SpeakerEvent: TypeAlias = SpeakerAttached | SpeakerDetached | SpeakerConfigRejected | PeerConnecting | PeerEvent


# Commands to the speaker ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Announce:
    """Announce `prefix` with these attributes to all peers or to one, in place of what was announced before."""

    prefix: Prefix
    peer: Address | None = None
    attributes: Attributes = Attributes()


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Withdraw `prefix` from all peers or from one; harmless where it was never announced."""

    prefix: Prefix
    peer: Address | None = None


@dataclass(frozen=True, slots=True)
class SendEndOfRib:
    """End-of-RIB to one peer: it has all our routes of the family."""

    peer: Address
    version: int


@dataclass(frozen=True, slots=True)
class AskRefresh:
    """Ask one peer for its whole table again (RFC 2918)."""

    peer: Address
    version: int


@dataclass(frozen=True, slots=True)
class EndSession:
    """End the session with one peer by a NOTIFICATION; the peer may come back."""

    peer: Address
    code: int
    subcode: int


SpeakerCommand: TypeAlias = Announce | Withdraw | SendEndOfRib | AskRefresh | EndSession
