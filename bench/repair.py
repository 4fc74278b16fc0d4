"""
Time until a deleted route is back: a real agent with ROUTES routes (1000), TRIES deletions (200), one at a time. Prints
the median and the 99th percentile, from before the deletion until the kernel's event for the new route.

    ROUTES=1000 TRIES=200 python -m bench.repair [bench/results/repair.json]
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench.common import figures
from bench.vxlan_agent import ROUTES, agent, blocks, in_own_namespace
from bgpctl.core.net.objects import PROTOCOL, Route
from bgpctl.kernel import decode, encode
from bgpctl.kernel.netlink import NETLINK_ADD_MEMBERSHIP, SOL_NETLINK, Netlink, messages, open_socket

TRIES = int(os.environ.get("TRIES", "200"))
BAR_S = 0.050
GIVE_UP_S = 10.0
GROUP_IPV4_ROUTE = 7
"""RTNLGRP_IPV4_ROUTE"""


def back_after_s(netlink: Netlink, route: Route) -> float:
    """Delete the route and wait for it."""
    with open_socket() as listener:
        listener.settimeout(GIVE_UP_S)
        listener.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, GROUP_IPV4_ROUTE)
        start = time.perf_counter()
        assert netlink.request([encode.remove(route, 0)]) == ()
        while True:
            events = messages(listener.recv(1 << 16))
            if any(event.type == encode.RTM_NEWROUTE and _is(event.body, route) for event in events):
                return time.perf_counter() - start


def _is(body: bytes, route: Route) -> bool:
    found = decode.route(body, {})
    return found is not None and (found.prefix, found.protocol) == (route.prefix, PROTOCOL)


def main(output: Path | None) -> None:
    choose = random.Random(1)  # noqa: S311 (the same tries every time)
    with tempfile.TemporaryDirectory() as directory, agent(Path(directory)):
        netlink = Netlink()
        taken = []
        for _ in range(TRIES):
            time.sleep(choose.uniform(0.05, 0.15))  # deletions do not depend on the agent's timing
            taken.append(back_after_s(netlink, Route(choose.choice(blocks()))))
    p50_s, p99_s = statistics.median(taken), statistics.quantiles(taken, n=100, method="inclusive")[98]
    verdict = "under" if p99_s < BAR_S else "OVER"
    print(
        f"repair of one deleted route of {ROUTES}, {TRIES} tries: p50 {p50_s * 1000:.1f} ms, p99 {p99_s * 1000:.1f} ms,"
        f" worst {max(taken) * 1000:.1f} ms; {verdict} the bar of {BAR_S * 1000:.0f} ms"
    )
    if output:
        record = {"routes": ROUTES, "tries": TRIES, "p50_s": round(p50_s, 5), "p99_s": round(p99_s, 5)}
        figures.write(output, record)
    sys.exit(p99_s >= BAR_S)


if __name__ == "__main__":
    in_own_namespace("bench.repair", main)
