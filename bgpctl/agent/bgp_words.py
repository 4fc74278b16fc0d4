"""
BGP in words: rejected paths, lost comparisons, sessions that are not up.

Refuses to know: how any of it was decided.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from bgpctl.core.bfd.packet import SessionState
from bgpctl.core.bgp import roles
from bgpctl.core.bgp.decision import Lost
from bgpctl.core.bgp.peer_table import PeerTable
from bgpctl.core.bgp.speaker import DownKind, Malformed, Session
from bgpctl.core.cluster.count import count
from bgpctl.core.cluster.reasons import RejectCode, Rejection

PREFIX_LIMIT_EXCEEDED: Final = "the peer exceeds the prefix limit: none of its paths is used"


class SessionError(NamedTuple):
    """The fault of a session, and the next command to run."""

    text: str
    command: str


def session_error(session: Session, table: PeerTable) -> SessionError | None:
    """None for a session that is up and within its limit."""
    if table.over_limit_since_s is not None:
        return SessionError(PREFIX_LIMIT_EXCEEDED, f"bgpctl show neighbor {session.name}")
    if table.established:
        return None
    if table.down is None:
        return _waiting(session)
    return _down(session, table, table.down)


def _waiting(session: Session) -> SessionError:
    if session.passive:
        return SessionError(f"waiting for {session.peer} to connect", f"ss -tln sport = :{session.port}")
    return SessionError(f"connecting to {session.peer} port {session.port}", f"ping -c 3 {session.peer}")


def _down(session: Session, table: PeerTable, down: DownKind) -> SessionError:
    match down:
        case DownKind.NO_ANSWER:
            text = _dropped(session)
        case DownKind.WRONG_AS:
            text = _as_numbers(session, table)
        case DownKind.WRONG_ROLE:
            text = _roles(session, table)
        case _:
            text = _TEXT[down]
    facts = {
        "peer": session.peer,
        "port": session.port,
        "local": session.local,
        "name": session.name,
        "hold": session.hold_time_s,
        "error": _with_meaning(table.last_error) or "no reason given",
    }
    return SessionError(text.format(**facts), _NEXT.get(down, _LISTING).format(**facts))


_NOTIFICATION: Final = re.compile(r"notification (?:sent|received) \((\d+),(\d+)\)")
_MEANINGS: Final[Mapping[tuple[int, int], str]] = {
    (5, 1): "unexpected message after the OPEN was sent",
    (5, 2): "unexpected message while the OPEN is confirmed",
    (5, 3): "unexpected message in an established session",
    (6, 1): "maximum number of prefixes reached",
    (6, 2): "administrative shutdown",
    (6, 3): "peer de-configured",
    (6, 4): "administrative reset",
    (6, 5): "connection rejected",
    (6, 6): "other configuration change",
    (6, 7): "connection collision",
    (6, 8): "out of resources",
    (6, 9): "hard reset",
    (6, 10): "BFD down",
}
"""RFC 6608 (5); RFC 4486, 8538 and 9384 (6)."""


def _with_meaning(error: str) -> str:
    """ExaBGP's text, and the words for the code and subcode of a NOTIFICATION."""
    noted = _NOTIFICATION.fullmatch(error)
    meaning = _MEANINGS.get((int(noted[1]), int(noted[2]))) if noted else None
    return f"{error}: {meaning}" if meaning else error


def too_large(session: Session, number: int) -> str:
    """Routes that are kept in because of their size."""
    return (
        f"peer {session.name} is not sent {count(number, 'route')}: its messages have no room for the attributes "
        f"(RFC 8654); see: bgpctl show neighbor {session.name} -o json"
    )


_TEXT: Final[Mapping[DownKind, str]] = {
    DownKind.REFUSED: "{peer} refuses connections to port {port}: no daemon listens there, or a firewall rejects them",
    DownKind.UNREACHABLE: "{peer} cannot be reached: no route, or its host is down",
    DownKind.SILENT: "{peer} accepts the connection and sends no OPEN",
    DownKind.CLOSED: "{peer} closed the connection without a NOTIFICATION",
    DownKind.BAD_OPEN: "the OPEN was rejected ({error}): check router id, hold time and capabilities",
    DownKind.HOLD_EXPIRED: "hold timer expired: no KEEPALIVE or UPDATE for {hold} s",
    DownKind.PREFIX_LIMIT: "{peer} ended the session: this node announces more prefixes than its limit",
    DownKind.SHUT_DOWN: "an operator shut the session down ({error})",
    DownKind.NOT_CONFIGURED: "{peer} has no peer {local} configured",
    DownKind.BFD_DOWN: "the path to {peer} failed: {error}",
    DownKind.OTHER: "{error}",
}

_LISTING: Final = "bgpctl show neighbor {name}"

_NEXT: Final[Mapping[DownKind, str]] = {
    DownKind.REFUSED: "nc -vz {peer} {port}",
    DownKind.UNREACHABLE: "ip route get {peer}",
    DownKind.NO_ANSWER: "tcpdump -ni any host {peer} and port {port}",
    DownKind.HOLD_EXPIRED: "ping -c 3 {peer}",
    DownKind.BFD_DOWN: "ping -c 3 {peer}",
    DownKind.NOT_CONFIGURED: "ip address show to {local}",
}


