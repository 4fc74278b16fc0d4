"""
Address management in an etcd: each step is one transaction, so that nothing is ever half made.

    claim a block     block, and the node's index of it             if no block is in it or around it, the declared
                                                                    blocks are those that were read, and so are the
                                                                    node's own
    take an address   the block's addresses, the workload's handle  if the block's holder, its addresses and the handle
                                                                    are those that were read
    release it        the same two                                  likewise, and the allocation has its number
    release a block   block, index, addresses                       if its holder and its addresses are those that were
                                                                    read, and no address is used

A transaction that fails is read and decided anew, after a pause by chance that grows with each failure. One that
succeeded, and whose answer was lost, finds its own handle at the next try.

Who removes one of these conditions loses an address: tests/laws/test_claim_laws.py does so, one after the other.

Refuses to know: how etcd is reached, which address of a block is chosen by its holder (core/ipam/allocate.py).
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from bgpctl.core.cluster.configuration import Node, Pool, Use
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.tunnel_addresses import selects
from bgpctl.core.ipam.allocate import COOL_DOWN_S
from bgpctl.core.ipam.blocks import NodeBlocks, NotGiven, Rule
from bgpctl.core.ipam.claims import NO_CLAIMS, Claim, Claims, Loan, next_block
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.ports import Unavailable
from bgpctl.store.etcd import ipam_records, records
from bgpctl.store.etcd.ipam_records import Used
from bgpctl.store.etcd.kv import Entry, Guard, Listing
from bgpctl.store.etcd.records import BadRecord, NewerFormat

_TRIES: Final = 100
_PAUSE_S: Final = (0.002, 0.5)
"""Before the second try, and at most."""
EMPTY_S: Final = 300.0
"""A block that has been empty for so long is freed: long enough for a workload that comes back."""


class Keys(Protocol):
    """The part of Kv that is used here; memory_kv.py has another."""

    def read(self, *keys: str) -> Listing: ...

    def list(self, under: str, through: str = "") -> Listing: ...

    def commit(
        self,
        conditions: Mapping[str, int],
        puts: Mapping[str, str],
        removed: Collection[str] = (),
        guards: Collection[Guard] = (),
    ) -> int | None: ...


class View(NamedTuple):
    """A cluster as it was read at a revision of the store; the records of the cluster may be older than that."""

    intent: Intent
    revision: int


class Taken(Exception):
    """Another workload has the address, or it rests after one had it."""


class Lost(Exception):
    """The block is not the node's any more."""


