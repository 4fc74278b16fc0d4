"""Another BGP daemon as a node of the cluster, as a node of Calico's is."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from bgpctl.core.net.addresses import Prefix
from bgpctl.lab.daemons.session_options import Origin
from tests.interop.rig import Rig, has_block, router
from tests.interop.world import ADDRESS, BLOCK, MEMBERS
from tests.waiting import wait_until

OURS, THEIRS = BLOCK["us"], BLOCK["one"]
US, ONE = ADDRESS["us"], ADDRESS["one"]
STORM = [Prefix(4, THEIRS.network + 64 * n, 26) for n in range(50)]


@pytest.fixture
def member(rig: Rig) -> Rig:
    rig.world.agree(MEMBERS)
    rig.start("one", router("one"))
    rig.up("one")
    return rig


def test_blocks_are_announced_in_both_directions_with_the_right_next_hops(member: Rig) -> None:
    one, world = member.running("one"), member.world
    wait_until(lambda: world.gateways(THEIRS) == {str(ONE)})
    wait_until(lambda: has_block(one, OURS, US))
    wait_until(lambda: world.gateways(OURS, "one") == {str(US)})


def test_a_withdrawn_block_is_gone_at_the_other_end(member: Rig) -> None:
    one, world = member.running("one"), member.world
    wait_until(lambda: world.gateways(THEIRS) == {str(ONE)} and has_block(one, OURS, US))
    one.announce({})
    wait_until(lambda: not world.gateways(THEIRS))
    world.agree(MEMBERS.replace(", blocks: [10.244.1.0/26]", ""))
    wait_until(lambda: OURS not in one.table(US))


def test_after_a_flap_storm_both_ends_agree(member: Rig) -> None:
    """200 changes to 50 prefixes, one after the other, each of which is known as a block of that node's."""
    one, world, chance = member.running("one"), member.world, random.Random(4271)
    blocks = f"blocks: [{', '.join(map(str, STORM))}]"
    world.agree(MEMBERS.replace(f"blocks: [{THEIRS}]", blocks))
    announced, tables = {THEIRS: Origin()}, []
    for prefix in chance.choices(STORM, k=200):
        announced = dict(announced)
        if announced.pop(prefix, None) is None:
            announced[prefix] = Origin()
        tables.append(announced)
    one.announce(*tables)
    wait_until(lambda: {Prefix.parse(prefix) for prefix, _ in world.received()} == set(announced))
    wait_until(lambda: {prefix for prefix in STORM if world.gateways(prefix)} == set(announced) & set(STORM))


def test_either_end_can_ask_for_everything_again(member: Rig, record_property: Callable[[str, object], None]) -> None:
    one, world = member.running("one"), member.world
    wait_until(lambda: world.gateways(THEIRS) == {str(ONE)} and has_block(one, OURS, US))
    before, since_s = one.updates(US), world.peer(ONE)["uptime_s"]
    world.ask("peer-refresh", peer="one")
    wait_until(lambda: one.updates(US).sent > before.sent)
    if one.asks:
        one.ask_again(US)
        wait_until(lambda: one.updates(US).received > before.received)
    else:
        record_property("interop", "ok if we ask")
    assert world.peer(ONE)["uptime_s"] >= since_s
    assert world.gateways(THEIRS) == {str(ONE)}
