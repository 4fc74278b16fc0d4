"""The short form, Calico's resources, and both together."""

import pytest

from bgpctl.core.cluster import Backend, Intent, Mode, Node, Peer, Pool, Problem
from bgpctl.core.intent import read
from bgpctl.core.model import Address, Asn, InterfaceAddress, Mac, Prefix, Vni
from bgpctl.store.yaml import documents
from tests.documents import SAMPLE, good

SHORT = """\
calico_backend: bird
asNumber: 1.10
mesh: false
listenPort: 1179
vxlanVNI: 4097
vxlanPort: 8472
pools:
  blue: {cidr: 10.244.0.0/16, encapsulation: IPIPCrossSubnet, natOutgoing: true, disableBGPExport: true}
  tunnels: {cidr: 10.250.0.0/24, encapsulation: VXLAN, blockSize: 32, disabled: true}
  six: {cidr: 'fd00:244::/48', vxlanMode: Always}
nodes:
  b1:
    address: 10.1.0.4/24
    blocks: [10.244.4.64/26, 10.244.4.0/26, 'fd00:244::/122']
  a1:
    address: 10.0.0.1/24
    asNumber: 65010
    labels: {rack: a}
    blocks: [10.244.1.0/26]
    ipipTunnelAddress: 10.244.1.1
    vxlanTunnelAddress: 10.250.0.1
    vxlanTunnelMACAddress: 66:F9:37:C3:7E:94
peers:
  tor: {ip: 10.0.0.254, asNumber: 65001, port: 1790, nodes: "rack == 'a'"}
  all: {ip: 10.9.0.1, asNumber: 65002}
"""

CALICO = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: calico-config, namespace: kube-system}
data: {calico_backend: bird, veth_mtu: "0"}
---
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: {name: default}
spec: {asNumber: 65546, nodeToNodeMeshEnabled: false, listenPort: 1179, logSeverityScreen: Info}
---
apiVersion: crd.projectcalico.org/v1
kind: FelixConfiguration
metadata: {name: default}
spec: {vxlanVNI: 4097, vxlanPort: 8472}
---
apiVersion: projectcalico.org/v3
kind: IPPoolList
metadata: {resourceVersion: "12"}
items:
- apiVersion: projectcalico.org/v3
  kind: IPPool
  metadata: {name: blue, creationTimestamp: 2026-01-01T00:00:00Z, uid: 6b1c}
  spec:
    cidr: 10.244.0.0/16
    ipipMode: CrossSubnet
    vxlanMode: Never
    natOutgoing: true
    disableBGPExport: true
    nodeSelector: all()
    allowedUses: [Workload, Tunnel]
    assignmentMode: Automatic
  status: {conditions: []}
- kind: IPPool
  metadata: {name: tunnels}
  spec: {cidr: 10.250.0.0/24, vxlanMode: Always, blockSize: 32, disabled: true}
- {kind: IPPool, metadata: {name: six}, spec: {cidr: 'fd00:244::/48', vxlanMode: Always, blockSize: 0}}
---
kind: List
apiVersion: v1
items:
- apiVersion: projectcalico.org/v3
  kind: Node
  metadata: {name: a1, labels: {rack: a}}
  spec:
    addresses: [{address: 10.0.0.1/24}]
    bgp: {ipv4Address: 10.0.0.1/24, asNumber: 65010, ipv4IPIPTunnelAddr: 10.244.1.1}
    ipv4VXLANTunnelAddr: 10.250.0.1
    vxlanTunnelMACAddr: 66:f9:37:c3:7e:94
