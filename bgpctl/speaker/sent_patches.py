"""
Patches of ExaBGP 5.0.15 by which routes leave it with attributes in octets. patches.py imports this
file, by its path, and nothing else of ours: it is a part of that program.

Refuses to know: bgpctl, and the meaning of an attribute.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

ANNOUNCE: Final = "announce raw"
"""
The command `neighbor PEER announce raw PREFIXES NEXT-HOP FOUR TWO`: prefixes of one family, BETWEEN them a plus, and
their attributes in hexadecimal, without NEXT_HOP and MP_REACH_NLRI, for sessions with AS numbers of four octets and of
two; NEXT-HOP is an address or `self`.
"""
WITHDRAW: Final = "withdraw raw"
"""The command `neighbor PEER withdraw raw PREFIXES`."""

BETWEEN: Final = "+"
"""ExaBGP puts blanks around a comma."""

_NEXT_HOP, _LOCAL_PREF = 3, 5
_EXTENDED_LENGTH: Final = 0x10
_WELL_KNOWN: Final = 0x40
_DEFAULT_LOCAL_PREF: Final = (100).to_bytes(4, "big")


def patch() -> None:
    """
    A route is a line of words, of which ExaBGP makes an object for each attribute, in half a millisecond. On the way it
    forgets that AGGREGATOR or communities were partial, and sends communities in another order. Here the octets that
    bgpctl makes are sent as they are.
    """
    from exabgp.logger import log
    from exabgp.reactor.api import API

    process, raw_attributes = API.process, _attributes_class()
    _keep_discovered_addresses()

    def commands(self: Any, reactor: Any, service: str, command: str) -> Any:
        words = command.split()
        at = next((i for i, word in enumerate(words) if word in ("announce", "withdraw")), len(words))
        match words[at:]:
            case ["announce", "raw", prefixes, next_hop, four, two]:
                octets = bytes.fromhex(four), bytes.fromhex(two)
                changes = _announcements(raw_attributes, prefixes.split(BETWEEN), next_hop, *octets)
            case ["withdraw", "raw", prefixes]:
                changes = _withdrawals(raw_attributes, prefixes.split(BETWEEN))
            case _:
                return process(self, reactor, service, command)
        try:
            _in_turn(reactor, service, command, _queued(_neighbours(reactor, words[:at]), _family(prefixes), changes))
        except Exception as error:  # noqa: BLE001 (no route may end all sessions)
            log.error(lambda error=error: f"{command[:60]}: {error!r}", "api")
        return True

    API.process = commands


def _keep_discovered_addresses() -> None:
    """
    A reload gives a session whose own address was discovered when it connected another neighbour without one. Routes
    that are announced with this address as next hop would fail until the session ends.
    """
    from exabgp.reactor.peer import Peer

    reconfigure = Peer.reconfigure

    def keeping(self: Any, restart_neighbor: Any = None) -> None:
        if restart_neighbor and restart_neighbor.auto_discovery and restart_neighbor["local-address"] is None:
            restart_neighbor["local-address"] = self.neighbor["local-address"]
        reconfigure(self, restart_neighbor)

    Peer.reconfigure = keeping


def _in_turn(reactor: Any, service: str, command: str, work: Iterator[bool]) -> None:
    """ExaBGP's own commands are carried out one after the other, later than they come."""
    if not reactor.asynchronous.ready():
        reactor.asynchronous.schedule(service, command, work)
        return
    for _ in work:
        pass


def _neighbours(reactor: Any, words: list[str]) -> list[Any]:
    """The neighbours that `neighbor A , neighbor B` are; all without any."""
    wanted = {word for word in words if word not in ("neighbor", ",")}
    every = reactor.configuration.neighbors.values()
    return [neighbour for neighbour in every if not wanted or str(neighbour["peer-address"]) in wanted]


def _queued(neighbours: list[Any], family: Any, changes: Callable[[Any], Sequence[Any]]) -> Iterator[bool]:
    for neighbour in neighbours:
        if family in neighbour.families():
            queue = neighbour.rib.outgoing
            for change in changes(neighbour):
                if change.attributes.withdraws:
                    queue._update_rib(change)  # del_from_rib is this, for a copy whose action it sets
                else:
                    queue.add_to_rib(change)
    yield False