@dataclass(frozen=True, slots=True)
class Ipam:
    """
    The blocks and addresses of one node. Every method may raise one of follower.FAULTS.

    Attributes:
        now_s: seconds since 1970, for addresses that rest.
        pause: called with seconds, between two tries.
    """

    kv: Keys
    node: str
    now_s: Callable[[], float] = time.time
    pause: Callable[[float], None] = time.sleep

    # Blocks ------------------------------------------------------------------------------------------------------

    def claims(self) -> Claims:
        """The claims and loans of all nodes. A record that cannot be read is left out."""
        return claims_of(self.kv.list(ipam_records.BLOCKS, ipam_records.BORROWED).entries)

    def claim(self, view: Callable[[], View], pool: str, within: Prefix | None = None) -> Prefix:
        """Claim a block of a pool, with addresses in `within`. `view` reads the cluster anew. Raises NotGiven."""
        for _ in self._tries():
            found = view()
            node, of = _member(found.intent, self.node), _pool(found.intent, pool)
            if of.disabled or not selects(of, node):
                raise NotGiven(Rule.POOL_NOT_USABLE, f"pool {pool} is disabled, or not for node {self.node}")
            listing = self.kv.list(ipam_records.BLOCKS, ipam_records.BORROWED)
            claims = claims_of(listing.entries).blocks.values()
            block = next_block(found.intent, node, of, claims, within)
            own = (*found.intent.blocks_of(node), *(claim.block for claim in claims if claim.node == self.node))
            if self._claim(block, listing.revision, found.revision, home=not any(map(of.cidr.covers, own))):
                return block
        raise _busy(f"a block of pool {pool}")

    def reclaim(self, block: Prefix, view: View, *, home: bool) -> bool:
        """Claim a block again that the store has lost; False if it cannot be the node's any more."""
        return self._claim(block, self.kv.read(records.META).revision, view.revision, home=home)

    def _claim(self, block: Prefix, revision: int, cluster_revision: int, *, home: bool) -> bool:
        word = ipam_records.word_of(block)
        index = f"{ipam_records.NODES}{self.node}/"
        guards = (
            ipam_records.none_inside(block),
            Guard(records.WATCHED, _end(records.WATCHED), cluster_revision),
            Guard(index, _end(index), revision),
        )
        puts = {
            f"{ipam_records.BLOCKS}{word}": ipam_records.written_block(self.node, home=home),
            f"{index}{word}": ipam_records.written_index(),
        }
        return self.kv.commit(dict.fromkeys(ipam_records.around(block), 0), puts, (), guards) is not None

    def release_block(self, block: Prefix, holder: str | None = None) -> bool:
        """Release a block of the node, or of another `holder`; False if it is not the holder's, or has addresses."""
        word, holder = ipam_records.word_of(block), holder or self.node
        block_key, used_key = f"{ipam_records.BLOCKS}{word}", f"{ipam_records.USED}{word}"
        for _ in self._tries():
            found = self.kv.read(block_key, used_key).entries
            if block_key not in found or ipam_records.read_block(found[block_key].value)[0] != holder:
                return False
            if _used(found.get(used_key)).used:
                return False
            gone = (block_key, used_key, f"{ipam_records.NODES}{holder}/{word}")
            conditions = {block_key: found[block_key].revision, used_key: _revision(found.get(used_key))}
            if self.kv.commit(conditions, {}, gone) is not None:
                return True
        raise _busy(f"block {block}")

    # Addresses ---------------------------------------------------------------------------------------------------

    def take(self, address: Address, handle: str, claims: Claims, *, rested: bool = True) -> None:
        """
        Have the address of a claimed block be a workload's, borrowed if the block is another node's. With `rested` not
        one that another workload had until lately. Raises Taken, Lost.
        """
        claim = next((found for found in claims.blocks.values() if found.block.holds(address)), None)
        if claim is None:
            raise Lost(f"{address} is in no block that a node has claimed")
        word = ipam_records.word_of(claim.block)
        block_key, used_key = f"{ipam_records.BLOCKS}{word}", f"{ipam_records.USED}{word}"
        handle_key = ipam_records.handle_key(self.node, handle)
        for _ in self._tries():
            found = self.kv.read(block_key, used_key, handle_key).entries
            if block_key not in found or ipam_records.read_block(found[block_key].value)[0] != claim.node:
                raise Lost(f"block {claim.block} is not node {claim.node}'s any more")
            used = _used(found.get(used_key))
            if self._is_had(used, address, handle, rested=rested):
                return
            after = used.with_use(address, handle, self.node)
            had = ipam_records.read_handle(found[handle_key].value) if handle_key in found else {}
            puts = {
                used_key: ipam_records.written_used(after),
                handle_key: ipam_records.written_handle({**had, address: after.number}),
            }
            if claim.node != self.node:
                puts[_loan_key(address)] = ipam_records.written_loan(self.node)
            conditions = {
                block_key: found[block_key].revision,
                used_key: _revision(found.get(used_key)),
                handle_key: _revision(found.get(handle_key)),
            }
            if self.kv.commit(conditions, puts) is not None:
                return
        raise _busy(f"{address}")

    def _is_had(self, used: Used, address: Address, handle: str, *, rested: bool) -> bool:
        """True if the workload has it already. Raises Taken."""
        use = used.used.get(address)
        if use and (use.handle, use.node) == (handle, self.node):
            return True
        if use:
            raise Taken(f"{address} is {use.handle}'s on node {use.node}")
        if rested and self._rests(used, address):
            raise Taken(f"{address} rests")
        return False

    def _rests(self, used: Used, address: Address) -> bool:
        """A date of the future is that of a node whose clock is wrong; it counts for no longer than another."""
        return address in used.freed and abs(self.now_s() - used.freed[address]) < COOL_DOWN_S

    def borrow(
        self, intent: Intent, pool: Pool, handle: Callable[[Address], str], claims: Claims, within: Prefix | None = None
    ) -> Address:
        """An address of another node's block, which this node's workload has from now on. Raises NotGiven."""
        blocks = NodeBlocks.of(intent, _member(intent, self.node))
        theirs = [claim for claim in claims.blocks.values() if claim.node != self.node]
        for claim in sorted(theirs, key=lambda found: _seed(self.node, found.block)):
            if not pool.cidr.covers(claim.block):
                continue
            key = f"{ipam_records.USED}{ipam_records.word_of(claim.block)}"
            used = _used(self.kv.read(key).entries.get(key))
            for address in lendable(claim.block, pool, within):
                if address in used.used or self._rests(used, address) or not blocks.may_choose(address):
                    continue
                try:
                    self.take(address, handle(address), claims)
                except (Taken, Lost):
                    continue
                return address
        raise NotGiven(Rule.FULL, f"no other node's block of pool {pool.name} has a free address")

    def release(self, address: Address, number: int, claims: Claims | None = None) -> bool:
        """Release the allocation of this number; False if it is over, also if another workload has the address now."""
        known = (claims or self.claims()).blocks.values()
        block = next((claim.block for claim in known if claim.block.holds(address)), None)
        if block is None:
            return False
        key = f"{ipam_records.USED}{ipam_records.word_of(block)}"
        for _ in self._tries():
            found = self.kv.read(key).entries
            used = _used(found.get(key))
            use = used.used.get(address)
            if use is None or use.number != number:
                return False
            handle_key = ipam_records.handle_key(use.node, use.handle)
            handle = self.kv.read(handle_key).entries.get(handle_key)
            had = ipam_records.read_handle(handle.value) if handle else {}
            left = {own: theirs for own, theirs in had.items() if (own, theirs) != (address, number)}
            puts = {key: ipam_records.written_used(used.without(address, self.now_s(), EMPTY_S))}
            if left:
                puts[handle_key] = ipam_records.written_handle(left)
            gone = (_loan_key(address), *(() if left else (handle_key,)))
            conditions = {key: found[key].revision, handle_key: _revision(handle)}
            if self.kv.commit(conditions, puts, gone) is not None:
                return True
        raise _busy(f"{address}")

    # All of the node ---------------------------------------------------------------------------------------------

    def held(self, claims: Claims | None = None) -> Mapping[Address, tuple[str, int]]:
        """The addresses of the node's workloads as the store has them, with handle and number."""
        claims = claims or self.claims()
        own = [claim.block for claim in claims.blocks.values() if claim.node == self.node]
        lent = [loan.prefix for loan in claims.loans.values() if loan.node == self.node]
        far = [claim.block for claim in claims.blocks.values() if any(map(claim.block.covers, lent))]
        keys = [f"{ipam_records.USED}{ipam_records.word_of(block)}" for block in {*own, *far}]
        found = self.kv.read(*keys).entries if keys else {}
        return {
            address: (use.handle, use.number)
            for entry in found.values()
            for address, use in _used(entry).used.items()
            if use.node == self.node
        }

    def empty(self, claims: Claims, keep: Collection[Prefix] = ()) -> Iterator[Prefix]:
        """The node's blocks, but its first of a pool and `keep`, that have been empty for EMPTY_S."""
        for claim in claims.blocks.values():
            if claim.node != self.node or claim.home or claim.block in keep:
                continue
            key = f"{ipam_records.USED}{ipam_records.word_of(claim.block)}"
            used = _used(self.kv.read(key).entries.get(key))
            last = max(used.freed.values(), default=None)
            if last is not None and not used.used and self.now_s() - last >= EMPTY_S:
                yield claim.block

    def _tries(self) -> Iterator[int]:
        """With a pause before each but the first, by chance, the longer the more failures there were."""
        for index in range(_TRIES):
            if index:
                most_s = min(_PAUSE_S[0] * 2**index, _PAUSE_S[1])
                self.pause(random.uniform(0, most_s))  # noqa: S311 (no secret)
            yield index


