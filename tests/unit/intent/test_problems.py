"""Each mistake in a cluster file has its rule, its line and its column."""

from textwrap import dedent

import pytest

from bgpctl.core.intent import read
from bgpctl.store.yaml import documents
from tests.documents import bad, good, seen

POOL = "pools: {p: {cidr: 10.244.0.0/16}}\n"
CROSSING = "pools: {p: {cidr: 10.244.0.0/16, vxlanMode: CrossSubnet}}\n"
CROSSING6 = "pools: {p: {cidr: 'fd99::/48', vxlanMode: CrossSubnet}}\n"
IPIP = "pools: {p: {cidr: 10.244.0.0/16, ipipMode: Always}}\n"
VXLAN = "pools: {p: {cidr: 10.244.0.0/16, vxlanMode: Always}}\n"
INSTALLATION = (
    "apiVersion: operator.tigera.io/v1\nkind: Installation\nmetadata: {name: default}\nspec: {calicoNetwork: "
)
MEMBERS = "nodes: {a: {address: 10.0.0.1/24}, b: {address: 10.0.0.2/24}}\n"

ONE_VALUE = {
    "- a": (1, 3, "type"),
    "items: [a]": (1, 9, "type"),
    "hello": (1, 1, "type"),
    "pools: [a]": (1, 8, "type"),
    "pools: {p: 5}": (1, 12, "type"),
    "nodes: {a: {address: 10.0.0.1/24, blocks: 10.244.0.0/26}}": (1, 43, "type"),
    "asNumber: [1]": (1, 11, "type"),
    "mesh: maybe": (1, 7, "boolean"),
    "calico_backend: birds": (1, 17, "choice"),
    "asNumber: 0": (1, 11, "asn"),
    "asNumber: 4294967296": (1, 11, "asn"),
    "asNumber: 1.65536": (1, 11, "asn"),
    "listenPort: 65536": (1, 13, "range"),
    "listenPort: 0x10": (1, 13, "range"),
    "vxlanPort: 0": (1, 12, "range"),
    "vxlanVNI: 16777216": (1, 11, "range"),
    "vxlanVNI: 0": (1, 11, "range"),
    "pool: {}": (1, 1, "unknown-key"),
    "pools: {p: {cidr: 10.0.0.0/8, ipipmode: Always}}": (1, 31, "unknown-key"),
    "mesh: true\nmesh: false": (2, 1, "duplicate-key"),
    "pools: {p: {}}": (1, 9, "missing"),
    "pools: {p: }": (1, 9, "missing"),
    "pools: {P_1: {cidr: 10.0.0.0/8}}": (1, 9, "name"),
    "pools: {a..b: {cidr: 10.0.0.0/8}}": (1, 9, "name"),
    "pools: {p: {cidr: 10.244.1.1/16}}": (1, 19, "cidr"),
    "pools: {p: {cidr: 10.244.0.0}}": (1, 19, "cidr"),
    "pools: {p: {cidr: 10.244.0.0/255.255.0.0}}": (1, 19, "cidr"),
    "nodes: {a: {address: 10.0.0.1/24, ipipTunnelAddress: 10.244.0.1/32}}": (1, 54, "address"),
    "nodes: {a: {address: 10.0.0.256/24}}": (1, 22, "address"),
    "nodes: {a: {address: 10.0.0.1/24, vxlanTunnelMACAddress: '01:00:5e:00:00:01'}}": (1, 58, "mac"),
    "nodes: {a: {address: 10.0.0.1/24, asNumber: 1.2.3}}": (1, 45, "asn"),
    "nodes: {a: {address: 10.0.0.1/24, accepts: [gre]}}": (1, 45, "choice"),
    "nodes: {a: {address: 10.0.0.1/24, accepts: ipip}}": (1, 44, "type"),
    "peers: {t: {ip: 10.0.0.1/24, asNumber: 1}}": (1, 17, "address"),
    "nodes: {a: {}}": (1, 9, "missing"),
    'peers: {t: {ip: 10.0.0.9, asNumber: 1, passwordFile: "/etc/x\\0y"}}': (1, 54, "file-name"),
    'nodeMeshPasswordFile: "\\0"': (1, 23, "file-name"),
}

