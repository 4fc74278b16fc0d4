"""The rules of the house are kept by machine, and the machine works."""

import shutil
import subprocess
import sys
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
        ("kernel/fake.py", "import bgpctl.speaker.decode", "shells stand on ports"),
        ("core/net/objects.py", "import bgpctl.core.dataplane.plan", "the wings of the core"),
        ("agent/api.py", "import pyroute2", "only the kernel room"),
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
