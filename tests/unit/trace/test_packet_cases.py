"""
Packets that were lost while everything said "converged": each fault is put into the kernels that the files would make,
and the first cause that trace names has to be the true one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

import pytest

from bgpctl.agent import trace_words
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.core.net.objects import KernelObject, Link, Plain, Route
from bgpctl.core.simulate.declared import network, node_at
from bgpctl.core.trace.journey import Exchange, Follower, Journey, exchange
from bgpctl.core.trace.netfilter import Chain, Condition, Field, Rule, Verdict
from bgpctl.core.trace.packet import Packet
from bgpctl.core.trace.snapshot import LostPath, Neighbour, OwnAddress, Snapshot
from bgpctl.core.trace.steps import Break, Broken, Cause, Delivered, StepCode, Unknown
from tests.topologies import read_cluster

FILE: Final = """
pools:
  blue: {cidr: 10.244.0.0/16, encapsulation: IPIPCrossSubnet, natOutgoing: true}
nodes:
  a1: {address: 10.0.0.1/24, blocks: [10.244.1.0/26]}
  a2: {address: 10.0.0.2/24, blocks: [10.244.2.0/26]}
  b1: {address: 10.1.0.3/24, blocks: [10.244.3.0/26]}
  b2: {address: 10.1.0.4/24}
"""
WORKLOADS: Final = {"a1": "10.244.1.10", "a2": "10.244.2.10", "b1": "10.244.3.10"}
POOL: Final = Prefix.parse("10.244.0.0/16")
THEIRS: Final = 12
"""BIRD's route protocol."""


class Case(NamedTuple):
    """A fault at a node, a packet, and the cause; what the words and the next command have to contain."""

    node: str
    fault: Callable[[Snapshot], Snapshot]
    source: str
    destination: str
    cause: Break
    at: str
    words: str
    next: str


def plus(*objects: KernelObject) -> Callable[[Snapshot], Snapshot]:
    def fault(seen: Snapshot) -> Snapshot:
        return replace(seen, dataplane=seen.dataplane.put(objects))

    return fault


def filtered(*chains: Chain) -> Callable[[Snapshot], Snapshot]:
    def fault(seen: Snapshot) -> Snapshot:
        return replace(seen, chains=chains)

    return fault


def silent(link: str, gateway: str) -> Callable[[Snapshot], Snapshot]:
    def fault(seen: Snapshot) -> Snapshot:
        return replace(seen, neighbours={(link, Address.parse(gateway)): Neighbour.FAILED})

    return fault


def renumbered(address: str, then: Callable[[Snapshot], Snapshot]) -> Callable[[Snapshot], Snapshot]:
    """The link has another mask than the file."""

    def fault(seen: Snapshot) -> Snapshot:
        own = InterfaceAddress.parse(address)
        others = [item for item in seen.addresses if item.link != "eth0"]
        return then(replace(seen, addresses=(OwnAddress("eth0", own), *others)))

    return fault


def strict(seen: Snapshot) -> Snapshot:
    return replace(seen, sysctls={**seen.sysctls, "net/ipv4/conf/eth0/rp_filter": "1"})


def established(verdict: Verdict) -> Rule:
    return Rule(4, (Condition(Field.STATE, ("established", "related")),), verdict)


F: Final = Chain(
    "inet", "f", "F", "filter", "forward", 10, rules=(established(Verdict.ACCEPT), Rule(5, (), Verdict.REJECT))
)
NAT: Final = Chain(
    *("ip", "theirs", "post", "nat", "postrouting", 90),
    rules=(
        Rule(
            7,
            (
                Condition(Field.SOURCE, (POOL,), version=4),
                Condition(Field.DESTINATION, (Prefix.parse("224.0.0.0/4"),), inverted=True, version=4),
            ),
            Verdict.MASQUERADE,
        ),
    ),
)
DOCKER: Final = Chain("ip", "filter", "FORWARD", "filter", "forward", 0, Verdict.DROP)
SHADOW: Final = Route(
    Prefix.parse("10.244.3.0/26"), gateway=Address.parse("10.0.0.254"), link="eth0", metric=0, protocol=THEIRS
)

