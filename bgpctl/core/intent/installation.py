"""
The operator's Installation: encapsulation, BGP, MTU and the pools it makes.

Refuses to know: how the operator installs anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bgpctl.core.cluster.configuration import Backend, Pool
from bgpctl.core.cluster.encapsulation import DIRECT, IPIP, VXLAN, Mode, words
from bgpctl.core.intent.draft import Draft, Stated, located, read_selector, spec_of
from bgpctl.core.intent.fields import Fields, is_name, not_a_name
from bgpctl.core.intent.pools import DEFAULT_BLOCK_SIZE, pool_parts, read_uses
from bgpctl.core.intent.settings import MAX_MTU_BYTES
from bgpctl.core.net.addresses import Prefix, Vni

_MOST_POOLS: Final = 25
_DOCKER_VNI: Final = Vni(10000)
"""Docker Enterprise's own overlay has 4096 already."""
_SWITCH: Final = ("Enabled", "Disabled")
_PROVIDERS: Final = ("", "AKS", "DockerEnterprise", "EKS", "GKE", "OpenShift", "RKE2", "TKG")
_PLUGINS: Final = ("Calico", "AmazonVPC", "AzureVNET", "GKE")


@dataclass(frozen=True, slots=True)
class _Defaults:
    """The operator's defaults; `refused` are encapsulations that it cannot do, with reasons."""

    encapsulation: str
    cidr: Prefix
    bgp: bool
    backend_off: Backend
    refused: Mapping[str, str]


def read_installation(draft: Draft, fields: Fields, _: str) -> None:
    """`bgp: Disabled` is calico_backend vxlan; without `ipPools` the operator makes one pool, if there is none."""
    spec = spec_of(fields)
    network = spec_of(spec, "calicoNetwork")
    provider = spec.one_of("kubernetesProvider", _PROVIDERS) or ""
    defaults = _defaults(spec, provider)
    bgp = network.one_of("bgp", _SWITCH)
    backend = Backend.BIRD if (bgp == "Enabled" or (bgp is None and defaults.bgp)) else defaults.backend_off
    draft.set("backend", backend, located(network, "bgp"))
    draft.set("workload_mtu", network.integer("mtu", 0, MAX_MTU_BYTES), located(network, "mtu"))
    if provider == "DockerEnterprise":
        draft.set("vxlan_vni", _DOCKER_VNI, located(spec, "kubernetesProvider"))
    _read_pools(draft, network, defaults)
    _without_effect(spec, network)


def _defaults(spec: Fields, provider: str) -> _Defaults:
    cni = spec_of(spec, "cni")
    plugin, ipam = cni.one_of("type", _PLUGINS) or "Calico", spec_of(cni, "ipam")
    host_local = ipam.one_of("type", ("Calico", "HostLocal", *_PLUGINS[1:])) == "HostLocal"
    ipam.finish()
    cni.no_effect("no CNI plugin is configured", "binDir", "confDir")
    cni.finish()
    calico = plugin == "Calico"
    on_eks = provider == "EKS" and calico
    both = (VXLAN.word(Mode.ALWAYS), VXLAN.word(Mode.CROSS_SUBNET))
    vxlan_refused = dict.fromkeys(both, "VXLAN needs Calico's IPAM, and cni.ipam is HostLocal")
    all_refused = dict.fromkeys(words().keys() - {DIRECT.title}, f"encapsulation is Calico's, and cni is {plugin}")
    return _Defaults(
        encapsulation=(VXLAN if on_eks else IPIP if calico else DIRECT).title,
        cidr=Prefix.parse("172.16.0.0/16" if on_eks else "192.168.0.0/16"),
        bgp=calico and not on_eks,
        backend_off=Backend.NONE if host_local or not calico else Backend.VXLAN,
        refused=(vxlan_refused if host_local else {}) if calico else all_refused,
    )


def _read_pools(draft: Draft, network: Fields, defaults: _Defaults) -> None:
    pools = list(network.each("ipPools"))
    if len(pools) > _MOST_POOLS:
        network.wrong("ipPools", f"{len(pools)} pools; the operator takes at most {_MOST_POOLS}", "too-many")
    for pool in pools:
        _read_pool(draft, pool, defaults)
    if not network.listed("ipPools"):
        at = located(network)
        made = Pool(
            "default-ipv4-ippool", defaults.cidr, *words()[defaults.encapsulation], nat_outgoing=True, place=at.place
        )
        draft.default_pool = Stated(made, at)


