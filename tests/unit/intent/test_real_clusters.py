"""
A cluster that exists somewhere loads: what datastores, the operator and newer releases leave in files is no mistake.

Each document is what a user has; what has no effect here is named at its line, and what is a mistake is still one.
"""

from __future__ import annotations

import pytest

from bgpctl.core.cluster.encapsulation import IPIP
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Severity
from bgpctl.core.intent.fields import is_misspelt
from tests.documents import bad, good, seen
from tests.samples import DEFAULT, INSTALLATION, MEMBERS, POOL

CALICO = "apiVersion: projectcalico.org/v3\n"
CROSSING = "pools: {p: {cidr: 10.244.0.0/16, vxlanMode: CrossSubnet}}\n"
VXLAN = "pools: {p: {cidr: 10.244.0.0/16, vxlanMode: Always}}\n"


def affinity(node: str, cidr: str) -> str:
    return f"---\n{CALICO}kind: BlockAffinity\nmetadata: {{name: x}}\nspec: {{cidr: {cidr}, node: {node}}}\n"


def block(owner: str, cidr: str, more: str = "") -> str:
    spec = f"cidr: {cidr}, affinity: 'host:{owner}'{more}"
    return f"---\n{CALICO}kind: IPAMBlock\nmetadata: {{name: x}}\nspec: {{{spec}}}\n"


def recorded(name: str, address: str, more: str = "") -> str:
    return f"---\n{CALICO}kind: Node\nmetadata: {{name: {name}}}\nspec: {{bgp: {{ipv4Address: {address}{more}}}}}\n"


def remarks(intent: Intent, severity: Severity) -> list[str]:
    return [remark.rule for remark in intent.remarks if remark.severity is severity]


# Pools that route nothing --------------------------------------------------------------------------------------


def test_a_disabled_pool_without_blocks_may_cover_the_nodes() -> None:
    text = "pools: {p: {cidr: 172.16.0.0/16}, exempt: {cidr: 10.0.0.0/8, disabled: true}}\n" + MEMBERS
    assert good(text).remarks == ()


def test_a_disabled_pool_without_blocks_may_need_bgp_where_there_is_none() -> None:
    pools = "{p: {cidr: 10.244.0.0/16, vxlanMode: Always}, old: {cidr: 10.245.0.0/16, disabled: true}}"
    assert good(f"calico_backend: vxlan\npools: {pools}\n{MEMBERS}").remarks == ()


def test_a_pool_that_selects_no_node_is_remarked() -> None:
    text = "pools: {p: {cidr: 10.244.0.0/16, nodeSelector: 'name in {''vm1''}'}}\n" + MEMBERS
    assert remarks(good(text), Severity.WARNING) == ["selects-none"]


# Leftovers of a datastore --------------------------------------------------------------------------------------


def test_a_claim_of_a_node_that_is_gone_is_left_out() -> None:
    for left_over in (affinity("gone", "10.244.9.0/26"), block("gone", "10.244.9.0/26")):
        intent = good(POOL + MEMBERS + left_over)
        assert remarks(intent, Severity.WARNING) == ["unknown-node"]
        assert not any(intent.blocks_of(node) for node in intent.nodes)


def test_a_claim_of_a_node_that_is_gone_takes_nothing_from_its_new_owner() -> None:
    intent = good(POOL + MEMBERS + affinity("gone", "10.244.0.0/26") + affinity("a", "10.244.0.0/26"))
    assert [str(own) for own in intent.blocks_of(intent.nodes[0])] == ["10.244.0.0/26"]


def test_an_address_that_a_gone_node_has_of_anothers_block_is_left_out() -> None:
    holder = ", allocations: [0], attributes: [{secondary: {node: gone}}]"
    intent = good(POOL + MEMBERS + block("a", "10.244.0.0/26", holder))
    assert remarks(intent, Severity.WARNING) == ["unknown-node"]


def test_a_block_of_no_pool_is_left_out() -> None:
    intent = good(POOL + MEMBERS + affinity("a", "10.9.0.0/26"))
    assert remarks(intent, Severity.WARNING) == ["block-outside"]


@pytest.mark.parametrize("first", ["a", "b"])
def test_of_two_claims_the_one_counts_that_the_block_names(first: str) -> None:
    second = "ab".replace(first, "")
    claims = affinity(first, "10.244.0.0/26") + affinity(second, "10.244.0.0/26")
    intent = good(POOL + MEMBERS + claims + block("b", "10.244.0.0/26"))
    assert remarks(intent, Severity.WARNING) == ["block-owners"]
    assert [len(intent.blocks_of(node)) for node in intent.nodes] == [0, 1]


