"""
Do the members of a cluster have the same configuration? A digest that is equal for equal meaning, and differences in
words.

Each node reads a file of its own, and two files that differ lose packets while both nodes are content: a block that two
nodes claim, a member that half of the cluster does not know. The order of keys, the form (short or Calico's), comments
and given values that equal the derived ones are no difference. Neither is the path of a password file, which is a
node's own affair: that there is one is part of the meaning.

The digest is a sum of one hash per object, so that the edit of one node among thousands costs the hash of one node. It
finds differences between files of the same operator; it is no signature.

Refuses to know: how members exchange it (agent/channel.py, core/proof/note.py).
"""

from __future__ import annotations

import enum
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from hashlib import blake2b
from typing import Any, Final, TypeAlias

from bgpctl.core.cluster.configuration import Configuration, Node
from bgpctl.core.cluster.encapsulation import Encapsulation
from bgpctl.core.cluster.intent import Intent, changed_nodes
from bgpctl.core.cluster.tunnel_addresses import derived_mac, taken
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix

Item: TypeAlias = Mapping[str, Any]
"""The fields of one object that differ from their defaults, as JSON values."""
Outline: TypeAlias = Mapping[str, Mapping[str, Item]]
"""A whole configuration as JSON: kind ("node", "pool", "peer", "filter", "service", "setting") →
name → fields."""

