"""
Stories of one agent, lived three times: with all that is taken over from step to step, with nothing taken over, and
with tables of one shard. The kernel does what the first of the three asks it to, and other programs change it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final
from unittest.mock import patch

from bgpctl.core.agent.events import (
    Applied,
    Apply,
    Command,
    DrainRequested,
    Event,
    IntentLoaded,
    KernelChanged,
    Observe,
    Observed,
    PeerRequested,
    Probed,
    RefreshRequested,
    SendProbes,
    Woken,
)
from bgpctl.core.agent.memo import Memo
from bgpctl.core.agent.state import State, begin
from bgpctl.core.agent.step import step
from bgpctl.core.bgp.path import AsPath, AsSet, Path, RawAttribute
from bgpctl.core.bgp.speaker import (
    EndOfRib,
    RefreshBegun,
    RefreshEnded,
    SessionDown,
    SessionOpened,
    SessionUp,
    SpeakerAttached,
    SpeakerDetached,
    Update,
)
from bgpctl.core.cluster.configuration import Backend, Filter, FilterRule, MatchOperator, Peer
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.dataplane.effects import Op, after_each
from bgpctl.core.migration.probes import ProbeReply
from bgpctl.core.net import dataplane as dataplane_module
from bgpctl.core.net import route_set, table
from bgpctl.core.net.addresses import Address, Asn, InterfaceAddress, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Link, LinkAddress, NextHop, Plain, Route, Sysctl
from bgpctl.core.net.route_set import RouteSet
from bgpctl.core.net.table import Table
from tests.cluster import STATIC_PROTOCOL, allocated, bare_kernel, member, two_racks, with_ipv6

# The worlds ----------------------------------------------------------------------------------------------------

CLUSTER_ID: Final = Address.parse("1.1.1.1")
TOR: Final = Address.parse("10.0.0.254")
TOR2: Final = Address.parse("10.0.0.253")
OUTSIDE: Final = Prefix.parse("192.0.2.0/24")
_FILTERS: Final = (
    Filter("asked", import4=(FilterRule(accept=True, cidr=OUTSIDE),)),
    Filter(
        "by-tunnel",
        import4=(FilterRule(accept=False, community=(65000, 7)),),
        export4=(
            FilterRule(accept=False, interface="tunl*", from_peers=True),
            FilterRule(accept=True, cidr=OUTSIDE, operator=MatchOperator.EQUAL, add_communities=((64512, 1),)),
        ),
    ),
)
_PLAIN: Final = two_racks(ipip=Mode.CROSS_SUBNET)
_DUAL: Final = with_ipv6(_PLAIN, vxlan=Mode.CROSS_SUBNET)
_EDGE: Final = replace(
    _DUAL,
    filters=_FILTERS,
    peers=(
        Peer("tor", TOR, Asn(65001), ("a1",), filters=("asked", "by-tunnel")),
        Peer("tor2", TOR2, Asn(65002), ("a1",), filters=("asked",)),
    ),
)
_REFLECTOR: Final = replace(
    _PLAIN,
    mesh=False,
    nodes=tuple(replace(node, cluster_id=CLUSTER_ID) if node.name == "a1" else node for node in _PLAIN.nodes),
    peers=(
        Peer("clients", None, None, ("a1",), remotes=("a2", "b1", "b2")),
        Peer("tor", TOR, Asn(65001), ("a1",), filters=("asked",)),
    ),
    filters=_FILTERS,
)
_MOVED: Final = replace(
    _EDGE,
    nodes=tuple(
        replace(node, address=InterfaceAddress.parse("10.0.0.129/24")) if node.name == "a1" else node
        for node in _EDGE.nodes
    ),
)
INTENTS: Final[tuple[Intent, ...]] = (
    _EDGE,
    _DUAL,
    _REFLECTOR,
    two_racks(),
    two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN),
    replace(_EDGE, pools=two_racks(vxlan=Mode.CROSS_SUBNET).pools),
    allocated(_EDGE, "a1", borrowed=(Prefix.parse("10.244.2.9/32"),)),
    replace(_EDGE, nodes=_EDGE.nodes[:3]),
    _MOVED,
)
MEMBERS: Final = tuple(address for node in _DUAL.nodes if node.name != "a1" for address in (*node.addresses,))
PEERS: Final = (*MEMBERS, TOR, TOR2)
_FOUR: Final = tuple(
    map(Prefix.parse, ("10.244.2.0/26", "10.244.3.0/26", "10.244.4.0/26", "10.244.9.0/26", "10.244.200.0/26"))
)
_BORROWED: Final = (Prefix.parse("10.244.2.9/32"), Prefix.parse("10.244.9.7/32"), Prefix.parse("10.244.192.0/18"))
_SIX: Final = tuple(map(Prefix.parse, ("fd00:10:244::240/122", "fd00:10:244::980/122", "fd00:10:244:0:8000::/122")))
PREFIXES: Final = (*_FOUR, *_BORROWED, OUTSIDE, *_SIX)

# Events --------------------------------------------------------------------------------------------------------


def _path(choose: random.Random, prefix: Prefix, peer: Address) -> Path:
    same = [other for other in PEERS if other.version == prefix.version]
    far = Address.parse("203.0.113.1") if prefix.version == 4 else Address.parse("2001:db8::1")
    hop = choose.choice([peer if peer in same else far, *same, far, None])
    external = peer in (TOR, TOR2)
    asn = Asn(65001 if peer == TOR else 65002)
    farther: list[AsPath] = [(), (), (Asn(65009),), (AsSet((Asn(65008), Asn(65009))),)]
    further = choose.choice(farther)
    as_path = (asn, *further) if external else further
    return Path(
        prefix,
        hop,
        as_path,
        local_pref=choose.choice([None, None, 200]),
        med=choose.choice([None, 5]),
        communities=choose.choice([(), (), ((65535, 65281),), ((65000, 7),), ((65535, 0),)]),
        extended=choose.choice([(), (0x030C000000000007,)]),
        passed_on=choose.choice([(), (), (RawAttribute(0xE0, 200, b"x"),)]),
    )


def _update(choose: random.Random, peer: Address) -> Update:
    mine = [prefix for prefix in PREFIXES if prefix.version == peer.version]
    prefixes = choose.sample(mine, choose.randint(1, 3))
    gone = choose.randint(0, 1)
    announced = tuple(_path(choose, prefix, peer) for prefix in sorted(prefixes[gone:]))
    return Update(peer, announced, tuple(sorted(prefixes[:gone])))


def _session(choose: random.Random, peer: Address) -> Event:
    asn = Asn({TOR: 65001, TOR2: 65002}.get(peer, 64512))
    router_id = Address(4, choose.choice([1, 2, peer.value & 0xFFFFFFFF]))
    events: list[Event] = [
        SessionOpened(peer, asn, router_id, 30, choose.choice([None, 120]), forwarding_preserved=True),
        SessionUp(peer),
        SessionUp(peer),
        SessionDown(peer, "closing connection", notified=choose.random() < 0.3),
        EndOfRib(peer, peer.version),
        EndOfRib(peer, peer.version),
        RefreshBegun(peer, peer.version),
        RefreshEnded(peer, peer.version),
        RefreshRequested(peer),
        PeerRequested(peer, up=choose.random() < 0.7),
    ]
    return choose.choice(events)


def _other(choose: random.Random) -> Event:
    kinds: list[Callable[[], Event]] = [
        lambda: IntentLoaded(choose.choice(INTENTS)),
        lambda: DrainRequested(on=choose.random() < 0.5),
        lambda: SpeakerAttached(choose.randint(1, 2), ((choose.choice(MEMBERS), 5.0),)),
        lambda: SpeakerDetached("end of file"),
        Woken,
        KernelChanged,
    ]
    return choose.choice(kinds)()


def event(choose: random.Random) -> Event:
    """An event that a peer, the operator, or time brings about."""
    kind, peer = choose.random(), choose.choice(PEERS)
    if kind < 0.55:
        return _update(choose, peer)
    return _session(choose, peer) if kind < 0.8 else _other(choose)


def disturbed(kernel: Dataplane, choose: random.Random) -> Dataplane:
    """The kernel once another program has changed it."""
    static = Route(choose.choice(_FOUR), link="eth0", protocol=STATIC_PROTOCOL, metric=choose.choice([100, 1024]))
    far = Prefix.parse("203.0.113.0/24")
    way = Route(far, gateway=TOR, link="eth0", metric=choose.choice([5, 50]), protocol=STATIC_PROTOCOL)
    eth0 = next((link for link in kernel.links if link.name == "eth0"), None)
    own = sorted(route for route in kernel.routes if route.protocol == 179)
    changes: list[Callable[[], Dataplane]] = [
        lambda: kernel.put((static,)),
        lambda: kernel.drop((static,)),
        lambda: kernel.put((way,)),
        lambda: kernel.drop((way, way._replace(metric=50), way._replace(metric=5))),
        lambda: kernel.drop(own[:1]),
        lambda: kernel.drop(route for route in kernel.routes if route.prefix.length == 0),
        lambda: kernel.put((NextHop(7, "eth0", TOR, onlink=False, protocol=STATIC_PROTOCOL),)),
        lambda: kernel.put((Sysctl("net/ipv6/conf/eth0/accept_ra", "1"),)),
        lambda: kernel.put((replace(eth0, mtu_bytes=choose.choice([1500, 9000])),) if eth0 else ()),
        lambda: kernel.put((LinkAddress("eth0", InterfaceAddress.parse("10.0.0.129/24")),)),
        lambda: kernel.drop(item for item in kernel.addresses if item.address.address.version == 6),
        lambda: kernel.put((Link("tunl0", Plain("ipip"), 1480, owned=False),)),
        lambda: Dataplane.of(tuple(kernel), kernel.rules),  # equal, and shares nothing
    ]
    return choose.choice(changes)()


# Lives ---------------------------------------------------------------------------------------------------------


@contextmanager
def one_shard() -> Iterator[None]:
    """All prefixes are in one shard."""

    def alone(_: Prefix) -> table.ShardKey:
        return 0, 0, 0

    def together(items: Any) -> Any:
        found = list(items)
        return {(0, 0, 0): found} if found else {}

    with ExitStack() as stack:
        for module in (table, route_set, dataplane_module):
            stack.enter_context(patch.object(module, "shard_of", alone))
        for module in (table, route_set):
            stack.enter_context(patch.object(module, "by_shard", together))
        stack.enter_context(patch.object(table, "_near", lambda _, spans: spans))
        yield


class Life:
    """One agent that a story happens to."""

    def __init__(self, state: State | None = None) -> None:
        self.state = begin("a1", 0.0) if state is None else state

    def happens(self, what: Event, at_s: float) -> tuple[Command, ...]:
        self.state, commands = step(self.state, what, at_s)
        return commands

    def knows(self) -> Any:
        return self.state


class Forgetful(Life):
    """It takes nothing over."""

    def happens(self, what: Event, at_s: float) -> tuple[Command, ...]:
        self.state = replace(self.state, memo=Memo())
        return super().happens(what, at_s)


class Unsharded(Life):
    """All its tables have one shard."""

    def happens(self, what: Event, at_s: float) -> tuple[Command, ...]:
        with one_shard():
            if isinstance(what, Observed):
                what = Observed(Dataplane.of(tuple(what.dataplane), what.dataplane.rules))
            return super().happens(what, at_s)

    def knows(self) -> Any:
        with one_shard():
            return plain(self.state)


class Differs(AssertionError):
    """Two lives of one story are not the same."""


class Story:
    """
    The events of a seed, and what follows from them.

    Args:
        start: lives that have come to the same point, and their kernel.
        lives: how many of the three.
    """

    def __init__(self, seed: int, start: Story | None = None, *, lives: int = 3) -> None:
        self.choose = random.Random(seed)
        all_lives: tuple[Life, ...] = (Life(), Forgetful(), Unsharded())
        self.lives: tuple[Life, ...] = tuple(
            type(life)(life.state) for life in (start.lives if start else all_lives[:lives])
        )
        self.kernel: Dataplane = start.kernel if start else bare_kernel(member(_DUAL, "a1"))
        self.now_s: float = start.now_s if start else 0.0
        self.probes: SendProbes | None = None

    def goes_on(self, events: int) -> Story:
        """So many events, each with all that follows from it or only with what comes at once."""
        for _ in range(events):
            self.now_s += self.choose.choice([0.001, 0.001, 0.6, 40.0])
            if self.choose.random() < 0.2:
                self.kernel = disturbed(self.kernel, self.choose)
                self.settles(KernelChanged())
            elif self.probes and self.choose.random() < 0.5:
                self.settles(self.answers())
            else:
                self.settles(event(self.choose))
        self.agree()
        return self

    def answers(self) -> Probed:
        probes = self.probes.probes if self.probes else ()
        self.probes = None
        heard = [probe for probe in probes if self.choose.random() < 0.8]
        return Probed(tuple(ProbeReply(probe, probe.hop.link) for probe in heard))

    def settles(self, what: Event) -> None:
        """The event, and observations and operations until nothing follows any more."""
        commands = list(self.happens(what))
        for _ in range(8):
            if not commands:
                return
            command = commands.pop(0)
            match command:
                case Observe():
                    commands += self.happens(Observed(self.kernel))
                case Apply():
                    self.kernel = self.applied(command.ops)
                    commands += self.happens(Applied(()))
                case SendProbes():
                    self.probes = command
                case _:
                    pass

    def applied(self, ops: Sequence[Op]) -> Dataplane:
        """The kernel refuses what it would refuse, and says nothing."""
        return after_each(self.kernel, ops)[0]

    def happens(self, what: Event) -> tuple[Command, ...]:
        self.now_s += 0.001
        first, *others = [life.happens(what, self.now_s) for life in self.lives]
        for life, commands in zip(self.lives[1:], others, strict=True):
            if commands != first:
                raise Differs(f"{type(life).__name__} after {what}: {commands} instead of {first}")
        return first

    def agree(self) -> None:
        """All lives know the same."""
        first, *others = self.lives
        for life in others:
            if life.knows() != (first.state if isinstance(life, Forgetful) else plain(first.state)):
                raise Differs(f"{type(life).__name__} knows something else")


def plain(value: Any) -> Any:
    """A value without its tables' shards."""
    match value:
        case Memo():
            return None
        case Table() | Mapping():
            return {key: plain(item) for key, item in value.items()}
        case RouteSet():
            return frozenset(value)
        case tuple():
            return tuple(map(plain, value)) if any(isinstance(item, Table) for item in value) else value
        case _ if is_dataclass(value) and not isinstance(value, type):
            return type(value), {
                field.name: plain(getattr(value, field.name)) for field in fields(value) if field.compare
            }
        case _:
            return value


def started(seed: int, *, lives: int = 3) -> Story:
    """A story in which all members have a session and have announced their tables."""
    story = Story(seed, lives=lives)
    story.settles(IntentLoaded(INTENTS[seed % 3]))
    story.settles(SpeakerAttached(1, ()))
    for peer in PEERS:
        for event_ in (SessionUp(peer), _update(story.choose, peer), EndOfRib(peer, peer.version)):
            story.settles(event_)
    return story
