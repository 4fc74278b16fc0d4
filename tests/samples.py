"""Valid cluster files: both forms with everything, and those that tell strictness from correctness."""

from __future__ import annotations

SHORT = """\
calico_backend: bird
asNumber: 1.10
mesh: false
listenPort: 1179
vxlanVNI: 4097
vxlanPort: 8472
pools:
  blue: {cidr: 10.244.0.0/16, encapsulation: IPIPCrossSubnet, natOutgoing: true, disableBGPExport: true}
  tunnels: {cidr: 10.250.0.0/24, encapsulation: VXLAN, blockSize: 32, disabled: true, allowedUses: [Tunnel],
    nodeSelector: rack == 'a'}
  six: {cidr: 'fd00:244::/48', vxlanMode: Always}
nodes:
  b1:
    address: 10.1.0.4/24
    address6: fd01::4/64
    labels: {reflector: ""}
    blocks: [10.244.4.64/26, 10.244.4.0/26, 'fd00:244::/122']
  a1:
    address: 10.0.0.1/24
    asNumber: 65010
    labels: {rack: a}
    blocks: [10.244.1.0/26]
    ipipTunnelAddress: 10.244.1.1
    vxlanTunnelAddress: 10.250.0.1
    vxlanTunnelMACAddress: 66:F9:37:C3:7E:94
    address6: fd00::1/64
    clusterID: 224.0.0.1
    borrowed: [10.244.4.7, 10.244.4.9/32]
    vxlanTunnelAddressV6: fd00:244::ff
    vxlanTunnelMACAddressV6: 66:f9:37:c3:7e:95
peers:
  tor: {ip: 10.0.0.254, asNumber: 65001, port: 1790, nodes: "rack == 'a'"}
  all: {ip: 'fd00::99', asNumber: 65002, filters: [own], nextHopMode: Self, maxRestartTime: 2m, holdTime: 30s,
    keepaliveTime: 10s, numAllowedLocalASNumbers: 2, ttlSecurity: 1, reachableBy: 'fd00::98', localASNumber: 65009,
    sourceAddress: None, routeServer: true, localRole: rs-client, strictRole: true}
  reflectors: {peerSelector: has(reflector), nodes: "!has(reflector)", reversePeering: Manual,
    bfd: {minimumSendInterval: 1s, minimumRecvInterval: 50ms, multiplier: 5, multihop: true}}
filters:
  own:
    importV4:
      - {action: Reject, cidr: 10.0.0.0/8, matchOperator: In, prefixLength: {min: 16, max: 24}, source: RemotePeers}
      - {action: Accept, interface: "eth*", peerType: eBGP, communities: {values: ["65000:1"]}, asPathPrefix: [65001],
         priority: 512, operations: [{addCommunity: {value: "65000:1:2"}}, {prependASPath: {prefix: [65003, 65004]}},
           {prependASPath: {prefix: [65005]}}, {setPriority: {value: 100}}]}
    exportV6: [{action: Accept, cidr: 'fd00::/8', matchOperator: NotIn}]
communities: [{name: blue, value: "65000:7"}]
prefixAdvertisements: [{cidr: 10.244.0.0/16, communities: [blue, "65000:8"]}]
ipipMTU: 1400
vxlanMTU: 1380
vxlanMTUV6: 1360
mtu: 1350
"""
CALICO = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: calico-config, namespace: kube-system}
data: {calico_backend: bird, veth_mtu: "1350"}
---
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: {name: default}
spec:
  {asNumber: 65546, nodeToNodeMeshEnabled: false, listenPort: 1179, logSeverityScreen: Info,
   communities: [{name: blue, value: "65000:7"}],
   prefixAdvertisements: [{cidr: 10.244.0.0/16, communities: [blue, "65000:8"]}]}
