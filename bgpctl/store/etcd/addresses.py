"""
Addresses for a node's workloads in a cluster on an etcd: from its blocks, from one that it claims, or borrowed.

    choose from the node's blocks ── none free ──► claim a block ── none left ──► borrow from another node's
                  ▲                                     │                                │
                  └─────────────────────────────────────┴────────────────────────────────┘
    then note it in the shared IPAM; if another node borrowed it meanwhile, choose another one

While the store is away an address is given only if no other node can give it: from a block that this host has noted as
its node's, in a cluster where no node borrows (strictAffinity). Such a block is noted here after its claim and until
before its release, both by this host, under the ledger's lock. The address is noted in the store later (`settle`).

Refuses to know: ledgers, how an address of a block is chosen, transactions (ipam.py).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from bgpctl import filesystem
from bgpctl.core.cluster.configuration import Node, Pool
from bgpctl.core.cluster.intent import Intent, with_edits
from bgpctl.core.ipam.blocks import NodeBlocks, NotGiven, Rule
from bgpctl.core.ipam.claims import Claims
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.ports import Loaded, NotPossibleNow, StoreStatus
from bgpctl.store.etcd.follower import FAULTS
from bgpctl.store.etcd.ipam import Ipam, Lost, Taken, View

log = logging.getLogger("bgpctl.store")

_ROUNDS: Final = 64
_MORE: Final = frozenset({Rule.NO_BLOCK, Rule.FULL, Rule.COOLING_DOWN})
"""Answers to which another block is one."""
_NONE_LEFT: Final = frozenset({Rule.FULL, Rule.MOST_BLOCKS})
Choose = Callable[[Intent, tuple[Address, ...], Collection[Address]], tuple[Address, ...]]
Handle = Callable[[Address], str]
InUse = Callable[[Iterable[Prefix]], Collection[Prefix]]


class Source(Protocol):
    """The part of EtcdStore that is used here."""

    @property
    def cluster(self) -> str: ...

    @property
    def claims(self) -> Claims: ...

    def load(self) -> Loaded: ...

    def status(self) -> StoreStatus: ...


@dataclass(frozen=True, slots=True)
class ClaimedAddresses:
    """
    A shared IPAM (attach/shared_ipam.py).

    Attributes:
        directory: of the ledger, in which this node's blocks are noted.
    """

    store: Source
    ipam: Ipam
    directory: Path

    def cluster(self) -> tuple[Intent, Node]:
        """The cluster as the store has it, or as this host knows it, and this node. Raises NotPossibleNow."""
        loaded = self.store.load()
        if not isinstance(loaded, Intent):
            raise NotPossibleNow(f"{loaded[0]}")
        node = loaded.node(self.ipam.node)
        if node is None:
            raise NotPossibleNow(
                f"{self.ipam.node} is not a node of {self.store.status().name}; choose one with --node"
            )
        return loaded, node

    def _view(self) -> View:
        """Read from the store. Raises NotGiven if it does not answer."""
        intent, _ = self.cluster()
        status = self.store.status()
        if not status.is_heard:
            raise NotGiven(Rule.STORE_AWAY, f"{status.name} is not heard: {status.reason}")
        return View(intent, status.revision)

    # Giving ------------------------------------------------------------------------------------------------------

    def give(
        self, handle: Handle, asked: Collection[Address], choose: Choose, within: Prefix | None = None
    ) -> tuple[Intent, tuple[Address, ...]]:
        """As SharedIpam.give."""
        try:
            return self._give(handle, asked, choose, within)
        except FAULTS as error:
            log.info("the store is not heard: %s", error)
        except NotGiven as error:
            if error.rule is not Rule.STORE_AWAY:
                raise
        return self._alone(choose)

    def _give(
        self, handle: Handle, asked: Collection[Address], choose: Choose, within: Prefix | None
    ) -> tuple[Intent, tuple[Address, ...]]:
        borrowed: tuple[Address, ...] = ()
        avoid: set[Address] = set()
        for _ in range(_ROUNDS):
            intent = self._view().intent
            claims = self.store.claims
            self._note(claims)
            try:
                addresses = choose(intent, borrowed, avoid)
            except NotGiven as error:
                borrowed = (*borrowed, *self._more(intent, claims, error, handle, within))
                continue
            if self._take(addresses, handle, claims, avoid, asked):
                return intent, addresses
        raise NotGiven(Rule.FULL, f"no address was found in {_ROUNDS} attempts: other nodes took each that was chosen")

    def _take(
        self,
        addresses: Iterable[Address],
        handle: Handle,
        claims: Claims,
        avoid: set[Address],
        asked: Collection[Address],
    ) -> bool:
        """True if all are the workload's now. One of a declared block needs no record: no node borrows from it."""
        for address in addresses:
            if not any(claim.block.holds(address) for claim in claims.blocks.values()):
                continue
            try:
                self.ipam.take(address, handle(address), claims, rested=address not in asked)
            except Taken as error:
                if address in asked:
                    raise NotGiven(Rule.ADDRESS_IN_USE, str(error)) from error
                avoid.add(address)
                return False
            except Lost:
                return False
        return True

    def _more(
        self, intent: Intent, claims: Claims, error: NotGiven, handle: Handle, within: Prefix | None
    ) -> tuple[Address, ...]:
        """Claim a block, or borrow addresses, which are the answer. Raises NotGiven."""
        if error.rule is Rule.OUTSIDE_BLOCKS and error.address:
            return self._asked(intent, claims, error, error.address, handle)
        pool = _pool(intent, error.pool)
        if error.rule not in _MORE or pool is None:
            raise error
        try:
            self.ipam.claim(self._view, pool.name, within)
        except NotGiven as none:
            if none.rule not in _NONE_LEFT:
                raise
            if intent.is_strict:
                raise NotGiven(none.rule, f"{error}; {none}; strictAffinity forbids to borrow an address") from none
            try:
                return (self.ipam.borrow(intent, pool, handle, claims, within),)
            except NotGiven as last:
                raise NotGiven(error.rule, f"{error}; {none}; {last}") from last
        return ()

    def _asked(
        self, intent: Intent, claims: Claims, error: NotGiven, address: Address, handle: Handle
    ) -> tuple[Address, ...]:
        """An address that was asked for, and is in no block of this node."""
        pool = intent.pool_of(address.host_prefix)
        if pool is None:
            raise error
        NodeBlocks.of(intent, self.cluster()[1]).pool(pool.name)
        holder = next((claim.node for claim in claims.blocks.values() if claim.block.holds(address)), None)
        if holder is None:
            self.ipam.claim(self._view, pool.name, address.host_prefix)
            return ()
        if intent.is_strict or holder == self.ipam.node:
            raise error
        try:
            self.ipam.take(address, handle(address), claims, rested=False)
        except Taken as taken:
            raise NotGiven(Rule.ADDRESS_IN_USE, str(taken)) from taken
        return ()

    # Without the store -------------------------------------------------------------------------------------------

    def _alone(self, choose: Choose) -> tuple[Intent, tuple[Address, ...]]:
        """Addresses that no other node can give. Raises NotGiven."""
        intent, node = self.cluster()
        why = f"{self.store.status().name} is not heard"
        if not intent.is_strict:
            text = "without strictAffinity another node may have borrowed any free address of this node's blocks"
            raise NotGiven(Rule.STORE_AWAY, f"{why}, and {text}; try again when it is")
        noted = self.noted()
        given = intent.allocations.of(node.name)
        own = tuple(block for block in given.blocks if block in noted)
        alone = with_edits(intent, {}, {node.name: replace(given, blocks=own, borrowed=())})
        try:
            return intent, choose(alone, (), ())
        except NotGiven as error:
            raise NotGiven(Rule.STORE_AWAY, f"{why}, and no block can be claimed: {error}") from error

    @property
    def _name(self) -> str:
        return f"blocks-{self.store.cluster}.json"

    def noted(self) -> Mapping[Prefix, bool]:
        """The claimed blocks that are this node's for certain, and whether each is its first of the pool."""
        try:
            with filesystem.ours(self.directory) as handle:
                found = json.loads(filesystem.read_ours(handle, self._name))
            if found["node"] != self.ipam.node:
                return {}
            return {Prefix.parse(block): bool(home) for block, home in found["blocks"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            log.warning("%s is not used: %s", self.directory / self._name, error)
            return {}

    def _note(self, claims: Claims) -> None:
        """Have this node's blocks noted. Those that the store has lost stay, until they are claimed again."""
        own = {claim.block: claim.home for claim in claims.blocks.values() if claim.node == self.ipam.node}
        self._write({**self.noted(), **own})

    def _write(self, blocks: Mapping[Prefix, bool]) -> None:
        if blocks == self.noted():
            return
        found = {"node": self.ipam.node, "blocks": {str(block): home for block, home in sorted(blocks.items())}}
        with filesystem.ours(self.directory) as handle:
            filesystem.replace(handle, self._name, json.dumps(found).encode(), mode=0o644)

    # Agreeing ----------------------------------------------------------------------------------------------------

    def settle(self, held: Mapping[Address, str], in_use: InUse) -> None:
        """As SharedIpam.settle."""
        try:
            self._settle(held, in_use)
        except (*FAULTS, NotGiven, NotPossibleNow) as error:
            log.warning("the shared IPAM is brought up to date later: %s", error)

    def _settle(self, held: Mapping[Address, str], in_use: InUse) -> None:
        view = self._view()
        claims = self._with_lost(view, held)
        recorded = self.ipam.held(claims)
        gone = [address for address in recorded if address not in held]
        busy = in_use([address.host_prefix for address in gone]) if gone else ()
        for address, (handle, number) in recorded.items():
            # While the store was away a workload may have gone, and another one got its address.
            if held.get(address, handle) != handle or (address in gone and address.host_prefix not in busy):
                self.ipam.release(address, number, claims)
        own = [claim.block for claim in claims.blocks.values() if claim.node == self.ipam.node]
        for address, handle in held.items():
            is_recorded = address in recorded and recorded[address][0] == handle
            if not is_recorded and any(block.holds(address) for block in own):
                self._record(address, handle, claims)
        self._release_empty(claims, held)

    def _record(self, address: Address, handle: str, claims: Claims) -> None:
        try:
            self.ipam.take(address, handle, claims, rested=False)
        except (Taken, Lost) as error:
            log.warning("%s is %s's here, and cannot be in the shared IPAM: %s", address, handle, error)

    def _with_lost(self, view: View, held: Mapping[Address, str]) -> Claims:
        """The claims, with those of this node again that the store has lost, if their addresses are used."""
        claims = self.store.claims
        own = claims.of(self.ipam.node)
        for block, home in self.noted().items():
            if block in own:
                continue
            is_used = any(block.holds(address) for address in held)
            if is_used and not self.ipam.reclaim(block, view, home=home):
                other = claims.holder(block) or "no node"
                log.error("block %s was this node's, has its workloads, and is held by %s now", block, other)
        claims = self._claims_again() if self.noted().keys() - {*own} else claims
        self._write({claim.block: claim.home for claim in claims.blocks.values() if claim.node == self.ipam.node})
        return claims

    def _claims_again(self) -> Claims:
        self._view()
        return self.store.claims

    def _release_empty(self, claims: Claims, held: Iterable[Address]) -> None:
        noted = dict(self.noted())
        used = [block for block in noted if any(map(block.holds, held))]
        for block in self.ipam.empty(claims, used):
            self._write({own: home for own, home in self.noted().items() if own != block})
            if self.ipam.release_block(block):
                log.info("block %s was empty, and is freed", block)


def _pool(intent: Intent, name: str) -> Pool | None:
    return next((pool for pool in intent.pools if pool.name == name), None)
