"""The prover's thread, beside probers that answer all, or cannot send."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from bgpctl.agent.prover import Prover
from bgpctl.core.agent.events import ConfigurationsCompared, ForwardingJudged, PathsJudged
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.migration.probes import Probe, ProbeReply
from bgpctl.core.proof.paths import member_paths
from bgpctl.core.proof.verdict import Verdict
from bgpctl.core.trace.firewall import Stop, forwarded, stops
from bgpctl.core.trace.netfilter import Chain, Condition, Field, Numbers, Rule
from bgpctl.core.trace.netfilter import Verdict as Fatal
from bgpctl.ports import Unavailable
from bgpctl.process.clock import LinuxClock
from tests.cluster import bare_kernel, derived, member, two_racks
from tests.probers import NoProber
from tests.waiting import wait_until

INTENT = two_racks(ipip=Mode.CROSS_SUBNET)
DESIRED = derived(INTENT)
HERE = member(INTENT, "a1")
PATHS = member_paths(DESIRED, bare_kernel(HERE).put(DESIRED.dataplane), INTENT, HERE)


class Answering(NoProber):
    def probe(self, probes: Sequence[Probe]) -> tuple[ProbeReply, ...]:
        return tuple(ProbeReply(probe, "eth0") for probe in probes)


class Held(Answering):
    """While `go` is not set a round lasts."""

    def __init__(self) -> None:
        self.began, self.go = threading.Event(), threading.Event()
        self.go.set()

    def probe(self, probes: Sequence[Probe]) -> tuple[ProbeReply, ...]:
        self.began.set()
        self.go.wait(60)
        return super().probe(probes)


class FailingOnce(Answering):
    def __init__(self) -> None:
        self.has_failed = threading.Event()

    def probe(self, probes: Sequence[Probe]) -> tuple[ProbeReply, ...]:
        if not self.has_failed.is_set():
            self.has_failed.set()
            raise RuntimeError("can't start new thread")
        return super().probe(probes)


class Unable(NoProber):
    def probe(self, probes: Sequence[Probe]) -> tuple[ProbeReply, ...]:
        del probes
        raise Unavailable("packets cannot be made here")


class Walled(Answering):
    """A firewall whose chains may be replaced; `refusals`: how often they cannot be read before."""

    def __init__(self, *chains: Chain, refusals: int = 0) -> None:
        self.chains_now: tuple[Chain, ...] | None = chains
        self.refusals = refusals

    def chains(self) -> tuple[Chain, ...] | None:
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("nft is not there")
        found, self.chains_now = self.chains_now, None
        return found


FORWARD = Chain("inet", "host", "forward", "filter", "forward", 0)
REJECTING = FORWARD._replace(rules=(Rule(2, (), Fatal.REJECT),))
FROM_BLOCK = Condition(Field.SOURCE, (INTENT.blocks_of(HERE)[0],), version=4)


@pytest.mark.parametrize(
    ("chain", "text"),
    [
        (REJECTING, "has a reject for packets of workloads: rule handle 2"),
        (FORWARD._replace(policy=Fatal.DROP), "has a drop for packets of workloads: its policy"),
        (REJECTING._replace(hook="prerouting"), "(prerouting) has a reject for packets of workloads: rule handle 2"),
        (REJECTING._replace(hook="postrouting"), "(postrouting) has a reject for packets of workloads: rule handle 2"),
        # Docker's rule for one direction alone.
        (FORWARD._replace(policy=Fatal.DROP, rules=(Rule(3, (FROM_BLOCK,), Fatal.ACCEPT),)), "has a drop for packets"),
    ],
)
def test_a_chain_that_ends_packets_of_workloads_is_reported_until_it_does_not(chain: Chain, text: str) -> None:
    prober, found = Walled(chain, refusals=1), list[tuple[Stop, ...]]()
    prover = Prover(
        prober, LinuxClock(), lambda e: found.append(e.stops) if isinstance(e, ForwardingJudged) else None, 0.1
    )
    try:
        prover.follow(INTENT, PATHS)
        wait_until(lambda: len(found) == 1, within_s=30)
        ((stop,),) = found
        where = f"insert rule inet host {chain.name} ip"
        pass_both = f"{where} saddr 10.244.0.0/16 accept; {where} daddr 10.244.0.0/16 accept"
        assert text in stop.text
        assert stop.remedy == f"nft '{pass_both}'"
        prober.chains_now = (FORWARD,)
        wait_until(lambda: found[1:] == [()], within_s=30)
    finally:
        prover.stop()


@pytest.mark.parametrize(
    "chain",
    [
        FORWARD,
        FORWARD._replace(rules=(Rule(2, (Condition(Field.OTHER),), Fatal.REJECT),)),
        # Ping ends here for certain, and TCP perhaps.
        FORWARD._replace(
            policy=Fatal.DROP,
            rules=(Rule(2, (Condition(Field.PROTOCOL, (Numbers(6, 6),)), Condition(Field.OTHER)), Fatal.ACCEPT),),
        ),
        # A policy of the operator's by protocol, and one about others.
        FORWARD._replace(rules=(Rule(2, (Condition(Field.PROTOCOL, (Numbers(6, 6),)),), Fatal.REJECT),)),
        FORWARD._replace(rules=(Rule(2, (Condition(Field.ARRIVES, ("docker0",)),), Fatal.REJECT),)),
        FORWARD._replace(
            policy=Fatal.DROP,
            rules=(
                Rule(2, (Condition(Field.ARRIVES, ("cali*",)),), Fatal.ACCEPT),
                Rule(3, (Condition(Field.LEAVES, ("cali*",)),), Fatal.ACCEPT),
            ),
        ),
    ],
)
def test_other_chains_are_in_no_ones_way(chain: Chain) -> None:
    kinds = [kind for name in ("a2", "b1") for kind in forwarded(INTENT, HERE, member(INTENT, name), "tunl0")]
    assert not [stop for stop in stops((chain,), kinds) if stop.is_certain]


@contextmanager
def verdicts_by(prober: NoProber) -> Iterator[tuple[Prover, dict[str, Verdict]]]:
    found: dict[str, Verdict] = {}

    def report(event: PathsJudged | ConfigurationsCompared | ForwardingJudged) -> None:
        if isinstance(event, PathsJudged):
            found.update({path.member: proof.verdict for path, proof in event.verdicts})

    prover = Prover(prober, LinuxClock(), report, 10.0)
    try:
        yield prover, found
    finally:
        prover.stop()


@pytest.mark.parametrize(
    ("prober", "verdict"),
    [(Answering(), Verdict.PROVEN), (NoProber(), Verdict.UNPROVEN), (Unable(), Verdict.UNPROVEN)],
)
def test_each_path_that_is_followed_gets_a_verdict_at_once(prober: NoProber, verdict: Verdict) -> None:
    with verdicts_by(prober) as (prover, found):
        prover.follow(INTENT, PATHS[:1])
        wait_until(lambda: found == {"a2": verdict}, within_s=30)
        prover.follow(INTENT, PATHS)
        wait_until(lambda: found == dict.fromkeys(("a2", "b1", "b2"), verdict), within_s=30)


def test_a_prover_that_has_nothing_to_follow_ends() -> None:
    with verdicts_by(Answering()) as (prover, found):
        prover.follow(INTENT, ())
    with verdicts_by(Answering()):
        pass
    assert found == {}


def test_the_verdict_on_a_path_that_goes_and_comes_back_during_a_round_is_reported_again() -> None:
    prober = Held()
    with verdicts_by(prober) as (prover, found):
        prover.follow(INTENT, PATHS[:1])
        wait_until(lambda: found == {"a2": Verdict.PROVEN}, within_s=30)
        prober.go.clear()
        prober.began.clear()
        prover.follow(INTENT, PATHS[:2])
        assert prober.began.wait(30)
        prover.follow(INTENT, ())
        found.clear()  # as the loop forgets what is known of a path that no route uses
        prover.follow(INTENT, PATHS[:2])
        prober.go.set()
        wait_until(lambda: found == dict.fromkeys(("a2", "b1"), Verdict.PROVEN), within_s=30)


def test_an_error_that_nobody_foresaw_does_not_end_the_proofs() -> None:
    prober = FailingOnce()
    with verdicts_by(prober) as (prover, found):
        prover.follow(INTENT, PATHS[:1])
        assert prober.has_failed.wait(30)
        prover.follow(INTENT, PATHS[:2])
        wait_until(lambda: found == dict.fromkeys(("a2", "b1"), Verdict.PROVEN), within_s=30)


def test_a_verdict_is_not_reported_again_because_other_paths_came() -> None:
    with verdicts_by(Answering()) as (prover, found):
        prover.follow(INTENT, PATHS[:1])
        wait_until(lambda: found == {"a2": Verdict.PROVEN}, within_s=30)
        found.clear()
        prover.follow(INTENT, PATHS[:2])
        wait_until(lambda: "b1" in found, within_s=30)
        assert "a2" not in found