---
apiVersion: crd.projectcalico.org/v1
kind: FelixConfiguration
metadata: {name: default}
spec: {vxlanVNI: 4097, vxlanPort: 8472, ipipMTU: 1400, vxlanMTU: 1380, vxlanMTUV6: 1360}
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
  spec: {cidr: 10.250.0.0/24, vxlanMode: Always, blockSize: 32, disabled: true, allowedUses: [Tunnel],
    nodeSelector: rack == 'a'}
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
    bgp: {ipv4Address: 10.0.0.1/24, asNumber: 65010, ipv4IPIPTunnelAddr: 10.244.1.1, ipv6Address: fd00::1/64,
      routeReflectorClusterID: 224.0.0.1}
    ipv4VXLANTunnelAddr: 10.250.0.1
    vxlanTunnelMACAddr: 66:f9:37:c3:7e:94
    ipv6VXLANTunnelAddr: fd00:244::ff
    vxlanTunnelMACAddrV6: 66:f9:37:c3:7e:95
- kind: Node
  metadata: {name: b1, labels: {reflector: ""}}
  spec: {bgp: {ipv4Address: 10.1.0.4/24, ipv6Address: fd01::4/64}}
- kind: IPAMBlock
  metadata: {name: 10-244-4-0-26}
  spec:
    cidr: 10.244.4.0/26
    affinity: host:b1
    allocations: [0, null, null, null, null, null, null, 1, null, 1]
    attributes: [{handle_id: x, secondary: {node: b1}}, {handle_id: y, secondary: {node: a1, pod: p}}]
    unallocated: [1, 2]
    strictAffinity: false
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
spec:
  {peerIP: fd00::99, asNumber: 65002, filters: [own], nextHopMode: Self, maxRestartTime: 120s, holdTime: 30s,
   keepaliveTime: 10s, numAllowedLocalASNumbers: 2, ttlSecurity: 1, reachableBy: fd00::98, localASNumber: 65009,
   sourceAddress: None, routeServer: true, localRole: rs-client, strictRole: true}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: reflectors}
spec:
  {peerSelector: has(reflector), nodeSelector: "!has(reflector)", reversePeering: Manual,
   bfd: {minimumSendInterval: 1000ms, minimumRecvInterval: 50ms, multiplier: 5, multihop: true}}
---
apiVersion: projectcalico.org/v3
kind: BGPFilter
metadata: {name: own}
spec:
  importV4:
    - {action: Reject, cidr: 10.0.0.0/8, matchOperator: In, prefixLength: {min: 16, max: 24}, source: RemotePeers}
    - {action: Accept, interface: "eth*", peerType: eBGP, communities: {values: ["65000:1"]}, asPathPrefix: [65001],
       priority: 512, operations: [{addCommunity: {value: "65000:1:2"}}, {prependASPath: {prefix: [65003, 65004]}},
         {prependASPath: {prefix: [65005]}}, {setPriority: {value: 100}}]}
  exportV6: [{action: Accept, cidr: fd00::/8, matchOperator: NotIn}]
