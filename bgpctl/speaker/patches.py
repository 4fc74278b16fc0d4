"""
ExaBGP 5.0.15 with its defects corrected, as a program: `python3 -I -S patches.py DIRECTORY server FILE`, where
DIRECTORY is the one that has the package.

Each patch is here because bgpctl needs it and the configuration cannot give it; its docstring describes the behaviour
without. Any other version of ExaBGP is refused.

Refuses to know: bgpctl. ExaBGP starts this file alone, so it imports nothing of ours.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import select
import socket
import sys
import time
import types
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

VERSION: Final = "5.0.15"

CONNECTING: Final = "connect: "
"""Begins the reason of every failed connect that the patched ExaBGP reports."""
NO_ANSWER: Final = "no answer"
N_BIT: Final = "notification"
"""Among the restart flags of a peer's OPEN as the patched ExaBGP reports them."""

_ANSWER_WITHIN_S: Final = 8.0
"""Linux sends a SYN after 0, 1, 3 and 7 s; the pauses after that would outlast the fault."""
_BACKOFF_MAX_S: Final = 10
_QUIET_MS: Final = 250
_CONNECTING_MS: Final = 50
_AT_WORK_MS: Final = 1
_N_FLAG: Final = 0x4
"""Of the four restart flags (RFC 8538, section 2)."""
_PORTS: Final = "exabgp.protocol.ip.port"
_USUAL_TTL: Final = -1
"""Of IP_TTL and IPV6_UNICAST_HOPS: the default of the host."""


def main() -> None:
    """Run ExaBGP with the arguments of this program."""
    sys.path.append(sys.argv.pop(1))
    gc.disable()  # nothing that is imported becomes garbage, and to search for it takes a tenth of the start
    from exabgp.version import version

    if version == VERSION:
        for patch in (
            unused_modules,
            commands_without_asyncio,
            neighbours_of_a_command,
            order_of_changes,
            refresh_of_an_empty_table,
            reload_after_an_error,
            reload_with_absent_peers,
            gtsm_of_accepted,
            one_connection_at_a_time,
            connects,
            monotonic_timers,
            notifications_in_a_restart,
            sessions_by_the_rfcs,
            raw_updates,
            what_peers_overdo,
            raw_announcements,
            peers_of_ranges,
            pace,
        ):
            patch()
    else:
        hint = f"install {VERSION}, or run it as it is: bgpctl agent run --unpatched"
        sys.exit(f"bgpctl: ExaBGP {version} is refused, the patches are for {VERSION}; {hint}")
    from exabgp.application.main import main as exabgp

    gc.enable()
    sys.exit(exabgp())


