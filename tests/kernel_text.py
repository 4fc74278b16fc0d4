"""
Kernel state as text, one object a line, for comparisons whose failure shows what differs.

Every field that makes two objects differ is in the line, in the words of `ip`, `bridge` and `sysctl`.

Refuses to know: which objects are whose, and what they are for.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import assert_never

from bgpctl.core.dataplane.effects import Op, Put
from bgpctl.core.net.addresses import Mac
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import (
    Decap,
    FdbEntry,
    InnerFilter,
    KernelObject,
    Link,
    LinkAddress,
    LinkKind,
    Masquerade,
    Neighbour,
    NextHop,
    NextHopGroup,
    Plain,
    Route,
    RouteType,
    Rule,
    Sysctl,
    WorkloadFilter,
)


def kernel_text(objects: Iterable[KernelObject]) -> str:
    """A dataplane with its rules, or some objects: a line each, sorted."""
    rules = objects.rules if isinstance(objects, Dataplane) else ()
    return "".join(f"{line}\n" for line in sorted((*map(object_line, objects), *map(_rule, rules))))


def op_line(op: Op) -> str:
    """An operation: + for what is put, - for what is removed."""
    return f"{'+' if isinstance(op, Put) else '-'} {object_line(op.object)}"


def assert_same(actual: Iterable[KernelObject], expected: Iterable[KernelObject]) -> None:
    """Fails with a unified diff of the two texts."""
    __tracebackhide__ = True
    assert_same_text(kernel_text(actual), kernel_text(expected))


def assert_has(actual: Iterable[KernelObject], part: Iterable[KernelObject]) -> None:
    """Fails with a unified diff that shows which objects of `part` are missing."""
    __tracebackhide__ = True
    wanted, present = set(part), set(actual)
    if not wanted <= present:
        assert_same(wanted & present, wanted)


def assert_same_text(actual: str, expected: str) -> None:
    """Fails with a unified diff."""
    __tracebackhide__ = True
    if difference := unified_diff(actual.splitlines(), expected.splitlines()):
        raise AssertionError(difference)


def unified_diff(actual: Iterable[str], expected: Iterable[str]) -> str:
    """Empty where the lines are the same."""
    return "\n".join(difflib.unified_diff([*expected], [*actual], "expected", "actual", lineterm="", n=1))


def object_line(obj: KernelObject) -> str:
    """A kernel object with all its fields."""
    match obj:
        case Link():
            return _words("link", obj.name, _kind(obj.kind), f"mtu {obj.mtu_bytes}", *_link_options(obj))
        case Sysctl():
            return f"sysctl {obj.name}={obj.value}"
        case LinkAddress():
            return f"address {obj.address} dev {obj.link}" + (f" proto {obj.protocol}" if obj.protocol else "")
        case Decap() | InnerFilter() | WorkloadFilter() | Masquerade():
            return _of_packets(obj)
        case FdbEntry():
            return f"fdb {obj.mac} dst {obj.remote} dev {obj.link}"
        case Neighbour():
            return f"neighbour {obj.address} lladdr {obj.mac} dev {obj.link}"
        case NextHop():
            via = f"via {obj.gateway}" if obj.gateway else ""
            onlink = "onlink" if obj.onlink else ""
            return _words(f"nexthop id {obj.id:#x}", via, f"dev {obj.link}", onlink, f"proto {obj.protocol}")
        case NextHopGroup():
            members = "/".join(f"{member:#x}" for member in obj.members)
            return f"nexthop id {obj.id:#x} group {members} proto {obj.protocol}"
        case Route():
            return _route(obj)
        case _:
            assert_never(obj)


def _of_packets(obj: Decap | InnerFilter | WorkloadFilter | Masquerade) -> str:
    match obj:
        case Decap():
            also = f"also {_list(obj.also)}" if obj.also else ""
            ends = f"local {obj.local} sources {_list(obj.sources)}"
            return _words(f"decapsulation dev {obj.link} underlay {obj.underlay}", ends, also)
        case InnerFilter():
            hosts = f"members {_list(obj.members)} own {_list(obj.own)}"
            mss = f"mss {obj.most_segment_bytes}" if obj.most_segment_bytes else ""
            ends = f"to {_list(obj.destinations)} from {_list(obj.sources)}"
            return _words(f"inner filter dev {obj.link} {ends} {hosts}", mss)
        case WorkloadFilter():
            ports = f"ports {_list(obj.udp_ports)} bgp {obj.bgp_port}"
            but = f"but for {_list(obj.neighbours)}" if obj.neighbours else ""
            channel = f"channel {obj.channel_port}" if obj.channel_port else ""
            masqueraded = f"masqueraded {_list(obj.masqueraded)}" if obj.masqueraded else ""
            return _words(f"workload filter inside {_list(obj.inside)}", masqueraded, ports, channel, but)
        case Masquerade():
            outside = f"outside {_list(obj.inside)} ports {_list(obj.udp_ports)}"
            bgp = f"bgp {_list(obj.bgp_ports)}" if obj.bgp_ports else ""
            own = f"by {obj.link} as {obj.address}" if obj.address or obj.link else ""
            return _words(f"masquerade from {_list(obj.sources)} {outside}", bgp, own)
        case _:
            assert_never(obj)


def _route(route: Route) -> str:
    kind = "" if route.type is RouteType.UNICAST else route.type.name.lower()
    hop = f"nhid {route.next_hop:#x}" if route.next_hop else ""
    via = f"via {route.gateway}" if route.gateway else ""
    dev = f"dev {route.link}" if route.link else ""
    key = f"proto {route.protocol} metric {route.metric} table {route.table}"
    mtu = f"mtu {route.mtu_bytes}" if route.mtu_bytes else ""
    return _words("route", kind, str(route.prefix), hop, via, dev, key, mtu)


def _rule(rule: Rule) -> str:
    values = (f"{name} {value}" for name, value in rule._asdict().items())
    return _words("rule", *values)


def _kind(kind: LinkKind) -> str:
    """Every field that counts when two are compared, but those that are as usual."""
    if isinstance(kind, Plain):
        return f"type {kind.kind} (plain)"
    assert is_dataclass(kind)
    values = ((field, getattr(kind, field.name)) for field in fields(kind) if field.compare)
    parameters = (f"{field.name} {value}" for field, value in values if value != field.default)
    return _words(f"type {type(kind).__name__.lower()}", *parameters)


def _link_options(link: Link) -> tuple[str, ...]:
    mac: Mac | None = link.mac
    return (
        f"address {mac}" if mac else "",
        "up" if link.up else "down",
        "" if link.owned else "foreign",
        "workload" if link.workload else "",
    )


def _list(items: Iterable[object]) -> str:
    return ",".join(map(str, items))


def _words(*parts: str) -> str:
    return " ".join(filter(None, parts))
