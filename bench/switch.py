"""
Losses by changes of the encapsulation under load.

Every encapsulation to every other, PPS packets a second (1000) in each of twelve directions; whatever else can change
(tests/lab/changes.py), there and back; then IPIP to VXLAN as plain `ip` batches would do it:

- delete and add: every node, one right after the other, removes its tunnel and its routes, then makes the new ones;
- strict rp_filter: every node has both tunnels first, then they replace their routes, PAUSE_S apart;
- without proof: every node makes its own tunnel and replaces its routes when it hears of it, PAUSE_S apart.

    PPS=1000 python -m bench.switch [--ours] [--encapsulations] [bench/results/switch.json]

With --ours the first two of these alone: `make bench-switch` has it done on a stock kernel too, with its ipip module.
With --encapsulations the second is left out, as in `make bench`; with NAIVE=0 the last.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.common import figures
from bench.common.ending import ends_orderly
from bench.common.labs import lab_of
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.net.objects import METRIC
from bgpctl.lab import netns
from bgpctl.lab.lab import Lab, comes_true
from bgpctl.lab.load import Flow, Load, both_directions
from bgpctl.lab.switch import switch
from tests.lab.changes import (
    CHANGES,
    REFLECTORS,
    TOURS,
    changed,
    driver,
    finished,
    may_be_finished,
    nothing_left_to_do,
    prepared,
    reflected,
    sessions_are,
)

PPS: Final = int(os.environ.get("PPS", "1000"))
PAUSE_S: Final = 0.5
"""Between nodes that read a change one after the other."""
WITHIN_S: Final = 60.0 * int(os.environ.get("SLOWNESS", "1"))
AROUND_S: Final = 1.0
"""Of traffic before the change and after it."""
START: Final = "IPIPCrossSubnet"
TOPOLOGY: Final = "cross-subnet"
DEVICE: Final = "vxlan9"
PORT: Final = 4789


class Printed:
    """A line for each stage."""

    def stage(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def count(self, done: int, total: int) -> None:
        pass


@contextmanager
def converged(name: str, topology: str = TOPOLOGY) -> Iterator[Lab]:
    """A converged lab."""
    with lab_of(name, topology) as lab:
        assert lab.wait(WITHIN_S), f"{name} did not converge"
        yield lab


def packets(flows: Sequence[Flow]) -> dict[str, Any]:
    return {
        "sent": sum(flow.sent for flow in flows),
        "lost": sum(flow.lost for flow in flows),
        "reordered": sum(flow.reordered for flow in flows),
        "longest_gap_ms": round(max(flow.longest_gap_s for flow in flows) * 1000, 1),
    }


def ours() -> Iterator[dict[str, Any]]:
    """Every ordered pair of modes once, or the first STOPS of each of the topologies ONLY."""
    for topology in os.environ.get("ONLY", " ".join(TOURS)).split():
        with converged("ours", topology) as lab:
            for word in TOURS[topology][: int(os.environ.get("STOPS", "100"))]:
                report = switch(lab, "blue", word, PPS, Printed(), within_s=WITHIN_S)
                row = {"from": report.before, "to": report.after, "took_s": report.took_s, **packets(report.flows)}
                row |= {"topology": topology, "driver": driver(lab)}
                print(f"{row}", flush=True)
                yield row


def others() -> Iterator[dict[str, Any]]:
    """Every other change, there and back."""
    for what, change in CHANGES.items():
        with converged("others", change.topology) as lab:
            before = lab.topology.file.read_text()
            for text, back in ((changed(before, change.edits), False), (before, True)):
                prepared(lab, change, back=back)
                yield other(
                    lab,
                    (what, change.topology),
                    text,
                    partial(may_be_finished, lab, change, back=back),
                    partial(finished, lab, change, back=back),
                )
    with converged("others") as lab:
        mesh = lab.topology.file.read_text()
        nodes = {node.name for node in lab.topology.intent.nodes}
        for text, sessions in ((reflected(mesh), REFLECTORS), (mesh, nodes)):
            wanted = {node: sessions - {node} for node in nodes - REFLECTORS}
            yield other(lab, ("mesh, reflectors", TOPOLOGY), text, partial(sessions_are, lab, wanted))


def other(
    lab: Lab, what: tuple[str, str], text: str, done: Callable[[], bool], last: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Write the file, wait until `done`, then call `last`. `what` is the change and the topology."""

    def follow() -> None:
        lab.topology.file.write_text(text)
        assert comes_true(done, WITHIN_S), lab.summaries()
        last()
        assert comes_true(partial(nothing_left_to_do, lab), WITHIN_S), lab.summaries()

    took_s, flows = under_load(lab, follow)
    name, topology = what
    row = {"what": name, "topology": topology, "took_s": took_s, **packets(flows)}
    print(f"{row}", flush=True)
    return row


def under_load(lab: Lab, act: Callable[[], None]) -> tuple[float, Sequence[Flow]]:
    """How long it took, and what became of the packets meanwhile."""
    traffic = Load(lab.names, both_directions(lab.topology.workloads), PPS)
    traffic.start()
    try:
        comes_true(lambda: all(flow.arrived >= AROUND_S * PPS for flow in traffic.flows), WITHIN_S)
        began_s = time.monotonic()
        act()
        took_s = round(time.monotonic() - began_s, 2)
        sent = [flow.sent for flow in traffic.flows]
        comes_true(
            lambda: all(f.sent - s >= AROUND_S * PPS for f, s in zip(traffic.flows, sent, strict=True)), WITHIN_S
        )
    finally:
        flows = traffic.stop()
    return took_s, flows


