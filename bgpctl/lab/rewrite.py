"""
Another encapsulation for one pool in the text of a cluster file; everything else stays as it was written.

Refuses to know: what an encapsulation means.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bgpctl.core.cluster.encapsulation import Mode, words
from bgpctl.core.intent.tree import Mapping, Scalar, Tree
from bgpctl.core.intent.tunnel_keys import mode_keys
from bgpctl.store.yaml import documents


def with_encapsulation(text: str, file: str, pool: str, encapsulation: str) -> str:
    """
    The text with the pool's `encapsulation`, or its modes, changed where they stand.

    Raises:
        ValueError: there is no such pool, or its encapsulation is not written in a form that can be changed.
    """
    fields = next(_pools(documents(text, file), pool), None)
    if fields is None:
        raise ValueError(f"{file} has no pool {pool}")
    named = fields.items.get("encapsulation")
    if isinstance(named, Scalar):
        return _replaced(text, [(named, encapsulation)])
    modes = mode_keys(*words()[encapsulation])
    given = {key: leaf for key in modes if isinstance(leaf := fields.items.get(key), Scalar)}
    absent = [key for key, mode in modes.items() if key not in given and mode is not Mode.NEVER]
    if absent:
        raise ValueError(f"{fields.place}: pool {pool} has no {absent[0]}; write it into the file, as Never")
    return _replaced(text, [(leaf, modes[key].value) for key, leaf in given.items()])


def _pools(trees: Sequence[Tree], pool: str) -> Iterator[Mapping]:
    """Where the pool's keys stand, in the short form or in Calico's."""
    for tree in trees:
        match tree:
            case Mapping(items={"pools": Mapping(items=pools)}) if isinstance(found := pools.get(pool), Mapping):
                yield found
            case Mapping(
                items={"kind": Scalar(text="IPPool"), "metadata": Mapping(items=head), "spec": Mapping() as spec}
            ):
                name = head.get("name")
                if isinstance(name, Scalar) and name.text == pool:
                    yield spec
            case _:
                continue


def _replaced(text: str, changes: Sequence[tuple[Scalar, str]]) -> str:
    lines = text.splitlines(keepends=True)
    for leaf, word in sorted(changes, key=lambda change: change[0].place, reverse=True):
        line, column = lines[leaf.place.line - 1], leaf.place.column - 1
        end = column + len(leaf.text) + 2 * (line[column] in "\"'")
        lines[leaf.place.line - 1] = line[:column] + word + line[end:]
    return "".join(lines)
