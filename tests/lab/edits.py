"""Edits of topologies/cross-subnet.yaml, as an operator makes them: some lose pairs, most do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from tests.topologies import FILTERED, keeping

Edit: TypeAlias = Callable[[str], str]


def _put(old: str, new: str) -> Edit:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return edit


def _plus(more: str) -> Edit:
    """At the end of the cluster's part: documents of their own follow it."""
    return lambda text: text + more


ONE_SESSION: Final = """\
mesh: false
peers:
  pair: {nodeSelector: "kubernetes.io/hostname == 'a1'", peerSelector: "kubernetes.io/hostname == 'a2'"}
"""
REFLECTOR: Final = """\
mesh: false
peers:
  to-b1: {nodeSelector: "kubernetes.io/hostname != 'b1'", peerSelector: "kubernetes.io/hostname == 'b1'"}
"""

EDITS: Final[Mapping[str, Edit]] = {
    "no mesh": _plus("mesh: false\n"),
    "a tunnel inside the racks": _put("IPIPCrossSubnet", "IPIP"),
    "one session is left": _plus(ONE_SESSION),
    "an AS number of one node": _put("a2: {", "a2: {asNumber: 64999, "),
    "another encapsulation": _put("IPIPCrossSubnet", "VXLANCrossSubnet"),
    "a filter keeps a block in": _plus(FILTERED + keeping("export")),
    "VXLAN everywhere": _put("IPIPCrossSubnet", "VXLAN"),
    "a filter keeps a block out": _plus(FILTERED + keeping("import")),
    "a block more": _put("4.0/26]", "4.0/26, 10.244.5.0/26]"),
    "no pool is announced": _put("IPIPCrossSubnet", "IPIPCrossSubnet, disableBGPExport: true"),
    "a reflector in place of the mesh": lambda text: _put("b1: {", "b1: {clusterID: 224.0.0.1, ")(text) + REFLECTOR,
    "an AS number of all": _put("calico_backend: bird", "calico_backend: bird\nasNumber: 64900"),
    "sessions by a peer": _plus(FILTERED + keeping("import", "Accept")),
    "NAT": _put("IPIPCrossSubnet}", "IPIPCrossSubnet, natOutgoing: true}"),
    "a smaller MTU": _put("calico_backend: bird", "mtu: 1400\ncalico_backend: bird"),
}
