"""Who may speak BGP with a node, and how much: two ExaBGP in namespaces of their own, one of which is hostile."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract.speaker_rig import OURS, PEERS, ExabgpRig, config_of, established, facing_exabgp, session
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

CROSSING = """
table ip crossing {
  chain out {
    type filter hook output priority 0;
    tcp dport 179 ip ttl set 254 counter
  }
}
"""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ExabgpRig]:
    with facing_exabgp(tmp_path) as made:
        yield made


def nft(rig: ExabgpRig, *words: str, text: str = "") -> str:
    """Run nft at the peer."""
    command = (*rig.peer_prefix, "nft", *words)
    return subprocess.run(command, input=text, text=True, check=True, capture_output=True).stdout


def crossed(rig: ExabgpRig) -> int:
    listed = json.loads(nft(rig, "-j", "list", "table", "ip", "crossing"))["nftables"]
    (rule,) = (item["rule"]["expr"] for item in listed if "rule" in item)
    return int(rule[-1]["counter"]["packets"])


def test_a_packet_that_crossed_a_router_is_no_members(rig: ExabgpRig) -> None:
    """Such as a workload's, which leaves with its node's address (natOutgoing): the node has forwarded it."""
    nft(rig, "-f", "-", text=CROSSING)
    rig.peer.configure(config_of(replace(session(PEERS, OURS), greatest_ttl=True)))
    rig.speaker.configure(config_of(replace(session(OURS, PEERS), ttl_security=1, greatest_ttl=True)))
    wait_until(lambda: crossed(rig) >= 6, within_s=60)  # the SYN, and what came after it
    assert rig.heard.wait(lambda events: [established(events)]) == [set()]
    nft(rig, "delete", "table", "ip", "crossing")
    rig.heard.wait_until_up(PEERS)
    rig.peer_heard.wait_until_up(OURS)
