"""
A whole cluster changes its encapsulation in memory, or a node's address: nodes hear of it in any order, stop anywhere,
lose messages. At every single operation each node can reach each other one, and in the end everything is as if it had
always been so.

The profile `ci` makes 1200 runs of up to 50 steps in half a minute: what a node derives from one kernel is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from bgpctl.core.cluster.configuration import Backend, Node, Pool
from bgpctl.core.cluster.encapsulation import DIRECT, IPIP, VXLAN, Encapsulation, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.dataplane.effects import after
from bgpctl.core.dataplane.plan import plan
from bgpctl.core.fabric import Desired, derive
from bgpctl.core.fabric.encapsulations import accepted_by_kernel
from bgpctl.core.fabric.ipip import LINK as IPIP_LINK
from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.fabric.vxlan import Vxlan, VxlanFrame
from bgpctl.core.migration.next_step import MigrationStep, next_step
from bgpctl.core.migration.probes import NO_RESULTS, Probe, ProbeReply, ProbeResults, with_replies
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix, Vni
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import LinkAddress, LinkKind
from tests.cluster import bare_kernel, blocks, crossed, learned_from_all, member, node

TUNNELLED = [
    (Mode.ALWAYS, Mode.NEVER),
    (Mode.CROSS_SUBNET, Mode.NEVER),
    (Mode.NEVER, Mode.ALWAYS),
    (Mode.NEVER, Mode.CROSS_SUBNET),
]
BARE = (Mode.NEVER, Mode.NEVER)
RUNS = 4 * settings().max_examples
_ROUNDS = 20
"""To the end of a switch, each half a second."""


def cluster(racks: str, version: int, ipip: Mode, vxlan: Mode) -> Intent:
    """A node for each letter, in the subnet of that letter, with one block of the only pool."""
    nodes, own = [], {}
    for number, rack in enumerate(racks, 1):
        subnet, name = "abc".index(rack), f"{rack}{number}"
        four = (f"10.{subnet}.0.{number}/24", f"10.244.{number}.0/26")
        six = (f"fd00:10:{rack}::{number}/64", f"fd00:10:244::{number:x}40/122")
        address, block = four if version == 4 else six
        nodes.append(node(name, address))
        own[name] = [block]
    cidr, block_size = ("10.244.0.0/16", 26) if version == 4 else ("fd00:10:244::/64", 122)
    pool = Pool("blue", Prefix.parse(cidr), *crossed(ipip, vxlan), block_size=block_size)
    return Intent(backend=Backend.BIRD, pools=(pool,), nodes=tuple(nodes), allocations=blocks(**own))


def moved(intent: Intent) -> Intent:
    """The first node is known by its other address."""
    first, *others = intent.nodes
    return replace(intent, nodes=(replace(first, address=other_address(first)), *others))


def other_address(here: Node) -> InterfaceAddress:
    """Each host has two: the other one's last byte has its highest bit turned."""
    address = here.address.address
    return InterfaceAddress(Address(address.version, address.value ^ 0x80), here.address.length)


class Told:
    """A node's plan for one intent when it has received all others' blocks; equal kernels give equal answers."""

    def __init__(self, intent: Intent, name: str) -> None:
        self.intent, self.here = intent, member(intent, name)
        choices = learned_from_all(intent, self.here)
        self.derived = cache(partial(derive, intent, self.here, {}, choices))


class Family:
    """
    Intents for the same nodes that differ in the encapsulation, VNI or port, or in the first node's address, and can
    carry traffic there.
    """

    def __init__(self, intents: Sequence[Intent]) -> None:
        self.names = [here.name for here in intents[0].nodes]
        self.adj_rib_out = [{name: Told(intent, name) for name in self.names} for intent in intents]

    @classmethod
    def by_encapsulation(cls, racks: str, version: int) -> Family:
        modes = [mode for mode in TUNNELLED if version == 4 or mode[0] is Mode.NEVER]
        modes += [BARE] if len(set(racks)) == 1 else []
        intents = [cluster(racks, version, *mode) for mode in modes]
        always = cluster(racks, version, Mode.NEVER, Mode.ALWAYS)
        return cls([*intents, replace(always, vxlan_vni=Vni(4097)), replace(always, vxlan_port=8472)])

    @classmethod
    def by_address(cls, racks: str) -> Family:
        intents = [cluster(racks, 4, *mode) for mode in TUNNELLED if mode[0] is not Mode.NEVER]
        return cls([*intents, *map(moved, intents)])


