"""
A whole cluster changes its encapsulation in memory, or a node's address: the change reaches nodes in any order, they
stop anywhere, messages are lost. At every single operation each node can reach each other one, and the end is as if it
had always been so.

The profile `ci` makes 1200 runs of up to 50 steps in half a minute: what a node derives from one kernel is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import product
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
"""To the end of a migration, each half a second."""


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


class View:
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
        self.views = [{name: View(intent, name) for name in self.names} for intent in intents]

    @classmethod
    def by_encapsulation(cls, racks: str, version: int) -> Family:
        modes = [mode for mode in TUNNELLED if version == 4 or mode[0] is Mode.NEVER]
        modes += [BARE] if len(set(racks)) == 1 else []
        intents = [cluster(racks, version, *mode) for mode in modes]
        always = cluster(racks, version, Mode.NEVER, Mode.ALWAYS)
        return cls([*intents, replace(always, vxlan_vni=Vni(4097)), replace(always, vxlan_port=8472)])

    @classmethod
    def by_address(cls, racks: str, version: int, encapsulation: Encapsulation) -> Family:
        modes = [mode for mode in TUNNELLED if (mode[0] is not Mode.NEVER) is (encapsulation == IPIP)]
        intents = [cluster(racks, version, *mode) for mode in modes]
        return cls([*intents, *map(moved, intents)])


RACKS = ("aabb", "aab", "abc", "aaa", "ab")
FAMILIES = [
    *(Family.by_encapsulation(racks, version) for racks in RACKS for version in (4, 6)),
    *(Family.by_address(racks, 4, IPIP) for racks in RACKS),
    *(Family.by_address(racks, version, VXLAN) for racks in RACKS for version in (4, 6)),
]
carried_out = cache(after)


class Encap(NamedTuple):
    """How a packet crosses the underlay."""

    encapsulation: Encapsulation
    vni: Vni = Vni(0)
    port: int = 0


class Sent(NamedTuple):
    """A packet on the underlay, between these addresses."""

    encap: Encap
    source: Address
    target: Address


class Host:
    """One node: its kernel, its view of the cluster, the results of its probes."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.kernel: Dataplane = bare_kernel(view.here)
        self.probe_results: ProbeResults = NO_RESULTS
        self.state: defaultdict[str, frozenset[Encapsulation]] = defaultdict(frozenset)
        (self.block,) = view.intent.blocks_of(view.here)

    @property
    def addresses(self) -> frozenset[Address]:
        """On its underlay link now; of a tunnel it takes packets to those that it has been seen to have (Decap.own)."""
        return addresses(self.kernel)

    def follow(self, view: View) -> None:
        """Read another file. Its operator has given it the address before, and removes none."""
        if view.here.address.address not in self.addresses:
            self.kernel = self.kernel.put([LinkAddress("eth0", view.here.address)])
        self.view, self.probe_results = view, NO_RESULTS

    @property
    def wanted(self) -> Desired:
        return self.view.derived(self.kernel)

    def migrate(self, at_s: float) -> MigrationStep:
        here, intent = self.view.here, self.view.intent
        return next_step(
            self.wanted, self.kernel, intent, here, self.probe_results, at_s, lambda node, _: self.state[node.name]
        )

    def receive(self, other: Host) -> None:
        """Take in the other node's statement at this moment."""
        version = other.view.here.address.address.version
        self.state[other.view.here.name] = accepted_by_kernel(other.kernel)[version]

    def link_of(self, encap: Encap) -> str:
        """By which link it takes what comes so; hosts may have other names for the same VNI and port."""
        others = {DIRECT: "eth0", IPIP: IPIP_LINK}
        return others.get(encap.encapsulation) or vteps(self.kernel)[encap]

    def takes(self, sent: Sent) -> bool:
        """True if it takes such a packet: from a tunnel only of a sender that it lets in, at an address of its own."""
        if sent.target not in self.addresses:
            return False
        match sent.encap.encapsulation:
            case _ if sent.encap.encapsulation == DIRECT:
                return self.view.here.address.network.holds(sent.source)
            case _ if sent.encap.encapsulation == VXLAN and sent.encap not in vteps(self.kernel):
                return False
            case _:
                link = self.link_of(sent.encap)
                found = (decap for decap in self.kernel.decaps if decap.link == link)
                return any(sent.source in decap.sources and sent.target in decap.own for decap in found)

    def lets_through(self, encap: Encap, source: Address, target: Address) -> bool:
        """True if what comes out of that tunnel may come from there and go there; to its own addresses, a probe."""
        if encap.encapsulation == DIRECT:
            return True
        link = self.link_of(encap)
        inner = next(item for item in self.kernel.inner_filters if item.link == link)
        is_theirs = source in inner.members or any(prefix.holds(source) for prefix in inner.sources)
        return is_theirs and (target in inner.own or any(prefix.holds(target) for prefix in inner.destinations))

    def sends(self, block: Prefix) -> Sent | None:
        """The fate of a packet to a block."""
        encap, gateway = paths(self.kernel).get(block, (None, None))
        if encap is None:
            return None
        assert gateway
        if encap.encapsulation == DIRECT:
            return Sent(encap, self.view.here.address.address, gateway)
        name = self.link_of(encap)
        link, decap = self.kernel.link(name), next(item for item in self.kernel.decaps if item.link == name)
        source = (link.kind.sends_from() if link else None) or decap.local
        return Sent(encap, source, gateway if encap.encapsulation == IPIP else tunnel_end(self.kernel, name, gateway))


