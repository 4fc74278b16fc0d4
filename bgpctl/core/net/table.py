"""
Tables by prefix whose versions share what is the same in both: the cost of a change is the size of the change.

A table is a dictionary of shards, and a shard has some hundred prefixes side by side. A changed table is a new one
that has new shards for what changed and the very same objects for all others. So two versions are compared by the
identity of their shards first (`changed_since`): with 50,000 prefixes that is 200 comparisons, and only the
shards that differ are gone through.

Nothing is marked as changed and no event is kept. A function that derives one table from another (`mapped`) is given
the version of both before, finds what differs now, and derives just that again. The result depends on the two tables
alone, so it is what a whole derivation gives.

Blocks of the usual size are 256 in a shard, and so are addresses: there can be 16,000 where 256 blocks are. A prefix
wider than a shard is in a shard with its neighbours of the same length.

Refuses to know: what the values are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from itertools import chain, compress, filterfalse, islice
from operator import is_, is_not
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar, cast, overload

from bgpctl.core.net.addresses import Prefix

K = TypeVar("K")
V = TypeVar("V")
W = TypeVar("W")
S = TypeVar("S", bound=tuple[Any, ...])

ShardKey: TypeAlias = tuple[int, int, int]
"""
IP version; 0 for blocks, -1 for addresses, or the length of prefixes wider than a shard; the bits that all prefixes of
a shard have in common.
"""

_SHARD_BITS: Final = 14
"""A shard spans 2^14 addresses, which are 256 blocks of the usual size (IPv4 /26, IPv6 /122)."""
_NEIGHBOUR_BITS: Final = 8
"""Wider prefixes are 256 in a shard, and so are addresses."""
_FEW_BITS: Final = 3
"""Prefixes of up to 2^3 addresses are among addresses."""
_NARROW: Final = {4: 32 - _SHARD_BITS, 6: 128 - _SHARD_BITS}
_BITS: Final = {4: 32, 6: 128}
_ADDRESSES: Final = {version: bits - _FEW_BITS for version, bits in _BITS.items()}


def shard_of(prefix: Prefix) -> ShardKey:
    """The shard that a prefix is in."""
    version, network, length = prefix
    if length >= _ADDRESSES[version]:
        return version, -1, network >> _NEIGHBOUR_BITS
    if length >= _NARROW[version]:
        return version, 0, network >> _SHARD_BITS
    return version, length, network >> (_BITS[version] - length + _NEIGHBOUR_BITS)


_Span: TypeAlias = tuple[int, int, int]
"""IP version, first address, and the address after the last."""


def _span(prefix: Prefix) -> _Span:
    version, network, length = prefix
    return version, network, network + (1 << _BITS[version] - length)


def _near(key: ShardKey, spans: Iterable[_Span]) -> list[_Span]:
    """The spans that overlap the shard."""
    version, kind, common = key
    bits = {0: _SHARD_BITS, -1: _NEIGHBOUR_BITS}.get(kind, _BITS[version] - kind + _NEIGHBOUR_BITS)
    if not kind and not common:  # the default route, of length 0, is in the first shard of blocks
        bits = _BITS[version]
    shard = version, common << bits, common + 1 << bits
    return [span for span in spans if _overlap(shard, span)]


def near(keys: Iterable[ShardKey], prefix: Prefix) -> Iterator[ShardKey]:
    """Of these shards those that may have prefixes which overlap this one."""
    spans = (_span(prefix),)
    return (key for key in keys if _near(key, spans))


def _overlap(one: _Span, other: _Span) -> bool:
    return one[0] == other[0] and one[1] < other[2] and other[1] < one[2]


def by_shard(items: Iterable[S]) -> dict[ShardKey, list[S]]:
    """The items, whose first field is a prefix, by its shard."""
    shards: defaultdict[ShardKey, list[S]] = defaultdict(list)
    last, add = (0, 0), cast(list[S], []).append
    for item in items:
        version, network, length = item[0]
        # As in shard_of, whose call would be a third of the time; and neighbours often come one after the other.
        if length < _NARROW[version]:
            shards[version, length, network >> (_BITS[version] - length + _NEIGHBOUR_BITS)].append(item)
            continue
        if length >= _ADDRESSES[version]:
            shards[version, -1, network >> _NEIGHBOUR_BITS].append(item)
            continue
        place = network >> _SHARD_BITS
        if place != last[1] or version != last[0]:
            last, add = (version, place), shards[version, 0, place].append
        add(item)
    return shards


def in_shards(prefixes: Iterable[Prefix]) -> Mapping[ShardKey, Sequence[Prefix]]:
    """The prefixes by their shards."""
    return {key: [prefix for (prefix,) in items] for key, items in by_shard((prefix,) for prefix in prefixes).items()}


class Table(Mapping[Prefix, V], Generic[V]):
    """
    An immutable mapping from prefixes to values, in shards that versions share.

    Args:
        shards: none of them empty; never edited afterwards.
    """

    __slots__ = ("_size", "shards")

    def __init__(self, shards: Mapping[ShardKey, Mapping[Prefix, V]] | None = None, size: int | None = None) -> None:
        self.shards: Mapping[ShardKey, Mapping[Prefix, V]] = shards or {}
        self._size = sum(map(len, self.shards.values())) if size is None else size

    @classmethod
    def of(cls, entries: Mapping[Prefix, V] | Iterable[tuple[Prefix, V]]) -> Table[V]:
        """The table with these entries; of two for a prefix the last counts. A table is taken as it is."""
        if isinstance(entries, Table):
            return entries
        pairs = entries.items() if isinstance(entries, Mapping) else entries
        return cls({key: dict(shard) for key, shard in by_shard(pairs).items()})

    def __getitem__(self, prefix: Prefix) -> V:
        return self.shards[shard_of(prefix)][prefix]

    @overload
    def get(self, prefix: Prefix) -> V | None: ...
    @overload
    def get(self, prefix: Prefix, default: W) -> V | W: ...
    def get(self, prefix: Prefix, default: object = None) -> object:
        """The value; the default without one."""
        shard = self.shards.get(shard_of(prefix))
        return default if shard is None else shard.get(prefix, default)

    def __contains__(self, prefix: object) -> bool:
        shard = self.shards.get(shard_of(cast(Prefix, prefix)))
        return shard is not None and prefix in shard

    def __iter__(self) -> Iterator[Prefix]:
        return chain.from_iterable(self.shards.values())

    def items(self) -> ItemsView[Prefix, V]:
        """As of any mapping, without a look-up for each prefix."""
        return _Items(self)

    def values(self) -> ValuesView[V]:
        """As of any mapping, without a look-up for each prefix."""
        return _Values(self)

    def __len__(self) -> int:
        return self._size

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, Table):
            return self._size == other._size and self.shards == other.shards
        return isinstance(other, Mapping) and dict(self.items()) == dict(other.items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Table({dict(self.items())})"

    def changed_since(self, before: Mapping[Prefix, V]) -> set[Prefix]:
        """Prefixes whose value is another object now than `before`, or that are in one of the two only."""
        changed: set[Prefix] = set()
        if self is before:
            return changed
        old_shards = Table.of(before).shards
        for key in differing(self.shards, old_shards):
            changed.update(differing(self.shards.get(key, {}), old_shards.get(key, {})))
        return changed

    def among(self, prefixes: Mapping[ShardKey, Iterable[Prefix]]) -> Iterator[tuple[Prefix, V]]:
        """The entries of these prefixes (`in_shards`), as far as there are any."""
        for key, some in prefixes.items():
            shard = self.shards.get(key)
            if shard:
                yield from ((prefix, shard[prefix]) for prefix in some if prefix in shard)

    def differences(self, before: Table[V]) -> Iterator[tuple[Prefix, V | None, V | None]]:
        """Each of `changed_since` with its value before and now, None where it had or has none."""
        for key in differing(self.shards, before.shards):
            now, old = self.shards.get(key, {}), before.shards.get(key, {})
            for prefix in differing(now, old):
                yield prefix, old.get(prefix), now.get(prefix)

    def overlapping(self, others: Collection[Prefix]) -> set[Prefix]:
        """Prefixes that are one of these, cover one or lie in one. Shards far from all of them cost next to nothing."""
        spans = [_span(prefix) for prefix in others]
        found: set[Prefix] = set()
        for key, shard in self.shards.items():
            if near := _near(key, spans):
                found.update(prefix for prefix in shard if any(_overlap(_span(prefix), span) for span in near))
        return found

    def changed(self, entries: Mapping[Prefix, V], gone: Iterable[Prefix] = ()) -> Table[V]:
        """The table with these entries in place of what was there, and without `gone`."""
        edited: dict[ShardKey, dict[Prefix, V]] = {}
        for prefix in gone:
            if prefix in self:
                self._editable(edited, prefix).pop(prefix, None)
        for key, items in by_shard(entries.items()).items():
            known = edited[key] if key in edited else self.shards.get(key, {})
            new = {prefix: value for prefix, value in items if known.get(prefix, _ABSENT) is not value}
            if new:
                edited[key] = {**known, **new}
        return self.with_shards(edited)

    def with_shards(self, edited: Mapping[ShardKey, Mapping[Prefix, V]]) -> Table[V]:
        """The table with these shards in place of those that have their keys; an empty one is none."""
        if not edited:
            return self
        shards = dict(self.shards)
        size = self._size
        for key, shard in edited.items():
            size += len(shard) - len(shards.get(key, ()))
            if shard:
                shards[key] = shard
            else:
                shards.pop(key, None)
        return Table(shards, size)

    def _editable(self, edited: dict[ShardKey, dict[Prefix, V]], prefix: Prefix) -> dict[Prefix, V]:
        key = shard_of(prefix)
        if key not in edited:
            edited[key] = dict(self.shards.get(key, {}))
        return edited[key]

    def mapped(
        self,
        derive: Callable[[Prefix, V], W | None],
        before: Mapped[V, W] | None = None,
        changed: Collection[Prefix] | None = None,
    ) -> Table[W]:
        """
        A table with what `derive` makes of each entry; None is no entry. Where an entry is the same object as in the
        table `before`, that one's result is taken over. `changed` are the prefixes of the others, if they are known.
        """
        if before is None or not before.source:
            shards = {
                key: {prefix: made for prefix, value in shard.items() if (made := derive(prefix, value)) is not None}
                for key, shard in self.shards.items()
            }
            return Table({key: shard for key, shard in shards.items() if shard})
        edited: dict[ShardKey, dict[Prefix, W]] = {}
        for key, prefixes in self._differing(before.source) if changed is None else in_shards(changed).items():
            values, known = self.shards.get(key, {}), before.result.shards.get(key, {})
            shard: dict[Prefix, W] | None = None
            for prefix in prefixes:
                value = values.get(prefix, _ABSENT)
                made = None if value is _ABSENT else derive(prefix, cast(V, value))
                if made is known.get(prefix):
                    continue
                shard = dict(known) if shard is None else shard
                if made is None:
                    del shard[prefix]
                else:
                    shard[prefix] = made
            if shard is not None:
                edited[key] = shard
        return before.result.with_shards(edited)

    def _differing(self, before: Table[V]) -> Iterator[tuple[ShardKey, Iterable[Prefix]]]:
        """`changed_since` by shards."""
        for key in differing(self.shards, before.shards):
            yield key, differing(self.shards.get(key, {}), before.shards.get(key, {}))


def is_same(before: Input | None, now: Input, but: str = "") -> bool:
    """
    True if all inputs of a stage are the same as before, `but` for one table that is compared entry by entry. Tables
    and other large values are the same if they are one object; numbers, tuples and dictionaries are compared.
    """
    if before is None:
        return False
    # A loop, and not all(): this is asked for each peer at each observation.
    for name, one, other in zip(now._fields, before, now, strict=True):
        if one is not other and name != but and not _is_equal(one, other):
            return False
    return True


def _is_equal(one: object, other: object) -> bool:
    return isinstance(one, int | tuple | dict) and one == other


class Input(Protocol):
    """The input of a stage: a NamedTuple."""

    @property
    def _fields(self) -> tuple[str, ...]: ...
    def __iter__(self) -> Iterator[Any]: ...


class _Items(ItemsView[Prefix, V]):
    _mapping: Table[V]

    def __iter__(self) -> Iterator[tuple[Prefix, V]]:
        return chain.from_iterable(shard.items() for shard in self._mapping.shards.values())


class _Values(ValuesView[V]):
    _mapping: Table[V]

    def __iter__(self) -> Iterator[V]:
        return chain.from_iterable(shard.values() for shard in self._mapping.shards.values())


class Mapped(NamedTuple, Generic[V, W]):
    """A table, and the one that was made of it."""

    source: Table[V]
    result: Table[W]


_ABSENT: Final = object()
"""Identical to no value."""


def differing(now: Mapping[K, V], before: Mapping[K, V]) -> Iterable[K]:
    """The keys whose values are not one object, or that are in one of the two only."""
    if now is before:
        return ()
    # One is an edited copy of the other nearly always, so what was in both stands in the same order.
    if len(now) >= len(before) and all(map(is_, now, before)):
        added = islice(now, len(before), None)
        return chain(compress(now, map(is_not, now.values(), before.values())), added)
    gone = [*filterfalse(now.__contains__, before)]
    if len(before) - len(gone) == len(now):
        return chain(compress(now, map(is_not, now.values(), map(before.__getitem__, now))), gone)
    changed = [key for key, value in now.items() if before.get(key, _ABSENT) is not value]
    return chain(changed, gone)


def sharing(shards: Mapping[ShardKey, W], before: Mapping[ShardKey, W]) -> Mapping[ShardKey, W]:
    """Equal shards, as many as possible the very objects of `before`; `before` itself if all are."""
    others = list(differing(shards, before))
    equal = {key: before[key] for key in others if key in before and shards.get(key) == before[key]}
    return before if len(equal) == len(others) else {**shards, **equal}
