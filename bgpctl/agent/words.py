"""The words for reasons, operations and problems: sentences for an operator. BGP has its own in bgp_words.py.

Refuses to know: how a decision was made.
"""

from __future__ import annotations

import errno
from typing import Any, Final, assert_never

from bgpctl.core.agent.backoff import Backoff
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.encapsulation import DIRECT, Encapsulation
from bgpctl.core.cluster.reasons import PruneHold, PruneHoldCode, Reason, ReasonCode, Unmet, UnmetCode
from bgpctl.core.dataplane.effects import Failure, Op, Put, Remove
from bgpctl.core.migration.situation import PendingMember
from bgpctl.core.net.objects import (
    Decap,
    FdbEntry,
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
)
from bgpctl.core.simulate.preview import Effect, Preview


def reason(reason: Reason, node: Node) -> str:
    """Why an object is wanted on `node`."""
    match reason.code:
        case ReasonCode.OWN_BLOCK:
            return "own block: unassigned addresses stop here"
        case ReasonCode.FORWARDING:
            return "workload packets are forwarded"
        case ReasonCode.NAT_OUTGOING:
            return "a pool has natOutgoing"
        case ReasonCode.KEPT:
            return "kept as it is until the new way is proven, or until nobody uses it any more"
        case ReasonCode.NOT_WANTED:
            return "nothing wants it any more"
        case ReasonCode.TUNNEL:
            return f"a pool uses {_name(reason.encapsulation)}"
        case ReasonCode.BEST_PATH:
            return f"best path, from {reason.source}; {_way(reason, node)}"
        case ReasonCode.MEMBER:
            return f"member {reason.source}; {_way(reason, node)}" if reason.pool else f"member {reason.source}"
        case _:
            assert_never(reason.code)


def _way(reason: Reason, node: Node) -> str:
    inside = "inside" if reason.same_subnet else "not in"
    way = "direct" if reason.encapsulation == DIRECT else f"through {_name(reason.encapsulation)}"
    own = node.underlay(reason.remote.version) if reason.remote else None
    return f"pool {reason.pool}: {way}, {reason.remote} is {inside} {own.network if own else 'any subnet of ours'}"


def _name(encapsulation: Encapsulation | None) -> str:
    return "no encapsulation" if encapsulation is None or encapsulation == DIRECT else encapsulation.title


def unmet(item: Unmet) -> str:
    """Why something wanted cannot be had, and who can change that."""
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
            return f"{item.subject} is taken by somebody else's object ({item.detail}): {where}"
        case _:
            assert_never(item.code)


def cutover(waiting: PendingMember) -> str:
    """Who still gets its packets by the way that is to go."""
    if waiting.accepts is not None:
        tunnels = " and ".join(sorted(item.name for item in waiting.accepts.tunnels)) or "no tunnel"
        who = "the cluster file says" if waiting.accepts.in_file else "it says"
        return f"traffic to {waiting.member} stays on {waiting.link}: {who} that it accepts {tunnels}"
    way = f"until it answers a request by {waiting.wanted}"
    return f"traffic to {waiting.member} stays on {waiting.link} {way}: is it prepared, does the underlay let it pass?"


def drain(waiting: PendingMember) -> str:
    """For whose sake a link stays."""
    return f"{waiting.link} stays until {waiting.member} is seen to send by another way"


def prune_hold(item: PruneHold) -> str:
    """Why what is not wanted is not removed for now."""
    match item.code:
        case PruneHoldCode.FACTS_UNKNOWN:
            return f"routes stay until a link carries {item.subject}"
        case PruneHoldCode.SPEAKER_AWAY:
            return f"routes stay until {item.subject} answers"
        case PruneHoldCode.PEER_TABLE_INCOMPLETE:
            return f"routes that nobody has told stay until {item.subject} has told all its own"
        case _:
            assert_never(item.code)


def draining() -> str:
    """The node is about to go."""
    return "draining: peers prefer others' routes; take it back with: bgpctl undrain"


def unconfirmed(left_s: float) -> str:
    """A change is taken back unless it is confirmed."""
    return f"what was applied is taken back in {left_s:.0f} s; let it stay with: bgpctl confirm"


