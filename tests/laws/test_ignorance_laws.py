"""One peer's ignorance holds back only what that peer may still announce."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.agent.bgp import IGNORANCE_S
from bgpctl.core.agent.events import Apply, Event, Observed, Woken
from bgpctl.core.agent.step import step
from bgpctl.core.bgp.import_policy import Policy, verdict
from bgpctl.core.bgp.path import Path
from bgpctl.core.bgp.possible_sources import PossibleSources
from bgpctl.core.bgp.session_policy import SessionPolicy
from bgpctl.core.bgp.sessions import speaker_config
from bgpctl.core.bgp.speaker import EndOfRib, SessionDown, SessionUp
from bgpctl.core.dataplane.effects import Remove
from bgpctl.core.net.addresses import Address, Asn, Prefix
from bgpctl.core.net.objects import Route
from tests.stories.mesh import A2, B1, B2, BLOCKS, EDGE, INTENT, TOR, converged

HERE: Final = "a1"
OF: Final = {peer: Prefix.parse(block) for peer, block in BLOCKS.items()}
PREFIXES: Final = [
    *OF.values(),
    *(Prefix.parse(text) for text in ("10.244.2.7/32", "10.244.200.0/26", "172.20.1.0/24", "10.244.0.0/17")),
]
PEERS: Final = [*BLOCKS, TOR]
INTENTS: Final = (INTENT, EDGE)


def _policy(number: int) -> Policy:
    intent = INTENTS[number]
    node, config = intent.node(HERE), speaker_config(intent, HERE)
    assert node is not None
    assert config is not None
    return Policy.of(intent, node, config)


POLICIES: Final = tuple(map(_policy, range(len(INTENTS))))


def accepted(policy: Policy, session: SessionPolicy, prefix: Prefix) -> bool:
    """Import policy accepts a path of the peer to the prefix; a member in a mesh has itself as its next hop."""
    plain, peer_asn = session.member is not None, session.session.peer_asn
    hops = [session.peer] if plain else [*BLOCKS, TOR]
    originators = [None] if plain else [None, *BLOCKS]
    asns: list[tuple[Asn, ...]] = [()] if session.internal else [(peer_asn,), (peer_asn, Asn(64512))]
    paths = (
        Path(prefix, hop, path, originator=originator) for hop, originator, path in product(hops, originators, asns)
    )
    return any(isinstance(verdict(policy.ownership, session, path), Path) for path in paths)


@given(st.sampled_from(POLICIES), st.sets(st.sampled_from(PEERS)), st.sampled_from(PREFIXES))
def test_whatever_policy_would_accept_of_an_uncertain_peer_is_waited_for(
    policy: Policy, uncertain: set[Address], prefix: Prefix
) -> None:
    sources = PossibleSources.of(policy, uncertain)
    possible = [policy.session_policies[peer] for peer in uncertain if peer in policy.session_policies]
    assert sources.may_have(prefix) or not any(accepted(policy, session, prefix) for session in possible)


def removed(peer: Address, others: list[Address], at_s: float, *, ends: bool) -> set[Prefix]:
    """
    The routes that are removed within a second after the peer, whose session has ended without graceful restart, or
    whose table has come without its block, is certain, while the others are not.
    """
    state, played = converged().state, set[Prefix]()
    observed = state.kernel.observed
    assert observed is not None
    tables = dict(state.bgp.adj_rib_in)
    tables[peer] = replace(tables[peer], restart_time_s=None)
    state = replace(state, bgp=replace(state.bgp, adj_rib_in=tables))
    last = SessionDown(peer, "closing connection", notified=False)
    events = [SessionDown(other, "closing connection", notified=False) for other in others]
    back: list[Event] = [] if ends else [SessionUp(peer), EndOfRib(peer, 4)]
    received: list[Event] = [*events, last, *back]
    for event in received:
        state, _ = step(state, event, at_s)
    then: list[Event] = [Observed(observed), Woken(), Observed(observed)]
    for event in then:
        state, commands = step(state, event, at_s + 1)
        for command in commands:
            if isinstance(command, Apply):
                played |= {
                    op.object.prefix for op in command.ops if isinstance(op, Remove) and isinstance(op.object, Route)
                }
    return played


@given(
    st.permutations([A2, B1, B2]).flatmap(lambda peers: st.tuples(st.just(peers), st.integers(1, 2))),
    st.booleans(),
)
def test_a_block_that_only_certain_peers_can_announce_is_gone_within_a_second(
    drawn: tuple[list[Address], int], ends: bool
) -> None:
    peers, count = drawn
    peer, others = peers[0], peers[1 : 1 + count]
    assert removed(peer, others, 100.0, ends=ends) == {OF[peer]}


def test_when_the_bound_is_over_nothing_is_held_back() -> None:
    state = converged().state
    down = replace(state.bgp, uncertain_since_s={B1: 0.0}).received(
        SessionDown(B1, "closing connection", notified=False), 1000, 0.0
    )
    assert down.with_ignorance(0.0).awaited == (B1,)
    assert down.with_ignorance(IGNORANCE_S).awaited == ()


def test_a_reflector_that_is_not_certain_may_have_any_prefix() -> None:
    policy = POLICIES[0]
    reflector = replace(policy.session_policies[A2].member, cluster_id=TOR)  # type: ignore[type-var]
    session = replace(policy.session_policies[A2], member=reflector)
    reflected = replace(policy, session_policies={**policy.session_policies, A2: session})
    assert PossibleSources.of(reflected, [A2]).may_have(OF[B1])
    assert not PossibleSources.of(policy, [A2]).may_have(OF[B1])
