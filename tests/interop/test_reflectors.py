"""Route reflection (RFC 4456), in both roles."""

from __future__ import annotations

from dataclasses import replace

from bgpctl.core.net.addresses import Address
from bgpctl.lab.daemons.session_options import Neighbor
from tests.interop.rig import UP_WITHIN_S, Rig, router
from tests.interop.world import ADDRESS, BLOCK, ONE, POOLS, TWO, US, Part
from tests.waiting import wait_until

CLUSTER_ID = Address.parse("10.255.0.1")
PEERS = """\
mesh: false
peers:
  reflectors: {nodes: "!has(reflector)", peerSelector: has(reflector)}
"""
REFLECTOR = f"{{labels: {{reflector: 'yes'}}, clusterID: {CLUSTER_ID}, "


def test_we_reflect_between_two_of_them(rig: Rig) -> None:
    world, us = rig.world, ADDRESS["us"]
    world.agree(f"{POOLS}nodes:\n{US.replace('{', REFLECTOR, 1)}{ONE}{TWO}{PEERS}")
    for part in ("one", "two"):
        rig.start(part, router(part))
    for part in ("one", "two"):
        rig.up(part)
    for part, other in (("one", "two"), ("two", "one")):
        _reflected(rig, part, other)
        heard = rig.running(part).table(us)[BLOCK[other]]
        assert heard.next_hop == ADDRESS[other]
        assert (heard.originator, heard.cluster_list) == (str(ADDRESS[other]), (str(CLUSTER_ID),))


def _reflected(rig: Rig, part: Part, other: Part) -> None:
    """Wait until `part` knows by us how to reach the other one, and so do we."""
    wait_until(lambda: BLOCK[other] in rig.running(part).table(ADDRESS["us"]))
    for where in (part, "us"):
        _leads(rig, where, other)


def _leads(rig: Rig, where: Part, other: Part) -> None:
    wait_until(lambda: rig.world.gateways(BLOCK[other], where) == {str(ADDRESS[other])})


def test_one_of_them_reflects_between_us_and_another(rig: Rig) -> None:
    world, us, one, two = rig.world, ADDRESS["us"], ADDRESS["one"], ADDRESS["two"]
    world.agree(f"{POOLS}nodes:\n{US}{ONE.replace('{', REFLECTOR, 1)}{TWO}{PEERS}")
    clients = (Neighbor(us, one, passive=True, client=True), Neighbor(two, one, passive=True, client=True))
    reflector = rig.start("one", replace(router("one"), neighbors=clients, cluster_id=CLUSTER_ID))
    client = rig.start("two", replace(router("two"), neighbors=(Neighbor(one, two),)))
    rig.up("one")
    wait_until(lambda: client.established(one) and reflector.established(two), within_s=UP_WITHIN_S)
    wait_until(lambda: (str(BLOCK["two"]), "one") in world.received(), within_s=UP_WITHIN_S)
    row = world.received()[str(BLOCK["two"]), "one"]
    assert (row["originator"], row["cluster_list"]) == (str(two), [str(CLUSTER_ID)])
    wait_until(lambda: world.gateways(BLOCK["two"]) == {str(two)})
    wait_until(lambda: BLOCK["us"] in client.table(one))
    heard = client.table(one)[BLOCK["us"]]
    assert (heard.next_hop, heard.originator) == (us, str(us))