def test_two_claims_without_a_block_that_names_the_owner_are_a_mistake() -> None:
    claims = affinity("a", "10.244.0.0/26") + affinity("b", "10.244.0.0/26")
    assert [rule for _, _, rule in seen(bad(POOL + MEMBERS + claims))] == ["block-owners"]


def test_a_tunnel_address_of_a_pool_that_has_another_encapsulation_now_is_left_out() -> None:
    node = recorded("a", "10.0.0.1/24", ", ipv4IPIPTunnelAddr: 10.244.0.1")
    intent = good(VXLAN + node)
    assert remarks(intent, Severity.WARNING) == ["tunnel-outside"]
    assert intent.allocations.of("a").tunnel_address(IPIP, 4) is None


def test_what_a_person_wrote_in_the_short_form_stays_a_mistake() -> None:
    text = VXLAN + "nodes: {a: {address: 10.0.0.1/24, ipipTunnelAddress: 10.244.0.1}}"
    assert [rule for _, _, rule in seen(bad(text))] == ["tunnel-outside"]


# Nodes ---------------------------------------------------------------------------------------------------------


def test_a_node_with_a_tunnel_address_alone_in_spec_bgp_is_known_by_its_internal_address() -> None:
    addresses = "[{type: InternalIP, address: 10.0.0.1}]"
    spec = f"{{addresses: {addresses}, bgp: {{ipv4IPIPTunnelAddr: 10.244.0.1}}}}"
    text = "pools: {p: {cidr: 10.244.0.0/16, ipipMode: Always}}\n---\n"
    (node,) = good(f"{text}{CALICO}kind: Node\nmetadata: {{name: a}}\nspec: {spec}").nodes
    assert str(node.address) == "10.0.0.1/32"


@pytest.mark.parametrize(
    "text",
    [
        CROSSING + "nodes: {a: {address: 10.128.0.5/32}}",
        CROSSING + "nodes: {a: {address: 10.128.0.5}}",
        CROSSING.replace("10.244.0.0/16", "'fd99::/48'") + "nodes: {a: {address: 10.0.0.1/24, address6: 'fd00::1'}}",
        CROSSING + "---\napiVersion: v1\nkind: Node\n"
        "metadata: {name: a}\nstatus: {addresses: [{type: InternalIP, address: 10.0.0.1}]}",
    ],
)
def test_a_node_without_a_mask_is_across_from_everyone(text: str) -> None:
    intent = good(text)
    assert remarks(intent, Severity.WARNING) == ["no-mask"]
    assert "encapsulates to all" in intent.remarks[0].message


# The operator --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["{type: AzureVNET}", "{type: AmazonVPC}", "{type: Calico, ipam: {type: HostLocal}}"])
def test_no_pool_is_made_where_addresses_are_not_calicos(spec: str) -> None:
    assert good(f"{INSTALLATION}{{cni: {spec}}}\n---\n{MEMBERS}").pools == ()


def test_a_pool_of_the_operator_without_a_name_is_the_one_of_its_cidr() -> None:
    wanted = "{cidr: 192.168.0.0/16, encapsulation: VXLANCrossSubnet, natOutgoing: Enabled}"
    made = "{cidr: 192.168.0.0/16, vxlanMode: CrossSubnet, natOutgoing: true, blockSize: 26}"
    for name in ("default-ipv4-ippool", "mine"):
        pool = f"---\n{CALICO}kind: IPPool\nmetadata: {{name: {name}}}\nspec: {made}\n"
        text = f"{INSTALLATION}{{calicoNetwork: {{ipPools: [{wanted}]}}}}\n{pool}"
        assert [found.name for found in good(text).pools] == [name]


@pytest.mark.parametrize("pools", ["", "kind: ippools\napiVersion: projectcalico.org/v3\nmetadata: {name: p}\n---\n"])
def test_a_cluster_without_its_pools_is_a_mistake_and_not_one_without_blocks(pools: str) -> None:
    assert bad(pools + MEMBERS + affinity("a", "10.244.0.0/26"))


def test_two_blocks_with_two_owners_are_a_mistake() -> None:
    text = POOL + MEMBERS + block("a", "10.244.0.0/26") + block("b", "10.244.0.0/26")
    assert [rule for _, _, rule in seen(bad(text))] == ["block-owners"]


