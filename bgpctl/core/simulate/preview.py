"""
Effects of a change on the kernel, before anything is touched: the operations of each step, in their order, as the agent
will decide them. The same functions decide; only the answers of the other nodes are assumed.

Refuses to know: files, the running agent, how an operation is shown.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Final, NamedTuple, assert_never

from bgpctl.core.bgp.decision import Candidate, Choice
from bgpctl.core.bgp.path import Path
from bgpctl.core.bgp.received import Received
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.encapsulation import DIRECT
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Unmet
from bgpctl.core.dataplane.effects import Op, Put, after_all
from bgpctl.core.dataplane.plan import plan
from bgpctl.core.fabric import Desired, derive
from bgpctl.core.fabric.encapsulations import BEHAVIOURS
from bgpctl.core.migration.drain import DRAIN_S
from bgpctl.core.migration.next_step import MigrationStep, next_step
from bgpctl.core.migration.probes import NO_RESULTS, ProbeResults, ReturnPath, kind_of
from bgpctl.core.migration.situation import PendingMember
from bgpctl.core.net.addresses import (
    Address,
    Prefix,
)
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.fib import Fib
from bgpctl.core.net.objects import (
    MAIN_TABLE,
    PROTOCOL,
    Link,
    LinkAddress,
    NextHop,
    Plain,
    Route,
    RouteType,
    key_of,
)
from bgpctl.core.simulate import alike
from bgpctl.core.simulate.effect import Carried, Effect, with_effects
from bgpctl.core.simulate.services import to_services
from bgpctl.core.simulate.tunnel_mtu import TooBig, too_big
from bgpctl.core.simulate.workloads import outside

_UNDERLAY: Final = "eth0"
_UNDERLAY_MTU_BYTES: Final = 1500
_KERNEL_PROTOCOL: Final = 2


class Stage(enum.Enum):
    """The steps of a migration; each waits for the other nodes."""

    PREPARE = "prepare"
    CUTOVER = "cutover"
    RETIRE = "retire"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its operations, each with its effect on traffic, and the nodes that the next step waits for."""

    stage: Stage
    ops: tuple[tuple[Op, Effect], ...]
    waits_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """
    The effects of a change on one node.

    Attributes:
        unreachable: prefixes that are routed now, that a host has, and that no route will lead to.
        cut: hosts with a connection to this node over a foreign route, whose packets one of our routes would take.
        unmet: wanted objects that are not possible, with the reason.
        blocked: members that do not accept the wanted encapsulation, according to their announcement or the file.
        kept: members for which a device stays after the last step.
        outside: workloads of this node that are in none of its blocks any more.
        too_big: tunnels that would be larger than what carries them.
        alike: names of other nodes on which the effects are the same, with their own addresses.
    """

    node: str
    steps: tuple[Step, ...] = ()
    unreachable: tuple[Prefix, ...] = ()
    cut: tuple[Address, ...] = ()
    unmet: tuple[Unmet, ...] = ()
    blocked: tuple[PendingMember, ...] = ()
    kept: tuple[PendingMember, ...] = ()
    outside: tuple[Prefix, ...] = ()
    too_big: tuple[TooBig, ...] = ()
    alike: tuple[str, ...] = ()

    @property
    def worst(self) -> Effect:
        return max((effect for step in self.steps for _, effect in step.ops), default=Effect.NONE)


class Present(NamedTuple):
    """
    The traffic of a running node, as far as it is known.

    Attributes:
        paths: the choice for each prefix that will have one; None: each member announces its blocks, and no router any.
        had: prefixes that others have now.
        away: prefixes of members that are known not to answer.
        talking: remote addresses with connections to this node, such as the operator's.
    """

    paths: Collection[Choice] | None = None
    had: Collection[Prefix] = frozenset()
    away: Collection[Prefix] = frozenset()
    talking: Collection[Address] = ()


_NOTHING_KNOWN: Final = Present()


def preview(
    intent: Intent, node: Node, observed: Dataplane, present: Present = _NOTHING_KNOWN, before: Intent | None = None
) -> Preview:
    """
    The steps from `observed`, the kernel of `node`, to what `intent` wants of it.

    Every member is assumed to answer probes. `before`: the intent that is in force.
    """
    found = preview_of(Members(intent), node, observed, present, Members(before or Intent()))
    links = [
        op.object for step in found.steps for op, _ in step.ops if isinstance(op, Put) and isinstance(op.object, Link)
    ]
    return replace(
        found, outside=outside(before, intent, node, observed), too_big=tuple(too_big(intent, node, observed, links))
    )