TOGETHER = {
    "pools: {p: {cidr: 10.244.0.0/16, ipipMode: Always, vxlanMode: CrossSubnet}}": (1, 63, "both-modes"),
    "pools: {p: {cidr: 10.244.0.0/16, encapsulation: IPIP, vxlanMode: Always}}": (1, 49, "both-forms"),
    "pools: {p: {cidr: 'fd00::/48', ipipMode: Always}}": (1, 42, "ipip-ipv6"),
    "pools: {p: {cidr: 10.244.0.0/16, blockSize: 19}}": (1, 45, "block-size"),
    "pools: {p: {cidr: 10.244.0.0/16, blockSize: 33}}": (1, 45, "block-size"),
    "pools: {p: {cidr: 'fd00::/48', blockSize: 26}}": (1, 43, "block-size"),
    "pools: {p: {cidr: 10.244.0.0/27}}": (1, 9, "block-size"),
    "pools: {p: {cidr: 169.254.0.0/17}}": (1, 19, "link-local"),
    "pools: {p: {cidr: 'fe80::/64'}}": (1, 19, "link-local"),
    POOL + "nodes: {a: {address: 10.244.9.1/24}}": (1, 19, "covers-node"),
    "pools: {p: {cidr: 10.244.0.0/16}, q: {cidr: 10.244.64.0/18}}": (1, 45, "pool-overlap"),
    "pools: {q: {cidr: 10.244.64.0/18}, p: {cidr: 10.244.0.0/16}}": (1, 46, "pool-overlap"),
    "calico_backend: vxlan\npools: {p: {cidr: 10.244.0.0/16, encapsulation: IPIP}}": (2, 49, "needs-bgp"),
    "calico_backend: vxlan\npools: {p: {cidr: 10.244.0.0/16}}": (2, 9, "needs-bgp"),
    "calico_backend: none\npools: {p: {cidr: 10.244.0.0/16, ipipMode: Always}}": (2, 44, "needs-bgp"),
    POOL + "nodes: {a: {address: 10.0.0.1/24, blocks: [10.9.0.0/26]}}": (2, 44, "block-outside"),
    "nodes: {a: {address: 10.0.0.1/24, blocks: [10.9.0.0/26]}}": (1, 44, "block-outside"),
    POOL + "nodes: {a: {address: 10.0.0.1/24, blocks: [10.244.0.0/25]}}": (2, 44, "block-length"),
    POOL + "nodes: {a: {address: 10.0.0.1/24, blocks: [10.244.0.0/27]}}": (2, 44, "block-length"),
    POOL + "nodes: {a: {address: 10.0.0.1/24, blocks: [10.244.0.0/26, 10.244.0.0/26]}}": (2, 59, "duplicate"),
    POOL
    + "nodes:\n  a: {address: 10.0.0.1/24, blocks: [10.244.0.0/26]}\n"
    + "  b: {address: 10.0.0.2/24, blocks: [10.244.0.0/26]}": (4, 38, "block-owners"),
    POOL
    + "nodes:\n  a: {address: 10.0.0.1/24, borrowed: [10.244.0.5]}\n"
    + "  b: {address: 10.0.0.2/24, borrowed: [10.244.0.5]}": (4, 40, "duplicate-address"),
    "nodes: {a: {address: 10.0.0.0/24}}": (1, 22, "unusable-address"),
    "nodes: {a: {address: 10.0.0.255/24}}": (1, 22, "unusable-address"),
    "nodes: {a: {address: 224.0.0.1/32}}": (1, 22, "unusable-address"),
    "nodes: {a: {address: 10.0.0.1/24}, b: {address: 10.0.0.1/24}}": (1, 49, "duplicate-address"),
    CROSSING + "nodes: {a: {address: 10.0.0.1/16}, b: {address: 10.0.1.1/24}}": (2, 49, "asymmetric-masks"),
    CROSSING6 + "nodes: {a: {address: 'fd00::1/56'}, b: {address: 'fd00:0:0:1::1/64'}}": (2, 50, "asymmetric-masks"),
    "nodes: {a: {address: 10.0.0.1/24, ipipTunnelAddress: 10.244.0.1}}": (1, 54, "tunnel-outside"),
    POOL + "nodes: {a: {address: 10.0.0.1/24, vxlanTunnelAddress: 10.244.0.1}}": (2, 55, "tunnel-outside"),
    "nodes: {a: {address: 10.0.0.1/24, vxlanTunnelAddress: 'fd00::1'}}": (1, 55, "family"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, nodes: rack ==}}": (2, 47, "selector"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9}}": (2, 9, "missing"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1}, u: {ip: 10.0.0.9, asNumber: 2}}": (2, 49, "duplicate-peer"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1}, u: {ip: 10.0.0.9, port: 1790, asNumber: 1}}": (
        (2, 49, "duplicate-peer")
    ),
    MEMBERS + "mesh: false\npeers: {t: {peerSelector: all()}, u: {ip: 10.0.0.2, port: 1790, asNumber: 64512}}": (
        (3, 43, "duplicate-peer")
    ),
    POOL + MEMBERS + "peers: {t: {ip: 10.244.0.9, asNumber: 1}}": (3, 17, "peer-in-pool"),
    "calico_backend: vxlan\n" + MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1}}": (3, 9, "needs-bgp"),
    "nodes: {a: {address: 'fd00::/64'}}": (1, 22, "unusable-address"),
    "nodes: {a: {address: 'fe80::1/64'}}": (1, 22, "unusable-address"),
    "nodes: {a: {address: 127.0.0.1/8}}": (1, 22, "unusable-address"),
    "nodes: {a: {address: 'fd00::1/64', address6: 'fd00::2/64'}}": (1, 46, "family"),
    "nodes: {a: {address: 10.0.0.1/24, address6: 10.0.0.2/24}}": (1, 45, "family"),
    "nodes: {a: {address: 10.0.0.1/24, clusterID: 'fd00::1'}}": (1, 46, "family"),
    "nodes: {a: {address: 10.0.0.1/24, address6: 'fd00::1/64'}, b: {address: 'fd00::1/64'}}": (
        (1, 73, "duplicate-address")
    ),
    "nodes: {a: {address: 10.0.0.1/24, borrowed: [10.244.0.0/26]}}": (1, 46, "address"),
    "nodes: {a: {address: 10.0.0.1/24, borrowed: [10.244.0.1]}}": (1, 46, "block-outside"),
    POOL + "nodes: {a: {address: 10.0.0.1/24, blocks: [10.244.0.0/26], borrowed: [10.244.0.1]}}": (
        (2, 71, "borrowed-own")
    ),
    POOL + "nodes: {a: {address: 10.0.0.1/24, blocks: [10.244.0.1/32]}}": (2, 44, "block-length"),
    "pools: {p: {cidr: 'fd99::/48'}}\nnodes: {a: {address: 10.0.0.1/24, blocks: ['fd99::/122']}}": (
        (2, 44, "no-underlay")
    ),
    POOL + "nodes: {a: {address: 'fd00::1/64', blocks: [10.244.0.0/26]}}": (2, 45, "no-underlay"),
    POOL + "nodes: {a: {address: 'fd00::1/64', borrowed: [10.244.0.1]}}": (2, 47, "no-underlay"),
    "pools: {p: {cidr: 10.244.0.0/16, allowedUses: [Workload], ipipMode: Always}}\n"
    "nodes: {a: {address: 10.0.0.1/24, ipipTunnelAddress: 10.244.0.1}}": (2, 54, "tunnel-outside"),
    "pools: {p: {cidr: 10.244.0.0/16, nodeSelector: has(x), ipipMode: Always}}\n"
    "nodes: {a: {address: 10.0.0.1/24, ipipTunnelAddress: 10.244.0.1}}": (2, 54, "tunnel-outside"),
    IPIP
    + "nodes: {a: {address: 10.0.0.1/24, blocks: [10.244.0.0/26]},\n"
    + "  b: {address: 10.0.0.2/24, ipipTunnelAddress: 10.244.0.0}}": (3, 48, "duplicate-address"),
    IPIP
    + "nodes: {b: {address: 10.0.0.2/24, ipipTunnelAddress: 10.244.9.0},\n"
    + "  c: {address: 10.0.0.3/24, borrowed: [10.244.9.0]}}": (3, 40, "duplicate-address"),
    VXLAN
    + "nodes: {a: {address: 10.0.0.1/24, vxlanTunnelAddress: 10.244.0.0},\n"
    + "  b: {address: 10.0.0.2/24, blocks: [10.244.0.0/26]}}": (2, 55, "duplicate-address"),
    "nodes: {a: {address: 10.0.0.1/24, vxlanTunnelMACAddress: '66:f9:37:c3:7e:94'}, node1: {address: 10.0.0.2/24}}": (
        (1, 58, "duplicate-address")
    ),
    "pools: {p: {cidr: 10.244.0.0/16, nodeSelector: global()}}": (1, 48, "selector"),
    "pools: {p: {cidr: 10.244.0.0/16, nodeSelector: rack = 'a'}}": (1, 48, "selector"),
    "pools: {p: {cidr: 10.244.0.0/16, namespaceSelector: all()}}": (1, 53, "namespace-tunnel"),
    "pools: {p: {cidr: 10.244.0.0/16, allowedUses: [Workloads]}}": (1, 48, "choice"),
    "pools: {p: {cidr: 10.244.0.0/16, assignmentMode: auto}}": (1, 50, "choice"),
    "pools: {p: {cidr: 10.244.0.0/16, allowedUses: [Workload, LoadBalancer]}}": (1, 47, "load-balancer-use"),
    "pools: {p: {cidr: 10.244.0.0/16, allowedUses: [LoadBalancer], ipipMode: Always}}": (1, 73, "load-balancer-mode"),
    "pools: {p: {cidr: 10.244.0.0/16, allowedUses: [LoadBalancer], disableBGPExport: true}}": (
        (1, 81, "load-balancer-export")
    ),
    "pools: {p: {cidr: 10.244.0.0/16, allowedUses: [LoadBalancer], nodeSelector: has(x)}}": (
        (1, 77, "load-balancer-nodes")
    ),
    "pools: {p: {cidr: 10.244.0.0/16, allowedUses: [LoadBalancer]}}\n"
    "nodes: {a: {address: 10.0.0.1/24, blocks: [10.244.0.0/26]}}": (2, 44, "load-balancer-block"),
    "pools: {p: {cidr: 10.244.0.0/16, ipip: {enabled: true}, ipipMode: Always}}": (1, 40, "both-forms"),
    "ipipMTU: 67": (1, 10, "mtu-too-small"),
    "vxlanMTUV6: 1279": (1, 13, "mtu-too-small"),
    "ipipMTU: 70000": (1, 10, "range"),
    "tcpMSS: 535": (1, 9, "range"),
    CROSSING6 + "mtu: 1200": (2, 6, "mtu-too-small"),
    IPIP + "mtu: 1500\nipipMTU: 1480": (3, 10, "mtu-too-small"),
    MEMBERS + "peers: {t: {ip: 'fd00::1', asNumber: 1}}": (2, 17, "no-underlay"),
    MEMBERS + "peers: {t: {peerSelector: all(), asNumber: 1}}": (2, 44, "as-with-selector"),
    MEMBERS + "peers: {t: {peerSelector: all(), ip: 10.0.0.9}}": (2, 27, "both-forms"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, nodes: all(), nodeSelector: all()}}": (2, 68, "both-forms"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, filters: [f]}}": (2, 49, "unknown-filter"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, maxRestartTime: 4096s}}": (2, 56, "duration"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, keepaliveTime: 10}}": (2, 55, "duration"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, ttlSecurity: 256}}": (2, 53, "range"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, bfd: {minimumSendInterval: 49ms}}}": (2, 67, "duration"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, bfd: {minimumRecvInterval: 300}}}": (2, 67, "duration"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, bfd: {multiplier: 1}}}": (2, 58, "range"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, bfd: {interval: 1s}}}": (2, 46, "unknown-key"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, reachableBy: 'fd00::1'}}": (2, 53, "family"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, localRole: transit}}": (2, 51, "choice"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 64512, localRole: peer}}": (2, 55, "role-inside"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, localASNumber: 1, localRole: peer}}": (2, 69, "role-inside"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, strictRole: true}}": (2, 52, "missing"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, routeServer: true, localRole: rs}}": (2, 70, "role-of-server"),
    MEMBERS + "peers: {t: {peerSelector: all(), localRole: provider}}": (2, 45, "role-with-selector"),
    MEMBERS + "peers: {t: {range: 10.0.1.0/24}}": (2, 20, "missing"),
    MEMBERS + "peers: {t: {range: 10.0.1.1/24, asNumber: 1}}": (2, 20, "cidr"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, range: 10.0.1.0/24, asNumber: 1}}": (2, 34, "both-forms"),
    MEMBERS + "peers: {t: {range: 10.0.1.0/24, asNumber: 1, asRange: external}}": (2, 55, "both-forms"),
    MEMBERS + "peers: {t: {range: 10.0.1.0/24, asRange: 9-1}}": (2, 42, "as-range"),
    MEMBERS + "peers: {t: {range: 10.0.1.0/24, asNumber: 1, limit: 0}}": (2, 53, "range"),
    MEMBERS + "peers: {t: {range: 10.0.1.0/24, asNumber: 1, passwordFile: t}}": (2, 60, "unsupported"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, limit: 3}}": (2, 47, "missing"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, asRange: external}}": (2, 49, "missing"),
    POOL + MEMBERS + "peers: {t: {range: 10.244.1.0/24, asNumber: 1}}": (3, 20, "peer-in-pool"),
    MEMBERS + "peers: {t: {peerSelector: all(), reachableBy: 10.0.0.9}}": (2, 47, "missing"),
    MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, nextHopMode: Auto, keepOriginalNextHop: true}}": (
        (2, 80, "both-forms")
    ),
    "mesh: false\nnodeMeshMaxRestartTime: 60s": (2, 25, "mesh-off"),
    "nodeMeshPasswordFile: x\n---\nmesh: false": (1, 23, "mesh-off"),
    "mesh: false\n" + MEMBERS + "peers: {t: {peerSelector: all(), port: 1790}}": (3, 40, "port-with-selector"),
    MEMBERS + "peers: {t: {localWorkloadSelector: {}, asNumber: 1}}": (2, 36, "type"),
    "filters: {f: {importV4: [{cidr: 10.0.0.0/8, matchOperator: In}]}}": (1, 26, "missing"),
    "filters: {f: {importV4: [{action: Drop}]}}": (1, 35, "choice"),
    "filters: {f: {importV4: [{action: Accept, cidr: 10.0.0.0/8}]}}": (1, 49, "half-a-match"),
    "filters: {f: {importV4: [{action: Accept, matchOperator: In}]}}": (1, 26, "half-a-match"),
    "filters: {f: {importV4: [{action: Accept, prefixLength: {min: 8}}]}}": (1, 57, "half-a-match"),
    "filters: {f: {importV4: [{action: Accept, cidr: 'fd00::/8', matchOperator: In}]}}": (1, 49, "family"),
    "filters: {f: {exportV6: [{action: Accept, interface: a-very-long-name}]}}": (1, 54, "range"),
    "filters: {f: {exportV4: [{action: Accept, cidr: 10.0.0.0/8, matchOperator: In, prefixLength: {max: 7}}]}}": (
        (1, 100, "range")
    ),
    "filters: {f: {exportV4: [{action: Accept, communities: {values: ['1:2', '1:3']}}]}}": (1, 65, "one-community"),
    "filters: {f: {exportV4: [{action: Accept, communities: {values: ['1:65536']}}]}}": (1, 66, "community"),
    "filters: {f: {exportV4: [{action: Reject, operations: [{setPriority: {value: 1}}]}]}}": (
        (1, 55, "reject-operation")
    ),
    "filters: {f: {exportV4: [{action: Accept, operations: [{}]}]}}": (1, 56, "one-operation"),
    "filters: {f: {exportV4: [{action: Accept, priority: 0}]}}": (1, 53, "range"),
    "communities: [{name: x, value: '1:2'}]": (1, 22, "unused-community"),
    "prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [x]}]": (1, 57, "community"),
    "prefixAdvertisements: [{cidr: 10.0.0.0/8}]": (1, 24, "missing"),
    POOL + "---\n" + POOL: (3, 9, "duplicate"),
    "asNumber: 1\n---\nasNumber: 2": (3, 11, "contradiction"),
}

