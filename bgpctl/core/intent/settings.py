"""
Settings of the whole cluster that stand under the same keys in several places.

Refuses to know: pools, nodes and peers.
"""

from __future__ import annotations

from typing import Final

from bgpctl.core.intent.draft import Draft, located
from bgpctl.core.intent.fields import Fields
from bgpctl.core.intent.tunnel_keys import MTU_KEYS
from bgpctl.core.net.addresses import Vni

MAX_MTU_BYTES: Final = 65535


def read_vni_and_port(draft: Draft, fields: Fields) -> None:
    """VNI and UDP port, by the names of FelixConfiguration."""
    vni = fields.integer("vxlanVNI", 1, 16777215)
    draft.set("vxlan_vni", None if vni is None else Vni(vni), located(fields, "vxlanVNI"))
    draft.set("vxlan_port", fields.integer("vxlanPort", 1, 65535), located(fields, "vxlanPort"))


def read_mtus(draft: Draft, fields: Fields) -> None:
    """MTUs of tunnel devices, by the names of FelixConfiguration; 0 derives them from the underlay."""
    for item in MTU_KEYS:
        draft.set(item.setting, fields.integer(item.key, 0, MAX_MTU_BYTES), located(fields, item.key))
