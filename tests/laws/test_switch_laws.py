"""
A whole cluster changes its encapsulation in memory: nodes hear of it in any order, stop anywhere, lose messages. At
every single operation each node can reach each other one, and in the end everything is as if it had always been so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bgpctl.core.cluster import Encapsulation, Intent, Mode
from bgpctl.core.effects import after
from bgpctl.core.fabric import derive
from bgpctl.core.model import IPIP_LINK, Address, Dataplane, Ipip, NextHop, Prefix, Vni, Vxlan
from bgpctl.core.plan import owned, plan
from bgpctl.core.switch import NO_EVIDENCE, Answer, Evidence, Switch, Trial, hold, learned
from tests.cluster import bare_kernel, learned_from_all, member, two_racks

MODES = [
    (Mode.ALWAYS, Mode.NEVER),
    (Mode.CROSS_SUBNET, Mode.NEVER),
    (Mode.NEVER, Mode.ALWAYS),
    (Mode.NEVER, Mode.CROSS_SUBNET),
]
OTHER = two_racks(vxlan=Mode.ALWAYS)
INTENTS = [
    *(two_racks(ipip=ipip, vxlan=vxlan) for ipip, vxlan in MODES),
    replace(OTHER, vxlan_vni=Vni(4097)),
    replace(OTHER, vxlan_port=8472),
]
RUNS = max(settings().max_examples, 1000 * (settings().max_examples // 300))
"""A thousand in `make test`."""
NAMES = [node.name for node in INTENTS[0].nodes]
NODES = st.sampled_from(NAMES)


class Host:
    """One node: its kernel, what it was told, what its trials have shown."""

    def __init__(self, name: str, intent: Intent) -> None:
        self.name, self.intent = name, intent
        self.kernel: Dataplane = bare_kernel(member(intent, name))
        self.evidence: Evidence = NO_EVIDENCE

    @property
    def address(self) -> Address:
        return member(self.intent, self.name).address.address

    def switch(self, at_s: float) -> Switch:
        here = member(self.intent, self.name)
        choices = learned_from_all(self.intent, here)
        wanted = derive(self.intent, here, {}, choices, self.kernel)
        return hold(wanted, self.kernel, self.intent, here, self.evidence, at_s)

    def hop_to(self, prefix: Prefix) -> NextHop | None:
        routes, hops = ways(self.kernel)
        return hops.get(routes.get(prefix))

    def link_of(self, way: Way) -> str:
        """By which link it takes what comes so; hosts may have other names for the same VNI and port."""
        kinds = {link.name: link.kind for link in self.kernel.links}
        vteps = {(kind.vni, kind.port): name for name, kind in kinds.items() if isinstance(kind, Vxlan)}
        others = {Encapsulation.DIRECT: "eth0", Encapsulation.IPIP: IPIP_LINK}
        return others.get(way.encapsulation) or vteps[way.vni, way.port]

    def takes(self, way: Way, sender: Host) -> bool:
        """Whether it takes what `sender` sends so."""
        match way.encapsulation:
            case Encapsulation.DIRECT:
                return member(self.intent, self.name).address.network.holds(sender.address)
            case Encapsulation.IPIP:
                return any(sender.address in decap.sources for decap in self.kernel.decaps)
            case Encapsulation.VXLAN:
                kinds = (link.kind for link in self.kernel.links if isinstance(link.kind, Vxlan))
                return any((kind.vni, kind.port, kind.local) == (way.vni, way.port, self.address) for kind in kinds)


class Way(NamedTuple):
    """How a packet crosses the underlay."""

    encapsulation: Encapsulation
    vni: Vni = Vni(0)
    port: int = 0


@lru_cache(maxsize=64)
def ways(kernel: Dataplane) -> tuple[Mapping[Prefix, int], Mapping[int | None, NextHop]]:
    """The next hop of each prefix, and each next hop by its number."""
    routes = {route.prefix: route.next_hop for route in kernel.routes if route.next_hop}
    return routes, {hop.id: hop for hop in kernel.next_hops}


def way_of(host: Host, hop: NextHop) -> Way:
    link = host.kernel.link(hop.link)
    assert link is not None
    match link.kind:
        case Vxlan(vni=vni, port=port):
            return Way(Encapsulation.VXLAN, vni, port)
        case Ipip():
            return Way(Encapsulation.IPIP)
        case _:
            return Way(Encapsulation.DIRECT)


def tried(trial: Trial) -> Way:
    if trial.frame:
        return Way(trial.encapsulation, trial.frame.vni, trial.frame.port)
    return Way(trial.encapsulation)


class ChangingCluster(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.hosts: dict[str, Host] = {}

    @initialize(first=st.sampled_from(INTENTS))
    def converge(self, first: Intent) -> None:
        self.hosts = {name: Host(name, first) for name in NAMES}
        for host in self.hosts.values():
            self.act(host, watched=False)

    def act(self, host: Host, ops: int | None = None, *, watched: bool = True) -> None:
        for op in plan(host.switch(self.now_s).desired, host.kernel).ops[:ops]:
            host.kernel = after(host.kernel, op)
            if watched:
                self.everyone_reaches_everyone()

    @rule(name=NODES, intent=st.sampled_from(INTENTS))
    def tell(self, name: str, intent: Intent) -> None:
        self.hosts[name].intent = intent

    @rule(name=NODES, ops=st.integers(1, 9))
    def stop_halfway(self, name: str, ops: int) -> None:
        self.act(self.hosts[name], ops)
        self.hosts[name].evidence = NO_EVIDENCE

    @rule(name=NODES)
    def work(self, name: str) -> None:
        self.act(self.hosts[name])

    @rule(name=NODES, data=st.data())
    def try_ways(self, name: str, data: st.DataObject) -> None:
        host = self.hosts[name]
        trials = host.switch(self.now_s).trials
        heard = [answer for trial in trials if (answer := self.answer(host, trial)) and data.draw(st.booleans())]
        host.evidence = learned(host.evidence, heard, host.kernel, self.now_s)

    @rule(seconds=st.floats(0.1, 9))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    def answer(self, host: Host, trial: Trial) -> Answer | None:
        remote = next(other for other in self.hosts.values() if other.address == trial.remote)
        if not remote.takes(tried(trial), host):
            return None
        if trial.source == trial.local:
            return Answer(trial, "eth0")
        (block,) = member(host.intent, host.name).blocks
        hop = remote.hop_to(block)
        way = way_of(remote, hop) if hop else None
        if hop is None or way is None or not host.takes(way, remote):
            return None
        return Answer(trial, host.link_of(way))

    @invariant()
    def everyone_reaches_everyone(self) -> None:
        for host in self.hosts.values():
            for other in self.hosts.values():
                if other is not host:
                    (block,) = member(other.intent, other.name).blocks
                    hop = host.hop_to(block)
                    assert hop, f"{host.name} has no way to {other.name}"
                    way = way_of(host, hop)
                    assert other.takes(way, host), f"{other.name} does not take {way} from {host.name}"

    def teardown(self) -> None:
        """Once all have heard of the last one and messages arrive, the switch comes to its end by itself."""
        if not self.hosts:
            return
        last = self.hosts[NAMES[0]].intent
        for host in self.hosts.values():
            host.intent = last
        for _ in range(12):
            for host in self.hosts.values():
                self.act(host)
                heard = [a for trial in host.switch(self.now_s).trials if (a := self.answer(host, trial))]
                host.evidence = learned(host.evidence, heard, host.kernel, self.now_s)
            self.now_s += 0.5
        for host in self.hosts.values():
            here = member(last, host.name)
            wanted = derive(last, here, {}, learned_from_all(last, here), host.kernel)
            assert host.switch(self.now_s).settled
            assert set(owned(host.kernel)) == set(owned(wanted.dataplane))


TestChangingCluster: Any = ChangingCluster.TestCase
TestChangingCluster.settings = settings(max_examples=RUNS)