# The naive methods -----------------------------------------------------------------------------------------------


def naively(name: str, act: Callable[[Lab], None]) -> dict[str, Any]:
    """The packets lost while `act` changed a lab whose agents are gone, so that no agent repairs the drift."""
    with converged("naive") as lab:
        for agent in lab.agents.values():
            agent.send_signal(signal.SIGKILL)
            agent.wait()
        took_s, flows = under_load(lab, partial(act, lab))
    row = {"how": name, "from": START, "to": "VXLANCrossSubnet", "took_s": took_s, **packets(flows)}
    print(f"{row}", flush=True)
    return row


def delete_and_add(lab: Lab) -> None:
    for node in lab.topology.intent.nodes:
        gone = [f"route del {block}" for other in across(lab, node) for block in lab.topology.intent.blocks_of(other)]
        batch(lab, node, [*gone, "link set tunl0 down"])
        make_tunnel(lab, node)
        batch(lab, node, routes(lab, node))


def strict(lab: Lab) -> None:
    for node in lab.topology.intent.nodes:
        make_tunnel(lab, node)
        for link in ("all", "eth0", "tunl0", DEVICE):
            netns.set_sysctls(lab.names.of(node.name), {f"net/ipv4/conf/{link}/rp_filter": "1"})
    for node in lab.topology.intent.nodes:
        batch(lab, node, routes(lab, node))
        time.sleep(PAUSE_S)


def without_proof(lab: Lab) -> None:
    for node in lab.topology.intent.nodes:
        make_tunnel(lab, node)
        batch(lab, node, routes(lab, node))
        time.sleep(PAUSE_S)


def tunnel(lab: Lab, node: Node) -> Iterator[str]:
    """The device, and its entries for all others."""
    local = node.address.address
    yield f"link add {DEVICE} address {mac(node)} type vxlan id 99 dstport {PORT} local {local} nolearning"
    yield f"link set {DEVICE} up"
    for other in across(lab, node):
        yield f"neigh replace {tunnel_address(lab, other)} lladdr {mac(other)} dev {DEVICE} nud permanent"


def make_tunnel(lab: Lab, node: Node) -> None:
    """The device is made first: forwarding entries are not ip's to make but bridge's."""
    batch(lab, node, tunnel(lab, node))
    entries = [f"fdb append {mac(other)} dev {DEVICE} dst {other.address.address}" for other in across(lab, node)]
    run(lab, node, "bridge", entries)


def batch(lab: Lab, node: Node, lines: Iterable[str]) -> None:
    run(lab, node, "ip", lines)


def run(lab: Lab, node: Node, tool: str, lines: Iterable[str]) -> None:
    command = (tool, "-n", lab.names.of(node.name), "-batch", "-")
    subprocess.run(command, input="\n".join(lines), text=True, check=True, capture_output=True)


def routes(lab: Lab, node: Node) -> Iterator[str]:
    for other in across(lab, node):
        for block in lab.topology.intent.blocks_of(other):
            yield f"route replace {block} via {tunnel_address(lab, other)} dev {DEVICE} onlink metric {METRIC}"


def across(lab: Lab, node: Node) -> list[Node]:
    """The nodes in the other rack."""
    return [other for other in lab.topology.intent.nodes if not node.address.network.holds(other.address.address)]


def tunnel_address(lab: Lab, node: Node) -> str:
    return str(lab.topology.intent.blocks_of(node)[0].first)


def mac(node: Node) -> str:
    return f"02:00:00:00:00:{node.address.address.value & 0xFF:02x}"


NAIVE: Final = {"delete and add": delete_and_add, "strict rp_filter": strict, "without proof": without_proof}


def main(output: Path | None, *, others_too: bool, naive_too: bool) -> None:
    matrix, further = list(ours()), list(others()) if others_too else []
    naive = [naively(name, act) for name, act in NAIVE.items()] if naive_too else []
    every = [*matrix, *further]
    lost, longest_ms = sum(row["lost"] for row in every), max(row["longest_gap_ms"] for row in every)
    sent, drivers = sum(row["sent"] for row in every), {row["driver"] for row in matrix} - {""}
    print(f"bgpctl, IPIP by {', '.join(drivers)}: {len(every)} switches, {sent} packets, {lost} lost, {longest_ms} ms")
    for row in naive:
        print(f"{row['how']}: {row['lost']} of {row['sent']} lost, longest gap {row['longest_gap_ms']} ms")
    if output:
        record = {"pps": PPS, "directions": 12, "pause_s": PAUSE_S, "bgpctl": matrix, "others": further, "naive": naive}
        figures.write(output, record)
    sys.exit(lost > 0 or any(row["took_s"] is None for row in matrix))


if __name__ == "__main__":
    _, *arguments = sys.argv
    files = [Path(argument) for argument in arguments if not argument.startswith("--")]
    ends_orderly()
    main(
        files[0] if files else None,
        others_too="--encapsulations" not in arguments,
        naive_too="--ours" not in arguments and os.environ.get("NAIVE") != "0",
    )
