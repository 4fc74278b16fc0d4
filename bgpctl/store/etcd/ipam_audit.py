"""
The shared IPAM of addresses read as a whole, and freed in parts, as an operator's command does it.

Refuses to know: what is wrong in it (core/ipam/audit.py).
"""

from __future__ import annotations

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.audit import Allocation, Assignments, Finding, Kind
from bgpctl.store.etcd import ipam_records
from bgpctl.store.etcd.ipam import Ipam, Keys, claims_of, is_replaced


def read(kv: Keys) -> Assignments:
    """All of it at one revision. Raises one of follower.FAULTS."""
    entries = kv.list("ipam/").entries
    claims = claims_of(entries)
    allocations = [
        Allocation(address, block, use.node, use.handle, use.number)
        for key, entry in entries.items()
        if key.startswith(ipam_records.USED)
        for block in [ipam_records.block_of(key.removeprefix(ipam_records.USED))]
        for address, use in ipam_records.read_used(entry.value).used.items()
    ]
    replaced = {
        claims.blocks[key].block for key, entry in entries.items() if key in claims.blocks and is_replaced(key, entry)
    }
    return Assignments(claims, tuple(sorted(allocations)), frozenset(replaced))


def release_of_nobody(kv: Keys, intent: Intent, assignments: Assignments, found: list[Finding]) -> list[Finding]:
    """Release addresses and blocks of nodes that are no members. The findings that are done. Raises as `read`."""
    subjects = {finding.subject for finding in found if finding.kind is Kind.NODE_GONE}
    done = set()
    for allocation in assignments.allocations:
        ipam = Ipam(kv, allocation.node)
        is_nobodys = intent.node(allocation.node) is None and str(allocation.address) in subjects
        if is_nobodys and ipam.release(allocation.address, allocation.number):
            done.add(str(allocation.address))
    for claim in assignments.claims.blocks.values():
        is_nobodys = intent.node(claim.node) is None and str(claim.block) in subjects
        if is_nobodys and Ipam(kv, claim.node).release_block(claim.block):
            done.add(str(claim.block))
    return [finding for finding in found if finding.subject in done]