def claim_first_block(kv: Keys, view: Callable[[], View], node: str, pool: str) -> Prefix:
    """
    The node's block of a pool: one that it has, or one that it claims now. `view` reads the cluster from the store, and
    has the node. Raises NotGiven, or one of follower.FAULTS.
    """
    ipam = Ipam(kv, node)
    found = view().intent
    cidr = _pool(found, pool).cidr
    own = (*found.blocks_of(_member(found, node)), *ipam.claims().of(node))
    return next(filter(cidr.covers, own), None) or ipam.claim(view, pool)


def claims_of(entries: Mapping[str, Entry], former: Claims = NO_CLAIMS) -> Claims:
    """
    The claims and loans among records. What cannot be read is left out; where a block's record was replaced, its holder
    in `former` stays.
    """
    blocks, loans = {}, {}
    for key, entry in entries.items():
        try:
            if key in former.blocks and is_replaced(key, entry):
                blocks[key] = former.blocks[key]
            elif key.startswith(ipam_records.BLOCKS):
                block = ipam_records.block_of(key.removeprefix(ipam_records.BLOCKS))
                node, home = ipam_records.read_block(entry.value)
                blocks[key] = Claim(block, node, home, entry.created or entry.revision)
            elif key.startswith(ipam_records.BORROWED):
                address = ipam_records.block_of(f"{key.removeprefix(ipam_records.BORROWED)}-{_host_length(key)}")
                loans[key] = Loan(address, ipam_records.read_loan(entry.value))
        except (BadRecord, NewerFormat, ValueError):
            continue
    return Claims(blocks, loans)


