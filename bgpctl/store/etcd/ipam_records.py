"""
The records of address management in an etcd, as values and as JSON.

Keys below `/bgpctl/v1/CLUSTER/`; BLOCK is `4/010.244.001.000-26`, with the digits that keep keys in order:

    ipam/blocks/BLOCK        {"format": 1, "node": "a1", "home": true}           a block that a node has claimed
    ipam/borrowed/ADDRESS    {"format": 1, "node": "b1"}                         borrowed from another's block
    ipam/handles/NODE/NAME   {"format": 1, "addresses": {"10.244.1.5": 7}}       a workload's, with their numbers
    ipam/nodes/NODE/BLOCK    {"format": 1}                                       an index of ipam/blocks
    ipam/used/BLOCK          {"format": 1, "number": 7, "used": …, "freed": …}   the addresses of a block

The first two are watched by all agents, the others are read when an address is given. The record of a block is made and
removed, and never replaced: who finds one that was replaced knows that its holder was not asked.

Each allocation of a block has a number of its own, which no later one gets. So a release that is late, and names the
number of an allocation that ended meanwhile, finds nothing to release.

Refuses to know: etcd, who may have which address.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from bgpctl.core.ipam.claims import LARGEST
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.store.etcd import records
from bgpctl.store.etcd.kv import Guard
from bgpctl.store.etcd.records import FORMAT, BadRecord, NewerFormat

BLOCKS: Final = records.CLAIMED
BORROWED: Final = records.WATCHED_LAST
HANDLES: Final = "ipam/handles/"
NODES: Final = "ipam/nodes/"
USED: Final = "ipam/used/"
_BITS: Final = {4: 32, 6: 128}


class Use(NamedTuple):
    """An allocation. `number` is its own among all of the block."""

    handle: str
    node: str
    number: int


@dataclass(frozen=True, slots=True)
class Used:
    """
    The addresses of a block.

    Attributes:
        number: of the last allocation.
        used: the allocations there are.
        freed: when an address was freed, in seconds since 1970 by the clock of the node that freed it.
    """

    number: int = 0
    used: Mapping[Address, Use] = field(default_factory=dict)
    freed: Mapping[Address, float] = field(default_factory=dict)

    def with_use(self, address: Address, handle: str, node: str) -> Used:
        """With one more allocation."""
        number = self.number + 1
        used = {**self.used, address: Use(handle, node, number)}
        return Used(number, used, {key: at for key, at in self.freed.items() if key != address})

    def without(self, address: Address, at_s: float, rest_s: float) -> Used:
        """Without the allocation of an address, freed now; one that was freed more than `rest_s` ago is left out."""
        used = {key: use for key, use in self.used.items() if key != address}
        freed = {key: when for key, when in self.freed.items() if abs(at_s - when) < rest_s}
        return replace(self, used=used, freed={**freed, address: at_s})


# Keys ----------------------------------------------------------------------------------------------------------------


def word_of(block: Prefix) -> str:
    """The name of a block in keys."""
    return f"{block.version}/{_digits(block.first)}-{block.length}"


def block_of(word: str) -> Prefix:
    """The block of a name. Raises ValueError."""
    version, _, rest = word.partition("/")
    digits, _, length = rest.rpartition("-")
    text = ".".join(str(int(part)) for part in digits.split(".")) if version == "4" else digits
    return Prefix.parse(f"{text}/{length}")


def address_word(address: Address) -> str:
    """The name of an address in keys."""
    return f"{address.version}/{_digits(address)}"


def _digits(address: Address) -> str:
    if address.version == 4:
        return ".".join(f"{octet:03d}" for octet in address.packed)
    return ipaddress.IPv6Address(address.value).exploded


def handle_key(node: str, name: str) -> str:
    """The key of a workload's addresses."""
    return f"{HANDLES}{node}/{name}"


def around(block: Prefix) -> tuple[str, ...]:
    """The keys of all blocks that would contain the block."""
    bits = _BITS[block.version]
    shorter = range(LARGEST[block.version], block.length)
    prefixes = (Prefix(block.version, block.network >> (bits - n) << (bits - n), n) for n in shorter)
    return tuple(f"{BLOCKS}{word_of(prefix)}" for prefix in prefixes)


def none_inside(block: Prefix) -> Guard:
    """The condition that there is no block in the block, nor the block itself."""
    first, last = _digits(block.first), _digits(block.nth(block.size - 1))
    return Guard(f"{BLOCKS}{block.version}/{first}-", f"{BLOCKS}{block.version}/{last}.")


# Values --------------------------------------------------------------------------------------------------------------


def _read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"it is no JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("format"), int):
        raise BadRecord("it is no record of bgpctl: it has no format")
    if found["format"] > FORMAT:
        raise NewerFormat(f"it has format {found['format']}, and this version reads up to {FORMAT}")
    return found


def written_block(node: str, *, home: bool) -> str:
    """As JSON."""
    return json.dumps({"format": FORMAT, "node": node, "home": home})


def read_block(text: str) -> tuple[str, bool]:
    """The holder, and whether the block is its first of the pool. Raises BadRecord, NewerFormat."""
    found = _read(text)
    if not isinstance(found.get("node"), str):
        raise BadRecord("node is no text")
    return found["node"], bool(found.get("home"))


def written_index() -> str:
    """As JSON."""
    return json.dumps({"format": FORMAT})


def written_loan(node: str) -> str:
    """As JSON."""
    return json.dumps({"format": FORMAT, "node": node})


def read_loan(text: str) -> str:
    """The borrower. Raises BadRecord, NewerFormat."""
    return read_block(text)[0]


def written_used(used: Used) -> str:
    """As JSON."""
    uses = {str(address): list(use) for address, use in sorted(used.used.items())}
    freed = {str(address): at_s for address, at_s in sorted(used.freed.items())}
    return json.dumps({"format": FORMAT, "number": used.number, "used": uses, "freed": freed})


def read_used(text: str) -> Used:
    """Raises BadRecord, NewerFormat."""
    found = _read(text)
    try:
        uses = {
            Address.parse(address): Use(str(handle), str(node), int(number))
            for address, (handle, node, number) in found["used"].items()
        }
        freed = {Address.parse(address): float(at_s) for address, at_s in found["freed"].items()}
        return Used(int(found["number"]), uses, freed)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord(f"it is not the addresses of a block: {error}") from error


def written_handle(addresses: Mapping[Address, int]) -> str:
    """As JSON."""
    return json.dumps({"format": FORMAT, "addresses": {str(key): number for key, number in sorted(addresses.items())}})


def read_handle(text: str) -> Mapping[Address, int]:
    """The addresses with their numbers. Raises BadRecord, NewerFormat."""
    found = _read(text)
    try:
        return {Address.parse(address): int(number) for address, number in found["addresses"].items()}
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord(f"it is not the addresses of a workload: {error}") from error