CALICO = {
    "kind: BGPConfiguration\nmetadata: {name: default}\nspec: {bindMode: Node}": (3, 18, "choice"),
    "kind: BGPConfiguration\nmetadata: {name: default}\nspec: {ipv4NormalRoutePriority: 0}": (3, 33, "range"),
    INSTALLATION.replace("{calico", "{cni: {type: Calico, ipam: {type: HostLocal}}, calico")
    + "{ipPools: [{cidr: 10.244.0.0/16, encapsulation: VXLAN}]}}": (4, 117, "cni-encapsulation"),
    INSTALLATION.replace("{calico", "{cni: {type: AmazonVPC}, calico")
    + "{bgp: Disabled, ipPools: [{cidr: 10.244.0.0/16, encapsulation: VXLAN}]}}": (4, 110, "cni-encapsulation"),
    INSTALLATION.replace("{calico", "{kubernetesProvider: ESK, calico") + "{ipPools: []}}": (4, 28, "choice"),
    "kind: BGPConfiguration\nmetadata: {name: other}\nspec: {asNumber: 1}": (2, 18, "configuration-name"),
    "kind: BGPConfiguration\nmetadata: {name: node.a}\nspec: {asNumber: 1}": (3, 18, "global-only"),
    "kind: BGPConfiguration\nmetadata: {name: node.a}\nspec: {nodeMeshPassword: {secretKeyRef: {}}}": (
        (3, 26, "global-only")
    ),
    "kind: BGPConfiguration\nmetadata: {name: node.a}\nspec: {listenPort: 1}": (3, 8, "unsupported"),
    "kind: BGPConfiguration\nmetadata: {name: default}\nspec: {nodeMeshPassword: {secretKeyRef: {name: s}}}": (
        (3, 8, "unsupported")
    ),
    "kind: BGPConfiguration\nmetadata: {name: default}\nspec: {serviceClusterIP: []}": (3, 8, "unknown-key"),
    "kind: FelixConfiguration\nmetadata: {name: default}\nspec: {vxlanVni: 1}": (3, 8, "unknown-key"),
    "kind: FelixConfiguration\nmetadata: {name: node.a}\nspec: {vxlanVNI: 1}": (3, 8, "unsupported"),
    "kind: FelixConfiguration\nmetadata: {name: default}\nspec: {vxlanVNI: 0}": (3, 18, "range"),
    "kind: FelixConfiguration\nmetadata: {name: default}\nspec: {wireguardListeningPort: 4789}": (3, 32, "port-clash"),
    "kind: FelixConfiguration\nmetadata: {name: default}\nspec: {vxlanMTU: 1400}\n---\nvxlanMTU: 1450": (
        (5, 11, "contradiction")
    ),
    "kind: ConfigMap\nmetadata: {name: calico-config}\ndata: {veth_mtu: '1e3'}": (3, 18, "range"),
    "kind: ConfigMap\nmetadata: {name: calico-config}\ndata: {calico_backends: bird}": (3, 8, "unknown-key"),
    INSTALLATION + "{bgp: Disabled, ipPools: [{cidr: 10.244.0.0/16, encapsulation: IPIP}]}}": (4, 86, "needs-bgp"),
    INSTALLATION + "{bgp: Disabled, ipPools: [{cidr: 10.244.0.0/16, encapsulation: None}]}}": (4, 86, "needs-bgp"),
    INSTALLATION + "{ipPools: [{cidr: 'fd00::/48', encapsulation: IPIPCrossSubnet}]}}": (4, 69, "ipip-ipv6"),
    INSTALLATION + "{ipPools: [{cidr: 10.244.0.0/16, encapsulation: GRE}]}}": (4, 71, "choice"),
    INSTALLATION + "{ipPools: [{cidr: 10.244.0.0/16, natOutgoing: true}]}}": (4, 69, "choice"),
    INSTALLATION + "{ipPools: [" + ", ".join(f"{{cidr: 10.{n}.0.0/16}}" for n in range(26)) + "]}}": (
        4,
        33,
        "too-many",
    ),
    INSTALLATION + "{ipPool: []}}": (4, 24, "unknown-key"),
    INSTALLATION
    + "{ipPools: [{name: p, cidr: 10.244.0.0/16}]}}\n---\nkind: IPPool\n"
    + "metadata: {name: p}\nspec: {cidr: 10.244.0.0/16, vxlanMode: Always}": (4, 34, "contradiction"),
    "kind: IPAMConfig\nmetadata: {name: default}\nspec: {ipCooldownSeconds: 1201}": (3, 27, "range"),
    "kind: IPAMConfig\nmetadata: {name: default}\nspec: {strictAffinity: true}\n---\n"
    + POOL
    + "nodes: {a: {address: 10.0.0.1/24, borrowed: [10.244.0.1]}}": (6, 46, "strict-affinity"),
    "kind: IPReservation\nmetadata: {name: r}\nspec: {reservedCIDRs: [10.244.0.1/16]}": (3, 24, "cidr"),
    POOL + "---\nkind: IPAMBlock\nmetadata: {name: x}\nspec: {cidr: 10.244.0.0/26, affinity: 'node:a'}": (
        (5, 39, "affinity")
    ),
    POOL + "---\nkind: IPAMBlock\nmetadata: {name: x}\nspec: {cidr: 10.244.0.0/26, allocations: [0]}": (
        (5, 43, "allocation")
    ),
    POOL
    + MEMBERS
    + "---\nkind: BlockAffinity\nmetadata: {name: x}\nspec: {cidr: 10.244.0.0/26, node: a}\n"
    + "---\nkind: BlockAffinity\nmetadata: {name: x}\nspec: {cidr: 10.244.0.0/26, node: b}": ((10, 14, "block-owners")),
    "apiVersion: v1\nkind: Node\nmetadata: {name: a, annotations: {projectcalico.org/IPv4Adress: 10.0.0.1/24}}\n"
    "status: {addresses: [{type: InternalIP, address: 10.0.0.1}]}": (3, 35, "unknown-key"),
    "apiVersion: v1\nkind: Node\nmetadata: {name: a, annotations: {projectcalico.org/ASNumber: x}}\n"
    "status: {addresses: [{type: InternalIP, address: 10.0.0.1}]}": (3, 63, "asn"),
    "kind: BGPFilter\nmetadata: {name: f}\nspec: {importV5: []}": (3, 8, "unknown-key"),
    "kind: BGPPeer\nmetadata: {name: t}\nspec: {localWorkloadSelector: all(), asNumber: 1}": (3, 8, "unsupported"),
    "apiVersion: v1\nkind: ipPool\nmetadata: {cidr: 10.244.0.0/16}\nspec: {ipip: {enabled: true, mode: cross}}": (
        (4, 36, "choice")
    ),
    "apiVersion: v1\nkind: ipPool\nmetadata: {cidr: 10.244.0.0/33}": (3, 18, "cidr"),
    "apiVersion: v2\nkind: ipPool\nmetadata: {cidr: 10.244.0.0/16}": (1, 13, "choice"),
    "kind: IPPool\nspec: {cidr: 10.244.0.0/16}": (1, 1, "missing"),
    "kind: IPPool\nmetadata: {name: p}": (2, 18, "missing"),
    "kind: IPPool\nmetadata: {name: p}\nspec: {cidr: 10.244.0.0/16, ipipmode: Always}": (3, 29, "unknown-key"),
    "kind: Node\nmetadata: {name: a}\nspec: {bgp: {}}": (3, 13, "missing"),
    "apiVersion: v1\nkind: Node\nmetadata: {name: a}": (3, 18, "missing"),
    "kind: BlockAffinity\nmetadata: {name: x}\nspec: {cidr: 10.244.0.0/26}": (3, 7, "missing"),
    POOL + MEMBERS + "---\nkind: BlockAffinity\nmetadata: {name: x}\n"
    "spec: {cidr: 10.244.0.0/26, node: b, deleted: yes}": (6, 47, "choice"),
    "apiVersion: v1\nkind: bgpPeer\nmetadata: {scope: global, peerIP: tor}\nspec: {asNumber: 1}": (3, 35, "address"),
    "kind: List\nitems: [5]": (2, 9, "type"),
    MEMBERS + "---\nkind: BGPPeer\nmetadata: {name: t}\nspec: {peerIP: 10.0.0.9}": (5, 7, "missing"),
    MEMBERS + "---\nkind: BGPPeer\nmetadata: {name: t}\nspec: {peerIP: '10.0.0.9:0', asNumber: 1}": (5, 16, "range"),
    MEMBERS + "---\nkind: BGPPeer\nmetadata: {name: t}\nspec: {peerIP: tor, asNumber: 1}": (5, 16, "address"),
    MEMBERS + "---\nkind: BGPPeer\nmetadata: {name: t}\nspec: {peerIP: 10.0.0.9, asNumber: 1, node: c}": (
        (5, 45, "unknown-node")
    ),
    MEMBERS
    + "---\nkind: BGPPeer\nmetadata: {name: t}\nspec: {peerIP: 10.0.0.9, asNumber: 1, node: a, nodeSelector: all()}": (
        (5, 62, "both-forms")
    ),
    MEMBERS
    + "---\nkind: BGPPeer\nmetadata: {name: t}\n"
    + "spec: {peerIP: 10.0.0.9, asNumber: 1, password: {secretKeyRef: {name: s, key: k}}}": (5, 39, "unsupported"),
    "calico_backend: vxlan\npools: {p: {cidr: 10.244.0.0/16, disabled: true}}\n"
    "nodes: {a: {address: 10.0.0.1/24, blocks: [10.244.0.0/26]}}": (3, 44, "needs-bgp"),
    "pools: {p: {cidr: 10.0.0.0/8, disabled: true}}\nnodes: {a: {address: 10.0.0.1/24, borrowed: [10.244.0.1]}}": (
        2,
        46,
        "covers-node",
    ),
    "kind: IPPol\napiVersion: projectcalico.org/v3\nmetadata: {name: p}": (1, 7, "unknown-kind"),
    "kind: GatewayAPI\nmetadata: {name: p}": (1, 7, "unknown-kind"),
}


