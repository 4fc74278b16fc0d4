"""
Everything of the calling thread's network namespace that decides about a packet, read on demand and never
written: what `LinuxKernel.observe` has, and beside it the local table, details of routes, neighbours that do not
answer, addresses in their order, switches, and the chains of other programs.

The parts are dumped one after the other, so that a change in between can show in one of them alone.

Refuses to know: what follows for a packet (core/trace); routes that are not used because a link has no carrier.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bgpctl.core.net.addresses import InterfaceAddress, Prefix
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import LOCAL_TABLE, Route, RouteType
from bgpctl.core.trace.netfilter import Chain
from bgpctl.core.trace.snapshot import OwnAddress, RouteDetails, Snapshot, Unread
from bgpctl.kernel import chains, decode, encode, neighbours, nft, sysctl
from bgpctl.kernel.links import list_links
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.kernel.netlink import Netlink, attributes

_IFA_F_SECONDARY: Final = 0x01
_RTA_PREFSRC: Final = 7
_RTA_METRICS: Final = 8
_RTA_ENCAP: Final = 22
_RTAX_MTU: Final = 2
_VERSION: Final = {family: version for version, family in encode.FAMILY.items()}
_TYPES: Final = frozenset(map(int, RouteType))
_LEGACY: Final = (Path("/proc/thread-self/net/ip_tables_names"), Path("/proc/thread-self/net/ip6_tables_names"))
_SWITCHES: Final = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
_LINK_SWITCHES: Final = ("forwarding", "rp_filter", "accept_local")


def read() -> Snapshot:
    """
    The namespace as it is now.

    Raises:
        Unavailable: no netlink here.
    """
    kernel = LinuxKernel()
    try:
        return around(kernel.observe())
    finally:
        kernel.close()


def around(observed: Dataplane) -> Snapshot:
    """
    The namespace with a dataplane that was observed already, and the rest as it is now.

    Raises:
        OSError: no netlink here.
    """
    netlink = Netlink()
    try:
        return _read(observed, netlink)
    finally:
        netlink.close()


def _read(dataplane: Dataplane, netlink: Netlink) -> Snapshot:
    names = {facts.number: facts.name for facts in list_links(netlink)}
    dumped = list(_routes(netlink))
    rules, marks, unread = _ruleset()
    if marks and any("fwmark" in rule.selector for rule in dataplane.rules):
        unread = (*unread, Unread("marks", "a chain writes them, and a policy rule reads them"))
    return Snapshot(
        dataplane,
        dict(_details(dumped, names)),
        tuple(_local(dumped, names)),
        tuple(_addresses(netlink, names)),
        dict(neighbours.silent(netlink, names)),
        dict(_sysctls(names.values())),
        rules,
        (*unread, *_legacy(), *_not_understood(dumped, names)),
    )


def _routes(netlink: Netlink) -> Iterator[bytes]:
    for family in encode.FAMILY.values():
        for body in netlink.dump(encode.RTM_GETROUTE, encode.RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)):
            if not encode.RTMSG.unpack_from(body)[8] & decode.RTM_F_CLONED:
                yield body


def _details(dumped: Iterable[bytes], names: Mapping[int, str]) -> Iterator[tuple[Route, RouteDetails]]:
    """Of the routes that have any; most of 100,000 have none."""
    for body in dumped:
        found = attributes(body, encode.RTMSG.size)
        several = decode.has_several_ways(body)
        if not several and _RTA_PREFSRC not in found and _RTA_METRICS not in found:
            continue
        route = decode.route(body, names)
        if route:
            hops = sorted(decode.route_next_hops(body, names), key=str) if several else []
            source = decode.address(found[_RTA_PREFSRC]) if _RTA_PREFSRC in found else None
            yield route, RouteDetails(tuple(hops), source, route.mtu_bytes)


def _local(dumped: Iterable[bytes], names: Mapping[int, str]) -> Iterator[Route]:
    for body in dumped:
        family, length, source_length, tos, table, protocol, _, kind, _ = encode.RTMSG.unpack_from(body)
        found = attributes(body, encode.RTMSG.size)
        table = decode.u32(found[encode.RTA_TABLE]) if encode.RTA_TABLE in found else table
        if table == LOCAL_TABLE and kind in _TYPES and family in _VERSION and not (source_length or tos):
            link = names.get(decode.u32(found[encode.RTA_OIF])) if encode.RTA_OIF in found else None
            metric = decode.u32(found[encode.RTA_PRIORITY]) if encode.RTA_PRIORITY in found else 0
            yield Route(_destination(family, found, length), RouteType(kind), 0, None, link, metric, table, protocol)


def _destination(family: int, found: Mapping[int, bytes], length: int) -> Prefix:
    return Prefix(_VERSION[family], int.from_bytes(found.get(encode.RTA_DST, b""), "big"), length)


def _not_understood(dumped: Sequence[bytes], names: Mapping[int, str]) -> Iterator[Unread]:
    """Routes with a source prefix, a TOS or an encapsulation of their own, and several of which the first is used."""
    keys: Counter[tuple[int, Prefix, int]] = Counter()
    for body in dumped:
        family, length, source_length, tos, table, _, _, kind, _ = encode.RTMSG.unpack_from(body)
        found = attributes(body, encode.RTMSG.size)
        if family not in _VERSION or (table == LOCAL_TABLE and not (source_length or tos)):
            continue
        prefix = _destination(family, found, length)
        if source_length or tos or _RTA_ENCAP in found or decode.route(body, names) is None:
            yield Unread(f"route {prefix}", f"it is of type {kind} and asks for more than a destination", prefix)
        elif family == encode.FAMILY[4]:
            metric = decode.u32(found[encode.RTA_PRIORITY]) if encode.RTA_PRIORITY in found else 0
            keys[table, prefix, metric] += 1
    for (table, prefix, _), number in keys.items():
        if number > 1:
            yield Unread(f"route {prefix}", f"table {table} has {number} of one metric", prefix)


def _addresses(netlink: Netlink, names: Mapping[int, str]) -> Iterator[OwnAddress]:
    for body in netlink.dump(encode.RTM_GETADDR, encode.IFADDRMSG.pack(0, 0, 0, 0, 0)):
        family, length, flags, scope, index = encode.IFADDRMSG.unpack_from(body)
        if family in _VERSION and index in names and decode.link_address(body, names):
            own = InterfaceAddress(decode.address(decode.own_address(body)), length)
            yield OwnAddress(names[index], own, scope, secondary=bool(flags & _IFA_F_SECONDARY))


def _sysctls(links: Iterable[str]) -> Iterator[tuple[str, str]]:
    wanted = (*_SWITCHES, *(f"net/ipv4/conf/{link}/{key}" for link in ("all", *links) for key in _LINK_SWITCHES))
    for name in wanted:
        found = sysctl.read(name)
        if found:
            yield found.name, found.value


def _ruleset() -> tuple[tuple[Chain, ...], bool, tuple[Unread, ...]]:
    """The chains of others, whether one writes marks, and what could not be read."""
    try:
        if all(name.startswith(nft.OURS) for _, name in nft.tables()):
            return (), False, ()
        ruleset: list[dict[str, Any]] = nft.ruleset()
    except OSError as error:
        return (), False, (Unread("nftables", str(error.strerror)),)
    return chains.chains(ruleset, nft.OURS), chains.sets_marks(ruleset), ()


def _legacy() -> Iterator[Unread]:
    tables = legacy_tables()
    if tables:
        yield Unread("iptables-legacy", f"its rules are not read (tables {', '.join(tables)})")


def legacy_tables() -> tuple[str, ...]:
    """Tables of the former iptables, whose rules nft does not list."""
    found: list[str] = []
    for file in _LEGACY:
        with suppress(OSError):
            found += file.read_text().split()
    return tuple(dict.fromkeys(found))
