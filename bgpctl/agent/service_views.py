"""
Services as JSON: each with every node that has an instance, this one by its checks, others by their announcements.

Refuses to know: columns.
"""

from __future__ import annotations

from bgpctl.agent.snapshot import Json, Snapshot
from bgpctl.core.cluster.configuration import Check, Node, Service
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.services.health import Health, Status


def services(snapshot: Snapshot) -> Json:
    """One entry for each instance, by the names of services and nodes."""
    intent = snapshot.state.intent.in_force
    if intent is None:
        return {"services": []}
    health = snapshot.health()
    return {
        "services": [
            _entry(snapshot, intent, service, node, health.get(service.name))
            for service in intent.services
            for node in intent.nodes
            if intent.has_instance(service, node)
        ]
    }


def _entry(snapshot: Snapshot, intent: Intent, service: Service, node: Node, health: Health | None) -> Json:
    is_here = node.name == snapshot.state.node
    workload = intent.workload_of(service, node)
    known = {
        "service": service.name,
        "address": str(service.address),
        "node": node.name,
        "here": is_here,
        "workload": str(workload) if workload else None,
        "check": _check(service),
    }
    return {**known, **(_here(snapshot, service, health) if is_here else _elsewhere(snapshot, service, node))}


def _here(snapshot: Snapshot, service: Service, health: Health | None) -> Json:
    """By the verdict that the loop has, and the last check, which may be newer."""
    state = snapshot.state
    verdict = state.services.verdicts.get(service.name)
    status = state.services.status(service)
    sent = state.bgp.adj_rib_out.sent.items()
    established = {peer for peer, table in state.bgp.adj_rib_in.items() if table.established}
    has_failed = health is not None and bool(health.failure)
    return {
        "state": status.value,
        "age_s": snapshot.age_s(verdict.since_s) if verdict and status is not Status.CHECKING else None,
        "announced_to": sum(1 for peer, routes in sent if service.prefix in routes and peer in established),
        "failed": health.failed if health else 0,
        "failure": health.failure if health and has_failed else None,
        "failure_age_s": snapshot.age_s(health.failed_at_s) if health and has_failed and health.failed_at_s else None,
    }


def _elsewhere(snapshot: Snapshot, service: Service, node: Node) -> Json:
    """The path of that node, if one is received here from the node or from a reflector."""
    tables = snapshot.state.bgp.adj_rib_in.values()
    paths = (found for table in tables if (found := table.paths.get(service.prefix)))
    path = next((found for found in paths if found.path.next_hop in node.addresses), None)
    return {
        "state": "announced" if path else "no path",
        "age_s": snapshot.age_s(path.at_s) if path else None,
        "announced_to": None,
        "failed": None,
        "failure": None,
        "failure_age_s": None,
    }


def _check(service: Service) -> str:
    return f"{_what(service.check)} every {service.interval_ms} ms, rise {service.rise}, fall {service.fall}"


def _what(check: Check) -> str:
    """In a few words; of a command the program alone, since its arguments are for the operator."""
    if check.command:
        return check.command[0]
    return f"http {check.http}{check.path}" if check.http else f"tcp {check.tcp}"