@pytest.mark.parametrize(("text", "problem"), (ONE_VALUE | TOGETHER | CALICO).items())
def test_a_mistake_is_the_only_problem_and_has_its_place(text: str, problem: tuple[int, int, str]) -> None:
    assert seen(bad(text)) == [problem]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "pools: {p: {cidr: 10.0.0.0/8, ipipMode: Always, vxlanMode: Always}}",
            (
                "c.yaml:1:60: pools.p.vxlanMode: "
                "ipipMode and vxlanMode cannot both be set (ipipMode: Always, vxlanMode: Always)"
            ),
        ),
        (
            "pools: {blue: {cidr: 10.244.0.0/16, ipipmode: Always}}",
            "c.yaml:1:37: pools.blue.ipipmode: unknown key; did you mean ipipMode?",
        ),
        (
            "pools: {blue: {cidr: 10.244.1.1/16}}",
            "c.yaml:1:22: pools.blue.cidr: 10.244.1.1/16 has host bits set; the network is 10.244.0.0/16",
        ),
        (
            "calico_backend: birds",
            "c.yaml:1:17: calico_backend: birds is none of bird, vxlan, none; did you mean bird?",
        ),
        ("kind: IPPol", "c.yaml:1:7: kind: IPPol is not understood; did you mean IPPool?"),
        (
            POOL + "---\n" + POOL,
            "c.yaml:3:9: pools.p: pool p is already given at c.yaml:1:9",
        ),
    ],
)
def test_a_problem_reads_like_a_compilers(text: str, words: str) -> None:
    assert [str(problem) for problem in bad(text)] == [words]


