"""
Neighbours that do not answer, as the kernel has them (ip-neighbour(8)).

Refuses to know: what follows from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from bgpctl.core.net.addresses import Address
from bgpctl.core.trace.snapshot import Neighbour
from bgpctl.kernel import decode, encode
from bgpctl.kernel.links import list_links
from bgpctl.kernel.netlink import Netlink

_STATES: Final = {0x01: Neighbour.ASKED, 0x20: Neighbour.FAILED}
"""NUD_INCOMPLETE and NUD_FAILED."""


def silent(netlink: Netlink, names: Mapping[int, str]) -> Iterator[tuple[tuple[str, Address], Neighbour]]:
    """Link and address of each that has not answered, on the links of these names by their numbers."""
    for body in netlink.dump(encode.RTM_GETNEIGH, encode.NDMSG.pack(0, 0, 0, 0, 0)):
        _, index, state, _, _ = encode.NDMSG.unpack_from(body)
        key = decode.neighbour_key(body, names) if index in names else None
        if key and state in _STATES:
            yield key, _STATES[state]


def silent_neighbours() -> frozenset[tuple[str, Address]]:
    """Link and address of each in the calling thread's network namespace. Raises OSError."""
    netlink = Netlink()
    try:
        names = {facts.number: facts.name for facts in list_links(netlink)}
        return frozenset(key for key, _ in silent(netlink, names))
    finally:
        netlink.close()
