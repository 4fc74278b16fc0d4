"""
Which addresses a workload gets: the ones that were asked for, or of each pool the one that was in use least recently.

An address that was never in use comes before all others. One that a workload had rests for COOL_DOWN_S, in which
neighbours, connections and names of the former workload end; an operator who names it gets it at once. None rests
beyond a boot, with which all these end too.

Refuses to know: where the ledger and the addresses in use come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from bgpctl.core.cluster.configuration import Pool
from bgpctl.core.ipam.blocks import NodeBlocks, NotGiven, Range, Rule
from bgpctl.core.ipam.ledger import Freed, Ledger, Moment, Request
from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.longest_match import LongestMatch

COOL_DOWN_S: Final = 60.0


def allocate(
    ledger: Ledger,
    request: Request,
    blocks: NodeBlocks,
    in_use: Iterable[Prefix],
    now: Moment,
    within: Prefix | None = None,
) -> tuple[Address, ...]:
    """
    The addresses of a new workload, that of IPv4 first. `in_use`: prefixes that the kernel has for something else;
    `within`: a prefix that the addresses are in which are chosen. Raises NotGiven.
    """
    pools = [blocks.pool(name) for name in request.pools]
    asked = {address.version for address in request.addresses}
    _refuse_two_of_a_version([pool.cidr.version for pool in pools], request.addresses)
    busy = LongestMatch((prefix, prefix) for prefix in in_use)
    found = [_asked(ledger, blocks, busy, address, pools) for address in request.addresses]
    unnamed = [pool for pool in pools if pool.cidr.version not in asked]
    chosen = [_next(ledger, blocks, busy, blocks.range(pool, within), now) for pool in unnamed]
    return tuple(sorted([*found, *chosen]))


def confirm(
    ledger: Ledger, name: str, blocks: NodeBlocks, in_use: Iterable[Prefix], addresses: Iterable[Address]
) -> None:
    """Check that a workload of the ledger may keep its addresses, also in a disabled pool. Raises NotGiven."""
    busy = LongestMatch((prefix, prefix) for prefix in in_use)
    for address in addresses:
        blocks.check(address)
        _refuse_in_use(ledger, busy, address, but=name)


def _refuse_two_of_a_version(of_pools: Sequence[int], addresses: Sequence[Address]) -> None:
    for what, versions in (("pools", of_pools), ("addresses", [address.version for address in addresses])):
        for version in (4, 6):
            if versions.count(version) > 1:
                text = f"two {what} of IPv{version}; a workload has one address of each IP version"
                raise NotGiven(Rule.SAME_VERSION, text)


def _asked(
    ledger: Ledger, blocks: NodeBlocks, busy: LongestMatch[Prefix], address: Address, pools: Iterable[Pool]
) -> Address:
    """An address that the operator named, once it is known to be free."""
    of_version = next((pool for pool in pools if pool.cidr.version == address.version), None)
    pool = blocks.pool_of(address)
    if of_version not in {None, pool}:
        raise NotGiven(Rule.OUTSIDE_BLOCKS, f"{address} is in pool {pool.name}, not in {of_version.name}")
    _refuse_in_use(ledger, busy, address)
    return address


def _refuse_in_use(ledger: Ledger, busy: LongestMatch[Prefix], address: Address, *, but: str = "") -> None:
    holder = ledger.holder(address)
    if holder and holder.name != but:
        raise NotGiven(Rule.ADDRESS_IN_USE, f"{address} is workload {holder.name}'s")
    if address in ledger.reserved:
        raise NotGiven(Rule.ADDRESS_IN_USE, f"{address} is reserved for a container that starts or ends now")
    if found := busy.holding(address):
        text = f"{address} is in use on this host, by a route or neighbour that is no workload's: {found}"
        raise NotGiven(Rule.ADDRESS_IN_USE, f"{text}; see: ip route show table all; ip neighbour")


def _next(ledger: Ledger, blocks: NodeBlocks, busy: LongestMatch[Prefix], found: Range, now: Moment) -> Address:
    own = found.prefixes
    held = {address for workload in ledger.workloads.values() for address in workload.addresses}

    def is_free(address: Address) -> bool:
        is_held = address in held or address in ledger.reserved
        return not is_held and blocks.may_choose(address) and busy.holding(address) is None

    earlier = [item for item in ledger.freed if any(block.holds(item.address) for block in own)]
    used = {item.address for item in earlier}
    fresh = next(_free(own, lambda address: address not in used and is_free(address)), None)
    if fresh:
        return fresh
    free = [item for item in earlier if is_free(item.address)]
    rested = next((item.address for item in free if _rests_s(item, now) <= 0), None)
    if rested:
        return rested
    text = f"pool {found.pool} is exhausted on node {blocks.node.name}: {', '.join(map(str, own))}"
    if free:
        left_s = min(_rests_s(item, now) for item in free)
        raise NotGiven(
            Rule.COOLING_DOWN, f"{text}; an address that was in use before is free in {left_s:.0f} s", found.pool
        )
    raise NotGiven(Rule.FULL, f"{text}; add a block to the node in the cluster file", found.pool)


def _rests_s(item: Freed, now: Moment) -> float:
    """How long an address rests on; 0 or less for one that may be given."""
    return item.at.since_boot_s + COOL_DOWN_S - now.since_boot_s if item.at.boot == now.boot else 0.0


def _free(blocks: Iterable[Prefix], is_free: Callable[[Address], bool]) -> Iterator[Address]:
    return (address for block in blocks for address in map(block.nth, range(block.size)) if is_free(address))
