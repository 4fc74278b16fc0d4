"""One line for the neighbours and the routes that have the same; each neighbour's orders keep their order."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from bgpctl.core.net.addresses import Address
from bgpctl.speaker.joined_lines import Order, joined
from bgpctl.speaker.sent_patches import BETWEEN

ORDERS = (
    "announce route 10.0.0.0/24 next-hop self",
    "withdraw route 10.0.0.0/24",
    "announce eor ipv4 unicast",
    "announce raw 10.0.0.0/24 self 4001 4002",
    "announce raw 10.0.1.0/24 self 4001 4002",
    "announce raw 10.0.1.0/24 self 4003 4004",
    "withdraw raw 10.0.1.0/24",
    "withdraw raw 10.0.0.0/24",
)
NAMES = ("10.9.0.1", "10.9.0.2", "10.9.0.3")
A, B, _ = map(Address.parse, NAMES)
orders = st.builds(Order, st.none() | st.sampled_from([*map(Address.parse, NAMES)]), st.sampled_from(ORDERS))


def heard(text: str) -> dict[str, list[str]]:
    """The orders that each neighbour gets, by its name."""
    found: dict[str, list[str]] = {name: [] for name in NAMES}
    for line in text.splitlines():
        *others, last = line.split(" , ")
        name, order = ("", last) if not last.startswith("neighbor ") else tuple(last.split(" ", 2)[1:])
        names = [*(other.removeprefix("neighbor ") for other in others), name] if name else NAMES
        for each in names:
            found[each] += single(order)
    return found


def single(order: str) -> list[str]:
    """An order of octets for several prefixes is one for each."""
    words = order.split(" ")
    return (
        [" ".join((*words[:2], prefix, *words[3:])) for prefix in words[2].split(BETWEEN)]
        if words[1] == "raw"
        else [order]
    )


def test_a_route_to_several_neighbours_is_one_line() -> None:
    route, other = (f"announce route {prefix} next-hop self" for prefix in ("10.0.0.0/24", "10.0.1.0/24"))
    text = joined(Order(name, order) for name in (A, B) for order in (route, other))
    to = f"neighbor {A} , neighbor {B}"
    assert text == f"{to} {route}\n{to} {other}\n"


def test_routes_with_the_same_attributes_are_one_line() -> None:
    routes = [f"announce raw 10.0.{number}.0/24 self {octets}" for octets in ("01 02", "03 04") for number in (1, 2)]
    text = joined(Order(name, route) for name in (A, B) for route in routes)
    to = f"neighbor {A} , neighbor {B} announce raw 10.0.1.0/24+10.0.2.0/24 self"
    assert text == f"{to} 01 02\n{to} 03 04\n"


@given(st.lists(orders, max_size=12))
def test_each_neighbour_gets_the_same_orders_in_the_same_order(given_orders: Sequence[Order]) -> None:
    alone = "".join(f"{f'neighbor {peer} ' if peer else ''}{text}\n" for peer, text in given_orders)
    assert heard(joined(given_orders)) == heard(alone)
