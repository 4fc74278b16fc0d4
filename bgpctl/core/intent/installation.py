"""
The operator's Installation: encapsulation, BGP, MTU and the pools it makes.

Refuses to know: how the operator installs anything.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from bgpctl.core.cluster.configuration import Backend, Pool
from bgpctl.core.cluster.encapsulation import DIRECT, IPIP, VXLAN, Mode, words
from bgpctl.core.intent.draft import Draft, Stated, located, spec_of
from bgpctl.core.intent.field_kinds import ANYTHING, BOOLEAN, MTU, UNREAD, FieldKind, coded, no_effect, word
from bgpctl.core.intent.fields import Fields, is_name, not_a_name
from bgpctl.core.intent.pools import (
    ALLOWED_USES,
    ASSIGNMENT,
    BLOCK_SIZE,
    CIDR,
    DEFAULT_BLOCK_SIZE,
    NO_EXPORT,
    NODE_SELECTOR,
    Crossing,
    crossing_row,
    pool_parts,
)
from bgpctl.core.intent.shapes import many, ref
from bgpctl.core.intent.tables import Row, Table, rows_for
from bgpctl.core.intent.tunnel_keys import per_encapsulations
from bgpctl.core.net.addresses import Prefix, Vni

_MOST_POOLS: Final = 25
_DOCKER_VNI: Final = Vni(10000)
"""Docker Enterprise's own overlay has 4096 already."""
_SWITCH: Final = coded({"Enabled": True, "Disabled": False})
_PLUGINS: Final = ("Calico", "AmazonVPC", "AzureVNET", "GKE")
_NO_TUNNEL: Final[Crossing] = (DIRECT, Mode.NEVER)


# The tables ----------------------------------------------------------------------------------------------------

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

_DETECTED: Final = "nodes and their addresses are given by name"
_FORWARDING: Final = "forwarding of packets is the kernel's"
_PODS: Final = "there are no pods"


def _read_name(fields: Fields, key: str) -> str | None:
    name = fields.text(key)
    if name is not None and not is_name(name):
        fields.wrong(key, not_a_name(name), "name")
    return name


@per_encapsulations
def operator_pool() -> Table:
    """A pool of the Installation."""
    return Table(
        (
            Row("name", FieldKind(_read_name, ref("name")), "name"),
            CIDR,
            crossing_row(),
            Row("natOutgoing", _SWITCH, "nat_outgoing", "Enabled for IPv4 and Disabled for IPv6 without it."),
            BLOCK_SIZE,
            NODE_SELECTOR,
            ALLOWED_USES,
            NO_EXPORT,
            ASSIGNMENT,
            Row("disableNewAllocations", BOOLEAN, "disabled"),
        ),
        what="a pool",
    )


NETWORK: Final = Table(
    (
        Row("bgp", _SWITCH, "bgp", "Disabled is calico_backend: vxlan."),
        Row("mtu", MTU, "workload_mtu"),
        Row("ipPools", FieldKind(ANYTHING.read, many(ref("operatorPool"), maxItems=_MOST_POOLS), None)),
        *rows_for(
            {
                "nodeAddressAutodetectionV4": no_effect(_DETECTED),
                "nodeAddressAutodetectionV6": no_effect(_DETECTED),
                "clusterRoutingMode": no_effect("bgpctl alone writes every route of an encapsulation"),
                "linuxDataplane": no_effect(_FORWARDING),
                "windowsDataplane": no_effect(_FORWARDING),
                "bpfNetworkBootstrap": no_effect(_FORWARDING),
                "containerIPForwarding": no_effect(_PODS),
                "hostPorts": no_effect(_PODS),
                "kubeProxyManagement": no_effect(_PODS),
                "linuxPolicySetupTimeoutSeconds": no_effect(_PODS),
                "multiInterfaceMode": no_effect(_PODS),
                "sysctl": no_effect(_PODS),
            }
        ),
    )
)
IPAM: Final = Table((Row("type", word("Calico", "HostLocal", *_PLUGINS[1:]), "type"),))
CNI: Final = Table(
    (
        Row("type", word(*_PLUGINS), "type"),
        Row("ipam", FieldKind(UNREAD.read, IPAM.shape(nullable=True), None)),
        Row("binDir", no_effect("no CNI plugin is configured")),
        Row("confDir", no_effect("no CNI plugin is configured")),
    )
)
INSTALLATION: Final = Table(
    (
        Row(
            "kubernetesProvider",
            word("", "AKS", "DockerEnterprise", "EKS", "GKE", "OpenShift", "RKE2", "TKG"),
            "provider",
        ),
        Row("cni", FieldKind(UNREAD.read, CNI.shape(nullable=True), None)),
        Row("calicoNetwork", FieldKind(UNREAD.read, NETWORK.shape(nullable=True), None)),
        *rows_for(dict.fromkeys(_DEPLOYMENT, no_effect("the operator installs Kubernetes objects; there are none"))),
    )
)


