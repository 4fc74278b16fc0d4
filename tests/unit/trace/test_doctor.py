"""Each check of the doctor over facts that make it pass, warn or fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bgpctl.core.cluster.allocations import Allocations
from bgpctl.core.cluster.configuration import Backend
from bgpctl.core.cluster.encapsulation import DIRECT, IPIP, VXLAN, Encapsulation, Mode
from bgpctl.core.fabric import ipip, vxlan
from bgpctl.core.fabric.host import Facts, Needs, Verdict
from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.fabric.vxlan import Vxlan
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix, Vni
from bgpctl.core.net.objects import Link, LinkAddress, Plain, Route
from bgpctl.core.trace.doctor import checks, examine, needs_of
from bgpctl.core.trace.netfilter import Chain, Condition, Field, Numbers, Rule
from bgpctl.core.trace.netfilter import Verdict as Fate
from tests.cluster import bare_kernel, member, two_racks

INTENT = two_racks(ipip=Mode.CROSS_SUBNET)
NODE = member(INTENT, "a1")
REMOTES = tuple(node.address.address for node in INTENT.nodes if node != NODE)
NEEDS = Needs(node=NODE, remotes=REMOTES)
KERNEL = bare_kernel(NODE)
FINE = Facts("6.1", sysctls={"net/ipv4/ip_forward": "1"}, dataplane=KERNEL)
PASS, WARN, FAIL = Verdict.PASS, Verdict.WARN, Verdict.FAIL


def with_links(*links: Link, routes: frozenset[Route] = frozenset()) -> Facts:
    plane = KERNEL.put((*links, *routes))
    return replace(FINE, dataplane=plane)


def without_module(*, bpf_missing: str | None = None, tcx: bool = True) -> dict[str, object]:
    return {"ipip": ipip.HostFacts(module=False, bpf_missing=bpf_missing, tcx=tcx)}


def sysctls(**values: str) -> Facts:
    names = {"all": "net/ipv4/conf/all/rp_filter", "eth0": "net/ipv4/conf/eth0/rp_filter"}
    names |= {"tunl0": "net/ipv4/conf/tunl0/rp_filter", "forward": "net/ipv4/ip_forward"}
    tunnel = with_links(Link("tunl0", Ipip("bpf"), 1480)).dataplane
    return replace(FINE, dataplane=tunnel, sysctls={names[name]: value for name, value in values.items()})


def foreign_vxlan(vni: int, port: int) -> Link:
    return Link("flannel.1", Vxlan(Vni(vni), port, NODE.address.address, "eth0"), 1450, owned=False)


BY_BPF = with_links(Link("tunl0", Ipip("bpf"), 1480))
NARROW = frozenset({Route(Prefix.parse("10.1.0.0/24"), link="eth1", protocol=4)})
ETH1 = Link("eth1", Plain(""), 1400, owned=False)


@pytest.mark.parametrize(
    ("check", "facts", "verdicts"),
    [
        ("privilege", FINE, [PASS]),
        ("privilege", replace(FINE, privileged=False), [FAIL]),
        ("next-hop objects", FINE, [PASS]),
        ("next-hop objects", replace(FINE, next_hop_objects=False), [WARN]),
        ("vxlan", FINE, [PASS]),
        ("vxlan", replace(FINE, tunnels={"vxlan": vxlan.HostFacts(devices=False)}), [FAIL]),
        ("ipip", FINE, [PASS]),
        ("ipip", replace(FINE, tunnels=without_module()), [PASS]),
        ("ipip", replace(FINE, tunnels=without_module(bpf_missing="CAP_BPF")), [FAIL]),
        ("ipip", replace(FINE, tunnels=without_module(tcx=False)), [WARN]),
        ("ipip", replace(BY_BPF, tunnels=without_module(tcx=False)), [PASS]),
        ("nftables", FINE, [PASS]),
        ("nftables", replace(FINE, nftables_missing="no nft"), [FAIL]),
        ("namespaces", FINE, [PASS]),
        ("namespaces", replace(FINE, namespaces=False), [WARN]),
        ("ip_forward", FINE, [PASS]),
        ("ip_forward", sysctls(forward="0"), [WARN]),
        ("ip_forward", replace(sysctls(forward="0"), agent=True), [FAIL]),
        ("rp_filter", sysctls(all="0", eth0="2", tunl0="2"), [PASS]),
        ("rp_filter", sysctls(all="0", eth0="1", tunl0="2"), [WARN]),
        ("rp_filter", sysctls(all="1", eth0="2", tunl0="2"), [PASS]),
        ("rp_filter", sysctls(all="1", eth0="0", tunl0="2"), [WARN]),
        ("rp_filter", sysctls(all="1", eth0="0", tunl0="0"), [WARN, FAIL]),
        ("underlay", FINE, [PASS]),
        ("underlay", Facts("6.1"), [FAIL]),
        ("mtu", FINE, [PASS]),
        ("mtu", with_links(Link("tunl0", Ipip(), 1480)), [PASS]),
        ("mtu", with_links(Link("tunl0", Ipip(), 1490)), [FAIL]),
        ("mtu", with_links(Link("tunl0", Ipip(), 1480), ETH1, routes=NARROW), [FAIL]),
        ("mtu", with_links(Link("tunl0", Ipip(), 1380), ETH1, routes=NARROW), [PASS]),
        ("bgp port", FINE, [PASS]),
        ("bgp port", replace(FINE, listening=frozenset({179})), [FAIL]),
        ("bgp port", replace(FINE, listening=frozenset({179}), speakers=(7,)), [WARN]),
        ("bgp port", replace(FINE, listening=frozenset({179}), speakers=(7,), agent=True), [PASS]),
        ("bgp port", replace(FINE, listening=frozenset({179}), speakers=(7, 8), agent=True), [FAIL]),
        ("bgp port", replace(FINE, listening=frozenset({179}), agent=True), [PASS]),
        ("vxlan port", FINE, [PASS]),
        ("vxlan port", with_links(foreign_vxlan(4096, 4789)), [FAIL]),
        ("vxlan port", with_links(foreign_vxlan(1, 4789)), [PASS]),
        ("vxlan port", replace(FINE, bound=frozenset({4789})), [FAIL]),
        ("vxlan port", replace(with_links(foreign_vxlan(1, 4789)), bound=frozenset({4789})), [PASS]),
        ("firewall", FINE, [PASS]),
    ],
)
def test_a_check_explains_the_facts(check: str, facts: Facts, verdicts: list[Verdict]) -> None:
    found = [finding for finding in examine(facts, NEEDS) if finding.check == check]
    assert [finding.verdict for finding in found] == verdicts
    assert all(bool(finding.next) is (finding.verdict is not PASS) for finding in found)


def on_link(address: str, file: str) -> tuple[Facts, Needs]:
    """The link has this address, and the cluster file that one."""
    own = InterfaceAddress.parse(file)
    plane = replace(KERNEL, addresses=frozenset({LinkAddress("eth0", InterfaceAddress.parse(address))}))
    return replace(FINE, dataplane=plane), replace(NEEDS, node=replace(NODE, address=own))


@pytest.mark.parametrize(
    ("address", "file", "verdict", "text"),
    [
        ("10.0.0.1/24", "10.0.0.1/24", PASS, "10.0.0.1 is on eth0"),
        (
            "10.0.0.1/32",
            "10.0.0.1/24",
            FAIL,
            "eth0 has 10.0.0.1/32, and the cluster file says 10.0.0.1/24: 10.0.0.2 is",
        ),
        ("10.0.0.1/25", "10.0.0.1/24", WARN, "eth0 has 10.0.0.1/25, and the cluster file says 10.0.0.1/24"),
        ("10.0.0.1/24", "10.0.0.1/15", FAIL, "10.1.0.3 is taken for a neighbour, and is none"),
        ("10.0.0.1/15", "10.0.0.1/24", WARN, "eth0 has 10.0.0.1/15, and the cluster file says 10.0.0.1/24"),
    ],
)
def test_the_mask_of_the_file_is_that_of_the_link(address: str, file: str, verdict: Verdict, text: str) -> None:
    (found,) = (item for item in examine(*on_link(address, file)) if item.check == "underlay")
    assert (found.verdict, text in found.message) == (verdict, True), found


def test_a_neighbour_that_does_not_answer_is_named_with_the_mask() -> None:
    facts, needs = on_link("10.0.0.1/15", "10.0.0.1/15")
    silent = frozenset({("eth0", Address.parse("10.1.0.3")), ("eth0", Address.parse("10.0.0.77"))})
    (found,) = (item for item in examine(replace(facts, silent=silent), needs) if item.check == "underlay")
    assert "no neighbour answers on eth0 for 10.1.0.3: it is down, or the mask of 10.0.0.1/15" in found.message
    assert (found.verdict, found.next) == (FAIL, "ip neighbour show 10.1.0.3 dev eth0")


@pytest.mark.parametrize(("has_block", "verdicts"), [(False, [FAIL]), (True, [WARN])])
def test_a_strict_filter_drops_answers_to_a_node_without_a_tunnel_address(
    has_block: bool, verdicts: list[Verdict]
) -> None:
    others = {name: item for name, item in INTENT.allocations.by_node.items() if name != "a1"}
    needs = needs_of(INTENT if has_block else replace(INTENT, allocations=Allocations(others)), NODE)
    found = [item for item in examine(sysctls(all="0", eth0="1", tunl0="2"), needs) if item.check == "rp_filter"]
    assert [item.verdict for item in found] == verdicts
    assert all("answers of workloads to it are dropped" in item.message for item in found) is not has_block


def test_the_agents_knowledge_of_members_is_shown() -> None:
    said = ("no probe reply from b1 by tunl0 (IP protocol 4)", "check `ping 10.1.0.3`", True)
    facts = replace(FINE, agent=True, members=(said, ("b2: unproven", "bgpctl show nodes", False)))
    found = [item[1:] for item in examine(facts, NEEDS) if item.check == "members"]
    assert found == [(FAIL, *said[:2]), (WARN, "b2: unproven", "bgpctl show nodes")]


def test_rules_of_the_former_iptables_are_named() -> None:
    (found, _) = (item for item in examine(replace(FINE, legacy=("filter",)), NEEDS) if item.check == "firewall")
    assert (found.verdict, found.next) == (WARN, "iptables-legacy -t filter -S")


POOL = Condition(Field.SOURCE, (Prefix.parse("10.244.0.0/16"),), version=4)
OUTSIDE = Condition(Field.SOURCE, (Prefix.parse("172.17.0.0/16"),), version=4)
BGP = (Condition(Field.PROTOCOL, (Numbers(6, 6),)), Condition(Field.DESTINATION_PORT, (Numbers(179, 179),)))
FORWARD = Chain("ip", "filter", "FORWARD", "filter", "forward", 0)
INPUT = Chain("inet", "ufw", "input", "filter", "input", 0)


@pytest.mark.parametrize(
    ("chain", "verdict", "text"),
    [
        (FORWARD, PASS, "no chain ends packets"),
        # Docker's policy, and with a rule for the pool.
        (FORWARD._replace(policy=Fate.DROP), FAIL, "ip filter FORWARD (forward) has a drop for packets of workloads"),
        (FORWARD._replace(policy=Fate.DROP, rules=(Rule(7, (POOL,), Fate.ACCEPT),)), PASS, "no chain ends packets"),
        # firewalld's last rule, whatever the policy.
        (
            FORWARD._replace(rules=(Rule(9, (), Fate.REJECT),)),
            FAIL,
            "has a reject for packets of workloads: rule handle 9",
        ),
        (
            FORWARD._replace(rules=(Rule(9, (Condition(Field.OTHER),), Fate.DROP),)),
            WARN,
            "may end packets of workloads",
        ),
        (
            FORWARD._replace(type="nat", hook="postrouting", rules=(Rule(4, (POOL,), Fate.MASQUERADE),)),
            FAIL,
            "has a masquerade for packets of workloads: rule handle 4",
        ),
        (
            FORWARD._replace(type="nat", hook="postrouting", rules=(Rule(4, (OUTSIDE,), Fate.MASQUERADE),)),
            PASS,
            "or translates those of workloads",
        ),
        (INPUT._replace(policy=Fate.DROP), FAIL, "inet ufw input (input) has a drop for TCP port 179: its policy"),
        (INPUT._replace(policy=Fate.DROP, rules=(Rule(3, BGP, Fate.ACCEPT),)), PASS, "no chain ends packets"),
        (INPUT._replace(hook="output", rules=(Rule(3, BGP, Fate.DROP),)), FAIL, "has a drop for TCP port 179"),
    ],
)
def test_packets_are_followed_through_the_chains_of_others(chain: Chain, verdict: Verdict, text: str) -> None:
    facts = replace(FINE, chains=(chain,))
    (found,) = (item for item in examine(facts, needs_of(INTENT, NODE)) if item.check == "firewall")
    assert (found.verdict, text in found.message) == (verdict, True), found
    assert bool(found.next) is (verdict is not PASS)


def test_the_port_of_vxlan_is_a_tunnels() -> None:
    intent = two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN)
    facts = replace(FINE, chains=(INPUT._replace(policy=Fate.DROP),))
    (found,) = (item for item in examine(facts, needs_of(intent, member(intent, "a1"))) if item.check == "firewall")
    assert "has a drop for UDP port 4789: its policy" in found.message


def test_without_a_cluster_file_a_policy_is_a_warning() -> None:
    facts = replace(FINE, chains=(INPUT._replace(policy=Fate.DROP),))
    (found,) = (item for item in examine(facts, Needs()) if item.check == "firewall")
    assert (found.verdict, "drops by default" in found.message) == (WARN, True)


@pytest.mark.parametrize(
    ("tunnels", "masquerade", "verdicts"),
    [
        ({VXLAN}, False, [FAIL]),
        ({IPIP}, False, [FAIL]),
        ({DIRECT}, True, [FAIL]),
        ({DIRECT}, False, []),
    ],
)
def test_every_tunnel_needs_nftables(tunnels: set[Encapsulation], masquerade: bool, verdicts: list[Verdict]) -> None:
    facts = replace(FINE, tunnels=without_module(), nftables_missing="no nft")
    needs = replace(NEEDS, tunnels=frozenset(tunnels), masquerade=masquerade)
    assert [finding.verdict for finding in examine(facts, needs) if finding.check == "nftables"] == verdicts


def test_every_check_reports_something_about_a_node() -> None:
    needs = replace(NEEDS, masquerade=True, intent=replace(NEEDS.intent, channel_port=9179))
    assert {finding.check for finding in examine(FINE, needs)} == set(checks(needs))


@pytest.mark.parametrize(
    ("masquerade", "password", "verdicts"), [(False, None, []), (True, None, [WARN]), (True, "secrets/mesh", [PASS])]
)
def test_a_mesh_beside_nat_outgoing_is_to_have_a_password(
    masquerade: bool, password: str | None, verdicts: list[Verdict]
) -> None:
    needs = replace(NEEDS, masquerade=masquerade, intent=replace(NEEDS.intent, mesh_password_file=password))
    assert [finding.verdict for finding in examine(FINE, needs) if finding.check == "bgp password"] == verdicts


def test_only_requirements_of_the_cluster_file_are_needed() -> None:
    needs = needs_of(two_racks(vxlan=Mode.ALWAYS, backend=Backend.VXLAN), NODE)
    worse = replace(FINE, tunnels=without_module(bpf_missing="CAP_BPF"), listening=frozenset({179}))
    assert FAIL not in {finding.verdict for finding in examine(worse, needs)}
    assert Address.parse("10.1.0.3") in needs.remotes


def test_a_module_that_has_come_is_not_used_unasked() -> None:
    (found,) = (finding for finding in examine(BY_BPF, NEEDS) if finding.check == "ipip")
    assert "--ipip-driver kernel" in found.message


def test_without_a_cluster_file_the_underlay_is_not_judged() -> None:
    found = {finding.check for finding in examine(FINE, Needs())}
    assert found == set(checks(Needs())) - {
        "underlay",
        "members",
        "mtu",
        "rp_filter",
        "routes",
        "bgp password",
        "channel keys",
    }


@pytest.mark.parametrize(
    ("facts", "verdict", "words"),
    [
        ({"keys_days": 100.0}, PASS, "valid for 100 days"),
        ({"keys_days": 29.0}, WARN, "ends in 29 days"),
        ({"keys_unusable": "there are no keys in /etc/bgpctl/keys"}, FAIL, "there are no keys"),
    ],
)
def test_keys_of_the_channel_are_examined_where_it_is_used(facts: dict[str, Any], verdict: Verdict, words: str) -> None:
    needs = replace(NEEDS, intent=replace(NEEDS.intent, channel_port=9179))
    (found,) = (item for item in examine(replace(FINE, **facts), needs) if item.check == "channel keys")
    assert found.verdict is verdict
    assert words in found.message
    assert bool(found.next) == (verdict is not PASS)
    assert not [item for item in examine(replace(FINE, **facts), NEEDS) if item.check == "channel keys"]