_BYTES: Final = 8
_MODULUS: Final = 1 << 8 * _BYTES
_NODE: Final = "node"
_SETTING: Final = "setting"
_OTHERS: Final = {"pool": "pools", "peer": "peers", "filter": "filters", "service": "services"}
_NEEDED: Final = frozenset({_NODE, _SETTING, "pool", "peer", "filter"})
"""Kinds in the outline of every version."""
_NO_MEANING: Final = frozenset({"name", "place", "nodes", "remotes"})
"""The nodes of a peer follow from its selectors and the labels of nodes, which are in the outline."""
_NO_SETTING: Final = frozenset({"nodes", *_OTHERS.values()})
_SHOWN: Final = 5
"""Differences and names in one sentence, and sentences of one sort."""
_LONGEST: Final = 80
"""Characters of a name or a value of another member."""
_DEEPEST: Final = 4
"""Lists and objects in each other, in a field that another member sent; a community in a filter needs them all."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """
    An intent, the sum of the hashes of its objects and the length of their JSON in characters, from which those of an
    edited intent follow.
    """

    intent: Intent
    total: int
    length: int

    def __str__(self) -> str:
        return f"{self.total:0{2 * _BYTES}x}"


def digest(intent: Intent) -> str:
    """16 hexadecimal digits, equal for configurations of equal meaning."""
    return str(fingerprint(intent))


def fingerprint(intent: Intent, before: Fingerprint | None = None) -> Fingerprint:
    """The fingerprint, from a former one by the nodes that differ where nothing else does."""
    names = changed_nodes(intent, before.intent) if before else None
    if before is None or names is None:
        return _sum(Fingerprint(intent, 0, 0), map(_text, _entries(intent)), ())
    came, left = (_node_texts(found, names) for found in (intent, before.intent))
    return _sum(replace(before, intent=intent), came, left)


def outline(intent: Intent) -> Outline:
    """The whole meaning as JSON, for a member that has another digest."""
    found: dict[str, dict[str, Item]] = {kind: {} for kind in (_NODE, *_OTHERS, _SETTING)}
    for kind, name, item in _entries(intent):
        found[kind][name] = item
    return found


def received(value: object) -> Outline:
    """An outline that another member sent. Raises ValueError if it is none. Its texts may be any."""
    if not isinstance(value, dict) or not value.keys() >= _NEEDED:
        raise ValueError("no outline of a configuration")
    for named in value.values():
        if not isinstance(named, dict) or not all(isinstance(item, dict) for item in named.values()):
            raise ValueError("no objects of a kind")
        if not all(_is_flat(field, _DEEPEST) for item in named.values() for field in item.values()):
            raise ValueError("fields that are nested too deeply")
    if not all(item.keys() == {""} for item in value[_SETTING].values()):
        raise ValueError("settings without a value")
    for item in value[_NODE].values():
        blocks = item.get("blocks", [])
        if not isinstance(blocks, list) or not all(isinstance(block, str) and Prefix.parse(block) for block in blocks):
            raise ValueError("a node with blocks that are none")
    return value


def _is_flat(value: object, deepest: int) -> bool:
    match value:
        case dict() | list():
            items = value.values() if isinstance(value, dict) else value
            return deepest > 0 and all(_is_flat(item, deepest - 1) for item in items)
        case _:
            return True


def _entries(intent: Intent) -> Iterator[tuple[str, str, Item]]:
    for node in intent.nodes:
        yield _NODE, node.name, _node(intent, node)
    for kind, attribute in _OTHERS.items():
        for noun in getattr(intent, attribute):
            yield kind, noun.name, _plain_fields(noun, _NO_MEANING)
    for name, value in _settings(intent).items():
        yield _SETTING, name, {"": value}


def _settings(intent: Intent) -> Item:
    names = {item.name for item in fields(Configuration)} - _NO_SETTING
    return {name: value for name, value in _plain_fields(intent, _NO_SETTING).items() if name in names}


def _node(intent: Intent, node: Node) -> Item:
    given = intent.allocations.of(node.name)
    ends = {
        f"{end.encapsulation.label(end.address.version)}TunnelAddress": str(end.address)
        for end in given.tunnel_addresses
        if end.address != taken(intent, node, given.blocks, end.encapsulation, end.address.version)
    }
    macs = {f"mac{mac.version}": mac.mac for mac in given.vtep_macs if mac.mac != derived_mac(node, mac.version)}
    listed = {"blocks": intent.blocks_of(node), "borrowed": intent.borrowed_by(node)}
    return {
        **_plain_fields(node, _NO_MEANING),
        "asn": intent.asn_of(node),
        **({"labels": dict(node.labels)} if node.labels else {}),
        **{name: [*map(str, prefixes)] for name, prefixes in listed.items() if prefixes},
        **ends,
        **macs,
    }


def _plain_fields(noun: Any, without: Collection[str]) -> dict[str, Any]:
    """The fields of a dataclass that have other values than their defaults."""
    found = ((item, getattr(noun, item.name)) for item in fields(noun) if item.name not in without)
    return {item.name: _plain(item.name, value) for item, value in found if value != item.default}


def _plain(name: str, value: Any) -> Any:
    """A JSON value; of a file with a password that it is given."""
    match value:
        case str() if name.endswith("password_file"):
            return "given"
        case enum.Enum():
            return value.value
        case Encapsulation() | Address() | Prefix() | InterfaceAddress():
            return str(value)
        case frozenset():
            return sorted(_plain("", item) for item in value)
        case tuple():
            return [_plain("", item) for item in value]
        case _ if is_dataclass(value):
            return _plain_fields(value, ())
        case _:
            return value


def _sum(begun: Fingerprint, came: Iterable[str], left: Iterable[str]) -> Fingerprint:
    """With the objects that came, and without those that left."""
    total, length = begun.total, begun.length
    for texts, sign in ((came, 1), (left, -1)):
        for text in texts:
            total += sign * _hash(text)
            length += sign * len(text)
    return Fingerprint(begun.intent, total % _MODULUS, length)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=_BYTES).digest())


def _text(entry: tuple[str, str, Item]) -> str:
    """One object, as JSON in ASCII."""
    return json.dumps(entry, sort_keys=True)


def _node_texts(intent: Intent, names: Collection[str]) -> Iterator[str]:
    """Of those that there are."""
    nodes = (node for name in names if (node := intent.node(name)))
    return (_text((_NODE, node.name, _node(intent, node))) for node in nodes)


# In words --------------------------------------------------------------------------------------------------------


def differences(
    node: str, here: Outline, there: Mapping[str, Outline], unknown_to: Collection[str] = ()
) -> tuple[str, ...]:
    """
    Sentences, the most urgent first, of a cluster in which members have other configurations than this one.

    Args:
        node: the name of this node.
        here: the outline of its own configuration.
        there: the outlines of other members by their names, those that equal `here` too.
        unknown_to: members that answered that this node is none.
    """
    distinct = {id(found): found for found in (here, *there.values())}
    words = {key: _few([*_differences(here, found)]) for key, found in distinct.items()}
    by_difference: dict[str, list[str]] = {}
    for name, found in sorted(there.items()):
        if different := words[id(found)]:
            by_difference.setdefault(different, []).append(name)
    sentences = (
        *_without(node, there, unknown_to),
        *_first([*_claims(distinct.values())], "blocks are claimed twice or overlap"),
        *(f"{_have(names)} another configuration: {items}" for items, names in by_difference.items()),
    )
    return tuple(map(_printable, sentences))


def _first(found: Sequence[str], noun: str) -> tuple[str, ...]:
    return (*found[:_SHOWN], *([f"{len(found) - _SHOWN} more {noun}"] if len(found) > _SHOWN else []))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _printable(text: str) -> str:
    """Text of another node must not spoil a terminal."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _without(node: str, there: Mapping[str, Outline], unknown_to: Collection[str]) -> Iterator[str]:
    """A node that no member has any more, or that those do not have whose whole configuration is not known."""
    if all(node not in found[_NODE] for found in there.values()) and (there or unknown_to):
        yield f"no other member has {node} in its configuration: asked {listing(sorted({*there, *unknown_to}))}"
    elif unknown_to:
        yield f"{_have(sorted(unknown_to))} another configuration: without {node}"


