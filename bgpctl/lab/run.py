"""
`lab run`: build, converge, ping every pair under capture, check, tear down.

Refuses to know: how it is shown.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, assert_never

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.count import count
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import PROTOCOL
from bgpctl.lab import build, netns, probe
from bgpctl.lab.build import Names
from bgpctl.lab.capture import Capture, Packet
from bgpctl.lab.lab import Lab, down, remove_orphans, up
from bgpctl.lab.probe import Pair
from bgpctl.lab.progress import Progress
from bgpctl.lab.runtime import Runtime
from bgpctl.lab.switch import SwitchReport, switch
from bgpctl.lab.topology import (
    AbsenceCheck,
    Check,
    DropCheck,
    Host,
    PacketCheck,
    Scope,
    SeenAs,
    SourceCheck,
    SwitchCheck,
    Topology,
    Workload,
)
from bgpctl.lab.wire import BARE

PING_WITHIN_S: Final = 5.0
"""The time in which a workload has to answer."""
SWITCH_PPS: Final = 100
"""Of each pair of workloads, in each direction, while a pool changes its encapsulation."""
_BGP_PORT: Final = 179
_UDP: Final = 17
_SHOWN_PACKETS: Final = 3


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check; `example` is a packet that bears it out."""

    name: str
    ok: bool
    detail: str
    example: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """How a node of a lab that did not converge was found: its routes as ip(8) shows them, its log's last lines."""

    node: str
    routes: str
    log: str


@dataclass(frozen=True, slots=True)
class Report:
    """
    The results of a run. `converged_s` is from the start of the agents until all had converged, None if they did not;
    `ends` has each node's routes and the end of its agent's log in that case. `routes` are each node's own ones, as
    ip(8) shows them.
    """

    topology: str
    backend: str
    converged_s: float | None
    summaries: Sequence[dict[str, Any]]
    pairs: Sequence[Pair]
    checks: Sequence[CheckResult]
    ends: Sequence[End] = ()
    routes: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.converged_s is not None and all(pair.ok for pair in self.pairs) and all(c.ok for c in self.checks)


def run(topology: Topology, progress: Progress, *, within_s: float, runtime: Runtime) -> Report:
    """
    Run the lab; afterwards it is gone, also after an error.

    Raises:
        RuntimeError: the parts or the network could not be built.
    """
    remove_orphans()
    name = name_of(topology)
    try:
        return _run(topology, name, progress, within_s, runtime)
    finally:
        progress.stage("tear down")
        down(name, progress)


def name_of(topology: Topology) -> str:
    """The name of the lab while this process runs it."""
    return Names.of_file(topology.file, f"-{os.getpid()}").lab


def _run(topology: Topology, name: str, progress: Progress, within_s: float, runtime: Runtime) -> Report:
    progress.stage("build")
    lab = up(topology, name, keep=False, runtime=runtime, progress=progress)
    began_s = time.monotonic()
    with Capture(lab.names, lab.ports, topology.intent) as capture:
        progress.stage("converge")
        total = len(topology.agents)
        if not lab.wait(within_s, lambda done: progress.count(done, total)):
            return _not_converged(lab)
        converged_s = round(time.monotonic() - began_s, 2)
        before = {router.name: build.dropped(lab.names, router.name) for router in topology.routers}
        progress.stage("ping")
        pairs = probe.matrix(lab.names, topology.workloads, within_s=PING_WITHIN_S, undivided=True)
        sources = {c.name: _sources(lab, c) for c in topology.checks if isinstance(c, SourceCheck)}
    # Afterwards, because checks expect the encapsulation that the file begins with.
    switches = {
        c.name: switch(lab, c.pool, c.encapsulation, SWITCH_PPS, progress, within_s=within_s)
        for c in topology.checks
        if isinstance(c, SwitchCheck)
    }
    progress.stage("check")
    evidence = Evidence(lab, tuple(capture.packets), capture.missed, before, sources, switches)
    checks = tuple(evidence.judge(check) for check in topology.checks)
    routes = {node.name: netns.routes(lab.names.of(node.name), PROTOCOL) for node in topology.agents}
    backend = topology.intent.backend.value
    return Report(topology.name, backend, converged_s, lab.summaries(), pairs, checks, routes=routes)


def _not_converged(lab: Lab) -> Report:
    ends = [
        End(node.name, netns.routes(lab.names.of(node.name)), _tail(lab.log(node.name)))
        for node in lab.topology.intent.nodes
    ]
    return Report(lab.topology.name, lab.topology.intent.backend.value, None, lab.summaries(), (), (), ends)


def _tail(path: Path, lines: int = 15) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Seen:
    """Whose address a datagram `sent_by` a workload came from where it arrived; None if it or its answer did not."""

    sent_by: Address
    expected: Address | None
    seen: Address | None


