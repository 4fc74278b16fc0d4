"""
The table of behaviours, and the questions to all of them together.

Refuses to know: how any of them behaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bgpctl.core.cluster.encapsulation import Encapsulation, Table
from bgpctl.core.fabric.direct import DirectBehaviour
from bgpctl.core.fabric.ipip import IpipBehaviour
from bgpctl.core.fabric.protocol import Behaviour
from bgpctl.core.fabric.vxlan import VxlanBehaviour
from bgpctl.core.net.dataplane import Dataplane
from bgpctl.core.net.objects import LinkKind

_ALL: Final[tuple[Behaviour, ...]] = (VxlanBehaviour(), IpipBehaviour(), DirectBehaviour())
BEHAVIOURS: Final = Table({item.encapsulation.name: item for item in _ALL})


def behaviour_of(encapsulation: Encapsulation) -> Behaviour:
    """How it behaves."""
    return BEHAVIOURS[encapsulation.name]


def behind(kind: LinkKind) -> Behaviour | None:
    """The behaviour whose device such a link is."""
    return next((item for item in BEHAVIOURS.values() if item.recognises(kind)), None)


def named(link: str) -> Behaviour | None:
    """The behaviour whose device has this name, or may have it."""
    names = {name: item for item in BEHAVIOURS.values() for version in (4, 6) for name in item.link_names(version)}
    return names.get(link)


def accepted_by_kernel(observed: Dataplane) -> Mapping[int, frozenset[Encapsulation]]:
    """The encapsulations that a node with this kernel takes packets from, by their IP version."""
    found = {item.encapsulation: item.accepts(observed) for item in BEHAVIOURS.values()}
    return {version: frozenset(item for item, versions in found.items() if version in versions) for version in (4, 6)}
