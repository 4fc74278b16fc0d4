"""Generated clusters, kernels and knowledge: the one place where randomness gets its shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hypothesis import strategies as st

from bgpctl.core.bgp.decision import Choice
from bgpctl.core.bgp.received import Received
from bgpctl.core.cluster.allocations import Allocations, NodeAllocations
from bgpctl.core.cluster.configuration import Backend, Node, Pool
from bgpctl.core.cluster.encapsulation import DIRECT, VXLAN, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import PruneHold, PruneHoldCode
from bgpctl.core.dataplane.plan import NOT_WANTED, plan
from bgpctl.core.fabric import Desired, derive
from bgpctl.core.fabric.vxlan import Vxlan
from bgpctl.core.net.addresses import (
    Address,
    InterfaceAddress,
    Mac,
    Prefix,
)
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import (
    FdbEntry,
    Link,
    LinkAddress,
    Neighbour,
    NextHop,
    NextHopGroup,
    Plain,
    Route,
    RouteType,
    key_of,
)
from tests.cluster import STATIC_PROTOCOL, allocated, bare_kernel, crossed, learned_from_all, path
from tests.laws.dataplanes import fold

MODES = [(mode, Mode.NEVER) for mode in Mode] + [(Mode.NEVER, mode) for mode in (Mode.CROSS_SUBNET, Mode.ALWAYS)]


@st.composite
def intents(draw: st.DrawFn) -> Intent:
    """Up to six nodes in up to three subnets, one or two pools of any kind, up to three blocks a node; maybe IPv6."""
    backend = draw(st.sampled_from([Backend.BIRD, Backend.VXLAN]))
    kinds = [pair for pair in MODES if backend is Backend.BIRD or pair[1] is not Mode.NEVER]
    pools = tuple(
        Pool(f"pool{index}", Prefix.parse(f"10.{244 + index}.0.0/16"), *crossed(*draw(st.sampled_from(kinds))))
        for index in range(draw(st.integers(1, 2)))
    )
    count = draw(st.integers(1, 6))
    numbers = iter(draw(st.permutations(range(24))))
    nodes = tuple(
        Node(
            f"n{index}",
            InterfaceAddress(Address(4, (10 << 24) + (draw(st.integers(0, 2)) << 16) + index + 1), 24),
        )
        for index in range(count)
    )
    blocks = {
        node.name: sorted(
            Prefix(4, draw(st.sampled_from(pools)).cidr.network + next(numbers) * 64, 26)
            for _ in range(draw(st.integers(0, 3)))
        )
        for node in nodes
    }
    intent = Intent(backend=backend, pools=pools, nodes=nodes, allocations=draw(borrowing(blocks)))
    modes = [*Mode] if backend is Backend.BIRD else [Mode.ALWAYS, Mode.CROSS_SUBNET]
    return draw(ipv6_too(intent, draw(st.sampled_from(modes)))) if draw(st.booleans()) else intent


@st.composite
def ipv6_too(draw: st.DrawFn, intent: Intent, mode: Mode) -> Intent:
    """An IPv6 pool, and nodes with IPv6 addresses in up to two subnets and blocks; either may be missing."""
    nodes = []
    for number, node in enumerate(intent.nodes):
        own = InterfaceAddress.parse(f"fd00:10:{draw(st.integers(0, 1))}::{number + 1:x}/64")
        block = Prefix.parse(f"fd00:10:244::{number + 1:x}40/122")
        if draw(st.integers(0, 4)):
            intent = allocated(intent, node.name, blocks=(*intent.blocks_of(node), block))
        nodes.append(replace(node, address6=own if draw(st.integers(0, 4)) else None))
    pool = Pool(
        "six",
        Prefix.parse("fd00:10:244::/64"),
        VXLAN if mode is not Mode.NEVER else DIRECT,
        mode,
        block_size=122,
        nat_outgoing=True,
    )
    return replace(intent, pools=(*intent.pools, pool), nodes=tuple(nodes))


@st.composite
def borrowing(draw: st.DrawFn, blocks: Mapping[str, Sequence[Prefix]]) -> Allocations:
    """These blocks; some nodes use an address of another one's."""
    found = {}
    for index, (name, own) in enumerate(blocks.items()):
        others = [block for other, theirs in blocks.items() if other != name for block in theirs]
        block = draw(st.sampled_from([None, *others]))
        borrowed = (block.nth(10 + index).host_prefix,) if block else ()
        found[name] = NodeAllocations(tuple(own), borrowed)
    return Allocations(found)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Intent, Node, Dataplane]:
    """A cluster, one of its nodes, and that node's kernel with foreign objects in it."""
    intent = draw(intents())
    here = draw(st.sampled_from(intent.nodes))
    return intent, here, draw(kernels(here))


@st.composite
def kernels(draw: st.DrawFn, here: Node) -> Dataplane:
    """The operator's kernel, with foreign objects: links, addresses, routes (some with our prefixes), next hops."""
    kernel = bare_kernel(here, mtu_bytes=draw(st.sampled_from([1500, 9000])))
    bridge = Link("br0", Plain("bridge"), 1500, owned=False)
    routes = draw(
        st.frozensets(
            st.builds(
                lambda number, metric: Route(
                    Prefix(4, (10 << 24) + (244 << 16) + number * 64, 26),
                    link="br0",
                    metric=metric,
                    protocol=STATIC_PROTOCOL,
                ),
                st.integers(0, 23),
                st.sampled_from([0, 100, 1024]),
            ),
            max_size=3,
        )
    )
    keyed = {(route.prefix, route.metric): route for route in routes}
    address = LinkAddress("br0", InterfaceAddress.parse("192.168.7.1/24"))
    hop = NextHop(7, "br0", Address.parse("192.168.7.2"), onlink=False, protocol=STATIC_PROTOCOL)
    return kernel.put((bridge, address, hop, *keyed.values()))