def _attributes_class() -> Any:
    from exabgp.bgp.message.update.attribute.attributes import Attributes

    class RawAttributes(Attributes):  # type: ignore[misc]
        """Octets in place of objects; `pack` is all that ExaBGP asks of attributes that it sends."""

        def __init__(self, four: bytes, two: bytes, next_hop: bytes = b"", *, withdraws: bool = False) -> None:
            super().__init__()
            self.four, self.two = (
                _with(attributes, _NEXT_HOP, next_hop) if len(next_hop) == 4 else attributes
                for attributes in (four, two)
            )
            self.withdraws = withdraws
            self._idx = f"raw {self.four.hex()}"

        def index(self) -> str:
            return self._idx

        def pack(self, negotiated: Any, with_default: bool = True) -> bytes:  # noqa: FBT001, FBT002, ARG002
            attributes, ends = self.four if negotiated.asn4 else self.two, negotiated.neighbor
            if ends["local-as"] != ends["peer-as"] or not attributes:
                return attributes
            return _with(attributes, _LOCAL_PREF, _DEFAULT_LOCAL_PREF)  # RFC 4271, section 5.1.5

        def __eq__(self, other: object) -> bool:
            return isinstance(other, RawAttributes) and self._idx == other._idx

        def __ne__(self, other: object) -> bool:
            return not self == other

        __hash__ = None  # type: ignore[assignment]

    return RawAttributes


def _with(attributes: bytes, code: int, value: bytes) -> bytes:
    """The list with a well-known attribute in its place by type code, unless it is there."""
    at = 0
    while at < len(attributes) and attributes[at + 1] < code:
        wide = attributes[at] & _EXTENDED_LENGTH
        at += 4 + int.from_bytes(attributes[at + 2 : at + 4], "big") if wide else 3 + attributes[at + 2]
    if at < len(attributes) and attributes[at + 1] == code:
        return attributes
    return attributes[:at] + bytes([_WELL_KNOWN, code, len(value)]) + value + attributes[at:]


def _announcements(
    raw_attributes: Any, prefixes: Sequence[str], next_hop: str, four: bytes, two: bytes
) -> Callable[[Any], Sequence[Any]]:
    """The changes for a neighbour; neighbours with the same next hop share them."""
    from exabgp.bgp.message import Action
    from exabgp.protocol.ip import IP
    from exabgp.rib.change import Change

    afi, _ = _family(prefixes[0])
    known: dict[bytes, Sequence[Any]] = {}

    def changes(neighbour: Any) -> Sequence[Any]:
        address = neighbour.ip_self(afi) if next_hop == "self" else IP.create(next_hop)
        hop = address.pack()
        if hop not in known:
            attributes = raw_attributes(four, two, hop)
            known[hop] = [Change(nlri, attributes) for nlri in _nlris(prefixes, Action.ANNOUNCE, address)]
        return known[hop]

    return changes


def _withdrawals(raw_attributes: Any, prefixes: Sequence[str]) -> Callable[[Any], Sequence[Any]]:
    from exabgp.bgp.message import Action
    from exabgp.protocol.ip import NoNextHop
    from exabgp.rib.change import Change

    attributes = raw_attributes(b"", b"", withdraws=True)
    changes = [Change(nlri, attributes) for nlri in _nlris(prefixes, Action.WITHDRAW, NoNextHop)]
    return lambda _: changes


def _family(prefix: str) -> Any:
    from exabgp.protocol.family import AFI, SAFI

    return AFI.ipv6 if ":" in prefix else AFI.ipv4, SAFI.unicast


def _nlris(prefixes: Sequence[str], action: Any, next_hop: Any) -> Iterator[Any]:
    from exabgp.bgp.message.update.nlri.cidr import CIDR
    from exabgp.bgp.message.update.nlri.inet import INET

    family = _family(prefixes[0])
    version = socket.AF_INET6 if ":" in prefixes[0] else socket.AF_INET
    for prefix in prefixes:
        address, _, length = prefix.partition("/")
        nlri = INET(*family, action)
        nlri.nexthop = next_hop
        nlri.cidr = CIDR(socket.inet_pton(version, address), int(length))
        yield nlri
