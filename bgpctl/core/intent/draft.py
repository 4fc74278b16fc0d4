"""
The content of the documents, gathered from both forms before it is checked as a whole.

Refuses to know: the form of the document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from bgpctl.core.cluster.allocations import NodeAllocations
from bgpctl.core.cluster.configuration import Advertisement, Backend, Filter, Node, Peer, Pool, Service
from bgpctl.core.cluster.problems import Place, Severity
from bgpctl.core.cluster.selector import Selector, SelectorError, names_global, parse
from bgpctl.core.intent import tree
from bgpctl.core.intent.fields import Fields, Problems
from bgpctl.core.net.addresses import Asn, Prefix, Vni

T = TypeVar("T")
Kind: TypeAlias = Literal["pool", "node", "peer", "filter", "service"]
Value: TypeAlias = Backend | Asn | Vni | int | bool | str | tuple[Advertisement, ...]
Setting: TypeAlias = Literal[
    "backend",
    "asn",
    "mesh",
    "listen_port",
    "vxlan_vni",
    "vxlan_port",
    "advertisements",
    "mesh_password_file",
    "mesh_restart_time_s",
    "ipip_mtu",
    "vxlan_mtu",
    "vxlan_mtu6",
    "workload_mtu",
    "tcp_mss",
    "channel_port",
    "mtu_discovery",
]


@dataclass(frozen=True, slots=True)
class Located:
    """The place of a value, for messages."""

    place: Place
    path: str


@dataclass(frozen=True, slots=True)
class Stated(Generic[T]):
    """A value with its place; `parts` has the places of those of its parts that a rule may be about."""

    value: T
    at: Located
    parts: Mapping[str, Located] = field(default_factory=dict)

    def part(self, name: str) -> Located:
        """Where the part stands; the whole, if it was not given."""
        return self.parts.get(name, self.at)


@dataclass(frozen=True, slots=True)
class BlockDraft:
    """A block of a node, or an address borrowed by it, by one kind of resource (`by`)."""

    node: str
    prefix: Prefix
    by: str = "list"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of Calico's address management; `strict_at` is where borrowing was forbidden."""

    strict_at: Located | None = None
    most_blocks: int | None = None
    most_blocks_at: Located | None = None

    def with_those_of(self, later: Limits) -> Limits:
        """Both together; what was said later counts."""
        most = later if later.most_blocks else self
        return Limits(later.strict_at or self.strict_at, most.most_blocks, most.most_blocks_at)


@dataclass(frozen=True, slots=True)
class PeerDraft:
    """
    A peer whose `nodes` and `remotes` are not selected yet.

    `node` names the only node; `port` is None where the remote's usual one is meant.
    """

    peer: Peer
    node: str | None
    selector: Selector
    peer_selector: Selector | None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceDraft:
    """A service whose `nodes` are not selected yet."""

    service: Service
    selector: Selector