RACKS = ("aabb", "aab", "abc", "aaa", "ab")
FAMILIES = [
    *(Family.by_encapsulation(racks, version) for racks in RACKS for version in (4, 6)),
    *(Family.by_address(racks) for racks in RACKS),
]
carried_out = cache(after)


class Way(NamedTuple):
    """How a packet crosses the underlay."""

    encapsulation: Encapsulation
    vni: Vni = Vni(0)
    port: int = 0


class Sent(NamedTuple):
    """A packet on the underlay, between these addresses."""

    way: Way
    source: Address
    target: Address


class Host:
    """One node: its kernel, what it was told, what its trials have shown."""

    def __init__(self, told: Told) -> None:
        self.adj_rib_out = told
        own = (told.here.address, other_address(told.here))
        bare = bare_kernel(told.here)
        self.kernel: Dataplane = bare.put(LinkAddress("eth0", address) for address in own)
        self.probe_results: ProbeResults = NO_RESULTS
        self.state: defaultdict[str, frozenset[Encapsulation]] = defaultdict(frozenset)
        self.addresses = {address.address for address in own}
        (self.block,) = told.intent.blocks_of(told.here)

    @property
    def wanted(self) -> Desired:
        return self.adj_rib_out.derived(self.kernel)

    def switch(self, at_s: float) -> MigrationStep:
        here, intent = self.adj_rib_out.here, self.adj_rib_out.intent
        return next_step(
            self.wanted, self.kernel, intent, here, self.probe_results, at_s, lambda node, _: self.state[node.name]
        )

    def hears(self, other: Host) -> None:
        """Take in the other node's statement at this moment."""
        version = other.adj_rib_out.here.address.address.version
        self.state[other.adj_rib_out.here.name] = accepted_by_kernel(other.kernel)[version]

    def link_of(self, way: Way) -> str:
        """By which link it takes what comes so; hosts may have other names for the same VNI and port."""
        others = {DIRECT: "eth0", IPIP: IPIP_LINK}
        return others.get(way.encapsulation) or vteps(self.kernel)[way]

    def takes(self, sent: Sent) -> bool:
        """True if it takes such a packet. A VXLAN device does so at every address of its host."""
        if sent.target not in self.addresses:
            return False
        match sent.way.encapsulation:
            case _ if sent.way.encapsulation == DIRECT:
                return self.adj_rib_out.here.address.network.holds(sent.source)
            case _ if sent.way.encapsulation == IPIP:
                return any(sent.source in decap.sources and sent.target in decap.own for decap in self.kernel.decaps)
            case _:
                return sent.way in vteps(self.kernel)

    def sends(self, block: Prefix) -> Sent | None:
        """The fate of a packet to a block."""
        way, gateway = ways(self.kernel).get(block, (None, None))
        if way is None:
            return None
        decap = next(iter(self.kernel.decaps), None)
        own = self.adj_rib_out.here.address.address
        if way.encapsulation == IPIP and decap and gateway:
            return Sent(way, decap.local, gateway)
        intent = self.adj_rib_out.intent
        return Sent(way, own, next(other.address.address for other in intent.nodes if block in intent.blocks_of(other)))


def way_by(kind: LinkKind) -> Way:
    match kind:
        case Vxlan(vni=vni, port=port):
            return Way(VXLAN, vni, port)
        case Ipip():
            return Way(IPIP)
        case _:
            return Way(DIRECT)


def tried(trial: Probe) -> Sent:
    frame = trial.frame
    way = Way(trial.encapsulation, frame.vni, frame.port) if isinstance(frame, VxlanFrame) else Way(trial.encapsulation)
    return Sent(way, trial.local, trial.remote)


@cache
def vteps(kernel: Dataplane) -> dict[Way, str]:
    """Its VXLAN devices by what they take."""
    return {way_by(link.kind): link.name for link in kernel.links if isinstance(link.kind, Vxlan)}


@cache
def ways(kernel: Dataplane) -> dict[Prefix, tuple[Way, Address | None]]:
    """How it sends to the prefixes that it routes by next hops of ours, and to which gateway."""
    hops = {hop.id: hop for hop in kernel.next_hops}
    kinds = {link.name: link.kind for link in kernel.links}
    return {
        route.prefix: (way_by(kinds[hop.link]), hop.gateway)
        for route in kernel.routes
        if (hop := hops.get(route.next_hop)) is not None
    }


