"""One line for all neighbours that get the same route; each neighbour's orders keep their order."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from bgpctl.speaker.joined_lines import joined

ORDERS = ("announce route 10.0.0.0/24 next-hop self", "withdraw route 10.0.0.0/24", "announce eor ipv4 unicast")
lines = st.builds("neighbor {} {}\n".format, st.sampled_from(("a", "b", "c")), st.sampled_from(ORDERS))
lines_to_all = st.builds("{}\n".format, st.sampled_from(ORDERS))


def heard(text: str) -> dict[str, list[str]]:
    """The orders that each neighbour gets, by its name."""
    found: dict[str, list[str]] = {name: [] for name in "abc"}
    for line in text.splitlines():
        *others, last = line.split(" , ")
        name, order = ("", last) if not last.startswith("neighbor ") else tuple(last.split(" ", 2)[1:])
        names = [*(other.removeprefix("neighbor ") for other in others), name] if name else list("abc")
        for each in names:
            found[each].append(order)
    return found


def test_a_route_to_several_neighbours_is_one_line() -> None:
    route, other = (f"announce route {prefix} next-hop self\n" for prefix in ("10.0.0.0/24", "10.0.1.0/24"))
    text = joined(f"neighbor {name} {order}" for name in ("a", "b") for order in (route, other))
    assert text == f"neighbor a , neighbor b {route}neighbor a , neighbor b {other}"


@given(st.lists(lines | lines_to_all, max_size=12))
def test_each_neighbour_gets_the_same_orders_in_the_same_order(given_lines: Sequence[str]) -> None:
    assert heard(joined(given_lines)) == heard("".join(given_lines))