def _dropped(session: Session) -> str:
    text = f"no answer from {session.peer} port {session.port}"
    password = "the TCP MD5 password differs" if session.password_file else "it requires a TCP MD5 password"
    hops = "the TTL security hops differ" if session.ttl_security else "it requires TTL security"
    return f"{text}: either {password}, or {hops}, or a firewall drops the packets"


def _as_numbers(session: Session, table: PeerTable) -> str:
    """Both ends' AS numbers; which one is wrong is known to the operators only."""
    if table.asn is not None and table.asn != session.peer_asn:
        return f"the OPEN of {session.peer} has AS {table.asn}, the cluster file has AS {session.peer_asn}"
    configured = f"the cluster file has {session.local_asn} for this node and {session.peer_asn} for {session.peer}"
    return f"the ends expect different AS numbers: {configured}"


def _roles(session: Session, table: PeerTable) -> str:
    """Both ends' roles, as far as there are any (RFC 9234, section 4.2)."""
    theirs = f"the OPEN of {session.peer} has {role_words(table.roles)}"
    if session.role is None:
        return f"{theirs}; it requires one of this node: set localRole"
    wanted = f"localRole {session.role.value}, whose counterpart is {roles.COUNTERPART[session.role].value}"
    required = ", and strictRole" if session.strict_role else ""
    return f"{theirs}; the cluster file has {wanted}{required}"


def role_words(numbers: tuple[int, ...]) -> str:
    """The roles in an OPEN; 256 stands for what is no role."""
    known = {number: role.value for role, number in roles.NUMBERS.items()}
    names = " and ".join(known.get(number, str(number)) for number in numbers)
    return f"role{'s' if len(numbers) > 1 else ''} {names}" if names else "no role"


_LOST: Final[Mapping[Lost, str]] = {
    Lost.UNRESOLVED: "no route leads to its next hop",
    Lost.UNREACHABLE: "no probe reply from its next hop",
    Lost.LOCAL_PREF: "lower local preference",
    Lost.AS_PATH: "longer AS path",
    Lost.ORIGIN: "worse origin",
    Lost.MED: "higher MED from the same neighbour AS",
    Lost.INTERNAL: "internal (iBGP), and an external (eBGP) path exists",
    Lost.COST: "higher cost to its next hop",
    Lost.ROUTER_ID: "higher router id",
    Lost.CLUSTER_LIST: "longer cluster list",
    Lost.PEER_ADDRESS: "higher peer address",
    Lost.PATH_ID: "higher path identifier",
}

_REJECTED: Final[Mapping[RejectCode, str]] = {
    RejectCode.BAD_ORIGIN: "malformed ORIGIN {}",
    RejectCode.NO_NEXT_HOP: "no next hop",
    RejectCode.BAD_NEXT_HOP: "invalid next hop {}",
    RejectCode.OWN_NEXT_HOP: "the next hop {} is this node",
    RejectCode.FIRST_AS: "the AS path does not begin with the peer's AS ({})",
    RejectCode.OWN_AS: "own AS in the AS path {}",
    RejectCode.ROUTE_LEAK: "a route leak (RFC 9234): by its OTC, AS {}, it may go to customers only",
    RejectCode.OWN_ORIGINATOR: "this node originated it",
    RejectCode.OWN_CLUSTER: "own cluster id {} in the cluster list",
    RejectCode.MARTIAN: "a martian prefix: not to be routed",
    RejectCode.OWN_BLOCK: "covers or lies in a block of this node",
    RejectCode.NOT_A_MEMBER: "would go through a tunnel to {}, which is no member and has no end for it",
    RejectCode.OTHERS_BLOCK: "belongs to node {}, and the path does not lead there",
    RejectCode.NOBODYS_BLOCK: "no node has this part of pool {}",
    RejectCode.OWN_SERVICE: "this node has an instance of service {} itself",
    RejectCode.NO_INSTANCE: "leads to no node that has an instance of service {}",
    RejectCode.COVERS_NODE: "covers a node's address",
    RejectCode.ON_UNDERLAY: "part of the underlay",
    RejectCode.NOT_BY_BGP: "pool {} is not routed by BGP",
    RejectCode.FILTER: "filter {}",
    RejectCode.DEFAULT_ROUTE: "a default route, and no filter accepts it",
    RejectCode.OUTSIDE_POOLS: "outside every pool, and no filter accepts it",
    RejectCode.NO_POLICY: "no node owns it, and no filter accepts it from outside (RFC 8212)",
}


def lost(step: Lost) -> str:
    """The step of the decision process in which a path lost against the best one."""
    return _LOST[step]


def rejection(item: Rejection) -> str:
    """The reason why a path is rejected."""
    return _REJECTED[item.reason].format(item.detail)


def bfd_state(state: SessionState) -> str:
    """RFC 5880, section 6.2."""
    return state.name.lower().replace("_", " ")


def malformed(event: Malformed) -> str:
    """Errors in UPDATEs that the session outlives."""
    treatment = "treated as withdrawals" if event.withdrawn else "ignored"
    return f"{count(event.count, 'error')} in UPDATEs of {event.peer} {treatment}: {event.reason}"