def encap_of(kind: LinkKind) -> Encap:
    match kind:
        case Vxlan(vni=vni, port=port):
            return Encap(VXLAN, vni, port)
        case Ipip():
            return Encap(IPIP)
        case _:
            return Encap(DIRECT)


def packet_of(probe: Probe) -> Sent:
    frame = probe.frame
    encap = (
        Encap(probe.encapsulation, frame.vni, frame.port)
        if isinstance(frame, VxlanFrame)
        else Encap(probe.encapsulation)
    )
    return Sent(encap, probe.local, probe.remote)


def is_of_former(host: Host, reply: ProbeReply) -> bool:
    """
    True if it is of an address that the file does not have any more. It is never lost here: whoever loses several of
    these in a row is right to take the address for gone.
    """
    return reply.probe.remote not in {node.address.address for node in host.view.intent.nodes}


@cache
def vteps(kernel: Dataplane) -> dict[Encap, str]:
    """Its VXLAN devices by what they take."""
    return {encap_of(link.kind): link.name for link in kernel.links if isinstance(link.kind, Vxlan)}


@cache
def addresses(kernel: Dataplane) -> frozenset[Address]:
    return frozenset(item.address.address for item in kernel.addresses if item.link == "eth0")


@cache
def tunnel_end(kernel: Dataplane, link: str, gateway: Address) -> Address:
    """Where a VXLAN device sends what goes to this gateway."""
    mac = next(entry.mac for entry in kernel.neighbours if (entry.link, entry.address) == (link, gateway))
    return next(entry.remote for entry in kernel.fdb if (entry.link, entry.mac) == (link, mac))


