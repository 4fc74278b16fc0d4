"""Files that are bombs, that are no files, or that another user prepared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bgpctl import filesystem
from bgpctl.ports import NotPossibleNow, Unavailable
from bgpctl.process.clock import LinuxClock
from bgpctl.process.run_directory import DiskRunDirectory
from bgpctl.speaker import launch
from bgpctl.store import texts
from bgpctl.store.file import FileStore
from tests.attack.rig import CLUSTER, NOBODY, needs_root
from tests.contract.kernel_rig import own_namespace

_LOAD = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
from bgpctl.store import texts
found = texts.load([Path(sys.argv[1])])
print(found[0] if isinstance(found, tuple) else "good")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


def _loaded(path: Path) -> tuple[str, int]:
    """The words about a file of a process of its own, and its peak of memory in MB."""
    result = subprocess.run(
        (sys.executable, "-c", _LOAD, str(path)), capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, result.stderr[-400:] or f"ended by signal {-result.returncode}"
    words, megabytes = result.stdout.splitlines()
    return words, int(megabytes)


def _keys(number: int) -> str:
    return ", ".join(f"k{at}: 1" for at in range(number))


BOMBS = {
    "merges": "base: &b {" + _keys(4000) + "}\nall:\n" + "- {<<: *b}\n" * 30_000,
    "merges of one": "base: &b {" + _keys(4000) + "}\nall: {<<: [" + ", ".join(["*b"] * 60_000) + "]}\n",
    "merges of merges": "a: &b0 {"
    + _keys(4000)
    + "}\n"
    + "".join(f"b{at}: &b{at} {{<<: [*b{at - 1}], n{at}: 1}}\n" for at in range(1, 1000)),
    "laughs in many documents": (
        "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
        "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
        "nodes: [*d, *d, *d, *d]\n---\n"
    )
    * 1500,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_text_does_not_become_much_memory(tmp_path: Path, bomb: str) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(BOMBS[bomb])
    assert file.stat().st_size < 500_000
    words, megabytes = _loaded(file)
    assert "aliases" in words
    assert megabytes < 400


def _long(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


NO_FILES: dict[str, Callable[[Path], None]] = {
    "FIFO": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "directory": lambda path: path.mkdir(),
    "symbolic links": lambda path: path.symlink_to(path),
    "bytes": _long,
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_refused_with_words(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "cluster.yaml"
    NO_FILES[kind](file)
    words, _ = _loaded(file)
    assert words.startswith(f"{file}:1:1: cannot be read: ")
    assert kind in words


def test_a_pipe_of_the_shell_is_read(tmp_path: Path) -> None:
    good = tmp_path / "cluster.yaml"
    good.write_text(CLUSTER)
    command = f"exec {sys.executable} -m bgpctl validate -f <(cat {good})"
    result = subprocess.run(("bash", "-c", command), capture_output=True, text=True, check=False)
    piped = subprocess.run(
        (sys.executable, "-m", "bgpctl", "validate", "-f", "/dev/stdin"),
        input=CLUSTER,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, piped.returncode) == (0, 0), result.stderr + piped.stderr


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory in which everyone can make files, as /tmp is."""
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(0o1777)
    return directory


def _record(before: str, after: str) -> str:
    return json.dumps(
        {"before": [before], "after": [after], "boot": "another", "confirm_by_s": 1.0, "standing": "waits"}
    )


@needs_root
def test_a_record_of_another_user_does_not_become_the_cluster_file(shared: Path) -> None:
    file = shared / "cluster.yaml"
    file.write_text(CLUSTER)
    record = shared / ".cluster.yaml.change"
    record.write_text(_record("of the attacker", CLUSTER))
    os.chown(record, NOBODY, NOBODY)
    FileStore([file], LinuxClock()).load()
    assert file.read_text() == CLUSTER


@needs_root
def test_nothing_is_written_where_another_user_can_write(shared: Path) -> None:
    file, secret = shared / "cluster.yaml", shared.parent / "secret"
    file.write_text(CLUSTER)
    secret.write_text("of root")
    (shared / f".cluster.yaml.change.{os.getpid()}.new").symlink_to(secret)
    (shared / f".cluster.yaml.{os.getpid()}.new").symlink_to(secret)
    store = FileStore([file], LinuxClock())
    with pytest.raises(NotPossibleNow, match="other users can write"):
        store.propose(texts.proposal_of((CLUSTER + "# new\n",)))
    assert secret.read_text() == "of root"
    assert file.read_text() == CLUSTER


def test_a_draft_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    file, secret = tmp_path / "cluster.yaml", tmp_path / "secret"
    file.write_text(CLUSTER)
    secret.write_text("of root")
    (tmp_path / f".cluster.yaml.{os.getpid()}.new").symlink_to(secret)
    store = FileStore([file], LinuxClock())
    store.propose(texts.proposal_of((CLUSTER + "# new\n",)))
    assert secret.read_text() == "of root"
    assert file.read_text() == CLUSTER + "# new\n"


RECORDS = {
    "no JSON": b"{",
    "deep": b"[" * 100_000,
    "binary": bytes(range(256)),
    "wrong types": b'{"before": [1], "after": [2], "boot": 3, "confirm_by_s": "x", "standing": "waits"}',
    "a FIFO": None,
}


@pytest.mark.parametrize("kind", RECORDS)
def test_a_damaged_record_is_moved_aside(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    file, record = tmp_path / "cluster.yaml", tmp_path / ".cluster.yaml.change"
    file.write_text(CLUSTER)
    content = RECORDS[kind]
    if content is None:
        os.mkfifo(record)
    else:
        record.write_bytes(content)
    store = FileStore([file], LinuxClock())
    thread = threading.Thread(target=store.load, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive(), "it hangs"
    assert not record.exists()
    assert "moved aside" in caplog.text
    assert store.unconfirmed_s() is None
    store.propose(texts.proposal_of((CLUSTER + "# new\n",)))
    store.undo()
    assert file.read_text() == CLUSTER


@needs_root
def test_a_run_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    mine, linked, shared = tmp_path / "mine", tmp_path / "linked", tmp_path / "shared"
    mine.mkdir()
    os.chown(mine, NOBODY, NOBODY)
    linked.symlink_to(tmp_path)
    shared.mkdir()
    shared.chmod(0o777)
    for path in (mine, linked, shared):
        refused = pytest.raises(Unavailable, match="cannot use the run directory")
        with own_namespace(), refused, DiskRunDirectory(path).hold():
            raise AssertionError(f"{path} is used")


@needs_root
def test_a_password_in_no_file_or_an_empty_one_is_refused(tmp_path: Path) -> None:
    for name, content in {"empty": "", "blank": " \n"}.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(launch.ConfigRejected, match="password"):
            launch._secret("a2", tmp_path / name)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(launch.ConfigRejected, match="FIFO"):
        launch._secret("a2", tmp_path / "fifo")


@pytest.mark.parametrize("name", ["x\0y", "x\ud800"])
def test_what_is_no_name_of_a_file_is_refused_with_words(tmp_path: Path, name: str) -> None:
    with pytest.raises(launch.ConfigRejected, match="no name of a file"):
        launch._secret("a2", tmp_path / name)
    with pytest.raises(OSError, match="no name of a file"):
        filesystem.read(tmp_path / name)
