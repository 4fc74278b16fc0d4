"""
The short form: one document with `calico_backend`, `asNumber`, `pools`, `nodes`, `mesh`, `peers`, `announce`.

Refuses to know: Calico's resources, and the other keys of a lab file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from bgpctl.core.cluster.configuration import Configuration
from bgpctl.core.cluster.encapsulation import Encapsulation, tunnels
from bgpctl.core.intent.draft import BlockDraft, Draft, Kind, located
from bgpctl.core.intent.field_kinds import ADDRESS, BACKEND, MTU, PORT
from bgpctl.core.intent.fields import Fields, is_name, not_a_name
from bgpctl.core.intent.filters import ADVERTISEMENTS, read_filter
from bgpctl.core.intent.nodes import Underlay, short_node, take_block, take_borrowed, take_node, tunnels_of
from bgpctl.core.intent.peers import MESH_OPTIONS, Remote, mesh_row, peer_table, read_peer
from bgpctl.core.intent.pools import read_pool, short_pool
from bgpctl.core.intent.services import read_service
from bgpctl.core.intent.settings import ASN_ROW, CHANNEL_PORT, LISTEN_PORT, MTU_DISCOVERY, TUNNELS
from bgpctl.core.intent.shapes import Shape, by_name, ref
from bgpctl.core.intent.tables import Row, Table, Values, set_all
from bgpctl.core.intent.tree import Mapping as Document
from bgpctl.core.intent.tunnel_keys import short_end_keys

_LAB_KEYS: Final = ("name", "description", "segments", "hosts", "routers", "workloads", "checks")


def driver_key(encapsulation: Encapsulation) -> str:
    """The key of a lab file for the drivers of one encapsulation."""
    return f"{encapsulation.name}-drivers"


def lab_keys() -> tuple[str, ...]:
    """The keys of a lab file beside the cluster: accepted, and of no effect on the intent."""
    return (*_LAB_KEYS, *map(driver_key, tunnels().values()), "runs", "etcd")


SHORT_PEER: Final = peer_table(
    "ip",
    (
        Row("ip", ADDRESS, "address", "The speaker's address."),
        Row("port", PORT, "port", "Where it listens.", always=True),
    ),
    is_short=True,
)

SETTINGS: Final = Table(
    (
        Row("calico_backend", BACKEND, "backend", always=True),
        ASN_ROW,
        mesh_row("mesh"),
        LISTEN_PORT,
        CHANNEL_PORT,
        *MESH_OPTIONS,
        *ADVERTISEMENTS,
        *TUNNELS,
        MTU_DISCOVERY,
        Row("mtu", MTU, "workload_mtu", "Bytes; of the links of workloads. 0 derives it from the underlay."),
    ),
    Configuration,
    about="The short form.",
)
"""Settings of the whole cluster."""


def _read_pool(draft: Draft, fields: Fields, name: str) -> None:
    read_pool(draft, fields, short_pool(), name, located(fields))


def _read_node(draft: Draft, fields: Fields, name: str) -> None:
    found = short_node().read(fields)
    for block, at in found.get("blocks", ()):
        take_block(draft, BlockDraft(name, block), at)
    for address, at in found.get("borrowed", ()):
        take_borrowed(draft, BlockDraft(name, address), at)
    ends = tunnels_of((fields, short_end_keys(), found))
    take_node(draft, name, located(fields), _underlay(fields, found), ends, found)


def _underlay(fields: Fields, found: Values) -> Underlay | None:
    """`address` has either version; a node that has both has the IPv6 one as `address6`."""
    main, other = found.get("address"), found.get("address6")
    if main and other and main.address.version == 6:
        fields.wrong("address6", f"{main} is the node's IPv6 address already; address6 stands beside IPv4", "family")
        other = None
    return Underlay(main, located(fields, "address"), other, located(fields, "address6")) if main else None


def _read_filter(draft: Draft, fields: Fields, name: str) -> None:
    read_filter(draft, fields, name, located(fields))


def _read_peer(draft: Draft, fields: Fields, name: str) -> None:
    remote = Remote("ip", ADDRESS.read(fields, "ip"), PORT.read(fields, "port"))
    if fields.has("port") and fields.has("peerSelector"):
        fields.wrong("port", "nodes are peered with where all nodes listen: set listenPort", "port-with-selector")
    read_peer(draft, fields, SHORT_PEER, name, located(fields), remote)


_Reader: TypeAlias = Callable[[Draft, Fields, str], None]
_NAMED: Final[Mapping[str, tuple[Kind, _Reader, str]]] = {
    "pools": ("pool", _read_pool, "shortPool"),
    "nodes": ("node", _read_node, "shortNode"),
    "peers": ("peer", _read_peer, "shortPeer"),
    "filters": ("filter", _read_filter, "filter"),
    "announce": ("service", read_service, "service"),
}
"""Mappings of named objects: their kind, their reader, their definition in the schema."""


_ABOUT: Final = {"announce": "Service addresses by name, announced by BGP while their checks pass."}


def read_short(draft: Draft, document: Document) -> None:
    """Take one document of the short form in."""
    fields = Fields(document, "", draft.problems)
    fields.ignore(*lab_keys())
    set_all(draft, SETTINGS, fields)
    for key, (kind, read, _) in _NAMED.items():
        _read_each(draft, fields, key, kind, read)
    fields.finish()


def read_nodes(draft: Draft, nodes: Document) -> None:
    """Take some of the nodes of a document in, as `read_short` does."""
    fields = Fields(Document(nodes.place, {"nodes": nodes}, {"nodes": nodes.place}), "", draft.problems)
    kind, read, _ = _NAMED["nodes"]
    _read_each(draft, fields, "nodes", kind, read)


def _read_each(draft: Draft, fields: Fields, key: str, kind: Kind, read: _Reader) -> None:
    if fields.has(key) and not isinstance(fields.tree(key), Document):
        draft.miss(kind)
    for name, entry in fields.entries(key):
        if not is_name(name):
            draft.wrong(located(entry), not_a_name(name), "name")
        read(draft, entry, name)
        entry.finish()


def shape() -> Shape:
    """The JSON Schema of a document of the short form."""
    named = (
        (key, {"description": _ABOUT.get(key, f"{key.capitalize()} by name."), **by_name(ref(name))})
        for key, (*_, name) in _NAMED.items()
    )
    return SETTINGS.shape(more=[*named, *((key, True) for key in lab_keys())])
