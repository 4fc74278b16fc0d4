"""Changes of cluster files: confirmed, taken back, overtaken by an edit, and cut short at any moment."""

from __future__ import annotations

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bgpctl.store import changes
from bgpctl.store.changes import Changes, Impossible

WITHIN_S = 60.0


class Host:
    """A file, and a clock that the test moves."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "cluster.yaml"
        self.file.write_text("old")
        self.boot = "first"
        self.now_s = 100.0
        self.changes = self.started()

    def started(self) -> Changes:
        """The changes as an agent sees them that has just been started."""
        return Changes([self.file], lambda: self.boot, lambda: self.now_s)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_change_without_a_deadline_stays_and_can_be_undone_and_done_again(host: Host) -> None:
    host.changes.make(("new",), None)
    host.now_s += 1e6
    host.changes.settle()
    assert (host.file.read_text(), host.changes.left_s()) == ("new", None)
    host.changes.undo()
    assert host.file.read_text() == "old"
    host.changes.undo()
    assert host.file.read_text() == "new"


def test_an_unconfirmed_change_returns_when_its_time_is_over_and_not_before(host: Host) -> None:
    host.changes.make(("new",), WITHIN_S)
    host.now_s += WITHIN_S - 1
    host.changes.settle()
    assert (host.file.read_text(), host.changes.left_s()) == ("new", 1.0)
    host.now_s += 1
    host.changes.settle()
    assert (host.file.read_text(), host.changes.left_s()) == ("old", None)
    with pytest.raises(Impossible, match="nobody confirmed the last change in time"):
        host.changes.confirm()


def test_a_confirmed_change_stays(host: Host) -> None:
    host.changes.make(("new",), WITHIN_S)
    host.changes.confirm()
    host.now_s += WITHIN_S
    host.changes.settle()
    assert host.file.read_text() == "new"
    host.changes.undo()
    assert host.file.read_text() == "old"


@pytest.mark.parametrize("what", ["the time passes while no agent runs", "the host is booted again"])
def test_an_agent_that_starts_later_takes_back_what_was_not_confirmed(host: Host, what: str) -> None:
    host.changes.make(("new",), WITHIN_S)
    if what == "the host is booted again":
        host.boot, host.now_s = "second", 5.0
    else:
        host.now_s += WITHIN_S
    host.started().settle()
    assert host.file.read_text() == "old"


def test_an_edit_in_between_holds_and_nothing_is_taken_back(host: Host) -> None:
    host.changes.make(("new",), WITHIN_S)
    host.file.write_text("edited")
    host.changes.settle()
    host.now_s += WITHIN_S
    host.changes.settle()
    assert (host.file.read_text(), host.changes.left_s()) == ("edited", None)
    with pytest.raises(Impossible, match="was edited since"):
        host.changes.undo()


def test_a_second_change_has_to_wait_for_the_first_ones_confirmation(host: Host) -> None:
    host.changes.make(("new",), WITHIN_S)
    with pytest.raises(Impossible, match="another change waits to be confirmed"):
        host.changes.make(("newer",), None)
    assert host.file.read_text() == "new"


def test_what_one_agent_of_a_lab_confirms_no_other_one_takes_back(host: Host) -> None:
    other = host.started()
    host.changes.make(("new",), WITHIN_S)
    other.settle()
    host.changes.confirm()
    host.now_s += WITHIN_S
    other.settle()
    assert host.file.read_text() == "new"


def test_mode_owner_and_symbolic_link_of_the_file_stay(host: Host, tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(host.file)
    host.file.chmod(0o640)
    Changes([link]).make(("new",), None)
    assert link.is_symlink()
    assert host.file.read_text() == "new"
    assert host.file.stat().st_mode & 0o777 == 0o640


def test_what_is_not_utf_8_comes_back_byte_for_byte(host: Host) -> None:
    host.file.write_bytes(b"\xff old \n\r\n")
    host.changes.make(("new",), None)
    host.changes.undo()
    assert host.file.read_bytes() == b"\xff old \n\r\n"


def test_nothing_to_confirm_or_undo_is_said(host: Host) -> None:
    with pytest.raises(Impossible, match="nothing waits"):
        host.changes.confirm()
    with pytest.raises(Impossible, match="nothing was applied yet"):
        host.changes.undo()


def test_a_file_that_cannot_be_replaced_is_named_and_nothing_is_left(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Impossible, match=r"cluster\.yaml.* cannot be written: No space left on device"):
        host.changes.make(("new",), WITHIN_S)
    assert [path.name for path in host.file.parent.iterdir()] == ["cluster.yaml"]


class Killed(BaseException):
    """The agent dies here."""


class Operators(RuleBasedStateMachine):
    """Whatever is applied, confirmed, undone, edited and killed, the file is what the last word wants."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.host = Host(Path(self.directory.name))
        self.number = 0
        self.holds = "old"
        """What is in force for good."""
        self.waits: tuple[str, float] | None = None
        """What waits to be confirmed, and until when."""

    def teardown(self) -> None:
        self.directory.cleanup()

    @rule(within_s=st.sampled_from([None, 10.0, 60.0]))
    def apply(self, within_s: float | None) -> None:
        self.number += 1
        text = f"number {self.number}"
        if self.waits:
            with pytest.raises(Impossible):
                self.host.changes.make((text,), within_s)
        else:
            self.host.changes.make((text,), within_s)
            self._now(text, within_s)

    @precondition(lambda self: not self.waits)
    @rule(writes=st.integers(0, 3))
    def apply_and_die(self, writes: int) -> None:
        """Killed before the record, before the file, or after both: the file is the old or the new one."""
        self.number += 1
        text, done = f"number {self.number}", 0
        whole = changes._replace

        def replace(path: Path, content: str) -> None:
            nonlocal done
            if done == writes:
                raise Killed
            done += 1
            whole(path, content)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(changes, "_replace", replace)
            with contextlib.suppress(Killed):
                self.host.changes.make((text,), 60.0)
        self.host.changes = self.host.started()
        if self.host.file.read_text() == text:
            self._now(text, 60.0)

    def _now(self, text: str, within_s: float | None) -> None:
        if within_s is None:
            self.holds = text
        else:
            self.waits = text, self.host.now_s + within_s

    @precondition(lambda self: self.waits)
    @rule()
    def confirm(self) -> None:
        assert self.waits
        self.host.changes.confirm()
        self.holds, self.waits = self.waits[0], None

    @precondition(lambda self: self.waits)
    @rule()
    def undo(self) -> None:
        self.host.changes.undo()
        self.waits = None

    @rule()
    def edit(self) -> None:
        self.number += 1
        self.holds, self.waits = f"edit {self.number}", None
        self.host.file.write_text(self.holds)
        self.host.changes.settle()

    @rule(passed_s=st.sampled_from([1.0, 9.0, 30.0, 100.0]))
    def wait(self, passed_s: float) -> None:
        self.host.now_s += passed_s
        self.host.changes.settle()
        if self.waits and self.host.now_s >= self.waits[1]:
            self.waits = None

    @rule()
    def boot(self) -> None:
        self.host.boot, self.host.now_s = f"{self.host.boot}'", 1.0
        self.host.changes = self.host.started()
        self.host.changes.settle()
        self.waits = None

    @invariant()
    def the_last_word_holds(self) -> None:
        assert self.host.file.read_text() == (self.waits[0] if self.waits else self.holds)


Operators.TestCase.settings = settings(stateful_step_count=20)
TestOperators = Operators.TestCase
