"""
One changed route at a route reflector: CPU of all its processes, and the time until the last client has it.

CLIENTS peers announce ROUTES routes together; the reflector tells each of them those of all others. Then one client
announces one route more, or withdraws it again. The time runs from the UPDATE's system call until all other clients
have received an UPDATE. All clients are one process, which keeps no table.

    ROUTES=5000 CLIENTS=100 CHANGES=20 ROUNDS=2 python -m bench.reflector bench/results/reflector.json
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from bench.common import figures
from bench.common.ending import ends_orderly
from bench.common.fib_watch import routes_in_kernel
from bench.common.peers import Peers, announce, withdraw
from bench.common.processes import Meter, spent
from bench.common.rounds import interleaved
from bench.common.site import peer_address, site
from bench.common.subjects import POOL, SPEAKERS, SUBJECTS, rest
from bgpctl.core.net.addresses import Prefix
from tests.waiting import wait_until

ROUTES: Final = int(os.environ.get("ROUTES", "5000"))
CLIENTS: Final = int(os.environ.get("CLIENTS", "100"))
CHANGES: Final = int(os.environ.get("CHANGES", "20"))
ROUNDS: Final = int(os.environ.get("ROUNDS", "2"))
WITHIN_S: Final = 110.0
QUIET_S: Final = 1.5
REST_S: Final = 2.0
"""Without an UPDATE all clients have everything."""
PAUSE_S: Final = (0.1, 0.2)


def block(number: int) -> Prefix:
    return Prefix(4, POOL[4].network + 64 * number, 26)


def measure(subject: str, _: str) -> Iterator[dict[str, Any]]:
    """The rows of one round of one subject."""
    with site(peers=CLIENTS) as place:
        addresses = [peer_address(number) for number in range(CLIENTS)]
        clients = Peers(place.around, addresses)
        try:
            for number, address in enumerate(addresses):
                clients.announce(address, announce([block(i) for i in range(number, ROUTES, CLIENTS)], address))
            SPEAKERS[subject](place, [4], reflector=True)
            clients.up(WITHIN_S)
            if subject in SUBJECTS:
                wait_until(lambda: routes_in_kernel(place.node, 4) >= ROUTES, within_s=WITHIN_S)
            rest(place)
            meter = Meter(place.processes())
            # On a busy machine the clients receive nothing for seconds while the reflector has their tables to send.
            meter.quiet(within_s=WITHIN_S, for_s=REST_S)
            settled(clients)
            yield from changes(subject, meter, clients)
        finally:
            clients.close()


def settled(clients: Peers) -> None:
    """Wait until no client receives anything any more."""
    before = -1
    deadline_s = time.monotonic() + WITHIN_S
    while clients.updates() != before:
        assert time.monotonic() < deadline_s
        before = clients.updates()
        time.sleep(QUIET_S)


def changes(subject: str, meter: Meter, clients: Peers) -> Iterator[dict[str, Any]]:
    """Each kind of change, CHANGES times."""
    meter.quiet()
    idle = meter.idle(1.0)
    sender = peer_address(0)
    chance = random.Random(CHANGES)  # noqa: S311 (the same pauses each time)
    acts: tuple[tuple[str, Callable[[Prefix], bytes]], ...] = (
        ("added", lambda prefix: announce([prefix], sender)),
        ("withdrawn", lambda prefix: withdraw([prefix])),
    )
    for change, act in acts:
        latencies: list[float] = []

        def run(act: Callable[[Prefix], bytes] = act, latencies: list[float] = latencies) -> None:
            for number in range(CHANGES):
                message, before = act(block(ROUTES + 7 + number)), clients.updates()
                began_s = time.perf_counter()
                clients.send(sender, message)
                latencies.append(clients.received(before + CLIENTS - 1) - began_s)
                time.sleep(chance.uniform(*PAUSE_S))

        cpu = spent(meter, idle, run)
        yield {
            "subject": subject,
            "change": change,
            "cpu_ms": {part: 1000 * value / CHANGES for part, value in cpu.items()},
            "latencies_ms": [1000 * value for value in latencies],
        }


def show(sample: dict[str, Any]) -> str:
    return figures.line(figures.change_rows([sample], "change")[0])


def main(output: Path | None) -> None:
    size = f"{ROUTES:,} routes and {CLIENTS} clients"
    samples, absent = interleaved(SPEAKERS, [size], ROUNDS, measure, show)
    if output:
        head = {"routes": ROUTES, "clients": CLIENTS, "changes": CHANGES, "rounds": ROUNDS, "absent": absent}
        figures.write(output, {**head, "rows": figures.change_rows(samples, "change")})


if __name__ == "__main__":
    ends_orderly()
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