def is_replaced(key: str, entry: Entry) -> bool:
    """True of a record of a block that was written again: its holder changed without a release."""
    return key.startswith(ipam_records.BLOCKS) and entry.created not in {0, entry.revision}


def lendable(block: Prefix, pool: Pool, within: Prefix | None = None) -> Iterator[Address]:
    """The addresses that other nodes may borrow: all but the first, which may be the end of the holder's tunnel."""
    first = 1 if Use.TUNNEL in pool.allowed_uses and block.size > 1 else 0
    found = map(block.nth, range(first, block.size))
    return (address for address in found if within is None or within.holds(address))


def _host_length(key: str) -> int:
    return 32 if key.removeprefix(ipam_records.BORROWED).startswith("4/") else 128


def _loan_key(address: Address) -> str:
    return f"{ipam_records.BORROWED}{ipam_records.address_word(address)}"


def _end(under: str) -> str:
    return under[:-1] + chr(ord(under[-1]) + 1)


def _used(entry: Entry | None) -> Used:
    """Raises BadRecord, NewerFormat."""
    return ipam_records.read_used(entry.value) if entry else Used()


def _revision(entry: Entry | None) -> int:
    return entry.revision if entry else 0


def _seed(node: str, block: Prefix) -> bytes:
    return hashlib.sha256(f"{node}\0{block}".encode()).digest()


def _member(intent: Intent, name: str) -> Node:
    node = intent.node(name)
    if node is None:
        raise NotGiven(Rule.OTHER_NODE, f"{name} is no node of the cluster")
    return node


def _pool(intent: Intent, name: str) -> Pool:
    pool = next((found for found in intent.pools if found.name == name), None)
    if pool is None:
        raise NotGiven(Rule.POOL_NOT_KNOWN, f"the cluster has no pool {name}")
    return pool


def _busy(what: str) -> Unavailable:
    return Unavailable(f"{what} is changed by others all the time: {_TRIES} transactions failed")
