"""Protections of a session, and both IP versions."""

from __future__ import annotations

from dataclasses import replace

from bgpctl.lab.daemons.session_options import Neighbor, Origin
from tests.interop.rig import UP_WITHIN_S, Rig, has_block, router
from tests.interop.world import ADDRESS, ADDRESS6, BLOCK, BLOCK6, MEMBERS, POOLS
from tests.waiting import wait_until

US, ONE = ADDRESS["us"], ADDRESS["one"]
RIGHT, WRONG = "correct-horse", "battery-staple"


def test_md5_a_wrong_password_is_reported_and_the_right_one_mends_it(rig: Rig) -> None:
    world, secret = rig.world, rig.world.directory / "secret"
    secret.write_text(WRONG)
    world.agree(f"{MEMBERS}nodeMeshPasswordFile: {secret}\n")
    rig.start("one", router("one", password=RIGHT))
    wait_until(lambda: world.peer(ONE).get("down") == "no-answer", within_s=UP_WITHIN_S)
    assert "password" in world.peer(ONE)["error"]
    assert not rig.running("one").established(US)
    secret.write_text(RIGHT)
    rig.up("one")
    wait_until(lambda: world.gateways(BLOCK["one"]) == {str(ONE)})


def test_ipv6_has_a_session_of_its_own(rig: Rig) -> None:
    world, us6, one6 = rig.world, ADDRESS6["us"], ADDRESS6["one"]
    world.agree(
        f"{POOLS}nodes:\n"
        f'  us: {{address: {US}/24, address6: "{us6}/64", blocks: [{BLOCK["us"]}, "{BLOCK6["us"]}"]}}\n'
        f'  one: {{address: {ONE}/24, address6: "{one6}/64", blocks: [{BLOCK["one"]}, "{BLOCK6["one"]}"]}}\n'
    )
    v4 = router("one", routes={BLOCK["one"]: Origin(), BLOCK6["one"]: Origin()})
    v6 = Neighbor(us6, one6, passive=str(us6) > str(one6))
    one = rig.start("one", replace(v4, neighbors=(*v4.neighbors, v6)))
    rig.up("one")
    wait_until(lambda: world.established(one6) and one.established(us6), within_s=UP_WITHIN_S)
    wait_until(lambda: world.gateways(BLOCK6["one"]) == {str(one6)} and has_block(one, BLOCK6["us"], us6))
    wait_until(lambda: world.gateways(BLOCK["one"]) == {str(ONE)} and has_block(one, BLOCK["us"], US))
    wait_until(lambda: world.gateways(BLOCK6["us"], "one") == {str(us6)})
