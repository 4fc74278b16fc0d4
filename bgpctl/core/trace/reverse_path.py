"""
The check of a packet's source when it arrives (fib_validate_source). IPv6 has none.

A source that is this host's own is refused always. With rp_filter 1 the route back to the source has to lead by the
link that the packet came by, with 2 by any. With 0, and where no rules were added, no route is looked up.

Refuses to know: what the packet is for.
"""

from __future__ import annotations

from typing import Final

from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.objects import LOCAL_TABLE, MAIN_TABLE, RouteType
from bgpctl.core.trace.packet import Packet
from bgpctl.core.trace.reading import Kernel
from bgpctl.core.trace.selectors import LOOPBACK, Lookedup
from bgpctl.core.trace.snapshot import Unread
from bgpctl.core.trace.steps import Break, Cause

_STRICT: Final = 1
_USUAL_TABLES: Final = frozenset({LOCAL_TABLE, MAIN_TABLE, 253})
_NO_SOURCES: Final = tuple(map(Prefix.parse, ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3")))


def refusal(kernel: Kernel, packet: Packet, link: str, leaves: str) -> Cause | Unread | None:
    """Why the source is refused; None if it is not. `leaves`: by which link the packet would go on, if it would."""
    if packet.version == 6:
        return None
    if any(prefix.holds(packet.source) for prefix in _NO_SOURCES):
        return Cause(Break.MARTIAN, packet.source)
    level = kernel.snapshot.reverse_path_filter(link)
    if level == 0 and not _has_rules(kernel):
        return _of_a_stranger(kernel, packet, link)
    return _looked_up(kernel, packet, link, leaves, level)


def _has_rules(kernel: Kernel) -> bool:
    """True if rules were added (fib_has_custom_rules): it stays so until the namespace ends, which is not seen."""
    return any(
        rule.version == 4 and (rule.priority, rule.table) not in _DEFAULT for rule in kernel.snapshot.dataplane.rules
    )


_DEFAULT: Final = frozenset({(0, LOCAL_TABLE), (32766, MAIN_TABLE), (32767, 253)})


def _of_a_stranger(kernel: Kernel, packet: Packet, link: str) -> Cause | None:
    if kernel.snapshot.accepts_local(link) or not kernel.snapshot.has_address(packet.source):
        return None
    return Cause(Break.MARTIAN, packet.source)


def _looked_up(kernel: Kernel, packet: Packet, link: str, leaves: str, level: int) -> Cause | Unread | None:
    back = packet._replace(source=packet.destination, destination=packet.source)
    # The answer is taken to arrive where this packet would leave.
    found = kernel.lookup(Lookedup(back, leaves or LOOPBACK))
    if found.conditional:
        return Unread(f"rule {found.conditional[0].priority}", f"it asks for {found.conditional[0].selector}")
    route = found.route
    if route is None or route.type in _ERRORS:
        return Cause(Break.REVERSE_PATH, route or found.rule, link) if level else None
    if route.type is not RouteType.UNICAST:
        is_own = route.type is RouteType.LOCAL and kernel.snapshot.accepts_local(link)
        return None if is_own else Cause(Break.MARTIAN, packet.source)
    if any(hop.link == link for hop in kernel.next_hops(route, packet.source)):
        return None
    has_address = any(item.link == link and item.address.address.version == 4 for item in kernel.snapshot.addresses)
    strict = level == _STRICT or (level and not has_address)
    return Cause(Break.REVERSE_PATH, route, link) if strict else None


_ERRORS: Final = frozenset({RouteType.BLACKHOLE, RouteType.UNREACHABLE, RouteType.PROHIBIT})
