"""
ExaBGP's lines as values.

ExaBGP's output is partly determined by peers, so nothing here raises: a line of no known shape is `Unrecognised`.

Refuses to know: sockets, processes, what an event means for routing.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from bgpctl.core.bgp.path import (
    Path,
)
from bgpctl.core.bgp.speaker import (
    DownKind,
    EndOfRib,
    PeerConnecting,
    RefreshBegun,
    RefreshEnded,
    SessionDown,
    SessionOpened,
    SessionUp,
    SpeakerEvent,
    Update,
)
from bgpctl.core.net.addresses import Address, Asn, InterfaceAddress, Prefix
from bgpctl.speaker import raw
from bgpctl.speaker.patches import CONNECTING, N_BIT, NO_ANSWER
from bgpctl.speaker.range_patches import CONNECTS

_UNICAST: Final = {"ipv4 unicast": 4, "ipv6 unicast": 6}
_VERSIONS: Final = {"ipv4": 4, "ipv6": 6}
_GRACEFUL_RESTART: Final = "64"
_ENHANCED_ROUTE_REFRESH: Final = "70"
_ROUTE_REFRESH: Final = frozenset({"2", "128"})
"""RFC 2918, and Cisco's from before."""
_EXTENDED_MESSAGE: Final = "6"
_FOUR_OCTET_AS: Final = "65"
_ROLE: Final = "9"
_NOTIFICATION: Final = re.compile(r"notification (sent|received) \((\d+),(\d+)\)")
_WAITED_FOR_OPEN: Final = ("sent", 1, 1)
"""ExaBGP's message to a peer that keeps silent."""
_NOTIFIED: Final[Mapping[tuple[int, int | None], DownKind]] = {
    (2, 2): DownKind.WRONG_AS,
    (2, 11): DownKind.WRONG_ROLE,
    (2, None): DownKind.BAD_OPEN,
    (4, None): DownKind.HOLD_EXPIRED,
    (6, 1): DownKind.PREFIX_LIMIT,
    (6, 2): DownKind.SHUT_DOWN,
    (6, 3): DownKind.NOT_CONFIGURED,
    (6, 4): DownKind.SHUT_DOWN,
    (6, 5): DownKind.NOT_CONFIGURED,
    (6, 9): DownKind.SHUT_DOWN,
    (6, 10): DownKind.BFD_DOWN,
}
_FINAL: Final = frozenset({(6, 2), (6, 3), (6, 9), (6, 10)})
"""
Administrative Shutdown, Peer De-configured (RFC 4486), Hard Reset (RFC 8538), and BFD Down (RFC 9384): a peer that
reports this is not restarting, and the path to it is dead.
"""
_CONNECTING: Final = {
    "closing connection": DownKind.CLOSED,
    f"{CONNECTING}{os.strerror(errno.ECONNREFUSED)}": DownKind.REFUSED,
    f"{CONNECTING}{os.strerror(errno.EHOSTUNREACH)}": DownKind.UNREACHABLE,
    f"{CONNECTING}{os.strerror(errno.ENETUNREACH)}": DownKind.UNREACHABLE,
    f"{CONNECTING}{NO_ANSWER}": DownKind.NO_ANSWER,
}
_LINK_LOCAL: Final = Prefix.parse("fe80::/10")

# Everything that reading a foreign value can raise; RecursionError is json's answer to deep nesting.
_MISREAD: Final = (LookupError, TypeError, ValueError, AttributeError, RecursionError)


class Hello(NamedTuple):
    """The bridge's first line. `lost`: lines were discarded since the last agent went."""

    exabgp_pid: int
    lost: bool


class Received(NamedTuple):
    """Something happened at one peer; ExaBGP numbers these lines, so that a gap in `counter` shows a loss."""

    peer: Address
    counter: int
    event: SpeakerEvent | None


class Connects(NamedTuple):
    """An address of a range has connected, and waits for a session."""

    event: PeerConnecting


