"""ExaBGP is known by its whole command, and by that of its parent where it runs as it is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bgpctl.speaker import launch, orphans
from bgpctl.speaker.launch import RunDir

PYTHON = "/opt/venv/bin/python3.11"
OURS = "/opt/venv/lib/python3.11/site-packages/bgpctl/speaker"
SERVER = ("server", "/run/bgpctl/exabgp.conf")
BRIDGE = (PYTHON, "-I", "-S", f"{OURS}/bridge.py", "/run/bgpctl/bridge.sock")
AS_IT_IS = (PYTHON, "/opt/venv/bin/exabgp", *SERVER)

PATCHED = [
    launch.server(RunDir(Path("/run/bgpctl")), patched=True),
    (PYTHON, "-I", "-S", f"{OURS}/patches.py", "/opt/venv/lib/python3.11/site-packages", *SERVER),
    (PYTHON, "-I", f"{OURS}/patches.py", *SERVER),
]
OTHERS = [
    ("less", f"{OURS}/patches.py"),
    ("vi", "-I", "-S", f"{OURS}/patches.py", *SERVER),
    (PYTHON, "-I", "-S", f"{OURS}/patches.py"),
    (PYTHON, "-m", "pdb", f"{OURS}/patches.py", *SERVER),
    AS_IT_IS,
    (),
]


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> dict[int, tuple[str, ...]]:
    """The commands by pid; process 7 is the parent of all."""
    found: dict[int, tuple[str, ...]] = {}
    monkeypatch.setattr(orphans, "_may_be_ours", lambda _pid, _here: True)
    monkeypatch.setattr(orphans, "_command", lambda pid: "".join(f"{word}\0" for word in found[pid]))
    monkeypatch.setattr(orphans, "_parent", lambda _pid: 7)
    return found


@pytest.mark.parametrize("command", PATCHED)
def test_it_is_found_with_patches(processes: dict[int, tuple[str, ...]], command: tuple[str, ...]) -> None:
    processes[9] = command
    assert list(orphans._exabgp(9, 0)) == [9]


@pytest.mark.parametrize("command", OTHERS)
def test_no_other_command_is_it(processes: dict[int, tuple[str, ...]], command: tuple[str, ...]) -> None:
    processes[9] = command
    assert list(orphans._exabgp(9, 0)) == []


@pytest.mark.parametrize("parent", [AS_IT_IS, (sys.executable, "-m", "exabgp", *SERVER)])
@pytest.mark.parametrize("bridge", [BRIDGE, (*BRIDGE[:2], *BRIDGE[3:])])
def test_the_parent_of_a_bridge_is_it(
    processes: dict[int, tuple[str, ...]], bridge: tuple[str, ...], parent: tuple[str, ...]
) -> None:
    processes.update({7: parent, 9: bridge})
    assert list(orphans._exabgp(9, 0)) == [7]


@pytest.mark.parametrize("parent", [("-bash",), ("vi", "exabgp"), (PYTHON, "/opt/venv/bin/exabgp", "validate", "x")])
def test_no_other_parent_of_a_bridge_is_it(processes: dict[int, tuple[str, ...]], parent: tuple[str, ...]) -> None:
    processes.update({7: parent, 9: BRIDGE})
    assert list(orphans._exabgp(9, 0)) == []
    processes[9] = ("less", f"{OURS}/bridge.py")
    processes[7] = AS_IT_IS
    assert list(orphans._exabgp(9, 0)) == []


BFD = (PYTHON, "-I", "-S", f"{OURS}/bfd/__main__.py", "/opt/venv/lib/python3.11/site-packages", "/run/bgpctl/bfd.sock")


def test_the_bfd_process_is_found_by_its_whole_command(processes: dict[int, tuple[str, ...]]) -> None:
    processes[9] = BFD
    assert list(orphans._bfd(9, 0)) == [9]
    assert list(orphans._exabgp(9, 0)) == []
    for other in (("vi", *BFD[1:]), BFD[:-1], (*BFD[:3], f"{OURS}/bridge.py", *BFD[4:]), BRIDGE, PATCHED[0]):
        processes[9] = other
        assert list(orphans._bfd(9, 0)) == []
