"""
ExaBGP 5.0.15 with its defects corrected, as a program: `python3 -I patches.py server FILE`.

Each patch is here because bgpctl needs it and the configuration cannot give it; its docstring describes the behaviour
without. With any other version of ExaBGP none is applied, and everything works as far as that version does.

Refuses to know: bgpctl. ExaBGP starts this file alone, so it imports nothing of ours.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

VERSION: Final = "5.0.15"

CONNECTING: Final = "connect: "
"""Begins the reason of every failed connect that the patched ExaBGP reports."""
NO_ANSWER: Final = "no answer"

RAW: Final = "raw"
"""Begins the line of a batch of UPDATEs; decode.py reads it."""
NOTIFY: Final = "notify"
"""The command `neighbor PEER notify CODE SUBCODE [DATA in hex]`: end the session with this NOTIFICATION."""

_READ_BYTES: Final = 1 << 16
_HEADER_BYTES: Final = 19
_SHORTEST_UPDATE_BYTES: Final = 23
_MARKER: Final = b"\xff" * 16
_UPDATE: Final = 2
_EXTENDED_MESSAGE_BYTES: Final = 65535
_ANSWER_WITHIN_S: Final = 8.0
"""Linux sends a SYN after 0, 1, 3 and 7 s; the pauses after that would outlast the fault."""
_BACKOFF_MAX_S: Final = 10
_QUIET_MS: Final = 250
_CONNECTING_MS: Final = 50
_AT_WORK_MS: Final = 1
_USUAL_TTL: Final = -1
"""Of IP_TTL and IPV6_UNICAST_HOPS: the default of the host."""


def main() -> None:
    """Run ExaBGP with the arguments of this program."""
    from exabgp.application.main import main as exabgp
    from exabgp.version import version

    if version == VERSION:
        for patch in (
            order_of_changes,
            refresh_of_an_empty_table,
            reload_after_an_error,
            reload_with_absent_peers,
            gtsm_of_accepted,
            connects,
            pace,
            reads_of_many_messages,
            raw_updates,
            notifications_on_request,
        ):
            patch()
    else:
        sys.stderr.write(f"bgpctl: ExaBGP {version} runs unpatched, only {VERSION} is known\n")
    sys.exit(exabgp())


def order_of_changes() -> None:
    """
    Unsent changes are kept by attribute set and sent set by set, so that a prefix whose attributes change twice before
    anything is sent ends with the attributes of the set that was made last, and a withdrawal can be overtaken.
    """
    from exabgp.rib.outgoing import OutgoingRIB

    queue = OutgoingRIB._update_rib

    def _update_rib(self: Any, change: Any) -> None:
        unsent = self._new_nlri.get(change.index())
        if unsent is not None:
            of_set = self._new_attr_af_nlri.get(unsent.attributes.index(), {})
            of_set.get(unsent.nlri.family().afi_safi(), {}).pop(unsent.index(), None)
        queue(self, change)

    OutgoingRIB._update_rib = _update_rib


def refresh_of_an_empty_table() -> None:
    """
    A peer that asks for a table without routes gets neither BoRR nor EoRR (RFC 7313) and waits for them. So do
    IPv6 sessions of nodes that have no blocks to announce there.
    """
    from exabgp.rib.outgoing import OutgoingRIB

    pending = OutgoingRIB.pending
    OutgoingRIB.pending = lambda self: pending(self) or bool(self._refresh_families)


def reload_after_an_error() -> None:
    """After a file with an error in it the parser is in the middle of that file, and reads no later one rightly."""
    from exabgp.configuration.configuration import Configuration

    load = Configuration.reload

    def reload(self: Any) -> bool:
        neighbors, processes = self.neighbors, self.processes
        if load(self):
            return True
        text = str(self.error)
        self._cleanup()
        self.neighbors, self.processes = neighbors, processes
        self.error.set(text)
        return False

    Configuration.reload = reload


def reload_with_absent_peers() -> None:
    """A reload is dropped while any peer has unsent changes; one that is down has them for as long as it is down."""
    from exabgp.reactor.loop import Reactor

    Reactor._pending_adjribout = lambda reactor: any(map(_unsent_changes, reactor._peers.values()))


def _unsent_changes(peer: Any) -> bool:
    return bool(peer.established() and peer.neighbor.rib.outgoing.pending())


def gtsm_of_accepted() -> None:
    """
    GTSM (RFC 5082): only connections that we open are asked for the least TTL, and what a listening socket answers
    itself, the SYN, has the usual TTL of 64, which a peer that counts hops drops.
    """
    from exabgp.reactor import listener
    from exabgp.reactor.network.tcp import GTSM_SENDING_TTL, set_minimum_ttl, set_sending_ttl

    set_sending, listen = listener.set_accepted_ttl, listener.Listener._listen

    def set_accepted_ttl(connection: Any, neighbor: Any) -> None:
        if connection.io is not None:
            set_sending_ttl(connection.io, connection.afi, connection.peer, _USUAL_TTL)
            set_minimum_ttl(connection.io, connection.afi, connection.peer, neighbor["incoming-ttl"])
        set_sending(connection, neighbor)

    def _listen(self: Any, local_ip: Any, *args: Any) -> None:
        listen(self, local_ip, *args)
        for listening, (address, *_) in self._sockets.items():
            if address == local_ip.top():
                set_sending_ttl(listening, local_ip.afi, address, GTSM_SENDING_TTL)

    listener.set_accepted_ttl, listener.Listener._listen = set_accepted_ttl, _listen


def connects() -> None:
    """
    A connect that fails is taken for one that succeeded or is tried for ever, without a reported reason. Here each one
    ends with a `down` that has the kernel's reason, and the next one follows within seconds.
    """
    from exabgp.reactor.delay import Delay
    from exabgp.reactor.network.error import NetworkError, NotConnected
    from exabgp.reactor.network.outgoing import Outgoing
    from exabgp.reactor.protocol import Protocol

    connect, increase = Protocol.connect, Delay.increase

    def establish(self: Any) -> Iterator[bool]:
        error = self._connect()
        if error:
            # Its words have the error's code for a person only; the error itself is still behind it.
            code = getattr(error.__context__, "errno", None)
            raise NotConnected(os.strerror(code) if code else str(error))
        deadline_s = time.monotonic() + _ANSWER_WITHIN_S
        while not _writable(self.io):
            if time.monotonic() > deadline_s:
                raise NotConnected(NO_ANSWER)
            yield False
        code = self.io.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise NotConnected(NO_ANSWER if code == errno.ETIMEDOUT else os.strerror(code))
        self.success()
        self.local = self.local or self.io.getsockname()[0]
        yield True

    def reported(self: Any) -> Iterator[bool]:
        try:
            yield from connect(self)
        except NetworkError as error:
            self.peer.reactor.processes.down(self.peer.neighbor, f"{CONNECTING}{error}")
            raise

    def increase_a_little(self: Any) -> None:
        increase(self)
        self._next = min(self._next, _BACKOFF_MAX_S)

    Outgoing.establish, Protocol.connect, Delay.increase = establish, reported, increase_a_little


def _writable(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    return bool(poll.poll(0))


def pace() -> None:
    """
    Every peer gets a turn a hundred times a second, also where nothing happens; and while commands wait, the loop
    sleeps all the same. Here it sleeps until a socket, also a listening one, has something, as long as timers allow.
    """
    from exabgp.reactor.loop import Reactor

    def _wait_for_io(self: Any, sleep_ms: int) -> tuple[()]:
        for listening in self.listener._sockets if self.listener else ():
            self._poller.register(listening, select.POLLIN)
        stuck = False
        for fd, event in self._poller.poll(_pause_ms(self) if sleep_ms else 0):
            if event & select.POLLNVAL and fd not in self.processes.fds:
                self._poller.unregister(fd)
            stuck = stuck or not event & select.POLLIN
        if stuck:
            self._prevent_spin()
        return ()

    Reactor._wait_for_io = _wait_for_io


def _pause_ms(reactor: Any) -> int:
    peers = reactor._peers.values()
    if not reactor.asynchronous.ready() or any(map(_unsent, peers)):
        return _AT_WORK_MS
    return _QUIET_MS if all(peer.established() or peer.neighbor["passive"] for peer in peers) else _CONNECTING_MS


def _unsent(peer: Any) -> bool:
    neighbor = peer.neighbor
    return bool(peer.established() and (neighbor.rib.outgoing.pending() or neighbor.eor or neighbor.refresh))


# UPDATEs as they came ------------------------------------------------------------------------------------------


def reads_of_many_messages() -> None:
    """Each message costs two poll() and two recv(), one for its header. Here one recv() takes all that has come."""
    from exabgp.reactor.network.connection import Connection

    def _reader(self: Any, number: int) -> Iterator[bytes]:
        while len(self.unread) < number:
            if not _read(self):
                yield b""
        yield _taken(self, number)

    Connection.unread = b""
    Connection._reader = _reader


def _read(connection: Any) -> bool:
    """Read what has come; False if nothing has. Raises LostConnection at the end of the connection."""
    from exabgp.reactor.network.error import LostConnection, NotConnected, error

    if not connection.io:
        raise NotConnected("Trying to read on a closed TCP connection")
    try:
        chunk = connection.io.recv(_READ_BYTES)
    except OSError as failure:
        if failure.errno in error.block:
            return False
        connection.close()
        raise LostConnection(f"issue reading on the socket: {failure}") from None
    if not chunk:
        connection.close()
        raise LostConnection("the TCP connection was closed by the remote end")
    connection.unread += chunk
    return True


def _taken(connection: Any, number: int) -> bytes:
    taken: bytes = connection.unread[:number]
    connection.unread = connection.unread[number:]
    return taken


def raw_updates() -> None:
    """
    Each UPDATE is parsed into objects, written as JSON and flushed alone, 0.3 ms of CPU for one prefix, and an error
    that RFC 7606 lets pass ends the session. Here all whole UPDATEs of one read leave as they came, in one line:

        raw PEER COUNTER FACTS MESSAGES

    COUNTER as in ExaBGP's other lines, FACTS a JSON object without blanks of what both OPENs agreed on, MESSAGES in
    base64 with their headers. All other messages, and those whose header is wrong, are ExaBGP's as before.
    """
    from exabgp.bgp.message import _NOP
    from exabgp.reactor.protocol import _UPDATE as RECEIVED
    from exabgp.reactor.protocol import Protocol

    read_message = Protocol.read_message

    def updates_or_message(self: Any) -> Iterator[Any]:
        while self.peer.established() and not _begins_otherwise(self.connection):
            if self.peer.request is not None:
                raise self.peer.request
            if updates := _updates(self.connection):
                _hand_on(self, updates)
                yield RECEIVED
                return
            yield _NOP
        yield from read_message(self)

    Protocol.facts, Protocol.read_message = None, updates_or_message


def _begins_otherwise(connection: Any) -> bool:
    """True if what comes next is no UPDATE, or not known to be one."""
    return connection is None or (
        len(connection.unread) >= _HEADER_BYTES and not _update_bytes(connection.unread, 0, connection.msg_size)
    )


def _updates(connection: Any) -> bytes:
    """Take the whole UPDATEs at the beginning of what is unread."""
    if not (end := _end_of_updates(connection)) and _read(connection):
        end = _end_of_updates(connection)
    return _taken(connection, end) if end else b""


def _end_of_updates(connection: Any) -> int:
    unread, end = connection.unread, 0
    while (size := _update_bytes(unread, end, connection.msg_size)) and end + size <= len(unread):
        end += size
    return end


def _update_bytes(unread: bytes, at: int, longest: int) -> int:
    """The length of the UPDATE whose header is there; 0 if none is, or one that is wrong."""
    if not unread.startswith(_MARKER, at) or len(unread) < at + _HEADER_BYTES or unread[at + 18] != _UPDATE:
        return 0
    size = int.from_bytes(unread[at + 16 : at + 18], "big")
    return size if _SHORTEST_UPDATE_BYTES <= size <= longest else 0


def _hand_on(protocol: Any, updates: bytes) -> None:
    neighbor, processes = protocol.neighbor, protocol.peer.reactor.processes
    protocol.facts = protocol.facts or _facts(protocol.negotiated)
    messages = base64.b64encode(updates).decode()
    protocol.peer.stats["receive-update"] += 1
    if not processes.silence:
        for process in processes._notify(neighbor, "receive-update"):
            counter = processes._encoder[process]._counter(neighbor)
            processes.write(process, f"{RAW} {neighbor['peer-address']} {counter} {protocol.facts} {messages}")


def _facts(negotiated: Any) -> str:
    """What both OPENs agreed on; families as pairs of AFI and SAFI."""
    from exabgp.bgp.message.open.capability import Capability

    def pairs(families: Iterable[Any]) -> list[list[int]]:
        return [[int(afi), int(safi)] for afi, safi in families]

    sent, received = negotiated.sent_open.capabilities, negotiated.received_open.capabilities
    families = pairs(negotiated.families)
    # A peer without the capability has IPv4 unicast (RFC 4760, section 8).
    if not received.announced(Capability.CODE.MULTIPROTOCOL):
        families = [pair for pair in pairs(sent.get(Capability.CODE.MULTIPROTOCOL, ())) if pair == [1, 1]]
    facts = {
        "local_as": int(negotiated.neighbor["local-as"]),
        "peer_as": int(negotiated.peer_as),
        "four_octet": bool(negotiated.asn4),
        "families": families,
        "add_path": pairs(family for family in negotiated.families if negotiated.addpath.receive(*family)),
        "next_hop6": [[int(afi), int(safi)] for afi, safi, next_hop in negotiated.nexthop if int(next_hop) == 2],
        "extended_message": negotiated.msg_size == _EXTENDED_MESSAGE_BYTES,
    }
    return json.dumps(facts, separators=(",", ":"))


def notifications_on_request() -> None:
    """
    The commands can end a session with a Cease alone, and under graceful restart with nothing at all. Errors in raw
    UPDATEs are found by the reader of their lines, which has to send another NOTIFICATION.
    """
    from exabgp.bgp.message import Notify
    from exabgp.reactor.api import API
    from exabgp.reactor.peer import Peer

    process, reset = API.process, Peer._reset

    def commands(self: Any, reactor: Any, service: str, command: str) -> Any:
        match command.split():
            case ["neighbor", address, word, code, subcode, *data] if word == NOTIFY:
                for peer in reactor._peers.values():
                    if str(peer.neighbor["peer-address"]) == address:
                        peer.request = Notify(int(code), int(subcode), bytes.fromhex("".join(data)))
                return True
        return process(self, reactor, service, command)

    def forget(self: Any, *words: Any) -> None:
        self.request = None
        reset(self, *words)

    Peer.request = None
    API.process, Peer._reset = commands, forget


if __name__ == "__main__":
    main()
