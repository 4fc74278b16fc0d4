"""
What the documents say, gathered from both forms before it is checked as a whole.

Refuses to know: which form said it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from bgpctl.core.intent.fields import Fields, Problems
from bgpctl.core.model import Address, Asn, Backend, Encapsulation, Mode, Node, Place, Pool, Prefix, Vni

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


@dataclass(frozen=True, slots=True)
class Located:
    """Where a value was said, for messages."""

    place: Place
    path: str


@dataclass(frozen=True, slots=True)
class BlockDraft:
    """A block said to be a node's."""

    node: str
    prefix: Prefix
    at: Located


@dataclass(frozen=True, slots=True)
class PeerDraft:
    """A peer whose nodes are still a selector or a name."""

    name: str
    address: Address
    asn: Asn
    selector: str | None
    node: str | None
    port: int
    password_file: str | None
    at: Located


@dataclass(slots=True)
class Draft:
    """Grows while documents are read."""

    problems: Problems = field(default_factory=Problems)
    pools: dict[str, tuple[Pool, Located]] = field(default_factory=dict)
    nodes: dict[str, tuple[Node, Located]] = field(default_factory=dict)
    peers: dict[str, PeerDraft] = field(default_factory=dict)
    blocks: list[BlockDraft] = field(default_factory=list)
    settings: dict[Setting, tuple[Value, Located]] = field(default_factory=dict)

    def set(self, name: Setting, value: Value | None, at: Located) -> None:
        """A cluster-wide value; saying it twice differently is a problem."""
        if value is None:
            return
        earlier = self.settings.setdefault(name, (value, at))
        if earlier[0] != value:
            message = f"{_shown(value)} contradicts {_shown(earlier[0])} at {earlier[1].place}"
            self.problems.add(at.place, at.path, message, "contradiction")

    def is_new(self, kind: Literal["pool", "node", "peer"], name: str, at: Located) -> bool:
        """Whether nothing of this kind has this name yet; otherwise a problem that names both places."""
        earlier = self._place_of(kind, name)
        if earlier is not None:
            self.problems.add(at.place, at.path, f"{kind} {name} is already given at {earlier.place}", "duplicate")
        return earlier is None

    def _place_of(self, kind: Literal["pool", "node", "peer"], name: str) -> Located | None:
        match kind:
            case "pool":
                return self.pools[name][1] if name in self.pools else None
            case "node":
                return self.nodes[name][1] if name in self.nodes else None
            case "peer":
                return self.peers[name].at if name in self.peers else None


def located(fields: Fields, key: str = "") -> Located:
    """Where `key` of the mapping is, or the mapping itself."""
    return Located(fields.at(key), fields.under(key)) if key else Located(fields.place, fields.path)


def read_pool(draft: Draft, fields: Fields, name: str, modes: tuple[Mode, Mode] | None) -> None:
    """The keys that both forms share; `modes` are those of `encapsulation`, if that was given."""
    at = located(fields)
    cidr = fields.prefix("cidr")
    if cidr is None and not fields.has("cidr"):
        fields.wrong("cidr", "a pool needs a cidr", "missing")
    ipip = fields.choice("ipipMode", Mode)
    vxlan = fields.choice("vxlanMode", Mode)
    if modes and (ipip or vxlan):
        fields.wrong("encapsulation", "encapsulation and ipipMode/vxlanMode cannot both be given", "both-forms")
    ipip_mode, vxlan_mode = modes or (ipip or Mode.NEVER, vxlan or Mode.NEVER)
    size = fields.integer("blockSize", 0, 128)
    nat = fields.boolean("natOutgoing")
    disabled = fields.boolean("disabled")
    no_export = fields.boolean("disableBGPExport")
    if cidr is None or not draft.is_new("pool", name, at):
        return
    pool = Pool(
        name=name,
        cidr=cidr,
        ipip_mode=ipip_mode,
        vxlan_mode=vxlan_mode,
        block_size=size or (26 if cidr.version == 4 else 122),
        nat_outgoing=bool(nat),
        disabled=bool(disabled),
        disable_bgp_export=bool(no_export),
        place=at.place,
    )
    draft.pools[name] = (pool, at)


def _shown(value: object) -> object:
    return value.value if isinstance(value, Backend | Encapsulation) else value
