"""
The claims of nodes, laid over the configuration as it is read.

A record of a block is made and removed, never replaced. One that was replaced changed its holder without a release: the
former holder, if it is known, keeps the block here, and `problems` names it.

Refuses to know: how claims are made (ipam.py), which claims contradict a configuration (core/ipam/claims.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.cluster.problems import Place, Problem
from bgpctl.core.ipam.claims import NO_CLAIMS, Claims, overlaid
from bgpctl.ports import Loaded
from bgpctl.store.etcd import ipam_records
from bgpctl.store.etcd.ipam import claims_of, is_replaced
from bgpctl.store.etcd.known import Known
from bgpctl.store.etcd.kv import Entry

_FEW: Final = 3
_KEYS: Final = (ipam_records.BLOCKS, ipam_records.BORROWED)


class Claimed:
    """
    The claims of one store, read again and again. One thread calls.

    Attributes:
        claims: those of all nodes.
    """

    def __init__(self) -> None:
        self.claims: Claims = NO_CLAIMS
        self._entries: Mapping[str, Entry] = {}
        self._refused: Mapping[str, str] = {}
        self._replaced: tuple[str, ...] = ()

    def update(self, known: Known) -> bool:
        """Read them; true if they are other than before."""
        entries = {key: entry for key, entry in known.entries.items() if key.startswith(_KEYS)}
        if entries == self._entries:
            return False
        former = self.claims
        self._entries, self.claims = entries, claims_of(entries, former)
        blocks = self.claims.blocks
        self._replaced = tuple(
            f"block {blocks[key].block} has changed its holder without a release: {_holder(key, former)}"
            for key, entry in entries.items()
            if is_replaced(key, entry) and key in blocks
        )
        return True

    def laid_over(self, declared: Loaded, before: Loaded) -> Loaded:
        """The configuration with them. One that contradicts it is left out, and named."""
        if not isinstance(declared, Intent):
            return declared
        found, self._refused = overlaid(declared, self.claims, before if isinstance(before, Intent) else None)
        return found

    def proposed(self, proposed: Loaded, name: str) -> Loaded:
        """Another configuration with them; a problem if one that counts now would not any more."""
        if not isinstance(proposed, Intent):
            return proposed
        found, refused = overlaid(proposed, self.claims)
        lost = [reason for key, reason in refused.items() if key not in self._refused]
        return tuple(Problem(Place(name, 1, 1), "", text, "claimed-block") for text in lost) if lost else found

    @property
    def problems(self) -> tuple[str, ...]:
        """The faults of claims; of many a few."""
        found = (*self._replaced, *self._refused.values())
        more = f"and {len(found) - _FEW} more claims are not used; see: bgpctl ipam check"
        return found if len(found) <= _FEW else (*found[:_FEW], more)


def _holder(key: str, former: Claims) -> str:
    known = former.blocks.get(key)
    return f"node {known.node} keeps it here" if known else "who had it before is not known here"
