"""
Files that are right in Calico are right here: each text loads, with exactly these warnings and notes, by line and rule.
"""

from pathlib import Path

import pytest

from bgpctl.core.cluster import encapsulation
from bgpctl.core.cluster.configuration import Backend, NextHopMode, Use
from bgpctl.core.cluster.encapsulation import Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Severity
from bgpctl.store import texts
from tests.documents import good
from tests.samples import DEFAULT, INSTALLATION, KUBERNETES, MEMBERS, PEER, POOL, QUIET, REMARKED


@pytest.mark.parametrize("text", QUIET)
def test_a_correct_document_loads_without_a_remark(text: str) -> None:
    assert list(map(str, good(text).remarks)) == []


@pytest.mark.parametrize(("text", "remarks"), REMARKED.items())
def test_a_surprising_document_loads_with_a_remark_at_its_line(text: str, remarks: dict[int, str]) -> None:
    found = good(text).remarks
    assert {remark.place.line: f"{remark.severity.value} {remark.rule}" for remark in found} == remarks


def test_there_are_enough_valid_documents_to_distinguish_strictness_from_correctness() -> None:
    assert len(QUIET) + len(REMARKED) >= 40


def test_remarks_are_no_part_of_the_intent() -> None:
    loud, quiet = (
        good("pools: {p: {cidr: 10.244.0.0/16, ipipMode: always}}"),
        good("pools: {p: {cidr: 10.244.0.0/16, ipipMode: Always}}"),
    )
    assert loud == quiet
    assert loud.remarks != quiet.remarks


def test_an_installation_with_bgp_disabled_is_the_vxlan_backend() -> None:
    intent = good(INSTALLATION + "{calicoNetwork: {bgp: Disabled, mtu: 1400, ipPools: []}}")
    assert (intent.backend, intent.workload_mtu, intent.pools) == (Backend.VXLAN, 1400, ())


def test_an_installation_without_pools_has_the_operators_default_pool() -> None:
    (pool,) = good(INSTALLATION + "{}").pools
    assert (pool.name, str(pool.cidr)) == ("default-ipv4-ippool", "192.168.0.0/16")
    assert (pool.encapsulation, pool.mode) == (encapsulation.IPIP, Mode.ALWAYS)
    assert pool.nat_outgoing


def test_an_installation_leaves_pools_alone_that_are_given_otherwise() -> None:
    assert [pool.name for pool in good(INSTALLATION + "{}\n---\n" + POOL).pools] == ["p"]


def test_pools_without_a_name_are_named_in_the_order_of_all_documents() -> None:
    overlay = INSTALLATION.replace("name: default", "name: overlay")
    text = INSTALLATION + "{calicoNetwork: {ipPools: [{cidr: 10.10.0.0/16}, {cidr: 'fd00:10::/48'}]}}\n---\n"
    text += overlay + "{calicoNetwork: {ipPools: [{cidr: 10.20.0.0/16}]}}\n"
    names = {str(pool.cidr): pool.name for pool in good(text).pools}
    assert names == {
        "10.10.0.0/16": "default-ipv4-ippool",
        "fd00:10::/48": "default-ipv6-ippool",
        "10.20.0.0/16": "10-20-0-0-16",
    }


def test_an_installation_on_eks_and_one_on_docker_have_their_own_defaults() -> None:
    eks, docker = (good(INSTALLATION + f"{{kubernetesProvider: {name}}}") for name in ("EKS", "DockerEnterprise"))
    assert (eks.backend, str(eks.pools[0].cidr), eks.pools[0].encapsulation, eks.pools[0].mode) == (
        Backend.VXLAN,
        "172.16.0.0/16",
        encapsulation.VXLAN,
        Mode.ALWAYS,
    )
    assert docker.vxlan_vni == 10000


def test_a_pool_of_the_operator_and_the_same_ippool_are_one() -> None:
    text = INSTALLATION + "{calicoNetwork: {ipPools: [{name: p, cidr: 10.244.0.0/16, encapsulation: VXLAN}]}}\n---\n"
    ippool = "kind: IPPool\nmetadata: {name: p}\nspec: {cidr: 10.244.0.0/16, vxlanMode: Always, natOutgoing: true}"
    assert len(good(text + ippool).pools) == 1


def test_a_kubernetes_node_is_known_by_calicos_annotations() -> None:
    (node,) = good(
        KUBERNETES + "projectcalico.org/IPv6Address: fd00::1/64, projectcalico.org/ASNumber: 65001, "
        "projectcalico.org/RouteReflectorClusterID: 224.0.0.1}, labels: {rack: a}}\n"
        "status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}"
    ).nodes
    assert (str(node.address), str(node.address6), node.asn) == ("10.0.0.1/24", "fd00::1/64", 65001)
    assert (str(node.cluster_id), node.labels) == ("224.0.0.1", (("rack", "a"),))


def test_a_kubernetes_node_without_annotations_is_known_by_its_internal_addresses() -> None:
    (node,) = good(
        "apiVersion: v1\nkind: Node\nmetadata: {name: a}\nstatus:\n  addresses:\n"
        "  - {type: ExternalIP, address: 192.0.2.1}\n  - {type: InternalIP, address: 'fd00::1'}\n"
        "  - {type: InternalIP, address: 10.0.0.1}\n  - {type: Hostname, address: a}"
    ).nodes
    assert (str(node.address), str(node.address6)) == ("10.0.0.1/32", "fd00::1/128")