- {kind: Node, metadata: {name: b1}, spec: {bgp: {ipv4Address: 10.1.0.4/24}}}
- {kind: BlockAffinity, metadata: {name: b1-10-244-4-64-26}, spec: {node: b1, cidr: 10.244.4.64/26, deleted: "false"}}
- {kind: BlockAffinity, metadata: {name: b1-10-244-4-0-26}, spec: {node: b1, cidr: 10.244.4.0/26, state: confirmed}}
- {kind: BlockAffinity, metadata: {name: b1-six}, spec: {node: b1, cidr: 'fd00:244::/122', type: host}}
- {kind: BlockAffinity, metadata: {name: a1-10-244-1-0-26}, spec: {node: a1, cidr: 10.244.1.0/26}}
- {kind: BlockAffinity, metadata: {name: a1-going}, spec: {node: a1, cidr: 10.244.9.0/26, state: pendingDeletion}}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: tor}
spec: {peerIP: "10.0.0.254:1790", asNumber: 65001, nodeSelector: rack == 'a', sourceAddress: UseNodeIP}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: all}
spec: {peerIP: 10.9.0.1, asNumber: 65002, filters: []}
"""


def test_the_sample_loads() -> None:
    intent = good(SAMPLE)
    assert intent == Intent(
        backend=Backend.BIRD,
        asn=Asn(64512),
        pools=(Pool("blue", Prefix.parse("10.244.0.0/16"), ipip_mode=Mode.CROSS_SUBNET, nat_outgoing=True),),
        nodes=(
            Node(
                "a1",
                InterfaceAddress.parse("10.0.0.1/24"),
                (Prefix.parse("10.244.1.0/26"),),
                labels=(("rack", "a"),),
            ),
            Node(
                "b1",
                InterfaceAddress.parse("10.1.0.4/24"),
                (Prefix.parse("10.244.4.0/26"),),
                labels=(("rack", "b"),),
            ),
        ),
        peers=(Peer("tor-a", Address.parse("10.0.0.254"), Asn(65001), ("a1",), 179, "secrets/tor-a"),),
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
    assert (blue.disable_bgp_export, tunnels.disabled, six.vxlan_mode) == (True, True, Mode.ALWAYS)
    a1, b1 = intent.nodes
    assert (a1.asn, a1.vxlan_mac) == (65010, Mac("66:f9:37:c3:7e:94"))
    assert (str(a1.ipip_address), str(a1.vxlan_address)) == ("10.244.1.1", "10.250.0.1")
    assert list(map(str, b1.blocks)) == ["10.244.4.0/26", "10.244.4.64/26", "fd00:244::/122"]
    every, tor = intent.peers
    assert (every.nodes, tor.nodes, tor.port) == (("a1", "b1"), ("a1",), 1790)


@pytest.mark.parametrize(
    ("encapsulation", "ipip", "vxlan"),
    [
        ("IPIP", Mode.ALWAYS, Mode.NEVER),
        ("IPIPCrossSubnet", Mode.CROSS_SUBNET, Mode.NEVER),
        ("VXLAN", Mode.NEVER, Mode.ALWAYS),
        ("VXLANCrossSubnet", Mode.NEVER, Mode.CROSS_SUBNET),
        ("None", Mode.NEVER, Mode.NEVER),
    ],
)
def test_an_encapsulation_is_a_pair_of_modes(encapsulation: str, ipip: Mode, vxlan: Mode) -> None:
    (pool,) = good(f"pools: {{p: {{cidr: 10.244.0.0/16, encapsulation: {encapsulation}}}}}").pools
    assert (pool.ipip_mode, pool.vxlan_mode) == (ipip, vxlan)


def test_both_forms_in_several_files_make_one_cluster() -> None:
    pool = "{kind: IPPool, metadata: {name: p}, spec: {cidr: 10.244.0.0/16}}"
    block = "{kind: BlockAffinity, metadata: {name: x}, spec: {node: a, cidr: 10.244.0.0/26}}"
    one = documents(f"nodes: {{a: {{address: 10.0.0.1/24}}}}\n---\n{pool}", "one.yaml")
    two = documents(block, "two.yaml")
    intent = read([*two, *one])
    assert isinstance(intent, Intent)
    assert intent.nodes[0].blocks == (Prefix.parse("10.244.0.0/26"),)


def test_a_lab_file_is_a_cluster_file() -> None:
    lab = "name: x\ndescription: y\nsegments: {s: 10.0.0.0/24}\nrouters: {}\nworkloads: {w: {node: a1}}\nchecks: {}\n"
    assert good(SAMPLE + lab) == good(SAMPLE)


@pytest.mark.parametrize(
    ("given", "path"), [("secrets/tor-a", "/etc/bgpctl/secrets/tor-a"), ("/run/tor-a", "/run/tor-a")]
)
def test_a_password_file_is_looked_for_beside_the_file_that_names_it(given: str, path: str) -> None:
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
