"""The picture of the core that `make lint` prints shows what is wrong, if anything is."""

import subprocess
import sys
from pathlib import Path

from tools import wings

PROGRAM = Path(__file__).parents[2] / "tools" / "wings.py"


def test_an_arrow_to_the_same_layer_or_a_higher_one_leads_up() -> None:
    order = (("top",), ("left", "right"), ("low",))
    ends = {"top": {"left", "low"}, "left": {"right"}, "right": {"low"}, "low": {"top"}}
    arrows = {name: frozenset(known) for name, known in ends.items()}
    assert wings.upward(arrows, order) == ["left -> right", "low -> top"]


def test_a_circle_has_the_names_from_which_arrows_lead_back_to_them() -> None:
    outside = {"before": frozenset("a"), "behind": frozenset[str]()}
    circle = {"a": frozenset("b"), "b": frozenset({"a", "behind"})}
    assert wings.in_circles({**circle, **outside}) == ["a", "b"]
    assert wings.in_circles(outside | {"a": frozenset[str]()}) == []


def test_arrows_are_those_between_children_of_one_package() -> None:
    imports = [("p.a.x", "p.b.y"), ("p.a.x", "p.a.z"), ("q.a", "p.b"), ("p.b", "q.c")]
    assert wings.between(imports, "p") == {"a": frozenset({"b"}), "b": frozenset()}


def test_the_core_has_no_arrow_up_and_no_circle() -> None:
    shown = subprocess.run((sys.executable, PROGRAM), capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stdout
    assert shown.stdout.endswith(" 0 up, 0 circles\n")