CASES: Final[Mapping[str, Case]] = {
    "a route of a router that ran before": Case(
        *("a1", plus(SHADOW), WORKLOADS["a1"], WORKLOADS["b1"], Break.SHADOWED, "a1"),
        *("proto bird metric 0", "ip route del 10.244.3.0/26 proto 12 metric 0"),
    ),
    "a rule that rejects at the end of a chain": Case(
        *("a1", filtered(F), WORKLOADS["a1"], WORKLOADS["b1"], Break.CHAIN, "a1"),
        *("rule 5 of chain inet f F (forward): reject", "nft -a list table inet f"),
    ),
    "another program masquerades the pool": Case(
        *("a1", filtered(NAT), WORKLOADS["a1"], WORKLOADS["b1"], Break.FOREIGN_MASQUERADE, "a1"),
        *("rule 7 of chain ip theirs post", "nft -a list table ip theirs"),
    ),
    "Docker drops what it does not know": Case(
        *("b1", filtered(DOCKER), WORKLOADS["a1"], WORKLOADS["b1"], Break.CHAIN, "b1"),
        *("chain ip filter FORWARD (forward) has the policy drop", "nft -a list table ip filter"),
    ),
    "the link has /32 where the file has /24": Case(
        *("a1", renumbered("10.0.0.1/32", silent("eth0", "10.0.0.2")), WORKLOADS["a1"], WORKLOADS["a2"]),
        *(Break.NOT_ON_LINK, "a1", "the file's mask is wrong", "ip address show dev eth0"),
    ),
    "masks that are too wide": Case(
        *("a1", silent("eth0", "10.0.0.2"), WORKLOADS["a1"], WORKLOADS["a2"], Break.NEIGHBOUR_SILENT, "a1"),
        *("no neighbour answers on eth0 for 10.0.0.2", "ip neighbour show 10.0.0.2 dev eth0"),
    ),
    "a node without a tunnel address has a strict rp_filter": Case(
        *("b2", strict, "10.1.0.4", WORKLOADS["a1"], Break.REVERSE_PATH, "b2"),
        *("rp_filter of eth0", "sysctl net/ipv4/conf/eth0/rp_filter=2"),
    ),
    "forwarding is off": Case(
        *("a1", lambda seen: replace(seen, sysctls={"net/ipv4/ip_forward": "0"}), WORKLOADS["a1"], WORKLOADS["b1"]),
        *(Break.NOT_FORWARDING, "a1", "are not forwarded", "sysctl net.ipv4.ip_forward=1"),
    ),
    "the tunnel is down": Case(
        *("a1", lambda seen: plus(replace(link(seen, "tunl0"), up=False))(seen), WORKLOADS["a1"], WORKLOADS["b1"]),
        *(Break.LINK_DOWN, "a1", "tunl0 is down", "ip link set tunl0 up"),
    ),
}


def link(seen: Snapshot, name: str) -> Link:
    found = seen.link(name)
    assert found
    return found


@pytest.fixture(scope="module")
def intent(tmp_path_factory: pytest.TempPathFactory) -> Intent:
    return read_cluster(tmp_path_factory.mktemp("cluster"), FILE)


def with_workload(name: str, seen: Snapshot) -> Snapshot:
    """A kernel that was read, with one workload."""
    if name not in WORKLOADS:
        return replace(seen, declared=False, open_blocks=False)
    address = Address.parse(WORKLOADS[name])
    cable = Link("w0", Plain("veth"), 1480, owned=False)
    route = Route(address.host_prefix, link="w0", metric=0, protocol=4)
    return replace(plus(cable, route)(seen), declared=False, open_blocks=False)


def kernels(intent: Intent) -> dict[str, Snapshot]:
    ends = [node.address.address for node in intent.nodes]
    found = network(intent, ends, {}).snapshots
    return {name: with_workload(name, seen) for name, seen in found.items() if seen}


def sent(intent: Intent, live: Mapping[str, Snapshot], source: str, destination: str, size_bytes: int = 84) -> Exchange:
    ends = Address.parse(source), Address.parse(destination)
    follower = Follower(network(intent, ends, live))
    owner = node_at(intent, ends[1])
    origin = follower.origin(ends[0])
    assert origin
    return exchange(follower, Packet(*ends, size_bytes), origin, owner.name if owner else None)


def first_cause(found: Exchange) -> tuple[Cause, Journey]:
    """The first suspicion or break."""
    for journey in filter(None, (found.there, found.back)):
        if journey.suspects:
            return journey.suspects[0], journey
        if isinstance(journey.end, Broken):
            return journey.end.cause, journey
    raise AssertionError(f"nothing breaks: {found}")


def test_without_a_fault_every_pair_is_delivered_there_and_back(intent: Intent) -> None:
    live = kernels(intent)
    for one in WORKLOADS.values():
        for other in (*WORKLOADS.values(), "10.1.0.4"):
            if one != other:
                found = sent(intent, live, one, other)
                assert found.back, found.there
                assert (type(found.there.end), type(found.back.end)) == (Delivered, Delivered), found


@pytest.mark.parametrize("name", CASES)
def test_the_first_cause_is_the_true_one(intent: Intent, name: str) -> None:
    case, live = CASES[name], kernels(intent)
    live[case.node] = case.fault(live[case.node])
    cause, journey = first_cause(sent(intent, live, case.source, case.destination))
    assert cause.code is case.cause
    assert case.at in {step.node for step in journey.steps}
    assert case.words in trace_words.cause(cause)
    assert case.next in (trace_words.next_command(cause) or "")


