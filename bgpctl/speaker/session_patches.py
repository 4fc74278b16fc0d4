"""
Patches of ExaBGP 5.0.15 that make it obey what the peer's OPEN says, and the RFCs on messages in an established
session. patches.py imports this file, by its path, and nothing else of ours: it is a part of that program.

Refuses to know: bgpctl, and the content of UPDATEs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

OPENS: Final = "repeat opens"
"""The command to report the OPEN of each established session again: a new agent has not received it."""

KEEPALIVE: Final = "keepalive"
"""In the description of a neighbour, before the seconds between two KEEPALIVEs."""
ROLE: Final = "role"
STRICT_ROLE: Final = "strict-role"
"""There, before the number of our role (RFC 9234); the second one needs a role of the peer's."""

_ROLE_CAPABILITY: Final = 9
_COUNTERPARTS: Final = {0: 3, 1: 2, 2: 1, 3: 0, 4: 4}
"""RFC 9234, section 4.2, table 2."""
_ROLE_MISMATCH: Final = (2, 11)

_UNEXPECTED_WHEN_ESTABLISHED: Final = (5, 3)
"""RFC 6608, section 4."""
_COLLISION_S: Final = 2.0
"""At the beginning of a session another connection of the peer's may have lost a collision (RFC 4271, section 6.8)."""


def patch() -> None:
    """Apply all."""
    for each in (
        families_of_a_peer_without_capabilities,
        refreshes_that_ask,
        refreshes_of_unknown_subtypes,
        an_open_in_an_established_session,
        passive_ends_that_wait,
        peers_back_from_a_restart,
        opens_on_request,
        keepalives_of_a_neighbour,
        roles_of_a_neighbour,
        roles_that_belong_together,
    ):
        each()


def families_of_a_peer_without_capabilities() -> None:
    """A peer that names no family speaks IPv4 unicast (RFC 4760, section 8); it would get no route."""
    from exabgp.bgp.message.open.capability import Capability
    from exabgp.bgp.message.open.capability.negotiated import Negotiated
    from exabgp.protocol.family import AFI, SAFI

    negotiate, plain = Negotiated._negotiate, (AFI.ipv4, SAFI.unicast)

    def _negotiate(self: Any) -> None:
        negotiate(self)
        offered = self.sent_open.capabilities.get(Capability.CODE.MULTIPROTOCOL, ())
        if not self.received_open.capabilities.announced(Capability.CODE.MULTIPROTOCOL) and plain in offered:
            self.families = [plain]

    Negotiated._negotiate = _negotiate


def refreshes_that_ask() -> None:
    """The beginning and end of the peer's own refresh (RFC 7313) are answered as a request: with our whole table."""
    from exabgp.bgp.message.refresh import RouteRefresh
    from exabgp.reactor.protocol import _UPDATE as RECEIVED
    from exabgp.reactor.protocol import Protocol

    read_message = Protocol.read_message

    def but_marks(self: Any) -> Iterator[Any]:
        for message in read_message(self):
            is_mark = message.TYPE == RouteRefresh.TYPE and message.reserved != RouteRefresh.request
            yield RECEIVED if is_mark else message

    Protocol.read_message = but_marks


def refreshes_of_unknown_subtypes() -> None:
    """One ends the session, where RFC 7313, section 5, has it ignored."""
    from exabgp.bgp.message.refresh import RouteRefresh

    unpack, known = RouteRefresh.unpack_message.__func__, (RouteRefresh.request, RouteRefresh.start, RouteRefresh.end)

    def unpack_message(cls: Any, data: bytes, *rest: Any) -> Any:
        if len(data) != 4 or data[2] in known:
            return unpack(cls, data, *rest)
        return RouteRefresh(int.from_bytes(data[:2], "big"), data[3], data[2])

    RouteRefresh.unpack_message = classmethod(unpack_message)


def an_open_in_an_established_session() -> None:
    """It is ignored, where RFC 4271, section 8.2.2, has an error of the session's states."""
    from exabgp.bgp.message import Notify, Open
    from exabgp.reactor.protocol import Protocol

    read_message = Protocol.read_message

    def but_opens(self: Any) -> Iterator[Any]:
        for message in read_message(self):
            if message.TYPE == Open.TYPE and self.peer.established():
                raise Notify(*_UNEXPECTED_WHEN_ESTABLISHED, "OPEN in an established session")
            yield message

    Protocol.read_message = but_opens


def passive_ends_that_wait() -> None:
    """
    An end that is to wait for connections makes one itself where the peer's ends as it is taken. The peer then gives
    up the connection that it has made, and with it the reason why there is no session.
    """
    from exabgp.reactor.peer import ACTION, Peer

    connect = Peer._connect

    def _connect(self: Any) -> Iterator[Any]:
        while self.neighbor["passive"] and not self.proto and not self._teardown:
            yield ACTION.LATER
        if not self.proto:
            yield from connect(self)

    Peer._connect = _connect