class Members:
    """The part of a preview that is the same for every node: the members, and the paths that each announces."""

    def __init__(self, intent: Intent) -> None:
        self.intent = intent
        self.names = {member.address.address: member.name for member in intent.nodes}
        prefixes = {member.name: intent.prefixes_of(member) for member in intent.nodes}
        self.prefixes = frozenset(chain.from_iterable(prefixes.values()))
        """Of all members."""
        self._paths = {member.name: tuple(_paths(intent, member, prefixes[member.name])) for member in intent.nodes}

    def paths(self, node: Node) -> Iterator[Choice]:
        """The paths that the node would receive if every other member announced its blocks, and all its services."""
        to_blocks = (paths for name, paths in self._paths.items() if name != node.name)
        return chain(chain.from_iterable(to_blocks), to_services(self.intent, node))


def _paths(intent: Intent, member: Node, prefixes: Iterable[Prefix]) -> Iterator[Choice]:
    for prefix in prefixes:
        own = member.underlay(prefix.version)
        if own:
            received = Received(Path(prefix, own.address), 0.0)
            yield Choice(Candidate(own.address, intent.asn_of(member), internal=True, received=received))


class _Stage(NamedTuple):
    """The operations of a stage, and the kernel before it."""

    stage: Stage
    before: Dataplane
    ops: tuple[Op, ...]
    waits_for: tuple[str, ...] = ()


def preview_of(members: Members, node: Node, observed: Dataplane, present: Present, former: Members) -> Preview:
    """The same for callers with many nodes, without the part that is about this host's links and workloads."""
    paths = present.paths if present.paths is not None else tuple(members.paths(node))
    stages, last, missing = _stages(members, node, observed, paths)
    ops = (op for stage in stages for op in stage.ops)
    now = after_all(observed, ops) if stages else observed
    had = members.prefixes.union(former.prefixes, present.had).difference(present.away)
    afterwards = Fib(now)
    pools = tuple(pool.cidr for intent in (members.intent, former.intent) for pool in intent.pools)
    lost = frozenset(
        prefix for prefix in (_routed(observed) - _routed(now)) & had if not _leads_on(afterwards, prefix, pools)
    )
    before = Fib(observed)
    cut = (peer for peer in sorted(present.talking) if _is_ours(afterwards, peer) and not _is_ours(before, peer))
    steps = (
        Step(stage.stage, tuple(with_effects(stage.ops, stage.before, Carried(had, lost))), stage.waits_for)
        for stage in stages
    )
    return Preview(node.name, tuple(steps), tuple(sorted(lost)), tuple(cut), missing, last.cutovers, last.drains)


def _stages(
    members: Members, node: Node, observed: Dataplane, paths: Collection[Choice]
) -> tuple[list[_Stage], MigrationStep, tuple[Unmet, ...]]:
    """All that have operations, the last step of the migration, and what is not possible then."""
    stages: list[_Stage] = []
    missing: tuple[Unmet, ...] = ()
    last = MigrationStep(Desired(observed, {}))
    now = observed
    for stage in Stage:
        wanted = derive(members.intent, node, members.names, paths, now)
        last = _step(stage, wanted, now, members.intent, node)
        made = plan(last.desired, now)
        ops = tuple(made.ops)
        missing = (*last.desired.unmet, *made.blocked)
        waits_for = sorted({waiting.member for waiting in (*last.cutovers, *last.drains)})
        if ops:
            stages.append(_Stage(stage, now, ops, tuple(waits_for)))
        now = after_all(now, ops)
        if last.settled:  # all that is wanted in the end was planned: the stages after this one have nothing to do
            break
    # What has gone may have been wanted for something that stays: a port in a filter for a device.
    wanted = derive(members.intent, node, members.names, paths, now)
    rest = tuple(plan(_step(stage, wanted, now, members.intent, node).desired, now).ops) if stages else ()
    if rest:
        stages[-1] = stages[-1]._replace(ops=(*stages[-1].ops, *rest))
    return stages, last, missing