# Reading -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Defaults:
    """
    The operator's defaults; `refused` are encapsulations that it cannot do, with reasons. It makes a pool of its own
    only where addresses come from Calico's own address management.
    """

    crossing: Crossing
    makes_pool: bool
    cidr: Prefix
    bgp: bool
    backend_off: Backend
    refused: Mapping[Crossing, str]


def read_installation(draft: Draft, fields: Fields, _: str) -> None:
    """`bgp: Disabled` is calico_backend vxlan; without `ipPools` the operator makes one pool, if there is none."""
    spec = spec_of(fields)
    network = spec_of(spec, "calicoNetwork")
    provider = INSTALLATION.read(spec).get("provider", "")
    given = NETWORK.read(network)
    defaults = _defaults(spec, provider)
    backend = Backend.BIRD if given.get("bgp", defaults.bgp) else defaults.backend_off
    draft.set("backend", backend, located(network, "bgp"))
    draft.set("workload_mtu", given.get("workload_mtu"), located(network, "mtu"))
    if provider == "DockerEnterprise":
        draft.set("vxlan_vni", _DOCKER_VNI, located(spec, "kubernetesProvider"))
    _read_pools(draft, network, defaults)
    network.finish()
    spec.finish()


def _defaults(spec: Fields, provider: str) -> _Defaults:
    cni = spec_of(spec, "cni")
    ipam = spec_of(cni, "ipam")
    plugin = CNI.read(cni).get("type", "Calico")
    host_local = IPAM.read(ipam).get("type") == "HostLocal"
    ipam.finish()
    cni.finish()
    calico = plugin == "Calico"
    on_eks = provider == "EKS" and calico
    tunnelled = [crossing for crossing in words().values() if crossing != _NO_TUNNEL]
    vxlan = [crossing for crossing in tunnelled if crossing[0] == VXLAN]
    vxlan_refused = dict.fromkeys(vxlan, "VXLAN needs Calico's IPAM, and cni.ipam is HostLocal")
    all_refused = dict.fromkeys(tunnelled, f"encapsulation is Calico's, and cni is {plugin}")
    return _Defaults(
        crossing=(VXLAN if on_eks else IPIP, Mode.ALWAYS) if calico else _NO_TUNNEL,
        makes_pool=calico and not host_local,
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
    if defaults.makes_pool and not network.listed("ipPools"):
        at = located(network)
        made = Pool("default-ipv4-ippool", defaults.cidr, *defaults.crossing, nat_outgoing=True, place=at.place)
        draft.default_pool = Stated(made, at)


def _read_pool(draft: Draft, fields: Fields, defaults: _Defaults) -> None:
    found = operator_pool().read(fields)
    crossing, cidr, size = (found.pop(key, None) for key in ("crossing", "cidr", "block_size"))
    if crossing in defaults.refused:
        fields.wrong("encapsulation", defaults.refused[crossing], "cni-encapsulation")
    fields.finish()
    if cidr is None:
        draft.miss("pool")
        return
    is_v4 = cidr.version == 4
    encapsulation, mode = crossing or (defaults.crossing if is_v4 else _NO_TUNNEL)
    name, nat = found.pop("name", None) or "", found.pop("nat_outgoing", is_v4)
    size = size or DEFAULT_BLOCK_SIZE[cidr.version]
    pool = Pool(name, cidr, encapsulation, mode, size, nat, **found, place=fields.place)
    draft.operator_pools.append(Stated(pool, located(fields), pool_parts(fields, encapsulation)))


def _named(pools: Iterable[Stated[Pool]], known: Iterable[Pool]) -> Iterator[Stated[Pool]]:
    """The pools of all documents in their order, each with a name: without one that of the pool with its cidr."""
    by_cidr = {pool.cidr: pool.name for pool in known}
    taken: set[str] = set()
    for stated in pools:
        name = stated.value.name or by_cidr.get(stated.value.cidr) or _default_name(stated.value.cidr, taken)
        taken.add(name)
        yield replace(stated, value=replace(stated.value, name=name))


def _default_name(cidr: Prefix, taken: Container[str]) -> str:
    """As the operator names them: the first of a version, and the rest by their cidr."""
    first = f"default-ipv{cidr.version}-ippool"
    return str(cidr).replace(".", "-").replace(":", "-").replace("/", "-") if first in taken else first


def adopt_operator_pools(draft: Draft) -> None:
    """After all documents: the operator adopts a pool that is as it wants it, and reverts one that is not."""
    known_pools = [stated.value for stated in draft.pools.values()]
    for stated in _named(draft.operator_pools, known_pools):
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
