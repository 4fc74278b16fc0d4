"""Changes of cluster files: confirmed, undone, overtaken by an edit, and cut short at any moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bgpctl.cli.main import main
from bgpctl.core.cluster.intent import Intent
from bgpctl.ports import Clock, NotPossibleNow
from bgpctl.store import files
from bgpctl.store.change import Contents
from bgpctl.store.changes import Changes
from bgpctl.store.files import Files

WITHIN_S = 60.0


def good(_contents: Contents) -> Intent:
    return Intent()


class Host(Clock):
    """Files, and a clock that the test moves."""

    def __init__(self, directory: Path, *names: str) -> None:
        self.files = [directory / name for name in names]
        self.write(self.both("old"))
        self.boot = "first"
        self.passed_s = 100.0
        self.changes = self.started()

    @property
    def file(self) -> Path:
        return self.files[0]

    def started(self) -> Changes:
        """The changes as an agent sees them that has just been started."""
        return Changes(Files(self.files), self, good)

    def now_s(self) -> float:
        return self.passed_s

    def date(self) -> datetime:
        return datetime.fromtimestamp(self.passed_s, UTC)

    def since_boot_s(self) -> float:
        return self.passed_s

    def boot_id(self) -> str:
        return self.boot

    def both(self, text: str) -> Contents:
        """Different in each file, but for the first one."""
        return tuple(f"{text}{number or ''}" for number, _ in enumerate(self.files))

    def write(self, contents: Iterable[str]) -> None:
        for file, content in zip(self.files, contents, strict=True):
            file.write_text(content)

    def contents(self) -> Contents:
        return tuple(file.read_text() for file in self.files)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path, "cluster.yaml")


def test_a_change_without_a_deadline_stays_and_can_be_undone_and_done_again(host: Host) -> None:
    host.changes.propose(("new",), None)
    host.passed_s += 1e6
    host.changes.settle()
    assert (host.file.read_text(), host.changes.left_s()) == ("new", None)
    host.changes.undo()
    assert host.file.read_text() == "old"
    host.changes.undo()
    assert host.file.read_text() == "new"


def test_an_unconfirmed_change_returns_when_its_time_is_over_and_not_before(host: Host) -> None:
    host.changes.propose(("new",), WITHIN_S)
    host.passed_s += WITHIN_S - 1
    host.changes.settle()
    assert (host.file.read_text(), host.changes.left_s()) == ("new", 1.0)
    host.passed_s += 1
    host.changes.settle()
    assert (host.file.read_text(), host.changes.left_s()) == ("old", None)
    with pytest.raises(NotPossibleNow, match="the last change was not confirmed in time"):
        host.changes.confirm()
    with pytest.raises(NotPossibleNow, match="nothing to undo"):
        host.changes.undo()
    assert host.file.read_text() == "old"


def test_a_confirmed_change_stays(host: Host) -> None:
    host.changes.propose(("new",), WITHIN_S)
    host.changes.confirm()
    host.passed_s += WITHIN_S
    host.changes.settle()
    assert host.file.read_text() == "new"
    host.changes.undo()
    assert host.file.read_text() == "old"


@pytest.mark.parametrize("what", ["the time passes while no agent runs", "the host is booted again"])
def test_an_agent_that_starts_later_undoes_an_unconfirmed_change(host: Host, what: str) -> None:
    host.changes.propose(("new",), WITHIN_S)
    if what == "the host is booted again":
        host.boot, host.passed_s = "second", 5.0
    else:
        host.passed_s += WITHIN_S
    host.started().settle()
    assert host.file.read_text() == "old"


def test_an_edit_in_between_stays_and_nothing_is_undone(host: Host) -> None:
    host.changes.propose(("new",), WITHIN_S)
    host.file.write_text("edited")
    host.changes.settle()
    host.passed_s += WITHIN_S
    host.changes.settle()
    assert (host.file.read_text(), host.changes.left_s()) == ("edited", None)
    with pytest.raises(NotPossibleNow, match="was edited since"):
        host.changes.undo()
    with pytest.raises(NotPossibleNow, match="the files were edited since, and the edit is kept"):
        host.changes.confirm()


def test_a_second_change_has_to_wait_for_the_first_ones_confirmation(host: Host) -> None:
    host.changes.propose(("new",), WITHIN_S)
    with pytest.raises(NotPossibleNow, match="another change waits to be confirmed"):
        host.changes.propose(("newer",), None)
    assert host.file.read_text() == "new"


def test_a_change_confirmed_by_one_agent_of_a_lab_is_undone_by_no_other(host: Host) -> None:
    other = host.started()
    host.changes.propose(("new",), WITHIN_S)
    other.settle()
    host.changes.confirm()
    host.passed_s += WITHIN_S
    other.settle()
    assert host.file.read_text() == "new"


def test_mode_owner_and_symbolic_link_of_the_file_stay(host: Host, tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(host.file)
    host.file.chmod(0o640)
    Changes(Files([link]), host, good).propose(("new",), None)
    assert link.is_symlink()
    assert host.file.read_text() == "new"
    assert host.file.stat().st_mode & 0o777 == 0o640


def test_a_file_that_is_not_utf_8_is_restored_byte_for_byte(host: Host) -> None:
    host.file.write_bytes(b"\xff old \n\r\n")
    host.changes.propose(("new",), None)
    host.changes.undo()
    assert host.file.read_bytes() == b"\xff old \n\r\n"


def test_nothing_to_confirm_or_undo_is_reported(host: Host) -> None:
    with pytest.raises(NotPossibleNow, match="no change waits"):
        host.changes.confirm()
    with pytest.raises(NotPossibleNow, match="nothing was applied yet"):
        host.changes.undo()


def test_a_file_that_cannot_be_replaced_is_named_and_nothing_is_left(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(NotPossibleNow, match=r"cluster\.yaml.* cannot be written: No space left on device"):
        host.changes.propose(("new",), WITHIN_S)
    assert {path.name for path in host.file.parent.iterdir()} == {"cluster.yaml", ".cluster.yaml.lock"}


class Killed(BaseException):
    """The agent dies here."""


def test_a_change_that_was_cut_short_between_two_files_is_taken_back_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path, "pools.yaml", "nodes.yaml")
    whole = files.replace_file

    def replace(path: Path, content: str) -> None:
        if path.name == "nodes.yaml":
            raise Killed
        whole(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace_file", replace)
        with pytest.raises(Killed):
            host.changes.propose(host.both("new"), None)
    assert host.contents() == ("new", "old1")
    options = [word for file in host.files for word in ("-f", str(file))]
    CliRunner().invoke(main, ["agent", "run", "--node", "a1", *options])
    assert host.contents() == ("old", "old1")


class Operators(RuleBasedStateMachine):
    """
    Whatever is applied, confirmed, undone, edited and killed, the two files are what the last command wants: an apply
    that is cut short changes nothing, an undo that is cut short is completed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.host = Host(Path(self.directory.name), "cluster.yaml", "secrets.yaml")
        self.number = 0
        self.current = "old"
        """The content in force for good."""
        self.back: str | None = None
        """The content that an undo leads to, while nothing waits."""
        self.waits: tuple[str, float] | None = None
        """The content that waits to be confirmed, and until when."""

    def teardown(self) -> None:
        self.directory.cleanup()

    def named(self) -> str:
        self.number += 1
        return f"number {self.number}"

    @rule(within_s=st.sampled_from([None, 10.0, 60.0]), writes=st.integers(0, 8))
    def apply(self, within_s: float | None, writes: int) -> None:
        text = self.named()
        if self.waits:
            with pytest.raises(NotPossibleNow, match="waits to be confirmed"):
                self.host.changes.propose(self.host.both(text), within_s)
        elif self.is_done(lambda: self.host.changes.propose(self.host.both(text), within_s), writes):
            if within_s is None:
                self.current, self.back = text, self.current
            else:
                self.waits = text, self.host.passed_s + within_s
        elif writes:  # otherwise not even the record of the change is there
            self.back = None

    def is_done(self, act: Callable[[], None], writes: int) -> bool:
        """True if that was done before it was killed at a write; then the agent is started again."""
        done = 0
        whole = files.replace_file

        def replace(path: Path, content: str) -> None:
            nonlocal done
            if done == writes:
                raise Killed
            done += 1
            whole(path, content)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(files, "replace_file", replace)
            try:
                act()
            except Killed:
                pass
            else:
                return True
        self.host.changes = self.host.started()
        self.host.changes.settle()
        return False

    @precondition(lambda self: self.waits)
    @rule()
    def confirm(self) -> None:
        assert self.waits
        self.host.changes.confirm()
        self.current, self.back, self.waits = self.waits[0], self.current, None

    @rule(writes=st.integers(0, 8))
    def undo(self, writes: int) -> None:
        if self.waits:
            if self.is_done(self.host.changes.undo, writes):
                self.back, self.waits = self.waits[0], None
            elif writes:
                self.back, self.waits = None, None
        elif self.back is None:
            with pytest.raises(NotPossibleNow):
                self.host.changes.undo()
        elif self.is_done(self.host.changes.undo, writes):
            self.current, self.back = self.back, self.current
        elif writes:
            self.current, self.back = self.back, None

    @rule(second=st.booleans())
    def edit(self, second: bool) -> None:
        """Of one of the files."""
        text = self.named()
        now = list(self.host.contents())
        now[second] = text
        self.host.write(now)
        self.host.changes.settle()
        self.current, self.back, self.waits = "\n".join(now), None, None
        self.host.write(self.host.both(self.current))

    @rule(passed_s=st.sampled_from([1.0, 9.0, 30.0, 100.0]), writes=st.integers(0, 8))
    def wait(self, passed_s: float, writes: int) -> None:
        self.host.passed_s += passed_s
        self.is_done(self.host.changes.settle, writes)
        if self.waits and self.host.passed_s >= self.waits[1]:
            self.back, self.waits = None, None

    @rule(writes=st.integers(0, 8))
    def boot(self, writes: int) -> None:
        self.host.boot, self.host.passed_s = f"{self.host.boot}'", 1.0
        self.host.changes = self.host.started()
        self.is_done(self.host.changes.settle, writes)
        if self.waits:
            self.back, self.waits = None, None

    @invariant()
    def the_last_change_counts(self) -> None:
        assert self.host.contents() == self.host.both(self.waits[0] if self.waits else self.current)


Operators.TestCase.settings = settings(stateful_step_count=20)
TestOperators = Operators.TestCase
