"""Whose which tunnel address is: Calico's rules as tables."""

from dataclasses import replace

import pytest

from bgpctl.core.cluster import encapsulation, tunnel_addresses
from bgpctl.core.cluster.allocations import Allocations, NodeAllocations, TunnelAddress, VtepMac
from bgpctl.core.cluster.configuration import Pool, Use
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.net.addresses import Address, Mac, Prefix, vtep_mac
from tests.cluster import node, prefixes

IPIP = Pool("ipip", Prefix.parse("10.251.0.0/16"), encapsulation.IPIP, Mode.ALWAYS)
VXLAN = Pool("vxlan", Prefix.parse("10.252.0.0/16"), encapsulation.VXLAN, Mode.CROSS_SUBNET)
VXLAN6 = Pool("vxlan6", Prefix.parse("fd99::/48"), encapsulation.VXLAN, Mode.ALWAYS, block_size=122)
BARE = Pool("bare", Prefix.parse("10.250.0.0/16"))
TUNNELS = Pool(
    "tunnels",
    Prefix.parse("10.253.0.0/24"),
    encapsulation.VXLAN,
    Mode.ALWAYS,
    block_size=32,
    allowed_uses=(Use.TUNNEL,),
)
HERE = node("a", "10.0.0.1/24")
BLOCKS = prefixes("10.250.1.0/26", "10.251.1.0/26", "10.251.2.0/26", "10.252.1.0/26", "fd99::40/122")
OWN = NodeAllocations(BLOCKS)


def cluster(*pools: Pool, own: NodeAllocations = OWN) -> Intent:
    return Intent(pools=pools, nodes=(HERE,), allocations=Allocations({HERE.name: own}))


def having(*pools: Pool, own: NodeAllocations = OWN) -> tuple[str, str, str]:
    """The addresses on the IPIP, the VXLAN and the IPv6 VXLAN tunnel."""
    intent = cluster(*pools, own=own)
    found = (intent.tunnel_address(HERE, *tunnel) for tunnel in tunnel_addresses.every_tunnel())
    ipip, vxlan, vxlan6 = (str(address) if address else "-" for address in found)
    return ipip, vxlan, vxlan6


def ends(**addresses: str) -> frozenset[TunnelAddress]:
    """Tunnel ends by the name of the encapsulation; that of IPv6 ends in 6."""
    return frozenset(
        TunnelAddress(encapsulation.ENCAPSULATIONS[name.removesuffix("6")], Address.parse(address))
        for name, address in addresses.items()
    )


@pytest.mark.parametrize(
    ("pools", "expected"),
    [
        ((BARE, IPIP, VXLAN, VXLAN6), ("10.251.1.0", "10.252.1.0", "fd99::40")),
        ((BARE,), ("-", "-", "-")),
        ((IPIP,), ("10.251.1.0", "-", "-")),
        ((replace(IPIP, allowed_uses=(Use.WORKLOAD,)),), ("-", "-", "-")),
        ((replace(IPIP, allowed_uses=(Use.TUNNEL,)),), ("10.251.1.0", "-", "-")),
        ((replace(IPIP, node_selector="rack == 'b'"),), ("-", "-", "-")),
        ((replace(IPIP, node_selector="kubernetes.io/hostname == 'a'"),), ("10.251.1.0", "-", "-")),
        ((replace(IPIP, disabled=True),), ("10.251.1.0", "-", "-")),
        ((replace(VXLAN, allowed_uses=(Use.WORKLOAD,)), TUNNELS), ("-", "10.253.0.7", "-")),
    ],
)
def test_a_tunnel_address_is_the_first_of_the_first_block_in_an_eligible_pool(
    pools: tuple[Pool, ...], expected: tuple[str, str, str]
) -> None:
    blocks = tuple(sorted((*BLOCKS, Prefix.parse("10.253.0.7/32"))))
    assert having(*pools, own=NodeAllocations(blocks)) == expected


def test_a_given_tunnel_address_is_taken() -> None:
    given = NodeAllocations(BLOCKS, tunnel_addresses=ends(ipip="10.251.9.9", vxlan6="fd99::9"))
    assert having(IPIP, VXLAN, VXLAN6, own=given) == ("10.251.9.9", "10.252.1.0", "fd99::9")


@pytest.mark.parametrize(
    ("name", "version", "mac"),
    [
        ("remotehostname", 4, "66:3e:ca:a4:db:65"),
        ("remotehostname2", 4, "66:40:18:59:1f:16"),
        ("remotehostname", 6, "66:a0:68:c9:4c:79"),
        ("node1", 4, "66:f9:37:c3:7e:94"),
    ],
)
def test_a_vtep_mac_is_derived_from_the_name_as_calico_does(name: str, version: int, mac: str) -> None:
    assert Intent().vtep_mac(node(name, "10.0.0.1/24"), version) == mac


def test_a_given_vtep_mac_is_taken_for_its_ip_version_alone() -> None:
    given = Mac("02:00:00:00:00:01")
    intent = cluster(own=NodeAllocations(vtep_macs=frozenset({VtepMac(6, given)})))
    assert (intent.vtep_mac(HERE, 4), intent.vtep_mac(HERE, 6)) == (vtep_mac("a"), given)


def test_a_tunnel_address_from_elsewhere_counts_as_borrowed_and_one_of_an_own_block_does_not() -> None:
    given = NodeAllocations(BLOCKS, prefixes("10.252.5.5/32"), ends(ipip="10.251.9.9", vxlan="10.252.1.7"))
    assert list(map(str, cluster(IPIP, VXLAN, own=given).borrowed_by(HERE))) == ["10.251.9.9/32", "10.252.5.5/32"]