@cache
def paths(kernel: Dataplane) -> dict[Prefix, tuple[Encap, Address | None]]:
    """How it sends to the prefixes that it routes by next hops of ours, and to which gateway."""
    hops = {hop.id: hop for hop in kernel.next_hops}
    kinds = {link.name: link.kind for link in kernel.links}
    return {
        route.prefix: (encap_of(kinds[hop.link]), hop.gateway)
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
        first = data.draw(st.sampled_from(family.views))
        self.family = family
        self.hosts = {name: Host(first[name]) for name in family.names}
        for host in self.hosts.values():
            self.act(host, watched=False)

    def one_of_them(self, data: st.DataObject) -> Host:
        return self.hosts[data.draw(st.sampled_from(self.family.names))]

    def act(self, host: Host, ops: int | None = None, *, watched: bool = True) -> None:
        for op in plan(host.migrate(self.now_s).desired, host.kernel).ops[:ops]:
            host.kernel = carried_out(host.kernel, op)
            if watched:
                self.everyone_reaches_everyone()

    @rule(data=st.data())
    def reconfigure(self, data: st.DataObject) -> None:
        host = self.one_of_them(data)
        host.follow(data.draw(st.sampled_from(self.family.views))[host.view.here.name])

    @rule(data=st.data(), ops=st.integers(1, 9))
    def stop_halfway(self, data: st.DataObject, ops: int) -> None:
        host = self.one_of_them(data)
        self.act(host, ops)
        host.probe_results = NO_RESULTS

    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        self.act(self.one_of_them(data))

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        host, other = self.one_of_them(data), self.one_of_them(data)
        host.receive(other)

    @rule(data=st.data())
    def probe(self, data: st.DataObject) -> None:
        host = self.one_of_them(data)
        probes = host.migrate(self.now_s).probes
        answers = [answer for probe in probes if (answer := self.answer(host, probe))]
        quiet = data.draw(st.booleans())
        replies = [answer for answer in answers if quiet or is_of_former(host, answer) or data.draw(st.booleans())]
        host.probe_results = with_replies(host.probe_results, replies, host.kernel, self.now_s)
        self.act(host)

    @rule(seconds=st.floats(0.1, 9))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    def answer(self, host: Host, probe: Probe) -> ProbeReply | None:
        remote = next((other for other in self.hosts.values() if probe.remote in other.addresses), None)
        sent = packet_of(probe)
        if remote is None or not remote.takes(sent) or not remote.lets_through(sent.encap, probe.source, probe.target):
            return None
        if probe.source == probe.local:
            return ProbeReply(probe, "eth0")
        back = remote.sends(host.block)
        if back is None or not host.takes(back) or not host.lets_through(back.encap, probe.target, probe.source):
            return None
        outer = back.source if back.encap.encapsulation != DIRECT else None
        return ProbeReply(probe, host.link_of(back.encap), outer)

    @invariant()
    def everyone_reaches_everyone(self) -> None:
        for host in self.hosts.values():
            for other in self.hosts.values():
                if other is not host:
                    sent = host.sends(other.block)
                    assert sent, f"{host.view.here.name} has no path to {other.view.here.name}"
                    assert other.takes(sent), f"{other.view.here.name} does not take {sent}"
                    inner = host.block.first, other.block.first
                    assert other.lets_through(sent.encap, *inner), f"{other.view.here.name} drops {inner} in {sent}"

    def teardown(self) -> None:
        """Once the last one has reached every node and messages arrive, the migration comes to its end by itself."""
        if not self.hosts:
            return
        last = next(views for views in self.family.views if self.hosts[self.family.names[0]].view in views.values())
        for name, host in self.hosts.items():
            host.follow(last[name])
        for _ in range(_ROUNDS):
            if all(self.is_over(host) for host in self.hosts.values()):
                break
            for host in self.hosts.values():
                for other in self.hosts.values():
                    host.receive(other)
                self.act(host)
                replies = [a for probe in host.migrate(self.now_s).probes if (a := self.answer(host, probe))]
                host.probe_results = with_replies(host.probe_results, replies, host.kernel, self.now_s)
            self.now_s += 0.5
        assert all(self.is_over(host) for host in self.hosts.values())
        ChangingCluster.runs += 1

    def is_over(self, host: Host) -> bool:
        return host.migrate(self.now_s).settled and set(host.kernel.owned()) == set(host.wanted.dataplane.owned())


def test_through_any_sequence_of_changes_every_node_reaches_every_other(
    record_property: Callable[[str, object], None],
) -> None:
    ChangingCluster.runs = 0
    run_state_machine_as_test(ChangingCluster, settings=settings(max_examples=RUNS))
    record_property("summary", f"migration: {ChangingCluster.runs} runs, no node out of reach at any operation")
    assert ChangingCluster.runs >= RUNS


def test_two_nodes_that_read_two_changes_in_one_round_reach_each_other() -> None:
    """Each pair of files, after each first one, with every probe answered: what random runs find only now and then."""
    tried = 0
    for family in FAMILIES:
        for first, theirs, ours in product(family.views, repeat=3):
            cluster = ChangingCluster()
            cluster.hosts = {name: Host(first[name]) for name in family.names}
            for host in cluster.hosts.values():
                cluster.act(host, watched=False)
            other, here = (cluster.hosts[name] for name in family.names[:2])
            other.follow(theirs[other.view.here.name])
            here.follow(ours[here.view.here.name])
            replies = [reply for probe in here.migrate(0.0).probes if (reply := cluster.answer(here, probe))]
            here.probe_results = with_replies(here.probe_results, replies, here.kernel, 0.0)
            cluster.act(here)
            tried += 1
    assert tried > 1_000
