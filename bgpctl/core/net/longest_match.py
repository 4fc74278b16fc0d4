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
        # By plain tuples, which equal prefixes: a route costs several look-ups, and half of one was to make a Prefix.
        self._entries: dict[tuple[int, int, int], T] = {}
        for prefix, value in entries:
            self._entries.setdefault(prefix, value)
        self._lengths = {version: self._lengths_of(version, bits) for version, bits in ((4, 32), (6, 128))}

    def _lengths_of(self, version: int, bits: int) -> tuple[tuple[int, int], ...]:
        """The prefix lengths in use, the longest first, each with the number of bits behind it."""
        lengths = {length for other, _, length in self._entries if other == version}
        return tuple((length, bits - length) for length in sorted(lengths, reverse=True))

    def matches(self, prefix: Prefix) -> Iterator[T]:
        """The values of all entries that are `prefix` or cover it, the most specific first."""
        version, network, length = prefix
        for candidate, rest in self._lengths[version]:
            if candidate <= length:
                found = self._entries.get((version, network >> rest << rest, candidate))
                if found is not None:
                    yield found

    def covering(self, prefix: Prefix) -> T | None:
        """The value of the most specific entry that is `prefix` or covers it."""
        version, network, length = prefix
        # As `matches`, without a generator.
        for candidate, rest in self._lengths[version]:
            if candidate <= length:
                found = self._entries.get((version, network >> rest << rest, candidate))
                if found is not None:
                    return found
        return None

    def holding(self, address: Address) -> T | None:
        """The value of the most specific entry that contains `address`."""
        return self.covering(address.host_prefix)
