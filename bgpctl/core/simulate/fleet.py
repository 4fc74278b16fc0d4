"""
A cluster of agents in memory: each node's agent is the agent's own `step`, each kernel a value, time a number.

All agents take a turn at once. In a turn an agent takes the events that the turn before has brought, observes its
kernel, and acts on it at most once; what it sends to others arrives in the next turn. So no order of nodes is
preferred, and nodes that are alike stay alike: that is why a few can stand for a thousand (sample.py). Between turns
time moves on by a little, or, with nothing under way, to the first timer that has something to do.

The rest of the world is made here: sessions (speakers.py), answers to probes (echo.py), an underlay that carries all
but what faults stop. A node whose address the files change has both addresses from then on, unless another node has
the former one.

Refuses to know: what agents decide, which packets pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from bgpctl.core.agent.events import (
    Applied,
    Apply,
    Command,
    Configure,
    Event,
    IntentLoaded,
    Observe,
    Observed,
    PathsJudged,
    Probed,
    SendProbes,
    ServicesJudged,
    Speak,
    WakeAt,
    Woken,
)
from bgpctl.core.agent.proofs import PathVerdict
from bgpctl.core.agent.state import State, begin
from bgpctl.core.agent.step import step
from bgpctl.core.bgp.speaker import DownKind, SpeakerAttached, SpeakerConfig, SpeakerDetached
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Reason, ReasonCode
from bgpctl.core.dataplane.effects import Failure, Remove, after_all, after_each
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.services.health import Status, Verdict
from bgpctl.core.simulate import echo, speakers
from bgpctl.core.simulate.faults import Faults
from bgpctl.core.simulate.preview import assumed_kernel
from bgpctl.core.simulate.speakers import Established, Sent, SessionKey
from bgpctl.core.trace.journey import Follower, Network
from bgpctl.core.trace.snapshot import Snapshot, declared

_TURN_S: Final = 0.01
"""How long a message takes."""
_JUDGED_S: Final = 3.0
"""After so long the prover of a member has noticed a change."""
_STUCK_S: Final = 15.0
"""An agent that waits for so long without any change to a kernel waits for nothing that is going to happen."""
_CALM_S: Final = 300.0
_MINUTE_S: Final = 60.0
"""After `_CALM_S` without a change time goes by minutes: what is left are tables that are kept for an hour."""


@dataclass(slots=True)
class _Member:
    """One node. `sees`: the snapshot of its kernel, the same object as long as that is the same."""

    state: State
    kernel: Dataplane
    sees: Snapshot
    config: SpeakerConfig | None = None
    instance: int = 0
    inbox: list[Event] = field(default_factory=list)

    def take(self) -> list[Event]:
        found, self.inbox = self.inbox, []
        return found

    def put(self, kernel: Dataplane) -> None:
        if kernel != self.kernel:
            self.kernel, self.sees = kernel, declared(kernel)

    def timers_s(self, *, stuck: bool) -> Iterator[float]:
        """When time alone changes something: of what waits for others and is `stuck` nothing does."""
        yield from self.state.bgp.timers_s
        if not stuck:
            yield from self.state.migration.timers_s
            yield from self.state.attempts.timers_s(self.state.kernel.pending.ops)


class Fleet:
    """
    All agents of one cluster, none of which has read its file yet. `proving`: with their provers, which matter where
    packets are lost, and cost more than all else.
    """

    def __init__(self, *, proving: bool = True) -> None:
        self._proving = proving
        self.now_s = 0.0
        self.faults = Faults()
        self._members: dict[str, _Member] = {}
        self._addresses: dict[Address, str] = {}
        self._sessions: dict[SessionKey, Established] = {}
        self._expiries: dict[SessionKey, float] = {}
        self._last_change_s = 0.0
        self._follower: Follower | None = None
        self._proven_by: dict[str, object] = {}

    # The operator's part -----------------------------------------------------------------------------------------

    def load(self, intent: Intent) -> None:
        """Every agent reads this file, those of nodes that are not in it any more too."""
        self._hand_over(intent)
        for node in intent.nodes:
            member = self._members.get(node.name)
            if member is None:
                kernel = assumed_kernel(node)
                self._members[node.name] = _Member(
                    begin(node.name, self.now_s, proving=self._proving), kernel, declared(kernel)
                )
            else:
                member.put(_with_addresses(member.kernel, node))
        for member in self._members.values():
            member.inbox.append(IntentLoaded(intent))
            member.inbox += self._well(intent, member.state.node)
        self._last_change_s = self.now_s

    def _well(self, intent: Intent, name: str) -> Iterator[Event]:
        """Every instance of a service is well: nothing is known of checks here."""
        node = intent.node(name)
        services = intent.services_of(node) if node else ()
        if services:
            found = (Verdict(item.name, item.address, Status.UP, self.now_s) for item in services)
            yield ServicesJudged(tuple(found))

    def _hand_over(self, intent: Intent) -> None:
        """An address that the file gives to another node is not the former one's any more."""
        given = {address: node.name for node in intent.nodes for address in node.addresses}
        self._addresses.update(given)
        for name, member in self._members.items():
            lost = sorted(item for item in member.kernel.addresses if given.get(item.address.address, name) != name)
            member.put(after_all(member.kernel, (Remove(item, Reason(ReasonCode.NOT_WANTED)) for item in lost)))

    def settle(self, intent: Intent) -> None:
        """Every agent reads this file, and all that follows from it happens."""
        self.load(intent)
        for _ in self.turns():
            pass

    def fail(self, faults: Faults) -> None:
        """From now on these faults are there too."""
        for name in faults.speakers - self.faults.speakers:
            self._members[name].inbox.append(SpeakerDetached("it is dead"))
        self.faults = self.faults.plus(faults)
        self._last_change_s = self.now_s

    # What there is -----------------------------------------------------------------------------------------------

    @property
    def network(self) -> Network:
        """The kernels and the underlay, as packets find them."""
        seen = {name: member.sees for name, member in self._members.items()}
        return Network(seen, self._addresses, down=self.faults.nodes, cut=self.faults.cut)

    @property
    def kernels(self) -> Mapping[str, Dataplane]:
        return {name: member.kernel for name, member in self._members.items()}

    @property
    def states(self) -> Mapping[str, State]:
        """The agents of nodes that are on."""
        return {name: member.state for name, member in self._on()}

    @property
    def sessions(self) -> frozenset[frozenset[str]]:
        """The pairs of nodes with an established session."""
        return frozenset(item.nodes for item in self._sessions.values() if len(item.ends) > 1)

    def _on(self) -> Iterator[tuple[str, _Member]]:
        return ((name, item) for name, item in self._members.items() if name not in self.faults.nodes)

    # Time --------------------------------------------------------------------------------------------------------

    def turns(self) -> Iterator[frozenset[str]]:
        """Turns until nothing happens any more: after each that changes kernels, the names of their nodes."""
        while self._advance():
            changed = self._turn()
            if changed:
                self._last_change_s = self.now_s
                yield changed

    def _advance(self) -> bool:
        """On to the next time at which something happens; False if nothing does."""
        self._meet()
        if any(member.inbox for _, member in self._on()):
            self.now_s += _TURN_S
            return True
        if self._judge():
            self.now_s += _JUDGED_S
            return True
        stuck = self.now_s - self._last_change_s > _STUCK_S
        due_s = {name: self._next_s(member, stuck=stuck) for name, member in self._on()}
        next_s = min((*due_s.values(), *self._expiries.values()), default=math.inf)
        if next_s == math.inf:
            return False
        if self.now_s - self._last_change_s > _CALM_S:
            next_s = max(next_s, self.now_s + _MINUTE_S)
        self.now_s = next_s
        for name, member in self._on():
            if due_s[name] <= next_s:
                member.inbox.append(Woken())
        return True

    def _next_s(self, member: _Member, *, stuck: bool) -> float:
        return min((due_s for due_s in member.timers_s(stuck=stuck) if due_s > self.now_s), default=math.inf)

    def _turn(self) -> frozenset[str]:
        """One turn of every agent."""
        sent: list[Sent] = []
        kernels: dict[str, Dataplane] = {}
        for name, member in self._on():
            events = member.take()
            if events:
                commands = self._stepped(member, events)
                sent.append(
                    Sent(name, tuple(one for item in commands if isinstance(item, Speak) for one in item.commands))
                )
                kernels[name] = _carried_out(member, commands)
                self._answer_probes(name, member, commands)
        for receiver, event in speakers.delivered(sent, self._sessions.values()):
            self._members[receiver].inbox.append(event)
        changed = frozenset(name for name, kernel in kernels.items() if kernel != self._members[name].kernel)
        for name in changed:
            self._members[name].put(kernels[name])
        return changed

    def _stepped(self, member: _Member, events: Iterable[Event]) -> list[Command]:
        found: list[Command] = []
        for event in events:
            member.state, commands = step(member.state, event, self.now_s)
            found += commands
        while any(isinstance(command, Observe) for command in found):
            member.state, commands = step(member.state, Observed(member.kernel), self.now_s)
            found = [*(command for command in found if not isinstance(command, Observe)), *commands]
        return found

    # Sessions ----------------------------------------------------------------------------------------------------

    def _meet(self) -> None:
        """Sessions begin and end as both ends are configured, and end by faults once the hold time is over."""
        configs = {name: member.config for name, member in self._members.items() if member.config}
        wanted = speakers.possible(configs, self._addresses)
        for key, session in [*self._sessions.items()]:
            if key in wanted and wanted[key].ends == session.ends:
                if speakers.is_kept_down(session, self.faults):
                    self._expire(key, session)
                continue
            self._end(key, DownKind.NOT_CONFIGURED)
        for key, session in wanted.items():
            if key not in self._sessions and not speakers.is_kept_down(session, self.faults):
                self._sessions[key] = session
                for name, event in session.opened():
                    self._members[name].inbox.append(event)

    def _expire(self, key: SessionKey, session: Established) -> None:
        due_s = self._expiries.setdefault(key, self.now_s + session.hold_time_s)
        if due_s <= self.now_s:
            self._end(key, DownKind.HOLD_EXPIRED)

    def _end(self, key: SessionKey, kind: DownKind) -> None:
        self._expiries.pop(key, None)
        for name, event in self._sessions.pop(key).ended(kind):
            if name not in self.faults.speakers:
                self._members[name].inbox.append(event)

    # Probes ------------------------------------------------------------------------------------------------------

    def _packets(self) -> Follower:
        self._follower = Follower(self.network, self._follower)
        return self._follower

    def _answer_probes(self, name: str, member: _Member, commands: Iterable[Command]) -> None:
        for command in commands:
            if isinstance(command, SendProbes):
                follower = self._packets()
                found = (echo.reply(follower, name, member.kernel, probe) for probe in command.probes)
                member.inbox.append(Probed(tuple(item for item in found if item)))

    def _judge(self) -> bool:
        """The verdicts of the provers that are others now reach the agents."""
        found = False
        follower = self._packets()
        kernels = tuple(member.sees for member in self._members.values())
        for name, member in self._on():
            asked = kernels, self.faults, member.state.proofs.paths
            if self._proven_by.get(name) == asked:
                continue
            self._proven_by[name] = asked
            verdicts = tuple(self._verdicts(follower, name, member))
            if verdicts:
                member.inbox.append(PathsJudged(verdicts))
                found = True
        return found

    def _verdicts(self, follower: Follower, name: str, member: _Member) -> Iterator[PathVerdict]:
        for known in member.state.proofs.known.values():
            now = echo.proof(follower, name, member.kernel, known.path, known.proof, self.now_s)
            if known.proof is None or now.verdict is not known.proof.verdict:
                yield PathVerdict(known.path, now)