class _Later(types.ModuleType):
    """Stands for a module, which is imported when something of it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        self.__dict__.update(vars(import_module(self.__name__)))
        return self.__dict__[name]


def unused_modules() -> None:
    """
    ExaBGP imports a debugger, asyncio with TLS, and the names of 5,000 ports: a quarter of its memory and a third of
    its start.
    """
    for name in ("asyncio", "pdb"):
        sys.modules[name] = _Later(name)
    ports: Any = types.ModuleType(_PORTS)
    ports.Port = _PortNames
    sys.modules[_PORTS] = ports


class _PortNames:
    """Stands for the class of ports, of which FlowSpec rules in a configuration use only this."""

    @staticmethod
    def named(words: str) -> Any:
        """As that of ExaBGP."""
        if sys.modules[_PORTS].Port is _PortNames:
            del sys.modules[_PORTS]
        return import_module(_PORTS).Port.named(words)


def commands_without_asyncio() -> None:
    """Commands of the API process are generators; each turn of theirs makes and closes an event loop of asyncio."""
    from exabgp.reactor.asynchronous import ASYNC

    with_asyncio = ASYNC.run

    def run(self: Any) -> bool:
        if any(self._is_coroutine(callback) for _, callback in self._async):
            return bool(with_asyncio(self))
        try:
            self._run_async().send(None)
        except StopIteration as end:
            return bool(end.value)
        raise AssertionError("a generator was awaited")

    ASYNC.run = run


def neighbours_of_a_command() -> None:
    """The neighbours that a route is for are sought one by one among all, each by a regular expression of its own."""
    from exabgp.reactor.api.command import announce

    match = announce.match_neighbors

    def match_neighbors(peers: list[str], descriptions: list[list[str]]) -> list[str]:
        wanted = {" ".join(description) for description in descriptions}
        if not wanted or any(len(words.split()) != 2 or words.endswith("*") for words in wanted):
            found: list[str] = match(peers, descriptions)
            return found
        return [name for name in peers if " ".join(name.split(" ", 2)[:2]) in wanted]

    announce.match_neighbors = match_neighbors


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


def one_connection_at_a_time() -> None:
    """
    Of the connections that several listening sockets accept at once only those are handled that come before the first
    one from no configured peer. The socket of another accepts nothing any more, and wakes the loop all the time.
    """
    from exabgp.reactor.listener import Listener

    handle = Listener.new_connections

    def new_connections(self: Any) -> Iterator[None]:
        yield None
        for listening in list(self._accepted):
            connection = self._accepted.pop(listening)
            others, self._accepted = self._accepted, {listening: connection}
            try:
                for _ in handle(self):
                    pass
            except OSError:  # it has been closed meanwhile
                connection.close()
            finally:
                self._accepted = others

    Listener.new_connections = new_connections


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


def monotonic_timers() -> None:
    """
    Hold time, keepalives and pauses follow the clock of the host: set forward it ends all sessions at once, set back no
    keepalive is sent until the peers' hold times are over.
    """
    from exabgp.bgp import timer
    from exabgp.reactor import delay, peer

    monotonic = types.ModuleType("time", time.__doc__)
    vars(monotonic).update(vars(time), time=time.monotonic)
    for module in (timer, delay, peer):
        module.time = monotonic


def notifications_in_a_restart() -> None:
    """
    The N bit (RFC 8538) is not known: without it an expired hold time, of either end, costs the routes that a lost
    connection does not.
    """
    from exabgp.bgp.message.open.capability.capabilities import Capabilities
    from exabgp.bgp.message.open.capability.graceful import Graceful

    announce, as_json = Capabilities._graceful, Graceful.json

    def announce_with_n_bit(self: Any, neighbor: Any, restarted: Any) -> None:
        announce(self, neighbor, restarted)
        if Graceful.ID in self:
            self[Graceful.ID].restart_flag |= _N_FLAG

    def json_with_n_bit(self: Any) -> str:
        described = json.loads(as_json(self))
        described["restart-flags"] += [N_BIT] if self.restart_flag & _N_FLAG else []
        return json.dumps(described)

    Capabilities._graceful, Graceful.json = announce_with_n_bit, json_with_n_bit


def pace() -> None:
    """
    Every peer gets a turn a hundred times a second, also where nothing happens; and while commands wait, the loop
    sleeps all the same. Here it sleeps until a socket, also a listening one, has something, as long as timers allow,
    and then gives turns to the peers that have something to do (Turns).
    """
    from exabgp.reactor.api import API
    from exabgp.reactor.loop import Reactor
    from exabgp.reactor.peer import ACTION, Peer

    run, every, process, load = Peer.run, Reactor.active_peers, API.process, Reactor.reload

    def active_peers(self: Any) -> set[Any]:
        active: set[Any] = self.turns.given(self, every)
        return active

    def run_and_note(self: Any) -> Any:
        action = run(self)
        self.goes_on = action == ACTION.NOW
        return action

    def process_and_note(self: Any, reactor: Any, *args: Any) -> Any:
        reactor.turns.any_may_have_work = True
        return process(self, reactor, *args)

    def load_and_note(self: Any) -> bool:
        self.turns.any_may_have_work = True
        return bool(load(self))

    def _wait_for_io(self: Any, sleep_ms: int) -> tuple[()]:
        for listening in self.listener._sockets if self.listener else ():
            self._poller.register(listening, select.POLLIN)
        found = self._poller.poll(self.turns.pause_ms(self) if sleep_ms else 0)
        self.turns.readable = [fd for fd, _ in found]
        for fd, event in found:
            if event & select.POLLNVAL and fd not in self.processes.fds:
                self._poller.unregister(fd)
        if any(not event & select.POLLIN for _, event in found):
            self._prevent_spin()
        return ()

    Peer.run, Peer.goes_on, API.process = run_and_note, False, process_and_note
    Reactor.turns, Reactor.active_peers, Reactor.reload = Turns(), active_peers, load_and_note  # a process has one
    Reactor._wait_for_io = _wait_for_io


class Turns:
    """
    The peers that get a turn in a round of the loop: all of them once a second, in which their timers are counted. In
    other rounds those that work or whose socket has something; all are asked for work only after a command or a reload.
    """

    def __init__(self) -> None:
        self.any_may_have_work = True
        self.readable: list[int] = []
        self._second = 0
        self._at_work: set[Any] = set()
        self._of_socket: dict[int, Any] = {}

    def given(self, reactor: Any, every: Callable[[Any], set[Any]]) -> set[Any]:
        """The keys of these peers."""
        before_s, self._second = self._second, int(time.monotonic())  # as monotonic_timers does
        asked = self.any_may_have_work or not reactor.asynchronous.ready()
        # What a command adds to any peer may be there only after this round.
        self.any_may_have_work = not reactor.asynchronous.ready()
        if before_s != self._second:
            self._at_work = every(reactor)
            return set(self._at_work)
        candidates = every(reactor) if asked else self._candidates()
        self._at_work = {key for key in candidates if self._works(key, reactor._peers.get(key))}
        return set(self._at_work)

    def _candidates(self) -> set[Any]:
        sockets = set(self.readable) & self._of_socket.keys()
        return self._at_work.union(map(self._of_socket.__getitem__, sockets))

    def _works(self, key: Any, peer: Any) -> bool:
        if peer is None:
            return False
        socket_fd = peer.socket()
        changed = peer.goes_on or peer._neighbor is not None
        ends = peer._teardown is not None or peer.request is not None
        if changed or ends or not peer.established() or socket_fd in self.readable or _unsent(peer):
            return True
        self._of_socket[socket_fd] = key
        return False

    def pause_ms(self, reactor: Any) -> int:
        """The time to sleep after this round."""
        peers = [reactor._peers[key] for key in self._at_work if key in reactor._peers]
        if self.any_may_have_work or not reactor.asynchronous.ready() or any(map(_unsent, peers)):
            return _AT_WORK_MS
        return _QUIET_MS if all(peer.established() or peer.neighbor["passive"] for peer in peers) else _CONNECTING_MS


def _unsent(peer: Any) -> bool:
    neighbor = peer.neighbor
    return bool(peer.established() and (neighbor.rib.outgoing.pending() or neighbor.eor or neighbor.refresh))


def what_peers_overdo() -> None:
    """A peer that asks all the time, or whose OPEN is none, gets more than its share."""
    _patched_by("peer_patches")


def sessions_by_the_rfcs() -> None:
    """Capabilities of the peer are ignored, and messages in an established session taken for others."""
    _patched_by("session_patches")


def raw_updates() -> None:
    """UPDATEs are parsed and reported one by one, which costs more than all that bgpctl does with them."""
    _patched_by("raw_patches")


def raw_announcements() -> None:
    """Routes are written as words, of which not all attributes can be made as they came."""
    _patched_by("sent_patches")


def peers_of_ranges() -> None:
    """Peers that are given as a range share one Adj-RIB-Out, and a reload forgets them."""
    _patched_by("range_patches")


def _patched_by(module: str) -> None:
    """Apply the patches of a file beside this one."""
    directory = str(Path(__file__).parent)
    if directory not in sys.path:
        sys.path.append(directory)
    import_module(module).patch()


if __name__ == "__main__":
    main()
