"""
The BGP speakers of a simulated cluster: which sessions are established, and what each end receives.

A session is established when both ends have it, with each other's AS number, and nothing keeps packets away. One that a
configuration ends is ended by a NOTIFICATION; one that a fault ends is noticed when the hold time is over. A router
outside the cluster takes every session and announces nothing.

Refuses to know: what agents decide, time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias, assert_never

from bgpctl.core.bgp.path import Attributes, Path
from bgpctl.core.bgp.speaker import (
    Announce,
    AskRefresh,
    DownKind,
    EndOfRib,
    EndSession,
    SendEndOfRib,
    Session,
    SessionDown,
    SessionOpened,
    SessionUp,
    SpeakerCommand,
    SpeakerConfig,
    SpeakerEvent,
    Update,
    Withdraw,
)
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.simulate.faults import Faults

Configs: TypeAlias = Mapping[str, SpeakerConfig]
"""By node."""


class End(NamedTuple):
    """One end of a session: the node, and the session as it has it."""

    node: str
    router_id: Address
    session: Session


class Established(NamedTuple):
    """A session between two nodes, or with a router outside: then there is one end."""

    ends: tuple[End, ...]

    @property
    def nodes(self) -> frozenset[str]:
        return frozenset(end.node for end in self.ends)

    @property
    def hold_time_s(self) -> int:
        return min(end.session.hold_time_s for end in self.ends)

    def opened(self) -> Iterator[tuple[str, SpeakerEvent]]:
        """The events at each end."""
        for end, other in zip(self.ends, reversed(self.ends), strict=True):
            own, theirs = end.session, other.session if len(self.ends) > 1 else end.session
            router_id = other.router_id if len(self.ends) > 1 else own.peer
            opened = SessionOpened(
                own.peer,
                own.peer_asn,
                router_id,
                self.hold_time_s,
                theirs.restart_time_s or None,
                forwarding_preserved=True,
                notification_restart=True,
            )
            yield end.node, opened
            yield end.node, SessionUp(own.peer)
            if len(self.ends) == 1:
                yield end.node, EndOfRib(own.peer, own.version)

    def ended(self, kind: DownKind) -> Iterator[tuple[str, SpeakerEvent]]:
        """The events at each end; by a NOTIFICATION that is final unless the hold time is over."""
        is_final = kind is not DownKind.HOLD_EXPIRED
        for end in self.ends:
            yield end.node, SessionDown(end.session.peer, kind.value, notified=True, kind=kind, is_final=is_final)


SessionKey: TypeAlias = tuple[Address, Address]
"""Both addresses, the smaller one first; of a session with a router the node's first."""


def possible(configs: Configs, members: Collection[Address]) -> dict[SessionKey, Established]:
    """All sessions that both ends agree about, and those with routers outside. `members`: addresses of nodes."""
    by_local = {
        (session.local, session.peer): End(name, config.router_id, session)
        for name, config in configs.items()
        for session in config.sessions
    }
    found: dict[SessionKey, Established] = {}
    for (local, peer), end in by_local.items():
        other = by_local.get((peer, local))
        if other and local < peer and _agree(end.session, other.session):
            found[local, peer] = Established((end, other))
        elif other is None and peer not in members:
            found[local, peer] = Established((end,))
    return found


def _agree(one: Session, other: Session) -> bool:
    numbers = (one.local_asn, one.peer_asn) == (other.peer_asn, other.local_asn)
    return numbers and (one.password_file is None) == (other.password_file is None)


def is_kept_down(session: Established, faults: Faults) -> bool:
    """True if a fault keeps the session from being established."""
    return faults.stop(session.nodes, *(end.session for end in session.ends))


# Messages ----------------------------------------------------------------------------------------------------------


class Sent(NamedTuple):
    """The commands of one node to its speaker in one turn."""

    node: str
    commands: tuple[SpeakerCommand, ...]


def delivered(sent: Iterable[Sent], established: Iterable[Established]) -> Iterator[tuple[str, SpeakerEvent]]:
    """The events at the other ends: of each turn one Update, and then End-of-RIB."""
    ends: dict[str, dict[Address, tuple[str, Session]]] = defaultdict(dict)
    for item in established:
        if len(item.ends) > 1:
            for end, other in zip(item.ends, reversed(item.ends), strict=True):
                ends[end.node][end.session.peer] = other.node, end.session
    for turn in sent:
        complete = [command for command in turn.commands if isinstance(command, SendEndOfRib)]
        for peer, changes in _by_peer(turn.commands, ends[turn.node]).items():
            receiver, session = ends[turn.node][peer]
            if changes:
                yield receiver, _update(session, changes)
            yield from ((receiver, EndOfRib(session.local, item.version)) for item in complete if item.peer == peer)


_Changes: TypeAlias = dict[Prefix, Attributes | None]


def _by_peer(commands: Iterable[SpeakerCommand], peers: Iterable[Address]) -> Mapping[Address, _Changes]:
    """The last word on each prefix, for each of these peers."""
    found: dict[Address, _Changes] = {peer: {} for peer in peers}
    for command in commands:
        match command:
            case Announce() | Withdraw():
                attributes = command.attributes if isinstance(command, Announce) else None
                for peer in found if command.peer is None else found.keys() & {command.peer}:
                    found[peer][command.prefix] = attributes
            case SendEndOfRib():
                pass
            case AskRefresh() | EndSession():
                raise AssertionError("no speaker is found running, and there is no BFD")
            case _:
                assert_never(command)
    return found


def _update(session: Session, changes: _Changes) -> Update:
    """As the other end receives it, to which our address is the peer's."""
    announced = tuple(_path(prefix, item, session) for prefix, item in changes.items() if item is not None)
    return Update(session.local, announced, tuple(prefix for prefix, item in changes.items() if item is None))


def _path(prefix: Prefix, item: Attributes, session: Session) -> Path:
    return Path(
        prefix,
        item.next_hop or session.local,
        item.as_path,
        item.origin,
        item.local_pref,
        item.med,
        item.communities,
        item.originator,
        item.cluster_list,
        item.extended,
        item.passed_on,
        item.partial,
    )
