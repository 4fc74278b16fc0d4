"""
Longest match: the most specific of many prefixes that covers another one.

Refuses to know: what hangs on a prefix.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from bgpctl.core.net.addresses import Address, Prefix

T = TypeVar("T")


class LongestMatch(Generic[T]):
    """What was given for each prefix, found by a dictionary look-up per length in use; the first one given stays."""

    def __init__(self, entries: Iterable[tuple[Prefix, T]]) -> None:
        self._entries: dict[Prefix, T] = {}
        for prefix, value in entries:
            self._entries.setdefault(prefix, value)
        self._lengths = {
            version: sorted({p.length for p in self._entries if p.version == version}, reverse=True)
            for version in (4, 6)
        }

    def covering(self, prefix: Prefix) -> T | None:
        """What belongs to the most specific entry that is `prefix` or covers it."""
        version, network, length = prefix
        bits = 32 if version == 4 else 128
        for candidate in self._lengths[version]:
            if candidate <= length:
                shift = bits - candidate
                found = self._entries.get(Prefix(version, network >> shift << shift, candidate))
                if found is not None:
                    return found
        return None

    def holding(self, address: Address) -> T | None:
        """What belongs to the most specific entry that holds `address`."""
        return self.covering(address.host_prefix)