def _leads_on(fib: Fib, prefix: Prefix, pools: Iterable[Prefix]) -> bool:
    """True if a route still leads there: one of ours, to what is in a pool, because the underlay knows no pools."""
    found = (route for route in fib.matches(MAIN_TABLE, prefix.first) if route.prefix.length <= prefix.length)
    route = next(found, None)
    if route is None or route.type is not RouteType.UNICAST:
        return False
    return route.protocol == PROTOCOL or not any(cidr.covers(prefix) for cidr in pools)


def _step(stage: Stage, wanted: Desired, now: Dataplane, intent: Intent, node: Node) -> MigrationStep:
    """The step of the migration with the results of probes: none, that every way leads there, that all use the new."""
    step = partial(next_step, wanted, now, intent, node)
    match stage:
        case Stage.PREPARE:
            return step(NO_RESULTS, 0.0)
        case Stage.CUTOVER:
            probes = step(NO_RESULTS, 0.0).probes
            return step(ProbeResults({probe.path: 0.0 for probe in probes}, {}), 0.0)
        case Stage.RETIRE:
            hops = _sent_back(wanted, node)
            seen = {hop.id: ReturnPath(hop.link, kind_of(now, hop.link), -DRAIN_S, 0.0) for hop in hops}
            return step(ProbeResults({}, seen), 0.0)
        case _:
            assert_never(stage)


def _sent_back(wanted: Desired, node: Node) -> Iterator[NextHop]:
    """Next hops by whose links members will send to us: not by encapsulations that this node does not accept."""
    for hop in wanted.dataplane.next_hops:
        encapsulation = wanted.reasons[key_of(hop)].encapsulation
        if encapsulation in {None, DIRECT} or node.accepts is None or encapsulation in node.accepts:
            yield hop


def with_other_driver(observed: Dataplane, encapsulation: str, driver: str) -> Dataplane:
    """The kernel as seen by another driver of the encapsulation, which has to make its devices anew."""
    recognises = BEHAVIOURS[encapsulation].recognises
    links = (link for link in observed.links if recognises(link.kind))
    return observed.put(replace(link, kind=link.kind.with_driver(driver)) for link in links)


def _is_ours(fib: Fib, destination: Address) -> bool:
    """True if the main table leads packets to the destination by a route of ours."""
    route = fib.in_table(MAIN_TABLE, destination)
    return route is not None and route.protocol == PROTOCOL


def assumed_kernel(node: Node) -> Dataplane:
    """A node as a distribution leaves it: one link with the node's address, and a default route. For want of facts."""
    owns = [own for own in (node.address, node.address6) if own]
    gateways = [alike.usual_gateway(own) for own in owns]
    return Dataplane.of(
        (
            Link(_UNDERLAY, Plain(""), _UNDERLAY_MTU_BYTES, owned=False),
            *(LinkAddress(_UNDERLAY, own) for own in owns),
            *(Route(own.network, link=_UNDERLAY, metric=0, protocol=_KERNEL_PROTOCOL) for own in owns),
            *(
                Route(Prefix(gateway.version, 0, 0), gateway=gateway, link=_UNDERLAY, metric=0, protocol=3)
                for gateway in gateways
            ),
        )
    )


def converged(intent: Intent, node: Node, kernel: Dataplane) -> Dataplane:
    """The node's kernel once everything that `intent` wants is there."""
    return converged_of(Members(intent), node, kernel)


def desired(intent: Intent, node: Node, kernel: Dataplane) -> Desired:
    """All that `intent` wants in the node's kernel with its reasons, if every other member announces its blocks."""
    members = Members(intent)
    choices = {choice.best.path.prefix: choice for choice in members.paths(node)}
    return derive(intent, node, members.names, choices.values(), kernel)


def converged_of(members: Members, node: Node, kernel: Dataplane, paths: Collection[Choice] | None = None) -> Dataplane:
    """The same with these paths instead of all that members have."""
    stages, _, _ = _stages(members, node, kernel, tuple(members.paths(node)) if paths is None else paths)
    return after_all(kernel, (op for stage in stages for op in stage.ops))


def _routed(dataplane: Dataplane) -> set[Prefix]:
    return {route.prefix for route in dataplane.routes if route.type is RouteType.UNICAST and route.next_hop}