def test_five_different_mistakes_in_one_file_give_five_located_problems() -> None:
    text = """\
    calico_backend: birds
    pools:
      blue: {cidr: 10.244.0.0/16, ipipMode: Always, vxlanMode: CrossSubnet}
    nodes:
      a1: {address: 10.0.0.1/24, blocks: [10.99.1.0/26], colour: x}
      a2: {address: 10.0.0.1/24}
    """
    assert seen(bad(text)) == [
        (1, 17, "choice"),
        (3, 60, "both-modes"),
        (5, 39, "block-outside"),
        (5, 54, "unknown-key"),
        (6, 17, "duplicate-address"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "pools: {p: {cidr: 10.0.0.0}}\nnodes: {a: {address: 10.0.0.1/24, blocks: [10.244.0.0/26]}}",
        "pools: 5\nnodes: {a: {address: 10.0.0.1/24, ipipTunnelAddress: 10.244.0.1}}",
        "nodes: {a: {address: x, labels: {r: a}}}\npeers: {t: {ip: 10.0.0.9, asNumber: 1, nodes: r == 'a'}}",
        POOL + "nodes: {a: {address: x, blocks: [10.244.0.0/26]}}",
        "kind: IPPol\nmetadata: {name: p}\n---\nnodes: {a: {address: 10.0.0.1/24, blocks: [10.244.0.0/26]}}",
    ],
)
def test_an_unreadable_object_is_not_reported_as_absent(text: str) -> None:
    assert len(bad(text)) == 1


