"""
Each input of each stage of the agent, taken away from it in turn, as data: a stage that does not see one of its inputs
takes over what it should not. Stages where one input alone is another one, because in an agent's life some never are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch

from bgpctl.core.agent import reconcile
from bgpctl.core.bgp import export_policy, loc_rib
from bgpctl.core.bgp.decision import Candidate, Choice
from bgpctl.core.bgp.export_policy import ExportInput, announceable, routes_for
from bgpctl.core.bgp.import_policy import Policy
from bgpctl.core.bgp.loc_rib import ChoiceInput, VerdictInput, select
from bgpctl.core.bgp.next_hop_cost import NextHopCosts
from bgpctl.core.bgp.peer_table import PeerTable
from bgpctl.core.bgp.received import Received
from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.bgp.wire.encode import EXTENDED_MESSAGE_BYTES, Room
from bgpctl.core.cluster.configuration import Check, Service
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.ownership import BlockOwnership
from bgpctl.core.cluster.reasons import PruneHold, PruneHoldCode
from bgpctl.core.fabric import next_hops
from bgpctl.core.fabric.derive import BaseInput, Derivation, LearnedInput, MembersInput, Question, derived
from bgpctl.core.fabric.desired import Links
from bgpctl.core.fabric.next_hops import ResolutionInput
from bgpctl.core.fabric.path_mtu import PathMtus
from bgpctl.core.net import dataplane as dataplane_module
from bgpctl.core.net import table
from bgpctl.core.net.addresses import Address, Asn, InterfaceAddress, Prefix
from bgpctl.core.net.dataplane import Dataplane, Surroundings, surroundings
from bgpctl.core.net.objects import Link, LinkAddress, NextHop, NextHopGroup, Plain, Route, Sysctl
from bgpctl.core.net.route_set import Difference, RouteSet
from bgpctl.core.net.table import Mapped, Table
from tests.cluster import bare_kernel, member, path, two_racks
from tests.laws.incremental import INTENTS, MEMBERS, TOR

derive: Final = sys.modules[Derivation.__module__]
"""The module; its package has the function under the same name."""

Mutant = Callable[[], AbstractContextManager[object]]

# Mutants -------------------------------------------------------------------------------------------------------

_MODULES: Final[tuple[ModuleType, ...]] = (loc_rib, derive, next_hops, export_policy)


@contextmanager
def _blind(kind: type, field: str) -> Iterator[None]:
    """A stage does not see that this field of its input is another one."""
    is_same = table.is_same

    def without_field(before: Any, now: Any, but: str = "") -> bool:
        if type(now) is kind and before is not None:
            before = before._replace(**{field: getattr(now, field)})
        return is_same(before, now, but)

    with ExitStack() as stack:
        for module in _MODULES:
            stack.enter_context(patch.object(module, "is_same", without_field))
        yield


@contextmanager
def _blind_to_entries(function: str) -> Iterator[None]:
    """The function does not see that entries of its table are others."""
    mapped = Table.mapped

    def without_entries(
        self: Table[Any], make: Callable[..., Any], before: Mapped[Any, Any] | None = None, *changed: Any
    ) -> Any:
        caller = sys._getframe(1).f_code.co_name
        is_blind = before and before.source and caller == function
        return before.result if before and is_blind else mapped(self, make, before, *changed)

    with patch.object(Table, "mapped", without_entries):
        yield


def _without(target: object, name: str, instead: Callable[..., object]) -> Mutant:
    original = getattr(target, name)
    return lambda: patch.object(target, name, lambda *args: instead(original, *args))


def _seen_before(field: str) -> Callable[..., Surroundings]:
    """Of the surroundings the part named is the one before."""

    def instead(original: Any, observed: Dataplane, before: Surroundings | None = None) -> Surroundings:
        now: Surroundings = original(observed, before)
        if before is None:
            return now
        same = replace(now.foreign, **{field: getattr(before.foreign, field)})
        return Surroundings(observed, same.sharing(before.foreign))

    return instead


def _routes_with(field: str) -> Callable[..., object]:
    """The stage of routes is given one of its inputs as it was before."""

    def instead(original: Any, own: RouteSet, tables: Any, resolution: Any, limits: Any, before: Any) -> object:
        given = {"own": own, "hop_sets": tables, "resolution": resolution, "limits": limits}
        if before is not None:
            given[field] = getattr(before, field)
        return original(*given.values(), before)

    return instead


def _difference_with(field: str) -> Callable[..., Difference]:
    """The comparison does not see that one of the two tables is another one."""

    def instead(original: Any, mine: RouteSet, theirs: RouteSet, before: Difference | None = None) -> Difference:
        same = before and (theirs is before.theirs if field == "mine" else mine is before.mine)
        return before if before and same else original(mine, theirs, before)

    return instead


_INPUTS: Final[Mapping[type, str]] = {
    # All fields but tables whose entries are compared one by one.
    VerdictInput: "ownership session_policy",
    ChoiceInput: "router_id",
    Question: "intent node names best foreign prune_holds withdrawn path_mtus",
    BaseInput: "intent node foreign",
    LearnedInput: "pools versions names",
    MembersInput: "intent node versions",
    ResolutionInput: "site hop_sets",
    export_policy.PeerExportInput: "policy link_of draining extended room services",
}
ENTRIES: Final[Mapping[Any, str]] = {
    VerdictInput: "paths",
    ChoiceInput: "outcomes",
    LearnedInput: "best",
    export_policy.PeerExportInput: "paths",
}
"""The tables."""

_FIELDS: Final[Mapping[str, Mutant]] = {
    f"{kind.__name__}.{field}": lambda kind=kind, field=field: _blind(kind, field)  # type: ignore[misc]
    for kind, names in _INPUTS.items()
    for field in names.split()
}
MUTANTS: Final[Mapping[str, Mutant]] = {
    **_FIELDS,
    "VerdictInput.paths": lambda: _blind_to_entries("_outcomes"),
    "ownership: edits": _without(BlockOwnership, "changed_since", lambda _original, _self, _before: frozenset()),
    "ownership: prefixes": _without(Table, "overlapping", lambda _original, _self, _others: set()),
    "policy: announcements": _without(Policy, "announces_as", lambda _original, _self, _before: True),
    "ChoiceInput.outcomes": _without(loc_rib, "_changed", lambda _original, _before, _now: ()),
    "LearnedInput.best": lambda: _blind_to_entries("_learned"),
    "announceable: choices": lambda: _blind_to_entries("announceable"),
    "PeerExportInput.paths": lambda: _blind_to_entries("routes_for"),
    "costs: values": _without(NextHopCosts, "are_those_of", lambda _original, _self, _before: True),
    "costs: dataplane": _without(
        NextHopCosts,
        "of",
        lambda original, self, plane, *more: self if self._dataplane else original(self, plane, *more),
    ),
    "links: dataplane": _without(
        Links, "of", lambda original, self, plane: self if self._dataplane else original(self, plane)
    ),
    "in use: tables": _without(derive, "_in_use", lambda original, tables, before: before or original(tables, before)),
    "routes: ids": _without(derive, "_leads_elsewhere", lambda _original, _before, _now: False),
    **{
        f"routes: {field}": _without(derive, "_routes", _routes_with(field))
        for field in ("own", "hop_sets", "resolution", "limits")
    },
    **{
        f"surroundings: {field}": _without(reconcile, "surroundings", _seen_before(field))
        for field in ("links", "sysctls", "addresses", "next_hops", "routes")
    },
    **{
        f"plan: {field}": _without(dataplane_module, "difference", _difference_with(field))
        for field in ("mine", "theirs")
    },
}

# Inputs that differ alone --------------------------------------------------------------------------------------


def alone() -> Iterator[tuple[str, object, object]]:
    """Of each input that is another one alone: what follows from the memory of the other, and what follows anew."""
    for one, others in _questions():
        for name, other in others.items():
            for question, earlier in ((other, one), (one, other)):
                yield name, derived(question, derived(earlier)).desired, derived(question).desired
    yield from _kernels()
    yield from _policies()
    yield from _links()
    yield from _rooms()
    yield from _services()


_HERE: Final = "a1"
_BOTH: Final = (member(INTENTS[1], _HERE), member(INTENTS[1], "b2"))
KERNEL: Final = bare_kernel(_BOTH[0]).put(bare_kernel(_BOTH[1]).addresses)
"""It may be that of two nodes."""


def _choice(prefix: str, *peers: str, by: str = "") -> tuple[Prefix, Choice]:
    """A prefix behind these nodes, as the last node named reports it."""
    hops = [member(INTENTS[1], name).address.address for name in peers]
    best, *also = (
        Candidate(peer, Asn(64512), internal=True, received=Received(path(prefix, peer), 0.0)) for peer in hops
    )
    reporter = member(INTENTS[1], by or peers[0]).address.address
    return Prefix.parse(prefix), Choice(best._replace(peer=reporter), also=tuple(also))


def _questions() -> Iterator[tuple[Question, Mapping[str, Question]]]:
    ecmp = _choice("10.244.9.0/26", "a2", "b1")
    paths = (
        ecmp,
        _choice("10.244.3.0/26", "b1"),
        _choice("10.244.4.0/26", "b1", by="a2"),
        _choice("10.244.5.0/26", "b1"),
    )
    swapped = (*paths[:3], _choice("10.244.5.0/26", "b1", by="a2"))
    best = Table.of(paths)
    for intent in (INTENTS[1], two_racks(), two_racks(ipip=Mode.ALWAYS), two_racks(vxlan=Mode.ALWAYS)):
        here, there = (member(intent, name) for name in (_HERE, "b2"))
        wide = replace(here, address=here.address._replace(length=8))
        renamed = replace(here, name="z")
        question = Question(intent, here, {}, best, surroundings(KERNEL).foreign)
        default = [route for route in KERNEL.routes if not route.prefix.length]
        others = {
            "intent": question._replace(intent=replace(intent, pools=two_racks(cidr="10.0.0.0/8").pools)),
            "encapsulation": question._replace(intent=replace(intent, pools=two_racks(ipip=Mode.ALWAYS).pools)),
            "node": question._replace(node=there),
            "mask": question._replace(node=wide),
            "name": question._replace(node=renamed),
            "names": question._replace(names=dict.fromkeys((there.address.address, *MEMBERS), "somebody")),
            "best": question._replace(best=Table.of(paths[1:])),
            "reported by another": question._replace(best=Table.of(swapped)),
            "no way out": question._replace(foreign=surroundings(KERNEL.drop(default)).foreign),
            "foreign": question._replace(foreign=Dataplane()),
            "withdrawn": question._replace(withdrawn=frozenset(best)),
            "path MTUs": question._replace(path_mtus=PathMtus(True, dict.fromkeys(_tunnel_ends(), 1380))),
            "prune holds": question._replace(prune_holds=(PruneHold(PruneHoldCode.SPEAKER_AWAY, "exabgp"),)),
        }
        yield question, others


def _tunnel_ends() -> Iterator[tuple[str, Address]]:
    """Paths by the links that any of the intents may use to b1."""
    address = member(INTENTS[1], "b1").address.address
    return ((link, address) for link in ("eth0", "tunl0", "vxlan.bgpctl"))


def _kernels() -> Iterator[tuple[str, object, object]]:
    """The foreign part of an observation, after another one."""
    strange = KERNEL.put(
        (
            Link("br0", Plain("bridge"), 1500, owned=False),
            LinkAddress("br0", InterfaceAddress.parse("192.168.7.1/24")),
            Sysctl("net/ipv6/conf/eth0/accept_ra", "1"),
            NextHop(7, "br0", None, onlink=False, protocol=4),
            NextHopGroup(8, (7,), protocol=4),
            Route(Prefix.parse("10.244.9.0/26"), next_hop=8, protocol=4),
        )
    )
    known = surroundings(KERNEL)
    for field in ("links", "addresses", "sysctls", "next_hops", "groups", "routes"):
        observed = replace(KERNEL, **{field: getattr(strange, field)})
        yield field, _of_the_agent(observed, known).foreign, surroundings(observed).foreign


def _of_the_agent(observed: Dataplane, known: Surroundings) -> Surroundings:
    """As the agent finds them, which a mutant may prevent."""
    found: Surroundings = vars(reconcile)["surroundings"](observed, known)
    return found


def _policies() -> Iterator[tuple[str, object, object]]:
    one, two = map(_policy, (INTENTS[0], replace(INTENTS[0], nodes=INTENTS[0].nodes[:3])))
    peer = member(INTENTS[0], "b1").address.address
    shut = replace(one.session_policies[peer], session=replace(one.session_policies[peer].session, peer_asn=Asn(65099)))
    others = {
        "ownership": replace(one, ownership=two.ownership),
        "session policy": replace(one, session_policies={**one.session_policies, peer: shut}),
    }
    gone = INTENTS[0].nodes[3].address.address  # of the second policy's ownership no member
    paths = [path("10.244.4.0/26", peer), path("10.244.3.0/26", peer), path("10.244.9.0/26", peer)]
    paths.append(path("10.244.9.64/26", gone))
    rib = {peer: PeerTable(paths=Table.of((each.prefix, Received(each, 0.0)) for each in paths))}
    costs = NextHopCosts(None)
    for name, policy in others.items():
        first = select(one, rib, costs)
        yield name, select(policy, rib, costs, first).loc_rib, select(policy, rib, costs).loc_rib


def _links() -> Iterator[tuple[str, object, object]]:
    """The routes for a router whose filter asks by which link they leave."""
    policy = _policy(INTENTS[0])
    router = policy.session_policies[TOR]
    paths = announceable(Table.of([_choice("10.244.3.0/26", "b1")]))
    by_tunnel, direct = (
        ExportInput(policy, paths, link_of, draining=False, accepts={})
        for link_of in (lambda _: "tunl0", lambda _: "eth0")
    )
    earlier = export_policy.routes_for(by_tunnel, router)
    yield "link_of", export_policy.routes_for(direct, router, earlier).routes, routes_for(direct, router).routes


def _rooms() -> Iterator[tuple[str, object, object]]:
    """The routes for a router after another OPEN of it: a path of so many communities needs a long message."""
    policy = _policy(INTENTS[0])
    router, (prefix, choice) = policy.session_policies[TOR], _choice("10.244.3.0/26", "b1")
    marked = replace(choice.best.received.path, communities=tuple((64512, number) for number in range(1200)))
    best = choice.best._replace(received=Received(marked, 0.0))
    paths = announceable(Table.of([(prefix, choice._replace(best=best))]))
    exported = ExportInput(policy, paths, lambda _: None, draining=False, accepts={})
    earlier = export_policy.routes_for(exported, router, None, Room(EXTENDED_MESSAGE_BYTES))
    yield "room", export_policy.routes_for(exported, router, earlier).routes, routes_for(exported, router).routes


def _services() -> Iterator[tuple[str, object, object]]:
    """The routes for a router once an instance of this node is well."""
    service = Service("web", Address.parse("192.0.2.1"), Check(tcp=80), nodes=(_HERE,))
    policy, paths = _policy(replace(INTENTS[0], services=(service,))), announceable(Table())
    router, by_no_link = policy.session_policies[TOR], dict[Prefix, str]().get
    ill, well = (
        ExportInput(policy, paths, by_no_link, draining=False, accepts={}, services=services)
        for services in ((), (service,))
    )
    earlier, anew = export_policy.routes_for(ill, router), routes_for(well, router).routes
    assert service.prefix in anew
    yield "services", export_policy.routes_for(well, router, earlier).routes, anew


def _policy(intent: Intent) -> Policy:
    config = speaker_config(intent, _HERE)
    assert config is not None
    return Policy.of(intent, member(intent, _HERE), config)
