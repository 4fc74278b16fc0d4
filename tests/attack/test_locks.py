"""Locks that another user takes, so that an agent does not start or does not go on."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from bgpctl.ports import AlreadyRunning
from bgpctl.process import run_directory
from bgpctl.process.clock import LinuxClock
from bgpctl.process.run_directory import DiskRunDirectory
from bgpctl.store import texts
from bgpctl.store.file import FileStore
from tests.attack.rig import CLUSTER, as_nobody, by_nobody, needs_root
from tests.contract.kernel_rig import own_namespace

pytestmark = [pytest.mark.kernel, needs_root]

_NAME = """
import socket, sys, time
name = socket.socket(socket.AF_UNIX)
name.bind("\\0bgpctl-agent")
if sys.argv[1] == "listens":
    name.listen()
if sys.argv[1] == "is full":
    name.listen(0)
    asking = socket.socket(socket.AF_UNIX)
    asking.connect("\\0bgpctl-agent")
print("held", flush=True)
time.sleep(60)
"""
_FILL = """
import socket
while True:
    asking = socket.socket(socket.AF_UNIX)
    asking.setblocking(False)
    try:
        asking.connect("\\0bgpctl-agent")
    except BlockingIOError:
        break
print("held", flush=True)
"""
_FLOCK = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("manner", ["listens", "is full", "does not listen"])
def test_the_name_of_the_namespace_taken_by_a_user_keeps_no_agent_out(tmp_path: Path, manner: str) -> None:
    first, second = DiskRunDirectory(tmp_path / "one"), DiskRunDirectory(tmp_path / "two")
    with own_namespace(), by_nobody(_NAME, manner), first.hold(), pytest.raises(AlreadyRunning), second.hold():
        raise AssertionError("two agents in one namespace")


@pytest.mark.parametrize("is_listening", [True, False])
def test_an_agent_is_seen_by_its_name_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_listening: bool
) -> None:
    """By a container with a /proc of its own: when a user has filled the backlog, or the first has just begun."""
    monkeypatch.setattr(run_directory, "_lock_namespace", lambda _stack: True)
    if not is_listening:
        monkeypatch.setattr(socket.socket, "listen", lambda _self: None)
    first, second = DiskRunDirectory(tmp_path / "one"), DiskRunDirectory(tmp_path / "two")
    with own_namespace(), first.hold():
        assert not is_listening or "held" in as_nobody(_FILL).stdout
        with pytest.raises(AlreadyRunning), second.hold():
            raise AssertionError("two agents in one namespace")


@pytest.mark.parametrize("manner", ["listens", "is full", "does not listen"])
def test_the_name_alone_taken_by_a_user_keeps_no_agent_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manner: str
) -> None:
    monkeypatch.setattr(run_directory, "_lock_namespace", lambda _stack: True)
    with own_namespace(), by_nobody(_NAME, manner), DiskRunDirectory(tmp_path).hold():
        pass


def test_the_directory_of_the_cluster_file_locked_by_a_user_stops_no_change(tmp_path: Path) -> None:
    for directory in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        directory.chmod(0o755)
    file = tmp_path / "cluster.yaml"
    file.write_text(CLUSTER)
    store = FileStore([file], LinuxClock())
    store.propose(texts.proposal_of((CLUSTER + "# one\n",)))
    proposal = texts.proposal_of((CLUSTER + "# two\n",))
    with by_nobody(_FLOCK, tmp_path):
        thread = threading.Thread(target=store.propose, args=(proposal,), daemon=True)
        thread.start()
        thread.join(3)
        assert not thread.is_alive(), "it waits for a lock that a user has"
    assert file.read_text() == CLUSTER + "# two\n"
