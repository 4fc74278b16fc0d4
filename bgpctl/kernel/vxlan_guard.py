"""
The senders whose packets a VXLAN device gets: an nftables table of ours for each device.

The kernel's device takes packets from anyone who knows its VNI and port (RFC 7348, section 7, leaves that to others).
The table drops them in the input hook, which is the last place before the device's UDP socket; there a packet is
addressed to this host. Over IPv4 it is whole again. Over IPv6 the kernel puts fragments together after the hook, unless
it tracks connections. The first one has the UDP header (RFC 7112; Linux refuses others since 5.11) but need not have
the VNI, so a rule drops it by its port, and the others lead nowhere without it.

The rules name the VNI only where they drop: a packet from a member is let through after the fewest comparisons, and
each of two devices with one port, as there are while the VNI changes, still has senders of its own.

A device without a table, or whose packets are not to be let in, has one that drops them all. So it is there before the
device is, and goes after it.

Refuses to know: who the members are, how a device is made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from bgpctl.core.fabric.vxlan import LINKS, Vxlan
from bgpctl.core.net.addresses import Address
from bgpctl.core.net.objects import Decap, Drops
from bgpctl.kernel import counted_drops, nft

_PREFIX: Final = "bgpctl_"
_FAMILY: Final = {4: "ip", 6: "ip6"}
_VERSION: Final = {family: version for version, family in _FAMILY.items()}
_HOOK: Final = "type filter hook input priority filter; policy accept;"
_NAMES: Final = frozenset(name for names in LINKS.values() for name in names)
_NOWHERE: Final = {version: Address(version, 0) for version in _FAMILY}
_UDP: Final = "meta l4proto 17"  # by number: names come from /etc/protocols, which a small system has not
_VNI_AT: Final = 96
"""Bits from the UDP header to the VNI: 8 bytes of UDP, 4 of VXLAN."""
REASONS: Final = {4: ("sender",), 6: ("fragment", "sender")}
"""By IP version: the sender is no member, or may be none."""


class Guarded(NamedTuple):
    """
    A table as it is. `sources` None: it lets in nothing; `own` are then empty, and `local` is none.

    Attributes:
        dropped: since the device has a table.
    """

    link: str
    version: int
    vni: int
    port: int
    local: Address | None
    own: tuple[Address, ...]
    sources: tuple[Address, ...] | None
    dropped: tuple[Drops, ...] = ()

    @property
    def dropped_packets(self) -> int:
        return sum(item.packets for item in self.dropped)

    def decap(self, kind: Vxlan) -> Decap | None:
        """Its Decap, for a device of this kind; None if it lets in nothing, or is for another device."""
        if self.sources is None or self.local is None:
            return None
        if (self.vni, self.port, self.version) != (kind.vni, kind.port, kind.local.version):
            return None
        also = tuple(address for address in self.own if address != self.local)
        return Decap(self.link, kind.underlay, self.local, self.sources, also)

    @property
    def left_behind(self) -> Decap:
        """It stands for a table whose device is gone."""
        return Decap(self.link, "", self.local or _NOWHERE[self.version], self.sources or ())


def shut(link: str, kind: Vxlan, dropped_before: Iterable[Drops] = ()) -> None:
    """Let in nothing for the device. Raises OSError."""
    version = kind.local.version
    nft.replace(_table(link), _body(version, [], _dropping(kind), dropped_before), _FAMILY[version])


def put(decap: Decap, kind: Vxlan, dropped_before: Iterable[Drops] = ()) -> None:
    """Let in what `decap` allows, in place of an earlier table, at one moment. Raises OSError."""
    nft.replace(_table(decap.link), body(decap, kind, dropped_before), _FAMILY[kind.local.version])


def remove(link: str, version: int | None = None) -> None:
    """Remove the device's table; absent is no error. Raises OSError."""
    for family in _FAMILY.values() if version is None else (_FAMILY[version],):
        nft.remove(_table(link), family)


