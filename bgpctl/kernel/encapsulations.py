"""
The table of implementations, and the questions that go to all of them together.

Refuses to know: how any of them is done.
"""

from __future__ import annotations

from typing import Final

from bgpctl.core.cluster.encapsulation import Encapsulation, Table
from bgpctl.core.net.objects import Link
from bgpctl.kernel import decode
from bgpctl.kernel.decode import LinkFacts, Names
from bgpctl.kernel.direct import DirectImplementation
from bgpctl.kernel.ipip.implementation import IpipImplementation
from bgpctl.kernel.protocol import Implementation
from bgpctl.kernel.vxlan import VxlanImplementation

_ALL: Final[tuple[Implementation, ...]] = (IpipImplementation(), VxlanImplementation(), DirectImplementation())
IMPLEMENTATIONS: Final = Table({item.encapsulation.name: item for item in _ALL})


def implementation_of(encapsulation: Encapsulation) -> Implementation:
    """How Linux does it."""
    return IMPLEMENTATIONS[encapsulation.name]


def link(facts: LinkFacts, names: Names) -> Link:
    """The link as its message shows it. Of several that claim it, the encapsulation that was registered last counts."""
    kinds = (item.kind_of(facts, names) for item in reversed([*IMPLEMENTATIONS.values()]))
    return decode.link(facts, next((kind for kind in kinds if kind), None))


def with_drivers() -> tuple[Implementation, ...]:
    """The encapsulations that leave a choice to the operator."""
    return tuple(item for item in IMPLEMENTATIONS.values() if item.drivers)
