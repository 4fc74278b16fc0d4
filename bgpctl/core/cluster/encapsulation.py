"""
The identity of each encapsulation.

Refuses to know: how an encapsulation behaves (core/fabric, kernel).
"""

from __future__ import annotations

import enum


class Encapsulation(enum.Enum):
    """How a packet crosses the underlay."""

    DIRECT = "direct"
    IPIP = "ipip"
    VXLAN = "vxlan"