def _read_pool(draft: Draft, fields: Fields, defaults: _Defaults) -> None:
    fields.need("a pool", "cidr")
    cidr = fields.prefix("cidr")
    word = fields.one_of("encapsulation", words())
    if word and word in defaults.refused:
        fields.wrong("encapsulation", defaults.refused[word], "cni-encapsulation")
    nat = fields.one_of("natOutgoing", _SWITCH)
    size = fields.integer("blockSize", 0, 128)
    no_export, disabled = fields.boolean("disableBGPExport"), fields.boolean("disableNewAllocations")
    uses, selector = read_uses(fields), read_selector(fields, "nodeSelector")
    fields.one_of("assignmentMode", ("Automatic", "Manual"))
    fields.no_effect("a block is given to a node by the cluster file, never automatically", "assignmentMode")
    name = fields.text("name")
    if name is not None and not is_name(name):
        fields.wrong("name", not_a_name(name), "name")
    fields.finish()
    if cidr is None:
        draft.miss("pool")
        return
    is_v4 = cidr.version == 4
    encapsulation, mode = words()[word or (defaults.encapsulation if is_v4 else DIRECT.title)]
    pool = Pool(
        name=name or _default_name(draft, cidr),
        cidr=cidr,
        encapsulation=encapsulation,
        mode=mode,
        block_size=size or DEFAULT_BLOCK_SIZE[cidr.version],
        nat_outgoing=is_v4 if nat is None else nat == "Enabled",
        disabled=bool(disabled),
        disable_bgp_export=bool(no_export),
        node_selector=(fields.text("nodeSelector") or "all()") if selector else "all()",
        allowed_uses=uses,
        place=fields.place,
    )
    draft.operator_pools.append(Stated(pool, located(fields), pool_parts(fields, encapsulation)))


def _default_name(draft: Draft, cidr: Prefix) -> str:
    """As the operator names them: the first of a version, and the rest by their cidr."""
    first = f"default-ipv{cidr.version}-ippool"
    taken = any(stated.value.name == first for stated in draft.operator_pools)
    return str(cidr).replace(".", "-").replace(":", "-").replace("/", "-") if taken else first


def _without_effect(spec: Fields, network: Fields) -> None:
    detected = "nodes and their addresses are given by name"
    network.no_effect(detected, "nodeAddressAutodetectionV4", "nodeAddressAutodetectionV6")
    network.no_effect("bgpctl alone writes every route of an encapsulation", "clusterRoutingMode")
    network.no_effect(
        "forwarding of packets is the kernel's", "linuxDataplane", "windowsDataplane", "bpfNetworkBootstrap"
    )
    pods = "there are no pods"
    network.no_effect(pods, "containerIPForwarding", "hostPorts", "kubeProxyManagement")
    network.no_effect(pods, "linuxPolicySetupTimeoutSeconds", "multiInterfaceMode", "sysctl")
    network.finish()
    spec.no_effect("the operator installs Kubernetes objects; there are none", *_DEPLOYMENT)
    spec.finish()


def adopt_operator_pools(draft: Draft) -> None:
    """After all documents: the operator adopts a pool that is as it wants it, and reverts one that is not."""
    for stated in draft.operator_pools:
        known = draft.pools.get(stated.value.name)
        if known is None and draft.declare("pool", stated.value.name, stated.at):
            draft.pools[stated.value.name] = stated
        elif known is not None and known.value != stated.value:
            message = (
                f"pool {stated.value.name} differs from the IPPool at {known.at.place}; the operator would revert that"
            )
            draft.wrong(stated.at, message, "contradiction")
    made = draft.default_pool
    if made and not draft.pools and draft.knows_all("pool"):
        draft.declare("pool", made.value.name, made.at)
        draft.pools[made.value.name] = made


_DEPLOYMENT: Final = (
    "azure",
    "calicoKubeControllersDeployment",
    "calicoNodeDaemonSet",
    "calicoNodeWindowsDaemonSet",
    "calicoWebhooksDeployment",
    "calicoWindowsUpgradeDaemonSet",
    "certificateManagement",
    "componentResources",
    "controlPlaneNodeSelector",
    "controlPlaneReplicas",
    "controlPlaneTolerations",
    "csiNodeDriverDaemonSet",
    "fipsMode",
    "flexVolumePath",
    "imagePath",
    "imagePrefix",
    "imagePullSecrets",
    "kubeletVolumePluginPath",
    "logging",
    "nodeMetricsPort",
    "nodeUpdateStrategy",
    "nonPrivileged",
    "proxy",
    "registry",
    "serviceCIDRs",
    "tlsCipherSuites",
    "typhaAffinity",
    "typhaDeployment",
    "typhaMetricsPort",
    "variant",
    "windowsNodes",
)
