"""
A whole cluster changes its encapsulation in memory: nodes hear of it in any order, stop anywhere, lose messages. At
every single operation each node can reach each other one, and in the end everything is as if it had always been so.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bgpctl.core.cluster import Encapsulation, Intent, Mode
from bgpctl.core.effects import after
from bgpctl.core.fabric import derive
from bgpctl.core.model import Address, Dataplane, Ipip, NextHop, Prefix, Vxlan
from bgpctl.core.plan import owned, plan
from bgpctl.core.switch import NO_EVIDENCE, Answer, Evidence, Switch, Trial, hold, learned
from tests.cluster import bare_kernel, learned_from_all, member, two_racks

MODES = [
    (Mode.ALWAYS, Mode.NEVER),
    (Mode.CROSS_SUBNET, Mode.NEVER),
    (Mode.NEVER, Mode.ALWAYS),
    (Mode.NEVER, Mode.CROSS_SUBNET),
]
INTENTS = [two_racks(ipip=ipip, vxlan=vxlan) for ipip, vxlan in MODES]
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
        route = next((route for route in self.kernel.routes if route.prefix == prefix and route.next_hop), None)
        return next((hop for hop in self.kernel.next_hops if route and hop.id == route.next_hop), None)

    def takes(self, encapsulation: Encapsulation, sender: Host) -> bool:
        """Whether it takes what `sender` sends so."""
        match encapsulation:
            case Encapsulation.DIRECT:
                return member(self.intent, self.name).address.network.holds(sender.address)
            case Encapsulation.IPIP:
                return any(sender.address in decap.sources for decap in self.kernel.decaps)
            case Encapsulation.VXLAN:
                return any(
                    isinstance(link.kind, Vxlan) and link.kind.local == self.address for link in self.kernel.links
                )


def way_of(host: Host, hop: NextHop) -> Encapsulation:
    link = host.kernel.link(hop.link)
    assert link is not None
    return {Ipip: Encapsulation.IPIP, Vxlan: Encapsulation.VXLAN}.get(type(link.kind), Encapsulation.DIRECT)


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
        host.evidence = learned(host.evidence, heard, self.now_s)

    @rule(seconds=st.floats(0.1, 9))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    def answer(self, host: Host, trial: Trial) -> Answer | None:
        remote = next(other for other in self.hosts.values() if other.address == trial.remote)
        if not remote.takes(trial.encapsulation, host):
            return None
        if trial.source == trial.local:
            return Answer(trial, "eth0")
        (block,) = member(host.intent, host.name).blocks
        hop = remote.hop_to(block)
        way = way_of(remote, hop) if hop else None
        if hop is None or way is None or not host.takes(way, remote):
            return None
        return Answer(trial, hop.link)

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
                host.evidence = learned(host.evidence, heard, self.now_s)
            self.now_s += 0.5
        for host in self.hosts.values():
            here = member(last, host.name)
            wanted = derive(last, here, {}, learned_from_all(last, here), host.kernel)
            assert host.switch(self.now_s).settled
            assert set(owned(host.kernel)) == set(owned(wanted.dataplane))


TestChangingCluster: Any = ChangingCluster.TestCase
