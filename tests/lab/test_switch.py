"""The encapsulation changes under traffic from any kind to any other, and nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import pytest

from bgpctl.core.intent.draft import ENCAPSULATIONS
from bgpctl.lab.lab import Lab
from bgpctl.lab.switch import switch
from tests.lab.conftest import SLOWNESS

PPS = int(os.environ.get("BGPCTL_TEST_PPS", "100"))
"""Packets a second in each of twelve directions."""
TUNNELLED = ("IPIP", "IPIPCrossSubnet", "VXLAN", "VXLANCrossSubnet")


class Silent:
    def stage(self, text: str) -> None:
        pass

    def count(self, done: int, total: int) -> None:
        pass


def tour(words: Sequence[str], start: str) -> Iterator[str]:
    """Visits every ordered pair of different words once, beginning and ending with `start`."""
    left = {word: [other for other in words if other != word] for word in words}
    path, done = [start], []
    while path:
        if left[path[-1]]:
            path.append(left[path[-1]].pop())
        else:
            done.append(path.pop())
    return reversed(done)


@pytest.mark.parametrize(("topology", "words"), [("cross-subnet", TUNNELLED), ("one-rack", tuple(ENCAPSULATIONS))])
def test_any_encapsulation_becomes_any_other_without_loss(
    lab_of: Callable[[str], Lab], topology: str, words: Sequence[str], capfd: pytest.CaptureFixture[str]
) -> None:
    lab = lab_of(topology)
    _, *stops = tour(words, start={"cross-subnet": "IPIPCrossSubnet", "one-rack": "None"}[topology])
    sent = 0
    for word in stops:
        report = switch(lab, "blue", word, PPS, Silent(), within_s=30 * SLOWNESS)
        assert report.took_s is not None, [summary["problems"] for summary in report.summaries]
        assert report.lost == 0, [flow for flow in report.flows if flow.lost]
        sent += sum(flow.sent for flow in report.flows)
    with capfd.disabled():
        print(f"\n{topology}: {len(stops)} switches, {sent} packets in 12 directions, 0 lost")
