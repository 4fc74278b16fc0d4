"""
The agent's state as Prometheus metrics; docs/metrics.md has their names.

Refuses to know: who scrapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from bgpctl.agent import filter_views, health, resolver_views, service_views, views
from bgpctl.agent.snapshot import Snapshot
from bgpctl.core.agent.state import Phase


class Metrics:
    """Made once per agent; `page` asks for a snapshot each time."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_States(snapshot))

    def page(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)


class _States(Collector):
    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        snapshot = self._snapshot()
        yield from _node(snapshot)
        yield from _tunnels(views.tunnels(snapshot)["tunnels"])
        yield from _workloads(filter_views.of_workloads(snapshot))
        yield _questions(resolver_views.questions(snapshot))
        if snapshot.state.bgp.config:
            yield from _services(service_views.services(snapshot)["services"])
            yield from _bgp(views.VIEWS["peers"](snapshot)["peers"])

    def describe(self) -> Iterator[Metric]:
        """Nothing beforehand: the metrics depend on the state."""
        return iter(())


def _node(snapshot: Snapshot) -> Iterator[Metric]:
    summary = views.summary(snapshot)
    about = _gauge("info", "The node.", ("node", "backend", "version"))
    about.add_metric([summary["node"], summary["backend"] or "", version("bgpctl")], 1)
    yield about
    yield _value(
        "ready",
        "1 if every wanted object is in the kernel and no source is incomplete.",
        not _unready(snapshot),
    )
    phases = _gauge("phase", "1 for the phase that the agent is in.", ("phase",))
    for phase in Phase:
        phases.add_metric([phase.value], snapshot.state.phase is phase)
    yield phases
    routes = _gauge("routes", "Routes to other nodes: received, best, wanted on this node, and installed.", ("stage",))
    for stage, number in summary["routes"].items():
        routes.add_metric([stage], number)
    yield routes
    yield _value("problems", "Problems that bgpctl show summary lists.", len(summary["problems"]))
    yield _value("pending_operations", "Kernel objects still to be changed.", len(snapshot.state.kernel.pending.ops))
    shadowed = len(snapshot.state.kernel.shadows)
    yield _value("shadowed_routes", "Routes that packets do not take, because of another program's.", shadowed)
    yield _value("failed_operations", "Changes that the kernel rejects.", len(snapshot.state.attempts.failures))
    yield _value(
        "repairs_last_hour",
        "Repairs within the last hour: changes by other programs that were reverted.",
        summary["repaired_1h"],
    )
    mirror_mismatches = snapshot.state.kernel.mismatches
    yield _count("mirror_mismatch", "Dumps of the kernel that differed from its notifications.", mirror_mismatches)
    yield _count(
        "selfcheck_mismatch",
        "Decisions that differed when they were made again from nothing.",
        snapshot.state.selfcheck_mismatches,
    )
    paths = _gauge("paths", "Paths to members that next hops use, by what is known of them.", ("state",))
    for verdict, number in summary["paths"].items():
        paths.add_metric([verdict], number)
    yield paths
    differing = len(snapshot.state.proofs.differences)
    yield _value("other_configurations", "Members that have another configuration than this node.", differing)
    yield from _store(snapshot)
    yield _value("config_rejected", "1 if the last edit of the cluster file was rejected.", summary["config_rejected"])


def _store(snapshot: Snapshot) -> Iterator[Metric]:
    """None where the configuration comes from files."""
    if store := snapshot.store:
        since_s = snapshot.now_s if store.is_heard else store.heard_at_s or 0.0
        yield _value("store_up", "1 if the store answers.", store.is_heard)
        yield _value(
            "store_silent_seconds", "Seconds since the store was heard; 0 while it is.", snapshot.age_s(since_s)
        )
        yield _value("store_revision", "Revision of the store that is in force here.", store.revision)
        yield _value("store_held_off", "1 if what the store has is not put in force.", bool(store.problems))


def _unready(snapshot: Snapshot) -> bool:
    return any(True for _ in health.unready(snapshot.state))


def _tunnels(rows: list[dict[str, Any]]) -> Iterator[Metric]:
    counters = {
        what: CounterMetricFamily(
            f"bgpctl_tunnel_{what}", f"Tunnel traffic: {what.replace('_', ' ')}.", labels=["tunnel"]
        )
        for what in ("received_packets", "received_bytes", "sent_packets", "sent_bytes", "dropped_packets")
    }
    for row in rows:
        for what, counter in counters.items():
            number = row["traffic"][what] if row["traffic"] else None
            if number is not None:
                counter.add_metric([row["name"]], number)
    yield from counters.values()
    inside = CounterMetricFamily(
        "bgpctl_tunnel_filtered_packets",
        "Packets that a tunnel's filters dropped, by reason.",
        labels=["tunnel", "reason"],
    )
    for row in rows:
        _add_drops(inside, row["name"], row["dropped"])
    yield inside


def _services(rows: Iterable[dict[str, Any]]) -> Iterator[Metric]:
    up = _gauge("service_up", "1 if this node's instance of a service is well, by its checks.", ("service", "address"))
    peers = _gauge("service_peers", "BGP peers that a service address is announced to.", ("service", "address"))
    for row in rows:
        if row["here"]:
            up.add_metric([row["service"], row["address"]], row["state"] == "up")
            peers.add_metric([row["service"], row["address"]], row["announced_to"])
    yield from (up, peers)


def _workloads(found: Iterable[tuple[str, list[dict[str, Any]]]]) -> Iterator[Metric]:
    counter = CounterMetricFamily(
        "bgpctl_workload_dropped_packets",
        "Packets from a workload that were dropped, by reason.",
        labels=["device", "reason"],
    )
    for device, drops in found:
        _add_drops(counter, device, drops)
    yield counter


def _questions(counted: dict[str, int]) -> Metric:
    counter = CounterMetricFamily(
        "bgpctl_resolver_questions", "Questions of workloads for names, by what became of them.", labels=["outcome"]
    )
    for outcome, number in counted.items():
        counter.add_metric([outcome], number)
    return counter


def _add_drops(counter: CounterMetricFamily, name: str, drops: list[dict[str, Any]]) -> None:
    for item in drops:
        counter.add_metric([name, item["reason"]], item["packets"])


def _bgp(peers: list[dict[str, Any]]) -> Iterator[Metric]:
    labels = ("peer", "address")
    up = _gauge("peer_established", "1 if the session is established.", labels)
    received = _gauge("peer_received_routes", "Paths that the peer announced.", labels)
    rejected = _gauge("peer_rejected_routes", "Of these, the paths that the import policy rejects.", labels)
    malformed = CounterMetricFamily(
        "bgpctl_peer_malformed_updates", "Errors in UPDATEs of the peer that its session outlived.", labels=labels
    )
    for row in peers:
        place = [row["name"], row["address"]]
        up.add_metric(place, row["established"])
        received.add_metric(place, row["received"])
        rejected.add_metric(place, row["rejected"])
        malformed.add_metric(place, row["malformed"])
    yield from (up, received, rejected, malformed)


def _gauge(name: str, text: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"bgpctl_{name}", text, labels=labels)


def _count(name: str, text: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(f"bgpctl_{name}", text, value=value)


def _value(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"bgpctl_{name}", text, value=value)
