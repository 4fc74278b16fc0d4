"""A bare Debian with what README.md asks for, and a fresh clone: `make lab` and `make check` need nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import SLOWNESS

pytestmark = pytest.mark.bare

PROJECT = Path(__file__).parents[2]
SHOWN = 4000  # characters
TOOL = (sys.executable, PROJECT / "tools" / "bare-root")
# What is missing is the question, and no example of an invariant answers it: a few of each are enough.
FIRST_COMMANDS = """
export HYPOTHESIS_PROFILE=few
make lab
make check
test -z "$(ls -A /run/netns)"
test -z "$(git status --porcelain)"
"""


def test_make_lab_and_make_check_are_the_first_commands_on_a_bare_debian() -> None:
    command = (*TOOL, "--timeout", "1200", "sh", "-ec", FIRST_COMMANDS)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-SHOWN:]}\n--- errors ---\n{done.stderr[-SHOWN:]}"
    labs = re.findall(r"^(\S+): converged in ", done.stdout, flags=re.MULTILINE)
    assert labs == ["cross-subnet", "vxlan", "vxlan-etcd"]
    assert done.stdout.count("12 of 12 pairs") == len(labs)


def test_a_killed_one_leaves_no_process_and_no_mount() -> None:
    with subprocess.Popen((*TOOL, "sh", "-c", "echo begun; sleep 600 & sleep 600"), stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"begun\n"
        running.kill()
        running.communicate(timeout=20 * SLOWNESS)  # to the end of its output: whatever runs inside holds it open
    assert str(PROJECT / ".vm") not in Path("/proc/mounts").read_text()