class NeighborState(NamedTuple):
    """
    One session as ExaBGP lists it; `up_s` is None unless it is Established, `refreshes` is false if it is and the peer
    has not offered to answer a ROUTE-REFRESH (RFC 2918).
    """

    peer: Address
    up_s: int | None
    refreshes: bool = True


class Neighbors(NamedTuple):
    """All sessions of the running configuration."""

    states: tuple[NeighborState, ...]


class Description(NamedTuple):
    """The description of one neighbour of the running configuration."""

    text: str


class Advertised(NamedTuple):
    """Prefixes that ExaBGP announces to one peer, or will once it is up."""

    peer: Address
    prefixes: tuple[Prefix, ...]


class Pong(NamedTuple):
    """The answer to encode.PING."""


class Noise(NamedTuple):
    """A line without news for us. Not kept: ExaBGP's listing of its configuration has passwords in it."""


class Unrecognised(NamedTuple):
    """A line that should have been news and could not be read."""

    line: str


Line: TypeAlias = (
    Hello | Received | raw.Batch | Connects | Neighbors | Description | Advertised | Pong | Noise | Unrecognised
)


def decode(line: str) -> Line:
    """The value of one line from the bridge, without its newline. Never raises."""
    try:
        match line[:1]:
            case "{":
                return _object(json.loads(line), line)
            case "[":
                return Neighbors(tuple(_neighbor_state(entry) for entry in json.loads(line)))
            case _ if line.startswith(raw.PREFIX):
                return raw.parse(line)
            case _:
                return _text(line.strip())
    except _MISREAD:
        return Unrecognised(line)


def _text(line: str) -> Line:
    match line.split():
        case ["exabgp", _]:
            return Pong()
        case [word, address, asn] if word == CONNECTS:
            return Connects(PeerConnecting(Address.parse(address), Asn(int(asn))))
        case ["description", *words]:
            return Description(" ".join(words).strip('";'))
        case _:
            return Noise()


def _object(message: Mapping[str, Any], line: str) -> Line:
    match message:
        case {"bridge": "hello"}:
            return Hello(_integer(message["exabgp"]), message["lost"] is True)
        case {"type": "notification", "notification": str()}:
            return Noise()  # ExaBGP reports that it stops; so does the end of the stream
        case {"type": str(), "neighbor": {"direction": "send"}}:
            return Noise()
        case {"type": str(kind), "neighbor": {"address": {"peer": peer}} as neighbor}:
            address = Address.parse(_string(peer))
            return Received(address, _integer(message["counter"]), _event(kind, address, neighbor))
        case {"type": _}:
            return Unrecognised(line)
        case _:
            return _advertised(message)


def _event(kind: str, peer: Address, neighbor: Mapping[str, Any]) -> SpeakerEvent | None:
    match kind:
        case "state":
            return _state(peer, neighbor)
        case "open":
            return _opened(peer, neighbor["open"])
        case "update":
            return _message(peer, neighbor["message"])
        case "refresh":
            return _refresh(peer, neighbor["route-refresh"])
        case _:
            return None


def _state(peer: Address, neighbor: Mapping[str, Any]) -> SpeakerEvent | None:
    match neighbor["state"]:
        case "up":
            return SessionUp(peer)
        case "down":
            return _down(peer, _string(neighbor.get("reason", "")))
        case _:
            return None


def _down(peer: Address, reason: str) -> SessionDown:
    noted = _NOTIFICATION.fullmatch(reason)
    if noted is None:
        kind = next((kind for words, kind in _CONNECTING.items() if reason.startswith(words)), DownKind.OTHER)
        return SessionDown(peer, reason, notified=reason.startswith("notification"), kind=kind)
    direction, code, subcode = noted[1], int(noted[2]), int(noted[3])
    return SessionDown(
        peer, reason, notified=True, kind=_kind(direction, code, subcode), is_final=(code, subcode) in _FINAL
    )