@pytest.mark.parametrize("kind", ["ippools", "IPPools", "ippool", "BlockAffinities", "bgppeers", "felixconfigurations"])
def test_a_kind_as_kubectl_names_its_resources_is_a_slip(kind: str) -> None:
    assert [rule for _, _, rule in seen(bad(f"{CALICO}kind: {kind}\n{DEFAULT}"))] == ["unknown-kind"]


# Lists ---------------------------------------------------------------------------------------------------------


def test_a_list_of_resources_need_not_say_that_it_is_one() -> None:
    items = f"- kind: IPPool\n  {DEFAULT}  spec: {{cidr: 10.244.0.0/16}}\n"
    assert len(good(items).pools) == len(good("items:\n" + items).pools) == 1


# Newer releases ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"{CALICO}kind: FelixConfiguration\n{DEFAULT}spec: {{nftablesFlowTableOffload: Enabled}}",
        f"{INSTALLATION}{{imagePullPolicy: Always, calicoNetwork: {{ipPools: []}}}}",
        f"{INSTALLATION}{{calicoNetwork: {{networkPolicy: {{a: b}}, ipPools: []}}}}",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: calico-config}\ndata: {kubernetes_service_host: x}",
        f"{CALICO}kind: IPPool\n{DEFAULT}spec: {{cidr: 10.244.0.0/16, someNewMode: Always}}",
        f"{CALICO}kind: Node\n{DEFAULT}spec: {{bgp: {{ipv4Address: 10.0.0.1/24, ipv9Address: x}}}}",
        f"apiVersion: operator.tigera.io/v1\nkind: GatewayAPI\n{DEFAULT}",
        f"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n{DEFAULT}endpoints: []",
    ],
)
def test_what_is_not_known_in_a_foreign_resource_is_a_note(text: str) -> None:
    assert remarks(good(text), Severity.INFO) == ["not-known"]
    assert remarks(good(text), Severity.WARNING) == []


@pytest.mark.parametrize(
    "text",
    [
        f"{CALICO}kind: IPPool\n{DEFAULT}spec: {{cidr: 10.244.0.0/16, natOutgoin: true}}",
        f"{CALICO}kind: IPPool\n{DEFAULT}spec: {{cidr: 10.244.0.0/16, nat_outgoing_: true}}",
        f"{CALICO}kind: IPPool\n{DEFAULT}spec: {{cidr: 10.244.0.0/16, ipipmode: Always}}",
        f"{CALICO}kind: BGPFilter\n{DEFAULT}spec: {{importV4: [{{action: Accept, someNewMatch: x}}]}}",
        f"{CALICO}kind: BGPPeer\n{DEFAULT}spec: {{peerIP: 10.0.0.9, asNumber: 1, bgpFilters: [deny]}}",
        "pools: {p: {cidr: 10.244.0.0/16, someNewMode: x}}",
        "nodes: {a: {address: 10.0.0.1/24}}\nitems: []",
    ],
)
def test_a_misspelt_key_a_condition_that_is_not_known_and_any_in_the_short_form_are_errors(text: str) -> None:
    assert [rule for _, _, rule in seen(bad(text))] == ["unknown-key"]


@pytest.mark.parametrize(
    ("word", "known", "is_it"),
    [
        ("blocksize", "blockSize", True),
        ("blocksizes", "blockSize", True),
        ("block-size", "blockSize", True),
        ("blockSze", "blockSize", True),
        ("blockSizee", "blockSize", True),
        ("blcokSize", "blockSize", True),
        ("blockZize", "blockSize", True),
        ("bolckZize", "blockSize", False),
        ("ipv4Address", "ipv6Address", False),
        ("vxlanMTUV6", "vxlanMTU", False),
        ("nftablesMarkMask", "iptablesMarkMask", False),
        ("imagePullPolicy", "imagePullSecrets", False),
        ("mtu", "mtp", False),
        ("", "cidr", False),
    ],
)
def test_a_misspelt_word_differs_by_one_slip(word: str, known: str, is_it: bool) -> None:
    assert is_misspelt(word, known) is is_it
    assert is_misspelt(known, word) is is_it


# Quotes --------------------------------------------------------------------------------------------------------


def test_quoted_numbers_and_booleans_are_named_as_such() -> None:
    found = bad(f'{CALICO}kind: IPPool\n{DEFAULT}spec: {{cidr: 10.244.0.0/16, natOutgoing: "true", blockSize: "26"}}')
    assert [problem.message.partition(",")[0] for problem in found] == ['"true" is quoted', '"26" is quoted']
