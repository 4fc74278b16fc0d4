"""
The parts of `make bench`: which module measures, how long it may take, and how much it does in the quick mode.

Refuses to know: how a part measures, and what its figures look like.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

FULL_S: Final = 40 * 60.0
QUICK_S: Final = 5 * 60.0


class Part(NamedTuple):
    """
    One benchmark.

    Attributes:
        name: of its results and of its section in docs/benchmarks.md; `make bench-NAME` runs it alone.
        module: run with the name of the results' file.
        full_s, quick_s: its share of the time, after which it is stopped; it takes about two thirds of that on a quiet
            machine. A share of 0 leaves it out.
        full, quick: variables that say how much it does.
    """

    name: str
    module: str
    full_s: float
    quick_s: float
    full: Mapping[str, str] = {}
    quick: Mapping[str, str] = {}
    words: Sequence[str] = ()


PARTS: Final = (
    Part(
        "live",
        "bench.live",
        385,
        55,
        {"ROUNDS": "2", "CHANGES": "25"},
        {"ROUNDS": "1", "CHANGES": "10", "SIZES": "1000 10000", "SIZES6": "", "DENSE": ""},
    ),
    Part(
        "reflector",
        "bench.reflector",
        150,
        30,
        {"ROUNDS": "1"},
        {"ROUTES": "500", "CLIENTS": "10", "CHANGES": "5", "ROUNDS": "1"},
    ),
    Part(
        "usable",
        "bench.usable",
        530,
        40,
        {"CONVERGED_WITHIN_S": "200"},
        {"CASES": "4/mesh", "ROUTES": "1000", "CHANGES": "5"},
    ),
    Part(
        "node",
        "bench.node",
        170,
        25,
        {"ROUNDS": "1", "SECONDS": "10"},
        {"ROUNDS": "1", "SECONDS": "2", "PEERS": "3"},
    ),
    Part("fifty", "bench.fifty", 75, 0, {}, {"TOPOLOGY": "reflectors"}),
    Part("change", "bench.change", 40, 10, {}, {"SIZES": "1000 10000", "REFLECTORS": "1000/20", "CHANGES": "3"}),
    Part("edit", "bench.edit", 60, 10, {"EDITS": "3"}, {"SIZES": "100 1000", "EDITS": "2"}),
    Part("simulate", "bench.simulate", 40, 5, {}, {"SIZES": "100"}),
    Part(
        "fib",
        "bench.fib",
        160,
        20,
        {"ROUTES": "100000", "GATEWAYS": "5000", "ROUNDS": "2"},
        {"ROUTES": "10000", "GATEWAYS": "500", "ROUNDS": "1"},
    ),
    Part("bgp", "bench.bgp", 60, 25, {"ROUNDS": "1"}, {"ROUTES": "5000", "ROUNDS": "1"}),
    Part(
        "bgp-idle",
        "bench.bgp_idle",
        60,
        15,
        {"ROUNDS": "1", "SECONDS": "15"},
        {"PEERS": "20", "ROUNDS": "1", "SECONDS": "3"},
    ),
    Part("repair", "bench.repair", 45, 15, {}, {"TRIES": "20"}),
    Part("asked", "bench.asked", 45, 0),
    Part("proof", "bench.proof", 0, 0),
    Part("mirror", "bench.mirror", 165, 0, {"ROUTES": "50000"}),
    Part(
        "encapsulation",
        "bench.switch",
        150,
        25,
        {"PPS": "500"},
        {"PPS": "100", "ONLY": "one-rack", "STOPS": "2", "NAIVE": "0"},
        ("--encapsulations",),
    ),
    Part("forwarding", "bench.forwarding", 90, 25, {}, {"ROUNDS": "1", "SECONDS": "1"}),
    Part("filters", "bench.filters", 115, 0, {"SECONDS": "0.4"}),
)


def planned(*, quick: bool, names: Sequence[str] = ()) -> tuple[Part, ...]:
    """
    The parts that a run makes, in order.

    Raises:
        ValueError: no part has one of these names.
    """
    unknown = set(names) - {part.name for part in PARTS}
    if unknown:
        raise ValueError(
            f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(part.name for part in PARTS)}"
        )
    return tuple(part for part in PARTS if (not names or part.name in names) and share_s(part, quick=quick))


def share_s(part: Part, *, quick: bool) -> float:
    """How long the part may take."""
    return part.quick_s if quick else part.full_s
