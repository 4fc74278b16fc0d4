"""
What the documents say, gathered from both forms before it is checked as a whole.

Refuses to know: which form said it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from bgpctl.core.cluster import Backend, Mode, Node, Place, Pool
from bgpctl.core.intent.fields import Fields, Problems
from bgpctl.core.intent.selector import Selector, SelectorError, parse
from bgpctl.core.model import Address, Asn, Prefix, Vni

T = TypeVar("T")
Kind: TypeAlias = Literal["pool", "node", "peer"]
Value: TypeAlias = Backend | Asn | Vni | int | bool
Setting: TypeAlias = Literal["backend", "asn", "mesh", "listen_port", "vxlan_vni", "vxlan_port"]

ENCAPSULATIONS: Final = {
    "IPIP": (Mode.ALWAYS, Mode.NEVER),
    "IPIPCrossSubnet": (Mode.CROSS_SUBNET, Mode.NEVER),
    "VXLAN": (Mode.NEVER, Mode.ALWAYS),
    "VXLANCrossSubnet": (Mode.NEVER, Mode.CROSS_SUBNET),
    "None": (Mode.NEVER, Mode.NEVER),
}
"""The operator's `encapsulation` as (ipipMode, vxlanMode)."""

_DEFAULT_BLOCK_SIZE: Final = {4: 26, 6: 122}


@dataclass(frozen=True, slots=True)
class Located:
    """Where a value was said, for messages."""

    place: Place
    path: str


@dataclass(frozen=True, slots=True)
class Stated(Generic[T]):
    """Something that was said; `parts` tells where those of its parts stand that a rule may be about."""

    value: T
    at: Located
    parts: Mapping[str, Located] = field(default_factory=dict)

    def part(self, name: str) -> Located:
        """Where the part stands; the whole, if it was not given."""
        return self.parts.get(name, self.at)


@dataclass(frozen=True, slots=True)
class BlockDraft:
    """A block said to be a node's."""

    node: str
    prefix: Prefix


@dataclass(frozen=True, slots=True)
class PeerDraft:
    """A peer whose nodes are still a selector, a name, or (neither) all."""

    name: str
    address: Address
    asn: Asn
    port: int
    selector: Selector
    node: str | None
    password_file: str | None


@dataclass(slots=True)
class Draft:
    """Grows while documents are read. What cannot be read is a problem, and is declared all the same."""

    problems: Problems = field(default_factory=Problems)
    pools: dict[str, Stated[Pool]] = field(default_factory=dict)
    nodes: dict[str, Stated[Node]] = field(default_factory=dict)
    peers: dict[str, Stated[PeerDraft]] = field(default_factory=dict)
    blocks: list[Stated[BlockDraft]] = field(default_factory=list)
    settings: dict[Setting, Stated[Value]] = field(default_factory=dict)
    _declared: dict[tuple[Kind, str], Located] = field(default_factory=dict)
    _incomplete: set[Kind] = field(default_factory=set)

    def wrong(self, at: Located, message: str, rule: str) -> None:
        """Note a problem."""
        self.problems.add(at.place, at.path, message, rule)

    def set(self, name: Setting, value: Value | None, at: Located) -> None:
        """A cluster-wide value; saying it twice differently is a problem."""
        if value is None:
            return
        earlier = self.settings.setdefault(name, Stated(value, at))
        if earlier.value != value:
            self.wrong(at, f"{_word(value)} contradicts {_word(earlier.value)} at {earlier.at.place}", "contradiction")

    def declare(self, kind: Kind, name: str, at: Located) -> bool:
        """Whether nothing of this kind has this name yet; otherwise a problem that names both places."""
        earlier = self._declared.setdefault((kind, name), at)
        if earlier is not at:
            self.wrong(at, f"{kind} {name} is already given at {earlier.place}", "duplicate")
        return earlier is at

    def declared(self, kind: Kind, name: str) -> bool:
        """Whether it was named, readable or not."""
        return (kind, name) in self._declared

    def miss(self, *kinds: Kind) -> None:
        """Something of these kinds could not be read: what seems to be absent may be there."""
        self._incomplete.update(kinds)

    def knows_all(self, kind: Kind) -> bool:
        """Whether everything of the kind was readable, so that absence means absence."""
        return kind not in self._incomplete