@dataclass(slots=True)
class Draft:
    """
    Grows while documents are read. An unreadable object is a problem, and is declared all the same.

    Attributes:
        tunnel_ends: the addresses and MACs that were given to the tunnel ends of each of the `nodes`.
        udp_ports: ports that something else is to use, with its name.
        recorded: nodes whose tunnel ends are as a datastore has them.
        suppressed: peers that a global peer with the same address takes the place of.
        unable: per peer, the nodes that are selected and have no address of its IP version.
    """

    problems: Problems = field(default_factory=Problems)
    pools: dict[str, Stated[Pool]] = field(default_factory=dict)
    nodes: dict[str, Stated[Node]] = field(default_factory=dict)
    peers: dict[str, Stated[PeerDraft]] = field(default_factory=dict)
    filters: dict[str, Stated[Filter]] = field(default_factory=dict)
    services: dict[str, Stated[ServiceDraft]] = field(default_factory=dict)
    tunnel_ends: dict[str, Stated[NodeAllocations]] = field(default_factory=dict)
    blocks: list[Stated[BlockDraft]] = field(default_factory=list)
    borrowed: list[Stated[BlockDraft]] = field(default_factory=list)
    limits: Limits = Limits()
    reserved: list[tuple[Prefix, Located]] = field(default_factory=list)
    operator_pools: list[Stated[Pool]] = field(default_factory=list)
    udp_ports: list[tuple[int, str, Located]] = field(default_factory=list)
    recorded: set[str] = field(default_factory=set)
    suppressed: set[str] = field(default_factory=set)
    unable: dict[str, tuple[str, ...]] = field(default_factory=dict)
    default_pool: Stated[Pool] | None = None
    settings: dict[Setting, Stated[Value]] = field(default_factory=dict)
    _declared: dict[tuple[Kind, str], Located] = field(default_factory=dict)
    _incomplete: set[Kind] = field(default_factory=set)

    def wrong(self, at: Located, message: str, rule: str, severity: Severity = Severity.ERROR) -> None:
        """Note a problem."""
        self.problems.add(at.place, at.path, message, rule, severity)

    def set(self, name: Setting, value: Value | None, at: Located) -> None:
        """A cluster-wide value; saying it twice differently is a problem."""
        if value is None:
            return
        earlier = self.settings.setdefault(name, Stated(value, at))
        if earlier.value != value:
            self.wrong(at, f"{_word(value)} contradicts {_word(earlier.value)} at {earlier.at.place}", "contradiction")

    def declare(self, kind: Kind, name: str, at: Located) -> bool:
        """True if nothing of this kind has this name yet; otherwise a problem that names both places."""
        earlier = self._declared.setdefault((kind, name), at)
        if earlier is not at:
            self.wrong(at, f"{kind} {name} is already given at {earlier.place}", "duplicate")
        return earlier is at

    def declared(self, kind: Kind, name: str) -> bool:
        """True if it was named, readable or not."""
        return (kind, name) in self._declared

    def declares_only_nodes(self) -> bool:
        """True if no object of another kind was named, readable or not."""
        return all(kind == "node" for kind, _ in self._declared)

    def take(self, other: Draft) -> None:
        """Add what was read by itself, as if it had been read into this one after everything that is here."""
        self.problems.found += other.problems.found
        for setting, stated in other.settings.items():
            self.set(setting, stated.value, stated.at)
        new = {key for key, at in other._declared.items() if self.declare(*key, at)}
        for kind, mine, theirs in self._named(other):
            mine.update((name, stated) for name, stated in theirs.items() if (kind, name) in new)
        for items, more in self._lists(other):
            items.extend(more)
        self.limits = self.limits.with_those_of(other.limits)
        self.default_pool = other.default_pool or self.default_pool
        self.recorded |= other.recorded
        self._incomplete |= other._incomplete

    def _named(self, other: Draft) -> Iterator[tuple[Kind, dict[str, Any], dict[str, Any]]]:
        yield "pool", self.pools, other.pools
        yield "node", self.nodes, other.nodes
        yield "node", self.tunnel_ends, other.tunnel_ends
        yield "peer", self.peers, other.peers
        yield "filter", self.filters, other.filters
        yield "service", self.services, other.services

    def _lists(self, other: Draft) -> Iterator[tuple[list[Any], list[Any]]]:
        yield self.blocks, other.blocks
        yield self.borrowed, other.borrowed
        yield self.reserved, other.reserved
        yield self.operator_pools, other.operator_pools
        yield self.udp_ports, other.udp_ports

    def miss(self, *kinds: Kind) -> None:
        """An object of these kinds could not be read: one that seems to be absent may be there."""
        self._incomplete.update(kinds)

    def knows_all(self, kind: Kind) -> bool:
        """True if everything of the kind was readable, so that absence means absence."""
        return kind not in self._incomplete

    def is_complete(self) -> bool:
        """True if everything of all kinds was readable."""
        return not self._incomplete


def located(fields: Fields, key: str = "") -> Located:
    """Where `key` of the mapping is; the mapping itself without a key, or if the key is absent."""
    return Located(fields.at(key), fields.under(key)) if fields.has(key) else Located(fields.place, fields.path)


def spec_of(fields: Fields, key: str = "spec") -> Fields:
    """The mapping under `key`, or an empty one in its place."""
    return fields.fields(key) or Fields(tree.Mapping(fields.place, {}, {}), fields.under(key), fields.problems)


def read_labels(fields: Fields | None) -> tuple[tuple[str, str], ...]:
    """A mapping of texts, sorted."""
    if fields is None:
        return ()
    return tuple(sorted((key, fields.text(key) or "") for key in fields.names()))


def read_selector(fields: Fields, key: str) -> Selector | None:
    """A selector on labels, which is that of all nodes if the key is absent; None if it cannot be read."""
    text = fields.text(key)
    try:
        found = parse(text or "")
    except SelectorError as error:
        fields.wrong(key, str(error), "selector")
        return None
    if names_global(text or ""):
        fields.wrong(key, "global() selects objects outside namespaces; of nodes, all() selects every one", "selector")
    return found


def _word(value: Value) -> object:
    if isinstance(value, Backend):
        return value.value
    return f"a list of {len(value)}" if isinstance(value, tuple) else value


def beside(place: Place, file: str | None) -> str | None:
    """A path as seen from the file that names it."""
    return None if file is None else str(PurePosixPath(place.file).parent / file)