def observe(links: Collection[str]) -> Mapping[str, Guarded]:
    """
    The tables of these devices that are as we make them, and whatever is in those whose device, which ours may be by
    its name, is not among them. Raises OSError.
    """
    tables = {_table(link): link for link in _NAMES.union(links)}
    ours = ((family, name) for family, name in nft.tables() if name in tables and family in _VERSION)
    found = (_read(name, family, tables[name], links) for family, name in ours)
    return {item.link: item for item in found if item}


def _read(table: str, family: str, link: str, links: Collection[str]) -> Guarded | None:
    version = _VERSION[family]
    found = parse(link, version, nft.listed(table, family))
    return found if found or link in links else Guarded(link, version, 0, 0, None, (), None)


def body(decap: Decap, kind: Vxlan, dropped_before: Iterable[Drops] = ()) -> str:
    """The table's content. `local` has a rule of its own, from which `parse` reads it."""
    family = _FAMILY[kind.local.version]
    member = f"{_UDP} th dport {kind.port} {family} saddr @sources {family} daddr"
    sets = [_set("sources", kind.local.version, decap.sources), _set("own", kind.local.version, decap.own)]
    rules = [f"{member} {decap.local} accept", f"{member} @own accept", *_dropping(kind)]
    return _body(kind.local.version, sets, rules, dropped_before)


def _body(version: int, sets: Iterable[str], rules: Iterable[str], before: Iterable[Drops]) -> str:
    counting = counted_drops.declared(REASONS[version], version, before)
    return "\n".join((*sets, counting, "chain input {", _HOOK, *rules, "}"))


def _dropping(kind: Vxlan) -> Iterator[str]:
    if kind.local.version == 6:
        yield f"{_UDP} exthdr frag exists th dport {kind.port} goto fragment"
    yield f"{_UDP} th dport {kind.port} @th,{_VNI_AT},24 {kind.vni} goto sender"


def _set(name: str, version: int, addresses: Iterable[Address]) -> str:
    elements = ", ".join(map(str, addresses))
    return f"set {name} {{ type ipv{version}_addr; {f'elements = {{ {elements} }};' if elements else ''} }}"


def _table(link: str) -> str:
    """In its name nftables takes neither hyphen nor dot."""
    return _PREFIX + link.translate({45: "_", 46: "_"})


@nft.of_ours
def parse(link: str, version: int, listed: list[dict[str, Any]]) -> Guarded | None:
    """The reverse of `body`, from nft's JSON; None for another program's rules."""
    sets = {item["set"]["name"]: item["set"].get("elem", []) for item in listed if "set" in item}
    if not counted_drops.is_as_declared(listed, REASONS[version]):
        return None
    rules = [rule["expr"] for rule in counted_drops.rules_of(listed, "input")]
    of_fragments = rules[-2:-1] if version == 6 else []
    accepting = rules[: -1 - len(of_fragments)]
    guarded = _parse_dropping(link, version, rules[-1:], of_fragments)
    guarded = guarded and guarded._replace(dropped=counted_drops.counted(listed))
    match accepting:
        case []:
            return guarded
        case [[_, _, {"match": {"right": local}}, {"accept": None}], [_, _, _, {"accept": None}]]:
            own, sources = (tuple(sorted(map(Address.parse, sets.get(name, [])))) for name in ("own", "sources"))
            return guarded and guarded._replace(local=Address.parse(local), own=own, sources=sources)
        case _:
            return None


def _parse_dropping(link: str, version: int, last: list[Any], of_fragments: list[Any]) -> Guarded | None:
    match last:
        case [
            [{"match": {"right": int(port)}}, {"match": {"right": int(vni)}}, {"goto": {"target": "sender"}}],
        ]:
            guarded = Guarded(link, version, vni, port, None, (), None)
        case _:
            return None
    match version, of_fragments:
        case 4, _:
            return guarded
        # A version of nft may show first that it is UDP.
        case _, [[*_, {"match": {"left": {"exthdr": _}}}, {"match": {"right": at}}, {"goto": {"target": "fragment"}}]]:
            return guarded if at == port else None
        case _:
            return None