def shut(peer: str) -> str:
    """The operator wants no session with the peer."""
    return f"peer {peer} is shut down; bring it back with: bgpctl peer up {peer}"


def handover(peer: str) -> str:
    """The cluster file asks for no session with the peer any more."""
    return f"the session with {peer} stays until what it tells is known from others"


def config_rejected(reason: str) -> str:
    """The BGP speaker does not take its configuration."""
    return f"BGP configuration refused, the one before stays in force: {reason}"


def kernel_lost(reason: str) -> str:
    """The dataplane cannot be seen."""
    return f"the kernel cannot be seen or changed, what is shown is how it was last: {reason}"


def conflict(op: Op, repairs: Backoff, at_s: float) -> str:
    """Another program wants the opposite."""
    done = "put back" if isinstance(op, Put) else "removed"
    next_s = max(0.0, repairs.due_s - at_s)
    again = f"not again before {next_s:.1f} s from now" if next_s else "again at once if need be"
    return (
        f"somebody keeps undoing this: {kernel_object(op.thing)} was {done} "
        f"{repairs.attempts} times, {again}: who else runs?"
    )


def failure(item: Failure) -> str:
    """An operation that the kernel refused."""
    verb = "put" if isinstance(item.op, Put) else "remove"
    name = errno.errorcode.get(item.errno, str(item.errno))
    said = f" ({item.text})" if item.text else ""
    hint = f": {item.hint}" if item.hint else ""
    return f"cannot {verb} {kernel_object(item.op.thing)}: {name}{said}{hint}"


def operation(op: Op) -> str:
    """An operation, as a line of a plan."""
    return f"{'+' if isinstance(op, Put) else '-'} {kernel_object(op.thing)}"


def kernel_object(item: KernelObject) -> str:
    """A kernel object as `ip` would name it."""
    match item:
        case Link():
            return f"link {item.name} mtu {item.mtu_bytes}"
        case Sysctl():
            return f"sysctl {item.name}={item.value}"
        case LinkAddress():
            return f"address {item.address} dev {item.link}"
        case Decap():
            return f"decapsulation on {item.underlay} into {item.link} for {len(item.sources)} sources"
        case Masquerade():
            return f"masquerade from {', '.join(map(str, item.sources))}"
        case FdbEntry():
            return f"fdb {item.mac} dst {item.remote} dev {item.link}"
        case Neighbour():
            return f"neighbour {item.address} lladdr {item.mac} dev {item.link}"
        case NextHop():
            return f"nexthop {item.id:#x} via {item.gateway} dev {item.link}"
        case NextHopGroup():
            return f"nexthop {item.id:#x} group {'/'.join(f'{member:#x}' for member in item.members)}"
        case Route():
            kind = "" if item.type is RouteType.UNICAST else f"{item.type.name.lower()} "
            return f"route {kind}{item.prefix}" + (f" nhid {item.next_hop:#x}" if item.next_hop else "")
        case _:
            assert_never(item)


EFFECTS: Final = ("no effect on traffic", "changed in place", "atomic replace", "a gap of milliseconds")
"""By core.foresight.Effect."""


def preview(item: Preview) -> dict[str, Any]:
    """A plan for one node, as JSON."""
    return {
        "node": item.node,
        "steps": [
            {"stage": step.stage.value, "waits_for": list(step.waits_for), "ops": [_op(*op) for op in step.ops]}
            for step in item.steps
        ],
        "unreachable": [str(prefix) for prefix in item.unreachable],
        "cut": [str(peer) for peer in item.cut],
        "missing": [unmet(lack) for lack in item.unmet],
        "blocked": [*map(cutover, item.blocked), *map(drain, item.kept)],
        "worst": EFFECTS[item.worst],
    }


def _op(op: Op, effect: Effect) -> dict[str, str]:
    changes = effect in {Effect.ATOMIC, Effect.IN_PLACE}
    verb = "remove" if isinstance(op, Remove) else "change" if changes else "put"
    return {"verb": verb, "object": kernel_object(op.thing), "effect": EFFECTS[effect]}
