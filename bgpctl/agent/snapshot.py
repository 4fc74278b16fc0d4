"""
One state as the views see it.

Refuses to know: the contents of a view.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias

from bgpctl.agent.errors import BadRequest
from bgpctl.agent.journal import Entry
from bgpctl.core.agent.state import State
from bgpctl.core.bgp.speaker import Session
from bgpctl.core.cluster import agreement
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Drops, Traffic
from bgpctl.core.services.health import Health
from bgpctl.ports import StoreStatus

Json: TypeAlias = dict[str, Any]


class Cluster:
    """
    Knowledge about this agent among others, which is no part of its state.

    Attributes:
        digest, outline: of a configuration (core/cluster/agreement.py).
        problems: of the channel, and differences from other members' configurations, in words.
        explained: the members whose differences are among them.
        generation: the last one that was put in force here; `settled`: the last one that a kernel was compared with.
        resolver: how the one of names is (resolver_views.py).
    """

    def __init__(
        self,
        digest: Callable[[Intent], str] = agreement.digest,
        outline: Callable[[Intent], agreement.Outline] = agreement.outline,
        problems: Callable[[], Sequence[str]] = tuple,
        explained: Callable[[], Collection[str]] = tuple,
        generation: int = 0,
        settled: int = 0,
        resolver: Callable[[], Json] = dict,
    ) -> None:
        self.digest = digest
        self.outline = outline
        self.problems = problems
        self.explained = explained
        self.generation = generation
        self.settled = settled
        self.resolver = resolver


class Source(NamedTuple):
    """
    Knowledge that follows from no event: when a change of the configuration is undone, how a store that can be away
    stands, and how the last checks of services went.
    """

    unconfirmed_s: float | None = None
    store: StoreStatus | None = None
    health: Callable[[], Mapping[str, Health]] = dict


_FILES: Final = Source()


class Snapshot:
    """
    One state with what a view needs beside it: the time, of the state's own clock, the query, and functions that
    return the traffic of each link, what filters dropped there, and the last events. `source` is where the
    configuration comes from, `cluster` this agent among others.
    """

    def __init__(
        self,
        state: State,
        now_s: float,
        query: Mapping[str, str],
        traffic: Callable[[], Mapping[str, Traffic]] = dict,
        happened: Callable[[], Sequence[Entry]] = tuple,
        source: Source = _FILES,
        drops: Callable[[], Mapping[str, tuple[Drops, ...]]] = dict,
        cluster: Cluster | None = None,
    ) -> None:
        self.state = state
        self.now_s = now_s
        self.query = query
        self.traffic = traffic
        self.drops = cache(drops)  # it takes processes
        self.happened = happened
        self.health = source.health
        self.unconfirmed_s = source.unconfirmed_s
        self.store = source.store
        self.cluster = cluster or Cluster()
        self.observed = state.kernel.observed or Dataplane()
        intent = state.intent.in_force
        self.node: Node | None = intent.node(state.node) if intent else None

    def age_s(self, since_s: float) -> float:
        return round(self.now_s - since_s, 1)

    @property
    def prefix(self) -> Prefix | None:
        """The one that the query names, None without. Raises BadRequest."""
        text = self.query.get("prefix")
        try:
            return Prefix.parse(text) if text else None
        except ValueError as error:
            raise BadRequest(str(error)) from error

    @property
    def sessions(self) -> tuple[Session, ...]:
        return self.state.bgp.config.sessions if self.state.bgp.config else ()

    def session(self, peer: Address) -> Session | None:
        return next((session for session in self.sessions if session.peer == peer), None)

    def member_at(self, address: Address) -> str | None:
        """The name of the member with this address; None if it is no member's."""
        policy = self.state.intent.policy
        found = policy.session_policies.get(address) if policy else None
        return found.member.name if found and found.member else None

    def name_of(self, peer: Address) -> str:
        session = self.session(peer)
        return session.name if session else str(peer)
