"""Every command in README.md and docs/ works, and prints what is shown."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import service
from tests.docs.blocks import COMMANDS, DOCUMENTS, ROOT, Block, blocks, commands, shows
from tests.docs.world import World, world

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")

_LINKED = ("bgpctl", "packaging", "tools", "Makefile", "setup.cfg", "pyproject.toml", "tests", ".venv")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ours, and those that it requires."""
    house = tmp_path_factory.mktemp("wheels")
    service.wheelhouse(house)
    shutil.copy(service.wheel(tmp_path_factory.mktemp("tree"), "0.1.0"), house)
    return house


@pytest.mark.parametrize(
    "document",
    [path for path in DOCUMENTS if any(block.kind == COMMANDS for block in blocks(path))],
    ids=lambda p: p.stem,
)
def test_every_command_of_the_document_prints_what_is_shown(
    document: Path, tmp_path: Path, wheels: Path, count_block: Callable[[], None]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copytree(ROOT / "topologies", home / "topologies")
    for name in _LINKED:
        (home / name).symlink_to(ROOT / name)
    for ours in wheels.glob("bgpctl-*.whl"):
        shutil.copy(ours, home)
    variables = {"HOME": str(home), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    with world(home, tmp_path / "papers", variables) as host:
        for block in blocks(document):
            if block.file:
                place = home / block.file
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(block.text)
            elif block.kind == COMMANDS:
                _check(host, block)
                count_block()


def _check(host: World, block: Block) -> None:
    for command in commands(block):
        result = host.run(command.text)
        told = f"{block}: $ {command.text}\n{result.output}{result.errors}"
        if command.prints:
            assert shows(command.prints, result.shown), told
        else:
            assert result.code == 0, told