@st.composite
def wants(draw: st.DrawFn, situation: tuple[Intent, Node, Dataplane]) -> Desired:
    """Desired, with the routes of any part of the other nodes."""
    intent, here, kernel = situation
    deaf = draw(st.lists(st.sampled_from([node.name for node in intent.nodes]), unique=True))
    choices = learned_from_all(intent, here, without=deaf) if intent.backend is Backend.BIRD else ()
    return derive(intent, here, {}, [_with_equals(draw, choice, choices) for choice in choices], kernel)


def _with_equals(draw: st.DrawFn, choice: Choice, choices: Sequence[Choice]) -> Choice:
    """The choice with paths beside it that are as good: the same prefix at other nodes."""
    others = draw(st.lists(st.sampled_from([other.best for other in choices]), max_size=2, unique_by=lambda c: c.peer))
    equals = (
        other._replace(received=Received(path(choice.best.path.prefix, other.peer), 0.0))
        for other in others
        if other.peer != choice.best.peer
    )
    return choice._replace(also=tuple(equals))


@st.composite
def litter(draw: st.DrawFn, kernel: Dataplane) -> Dataplane:
    """The kernel with objects of ours from some other time: anything an older or crashed agent may have left."""
    local = next(item.address.address for item in kernel.addresses if item.link == "eth0" and is_ipv4(item))
    old_link = Link(
        "vxlan.bgpctl",
        Vxlan(draw(st.sampled_from([4096, 4097])), 4789, local, "eth0"),  # type: ignore[arg-type]
        draw(st.sampled_from([1450, 1400])),
        Mac("66:00:00:00:00:01"),
        up=draw(st.booleans()),
    )
    kernel = draw(led_directly(kernel))
    hop = NextHop(0x42000001, "vxlan.bgpctl", Address.parse("10.244.9.0"), onlink=True)
    stale = draw(st.frozensets(st.integers(0, 23), max_size=4))
    routes = frozenset(
        Route(Prefix(4, (10 << 24) + (244 << 16) + number * 64, 26), next_hop=0x43000001 if number % 2 else hop.id)
        for number in stale
    )
    taken = {(route.prefix, route.metric) for route in kernel.routes}
    blackhole = Route(Prefix.parse("10.244.255.0/26"), RouteType.BLACKHOLE)
    if not old_link.up:
        return kernel.put((old_link, blackhole))
    standing = (
        LinkAddress("vxlan.bgpctl", InterfaceAddress.parse("10.244.77.0/32")),
        FdbEntry("vxlan.bgpctl", Mac("66:00:00:00:00:02"), Address.parse("10.9.9.9")),
        Neighbour("vxlan.bgpctl", Address.parse("10.244.9.0"), Mac("66:00:00:00:00:02")),
        hop,
        NextHopGroup(0x43000001, (hop.id,)),
    )
    free = (route for route in routes if (route.prefix, route.metric) not in taken)
    return kernel.put((old_link, *standing, blackhole, *free))


def is_ipv4(item: LinkAddress) -> bool:
    return item.address.address.version == 4


@st.composite
def led_directly(draw: st.DrawFn, kernel: Dataplane) -> Dataplane:
    """IPv6 blocks that went by the underlay when their pool had another mode, or that belonged to another node."""
    if all(map(is_ipv4, kernel.addresses)):
        return kernel
    hop = NextHop(0x42000002, "eth0", Address.parse("fd00:10:0::fe"), onlink=True)
    numbers = draw(st.frozensets(st.integers(1, 6), max_size=3))
    routes = {Route(Prefix.parse(f"fd00:10:244::{number:x}40/122"), next_hop=hop.id) for number in numbers}
    return kernel.put((hop, *routes))


INCOMPLETE = (PruneHold(PruneHoldCode.PEER_TABLE_INCOMPLETE, "another"),)


_OLD = 1 << 25


@st.composite
def moments(draw: st.DrawFn) -> tuple[Desired, Dataplane]:
    """Wanted objects, and a kernel that another program or agent left behind."""
    situation = draw(situations())
    return draw(wants(situation)), draw(litter(situation[2]))


@st.composite
def transitions(draw: st.DrawFn) -> tuple[Desired, Dataplane]:
    """A wanted state, and a kernel in which an earlier one has come true."""
    later, observed = draw(moments())
    wanted = _some_of(draw, later.dataplane)
    earlier = replace(later, dataplane=wanted, reasons={key_of(obj): NOT_WANTED for obj in wanted})
    return later, fold(observed, plan(earlier, observed).ops)


def _some_of(draw: st.DrawFn, dataplane: Dataplane) -> Dataplane:
    """An earlier desired state: fewer routes, others by next hops that are no longer wanted or that lead elsewhere."""
    routes = draw(st.sets(st.sampled_from(sorted(dataplane.routes)))) if dataplane.routes else set()
    old = {hop.id: hop._replace(id=hop.id + _OLD) for hop in dataplane.next_hops}
    moved = {route for route in routes if route.next_hop in old and draw(st.booleans())}
    routes = routes - moved | {route._replace(next_hop=old[route.next_hop].id) for route in moved}
    named = {route.next_hop for route in routes}
    groups = {group for group in dataplane.groups if group.id in named}
    used = named.union(*(group.members for group in groups))
    hops = {hop for hop in (*dataplane.next_hops, *old.values()) if hop.id in used}
    hops = {hop._replace(onlink=draw(st.booleans())) for hop in hops}
    kept = dataplane.drop((*dataplane.routes, *dataplane.groups, *dataplane.next_hops))
    return kept.put((*hops, *groups, *routes))
