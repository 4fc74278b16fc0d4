"""
The selectors of a policy rule against a packet: `from`, `iif`, `fwmark` and others of ip-rule(8), in words as a rule
has them (core/net/objects.py).

Refuses to know: destinations and tables (core/net/fib.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from bgpctl.core.net.addresses import Prefix
from bgpctl.core.trace.packet import Packet

LOOPBACK: Final = "lo"
_EVERY_BIT: Final = (1 << 32) - 1
_FLAGS: Final = frozenset({"l3mdev"})
"""Selectors without a value."""


class Lookedup(NamedTuple):
    """The subject of a lookup. `arrives`: the link by which the packet came, `lo` for one that is made here."""

    packet: Packet
    arrives: str = LOOPBACK
    leaves: str = ""


def selects(selector: str, flow: Lookedup) -> bool | None:
    """True if the packet has everything that the selector asks for; None if that is not known."""
    answers = [_one(name, value, flow) for name, value in _pairs(selector)]
    if False in answers:
        return False
    return None if None in answers else True


def sources(selector: str) -> tuple[Prefix, ...]:
    """The prefixes that a source has to lie in."""
    try:
        return tuple(Prefix.parse(value) for name, value in _pairs(selector) if name == "from")
    except ValueError:
        return ()


def _pairs(selector: str) -> Iterator[tuple[str, str]]:
    words = iter(selector.split())
    for name in words:
        yield name, "" if name in _FLAGS else next(words, "")


def _one(name: str, value: str, flow: Lookedup) -> bool | None:
    known = _KNOWN.get(name)
    try:
        return known(value, flow) if known else None
    except ValueError:  # of a node whose answer is in words that are not ip-rule's
        return None


def _from(value: str, flow: Lookedup) -> bool:
    return Prefix.parse(value).holds(flow.packet.source)


def _iif(value: str, flow: Lookedup) -> bool:
    return value == flow.arrives


def _oif(value: str, flow: Lookedup) -> bool:
    return value == flow.leaves


def _fwmark(value: str, flow: Lookedup) -> bool:
    mark, _, mask = value.partition("/")
    return (int(mark, 0) ^ flow.packet.mark) & (int(mask, 0) if mask else _EVERY_BIT) == 0


def _ipproto(value: str, flow: Lookedup) -> bool:
    return int(value) == flow.packet.protocol


def _port(index: int) -> Callable[[str, Lookedup], bool | None]:
    def matches(value: str, flow: Lookedup) -> bool | None:
        first, _, last = value.partition("-")
        ports = flow.packet.ports
        return None if ports is None else int(first) <= ports[index] <= int(last or first)

    return matches


_KNOWN: Final[Mapping[str, Callable[[str, Lookedup], bool | None]]] = {
    "from": _from,
    "iif": _iif,
    "oif": _oif,
    "fwmark": _fwmark,
    "ipproto": _ipproto,
    "sport": _port(0),
    "dport": _port(1),
}
"""The others (tos, uidrange, tun_id, l3mdev, attributes without a name) are not known of a packet."""