def _sources(lab: Lab, check: SourceCheck) -> tuple[Seen, ...]:
    topology = lab.topology
    source = next(workload for workload in topology.workloads if workload.name == check.source)
    ends: tuple[Workload | Host, ...] = (*topology.workloads, *topology.hosts)
    destination = next(end for end in ends if end.name == check.destination)
    node = topology.intent.node(source.node)
    found = []
    for sent_by in source.addresses:
        to = destination.address_of(sent_by.version)
        if to is None:
            continue
        own = node.underlay(sent_by.version) if node else None
        expected = sent_by if check.seen_as is SeenAs.ITSELF else own.address if own else None
        ends_of_packet = (source.name, sent_by), (destination.name, to)
        found.append(Seen(sent_by, expected, probe.seen_source(lab.names, *ends_of_packet, within_s=PING_WITHIN_S)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    The packets seen while the matrix ran, and the number of those that were not; `dropped_before` per router, `sources`
    and `switches` per check.
    """

    lab: Lab
    packets: Sequence[Packet]
    missed: int
    dropped_before: Mapping[str, int]
    sources: Mapping[str, Sequence[Seen]]
    switches: Mapping[str, SwitchReport]

    def judge(self, check: Check) -> CheckResult:
        """The result of a check by the evidence."""
        match check:
            case PacketCheck() | AbsenceCheck() if self.missed:
                return CheckResult(
                    check.name, ok=False, detail=f"{count(self.missed, 'packet')} not captured: run again"
                )
            case PacketCheck():
                return self._packets(check)
            case DropCheck():
                now = build.dropped(self.lab.names, check.router) - self.dropped_before[check.router]
                return CheckResult(check.name, now == check.drops, f"{check.router} dropped {count(now, 'packet')}")
            case AbsenceCheck():
                found = [trace for word in check.absent for trace in self._traces(word)]
                return CheckResult(check.name, not found, "; ".join(found) or f"no {' and no '.join(check.absent)}")
            case SourceCheck():
                seen = self.sources[check.name]
                detail = ", ".join(f"{item.sent_by} arrives as {item.seen or 'nothing'}" for item in seen)
                ok = bool(seen) and all(item.seen == item.expected for item in seen)
                return CheckResult(check.name, ok, detail or "they have no IP version in common")
            case SwitchCheck():
                return _switched(check, self.switches[check.name])
            case _:
                assert_never(check)

    def _packets(self, check: PacketCheck) -> CheckResult:
        seen = [
            (packet, shape_of(packet))
            for packet in self.packets
            if check.at in (packet.port.segment, packet.port.owner)
            and self._scope(packet) is check.scope
            and check.pool in (None, self._pool_of(packet))
        ]
        wrong = [_shown(packet) for packet, shape in seen if shape != check.shape]
        to_pool = f" to pool {check.pool}" if check.pool else ""
        where = f"{to_pool} {check.scope.value} at {check.at}"
        what = f"{count(len(seen), 'workload packet')}{where}"
        if wrong:
            more = f" and {len(wrong) - _SHOWN_PACKETS} more" if len(wrong) > _SHOWN_PACKETS else ""
            detail = f"{what}, {len(wrong)} not {check.shape}: {', '.join(wrong[:_SHOWN_PACKETS])}{more}"
            return CheckResult(check.name, ok=False, detail=detail)
        if not seen:
            return CheckResult(check.name, ok=False, detail=f"no workload packets{where}")
        return CheckResult(check.name, ok=True, detail=f"{what}, all {check.shape}", example=_shown(seen[0][0]))

    def _scope(self, packet: Packet) -> Scope | None:
        """True if the two nodes of a workload packet share a segment; None if it is no workload packet."""
        ends = packet.inner or packet
        nodes = [self._node_of(address) for address in (ends.source, ends.destination)]
        if None in nodes:
            return None
        segments = {self.lab.topology.segment_of(node.address.address) for node in nodes if node}
        return Scope.INSIDE if len(segments) == 1 else Scope.ACROSS

    def _pool_of(self, packet: Packet) -> str | None:
        """The pool of the workload or tunnel address that the packet goes to."""
        pool = self.lab.topology.intent.pool_of((packet.inner or packet).destination.host_prefix)
        return pool.name if pool else None

    def _node_of(self, address: Address) -> Node | None:
        intent = self.lab.topology.intent
        return next((node for node in intent.nodes if any(b.holds(address) for b in intent.blocks_of(node))), None)

    def _traces(self, word: str) -> list[str]:
        if word == "tcp-179":
            bgp = [p for p in self.packets if p.protocol == 6 and _BGP_PORT in (p.source_port, p.destination_port)]
            return [f"TCP 179: {_shown(packet)}" for packet in bgp[:1]]
        nodes = [node.name for node in self.lab.topology.intent.nodes]
        return [f"ExaBGP runs on {node}" for node in nodes if _runs_exabgp(self.lab.names.of(node))]


def _switched(check: SwitchCheck, report: SwitchReport) -> CheckResult:
    sent = sum(flow.sent for flow in report.flows)
    when = f"in {report.took_s} s" if report.took_s is not None else "not done in time"
    detail = f"{report.before} > {report.after} {when}, {report.lost} of {count(sent, 'packet')} lost"
    return CheckResult(check.name, report.took_s is not None and report.lost == check.lost, detail)


def shape_of(packet: Packet) -> str | None:
    """How a packet is encapsulated; None if by a tunnel that is none of ours."""
    return packet.inner.shape if packet.inner else BARE


def _shown(packet: Packet) -> str:
    inner = packet.inner
    carried = f" [{inner.source} > {inner.destination}]" if inner else ""
    udp = f" port {packet.destination_port}" if packet.protocol == _UDP else ""
    vni = f" VNI {inner.vni}" if inner and inner.vni is not None else ""
    what = f"protocol {packet.protocol}{udp}{vni}, {packet.length} bytes"
    return f"{packet.source} > {packet.destination} {what}{carried}"


def _runs_exabgp(namespace: str) -> bool:
    return any(b"exabgp" in _command(pid) for pid in netns.processes(namespace))


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
