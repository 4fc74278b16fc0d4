"""Answers to a node without a tunnel address, and the reverse-path filter of its underlay's link."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgpctl.core.cluster.allocations import Allocations
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.reasons import UnmetCode
from bgpctl.core.net.objects import Sysctl
from tests.cluster import bare_kernel, derived, member, two_racks

INTENT = two_racks(ipip=Mode.CROSS_SUBNET)
WITHOUT_BLOCK = Allocations({name: item for name, item in INTENT.allocations.by_node.items() if name != "a1"})


@pytest.mark.parametrize(
    ("allocations", "everywhere", "eth0", "is_strict"),
    [
        (WITHOUT_BLOCK, "0", "1", True),
        (WITHOUT_BLOCK, "1", "0", True),
        (WITHOUT_BLOCK, "1", "2", False),
        (WITHOUT_BLOCK, "0", "0", False),
        (INTENT.allocations, "1", "1", False),
        (Allocations(), "1", "1", False),  # no other node has a block either
    ],
)
def test_a_strict_filter_matters_to_a_node_without_a_tunnel_address(
    allocations: Allocations, everywhere: str, eth0: str, is_strict: bool
) -> None:
    intent = replace(INTENT, allocations=allocations)
    values = {"all": everywhere, "eth0": eth0}
    seen = [Sysctl(f"net/ipv4/conf/{name}/rp_filter", value) for name, value in values.items()]
    desired = derived(intent, observed=bare_kernel(member(intent, "a1")).put(seen))
    found = [(item.code, item.subject) for item in desired.unmet]
    assert found == ([(UnmetCode.STRICT_REVERSE_PATH, "eth0")] if is_strict else [])
