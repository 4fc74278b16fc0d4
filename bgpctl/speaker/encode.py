"""
Our commands as the text of ExaBGP's API.

Refuses to know: how the text gets there, and what is answered.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import Final, assert_never

from bgpctl.core.bgp.path import AsPath, AsSet, Attributes, RawAttribute
from bgpctl.core.bgp.speaker import Announce, AskRefresh, EndSession, SendEndOfRib, SpeakerCommand, Withdraw
from bgpctl.core.bgp.wire import encode as wire
from bgpctl.core.bgp.wire.attributes import AGGREGATOR
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.speaker import sent_patches
from bgpctl.speaker.range_patches import RANGES
from bgpctl.speaker.raw_patches import NOTIFY
from bgpctl.speaker.session_patches import OPENS

ASK_STATE: Final = "show neighbor configuration\nshow adj-rib out json\nshow neighbor json\n"
"""Answered by Description lines, Advertised lines and one Neighbors (decode.py): ExaBGP takes them one by one."""
ASK_OPENS: Final = f"{OPENS}\n"
"""Answered by the OPEN of each established session; understood by the patched ExaBGP alone."""
PING: Final = "version\n"
RELOAD: Final = "reload\n"

_FAMILIES: Final = {4: "ipv4 unicast", 6: "ipv6 unicast"}
_NONE: Final = Attributes()
_SETS: Final = 1024


def listen_ranges(ranges: Iterable[Prefix]) -> str:
    """Connections from these addresses wait; understood by the patched ExaBGP alone."""
    return " ".join((RANGES, *map(str, ranges))) + "\n"


def order(command: SpeakerCommand, withdrawn: Attributes = _NONE) -> str:
    """
    The command in the words of ExaBGP's API, without the neighbour that it is for.

    ExaBGP queues changes by attribute set and sends the sets in the order of their creation, so that of two changes of
    one prefix the earlier can come last. A withdrawal therefore carries the attributes that were announced, in
    `withdrawn`, which BGP does not need: in one set the later change takes the place of the earlier. Changes of the
    attributes themselves are put right in patches.py.

    An AS path is sent as it is, without one ExaBGP sends our own AS to external peers and nothing to internal ones.
    """
    match command:
        case Announce(prefix, _, attributes):
            return f"announce route {prefix} {_written(attributes)}"
        case Withdraw(prefix):
            return f"withdraw route {prefix} {_written(withdrawn)}"
        case SendEndOfRib(_, version):
            return f"announce eor {_FAMILIES[version]}"
        case AskRefresh(_, version):
            return f"announce route-refresh {_FAMILIES[version]}"
        case EndSession(_, _, subcode):
            return f"teardown {subcode}"  # always a Cease
        case _:
            assert_never(command)


def encode(command: SpeakerCommand, withdrawn: Attributes = _NONE) -> str:
    """The command as one line of ExaBGP's API, newline included."""
    return f"{_to(command.peer)}{order(command, withdrawn)}\n"


def raw_order(command: SpeakerCommand) -> str:
    """
    The command in the words of the patched ExaBGP, without the neighbour: a route has its attributes as octets, a
    withdrawal needs none.
    """
    match command:
        case Announce(prefix, _, attributes):
            return f"{sent_patches.ANNOUNCE} {prefix} {_of(attributes)}"
        case Withdraw(prefix):
            return f"{sent_patches.WITHDRAW} {prefix}"
        case EndSession(_, code, subcode):
            return f"{NOTIFY} {code} {subcode}"
        case _:
            return order(command)


def encode_raw(command: SpeakerCommand) -> str:
    """The command as one line for the patched ExaBGP, newline included."""
    return f"{_to(command.peer)}{raw_order(command)}\n"


_recent: Final[dict[int, tuple[Attributes, str]]] = {}
"""By identity, as the routes of a table share few attribute sets, and to compare these takes longer than the text."""


def _of(attributes: Attributes) -> str:
    """Next hop and octets."""
    known = _recent.get(id(attributes))
    if known is None:
        if len(_recent) >= _SETS:
            _recent.clear()
        known = _recent[id(attributes)] = (attributes, f"{attributes.next_hop or 'self'} {_octets(attributes)}")
    return known[1]


@lru_cache(_SETS)
def _octets(attributes: Attributes) -> str:
    """Both forms (RFC 6793): which one a session needs may change while the route waits for it."""
    without_next_hop = replace(attributes, next_hop=None)
    four, two = (wire.encode(without_next_hop, four_octet=known) for known in (True, False))
    return f"{four.hex()} {two.hex()}"


def _written(attributes: Attributes) -> str:
    values: tuple[tuple[str, object], ...] = (
        ("next-hop", attributes.next_hop or "self"),
        ("origin", None if attributes.origin == "igp" else attributes.origin),
        ("as-path", _as_path(attributes.as_path)),
        ("local-preference", attributes.local_pref),
        ("med", attributes.med),
        ("community", _listed(_colons(c) for c in attributes.communities if len(c) == 2)),
        ("large-community", _listed(_colons(c) for c in attributes.communities if len(c) == 3)),
        ("extended-community", _listed(f"{community:#018x}" for community in attributes.extended)),
        ("originator-id", attributes.originator),
        ("cluster-list", _listed(attributes.cluster_list)),
    )
    written = [f"{name} {value}" for name, value in values if value is not None]
    return " ".join((*written, *map(_passed_on, attributes.passed_on)))


def _as_path(path: AsPath) -> str | None:
    """ExaBGP writes a sequence in brackets and a set in parentheses."""
    parts: list[str] = []
    for kind, group in groupby(path, type):
        items = list(group)
        parts += (f"( {_spaced(item.members)} )" for item in items if isinstance(item, AsSet))
        if kind is not AsSet:
            parts.append(f"[ {_spaced(items)} ]")
    return " ".join(parts) or None


def _passed_on(raw: RawAttribute) -> str:
    """ExaBGP knows AGGREGATOR, which differs on a two-octet session; all others it sends as they are."""
    if raw.code == AGGREGATOR:
        asn, router_id = struct.unpack("!II", raw.value)
        return f"aggregator ( {asn}:{Address(4, router_id)} )"
    return f"attribute [ {raw.code:#04x} {raw.flags:#04x} 0x{raw.value.hex()} ]"


def _listed(values: Iterable[object]) -> str | None:
    text = _spaced(values)
    return f"[ {text} ]" if text else None


def _spaced(values: Iterable[object]) -> str:
    return " ".join(map(str, values))


def _colons(community: tuple[int, ...]) -> str:
    return ":".join(map(str, community))


def withdraw_all(peer: Address) -> str:
    """Withdraw everything from one peer, before it is removed: under graceful restart it would keep our routes."""
    return f"{_to(peer)}clear adj-rib out\n"


def notify(peer: Address, code: int, subcode: int, data: bytes) -> str:
    """End the session with this NOTIFICATION; understood by the patched ExaBGP alone."""
    return " ".join(f"{_to(peer)}{NOTIFY} {code} {subcode} {data.hex()}".split()) + "\n"


def _to(peer: Address | None) -> str:
    return "" if peer is None else f"neighbor {peer} "
