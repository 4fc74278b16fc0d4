"""
FelixConfiguration: the keys that touch routing and encapsulation.

Refuses to know: policy, and how Felix does anything.
"""

from __future__ import annotations

from bgpctl.core.intent.draft import Draft, spec_of
from bgpctl.core.intent.fields import Fields
from bgpctl.core.intent.settings import read_mtus, read_vxlan


def read_felix(draft: Draft, fields: Fields, _: str) -> None:
    """The global one is named default."""
    spec = spec_of(fields)
    read_vxlan(draft, spec)
    read_mtus(draft, spec)
    spec.finish()
