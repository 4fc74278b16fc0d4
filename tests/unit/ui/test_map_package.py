"""The wheel has the page: every file of it, as it is in the repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_wheel_has_every_file_of_the_page(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tree)
    for name in ("bgpctl", "packaging"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, tree)
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as found:
        packed = {name: found.read(name) for name in found.namelist() if name.startswith("bgpctl/ui/page/")}
    page = {f"bgpctl/ui/page/{path.name}": path.read_bytes() for path in (ROOT / "bgpctl/ui/page").iterdir()}
    assert packed == page
    assert len(page) > 10