class ChangingCluster(RuleBasedStateMachine):
    runs = 0

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.hosts: dict[str, Host] = {}

    @initialize(family=st.sampled_from(FAMILIES), data=st.data())
    def converge(self, family: Family, data: st.DataObject) -> None:
        first = data.draw(st.sampled_from(family.adj_rib_out))
        self.family = family
        self.hosts = {name: Host(first[name]) for name in family.names}
        for host in self.hosts.values():
            self.act(host, watched=False)

    def one_of_them(self, data: st.DataObject) -> Host:
        return self.hosts[data.draw(st.sampled_from(self.family.names))]

    def act(self, host: Host, ops: int | None = None, *, watched: bool = True) -> None:
        for op in plan(host.switch(self.now_s).desired, host.kernel).ops[:ops]:
            host.kernel = carried_out(host.kernel, op)
            if watched:
                self.everyone_reaches_everyone()

    @rule(data=st.data())
    def tell(self, data: st.DataObject) -> None:
        host = self.one_of_them(data)
        host.adj_rib_out = data.draw(st.sampled_from(self.family.adj_rib_out))[host.adj_rib_out.here.name]
        host.probe_results = NO_RESULTS

    @rule(data=st.data(), ops=st.integers(1, 9))
    def stop_halfway(self, data: st.DataObject, ops: int) -> None:
        host = self.one_of_them(data)
        self.act(host, ops)
        host.probe_results = NO_RESULTS

    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        self.act(self.one_of_them(data))

    @rule(data=st.data())
    def hear(self, data: st.DataObject) -> None:
        host, other = self.one_of_them(data), self.one_of_them(data)
        host.hears(other)

    @rule(data=st.data())
    def probe(self, data: st.DataObject) -> None:
        host = self.one_of_them(data)
        trials = host.switch(self.now_s).probes
        answers = [answer for trial in trials if (answer := self.answer(host, trial))]
        quiet = data.draw(st.booleans())
        heard = [answer for answer in answers if quiet or data.draw(st.booleans())]
        host.probe_results = with_replies(host.probe_results, heard, host.kernel, self.now_s)
        self.act(host)

    @rule(seconds=st.floats(0.1, 9))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    def answer(self, host: Host, trial: Probe) -> ProbeReply | None:
        remote = next(other for other in self.hosts.values() if trial.remote in other.addresses)
        if not remote.takes(tried(trial)):
            return None
        if trial.source == trial.local:
            return ProbeReply(trial, "eth0")
        back = remote.sends(host.block)
        if back is None or not host.takes(back):
            return None
        outer = back.source if back.way.encapsulation == IPIP else None
        return ProbeReply(trial, host.link_of(back.way), outer)

    @invariant()
    def everyone_reaches_everyone(self) -> None:
        for host in self.hosts.values():
            for other in self.hosts.values():
                if other is not host:
                    sent = host.sends(other.block)
                    assert sent, f"{host.adj_rib_out.here.name} has no way to {other.adj_rib_out.here.name}"
                    assert other.takes(sent), f"{other.adj_rib_out.here.name} does not take {sent}"

    def teardown(self) -> None:
        """Once all have heard of the last one and messages arrive, the switch comes to its end by itself."""
        if not self.hosts:
            return
        last = next(
            told for told in self.family.adj_rib_out if self.hosts[self.family.names[0]].adj_rib_out in told.values()
        )
        for name, host in self.hosts.items():
            host.adj_rib_out, host.probe_results = last[name], NO_RESULTS
        for _ in range(_ROUNDS):
            if all(self.is_over(host) for host in self.hosts.values()):
                break
            for host in self.hosts.values():
                for other in self.hosts.values():
                    host.hears(other)
                self.act(host)
                heard = [a for trial in host.switch(self.now_s).probes if (a := self.answer(host, trial))]
                host.probe_results = with_replies(host.probe_results, heard, host.kernel, self.now_s)
            self.now_s += 0.5
        assert all(self.is_over(host) for host in self.hosts.values())
        ChangingCluster.runs += 1

    def is_over(self, host: Host) -> bool:
        return host.switch(self.now_s).settled and set(host.kernel.owned()) == set(host.wanted.dataplane.owned())


def test_through_any_sequence_of_changes_every_node_reaches_every_other(
    record_property: Callable[[str, object], None],
) -> None:
    ChangingCluster.runs = 0
    run_state_machine_as_test(ChangingCluster, settings=settings(max_examples=RUNS))
    record_property("told", f"switch: {ChangingCluster.runs} runs, nobody out of reach at any operation")
    assert ChangingCluster.runs >= RUNS
