"""`lab up` that is interrupted at a random moment: nothing is left, or it is named with the command that removes it."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path
from typing import Final

import pytest

from bgpctl.lab import lab as labs
from bgpctl.lab import netns
from bgpctl.lab.build import Names
from tests.lab.rig import needs
from tests.terminal import BGPCTL, CTRL_C, Terminal
from tests.topologies import TOPOLOGIES

FILE: Final = TOPOLOGIES / "vxlan.yaml"
MOMENTS: Final = int(os.environ.get("BGPCTL_TEST_INTERRUPTS", "1"))
LATEST_S: Final = 3.0
"""By then a lab of four nodes is built, and waits to converge."""


def is_left(name: str) -> bool:
    return name in labs.lab_names() or netns.names(Names(name).prefix) != []


def processes_of(name: str) -> list[str]:
    """Command lines of agents, with the lab's directory in them, whatever namespace they are in."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(labs.STATE / name) in words:
            found.append(words)
    return found


@pytest.mark.parametrize("number", range(MOMENTS))
def test_an_interrupted_lab_up_leaves_nothing_or_names_it_with_the_command_that_removes_it(number: int) -> None:
    needs(FILE)
    chance = random.Random()
    after_s, again_s = chance.uniform(0, LATEST_S), chance.choice([None, None, chance.uniform(0, 0.5)])
    name = f"t{os.getpid()}-cut{number}"
    with Terminal((*BGPCTL, "lab", "up", str(FILE), "--name", name)) as terminal:
        time.sleep(after_s)  # a random moment is what is tested
        terminal.type(CTRL_C)
        if again_s is not None:
            time.sleep(again_s)
            terminal.type(CTRL_C)
        code = terminal.ended(60)
    shown = f"Ctrl-C after {after_s:.3f} s, again after {again_s}: exit {code}\n{terminal.text}"
    try:
        remedy = f"bgpctl lab down --name {name}"
        if is_left(name):
            # An interrupt that comes when all is done ends nothing.
            assert code == 0 or remedy in terminal.text, shown
            subprocess.run((*BGPCTL, "lab", "down", "--name", name), check=True, capture_output=True, timeout=60)
        else:
            assert code != 0, shown
            assert remedy not in terminal.text, shown
        assert not is_left(name), shown
        assert processes_of(name) == [], shown
    finally:
        labs.down(name)