def _with_addresses(kernel: Dataplane, node: Node) -> Dataplane:
    """With the addresses and routes that the operator gives a node whose addresses are others in the files."""
    had = {item.address for item in kernel.addresses}
    if all(own is None or own in had for own in (node.address, node.address6)):
        return kernel
    return kernel.put(item for item in assumed_kernel(node) if item not in kernel.links)


def _carried_out(member: _Member, commands: Iterable[Command]) -> Dataplane:
    """The kernel once it has been acted on. The agent hears of it in the next turn."""
    kernel = member.kernel
    for command in commands:
        match command:
            case Apply():
                kernel, refused = after_each(kernel, command.ops)
                member.inbox.append(Applied(tuple(Failure(item.op, item.errno) for item in refused)))
            case Configure():
                _configure(member, command.config)
            case Observe() | Speak() | SendProbes() | WakeAt():
                pass
    return kernel


def _configure(member: _Member, config: SpeakerConfig | None) -> None:
    """A speaker that is another one, and not only has other sessions, begins anew."""
    was, member.config = member.config, config
    if config is None or (was and replace(was, sessions=()) == replace(config, sessions=())):
        return
    if was:
        member.inbox.append(SpeakerDetached("it starts again"))
    member.instance += 1
    member.inbox.append(SpeakerAttached(member.instance, ()))