"""


POOL = "pools: {p: {cidr: 10.244.0.0/16}}\n"
MEMBERS = "nodes: {a: {address: 10.0.0.1/24}, b: {address: 10.0.0.2/24}}\n"
VXLAN = "pools: {p: {cidr: 10.244.0.0/16, vxlanMode: Always}}\n"
VXLAN6 = "pools: {p: {cidr: 'fd99::/48', vxlanMode: Always}}\n"
META = "metadata: {name: x}\n"
DEFAULT = "metadata: {name: default}\n"
INSTALLATION = f"apiVersion: operator.tigera.io/v1\nkind: Installation\n{DEFAULT}spec: "
PEER = f"---\nkind: BGPPeer\n{META}spec: "
KUBERNETES = (
    "apiVersion: v1\nkind: Node\nmetadata: {name: a, annotations: {projectcalico.org/IPv4Address: 10.0.0.1/24, "
)

QUIET = [
    POOL,
    "pools: {p: {cidr: 10.244.0.0/16, ipipMode: Never, vxlanMode: Never}}",
    "pools: {p: {cidr: 10.244.0.0/16, ipipMode: CrossSubnet, blockSize: 20}}",
    "pools: {p: {cidr: 10.244.0.0/16, vxlanMode: Always, blockSize: 32}}",
    "pools: {p: {cidr: 10.244.0.0/30, blockSize: 26, disabled: true}}",
    "pools: {p: {cidr: 'fd00:244::/48', vxlanMode: CrossSubnet, blockSize: 116, natOutgoing: true}}",
    "pools: {p: {cidr: 'fd00:244::/48', ipipMode: Never}}",
    "pools: {p: {cidr: 'fd00:244::/48', blockSize: 128}}",
    "pools: {p: {cidr: 10.244.0.0/16, allowedUses: [LoadBalancer]}}",
    "calico_backend: vxlan\npools: {p: {cidr: 10.244.0.0/16, allowedUses: [LoadBalancer]}}",
    "pools: {p: {cidr: 10.244.0.0/16, nodeSelector: \"rack == 'a' && !has(gpu) || zone in {'x', 'y'}\"}}",
    "pools: {p: {cidr: 10.244.0.0/16, ipipMode: Always}, q: {cidr: 10.245.0.0/16, vxlanMode: CrossSubnet}}",
    "calico_backend: none\npools: {p: {cidr: 10.244.0.0/16, encapsulation: VXLAN}}",
    "asNumber: 65000.1\nlistenPort: 1790",
    "nodes: {a: {address: 'fd00::1/64'}}",
    "nodes: {a: {address: 10.0.0.1/31}, b: {address: 10.0.0.0/31}}",
    "nodes: {a: {address: 10.0.0.1}}",
    "nodes: {a: {address: 10.0.0.1/24, address6: 'fd00::1/64', clusterID: 224.0.0.1}}",
    POOL + "nodes: {a: {address: 10.0.0.1/24, borrowed: [10.244.9.9/32]}}",
    VXLAN + "nodes: {a: {address: 10.0.0.1/24, vxlanTunnelAddress: 10.244.0.1}}",
    VXLAN + "nodes: {a: {address: 10.0.0.1/24, blocks: [10.244.0.0/26], vxlanTunnelMACAddress: 66f9.37c3.7e94}}",
    VXLAN6 + "nodes: {a: {address: 10.0.0.1/24, address6: 'fd00::1/64', blocks: ['fd99::/122']}}",
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 65001, ttlSecurity: 1, keepaliveTime: 1m10s}}",
    "nodes: {a: {address: 'fd00::1/64'}}\npeers: {t: {ip: 'fd00::9', asNumber: 1}}",
    "mesh: false\n" + MEMBERS + "peers: {t: {peerSelector: all()}}",
    "mesh: false\n" + MEMBERS + "peers: {t: {ip: 10.0.0.2, asNumber: 64512}}",
    MEMBERS + "peers: {t: {range: 10.0.1.0/24, asNumber: 64512}}",
    MEMBERS + "peers: {t: {range: 10.0.1.0/24, asRange: 65000-65099, limit: 7, localRole: provider}}",
    MEMBERS + PEER + "{range: 10.0.1.0/24, asRange: external, node: a}",
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, addPath: receive}}",
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, filters: [f]}}\nfilters: {f: {exportV4: [{action: Reject}]}}",
    "filters: {f: {importV6: [{action: Accept, cidr: 'fd00::/8', matchOperator: In, prefixLength: {max: 64}}]}}",
    "communities: [{name: c, value: '65000:1'}]\nprefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [c, '1:2:3']}]",
    "nodeMeshPasswordFile: secrets/mesh\nnodeMeshMaxRestartTime: 2m",
    "ipipMTU: 1480\nvxlanMTU: 1450\nvxlanMTUV6: 1430\nmtu: 1430",
    MEMBERS + PEER + "{peerIP: '[fd00::9]:1790', asNumber: 1, nodeSelector: has(none)}\n---\n"
    "nodes: {c: {address: 'fd00::1/64', labels: {none: ''}}}",
    MEMBERS + PEER + "{peerIP: '10.0.0.9:1790', asNumber: 1, node: a, passwordFile: secrets/t}",
    f"kind: BGPFilter\n{META}spec: {{exportV4: [{{action: Accept, priority: 512, peerType: eBGP}}]}}",
    f"kind: BGPConfiguration\n{DEFAULT}spec: {{nodeToNodeMeshEnabled: false, asNumber: 65000}}",
    f"kind: BGPConfigurationList\nitems: [{{kind: BGPConfiguration, {DEFAULT.strip()}}}]",
    f"kind: FelixConfiguration\n{DEFAULT}spec: {{vxlanVNI: 10000, vxlanPort: 8472, ipipMTU: 0}}",
    f"kind: FelixConfiguration\n{DEFAULT}",
    "kind: ConfigMap\nmetadata: {name: calico-config}\ndata: {calico_backend: vxlan, veth_mtu: '0'}",
    INSTALLATION
    + "{calicoNetwork: {bgp: Disabled, ipPools: [{cidr: 10.244.0.0/16, encapsulation: VXLANCrossSubnet}]}}",
    INSTALLATION + "{calicoNetwork: {ipPools: []}}",
    "kind: List\nitems: []",
    f"kind: IPReservation\n{META}spec: {{reservedCIDRs: [10.244.0.0/24, 10.244.9.9]}}",
    KUBERNETES + "projectcalico.org/IPv4IPIPTunnelAddr: 10.244.0.1}}\n---\n"
    "pools: {p: {cidr: 10.244.0.0/16, ipipMode: Always}}",
    "kind: Node\nmetadata: {name: a}\nspec: {addresses: [{address: 10.0.0.1, type: InternalIP}]}",
]
REMARKED = {
    "nodes: {a: {address: 10.0.0.1/24}, b: {address: 'fd00::1/64'}}\npeers: {t: {ip: 'fd00::9', asNumber: 1}}": {
        2: "warning no-underlay"
    },
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, nodes: has(rack)}}": {2: "warning no-node"},
    MEMBERS + "peers: {t: {peerSelector: has(x)}}": {2: "warning no-node"},
    "apiVersion: apps/v1\nkind: DaemonSet\nspec: {}": {2: "warning no-effect"},
    "apiVersion: v1\nkind: ServiceAccount": {2: "info no-effect"},
    "pools:\n  p:\n    cidr: 10.244.0.0/16\n    natOutgoing: false\n    nat-outgoing: true": {5: "info old-spelling"},
    "pools: {p: {cidr: 10.244.0.0/16, ipipMode: always}}": {1: "info old-spelling"},
    "pools: {p: {cidr: 10.244.0.0/16, ipipMode: ''}}": {1: "info old-spelling"},
    "pools: {p: {cidr: 10.244.0.0/16, vxlanMode: cross-subnet}}": {1: "info old-spelling"},
    "pools:\n  p:\n    cidr: 10.244.0.0/16\n    ipip: {enabled: true, mode: cross-subnet}\n    nat-outgoing: true": {
        4: "info old-spelling",
        5: "info old-spelling",
    },
    "pools: {p: {cidr: 10.244.0.0/16, assignmentMode: Manual}}": {1: "info no-effect"},
    "pools: {p: {cidr: 10.244.0.0/16, allowedUses: [Workload], namespaceSelector: has(x)}}": {1: "info no-effect"},
    "nodes: {a: {address: 10.0.0.1/16}, b: {address: 10.0.1.1/24}}": {1: "warning asymmetric-masks"},
    MEMBERS + "peers: {t: {ip: 10.0.0.2, asNumber: 64512}}": {2: "warning peer-is-node"},
    "mesh: false\n" + POOL + MEMBERS: {2: "warning no-sessions"},
    "mesh: false\n" + MEMBERS + "peers: {t: {ip: 10.0.0.2, asNumber: 1}}": {3: "warning peer-asn"},
    MEMBERS + "peers:\n  every: {ip: 10.0.0.9, asNumber: 1}\n  one: {ip: 10.0.0.9, asNumber: 1, nodes: has(x)}": {
        4: "warning global-peer"
    },
    "pools: {p: {cidr: 10.244.0.0/16, nodeSelector: has(x)}}\n"
    "nodes: {a: {address: 10.0.0.1/24, blocks: [10.244.0.0/26]}}": {
        1: "warning selects-none",
        2: "warning not-selected",
    },
    VXLAN + "nodes: {a: {address: 10.0.0.1/24, accepts: [ipip], blocks: [10.244.0.0/26]}}": {2: "warning not-accepted"},
    VXLAN + "nodes: {a: {address: 10.0.0.1/24, accepts: [ipip]}}": {},
    "vxlanPort: 53": {1: "warning port-clash"},
    VXLAN
    + "nodes: {a: {address: 10.0.0.1/24, blocks: [10.244.0.0/26]}}\n"
    + f"---\nkind: IPReservation\n{META}spec: {{reservedCIDRs: [10.244.0.0]}}": {6: "warning reserved"},
    POOL
    + "nodes: {a: {address: 10.0.0.1/24, blocks: [10.244.0.0/26, 10.244.1.0/26]}}\n"
    + f"---\nkind: IPAMConfig\n{DEFAULT}spec: {{maxBlocksPerHost: 1}}": {6: "warning too-many-blocks"},
    f"kind: IPAMConfig\n{DEFAULT}spec: {{autoAllocateBlocks: true}}": {3: "info no-effect"},
    f"kind: BGPConfiguration\n{DEFAULT}spec: {{serviceClusterIPs: [{{cidr: 10.96.0.0/12}}]}}": {3: "warning no-effect"},
    f"kind: BGPConfiguration\n{DEFAULT}spec: {{bindMode: NodeIP}}": {3: "info no-effect"},
    "kind: BGPConfiguration\nmetadata: {name: node.a}\nspec: {logSeverityScreen: Debug}": {3: "info no-effect"},
    f"kind: FelixConfiguration\n{DEFAULT}spec: {{bpfEnabled: true}}": {3: "info no-effect"},
    f"kind: FelixConfiguration\n{DEFAULT}spec: {{wireguardEnabled: true}}": {3: "warning no-effect"},
    f"kind: FelixConfiguration\n{DEFAULT}spec: {{wireguardEnabled: false}}": {3: "info no-effect"},
    f"kind: FelixConfiguration\n{DEFAULT}spec: {{ipipEnabled: false}}": {3: "warning no-effect"},
    f"kind: FelixConfiguration\n{DEFAULT}spec: {{externalNodesList: [10.9.0.0/16]}}": {3: "warning no-effect"},
    f"kind: FelixConfiguration\n{DEFAULT}spec: {{routeSource: WorkloadIPs}}": {3: "warning no-effect"},
    "kind: ConfigMap\nmetadata: {name: other}\ndata: {x: y}": {3: "info no-effect"},
    f"kind: GlobalNetworkPolicy\n{META}spec: {{selector: all()}}": {1: "info no-effect"},
    INSTALLATION + "{variant: Calico}": {4: "info no-effect"},
    "kind: IPPool\nmetadata: {name: p, uid: x, generation: 3}\nspec: {cidr: 10.244.0.0/16}\nstatus: {conditions: []}": {
        2: "info no-effect",
        4: "info no-effect",
    },
    "kind: Node\nmetadata: {name: a}\nspec: {bgp: {ipv4Address: 10.0.0.1/24},\n  wireguard: {x: y}}": {
        4: "warning no-effect"
    },
    KUBERNETES + "kubeadm: x}}\nstatus: {phase: Running}": {3: "info no-effect", 4: "info no-effect"},
    "kind: BlockAffinity\nmetadata: {name: x}\nspec: {node: a, cidr: 10.244.0.0/26, state: pending}": {
        3: "info no-effect"
    },
    "kind: BlockAffinity\nmetadata: {name: x}\nspec: {node: lb, type: virtual, cidr: 10.244.0.0/26}": {
        3: "info no-effect"
    },
    "apiVersion: v1\nkind: ipPool\nmetadata: {cidr: 10.244.0.0/16}\nspec: {ipip: {enabled: true, mode: always}}": {
        2: "info old-spelling",
        4: "info old-spelling",
    },
    MEMBERS
    + "---\napiVersion: v1\nkind: bgpPeer\nmetadata: {scope: node, node: a, peerIP: 10.0.0.9}\nspec: {asNumber: 1}": {
        4: "info old-spelling"
    },
    "apiVersion: v1\nkind: node\nmetadata: {name: a}\nspec: {bgp: {ipv4Address: 10.0.0.1/24}}": {
        2: "info old-spelling"
    },
}
