"""
Service addresses: their keys under `announce`, which nodes have an instance of each, and the rules.

A service address belongs to no node, so it must be none that a node, a workload or a peer may have. It is routed to its
instances without a tunnel, as everything outside the pools is.

Refuses to know: how a check is done (core/services), what is announced (core/bgp/export_policy.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from bgpctl.core.cluster.configuration import CHECK_MS, Backend, Check, Configuration, Node, Service, Use
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Severity
from bgpctl.core.cluster.tunnel_addresses import labels_of
from bgpctl.core.intent.breach import Breach, note, some
from bgpctl.core.intent.draft import Draft, Located, ServiceDraft, Stated, located, read_selector
from bgpctl.core.intent.field_kinds import (
    PORT,
    SELECTOR,
    FieldKind,
    integer,
    several,
    short_duration,
    written_community,
)
from bgpctl.core.intent.fields import Fields, parse_address, parse_prefix
from bgpctl.core.intent.shapes import ref
from bgpctl.core.intent.tables import Row, Table, Written
from bgpctl.core.intent.tree import Scalar, shown
from bgpctl.core.intent.values import community
from bgpctl.core.net.addresses import Address, Prefix

MOST_OF_A_NODE: Final = 64
"""Each has a thread of the agent's, for its checks."""
_INTERVAL: Final = short_duration(100, 600_000)
_IN_A_ROW: Final = integer(1, 100)
_NOT_UNICAST: Final = tuple(
    map(Prefix.parse, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "fe80::/10", "ff00::/8"))
)


# Keys ----------------------------------------------------------------------------------------------------------


def _word(leaf: Scalar) -> str:
    if not leaf.text:
        raise ValueError("an empty word in a command")
    return leaf.text


def _path(fields: Fields, key: str) -> str | None:
    """The path of a URL, of characters that a request line can have."""
    text = fields.text(key)
    if text is not None and (not text.startswith("/") or not text.isascii() or not text.isprintable() or " " in text):
        fields.wrong(key, f"{shown(text)} is not the path of a URL, such as /healthz", "path")
        return None
    return text


_CHECK: Final = Table(
    (
        Row("tcp", PORT, "tcp", "A TCP port; the check passes if it accepts a connection."),
        Row("http", PORT, "http", "A TCP port; the check passes if a GET is answered with a status from 200 to 399."),
        Row("path", FieldKind(_path, ref("text")), "path", "What the GET asks for."),
        Row(
            "command",
            several(_word, "command", ref("text")),
            "command",
            "A program by its absolute path, with its arguments; it runs as user 65534, and passes if it exits with 0.",
        ),
    ),
    Check,
    "a check",
    "What shows that an instance is well: exactly one of tcp, http and command.",
)


def _read_check(fields: Fields, key: str) -> Check | None:
    found = fields.fields(key)
    if found is None:
        return None
    values = _CHECK.read(found)
    found.finish()
    kinds = [name for name in ("tcp", "http", "command") if found.has(name)]
    if len(kinds) != 1:
        given = f"{' and '.join(kinds)} are given" if kinds else "none is given"
        fields.wrong(key, f"a check has exactly one of tcp, http and command; {given}", "one-check")
    elif found.has("path") and kinds != ["http"]:
        found.wrong("path", f"path is what http asks for; this check is {kinds[0]}", "path")
    elif "command" in values and not values["command"]:
        found.wrong("command", "a command has a program at least", "command")
    elif "command" in values and not values["command"][0].startswith("/"):
        found.wrong("command", f"{shown(values['command'][0])} is no absolute path of a program", "command")
    elif kinds[0] in values:
        return Check(**values)
    return None


def _read_address(fields: Fields, key: str) -> Address | None:
    """A host's, with or without /32 or /128."""
    return fields.value(key, _host, "address")


def _host(leaf: Scalar) -> Address:
    text = leaf.text or ""
    if "/" not in text:
        return parse_address(text)
    prefix = parse_prefix(text)
    if prefix.size != 1:
        raise ValueError(f"{shown(text)} is a network; the address of a service is one address")
    return prefix.first


SERVICE: Final = Table(
    (
        Row(
            "address",
            FieldKind(_read_address, {"type": ["string", "null"], "pattern": "^[0-9a-fA-F.:]+(/(32|128))?$"}, str),
            "address",
            "The address that every instance has.",
            needed=True,
        ),
        Row("nodes", SELECTOR, "node_selector", "The nodes that have an instance; all of them if it is absent."),
        Row(
            "workloads",
            several(lambda leaf: parse_address(leaf.text), "address", ref("address"), str),
            "workloads",
            "Addresses of the workloads that are the instances; without, the nodes themselves are.",
        ),
        Row("check", FieldKind(_read_check, _CHECK.shape(), _CHECK.write), "check", needed=True),
        Row("interval", _INTERVAL, "interval_ms", "From the beginning of one check to that of the next."),
        Row("timeout", _INTERVAL, "timeout_ms", "A check that takes longer has failed; at most the interval."),
        Row("rise", _IN_A_ROW, "rise", "So many checks in a row must pass before the address is announced."),
        Row("fall", _IN_A_ROW, "fall", "So many checks in a row must fail before the address is withdrawn."),
        Row(
            "communities",
            several(lambda leaf: community(leaf.text), "community", ref("community"), written_community),
            "communities",
            "Communities that it is announced with.",
        ),
    ),
    Service,
    "a service",
    "An address that several nodes have, each of which announces it by BGP while its own check passes.",
)


# Reading -------------------------------------------------------------------------------------------------------