def test_addresses_of_other_nodes_in_a_block_are_borrowed_by_them() -> None:
    allocations = good(
        POOL + MEMBERS + "---\nkind: IPAMBlock\nmetadata: {name: x}\nspec:\n  cidr: 10.244.0.0/26\n"
        "  affinity: host:a\n  allocations: [0, null, 1, 2]\n"
        "  attributes: [{secondary: {node: a}}, {secondary: {node: b}}, {handle_id: windows-reserved}]"
    ).allocations
    a, b = allocations.of("a"), allocations.of("b")
    assert (list(map(str, a.blocks)), list(map(str, a.borrowed))) == (["10.244.0.0/26"], [])
    assert (list(map(str, b.blocks)), list(map(str, b.borrowed))) == ([], ["10.244.0.2/32"])


def test_a_peer_that_is_given_a_node_by_name_finds_it_although_its_host_name_label_differs() -> None:
    intent = good(
        "nodes: {a: {address: 10.0.0.1/24, labels: {kubernetes.io/hostname: ip-10-0-0-1}}, b: {address: 10.0.0.2/24}}\n"
        + PEER
        + "{peerIP: 10.0.0.9, asNumber: 1, node: a}"
    )
    (peer,) = intent.peers
    assert (peer.nodes, peer.node_selector) == (("a",), "kubernetes.io/hostname == 'ip-10-0-0-1'")


def test_a_peer_at_a_nodes_address_is_not_that_nodes_and_uses_the_port_of_the_cluster() -> None:
    (peer,) = good("mesh: false\nlistenPort: 1179\n" + MEMBERS + "peers: {t: {ip: 10.0.0.2, asNumber: 64512}}").peers
    assert (peer.nodes, peer.port) == (("a",), 1179)


def test_a_peer_of_all_nodes_takes_the_place_of_one_of_some_at_the_same_address() -> None:
    every, one = good(
        MEMBERS + "peers: {every: {ip: 10.0.0.9, asNumber: 1}, one: {ip: 10.0.0.9, asNumber: 2, nodes: has(x)}}"
    ).peers
    assert (every.nodes, one.nodes) == (("a", "b"), ())


def test_a_node_without_an_address_of_a_peers_ip_version_does_not_peer() -> None:
    (peer,) = good(
        "nodes: {a: {address: 10.0.0.1/24}, b: {address: 'fd00::1/64'}}\npeers: {t: {ip: 'fd00::9', asNumber: 1}}"
    ).peers
    assert peer.nodes == ("b",)


def test_a_peer_whose_place_is_taken_may_be_one_that_some_node_cannot_reach() -> None:
    every, one = good(
        "nodes: {a: {address: 10.0.0.1/24, labels: {x: ''}}, b: {address: 'fd00::1/64'}}\n"
        "peers: {every: {ip: 'fd00::9', asNumber: 1}, one: {ip: 'fd00::9', asNumber: 2, nodes: has(x)}}"
    ).peers
    assert (every.nodes, one.nodes) == (("b",), ())


def test_the_old_form_of_next_hop_keep_is_understood() -> None:
    (peer,) = good(MEMBERS + PEER + "{peerIP: 10.0.0.9, asNumber: 1, keepOriginalNextHop: true}").peers
    assert peer.next_hop_mode is NextHopMode.KEEP
    assert [remark.rule for remark in good(MEMBERS).remarks] == []


def test_allowed_uses_are_a_set() -> None:
    pool, other = (
        good(f"pools: {{p: {{cidr: 10.244.0.0/16, allowedUses: [{uses}]}}}}").pools[0]
        for uses in ("Tunnel, Workload", "Workload, Tunnel, Tunnel")
    )
    assert pool.allowed_uses == other.allowed_uses == (Use.WORKLOAD, Use.TUNNEL)


def test_every_key_of_felix_that_is_known_has_its_reason() -> None:
    keys = [
        "mtuIfacePattern",
        "deviceRouteProtocol",
        "removeExternalRoutes",
        "healthPort",
        "bpfLogLevel",
        "floatingIPs",
    ]
    spec = ", ".join(f"{key}: 1" for key in keys)
    remarks = good(f"kind: FelixConfiguration\n{DEFAULT}spec: {{{spec}}}").remarks
    assert len(remarks) == len(keys)
    assert all(remark.severity is Severity.INFO for remark in remarks)
    assert all(remark.message.startswith("understood, no effect here: ") for remark in remarks)


def test_a_dump_of_a_cluster_is_understood_as_it_is() -> None:
    intent = texts.load([Path(__file__).parents[2] / "data" / "calico-dump.yaml"])
    assert isinstance(intent, Intent), "\n".join(map(str, intent))
    assert {remark.severity for remark in intent.remarks} == {Severity.INFO}
    (pool,), (control, worker) = intent.pools, intent.nodes
    assert (intent.backend, pool.nat_outgoing) == (Backend.VXLAN, True)
    assert (pool.encapsulation, pool.mode) == (encapsulation.VXLAN, Mode.CROSS_SUBNET)
    assert (str(worker.address), str(intent.tunnel_address(worker, encapsulation.VXLAN, 4))) == (
        "172.18.0.3/16",
        "192.168.110.128",
    )
    assert list(map(str, intent.blocks_of(worker))) == ["192.168.110.128/26"]
    assert list(map(str, intent.allocations.of(control.name).borrowed)) == ["192.168.110.131/32"]


def test_the_example_in_the_documents_is_valid() -> None:
    text = (Path(__file__).parents[3] / "docs" / "cluster-file.md").read_text().split("```yaml\n")[2].split("```")[0]
    rest = "nodes: {b4: {address: 10.1.0.4/24, blocks: [10.244.4.0/26], labels: {reflector: x}}}"
    good(f"{text}---\n{rest}\n")
