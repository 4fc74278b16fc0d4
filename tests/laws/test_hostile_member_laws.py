"""A member that announces another's block, with whatever attributes, attracts none of its traffic."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.bgp.import_policy import Policy, verdict
from bgpctl.core.bgp.path import Path
from bgpctl.core.bgp.sessions import router_id, speaker_config
from bgpctl.core.cluster.configuration import Filter, FilterRule, Peer
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.reasons import Rejection
from bgpctl.core.net.addresses import Address, Asn, Prefix
from tests.cluster import member, two_racks

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
    elif isinstance(found, Path):
        assert claim.prefix.length < intent.blocks_of(owner)[0].length, "it covers the block, whose own path is longer"
    else:
        assert isinstance(found, Rejection)


def test_the_router_id_of_the_owner_as_originator_proves_nothing() -> None:
    intent = two_racks(ipip=Mode.ALWAYS)
    config = speaker_config(intent, HERE)
    assert config is not None
    policy = Policy.of(intent, member(intent, HERE), config)
    hostile, owner = member(intent, HOSTILE), member(intent, OWNER)
    claim = Path(intent.blocks_of(owner)[0], next_hop=hostile.address.address, originator=router_id(owner))
    session_policy = policy.session_policies[hostile.address.address]
    assert isinstance(verdict(policy.ownership, session_policy, claim), Rejection)