def test_an_unreadable_peer_selector_is_not_reported_to_select_no_node() -> None:
    found = bad(MEMBERS + "peers: {t: {ip: 10.0.0.9, asNumber: 1, peerSelector: 'has('}}")
    assert [problem.rule for problem in found] == ["selector", "both-forms"]


def test_the_same_object_in_two_files_is_a_problem_that_names_both_places() -> None:
    one, two = documents(MEMBERS, "one.yaml"), documents("nodes: {b: {address: 10.0.0.3/24}}", "two.yaml")
    loaded = read([*one, *two])
    assert isinstance(loaded, tuple)
    (problem,) = loaded
    assert str(problem) == "two.yaml:1:9: nodes.b: node b is already given at one.yaml:1:36"


def test_overlaps_are_found_across_a_borrowed_address_between_them() -> None:
    text = """\
    pools: {p: {cidr: 10.244.0.0/16, disabled: true}}
    nodes:
      a: {address: 10.0.0.1/24, blocks: [10.244.0.0/26]}
      b: {address: 10.0.0.2/24, borrowed: [10.244.0.5], blocks: [10.244.0.32/27]}
    """
    assert seen(bad(text)) == [(4, 62, "block-length"), (4, 62, "block-overlap")]


def test_an_address_borrowed_from_another_nodes_block_is_no_problem() -> None:
    intent = good(
        POOL
        + dedent("""\
        nodes:
          a: {address: 10.0.0.1/24, blocks: [10.244.0.0/26]}
          b: {address: 10.0.0.2/24, borrowed: [10.244.0.5]}
        """)
    )
    assert [list(map(str, intent.borrowed_by(node))) for node in intent.nodes] == [[], ["10.244.0.5/32"]]


def test_nested_networks_are_no_problem_where_both_masks_give_the_same_answer() -> None:
    intent = good("nodes: {a: {address: 10.0.0.1/16}, b: {address: 10.1.0.1/24}, c: {address: 10.0.9.1/16}}")
    assert len(intent.nodes) == 3


def test_a_long_or_unprintable_value_does_not_spoil_the_message() -> None:
    (problem,) = bad('calico_backend: "' + "x\\n" * 100_000 + '"')
    assert len(str(problem)) < 250
    assert str(problem).isprintable()