def _kind(direction: str, code: int, subcode: int) -> DownKind:
    if (direction, code, subcode) == _WAITED_FOR_OPEN:
        return DownKind.SILENT
    return _NOTIFIED.get((code, subcode)) or _NOTIFIED.get((code, None), DownKind.OTHER)


def _opened(peer: Address, message: Mapping[str, Any]) -> SessionOpened:
    capabilities = message["capabilities"]
    restart = capabilities.get(_GRACEFUL_RESTART)
    # ExaBGP 5.0 calls the F bit of RFC 4724 "restart", and the R bit "forwarding".
    flags = restart["address-family-flags"].get(f"ipv{peer.version}/unicast") if restart else None
    # Paths of a family that the capability does not list are not retained (section 4.2); FRR by default lists none.
    is_graceful = flags is not None
    return SessionOpened(
        peer,
        asn=Asn(_integer(message["asn"])),
        router_id=Address.parse(_string(message["router_id"])),
        hold_time_s=_integer(message["hold_time"]),
        restart_time_s=_integer(restart["time"]) if is_graceful else None,
        forwarding_preserved="restart" in (flags or ()),
        enhanced_refresh=_ENHANCED_ROUTE_REFRESH in capabilities,
        notification_restart=is_graceful and N_BIT in restart["restart-flags"],
        route_refresh=not _ROUTE_REFRESH.isdisjoint(capabilities),
        extended_message=_EXTENDED_MESSAGE in capabilities,
        four_octet=_FOUR_OCTET_AS in capabilities,
        roles=tuple(_integer(role) for role in capabilities.get(_ROLE, {}).get("roles", ())),
    )


def _refresh(peer: Address, message: Mapping[str, Any]) -> SpeakerEvent | None:
    version = _VERSIONS.get(message["afi"])
    if version is None or message["safi"] != "unicast":
        return None
    match message["subtype"]:
        case "begin":
            return RefreshBegun(peer, version)
        case "end":
            return RefreshEnded(peer, version)
        case _:
            return None  # a query: ExaBGP answers it from its own Adj-RIB-Out


def _message(peer: Address, message: Mapping[str, Any]) -> SpeakerEvent | None:
    if "eor" in message:
        version = _VERSIONS.get(message["eor"]["afi"])
        return EndOfRib(peer, version) if version and message["eor"]["safi"] == "unicast" else None
    return _update(peer, message["update"])


def _update(peer: Address, update: Mapping[str, Any]) -> Update:
    attributes = update.get("attribute", {})
    next_hops = _next_hops(update.get("announce", {}))
    withdrawn = {_prefix(entry) for entry in _entries(update.get("withdraw", {}))}
    if "error" in attributes:  # treat-as-withdraw, RFC 7606
        return Update(peer, withdrawn=tuple(sorted(withdrawn | next_hops.keys())))
    shared = _attributes(attributes)
    return Update(
        peer,
        announced=tuple(Path(prefix, next_hop, **shared) for prefix, next_hop in next_hops.items()),
        withdrawn=tuple(sorted(withdrawn - next_hops.keys())),
    )


def _next_hops(announce: Mapping[str, Any]) -> dict[Prefix, Address | None]:
    """Each announced prefix once: where it stands under a global and a link-local next hop (RFC 2545), the global."""
    next_hops: dict[Prefix, Address | None] = {}
    for family in _UNICAST.keys() & announce.keys():
        for text, entries in announce[family].items():
            next_hop = None if text == "no-nexthop" else Address.parse(text)
            for entry in entries:
                prefix = _prefix(entry)
                if prefix not in next_hops or not _link_local(next_hop):
                    next_hops[prefix] = next_hop
    return next_hops


def _entries(withdraw: Mapping[str, Any]) -> Iterator[Any]:
    for family in _UNICAST.keys() & withdraw.keys():
        yield from withdraw[family]