def test_natoutgoing_leaves_as_the_nodes_address_whichever_is_the_links_first(intent: Intent) -> None:
    live = kernels(intent)
    first = OwnAddress("eth0", InterfaceAddress.parse("10.0.0.201/24"))
    live["a1"] = replace(live["a1"], addresses=(first, *live["a1"].addresses))
    found = sent(intent, live, WORKLOADS["a1"], "192.0.2.9")
    (step,) = [step for step in found.there.steps if step.code is StepCode.TRANSLATED]
    assert str(step.packet.source) == "10.0.0.1"


def test_a_packet_that_does_not_fit_the_tunnel_breaks_at_its_device(intent: Intent) -> None:
    found = sent(intent, kernels(intent), WORKLOADS["a1"], WORKLOADS["b1"], 1500)
    assert isinstance(found.there.end, Broken)
    assert found.there.end.cause == Cause(Break.TOO_BIG, "tunl0", None, (("size", 1500), ("mtu", 1480)))


def test_a_node_that_was_not_asked_is_named(intent: Intent) -> None:
    live = {name: seen for name, seen in kernels(intent).items() if name != "b1"}
    follower = Follower(network(intent, (), live, missing_nodes=["b1"]))
    origin = follower.origin(Address.parse(WORKLOADS["a1"]))
    assert origin
    packet = Packet(Address.parse(WORKLOADS["a1"]), Address.parse(WORKLOADS["b1"]))
    end = follower.follow(packet, origin).end
    assert isinstance(end, Unknown)
    assert end.unread.subject == "b1"


def test_what_leaves_for_a_router_that_was_not_asked_is_unknown(intent: Intent) -> None:
    end = sent(intent, kernels(intent), WORKLOADS["a1"], "192.0.2.9").there.end
    assert isinstance(end, Unknown)
    assert end.unread.subject == "10.0.0.254"


def test_an_address_without_a_workload_is_dropped_by_its_block(intent: Intent) -> None:
    end = sent(intent, kernels(intent), WORKLOADS["a1"], "10.244.3.44").there.end
    assert isinstance(end, Broken)
    assert end.cause.code is Break.NO_WORKLOAD


def lossy(*lost: LostPath) -> Callable[[Snapshot], Snapshot]:
    return lambda seen: replace(seen, lost=lost)


B1: Final = Address.parse("10.1.0.3")


@pytest.mark.parametrize(
    ("lost", "size_bytes", "cause"),
    [
        (LostPath("tunl0", B1), 84, Cause(Break.LOST_PATH, B1, "tunl0", (("protocol", 4), ("port", 0)))),
        (LostPath("tunl0", B1, 1380), 1381, Cause(Break.NARROW_PATH, B1, "tunl0", (("size", 1381), ("mtu", 1380)))),
        (LostPath("tunl0", B1, 1380), 1380, None),
        (LostPath("tunl0", Address.parse("10.1.0.9")), 84, None),
        (LostPath("eth0", B1), 84, None),  # another path to the same member
    ],
)
def test_what_no_kernel_drops_is_lost_where_probes_are(
    intent: Intent, lost: LostPath, size_bytes: int, cause: Cause | None
) -> None:
    live = kernels(intent)
    live["a1"] = lossy(lost)(live["a1"])
    found = sent(intent, live, WORKLOADS["a1"], WORKLOADS["b1"], size_bytes)
    assert isinstance(found.there.end, Broken) is (cause is not None)
    if isinstance(found.there.end, Broken):
        assert (found.there.end.cause, found.there.node) == (cause, "a1")


def test_a_kernel_that_drops_the_packet_comes_before_the_probes(intent: Intent) -> None:
    live = kernels(intent)
    live["a1"] = lossy(LostPath("tunl0", B1))(live["a1"])
    live["b1"] = filtered(DOCKER)(live["b1"])
    cause, journey = first_cause(sent(intent, live, WORKLOADS["a1"], WORKLOADS["b1"]))
    assert (cause.code, journey.node) == (Break.CHAIN, "b1")


@pytest.mark.parametrize("state", [Neighbour.ASKED, Neighbour.FAILED])
def test_a_neighbour_that_is_asked_for_and_whose_probes_are_lost_is_silent(intent: Intent, state: Neighbour) -> None:
    a2, live = Address.parse("10.0.0.2"), kernels(intent)
    live["a1"] = replace(lossy(LostPath("eth0", a2))(live["a1"]), neighbours={("eth0", a2): state})
    cause, _ = first_cause(sent(intent, live, WORKLOADS["a1"], WORKLOADS["a2"]))
    assert cause == Cause(Break.NEIGHBOUR_SILENT, a2, "eth0")


def test_a_neighbour_that_is_being_asked_for_is_no_loss(intent: Intent) -> None:
    a2, live = Address.parse("10.0.0.2"), kernels(intent)
    live["a1"] = replace(live["a1"], neighbours={("eth0", a2): Neighbour.ASKED})
    assert isinstance(sent(intent, live, WORKLOADS["a1"], WORKLOADS["a2"]).there.end, Delivered)
