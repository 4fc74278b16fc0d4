"""The built-in ownership rules: which received paths are never used."""

from dataclasses import replace

import pytest

from bgpctl.core.bgp import Path
from bgpctl.core.cluster import Mode
from bgpctl.core.model import Address, Prefix
from bgpctl.core.policy import Reject, verdict
from bgpctl.core.sessions import speaker_config
from tests.cluster import member, path, two_racks

INTENT = two_racks(ipip=Mode.CROSS_SUBNET)
HERE = member(INTENT, "a1")
GOOD = path("10.244.2.0/26", "10.0.0.2")


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        (GOOD, None),
        (path("10.244.1.5/32", "10.0.0.2"), None),
        (replace(GOOD, next_hop=None), Reject.NO_NEXT_HOP),
        (path("10.244.2.0/26", "0.0.0.0"), Reject.NO_NEXT_HOP),
        (path("10.244.2.0/26", "10.0.0.1"), Reject.OWN_NEXT_HOP),
        (path("10.244.2.0/26", "10.0.0.2", 65001, 64512), Reject.OWN_AS),
        (replace(GOOD, originator=Address.parse("10.0.0.1")), Reject.OWN_ORIGINATOR),
        (path("0.0.0.0/0", "10.0.0.2"), Reject.OUTSIDE_POOLS),
        (path("192.168.0.0/24", "10.0.0.2"), Reject.OUTSIDE_POOLS),
        (path("10.244.1.0/26", "10.0.0.2"), Reject.OWN_BLOCK),
        (path("10.244.0.0/16", "10.0.0.2"), Reject.OWN_BLOCK),
    ],
)
def test_each_path_gets_its_verdict(received: Path, reason: Reject | None) -> None:
    config = speaker_config(INTENT, "a1")
    assert config is not None
    assert verdict(INTENT, HERE, config.sessions[0], received) is reason


def test_a_prefix_that_covers_a_node_is_never_used() -> None:
    wide = two_racks(ipip=Mode.ALWAYS, cidr="10.0.0.0/8")
    config = speaker_config(wide, "a1")
    assert config is not None
    received = path("10.1.0.0/24", "10.0.0.2")
    assert verdict(wide, HERE, config.sessions[0], received) is Reject.COVERS_NODE


def test_an_address_that_this_node_borrowed_is_not_taken_from_others_but_the_block_around_it_is() -> None:
    config = speaker_config(INTENT, "a1")
    assert config is not None
    here = replace(HERE, borrowed=(Prefix.parse("10.244.2.9/32"),))
    verdicts = [
        verdict(INTENT, here, config.sessions[0], path(prefix, "10.0.0.2"))
        for prefix in ("10.244.2.9/32", "10.244.2.8/32", "10.244.2.0/26")
    ]
    assert verdicts == [Reject.OWN_ADDRESS, None, None]


def test_blocks_of_a_vxlan_pool_are_not_taken_from_bgp() -> None:
    intent = two_racks(vxlan=Mode.ALWAYS)
    config = speaker_config(intent, "a1")
    assert config is not None
    assert verdict(intent, HERE, config.sessions[0], GOOD) is Reject.NOT_BY_BGP