def read_service(draft: Draft, fields: Fields, name: str) -> None:
    """Take a service in."""
    at = located(fields)
    found = SERVICE.read(fields)
    selector = read_selector(fields, "nodes")
    interval_ms = found.get("interval_ms", CHECK_MS)
    if "timeout_ms" not in found:
        found["timeout_ms"] = min(CHECK_MS, interval_ms)
    elif found["timeout_ms"] > interval_ms:
        message = f"a check may take {found['timeout_ms']}ms, and the next begins after {interval_ms}ms"
        fields.wrong("timeout", message, "timeout")
    if not draft.declare("service", name, at):
        return
    if selector is None or "address" not in found or "check" not in found:
        draft.miss("service")
        return
    parts = {key: located(fields, key) for key in ("address", "nodes", "workloads")}
    draft.services[name] = Stated(ServiceDraft(Service(name, **found, place=at.place), selector), at, parts)


def selected(configuration: Configuration, stated: ServiceDraft) -> Service:
    """The service with its nodes."""
    names = tuple(node.name for node in configuration.nodes if stated.selector(labels_of(node)))
    return replace(stated.service, nodes=names)


def concerns(stated: ServiceDraft, old: Node | None, new: Node | None) -> bool:
    """True if the edit of a node may change what holds of the service."""
    return any(node is not None and stated.selector(labels_of(node)) for node in (old, new)) or any(
        node is not None and _is_near(stated.service.address, node) for node in (old, new)
    )


def _is_near(address: Address, node: Node) -> bool:
    return any(own.network.holds(address) for own in (node.address, node.address6) if own)


def written_services(intent: Intent) -> Written:
    """The services in the short form, by name."""
    return {service.name: _written(service) for service in intent.services}


def _written(service: Service) -> Written:
    implied_ms = min(CHECK_MS, service.interval_ms)
    return SERVICE.write(service, timeout_ms=None if service.timeout_ms == implied_ms else service.timeout_ms)


# Rules ---------------------------------------------------------------------------------------------------------


def check_services(intent: Intent, draft: Draft) -> None:
    """Note every rule about services that `intent` breaks."""
    seen: dict[Address, Located] = {}
    for service in intent.services:
        stated = draft.services[service.name]
        note(draft, stated, _service_rules(intent, draft, service))
        at = stated.part("address")
        earlier = seen.setdefault(service.address, at)
        if earlier is not at:
            message = f"{service.address} is the address of another service, at {earlier.place}"
            draft.wrong(at, message, "duplicate-service")
    for node in intent.nodes:
        names = [service.name for service in intent.services if node.name in service.nodes]
        if len(names) > MOST_OF_A_NODE:
            message = f"node {node.name} has {len(names)} services; a node may have {MOST_OF_A_NODE}"
            draft.wrong(draft.services[names[-1]].at, message, "too-many-services")


def _service_rules(intent: Intent, draft: Draft, service: Service) -> Iterator[Breach]:
    if intent.backend is not Backend.BIRD:
        message = (
            f"a service address is announced by BGP, and calico_backend is {intent.backend.value}: without BGP members "
            "cannot learn which instances are well; use calico_backend bird, with pools of any encapsulation"
        )
        yield Breach("", message, "needs-bgp")
    yield from _address_rules(intent, service)
    if draft.knows_all("node"):
        names = some([node.name for node in intent.nodes])
        if not service.nodes:
            yield Breach("nodes", f"no node is selected (nodes: {names})", "no-node", Severity.WARNING)
    for workload in service.workloads:
        yield from _workload_rules(intent, service, workload)


def _workload_rules(intent: Intent, service: Service, workload: Address) -> Iterator[Breach]:
    if workload.version != service.address.version:
        message = f"{workload} cannot be an instance of {service.address}: another IP version"
        yield Breach("workloads", message, "family")
        return
    owner = next((node for node in intent.nodes for own in intent.prefixes_of(node) if own.holds(workload)), None)
    if owner is None:
        message = f"{workload} is in no node's block: no node announces for it until it is"
        yield Breach("workloads", message, "nobodys-block", Severity.WARNING)
    elif owner.name not in service.nodes:
        message = f"{workload} is in a block of node {owner.name}, which nodes does not select"
        yield Breach("workloads", message, "unselected-node")


def _address_rules(intent: Intent, service: Service) -> Iterator[Breach]:
    address = service.address
    forbidden = next((item for item in _NOT_UNICAST if item.holds(address)), None)
    if forbidden:
        yield Breach("address", f"{address} is in {forbidden}, which is routed nowhere", "martian")
        return
    for node in intent.nodes:
        inside = next((own for own in (node.address, node.address6) if own and own.network.holds(address)), None)
        if inside:
            message = f"{address} is in the network of node {node.name} ({inside}), where routers look for it directly"
            yield Breach("address", message, "on-underlay")
            return
    if any(peer.address == address for peer in intent.peers):
        yield Breach("address", f"{address} is the address of a BGP peer", "peer-is-service")
    yield from _pool_rules(intent, address)


def _pool_rules(intent: Intent, address: Address) -> Iterator[Breach]:
    """Not even a free address of a pool for workloads: a node may claim a block around it at any time."""
    pool = intent.pool_of(address.host_prefix)
    owner = next((node for node in intent.nodes for own in intent.prefixes_of(node) if own.holds(address)), None)
    if owner:
        message = f"{address} is in a block of node {owner.name}, whose workloads may have it"
        yield Breach("address", message, "others-block")
    elif pool and pool.allowed_uses != (Use.LOAD_BALANCER,):
        message = (
            f"{address} is in pool {pool.name} ({pool.cidr}), whose addresses are for workloads; take one outside the "
            "pools, or of a pool with allowedUses [LoadBalancer]"
        )
        yield Breach("address", message, "service-in-pool")
