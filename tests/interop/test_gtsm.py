"""
GTSM (RFC 5082). In a file of its own, so that no session without it was there before: where one end changes first, the
other one's last words are not heard, and it waits for its hold time.
"""

from __future__ import annotations

from tests.interop.rig import Rig, has_block, router
from tests.interop.world import ADDRESS, BLOCK, MEMBERS
from tests.waiting import wait_until

US, ONE = ADDRESS["us"], ADDRESS["one"]


def test_gtsm_comes_up_where_both_ask_for_it(rig: Rig) -> None:
    world = rig.world
    world.agree(f"{MEMBERS}peers:\n  near: {{ip: {ONE}, asNumber: 64512, ttlSecurity: 1}}\n")
    rig.start("one", router("one", ttl_security=True))
    rig.up("one")
    wait_until(lambda: world.gateways(BLOCK["one"]) == {str(ONE)} and has_block(rig.running("one"), BLOCK["us"], US))
    assert world.show("neighbor", peer=str(ONE))["neighbors"][0]["ttl_security"] == 1
