"""A shell in a part of a lab, on a terminal; its logs, its drawing and its place in the list."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bgpctl.lab import lab as labs
from bgpctl.lab import netns
from bgpctl.lab.build import Names
from bgpctl.lab.graph import graph_of
from bgpctl.lab.lab import Lab
from bgpctl.lab.listing import Listed, listed
from tests.terminal import BGPCTL, COLUMNS, CTRL_C, Terminal
from tests.waiting import wait_until


@pytest.fixture
def part() -> Iterator[tuple[str, str]]:
    """A lab's name and a part of it: a namespace and nothing else."""
    names = Names(f"t{os.getpid()}-shell")
    netns.ip([f"netns add {names.of('a1')}"])
    yield names.lab, "a1"
    netns.delete(names.of("a1"))


def test_without_a_command_exec_is_a_shell_on_the_same_terminal_with_its_own_exit_code(part: tuple[str, str]) -> None:
    name, where = part
    inside = netns.inside(Names(name).of(where), lambda: str(Path("/proc/thread-self/ns/net").readlink()))
    command = (*BGPCTL, "lab", "exec", "--name", name, where)
    with Terminal(command, {"SHELL": "/bin/sh", "ENV": ""}) as terminal:
        terminal.wait_for(f"a shell in {where} of lab {name}")
        terminal.type("test -t 0 && test -t 1 && echo is-a-'terminal'\n")
        terminal.wait_for("is-a-terminal")
        terminal.type("readlink /proc/self/ns/net\n")
        terminal.wait_for(inside)
        # Ctrl-C is for what runs in the shell, and ends neither the shell nor bgpctl.
        # It is in the foreground once it writes: a job takes the terminal before it is executed.
        terminal.type("sh -c 'echo slee\"p\"s; exec sleep 1000'\n")
        terminal.wait_for("sleeps")
        terminal.type(CTRL_C)
        terminal.type("echo still-'here'\n")
        terminal.wait_for("still-here")
        terminal.type("exit 7\n")
        assert terminal.ended() == 7


@pytest.mark.parametrize(
    ("words", "code"), [(("sh", "-c", "exit 5"), 5), (("no-such-program",), 127), (("/etc/passwd",), 126)]
)
def test_a_command_has_its_own_exit_code_and_one_that_cannot_be_run_that_of_a_shell(
    part: tuple[str, str], words: tuple[str, ...], code: int
) -> None:
    name, where = part
    done = subprocess.run((*BGPCTL, "lab", "exec", "--name", name, where, "--", *words), check=False)
    assert done.returncode == code


def on_terminal(lab: Lab, command: str, *words: str) -> list[str]:
    """The lines of a command of this lab on a terminal, none wider than that."""
    with Terminal((*BGPCTL, "lab", command, "--name", lab.names.lab, *words)) as terminal:
        assert terminal.ended() == 0
    assert max(map(len, terminal.text.splitlines())) <= COLUMNS
    return terminal.text.splitlines()


def test_a_running_lab_is_listed_drawn_and_logged_as_it_is(lab_of: Callable[[str], Lab], tmp_path: Path) -> None:
    lab = lab_of("cross-subnet")
    nodes = ["a1", "a2", "b1", "b2"]
    sessions = [(one, other) for at, one in enumerate(nodes) for other in nodes[at + 1 :]]
    tunnels = [(one, other) for one in ("a1", "a2") for other in ("b1", "b2")]

    def here() -> Listed:
        (found,) = (item for item in listed() if item.name == lab.names.lab)
        return found

    wait_until(lambda: here().state == "converged", within_s=30)
    assert (here().topology, here().detail, list(here().converged)) == ("cross-subnet", "4/4 converged", nodes)
    expected = {"│   ├── a1 10.0.0.1 converged", "│   │   ├── bgp with a2, b1, b2", "│   │   └── ipip with b1, b2"}
    wait_until(lambda: set(on_terminal(lab, "graph")) >= expected, within_s=30)
    picture = tmp_path / "lab.svg"
    subprocess.run((*BGPCTL, "lab", "graph", "--name", lab.names.lab, "--svg", str(picture)), check=True)
    titles = set(re.findall("<title>(.*?)</title>", picture.read_text()))
    assert titles == {f"bgp {one} - {other}" for one, other in sessions} | {f"ipip {a} - {b}" for a, b in tunnels}
    lab.ask("a1", "peer-down", peer="b1")
    wait_until(lambda: [line.ends for line in graph_of(lab).lines if not line.up] == [("a1", "b1")], within_s=30)


def test_a_log_is_followed_until_ctrl_c_or_the_end_of_the_lab() -> None:
    name = f"t{os.getpid()}-log"
    log = labs.run_dir_of(Names(name), "a1") / labs.AGENT_LOG
    log.parent.mkdir(parents=True)
    try:
        log.write_text("one\ntwo\nthree\n")
        command = (*BGPCTL, "lab", "logs", "--name", name, "a1", "-n", "2", "--follow")
        with Terminal(command) as interrupted, Terminal(command) as other:
            for terminal in (interrupted, other):
                terminal.wait_for("two\nthree\n")
            with log.open("a") as opened:
                opened.write("four\n")
            for terminal in (interrupted, other):
                terminal.wait_for("four\n")
                assert "one" not in terminal.text
            interrupted.type(CTRL_C)
            assert interrupted.ended() == 0
            labs.down(name)
            assert other.ended() == 0
    finally:
        labs.down(name)
