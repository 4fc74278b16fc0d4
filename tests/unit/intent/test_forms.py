"""The short form, Calico's resources, and both together."""

import pytest

from bgpctl.core.cluster.configuration import (
    Advertisement,
    Backend,
    Bfd,
    FilterRule,
    MatchOperator,
    NextHopMode,
    Node,
    Peer,
    Pool,
    Role,
    Use,
)
from bgpctl.core.cluster.encapsulation import DIRECT, IPIP, VXLAN, Encapsulation, Mode
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import (
    Problem,
)
from bgpctl.core.intent import read
from bgpctl.core.net.addresses import Address, Asn, InterfaceAddress, Prefix, Vni
from bgpctl.store.yaml import documents
from tests.cluster import blocks
from tests.documents import SAMPLE, good
from tests.samples import CALICO, SHORT


def test_the_sample_loads() -> None:
    intent = good(SAMPLE)
    assert intent == Intent(
        backend=Backend.BIRD,
        asn=Asn(64512),
        pools=(Pool("blue", Prefix.parse("10.244.0.0/16"), IPIP, Mode.CROSS_SUBNET, nat_outgoing=True),),
        nodes=(
            Node(
                "a1",
                InterfaceAddress.parse("10.0.0.1/24"),
                labels=(("rack", "a"),),
            ),
            Node(
                "b1",
                InterfaceAddress.parse("10.1.0.4/24"),
                labels=(("rack", "b"),),
            ),
        ),
        peers=(
            Peer(
                "tor-a",
                Address.parse("10.0.0.254"),
                Asn(65001),
                ("a1",),
                179,
                "secrets/tor-a",
                node_selector="rack == 'a'",
            ),
        ),
        allocations=blocks(a1=["10.244.1.0/26"], b1=["10.244.4.0/26"]),
    )
    places = [*(p.place for p in intent.pools), *(n.place for n in intent.nodes), *(p.place for p in intent.peers)]
    assert list(map(str, places)) == ["c.yaml:4:3", "c.yaml:6:3", "c.yaml:7:3", "c.yaml:10:3"]


def test_the_short_form_and_calicos_form_of_one_cluster_give_equal_intents() -> None:
    assert good(SHORT) == good(CALICO)


def test_every_value_of_the_short_form_arrives() -> None:
    intent = good(SHORT)
    assert (intent.asn, intent.mesh, intent.listen_port) == (Asn(65546), False, 1179)
    assert (intent.vxlan_vni, intent.vxlan_port) == (Vni(4097), 8472)
    blue, six, tunnels = intent.pools
    assert (blue.block_size, six.block_size, tunnels.block_size) == (26, 122, 32)
    assert (blue.disable_bgp_export, tunnels.disabled, six.encapsulation, six.mode) == (True, True, VXLAN, Mode.ALWAYS)
    a1, b1 = intent.nodes
    assert a1.asn == 65010
    given = intent.allocations.of("a1")
    assert {(end.encapsulation, str(end.address)) for end in given.tunnel_addresses} == {
        (IPIP, "10.244.1.1"),
        (VXLAN, "10.250.0.1"),
        (VXLAN, "fd00:244::ff"),
    }
    assert given.vtep_macs == {(4, "66:f9:37:c3:7e:94"), (6, "66:f9:37:c3:7e:95")}
    assert list(map(str, intent.blocks_of(b1))) == ["10.244.4.0/26", "10.244.4.64/26", "fd00:244::/122"]
    assert (str(a1.address6), str(a1.cluster_id)) == ("fd00::1/64", "224.0.0.1")
    assert list(map(str, given.borrowed)) == ["10.244.4.7/32", "10.244.4.9/32"]
    assert (tunnels.allowed_uses, tunnels.node_selector) == ((Use.TUNNEL,), "rack == 'a'")
    assert (intent.ipip_mtu, intent.vxlan_mtu, intent.vxlan_mtu6, intent.workload_mtu) == (1400, 1380, 1360, 1350)
    assert intent.advertisements == (Advertisement(Prefix.parse("10.244.0.0/16"), ((65000, 7), (65000, 8))),)


