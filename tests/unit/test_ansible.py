"""The role for Ansible: its files are what ansible-lint wants, its variables are those that the guide describes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.docs.blocks import ROOT, blocks

ROLE: Final = ROOT / "packaging" / "ansible" / "roles" / "bgpctl"
GUIDE: Final = ROOT / "docs" / "how-to" / "install.md"


nightly = pytest.mark.skipif(
    "BGPCTL_TEST_PACKAGE" not in os.environ, reason="BGPCTL_TEST_PACKAGE: make nightly sets it"
)


@pytest.fixture
def play(tmp_path: Path) -> Path:
    """The play of the guide, beside the role and what it names."""
    (shown,) = (block for block in blocks(GUIDE) if block.file == "site.yaml")
    shutil.copytree(ROLE.parents[1], tmp_path, dirs_exist_ok=True)
    (tmp_path / "site.yaml").write_text(shown.text.replace("hosts: nodes", "hosts: all"))
    return tmp_path / "site.yaml"


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)


def test_every_variable_of_the_role_is_described_and_used() -> None:
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    described = re.findall(r"^\| `(bgpctl_\w+)` \|", GUIDE.read_text(), re.MULTILINE)
    assert sorted(defaults) == sorted(described)
    tasks = (ROLE / "tasks" / "main.yml").read_text()
    assert {name for name in defaults if name in tasks} == defaults.keys()


@nightly
@pytest.mark.skipif(not shutil.which("ansible-playbook"), reason="ansible: see tools/system-packages release")
def test_ansible_understands_the_play_of_the_guide(play: Path) -> None:
    done = run("ansible-playbook", "-i", "localhost,", "--syntax-check", play, cwd=play.parent)
    assert done.returncode == 0, done.stdout + done.stderr


@nightly
@pytest.mark.skipif(not shutil.which("ansible-lint"), reason="ansible-lint: see tools/system-packages release")
def test_ansible_lint_has_nothing_to_say(play: Path) -> None:
    done = run("ansible-lint", "--offline", "--profile=production", play.parent / "roles" / "bgpctl", cwd=play.parent)
    assert done.returncode == 0, done.stdout + done.stderr
