"""A member that announces another's block, with whatever attributes, attracts none of its traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.bgp import adj_rib_in
from bgpctl.core.bgp.import_policy import Policy, verdict
from bgpctl.core.bgp.loc_rib import select
from bgpctl.core.bgp.next_hop_cost import NextHopCosts
from bgpctl.core.bgp.path import Path
from bgpctl.core.bgp.sessions import router_id, speaker_config
from bgpctl.core.bgp.speaker import Update
from bgpctl.core.cluster.configuration import Filter, FilterRule, Peer
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import RejectCode, Rejection
from bgpctl.core.net.addresses import Address, Asn, Prefix
from tests.cluster import bare_kernel, blocks, member, path, two_racks

HERE, HOSTILE, OWNER = "a1", "a2", "b1"
NODES = tuple(node.name for node in two_racks(ipip=Mode.ALWAYS).nodes)
ADDRESSES = st.sampled_from(
    [Address.parse(text) for text in ("10.0.0.1", "10.0.0.2", "10.1.0.3", "10.1.0.4", "10.0.0.254", "192.0.2.1")]
)
ASNS = st.sampled_from([Asn(64512), Asn(65001), Asn(65002)])
NUMBERS = st.none() | st.sampled_from([0, 100, 2**32 - 1])


@st.composite
def clusters(draw: st.DrawFn) -> Intent:
    """Mesh or reflectors, any mode, one AS or several, a filter that accepts all; the hostile one is no reflector."""
    intent = two_racks(ipip=draw(st.sampled_from([Mode.ALWAYS, Mode.CROSS_SUBNET, Mode.NEVER])))
    asns = draw(st.fixed_dictionaries({name: st.sampled_from([None, Asn(65001), Asn(65002)]) for name in NODES}))
    reflectors = draw(st.sets(st.sampled_from(sorted(set(NODES) - {HOSTILE}))))
    cluster_id = Address.parse("224.0.0.1")
    nodes = tuple(
        replace(node, asn=asns[node.name], cluster_id=cluster_id if node.name in reflectors else None)
        for node in intent.nodes
    )
    peer = Peer("all", None, None, NODES, remotes=NODES, allowed_own_as=draw(st.sampled_from([0, 5])), filters=("all",))
    rule = Filter("all", import4=(FilterRule(accept=True),))
    return replace(intent, nodes=nodes, filters=(rule,), peers=draw(st.sampled_from([(), (peer,)])), mesh=True)


@st.composite
def claims(draw: st.DrawFn, block: Prefix) -> Path:
    """The block itself, a part of it, or one that covers it, with any attributes."""
    length = draw(st.integers(block.length - 4, 32))
    prefix = (
        Prefix.parse(f"{block.first}/{length}")
        if length >= block.length
        else Prefix(4, block.network >> (32 - length) << (32 - length), length)
    )
    return Path(
        prefix,
        next_hop=draw(st.none() | ADDRESSES),
        as_path=tuple(draw(st.lists(ASNS, max_size=3))),
        local_pref=draw(NUMBERS),
        med=draw(NUMBERS),
        originator=draw(st.none() | ADDRESSES),
        cluster_list=tuple(draw(st.lists(ADDRESSES, max_size=2))),
    )


@given(st.data())
def test_another_members_block_leads_to_its_owner_or_nowhere(data: st.DataObject) -> None:
    intent = data.draw(clusters())
    here, owner = member(intent, HERE), member(intent, OWNER)
    config = speaker_config(intent, HERE)
    assert config is not None
    policy = Policy.of(intent, here, config)
    session_policy = policy.session_policies.get(member(intent, HOSTILE).address.address)
    if session_policy is None:
        return
    claim = data.draw(claims(intent.blocks_of(owner)[0]))
    found = verdict(policy.ownership, session_policy, claim)
    if isinstance(found, Path) and policy.ownership.owner(claim.prefix):
        assert found.next_hop in owner.addresses
        assert found.originator is None
    else:
        assert isinstance(found, Rejection)


@st.composite
def claimed(draw: st.DrawFn) -> Path:
    """Any part of the pool, often near a block of a node, or nobody's."""
    near = draw(st.sampled_from([Prefix.parse(f"10.244.{number}.0/26") for number in (0, 1, 2, 3, 4, 9, 200)]))
    return draw(claims(near))


