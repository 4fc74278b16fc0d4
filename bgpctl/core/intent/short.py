"""
The short form: one document with `calico_backend`, `asNumber`, `pools`, `nodes`, `mesh`, `peers`.

Refuses to know: Calico's resources, and the keys of a lab file that are somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bgpctl.core.cluster.configuration import Backend
from bgpctl.core.cluster.encapsulation import Encapsulation, tunnels, words
from bgpctl.core.intent.draft import BlockDraft, Draft, Kind, Located, located, read_labels
from bgpctl.core.intent.fields import Fields, is_name, not_a_name, parse_prefix, scalar
from bgpctl.core.intent.filters import read_advertisements, read_filter
from bgpctl.core.intent.nodes import Rest, Underlay, read_tunnels, take_block, take_borrowed, take_node
from bgpctl.core.intent.peers import Remote, read_mesh, read_peer
from bgpctl.core.intent.pools import read_pool
from bgpctl.core.intent.settings import read_mtus, read_vni_and_port
from bgpctl.core.intent.tree import Mapping
from bgpctl.core.intent.tunnel_keys import short_end_keys
from bgpctl.core.intent.values import host, interface_of_version, of_version

LAB_KEYS: Final = frozenset({"name", "description", "segments", "routers", "hosts", "workloads", "checks", "runs"})
"""Keys of a lab file beside the cluster, and drivers of encapsulations: accepted, and of no effect on the intent."""


def read_short(draft: Draft, document: Mapping) -> None:
    """Take one document of the short form in."""
    fields = Fields(document, "", draft.problems)
    fields.ignore(*LAB_KEYS, *(f"{name}-drivers" for name in tunnels()))
    draft.set("backend", fields.choice("calico_backend", Backend), located(fields, "calico_backend"))
    draft.set("asn", fields.asn("asNumber"), located(fields, "asNumber"))
    draft.set("listen_port", fields.integer("listenPort", 1, 65535), located(fields, "listenPort"))
    draft.set("workload_mtu", fields.integer("mtu", 0, 65535), located(fields, "mtu"))
    read_vni_and_port(draft, fields)
    read_mtus(draft, fields)
    read_mesh(draft, fields, "mesh")
    read_advertisements(draft, fields)
    _each(draft, fields, "pools", "pool", _read_pool)
    _each(draft, fields, "nodes", "node", _read_node)
    _each(draft, fields, "filters", "filter", _read_filter)
    _each(draft, fields, "peers", "peer", _read_peer)
    fields.finish()


def _each(draft: Draft, fields: Fields, key: str, kind: Kind, read: Callable[[Draft, Fields, str], None]) -> None:
    if fields.has(key) and not isinstance(fields.tree(key), Mapping):
        draft.miss(kind)
    for name, entry in fields.entries(key):
        if not is_name(name):
            draft.wrong(located(entry), not_a_name(name), "name")
        read(draft, entry, name)
        entry.finish()


def _read_pool(draft: Draft, fields: Fields, name: str) -> None:
    known = words()
    word = fields.one_of("encapsulation", known)
    read_pool(draft, fields, name, located(fields), known[word] if word else None)


def _read_node(draft: Draft, fields: Fields, name: str) -> None:
    at = located(fields)
    fields.need("a node", "address")
    asn, labels = fields.asn("asNumber"), read_labels(fields.fields("labels"))
    cluster_id = fields.value("clusterID", of_version(4), "address")
    for path, item in fields.items("blocks"):
        prefix = scalar(item, path, draft.problems, lambda leaf: parse_prefix(leaf.text), "cidr")
        if prefix:
            take_block(draft, BlockDraft(name, prefix), Located(item.place, path))
    for path, item in fields.items("borrowed"):
        prefix = scalar(item, path, draft.problems, host, "address")
        if prefix:
            take_borrowed(draft, BlockDraft(name, prefix), Located(item.place, path))
    ends = read_tunnels((fields, short_end_keys()))
    take_node(draft, name, at, _underlay(fields), ends, Rest(asn, labels, cluster_id, _accepts(fields)))


def _accepts(fields: Fields) -> frozenset[Encapsulation] | None:
    """A list of tunnels; an empty one says that it accepts none."""
    known = tunnels()
    given = fields.words("accepts", known)
    return frozenset(known[word] for word in given) if fields.has("accepts") else None


def _underlay(fields: Fields) -> Underlay | None:
    """`address` has either version; a node that has both says the IPv6 one by `address6`."""
    main, other = fields.interface("address"), fields.value("address6", interface_of_version(6), "address")
    if main and other and main.address.version == 6:
        fields.wrong("address6", f"{main} is the node's IPv6 address already; address6 stands beside IPv4", "family")
        other = None
    return Underlay(main, located(fields, "address"), other, located(fields, "address6")) if main else None


def _read_filter(draft: Draft, fields: Fields, name: str) -> None:
    read_filter(draft, fields, name, located(fields))


def _read_peer(draft: Draft, fields: Fields, name: str) -> None:
    remote = Remote("ip", fields.address("ip"), fields.integer("port", 1, 65535))
    if fields.has("port") and fields.has("peerSelector"):
        fields.wrong("port", "nodes are peered with where all nodes listen: say listenPort", "port-with-selector")
    read_peer(draft, fields, name, located(fields), remote)