def peers_back_from_a_restart() -> None:
    """
    A connection of a peer whose session is established is refused, so that a peer that has restarted without closing
    the old one waits for our hold time. With graceful restart the new one takes its place (RFC 4724, section 4.2), and
    no NOTIFICATION is sent by the old one.
    """
    from exabgp.bgp.message.open.capability import Capability
    from exabgp.reactor.peer import Peer

    handle, graceful = Peer.handle_connection, Capability.CODE.GRACEFUL_RESTART

    def restarts(self: Any) -> bool:
        opens = (self.proto.negotiated.sent_open, self.proto.negotiated.received_open) if self.proto else ()
        # Monotonic by patches.monotonic_timers, and set as the session becomes established.
        old = time.monotonic() - self.stats["complete"] > _COLLISION_S
        return old and bool(opens) and all(opening and opening.capabilities.announced(graceful) for opening in opens)

    def handle_connection(self: Any, connection: Any) -> Any:
        if self.established() and not self.stopping() and restarts(self):
            self._reset("closing connection, the peer has opened another one after a restart")
        return handle(self, connection)

    Peer.handle_connection = handle_connection


def opens_on_request() -> None:
    """A peer's OPEN is reported once, to the agent that runs at that time."""
    from exabgp.bgp.message import Message
    from exabgp.reactor.api import API

    process = API.process

    def commands(self: Any, reactor: Any, service: str, command: str) -> Any:
        if command.strip() != OPENS:
            return process(self, reactor, service, command)
        for peer in list(reactor._peers.values()):
            if peer.established() and peer.proto and peer.proto.negotiated.received_open:
                opening = peer.proto.negotiated.received_open
                # As all messages of the session: a reload gives the peer another neighbour, whose lines count anew.
                neighbor = peer.proto.neighbor
                reactor.processes.message(Message.CODE.OPEN, neighbor, "receive", opening, None, b"", b"")
        return True

    API.process = commands


def keepalives_of_a_neighbour() -> None:
    """They are sent in thirds of the hold time; a neighbour's description may ask for more of them."""
    from exabgp.reactor.keepalive import KA

    begin = KA.__init__

    def begin_with_more(self: Any, session: Any, protocol: Any) -> None:
        begin(self, session, protocol)
        seconds = _option(protocol.neighbor, KEEPALIVE)
        if seconds is not None and self.send_timer.keepalive:
            self.send_timer.keepalive = min(self.send_timer.keepalive, seconds)

    KA.__init__ = begin_with_more


def _option(neighbor: Any, *names: str) -> int | None:
    """The number after one of the names in the description: a tag, then names and numbers in turn."""
    words = str(neighbor["description"]).split()
    return next((int(number) for name, number in zip(words[1::2], words[2::2], strict=False) if name in names), None)


def roles_of_a_neighbour() -> None:
    """It is sent where the description has one (RFC 9234, section 4.2), and another one makes another session."""
    from exabgp.bgp.message.open.capability.capabilities import Capabilities
    from exabgp.bgp.message.open.capability.capability import Capability
    from exabgp.bgp.neighbor import Neighbor

    new, is_equal = Capabilities.new, Neighbor.__eq__

    class Role(Capability):  # type: ignore[misc]
        ID = _ROLE_CAPABILITY

        def __init__(self, *values: bytes) -> None:
            self.values = list(values)

        def extract(self) -> list[bytes]:
            return self.values

        def json(self) -> str:
            # Of one that has not the length of a role, no role comes: 256 and more are none's.
            numbers = sorted({value[0] if len(value) == 1 else 256 for value in self.values})
            return f'{{ "name": "role", "roles": {numbers} }}'

        @staticmethod
        def unpack_capability(instance: Any, data: bytes, _: Any = None) -> Any:
            instance.values.append(bytes(data))
            return instance

    Capability.register()(Role)

    def new_with_role(self: Any, neighbor: Any, *args: Any, **more: Any) -> Any:
        new(self, neighbor, *args, **more)
        role = _option(neighbor, ROLE, STRICT_ROLE)
        if role is not None:
            self[_ROLE_CAPABILITY] = Role(bytes([role]))
        return self

    def is_equal_with_role(self: Any, other: Any) -> bool:
        ends = [(_option(end, ROLE, STRICT_ROLE), _option(end, STRICT_ROLE)) for end in (self, other)]
        return bool(is_equal(self, other)) and ends[0] == ends[1]

    Capabilities.new, Neighbor.__eq__ = new_with_role, is_equal_with_role


def roles_that_belong_together() -> None:
    """A peer whose role is none to ours is let in; RFC 9234, section 4.2, has the connection rejected."""
    from exabgp.bgp.message.open.capability.negotiated import Negotiated

    validate = Negotiated.validate

    def validate_with_roles(self: Any, neighbor: Any) -> Any:
        return validate(self, neighbor) or _role_mismatch(self, neighbor)

    Negotiated.validate = validate_with_roles


def _role_mismatch(negotiated: Any, neighbor: Any) -> tuple[int, int, str] | None:
    role, theirs = _option(neighbor, ROLE, STRICT_ROLE), negotiated.received_open.capabilities.get(_ROLE_CAPABILITY)
    if role is None or (theirs is None and _option(neighbor, STRICT_ROLE) is None):
        return None
    if theirs is not None and set(theirs.values) == {bytes([_COUNTERPARTS[role]])}:
        return None
    return (*_ROLE_MISMATCH, f"role {role} here, {theirs.json() if theirs else 'no role'} there")
