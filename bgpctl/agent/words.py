"""The words for reasons, operations and problems: sentences for an operator. BGP has its own in bgp_words.py.

Refuses to know: how a decision was made.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, assert_never

from bgpctl.core.agent.backoff import Backoff
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.count import count
from bgpctl.core.cluster.encapsulation import DIRECT, Encapsulation
from bgpctl.core.cluster.reasons import PruneHold, PruneHoldCode, Reason, ReasonCode, Unmet, UnmetCode
from bgpctl.core.dataplane.drift import Mismatch
from bgpctl.core.dataplane.effects import Failure, Op, Put, Remove
from bgpctl.core.migration.situation import PendingMember
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import (
    Decap,
    FdbEntry,
    InnerFilter,
    KernelObject,
    Link,
    LinkAddress,
    Masquerade,
    Neighbour,
    NextHop,
    NextHopGroup,
    Route,
    RouteType,
    Sysctl,
    WorkloadFilter,
)
from bgpctl.core.services.health import Status, Verdict
from bgpctl.core.simulate.effect import Effect
from bgpctl.core.simulate.preview import Preview
from bgpctl.core.simulate.tunnel_mtu import TooBig
from bgpctl.ports import StoreStatus

_SHOWN: Final = 3
"""So many objects are named."""


def reason(reason: Reason, node: Node) -> str:
    """The reason why an object is wanted on `node`."""
    match reason.code:
        case ReasonCode.OWN_BLOCK:
            return "own block: packets to its unassigned addresses are dropped"
        case ReasonCode.FORWARDING:
            return "workload packets are forwarded"
        case ReasonCode.NAT_OUTGOING:
            return "a pool has natOutgoing"
        case ReasonCode.WORKLOADS:
            return "workloads are attached"
        case ReasonCode.SERVICE:
            return f"service {reason.source} has an instance here"
        case ReasonCode.KEPT:
            return "kept until probes confirm its replacement, or until no member uses it"
        case ReasonCode.NOT_WANTED:
            return "obsolete: no pool or path requires it"
        case ReasonCode.TUNNEL:
            return f"a pool uses {_name(reason.encapsulation)}"
        case ReasonCode.BEST_PATH:
            return f"best path, from {reason.source}; {_encapsulated(reason, node)}"
        case ReasonCode.MEMBER:
            return (
                f"member {reason.source}; {_encapsulated(reason, node)}" if reason.pool else f"member {reason.source}"
            )
        case _:
            assert_never(reason.code)


def _encapsulated(reason: Reason, node: Node) -> str:
    inside = "inside" if reason.same_subnet else "not in"
    how = "unencapsulated" if reason.encapsulation == DIRECT else _name(reason.encapsulation)
    own = node.underlay(reason.remote.version) if reason.remote else None
    where = f"pool {reason.pool}" if reason.pool else "in no pool"
    return f"{where}: {how}, {reason.remote} is {inside} {own.network if own else 'any subnet of this node'}"


def _name(encapsulation: Encapsulation | None) -> str:
    return "no encapsulation" if encapsulation is None or encapsulation == DIRECT else encapsulation.title


def mismatch(item: Mismatch) -> str:
    """The difference between the mirror of the kernel and a dump."""
    parts = (("absent", item.absent), ("unknown until now", item.unknown))
    found = (f"{what}: {_some(dataplane)}" for what, dataplane in parts if dataplane.size or dataplane.rules)
    return f"kernel state differs from its notifications: {'; '.join(found)}"


def selfcheck(parts: Sequence[str]) -> str:
    """The parts of a decision that were others when it was made again from nothing."""
    return f"a decision differs when it is made again from nothing, and is repaired: {', '.join(parts)}"


def _some(dataplane: Dataplane) -> str:
    first = ", ".join(map(kernel_object, islice(dataplane, _SHOWN)))
    rules = count(len(dataplane.rules), "rule") if dataplane.rules else ""
    more = f"{dataplane.size - _SHOWN} more" if dataplane.size > _SHOWN else ""
    return ", ".join(filter(None, (first, more, rules)))


def unmet(item: Unmet) -> str:
    """The reason why something wanted cannot be had, and the command that shows more."""
    match item.code:
        case UnmetCode.UNDERLAY_UNKNOWN:
            where = f"no link that is up carries this node's address {item.subject}"
            return f"{where}, or it is on lo and no default route has a link: check `ip address` and `ip route`"
        case UnmetCode.NEXT_HOP_UNRESOLVED:
            return f"no route leads to next hop {item.subject} ({item.detail}): check `ip route get {item.subject}`"
        case UnmetCode.NO_TUNNEL_ADDRESS:
            return (
                f"{item.subject} is unreachable: node {item.detail} has no tunnel address and no block to take it from"
            )
        case UnmetCode.NO_ADDRESS:
            return f"{item.subject} is unreachable: node {item.detail} has no underlay address of its IP version"
        case UnmetCode.KEY_TAKEN:
            where = "see `ip link`, `ip nexthop` and `ip route`"
            return f"{item.subject} is taken by an object of another program ({item.detail}): {where}"
        case UnmetCode.STRICT_REVERSE_PATH:
            lost = f"this node has no tunnel address, and {item.subject} drops answers of workloads to it (rp_filter)"
            return f"{lost}: sysctl net.ipv4.conf.{item.subject.replace('.', '/')}.rp_filter=2"
        case _:
            assert_never(item.code)


def cutover(waiting: PendingMember) -> str:
    """The member whose traffic still uses the former link, and what its change waits for."""
    if waiting.accepts is not None:
        tunnels = " and ".join(sorted(item.name for item in waiting.accepts.tunnels)) or "no tunnel"
        source = "the cluster file" if waiting.accepts.in_file else "its encapsulation community"
        return f"traffic to {waiting.member} stays on {waiting.link}: it accepts {tunnels}, according to {source}"
    probed = f"no probe reply by {waiting.wanted} yet"
    check = f"check the configuration of {waiting.member}, and that the underlay passes this encapsulation"
    return f"traffic to {waiting.member} stays on {waiting.link}: {probed}; {check}"


def drain(waiting: PendingMember) -> str:
    """The member for which a link is kept."""
    return f"{waiting.link} is kept until packets from {waiting.member} arrive by its replacement"


def prune_hold(item: PruneHold) -> str:
    """The reason why obsolete objects are kept."""
    match item.code:
        case PruneHoldCode.FACTS_UNKNOWN:
            return f"stale routes are kept until a link that is up has this node's address {item.subject}"
        case PruneHoldCode.SPEAKER_AWAY:
            return f"stale routes are kept until {item.subject} answers"
        case PruneHoldCode.PEER_TABLE_INCOMPLETE:
            return f"stale routes are kept until End-of-RIB from {item.subject}"
        case _:
            assert_never(item.code)


def draining() -> str:
    """The node is in graceful shutdown (RFC 8326)."""
    return "draining: peers prefer routes of other nodes; end it with: bgpctl undrain"


def store(status: StoreStatus, now_s: float) -> Iterator[str]:
    """The problems of a store: since when it is not heard, and what this node goes by meanwhile."""
    if not status.is_heard:
        since = "since the agent started" if status.heard_at_s is None else f"for {now_s - status.heard_at_s:.0f} s"
        source = "this host's disk" if status.is_from_disk else "the last that was read"
        stale = f"stale: revision {status.revision}, {source}" if status.uuid else "nothing is known of the cluster yet"
        yield (
            f"store {status.name} is not heard {since} ({status.reason}); configuration and allocations are {stale};"
            " forwarding goes on, and nothing is removed"
        )
    for problem in status.problems:
        yield (
            f"store {status.name}: {problem}; revision {status.revision} of content {status.uuid} stays in force,"
            " and nothing is removed"
        )


def unconfirmed(left_s: float) -> str:
    """A change is undone unless it is confirmed."""
    return f"the last change is undone in {left_s:.0f} s; keep it with: bgpctl confirm"


def shut(peer: str) -> str:
    """The operator wants no session with the peer."""
    return f"peer {peer} is shut down by an operator; end it with: bgpctl peer up {peer}"


def handover(peer: str) -> str:
    """A session that the cluster file no longer has."""
    return f"the session with {peer} is kept until other peers announce its routes"


def config_rejected(reason: str) -> str:
    """ExaBGP rejected its configuration."""
    return f"ExaBGP rejected its configuration, the previous one stays in force: {reason}"


def kernel_lost(reason: str) -> str:
    """The kernel state cannot be read."""
    return f"kernel state cannot be read or changed, the last one read is shown: {reason}"


def conflict(op: Op, backoff: Backoff, at_s: float) -> str:
    """A repair that another program keeps reverting."""
    done = "restored" if isinstance(op, Put) else "removed"
    next_s = max(0.0, backoff.due_s - at_s)
    again = f"next repair in {next_s:.1f} s" if next_s else "next repair at once"
    times = count(backoff.attempts, "time")
    return (
        f"another program keeps reverting this: {kernel_object(op.object)} was {done} {times}, {again}; "
        "look for a second routing agent"
    )


def failure(item: Failure) -> str:
    """An operation that the kernel refused."""
    verb = "put" if isinstance(item.op, Put) else "remove"
    name = errno.errorcode.get(item.errno, str(item.errno))
    detail = f" ({item.text})" if item.text else ""
    hint = f": {item.hint}" if item.hint else ""
    return f"cannot {verb} {kernel_object(item.op.object)}: {name}{detail}{hint}"


def service(verdict: Verdict) -> str:
    """The status of an instance of a service that has changed."""
    after = f" after: {verdict.failure}" if verdict.status is Status.DOWN else ""
    return f"service {verdict.name} ({verdict.address}) is {verdict.status.value}{after}"


def operation(op: Op) -> str:
    """An operation, as a line of a plan."""
    return f"{'+' if isinstance(op, Put) else '-'} {kernel_object(op.object)}"


def kernel_object(item: KernelObject) -> str:
    """A kernel object as `ip` would name it."""
    match item:
        case Link():
            return f"link {item.name} mtu {item.mtu_bytes}"
        case Sysctl():
            return f"sysctl {item.name}={item.value}"
        case LinkAddress():
            return f"address {item.address} dev {item.link}"
        case Decap() | InnerFilter() | WorkloadFilter() | Masquerade():
            return _of_packets(item)
        case FdbEntry():
            return f"fdb {item.mac} dst {item.remote} dev {item.link}"
        case Neighbour():
            return f"neighbour {item.address} lladdr {item.mac} dev {item.link}"
        case NextHop():
            return f"nexthop {item.id} via {item.gateway} dev {item.link}"
        case NextHopGroup():
            return f"nexthop {item.id} group {'/'.join(map(str, item.members))}"
        case Route():
            kind = "" if item.type is RouteType.UNICAST else f"{item.type.name.lower()} "
            mtu = f" mtu {item.mtu_bytes}" if item.mtu_bytes else ""
            return f"route {kind}{item.prefix}" + (f" nhid {item.next_hop}" if item.next_hop else "") + mtu
        case _:
            assert_never(item)


def _of_packets(item: Decap | InnerFilter | WorkloadFilter | Masquerade) -> str:
    match item:
        case Decap():
            return f"decapsulation on {item.underlay} into {item.link} for {count(len(item.sources), 'source')}"
        case InnerFilter():
            return f"inner filter on {item.link} for {count(len(item.destinations), 'destination')}"
        case WorkloadFilter():
            return f"filter of workloads for {count(len(item.inside), 'pool')}"
        case Masquerade():
            return f"masquerade from {', '.join(map(str, item.sources))}"
        case _:
            assert_never(item)


EFFECTS: Final = (
    "no effect on traffic",
    "changed in place",
    "atomic replace",
    "a gap of milliseconds",
    "packets are lost",
)
"""By core.simulate.effect.Effect."""


def preview(item: Preview) -> dict[str, Any]:
    """A plan for one node, as JSON."""
    return {
        "node": item.node,
        "alike": list(item.alike),
        "steps": [
            {"stage": step.stage.value, "waits_for": list(step.waits_for), "ops": [_op(*op) for op in step.ops]}
            for step in item.steps
        ],
        "unreachable": [str(prefix) for prefix in item.unreachable],
        "cut": [str(peer) for peer in item.cut],
        "unmet": [unmet(entry) for entry in item.unmet],
        "blocked": [*map(cutover, item.blocked), *map(drain, item.kept)],
        "outside": [str(prefix) for prefix in item.outside],
        "too_big": list(map(_too_big, item.too_big)),
        "worst": EFFECTS[item.worst],
    }


def _too_big(item: TooBig) -> str:
    """The key, and the number that would fit."""
    return (
        f"{item.key}: {item.mtu_bytes} is too much for {item.link}: {item.carrier} has {item.carrier_bytes}, "
        f"at most {item.fits_bytes} fit"
    )


def _op(op: Op, effect: Effect) -> dict[str, str]:
    changes = effect in {Effect.ATOMIC, Effect.IN_PLACE}
    verb = "remove" if isinstance(op, Remove) else "change" if changes else "put"
    return {"verb": verb, "object": kernel_object(op.object), "effect": EFFECTS[effect]}
