"""The rules of the house are kept by machine, and the machine works."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def contracts(tree: Path) -> subprocess.CompletedProcess[str]:
    command = (str(Path(sys.executable).with_name("lint-imports")), "--no-cache")
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "bgpctl", tmp_path / "bgpctl", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "planted", "broken"),
    [
        ("core/dataplane/plan.py", "import time", "the core does no I/O"),
        ("kernel/fake.py", "import bgpctl.speaker.decode", "shells import ports"),
        ("core/net/objects.py", "import bgpctl.core.dataplane.plan", "the wings of the core"),
        ("agent/api.py", "import pyroute2", "only the kernel package"),
        ("agent/service.py", "import bgpctl.kernel.sockets", "in the agent, only wiring chooses"),
        ("agent/config_changes.py", "import bgpctl.store.file", "in the agent, only wiring chooses"),
        ("agent/runner.py", "import time", "in the agent, only wiring and the servers"),
    ],
)
def test_a_planted_import_breaks_the_contract_that_forbids_it(copy: Path, file: str, planted: str, broken: str) -> None:
    path = copy / "bgpctl" / file
    path.write_text(f"{path.read_text()}\n{planted}  # noqa\n")
    result = contracts(copy)
    assert result.returncode != 0
    assert any(line.startswith(broken) and " BROKEN" in line for line in result.stdout.splitlines())


def test_the_contracts_hold(copy: Path) -> None:
    assert contracts(copy).returncode == 0


def imported(source: str) -> Iterator[str]:
    """Every module, and every name of a module, that a file imports anywhere."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=module, names=names):
                yield from (f"{module or ''}.{name.name}" for name in names)
            case _:
                pass


def of_a_test_file(source: str) -> list[str]:
    """The imports that lead to a test file or a conftest."""
    return [
        name
        for name in imported(source)
        if any(part == "conftest" or part.startswith("test_") for part in name.split("."))
    ]


@pytest.mark.parametrize("file", sorted((ROOT / "tests").rglob("*.py")), ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_imports_a_test_file(file: Path) -> None:
    assert of_a_test_file(file.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "import tests.unit.test_house",
        "from tests.lab.conftest import lab_of",
        "from tests.lab import conftest",
        "from . import test_house",
        "def f():\n    from tests.unit import test_house as other",
    ],
)
def test_an_import_of_a_test_file_is_found_however_it_is_written(line: str) -> None:
    assert of_a_test_file(line)