def located(fields: Fields, key: str = "") -> Located:
    """Where `key` of the mapping is; the mapping itself without a key, or if the key is absent."""
    return Located(fields.at(key), fields.under(key)) if fields.has(key) else Located(fields.place, fields.path)


def read_pool(draft: Draft, fields: Fields, name: str, at: Located, modes: tuple[Mode, Mode] | None = None) -> None:
    """Take a pool in by the keys that both forms share; `modes` are those of `encapsulation`, if that was given."""
    cidr = fields.prefix("cidr")
    fields.need("a pool", "cidr")
    ipip, vxlan = fields.choice("ipipMode", Mode), fields.choice("vxlanMode", Mode)
    if modes and (ipip or vxlan):
        fields.wrong("encapsulation", "encapsulation and ipipMode or vxlanMode cannot both be given", "both-forms")
    ipip_mode, vxlan_mode = modes or (ipip or Mode.NEVER, vxlan or Mode.NEVER)
    size = fields.integer("blockSize", 0, 128)
    nat, disabled = fields.boolean("natOutgoing"), fields.boolean("disabled")
    no_export = fields.boolean("disableBGPExport")
    is_new = draft.declare("pool", name, at)
    if cidr is None:
        draft.miss("pool")
    elif is_new:
        pool = Pool(
            name=name,
            cidr=cidr,
            ipip_mode=ipip_mode,
            vxlan_mode=vxlan_mode,
            block_size=size or _DEFAULT_BLOCK_SIZE[cidr.version],
            nat_outgoing=bool(nat),
            disabled=bool(disabled),
            disable_bgp_export=bool(no_export),
            place=at.place,
        )
        draft.pools[name] = Stated(pool, at, _pool_parts(fields))


def _pool_parts(fields: Fields) -> Mapping[str, Located]:
    ipip, vxlan = ("encapsulation",) * 2 if fields.has("encapsulation") else ("ipipMode", "vxlanMode")
    return {
        "cidr": located(fields, "cidr"),
        "ipip": located(fields, ipip),
        "vxlan": located(fields, vxlan),
        "block_size": located(fields, "blockSize"),
    }


def take_node(draft: Draft, name: str, node: Node | None, at: Located, parts: Mapping[str, Located]) -> None:
    """Take a node in; None is one that could not be read."""
    is_new = draft.declare("node", name, at)
    if node is None:
        draft.miss("node")
    elif is_new:
        draft.nodes[name] = Stated(node, at, parts)


def take_peer(draft: Draft, name: str, peer: PeerDraft | None, at: Located, parts: Mapping[str, Located]) -> None:
    """Take a peer in; None is one that could not be read."""
    if draft.declare("peer", name, at) and peer is not None:
        draft.peers[name] = Stated(peer, at, parts)


def read_labels(fields: Fields | None) -> tuple[tuple[str, str], ...]:
    """A mapping of texts, sorted."""
    if fields is None:
        return ()
    return tuple(sorted((key, fields.text(key) or "") for key in fields.names()))


def read_selector(fields: Fields, key: str) -> Selector | None:
    """A selector on labels, which is that of all nodes if the key is absent; None if it cannot be read."""
    text = fields.text(key)
    try:
        return parse(text or "")
    except SelectorError as error:
        fields.wrong(key, str(error), "selector")
        return None


def _word(value: Value) -> object:
    return value.value if isinstance(value, Backend) else value


def beside(place: Place, file: str | None) -> str | None:
    """A path as seen from the file that names it."""
    return None if file is None else str(PurePosixPath(place.file).parent / file)
