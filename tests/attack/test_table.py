"""The table of attacks is whole."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.attack.table import ATTACKS


def test_every_attack_is_in_the_table_and_the_reverse() -> None:
    found = {
        (file.stem, node.name.removeprefix("test_"))
        for file in Path(__file__).parent.glob("test_*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and file != Path(__file__)
    }
    assert found == {(attack.file, attack.name) for attack in ATTACKS}
    assert len(found) == len(ATTACKS)
