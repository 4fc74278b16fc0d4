"""`bgpctl top` on a terminal of 80 columns, and once without a terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bgpctl import client
from bgpctl.agent.api import Api
from bgpctl.agent.snapshot import Snapshot
from bgpctl.agent.views import answer
from bgpctl.cli.top import Sample, lab_page, node_page
from bgpctl.core.net.objects import Traffic
from bgpctl.process import usage
from bgpctl.process.usage import Usage
from tests.stories.mesh import converged
from tests.terminal import BGPCTL, COLUMNS, CTRL_C, Terminal
from tests.waiting import wait_until

_HOME = "\x1b[H"
_STYLE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def run_dir(tmp_path: Path) -> Iterator[Path]:
    """Of an agent whose tunnel sends 100 packets between any two answers."""
    play = converged()
    sent = 0

    def answered(name: str, query: Mapping[str, str]) -> dict[str, Any]:
        nonlocal sent
        sent += 100
        return answer(name, Snapshot(play.state, play.now_s + 41, query, lambda: {"tunl0": Traffic(7, 700, sent, 0)}))

    api = Api(tmp_path / client.SOCKET, answered)
    yield tmp_path
    api.close()


def test_on_a_terminal_the_page_stays_and_fits_and_ctrl_c_ends_it(run_dir: Path) -> None:
    with Terminal((*BGPCTL, "top", "--run-dir", str(run_dir), "--every", "100ms")) as terminal:
        terminal.wait_for("SENT/s")
        for words in ("a1  converged", "BGP 3/3", "b2", "established", "tunl0", "PROCESS"):
            terminal.wait_for(words)
        shown = terminal.text.count("a1  converged")
        wait_until(lambda: terminal.text.count("a1  converged") > shown, within_s=20)
        terminal.type(CTRL_C)
        assert terminal.ended() == 0
    pages = [_STYLE.sub("", page) for page in terminal.raw.replace("^C", "").split(_HOME)]  # without the echo
    assert len(pages) > 2
    assert max(len(line) for page in pages for line in page.splitlines()) <= COLUMNS


def test_without_a_terminal_there_is_one_page_with_rates(run_dir: Path) -> None:
    command = (*BGPCTL, "top", "--run-dir", str(run_dir), "--every", "100ms")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (tunnel,) = (line.split() for line in done.stdout.splitlines() if line.startswith("tunl0"))
    assert tunnel[:4] == ["tunl0", "ipip", "up", "2"]
    assert float(tunnel[4]) > 0
    assert tunnel[5] == "0"
    assert str(os.getpid()) in done.stdout


def test_without_an_agent_the_exit_code_is_that_of_every_command(tmp_path: Path) -> None:
    done = subprocess.run((*BGPCTL, "top", "--run-dir", str(tmp_path)), capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "no agent answers" in done.stderr


def part(name: str, **changes: Any) -> dict[str, Any]:
    play = converged()
    found = answer("map-part", Snapshot(play.state, play.now_s, {}, lambda: {"tunl0": Traffic(0, 0, 0, 0)}))
    return {**found, "node": name, **changes}


def sent(number: int) -> list[dict[str, Any]]:
    (row,) = part("a1")["tunnels"]
    return [{**row, "traffic": {"sent_packets": number, "received_packets": 2 * number}}]


def test_a_lab_has_a_line_for_each_node_with_rates_and_one_that_is_silent_has_its_reason() -> None:
    uses = (Usage(7, "bgpctl", 1.0, 50_000_000),)
    later = (Usage(7, "bgpctl", 1.5, 60_000_000),)
    events = [{"age_s": 3.0, "event": "session up"}]
    before = {"a1": Sample(part("a1", tunnels=sent(0)), uses, 10.0), "b1": Sample("no agent answers", (), 10.0)}
    now = {
        "a1": Sample(part("a1", tunnels=sent(50), events=events), later, 15.0),
        "b1": Sample("no agent answers", (), 15.0),
    }
    text = "\n".join(line.plain for line in lab_page("lab x", before, now))
    assert "lab x  1/2 converged" in text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert rows["a1"] == ["a1", "converged", "3/3", "3/3", "0/0", "10", "20", "10.0", "60"]
    assert rows["b1"][:2] == ["b1", "silent"]
    assert "! b1: no agent answers" in text
    assert "session up" in text


def test_a_tunnel_that_was_made_anew_has_no_negative_rate() -> None:
    before, now = Sample(part("a1", tunnels=sent(90)), (), 1.0), Sample(part("a1", tunnels=sent(3)), (), 2.0)
    row = next(line.plain.split() for line in node_page(before, now) if line.plain.startswith("tunl0"))
    assert row[-2:] == ["0", "0"]


def test_the_processes_of_an_agent_are_found_from_it() -> None:
    program = "import subprocess,sys; subprocess.run([sys.executable,'-c','import sys; sys.stdin.read()'])"
    with subprocess.Popen((sys.executable, "-c", program), stdin=subprocess.PIPE) as started:

        def is_there() -> bool:
            found = usage.of_tree(started.pid)
            return len(found) == 2 and all(item.memory_bytes > 1_000_000 and item.cpu_s >= 0 for item in found)

        wait_until(is_there, within_s=20)
        assert usage.of_tree(started.pid)[0].pid == started.pid
        assert started.stdin
        started.stdin.close()
    assert usage.of_tree(started.pid) == []
