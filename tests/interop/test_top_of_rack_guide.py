"""The router's configurations in docs/how-to/top-of-rack.md, BIRD's and FRR's, beside the cluster file there."""

from __future__ import annotations

import re
from typing import Final

import pytest

from bgpctl.core.net.addresses import Asn, Prefix
from bgpctl.lab.daemons import bird, frr
from tests.docs.blocks import ROOT, blocks
from tests.interop.bird import Bird
from tests.interop.daemon import Daemon, installed
from tests.interop.frr import Frr
from tests.interop.rig import UP_WITHIN_S, Rig, router
from tests.interop.world import ADDRESS, BLOCK
from tests.waiting import wait_until

GUIDE: Final = ROOT / "docs" / "how-to" / "top-of-rack.md"
DEFAULT: Final = Prefix.parse("0.0.0.0/0")
HERE: Final = {"10.0.0.1": "us", "10.0.0.2": "two", "10.0.0.254": "one"}


@pytest.fixture(scope="module", params=[Bird, Frr], ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> type[Daemon]:
    wanted: type[Daemon] = request.param
    installed(wanted)
    return wanted


def shown(file: str) -> str:
    """A file of the guide, with the addresses of this network, and without its upstream router."""
    text = next(block.text for block in blocks(GUIDE) if block.file == file)
    moved = re.sub(r"\b10\.0\.0\.\d+\b", lambda found: str(ADDRESS[HERE[found[0]]]), text)
    named = moved.replace("node_a1", bird.session_name(ADDRESS["us"]))  # by which the rig asks for it
    return named.replace("  a1:", "  us:").replace("via 192.0.2.1", "unreachable")


def test_a_node_gets_the_default_route_and_the_router_its_block(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bird, "configuration", lambda *_: shown("bird.conf"))
    monkeypatch.setattr(frr, "configuration", lambda *_: shown("frr.conf"))
    rig.world.agree(shown("cluster.yaml"))
    daemon = rig.start("one", router("one", asn=Asn(65001)))
    rig.up("one")
    wait_until(lambda: rig.world.gateways(DEFAULT) == {str(ADDRESS["one"])}, within_s=UP_WITHIN_S)
    wait_until(lambda: BLOCK["us"] in daemon.table(ADDRESS["us"]), within_s=UP_WITHIN_S)
    entry = daemon.table(ADDRESS["us"])[BLOCK["us"]]
    assert (entry.next_hop, entry.as_path) == (ADDRESS["us"], (64601,))
