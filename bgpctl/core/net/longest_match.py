"""
Longest match: the most specific of many prefixes that covers another one.

Refuses to know: what hangs on a prefix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from bgpctl.core.net.addresses import Address, Prefix

T = TypeVar("T")


class LongestMatch(Generic[T]):
    """A value per prefix, found by one dictionary lookup per prefix length in use; of two for a prefix the first."""

    def __init__(self, entries: Iterable[tuple[Prefix, T]]) -> None:
        self._entries: dict[Prefix, T] = {}
        for prefix, value in entries:
            self._entries.setdefault(prefix, value)
        self._lengths = {
            version: sorted({p.length for p in self._entries if p.version == version}, reverse=True)
            for version in (4, 6)
        }

    def matches(self, prefix: Prefix) -> Iterator[T]:
        """The values of all entries that are `prefix` or cover it, the most specific first."""
        version, network, length = prefix
        bits = 32 if version == 4 else 128
        for candidate in self._lengths[version]:
            if candidate <= length:
                shift = bits - candidate
                found = self._entries.get(Prefix(version, network >> shift << shift, candidate))
                if found is not None:
                    yield found

    def covering(self, prefix: Prefix) -> T | None:
        """The value of the most specific entry that is `prefix` or covers it."""
        return next(self.matches(prefix), None)

    def holding(self, address: Address) -> T | None:
        """The value of the most specific entry that contains `address`."""
        return self.covering(address.host_prefix)
