"""Tables in shards: each change is that of a dictionary, and what did not change is shared."""

from __future__ import annotations

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.net.addresses import Prefix
from bgpctl.core.net.table import Table

PREFIXES: Final = tuple(
    map(
        Prefix.parse,
        (
            "0.0.0.0/0",
            "128.0.0.0/1",
            "10.0.0.0/18",
            "10.0.0.0/26",
            "10.0.0.64/26",
            "10.0.64.1/32",
            "::/0",
            "fd00::/128",
        ),
    )
)
VALUES: Final = tuple((number,) for number in range(3))
entries = st.dictionaries(st.sampled_from(PREFIXES), st.sampled_from(VALUES))


@given(entries, entries, st.sets(st.sampled_from(PREFIXES)))
def test_a_changed_table_is_that_without_what_goes_and_with_what_comes(
    start: dict[Prefix, tuple[int]], new: dict[Prefix, tuple[int]], gone: set[Prefix]
) -> None:
    table = Table.of(start)
    changed = table.changed(new, gone)
    expected = {prefix: value for prefix, value in start.items() if prefix not in gone} | new
    assert dict(changed.items()) == expected
    assert len(changed) == len(expected)
    assert table == start
    assert changed.changed_since(table) == {
        prefix for prefix in start.keys() | expected.keys() if start.get(prefix) is not expected.get(prefix)
    }
