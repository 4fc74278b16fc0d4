"""Every command in README.md and docs/ works, and prints what is shown."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import service
from tests.docs.blocks import COMMANDS, DOCUMENTS, EXECUTED, ROOT, Block, blocks, commands, shows
from tests.docs.world import World, world

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")

_LINKED = ("bgpctl", "packaging", "tools", "locks", "Makefile", "setup.cfg", "pyproject.toml", "tests", ".venv")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ours, and those that it requires."""
    house = tmp_path_factory.mktemp("wheels")
    service.wheelhouse(house)
    ours = service.wheel(tmp_path_factory.mktemp("tree"), "0.1.0")
    shutil.copy(ours, house)
    service.renumbered(ours, "0.2.0", house)
    return house


WITH_COMMANDS = [path for path in DOCUMENTS if any(block.kind == COMMANDS for block in blocks(path))]


@pytest.fixture(scope="module")
def attempts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wheels: Path
) -> Iterator[Mapping[Path, Future[int]]]:
    """Two documents at a time: mostly they wait."""
    wanted = [item.callspec.params.get("document") for item in request.session.items if hasattr(item, "callspec")]
    with ThreadPoolExecutor(2) as pool:
        yield {
            document: pool.submit(executed, document, tmp_path_factory.mktemp(document.stem), wheels)
            for document in WITH_COMMANDS
            if document in wanted
        }


def executed(document: Path, directory: Path, wheels: Path) -> int:
    """Execute a document in a host of its own, in a directory that looks like this repository; how many blocks."""
    home = directory / "home"
    home.mkdir()
    shutil.copytree(ROOT / "topologies", home / "topologies")
    for name in _LINKED:
        (home / name).symlink_to(ROOT / name)
    for ours in wheels.glob("bgpctl-*.whl"):
        shutil.copy(ours, home)
    # Programs compile the part that they import.
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_NO_COMPILE": "1"}
    variables = {"HOME": str(home), **offline}
    before = Path(__file__).parent / "before" / f"{document.stem}.sh"
    with world(home, directory / "papers", variables) as host:
        if before.exists():
            result = host.run(f"sh {before}")
            assert result.code == 0, result.errors
        for block in blocks(document):
            if block.file:
                (home / block.file).write_text(block.text)
            elif block.kind == COMMANDS:
                check(host, block)
    return sum(block.kind == COMMANDS for block in blocks(document))


def check(host: World, block: Block) -> None:
    for command in commands(block):
        result = host.run(command.text)
        told = f"{block}: $ {command.text}\n{result.output}{result.errors}"
        if command.prints:
            assert shows(command.prints, result.shown), told
        else:
            assert result.code == 0, told


@pytest.mark.parametrize("document", WITH_COMMANDS, ids=lambda path: path.stem)
def test_every_command_of_the_document_prints_what_is_shown(
    document: Path, attempts: Mapping[Path, Future[int]], record_property: Callable[[str, object], None]
) -> None:
    record_property(EXECUTED, attempts[document].result())
