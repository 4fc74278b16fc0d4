"""
BIRD configured as Calico's nodes are: a full member of our cluster, and a node that moves to us under traffic.

Calico's own BIRD is 1.6; here its settings are put into BIRD 2's words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from signal import SIGKILL
from typing import Final

import pytest

from bgpctl.lab.daemons.bird import CALICO
from bgpctl.lab.daemons.session_options import Neighbor, Router
from tests.interop.bird import Bird
from tests.interop.daemon import installed
from tests.interop.rig import UP_WITHIN_S, Rig, router
from tests.interop.traffic import settled, traffic
from tests.interop.world import ADDRESS, BLOCK, ONE, POOLS, TWO, US, Part, World, made
from tests.waiting import wait_until

NORMAL_LOCAL_PREF: Final = 2147482623
MESH: Final = f"{POOLS}nodes:\n{US}{ONE}{TWO}"


class CalicoBird(Bird):
    """Settings as Calico renders them."""

    style = CALICO


@pytest.fixture(scope="module", params=[CalicoBird], ids=[CalicoBird.name])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    installed(request.param)
    with made("calico") as world:
        yield world


@pytest.fixture
def rig(world: World) -> Iterator[Rig]:
    made = Rig(world, CalicoBird)
    yield made
    made.end()


def meshed(part: Part) -> Router:
    """A node of Calico's in a mesh of three: it waits for those whose address is the greater one as a string."""
    own = ADDRESS[part]
    others = [address for other, address in ADDRESS.items() if other != part]
    neighbors = tuple(Neighbor(other, own, passive=str(other) > str(own)) for other in others)
    return replace(router(part), neighbors=neighbors)


def test_nodes_of_calicos_are_full_citizens(rig: Rig) -> None:
    """One of them waits for us, we wait for the other."""
    world, us = rig.world, ADDRESS["us"]
    world.agree(MESH)
    for part in ("one", "two"):
        rig.start(part, meshed(part))
    for part in ("one", "two"):
        rig.up(part)
        _agreed(rig, part)
        assert rig.running(part).table(us)[BLOCK["us"]].local_pref == NORMAL_LOCAL_PREF
        row = world.received()[str(BLOCK[part]), part]
        assert (row["local_pref"], row["status"]) == (NORMAL_LOCAL_PREF, "best")
    assert [world.peer(ADDRESS[part])["passive"] for part in ("one", "two")] == [False, True]
    wait_until(world.converged)


def test_a_calico_node_learns_which_tunnels_we_accept(rig: Rig) -> None:
    """RFC 9012's community of IP in IP, type 0x030c, tunnel type 7: BIRD has no word for it, and shows its halves."""
    world, us = rig.world, ADDRESS["us"]
    world.agree(MESH.replace("encapsulation: None", "encapsulation: IPIP", 1))
    rig.start("one", meshed("one"))
    rig.up("one")
    wait_until(lambda: BLOCK["us"] in rig.running("one").table(us))
    wait_until(lambda: rig.running("one").table(us)[BLOCK["us"]].extended == "(generic, 0x30c0000, 0x7)")


def _agreed(rig: Rig, part: Part) -> None:
    """Wait until both kernels have a route to the other's block."""
    wait_until(lambda: rig.world.gateways(BLOCK[part]) == {str(ADDRESS[part])}, within_s=UP_WITHIN_S)
    wait_until(lambda: rig.world.gateways(BLOCK["us"], part) == {str(ADDRESS["us"])})


def test_a_node_moves_from_calico_to_us_without_losing_a_packet(rig: Rig) -> None:
    """Its BIRD is killed, as when Calico's pod goes; its routes stay in the kernel, and so do its peers' to it."""
    world, us = rig.world, ADDRESS["us"]
    world.leave()
    rig.start("one", meshed("one"))
    rig.start("us", meshed("us"))
    wait_until(lambda: world.gateways(BLOCK["one"]) == {str(ADDRESS["one"])}, within_s=UP_WITHIN_S)
    wait_until(lambda: world.gateways(BLOCK["us"], "one") == {str(us)})
    with traffic(rig) as seen:
        rig.running("us").end(SIGKILL)
        world.agree(f"{POOLS}nodes:\n{US}{ONE}")
        wait_until(lambda: settled(rig) and world.converged(), within_s=UP_WITHIN_S)
        world.flush("bird")
        wait_until(lambda: settled(rig))
    assert seen.lost == 0
