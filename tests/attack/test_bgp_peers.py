"""Who may speak BGP with a node, and how much: two ExaBGP in namespaces of their own, one of which is hostile."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bgpctl.core.bgp.speaker import Announce
from bgpctl.core.net.addresses import Asn, Prefix
from bgpctl.lab import netns
from tests.contract.speaker_rig import OURS, PEERS, ExabgpRig, config_of, established, facing_exabgp, session
from tests.interop import wire
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


ROUTES = [Prefix.parse(f"198.51.{number}.0/24") for number in range(200)]
UPDATE, KEEPALIVE = 2, 4
REFRESH = wire.message(5, bytes([0, 1, 0, 1]))


@pytest.fixture
def attacker(rig: ExabgpRig) -> Iterator[wire.Speaker]:
    """An established peer that is to have 200 routes."""
    peer = wire.Speaker(rig.peer_prefix[-1], PEERS, Asn(64512))
    rig.speaker.configure(config_of(replace(session(OURS, PEERS, hold_time_s=30), passive=False)))
    try:
        peer.up()
        rig.heard.wait_until_up(PEERS)
        rig.speaker.send([Announce(prefix, PEERS) for prefix in ROUTES])
        wait_until(lambda: peer.received[UPDATE] > 0, within_s=15)
        yield peer
    finally:
        peer.close()


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


def test_requests_for_the_table_have_one_answer_a_second(attacker: wire.Speaker) -> None:
    """Each answer is an UPDATE for each route, and was 3,000 times the table."""
    before, began_s = attacker.received[UPDATE], time.monotonic()
    attacker.send(REFRESH * 3000)
    wait_until(lambda: attacker.received[UPDATE] - before >= 3 * len(ROUTES) or asked(attacker), within_s=60)
    assert time.monotonic() - began_s >= 2, "the third table comes two seconds after the first"
    assert not attacker.notifications


def test_keepalives_without_end_cost_little(rig: ExabgpRig, attacker: wire.Speaker) -> None:
    """Each of them took a round of ExaBGP's loop: 200,000 of them a minute of a processor."""
    before, spent_s = attacker.received[UPDATE], processor_s(rig)
    for _ in range(200):
        attacker.send(wire.message(KEEPALIVE) * 1000)
    wait_until(lambda: attacker.received[UPDATE] - before >= len(ROUTES) or asked(attacker), within_s=60)
    assert processor_s(rig) - spent_s < 5
    assert not attacker.notifications


def processor_s(rig: ExabgpRig) -> float:
    """The time that ExaBGP has used, in seconds."""
    columns = Path(f"/proc/{rig.exabgp_pid()}/stat").read_text().rpartition(") ")[2].split()
    return (int(columns[11]) + int(columns[12])) / os.sysconf("SC_CLK_TCK")


def test_a_peer_that_opens_and_closes_has_few_sessions(rig: ExabgpRig) -> None:
    """Each was a session that the agent was to follow, hundreds in ten seconds."""
    rig.speaker.configure(config_of(replace(session(OURS, PEERS), passive=True)))
    wait_until(lambda: is_established(rig), within_s=15)
    began_s = time.monotonic()
    attempts = [is_established(rig) for _ in range(60)]
    in_time = 10 * (2 + (time.monotonic() - began_s) // 10)
    assert sum(attempts) <= in_time
    assert not all(attempts) or in_time >= len(attempts), "so slow that all were in time"
    wait_until(lambda: is_established(rig), within_s=30)


def is_established(rig: ExabgpRig) -> bool:
    """True if a session of the peer's comes to its KEEPALIVE; it ends at once."""
    with netns.open_socket(rig.peer_prefix[-1], socket.AF_INET, socket.SOCK_STREAM) as made:
        made.settimeout(5)
        made.bind((str(PEERS), 0))
        try:
            made.connect((str(OURS), 179))
            made.send(wire.opening(Asn(64512), PEERS) + wire.message(KEEPALIVE))
            received = b""
            while chunk := made.recv(4096):
                received += chunk
                if KEEPALIVE in kinds(received):
                    return True
        except OSError:
            return False
    return False


def kinds(received: bytes) -> set[int]:
    """The types of the whole messages."""
    found: set[int] = set()
    while len(received) >= 19 and len(received) >= (size := int.from_bytes(received[16:18], "big")):
        found.add(received[18])
        received = received[size:]
    return found


def asked(attacker: wire.Speaker) -> bool:
    """Ask once more. It never counts as received."""
    attacker.send(REFRESH)
    return False
