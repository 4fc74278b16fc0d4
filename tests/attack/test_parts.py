"""A part of the agent that fails, and files and processes of it that are damaged, lost or left over."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

from bgpctl.kernel.mirror import Mirror
from bgpctl.kernel.watch import Watch
from bgpctl.ports import Unavailable
from bgpctl.speaker import bridge, orphans, patches, process
from bgpctl.speaker.exabgp import ExabgpSpeaker
from tests.attack.rig import MESH, Victim, bgpctl, descriptors, full, needs_root, victim
from tests.contract.kernel_rig import own_namespace
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, needs_root]

_BROKEN = """
import sys, threading
import {module} as module
real = module.{function}
def broken(*words, **named):
    if threading.current_thread().name == "{thread}" and {when}:
        raise RuntimeError("injected")
    return real(*words, **named)
module.{function} = broken
from bgpctl.cli.main import main
main(sys.argv[1:])
"""
PARTS: Final = {
    "store": ("bgpctl.store.file", "FileStore._identities", "True"),
    "speaker": ("bgpctl.speaker.supervisor", "Supervisor.turn", "True"),
    "kernel-watch": ("bgpctl.kernel.watch", "Watch._news", "True"),
    "api": ("bgpctl.agent.pages", "Server.service_actions", "True"),
    "health": ("bgpctl.agent.pages", "Server.service_actions", "True"),
    "loop": ("bgpctl.agent.runner", "step", "type(words[1]).__name__ == 'Observed'"),
}
"""By the name of its thread: a function that it calls, and when that fails."""
HEALTH: Final = ("--health", "127.0.0.1:9099")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_fails_takes_the_agent_along(part: str) -> None:
    module, function, when = PARTS[part]
    thread = "MainThread" if part == "loop" else part
    program = _BROKEN.format(module=module, function=function, thread=thread, when=when)
    with victim(program=program, options=HEALTH) as agent:
        wait_until(lambda: not agent.is_alive())
        assert agent.running.returncode == 7
        assert f"the agent's part {part} failed" in agent.log
        assert "injected" in agent.log


def _attached(agent: Victim) -> int:
    return agent.log.count("attached to ExaBGP")


def _wait_attached(agent: Victim, times: int) -> None:
    wait_until(lambda: _attached(agent) == times or not agent.is_alive(), within_s=30)
    assert agent.is_alive(), agent.log[-1000:]


def _directory(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "file").touch()


def test_damaged_files_are_replaced() -> None:
    with victim(cluster=MESH) as agent:
        _wait_attached(agent, 1)
        agent.kill()
        (pid,) = agent.exabgp()
        os.kill(pid, signal.SIGKILL)
        (agent.run_dir / "exabgp.pid").write_text("9" * 400 + " 1")
        (agent.run_dir / "sysctls.json").write_text("[1, 2")
        for name in ("exabgp.conf", "exabgp.log", "bridge.sock", "agent.sock", "agent.lock", "journal.jsonl"):
            _directory(agent.run_dir / name)
        agent.start()
        _wait_attached(agent, 2)
        assert bgpctl("agent", "journal", "--run-dir", agent.run_dir).returncode == 0
        for name in ("exabgp.conf", "sysctls.json", "agent.lock"):
            assert (agent.run_dir / f"{name}.damaged").exists()
            assert "moved aside" in agent.log
        agent.kill()
        (pid,) = agent.exabgp()
        (agent.run_dir / "exabgp.conf").write_bytes(bytes(range(256)))
        (agent.run_dir / "exabgp.pid").unlink()
        agent.start()
        _wait_attached(agent, 3)
        assert agent.exabgp() == [pid], "it is adopted without its pid file"


def test_a_full_disk_is_no_end_of_the_agent() -> None:
    with full(size_kb=64) as directory, victim(cluster=MESH, place=directory / "run") as agent:
        wait_until(lambda: not agent.is_alive() or "No space left on device" in agent.log)
        assert agent.is_alive(), agent.log[-1000:]
        assert bgpctl("agent", "journal", "--run-dir", agent.run_dir).returncode == 2
        (directory / "filling").unlink()
        _wait_attached(agent, 1)


def _bgp_port(agent: Victim) -> str:
    checks = json.loads(bgpctl("doctor", "--run-dir", agent.run_dir, "-o", "json").stdout)["checks"]
    return next(str(check["verdict"]) for check in checks if check["check"] == "bgp port")


def test_an_exabgp_without_its_run_directory_is_found() -> None:
    with victim(cluster=MESH) as agent:
        _wait_attached(agent, 1)
        (orphan,) = agent.exabgp()
        assert _bgp_port(agent) == "PASS"
        shutil.rmtree(agent.run_dir)
        wait_until(lambda: not agent.is_alive())
        assert agent.running.returncode == 7
        assert "was removed or replaced" in agent.log
        assert _bgp_port(agent) != "PASS"
        agent.start()
        _wait_attached(agent, 2)
        (found,) = agent.exabgp()
        assert found != orphan
        agent.kill()
        shutil.rmtree(agent.run_dir)
        cleaned = bgpctl("cleanup", "--run-dir", agent.run_dir)
        assert cleaned.returncode == 0, cleaned.stderr
        assert agent.exabgp() == []


def test_a_cleanup_that_cannot_end_exabgp_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with victim(cluster=MESH) as agent:
        _wait_attached(agent, 1)
        agent.kill()
        monkeypatch.setattr(process.Process, "end", lambda _self: None)
        speaker = ExabgpSpeaker(agent.run_dir, alone=True)
        with pytest.raises(Unavailable, match="may still announce"):
            speaker.shutdown()
        speaker.close()


_WAIT: Final = "print(flush=True); import time; time.sleep(60)"


@pytest.mark.parametrize("program", [bridge, patches])
def test_a_process_that_names_the_programs_of_exabgp_is_none(program: ModuleType) -> None:
    """As root's editor does, or a shell that started one."""
    place = str(Path(str(program.__file__)).resolve())
    commands = [
        (sys.executable, "-c", _WAIT, place),
        (sys.executable, "-c", _WAIT, "-I", "-S", place, "server", "/run/x/exabgp.conf"),
    ]
    with own_namespace(), ExitStack() as stack:
        for command in commands:
            reader = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(reader.kill)
            assert reader.stdout
            reader.stdout.readline()
        assert orphans.running() == ()


def test_what_cannot_be_watched_takes_no_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again and again, so each one that stays open is the beginning of many."""

    def refused(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    with own_namespace():
        before = descriptors(os.getpid())
        with pytest.raises(Unavailable, match="no thread") as kept:  # with its frames, so what is open stays open
            Watch(lambda: None, frozenset, Mirror())
        assert descriptors(os.getpid()) == before, kept