@given(clusters(), st.dictionaries(st.sampled_from([HOSTILE, "b2"]), st.lists(claimed(), max_size=8)))
def test_no_hostile_member_changes_where_a_packet_to_another_member_goes(
    intent: Intent, hostile: Mapping[str, list[Path]]
) -> None:
    """By the best paths of a1, whether the claims come before or after the honest paths."""
    config = speaker_config(intent, HERE)
    assert config is not None
    policy = Policy.of(intent, member(intent, HERE), config)
    honest = {
        node.name: [path(block, node.address.address) for block in intent.blocks_of(node)] for node in intent.nodes
    }
    unharmed = best_of(policy, honest)
    harmed = best_of(policy, {name: [*honest[name], *hostile.get(name, ())] for name in NODES})
    for prefix, next_hop in harmed.items():
        owner = policy.ownership.owner(prefix)
        assert owner, f"{prefix} is nobody's"
        assert owner.name in hostile or next_hop in owner.addresses
    for prefix, next_hop in unharmed.items():
        owner = policy.ownership.owner(prefix)
        assert owner
        assert owner.name in hostile or harmed[prefix] == next_hop


def best_of(policy: Policy, paths: Mapping[str, list[Path]]) -> dict[Prefix, Address | None]:
    """The next hop of each best path, where each node has announced these. Each path begins with its peer's AS."""
    peers = policy.session_policies
    rib = adj_rib_in.expect({}, peers, 0.0, 60.0)
    for peer, session_policy in peers.items():
        if session_policy.member:
            first = () if session_policy.internal else (session_policy.session.peer_asn,)
            sent = (replace(item, as_path=(*first, *item.as_path)) for item in paths[session_policy.member.name])
            rib = adj_rib_in.updated(adj_rib_in.session_up(rib, peer, 0.0), Update(peer, tuple(sent)), 0.0)
    found = select(policy, rib, NextHopCosts(bare_kernel(policy.ownership.node))).loc_rib.best
    return {choice.best.path.prefix: choice.best.path.next_hop for choice in found.values()}


@pytest.mark.parametrize("prefix", ["10.244.9.0/26", "10.244.0.0/16", "10.244.2.0/23", "10.244.9.9/32"])
@pytest.mark.parametrize("filters", [(), (Filter("all", import4=(FilterRule(accept=True),)),)])
def test_a_member_attracts_nothing_to_what_no_node_has(prefix: str, filters: tuple[Filter, ...]) -> None:
    intent = replace(
        two_racks(ipip=Mode.NEVER),
        allocations=blocks(a1=["10.244.1.0/26"], a2=["10.244.2.0/26"], b1=["10.244.3.0/26"]),
        filters=filters,
        peers=tuple(Peer("all", None, None, NODES, remotes=NODES, filters=(item.name,)) for item in filters),
    )
    found = verdict_on(intent, path(prefix, "10.0.0.2"))
    assert isinstance(found, Rejection)
    assert found.reason in {RejectCode.NOBODYS_BLOCK, RejectCode.OWN_BLOCK}


def test_where_no_block_is_known_a_member_is_believed() -> None:
    """Another program allots the blocks, and BGP alone says where they are."""
    intent = replace(two_racks(ipip=Mode.NEVER), allocations=blocks())
    claim = path("10.244.9.0/26", "10.0.0.2")
    assert verdict_on(intent, claim) == claim


def verdict_on(intent: Intent, claim: Path) -> Path | Rejection:
    """The verdict of a1 on a path from the hostile member."""
    config = speaker_config(intent, HERE)
    assert config is not None
    policy = Policy.of(intent, member(intent, HERE), config)
    return verdict(policy.ownership, policy.session_policies[member(intent, HOSTILE).address.address], claim)


def test_the_router_id_of_the_owner_as_originator_proves_nothing() -> None:
    intent = two_racks(ipip=Mode.ALWAYS)
    config = speaker_config(intent, HERE)
    assert config is not None
    policy = Policy.of(intent, member(intent, HERE), config)
    hostile, owner = member(intent, HOSTILE), member(intent, OWNER)
    claim = Path(intent.blocks_of(owner)[0], next_hop=hostile.address.address, originator=router_id(owner))
    session_policy = policy.session_policies[hostile.address.address]
    assert isinstance(verdict(policy.ownership, session_policy, claim), Rejection)
