"""
Calico's resources, as they stand in Calico's own files: which kinds there are, and the small ones.

Refuses to know: the short form.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

from bgpctl.core.cluster.problems import Place, Severity
from bgpctl.core.intent import bgp, felix, installation, ipam, kubernetes, legacy, tree
from bgpctl.core.intent.draft import Draft, located, spec_of
from bgpctl.core.intent.fields import NOT_KNOWN, Fields, is_misspelt, is_name
from bgpctl.core.intent.filters import FILTER, read_filter
from bgpctl.core.intent.pools import calico_pool, read_pool
from bgpctl.core.intent.tables import Table
from bgpctl.core.intent.tree import shown

_Reader: TypeAlias = Callable[[Draft, Fields, str], None]


class _Kind(NamedTuple):
    """How a kind is read, the API versions that it comes in, and its table, or how that is made."""

    read: _Reader
    versions: tuple[str, ...]
    table: Table | Callable[[], Table]

    @property
    def spec(self) -> Table:
        """The table of its spec; of a ConfigMap, of its data."""
        return self.table if isinstance(self.table, Table) else self.table()


def read_resource(draft: Draft, document: tree.Mapping) -> None:
    """Take one resource in, or the items of a list of them."""
    kind_tree = document.items["kind"]
    kind = kind_tree.text if isinstance(kind_tree, tree.Scalar) else ""
    if kind == "List" or (kind.endswith("List") and kind.removesuffix("List") in {*KINDS, *OTHER_KINDS}):
        read_list(draft, document)
    elif kind in KINDS:
        _read_known(draft, document, kind)
    elif kind in legacy.READERS:
        legacy.read(draft, document, kind)
    elif kind == "DaemonSet":
        message = "no effect here: its variables (CALICO_IPV4POOL_CIDR and others) are not read; give IPPools"
        draft.problems.add(kind_tree.place, "kind", message, "no-effect", Severity.WARNING)
    elif kind in OTHER_KINDS:
        message = f"understood, no effect here: {OTHER_KINDS[kind]}"
        draft.problems.add(kind_tree.place, "kind", message, "no-effect", Severity.INFO)
    elif _is_foreign(document, kind):
        message = f"no effect here: {shown(kind)} is not known to this version of bgpctl"
        draft.problems.add(kind_tree.place, "kind", message, NOT_KNOWN, Severity.INFO)
    else:
        draft.miss("pool", "node", "filter")
        draft.problems.add(kind_tree.place, "kind", _unknown_kind(kind), "unknown-kind")


def _is_foreign(document: tree.Mapping, kind: str) -> bool:
    """True of a resource of another API that is no misspelt one of those that are known."""
    has_version = all(_is_text(document.items.get(key)) for key in ("apiVersion", "kind"))
    names = (kind, *(kind.removesuffix(end) + one for end, one in (("s", ""), ("ies", "y")) if kind.endswith(end)))
    known = (*KINDS, *legacy.READERS)
    return has_version and kind != "" and not any(is_misspelt(name, other) for name in names for other in known)


def _is_text(leaf: tree.Tree | None) -> bool:
    return isinstance(leaf, tree.Scalar) and isinstance(leaf.value, str)


def _read_known(draft: Draft, document: tree.Mapping, kind: str) -> None:
    name, place = _name(document)
    fields = Fields(document, f"{kind}/{name}" if name else kind, draft.problems, place, foreign=True)
    versions = _NODE_VERSIONS if kind == "Node" else KINDS[kind].versions
    version = fields.one_of("apiVersion", versions)
    fields.ignore("kind")
    fields.no_effect("a report of Calico's, no configuration", *(["status"] if version != "v1" else []))
    _check_metadata(fields, kind)
    if is_name(name) and (version or not fields.has("apiVersion")):
        read = kubernetes.read_node if (kind, version) == ("Node", "v1") else KINDS[kind].read
        read(draft, fields, name)
        fields.finish()
    else:
        draft.miss("pool", "node", "filter")


def _name(document: tree.Mapping) -> tuple[str, Place]:
    """The resource's name and where it stands; without one `""` and the place of the resource."""
    metadata = document.items.get("metadata")
    name = metadata.items.get("name") if isinstance(metadata, tree.Mapping) else None
    return (name.text, name.place) if isinstance(name, tree.Scalar) else ("", document.place)


def _check_metadata(fields: Fields, kind: str) -> None:
    fields.need("a resource", "metadata")
    metadata = fields.fields("metadata")
    if metadata:
        metadata.name("name")
        metadata.need("a resource", "name")
        metadata.bookkeeping(*BOOKKEEPING)
        if kind == "Node":
            metadata.ignore("labels", "annotations")
        else:
            metadata.bookkeeping("labels", "annotations")
        metadata.finish()