def test_every_value_of_a_peer_arrives() -> None:
    every, reflectors, tor = good(SHORT).peers
    assert every == Peer(
        "all",
        Address.parse("fd00::99"),
        Asn(65002),
        ("a1", "b1"),
        local_asn=Asn(65009),
        next_hop_mode=NextHopMode.SELF,
        restart_time_s=120,
        hold_time_s=30,
        keepalive_s=10,
        allowed_own_as=2,
        ttl_security=1,
        reachable_by=Address.parse("fd00::98"),
        filters=("own",),
        from_node_address=False,
        route_server=True,
        local_role=Role.RS_CLIENT,
        strict_role=True,
    )
    assert reflectors == Peer(
        "reflectors",
        None,
        None,
        ("a1",),
        port=1179,
        node_selector="!has(reflector)",
        remotes=("b1",),
        peer_selector="has(reflector)",
        reverse=False,
        bfd=Bfd(1000, 50, 5, multihop=True),
    )
    assert (tor.nodes, tor.port) == (("a1",), 1790)


def test_every_value_of_a_filter_arrives() -> None:
    (own,) = good(SHORT).filters
    assert own.import4 == (
        FilterRule(False, Prefix.parse("10.0.0.0/8"), MatchOperator.IN, (16, 24), from_peers=True),
        FilterRule(
            accept=True,
            interface="eth*",
            external=True,
            community=(65000, 1),
            as_path=(Asn(65001),),
            priority=512,
            add_communities=((65000, 1, 2),),
            prepend=(Asn(65005), Asn(65003), Asn(65004)),
            set_priority=100,
        ),
    )
    assert own.export6 == (FilterRule(True, Prefix.parse("fd00::/8"), MatchOperator.NOT_IN),)


@pytest.mark.parametrize(
    ("word", "encapsulation", "mode"),
    [
        ("IPIP", IPIP, Mode.ALWAYS),
        ("IPIPCrossSubnet", IPIP, Mode.CROSS_SUBNET),
        ("VXLAN", VXLAN, Mode.ALWAYS),
        ("VXLANCrossSubnet", VXLAN, Mode.CROSS_SUBNET),
        ("None", DIRECT, Mode.NEVER),
    ],
)
def test_an_encapsulation_is_given_by_one_value_or_by_a_pair_of_modes(
    word: str, encapsulation: Encapsulation, mode: Mode
) -> None:
    ipip, vxlan = (mode if encapsulation == item else Mode.NEVER for item in (IPIP, VXLAN))
    pair = f"ipipMode: {ipip.value}, vxlanMode: {vxlan.value}"
    for given in (f"encapsulation: {word}", pair):
        (pool,) = good(f"pools: {{p: {{cidr: 10.244.0.0/16, {given}}}}}").pools
        assert (pool.encapsulation, pool.mode) == (encapsulation, mode)


def test_both_forms_in_several_files_make_one_cluster() -> None:
    pool = "{kind: IPPool, metadata: {name: p}, spec: {cidr: 10.244.0.0/16}}"
    block = "{kind: BlockAffinity, metadata: {name: x}, spec: {node: a, cidr: 10.244.0.0/26}}"
    one = documents(f"nodes: {{a: {{address: 10.0.0.1/24}}}}\n---\n{pool}", "one.yaml")
    two = documents(block, "two.yaml")
    intent = read([*two, *one])
    assert isinstance(intent, Intent)
    assert intent.allocations.of("a").blocks == (Prefix.parse("10.244.0.0/26"),)


def test_a_lab_file_is_a_cluster_file() -> None:
    lab = "name: x\ndescription: y\nsegments: {s: 10.0.0.0/24}\nrouters: {}\nworkloads: {w: {node: a1}}\nchecks: {}\n"
    assert good(SAMPLE + lab) == good(SAMPLE)


@pytest.mark.parametrize(
    ("given", "path"), [("secrets/tor-a", "/etc/bgpctl/secrets/tor-a"), ("/run/tor-a", "/run/tor-a")]
)
def test_a_password_file_is_relative_to_the_file_that_names_it(given: str, path: str) -> None:
    intent = read(documents(SAMPLE.replace("secrets/tor-a", given), "/etc/bgpctl/cluster.yaml"))
    assert isinstance(intent, Intent)
    assert [peer.password_file for peer in intent.peers] == [path]


def test_a_peer_can_be_given_to_one_node_by_its_host_name_label() -> None:
    selector = "kubernetes.io/hostname == 'b1'"
    assert good(SAMPLE.replace("rack == 'a'", selector)).peers[0].nodes == ("b1",)


def test_a_cluster_without_pools_and_peers_is_legal() -> None:
    assert good("nodes: {a: {address: 10.0.0.1/24}}").pools == ()


def test_problems_are_values_that_equal_those_of_the_same_text() -> None:
    first, second = (read(documents("mesh: 5\npool: 1", "c.yaml")) for _ in range(2))
    assert isinstance(first, tuple)
    assert first == second
    assert all(isinstance(problem, Problem) for problem in first)
