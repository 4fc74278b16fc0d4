"""
Tunnels with a larger MTU than the links that carry them take: the kernel refuses it (VXLAN), or full packets are lost.

Refuses to know: path MTUs beyond this node's own links.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.fabric import derive
from bgpctl.core.fabric.facts import underlay_of
from bgpctl.core.intent.tunnel_keys import MTU_KEYS
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import Link
from bgpctl.core.net.replacing import replace


class TooBig(NamedTuple):
    """
    A tunnel that is too big.

    Attributes:
        key: that gives its MTU in the files.
        mtu_bytes: that it is to have.
        carrier, carrier_bytes: the link with the node's address, and its MTU.
        fits_bytes: the largest that fits all links by which its packets leave.
    """

    key: str
    link: str
    mtu_bytes: int
    carrier: str
    carrier_bytes: int
    fits_bytes: int


_DERIVED: Final = dict.fromkeys((*(item.setting for item in MTU_KEYS), "workload_mtu"), 0)


def too_big(intent: Intent, node: Node, observed: Dataplane, links: Iterable[Link]) -> Iterator[TooBig]:
    """The tunnels among these links, which are to be made or changed, that are."""
    given = [link for link in links if any(getattr(intent, name) for name in _DERIVED)]
    if not given:
        return
    derived = derive(replace(intent, **_DERIVED), node, {}, (), observed).dataplane
    underlay = underlay_of(observed, node.address)
    for link in given:
        fits = derived.link(link.name)
        present = observed.link(link.name)
        is_new = present is None or present.mtu_bytes != link.mtu_bytes
        if fits and underlay and is_new and link.mtu_bytes > fits.mtu_bytes:
            yield TooBig(
                _key_of(intent, link.mtu_bytes),
                link.name,
                link.mtu_bytes,
                underlay.link,
                underlay.mtu_bytes,
                fits.mtu_bytes,
            )


def _key_of(intent: Intent, mtu_bytes: int) -> str:
    return next((item.key for item in MTU_KEYS if getattr(intent, item.setting) == mtu_bytes), "mtu")