BOOKKEEPING: Final = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)


def _unknown_kind(kind: str) -> str:
    near = difflib.get_close_matches(kind[:60], [*KINDS, *OTHER_KINDS], n=1, cutoff=0.8)
    hint = f"did you mean {near[0]}?" if near else f"known kinds: {', '.join(sorted(KINDS))}, List"
    return f"{shown(kind)} is not understood; {hint}"


def read_list(draft: Draft, document: tree.Mapping) -> None:
    """Take in the resources of a list, which need not say that it is one."""
    fields = Fields(document, "", draft.problems)
    fields.ignore("apiVersion", "kind")
    fields.bookkeeping("metadata")
    for path, item in fields.items("items"):
        if isinstance(item, tree.Mapping) and "kind" in item.items:
            read_resource(draft, item)
        else:
            draft.miss("pool", "node", "filter")
            draft.problems.add(item.place, path, "an item of a List is a resource with a kind", "type")
    fields.finish()


def _read_pool(draft: Draft, fields: Fields, name: str) -> None:
    spec = spec_of(fields)
    read_pool(draft, spec, calico_pool(), name, located(fields))
    spec.finish()


def _read_filter(draft: Draft, fields: Fields, name: str) -> None:
    # A condition that is not known here would make a rule match what it is not meant to.
    spec = spec_of(fields).strict()
    read_filter(draft, spec, name, located(fields))
    spec.finish()


CALICO: Final = ("projectcalico.org/v3", "crd.projectcalico.org/v1")
_NODE_VERSIONS: Final = (*CALICO, "v1")

KINDS: Final[Mapping[str, _Kind]] = {
    "BGPConfiguration": _Kind(bgp.read_configuration, CALICO, bgp.BGP_CONFIGURATION),
    "BGPFilter": _Kind(_read_filter, CALICO, FILTER),
    "BGPPeer": _Kind(bgp.read_bgp_peer, CALICO, bgp.BGP_PEER),
    "BlockAffinity": _Kind(ipam.read_affinity, CALICO, ipam.AFFINITY),
    "ConfigMap": _Kind(kubernetes.read_config_map, ("v1",), kubernetes.CONFIG_DATA),
    "FelixConfiguration": _Kind(felix.read_felix, CALICO, felix.FELIX),
    "IPAMBlock": _Kind(ipam.read_block, CALICO, ipam.BLOCK),
    "IPAMConfig": _Kind(ipam.read_config, CALICO, ipam.CONFIG),
    "IPAMConfiguration": _Kind(ipam.read_config, CALICO, ipam.CONFIG),
    "IPPool": _Kind(_read_pool, CALICO, calico_pool),
    "IPReservation": _Kind(ipam.read_reservation, CALICO, ipam.RESERVATION),
    "Installation": _Kind(installation.read_installation, ("operator.tigera.io/v1",), installation.INSTALLATION),
    "Node": _Kind(bgp.read_node, CALICO, bgp.NODE_SPEC),
}

_POLICY: Final = "it is about policy, and bgpctl filters no packets"
_CONTROL: Final = "it is about Calico's own control plane"
_RUNNING: Final = "it is about running Calico in Kubernetes"
OTHER_KINDS: Final = {
    "APIServer": _CONTROL,
    "CalicoNodeStatus": "bgpctl show has the state of a node",
    "ClusterInformation": _CONTROL,
    "ClusterRole": _RUNNING,
    "ClusterRoleBinding": _RUNNING,
    "CustomResourceDefinition": _RUNNING,
    "Deployment": _RUNNING,
    "GlobalNetworkPolicy": _POLICY,
    "GlobalNetworkSet": _POLICY,
    "Goldmane": _CONTROL,
    "HostEndpoint": _POLICY,
    "IPAMHandle": "blocks and their allocations have the same content",
    "KubeControllersConfiguration": _CONTROL,
    "NetworkPolicy": _POLICY,
    "Namespace": _RUNNING,
    "NetworkSet": _POLICY,
    "PodDisruptionBudget": _RUNNING,
    "Profile": _POLICY,
    "Role": _RUNNING,
    "RoleBinding": _RUNNING,
    "Secret": "Secrets of Kubernetes cannot be read here: put a password into a file and name that by passwordFile",
    "Service": _RUNNING,
    "ServiceAccount": _RUNNING,
    "StagedGlobalNetworkPolicy": _POLICY,
    "StagedKubernetesNetworkPolicy": _POLICY,
    "StagedNetworkPolicy": _POLICY,
    "Tier": _POLICY,
    "TigeraStatus": _CONTROL,
    "Whisker": _CONTROL,
    "WorkloadEndpoint": "bgpctl attaches no workloads: it routes their blocks",
}
"""Kinds that a dump of a cluster may contain and that do not concern routing."""