def _attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    originator = attributes.get("originator-id")
    return {
        "as_path": tuple(_as_path(attributes.get("as-path", {}))),
        "origin": _string(attributes.get("origin", "incomplete")),
        "local_pref": _optional(attributes.get("local-preference")),
        "med": _optional(attributes.get("med")),
        "communities": tuple(_communities(attributes)),
        "extended": tuple(_integer(item["value"]) for item in attributes.get("extended-community", ())),
        "originator": None if originator is None else Address.parse(_string(originator)),
        "cluster_list": tuple(Address.parse(_string(text)) for text in attributes.get("cluster-list", ())),
    }


def _communities(attributes: Mapping[str, Any]) -> Iterator[tuple[int, ...]]:
    """The plain ones (RFC 1997), then the large ones (RFC 8092)."""
    for name, parts in (("community", 2), ("large-community", 3)):
        for community in attributes.get(name, ()):
            if len(community) != parts:
                raise ValueError(f"not a community: {community!r}")
            yield tuple(_integer(part) for part in community)


def _as_path(segments: Mapping[str, Any]) -> Iterator[Asn]:
    for key in sorted(segments, key=int):
        yield from (Asn(_integer(asn)) for asn in segments[key]["value"])


def _neighbor_state(entry: Mapping[str, Any]) -> NeighborState:
    # "state" is wrong during a session's first second, when its duration is still 0; "fsm" is not.
    up_s = _integer(entry["duration"]) if entry["fsm"] == "ESTABLISHED" else None
    offered = entry["peer"].get("capabilities", {}).get("route-refresh", True)
    return NeighborState(
        Address.parse(_string(entry["peer"]["address"])), up_s, refreshes=up_s is None or bool(offered)
    )


def _advertised(message: Mapping[str, Any]) -> Advertised:
    [(peer, listing)] = message.items()
    routes = [route for route in listing["routes"] if route["family"] in _UNICAST]
    return Advertised(Address.parse(peer), tuple(_network(route["prefix"]) for route in routes))


def _prefix(entry: Any) -> Prefix:
    return _network(entry["nlri"])


def _network(text: Any) -> Prefix:
    # A peer may set bits behind the prefix length; they mean nothing (RFC 4271, section 4.3).
    return InterfaceAddress.parse(_string(text)).network


def _link_local(address: Address | None) -> bool:
    return address is not None and _LINK_LOCAL.holds(address)


def _optional(value: Any) -> int | None:
    return None if value is None else _integer(value)


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"not an integer: {value!r}")
    return value


def _string(value: Any) -> str:
    if type(value) is not str:
        raise ValueError(f"not a string: {value!r}")
    return value


# Batches -------------------------------------------------------------------------------------------------------


def joined(events: Iterable[SpeakerEvent]) -> Iterator[SpeakerEvent]:
    """The same events with neighbouring Updates of one peer made one, in which the later route of a prefix counts."""
    waiting: list[Update] = []
    for event in events:
        if waiting and not (isinstance(event, Update) and event.peer == waiting[0].peer):
            yield _join(waiting)
            waiting = []
        if isinstance(event, Update):
            waiting.append(event)
        else:
            yield event
    if waiting:
        yield _join(waiting)


def _join(updates: list[Update]) -> Update:
    if len(updates) == 1:
        return updates[0]
    last: dict[tuple[Prefix, int | None], Path | None] = {}
    for update in updates:
        last.update(((prefix, None), None) for prefix in update.withdrawn)
        last.update((pair, None) for pair in update.withdrawn_paths)
        last.update(((path.prefix, path.path_id), path) for path in update.announced)
    gone = [key for key, path in last.items() if path is None]
    return Update(
        updates[0].peer,
        announced=tuple(path for path in last.values() if path is not None),
        withdrawn=tuple(prefix for prefix, path_id in gone if path_id is None),
        withdrawn_paths=tuple((prefix, path_id) for prefix, path_id in gone if path_id is not None),
    )