def _have(names: Sequence[str]) -> str:
    return f"{listing(names)} {'has' if len(names) == 1 else 'have'}"


def listing(names: Sequence[str]) -> str:
    """`h2, h3`; of many the first, and how many more there are."""
    more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join((*map(_cut, names[:_SHOWN]), *more))


def _few(found: Sequence[str], between: str = "; ") -> str:
    return between.join(_first(found, "differences"))


def _differences(here: Outline, there: Outline) -> Iterator[str]:
    """Of one member, seen from here."""
    for kind in (_NODE, *_OTHERS):
        ours, theirs = here[kind], there.get(kind, {})
        noun = "" if kind == _NODE else f"{kind} "
        if missing := sorted(ours.keys() - theirs.keys()):
            yield f"without {noun}{listing(missing)}"
        if further := sorted(theirs.keys() - ours.keys()):
            yield f"with {noun}{listing(further)}"
        for name in sorted(ours.keys() & theirs.keys()):
            if changes := _changes(ours[name], theirs[name]):
                yield f"{noun}{_cut(name)} with {_few(changes, ', ')}"
    ours, theirs = here[_SETTING], there.get(_SETTING, {})
    flat = [{name: item[""] for name, item in settings.items()} for settings in (ours, theirs)]
    yield from _changes(*flat)


def _changes(ours: Item, theirs: Item) -> list[str]:
    names = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    pairs = ((name, _value(theirs.get(name)), _value(ours.get(name))) for name in names)
    return [f"{_cut(_key(name))} {_cut(there)} (here {_cut(here)})" for name, there, here in pairs]


_KEYS: Final = {"asn": "asNumber", "backend": "calico_backend"}
_CAPITALS: Final = frozenset({"mtu", "vni", "mss", "bgp", "asn"})


def _key(name: str) -> str:
    """`vxlan_mtu` as in files: vxlanMTU."""
    first, *rest = name.split("_")
    return _KEYS.get(name) or first + "".join(part.upper() if part in _CAPITALS else part.title() for part in rest)


def _value(value: Any) -> str:
    match value:
        case None:
            return "default"
        case bool():
            return "true" if value else "false"
        case list() if all(isinstance(item, str) for item in value):
            return " ".join(value) or "none"
        case list() | dict():
            return json.dumps(value, sort_keys=True)
        case _:
            return str(value)


def _all_of(names: Collection[str]) -> str:
    return " and ".join(_first([*map(_cut, sorted(names))], "nodes"))


def _claims(outlines: Iterable[Outline]) -> Iterator[str]:
    """Blocks that two nodes claim, and blocks of two nodes that overlap, in all configurations together."""
    claims: dict[Prefix, set[str]] = {}
    for found in outlines:
        for name, item in found[_NODE].items():
            for block in item.get("blocks", ()):
                claims.setdefault(Prefix.parse(block), set()).add(name)
    around: list[Prefix] = []
    for block in sorted(claims):
        while around and not around[-1].covers(block):
            around.pop()
        if len(claims[block]) > 1:
            yield f"block {block} is claimed by {_all_of(claims[block])}"
        elif around and claims[around[-1]] != claims[block]:
            outer = _all_of(claims[around[-1]])
            yield f"block {block} of {_cut(min(claims[block]))} overlaps block {around[-1]} of {outer}"
        around.append(block)
