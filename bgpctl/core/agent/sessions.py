"""
BGP sessions and the routes announced by them: the steps that need the intent and the kernel view beside BGP itself.

Refuses to know: which event a step answers.
"""

from __future__ import annotations

from collections.abc import Iterable

from bgpctl.core.agent.events import Command, Configure, Speak
from bgpctl.core.agent.memo import Memo
from bgpctl.core.agent.state import State
from bgpctl.core.bgp import adj_rib_out
from bgpctl.core.bgp.adj_rib_out import Exports, SpeakerCommands
from bgpctl.core.bgp.export_policy import ExportInput, announceable
from bgpctl.core.bgp.import_policy import Policy
from bgpctl.core.fabric.encapsulations import accepted_by_kernel
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.replacing import replace


def with_sessions(
    state: State, at_s: float, *, first: bool = False, keep_former: bool = True
) -> tuple[State, tuple[Command, ...]]:
    """
    Configure the sessions that follow from the intent, and for a while those that did before (`keep_former`). For the
    `first` intent the speaker is configured in any case: nothing is known of what it has.
    """
    intent = state.intent.in_force
    if intent is None:
        return state, ()
    bgp = state.bgp.with_sessions(intent, state.node, state.intent.cluster_id, at_s, keep_former=keep_former)
    after = with_policy(replace(state, bgp=bgp))
    if bgp.config is None or (bgp.config == state.bgp.config and not first):
        return after, ()
    return replace(after, bgp=bgp.config_requested()), (Configure(bgp.config),)


def with_policy(state: State) -> State:
    """The state with the policy of the configured sessions; none without BGP, or for a node outside the intent."""
    intent, config, role = state.intent.in_force, state.bgp.config, state.bgp.handover.role
    node = intent.node(state.node) if intent else None
    if intent is None or node is None or config is None:
        return replace(state, intent=state.intent.with_policy(None))
    policy = Policy.of(intent, node, config, role.cluster_id if role else None, state.intent.policy)
    return replace(state, intent=state.intent.with_policy(policy))


def end_handover(state: State, at_s: float) -> tuple[State, tuple[Command, ...]]:
    """Former sessions end once other peers announce all that they announced, a former role after its time."""
    state = replace(state, bgp=state.bgp.handover_observed(at_s))
    handover = state.bgp.handover
    if at_s < handover.due_s:
        return state, ()
    return with_sessions(state, at_s, keep_former=at_s < handover.sessions_due_s)


def forget_gone_peers(state: State, at_s: float) -> tuple[State, tuple[Command, ...]]:
    """The session of a peer of a range goes with its table; should the peer come back, it gets another one."""
    return with_sessions(state, at_s) if state.bgp.has_lost_accepted_peer else (state, ())


def advertise(
    state: State, at_s: float, *, full_tables_to: Iterable[Address] | None = None
) -> tuple[State, SpeakerCommands]:
    """Bring Adj-RIB-Out up to date; with `full_tables_to` these peers get everything, and the others nothing now."""
    policy, observed = state.intent.policy, state.kernel.observed
    if policy is None:
        memo = replace(state.memo, announceable=None, links=Memo().links, advertised={})  # former tables are large
        return replace(state, memo=memo), ()
    if not state.bgp.attached:
        return state, ()
    desired = state.kernel.desired
    paths = announceable(state.bgp.loc_rib.best, state.memo.announceable)
    links = state.memo.links.of(desired.dataplane if desired else None)
    export_input = ExportInput(
        _announcing(policy, state.memo.advertised),
        paths,
        links,
        draining=state.bgp.draining,
        accepts=accepted_by_kernel(observed) if observed else {},
        services=state.services.announced(policy.ownership.intent, policy.ownership.node, observed),
    )
    bgp, advertised = state.bgp, state.memo.advertised
    if full_tables_to is None:
        out, commands, advertised = adj_rib_out.update(bgp.adj_rib_out, export_input, bgp.adj_rib_in, at_s, advertised)
    else:
        anew = full_tables_to
        out, commands = adj_rib_out.full_table(bgp.adj_rib_out, export_input, bgp.adj_rib_in, anew, at_s, advertised)
    memo = replace(state.memo, announceable=paths, links=links, advertised=advertised)
    return replace(state, bgp=bgp.with_adj_rib_out(out), memo=memo), commands


def _announcing(policy: Policy, advertised: Exports) -> Policy:
    """The policy of the last announcements if the same follows from it: then they are taken over."""
    last = next((item.wanted.made_from.policy for item in advertised.values()), policy)
    return last if policy.announces_as(last) else policy


def speak(commands: SpeakerCommands) -> tuple[Command, ...]:
    """One command for all that the speaker is to do, or none."""
    return (Speak(commands),) if commands else ()
