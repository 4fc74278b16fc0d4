"""Promises of every store, and those of the one on disk besides."""

from __future__ import annotations

import os
import queue
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from bgpctl.core.cluster.intent import Intent
from bgpctl.ports import Loaded, NotPossibleNow, Proposal, Store
from bgpctl.process.fake import FakeClock
from bgpctl.store.changes import Medium
from bgpctl.store.etcd import configuration, records
from bgpctl.store.etcd.gateway import PATIENT_S
from bgpctl.store.etcd.store import EtcdStore
from bgpctl.store.file import FileStore
from bgpctl.store.files import Files
from bgpctl.store.memory import Memory, MemoryStore
from bgpctl.store.texts import proposal_of
from tests.documents import SAMPLE
from tests.documents import load as understood
from tests.etcds import Etcd

DEADLINE_S = 15.0
WITHIN_S = 60.0
LATER = SAMPLE.replace("natOutgoing: true", "natOutgoing: false")
OTHER = SAMPLE.replace("65001", "65002")
WRONG = SAMPLE.replace("encapsulation", "encapsulatoin")


class Killed(BaseException):
    """The agent dies here."""


class Rig(ABC):
    """A store, its clock, and something that can edit its content. `medium` keeps the content."""

    medium: type[Medium]
    store: Store

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()
        self.notified: queue.Queue[Loaded] = queue.Queue()
        self.restart()

    @abstractmethod
    def restart(self) -> None:
        """Another agent, with the content and the record beside it as they are."""

    @abstractmethod
    def edit(self, text: str) -> None:
        """Replace the content as an editor does."""

    @abstractmethod
    def content(self) -> str:
        """The content as it is."""

    @abstractmethod
    def proposal(self, text: str) -> Proposal:
        """As the command line sends it."""

    @abstractmethod
    def check_clock(self) -> None:
        """Have a store that is watched read its clock."""

    def pass_s(self, passed_s: float) -> None:
        self.clock.advance(passed_s)
        self.store.load()

    def watch(self) -> None:
        self.store.watch(self.notified.put)

    def next(self) -> Loaded:
        return self.notified.get(timeout=DEADLINE_S)


class InMemory(Rig):
    medium = Memory

    def __init__(self, path: Path) -> None:
        self.memory = Memory(SAMPLE)
        super().__init__(path)

    def restart(self) -> None:
        self.store = self._store = MemoryStore(self.memory, self.clock, lambda text: understood(text, str(self.path)))

    def edit(self, text: str) -> None:
        self._store.edit(text)

    def content(self) -> str:
        (text,) = self.memory.read()
        return text

    def proposal(self, text: str) -> Proposal:
        return Proposal(text)

    def check_clock(self) -> None:
        self._store.settle()


class OnDisk(Rig):
    medium = Files

    def __init__(self, path: Path) -> None:
        path.write_text(SAMPLE)
        super().__init__(path)

    def restart(self) -> None:
        self.store = FileStore([self.path], self.clock)

    def edit(self, text: str) -> None:
        self.path.write_text(text)

    def content(self) -> str:
        return self.path.read_text()

    def proposal(self, text: str) -> Proposal:
        return proposal_of((text,))

    def check_clock(self) -> None:
        """It does so by itself, several times a second."""


class InEtcd(Rig):
    """The name of the file is the rig's path, as that of another store; each rig is a cluster of its own."""

    def __init__(self, path: Path, etcd: Etcd) -> None:
        self.cluster = uuid.uuid4().hex
        self.etcd = etcd
        self.kv = etcd.kv(self.cluster)
        self.path = path
        self.edit(SAMPLE)
        super().__init__(path)

    def restart(self) -> None:
        snapshot = self.path.with_name("snapshot.json")
        self.store = EtcdStore(self.etcd.options(self.cluster, snapshot), self.clock, answer_s=PATIENT_S)

    def edit(self, text: str) -> None:
        was = configuration.present(self.kv)
        files, blobs = configuration.files_of([str(self.path)], [text])
        head = replace(was.head, generation=was.head.generation + 1, files=files)
        configuration.commit(self.kv, was, head, blobs)

    def content(self) -> str:
        (file,) = configuration.present(self.kv).head.files
        found = self.kv.read(*(f"blobs/{name}" for name in file.blobs)).entries
        return "".join(records.read_blob(found[f"blobs/{name}"].value) for name in file.blobs)

    def proposal(self, text: str) -> Proposal:
        return proposal_of((text,))

    def check_clock(self) -> None:
        """It does so by itself, every second."""


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    running = Etcd(tmp_path_factory.mktemp("etcd"))
    yield running
    running.close()


@pytest.fixture(params=[InMemory, OnDisk, InEtcd], ids=["memory", "file", "etcd"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    more = (request.getfixturevalue("etcd"),) if request.param is InEtcd else ()
    made: Rig = request.param(tmp_path / "c.yaml", *more)
    yield made
    made.store.close()


@pytest.fixture(params=[InMemory, OnDisk], ids=["memory", "file"])
def local(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """A store of one host, whose changes end with its boot; one write after the other, where etcd has transactions."""
    made: Rig = request.param(tmp_path / "c.yaml")
    yield made
    made.store.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Rig]:
    made = OnDisk(tmp_path / "c.yaml")
    yield made
    made.store.close()


def expected(rig: Rig, text: str) -> Loaded:
    return understood(text, str(rig.path))


def test_the_content_can_be_loaded_and_a_change_of_it_is_reported(rig: Rig) -> None:
    assert rig.store.load() == expected(rig, SAMPLE)
    rig.watch()
    rig.edit(LATER)
    assert rig.next() == expected(rig, LATER)
    assert rig.store.load() == expected(rig, LATER)


def test_a_bad_edit_is_reported_as_problems_and_the_good_one_after_it_as_an_intent(rig: Rig) -> None:
    rig.store.load()
    rig.watch()
    rig.edit(WRONG)
    problems = rig.next()
    assert not isinstance(problems, Intent)
    assert {problem.rule for problem in problems} == {"unknown-key"}
    rig.edit(SAMPLE)
    assert rig.next() == expected(rig, SAMPLE)


def test_a_change_is_reported_once_and_an_edit_without_a_change_never(rig: Rig) -> None:
    rig.store.load()
    rig.watch()
    rig.edit(SAMPLE)
    rig.edit(LATER)
    assert rig.next() == expected(rig, LATER)
    rig.edit(LATER)
    rig.edit(WRONG)
    assert rig.next() == expected(rig, WRONG)
    assert rig.notified.empty()


def test_after_close_nothing_is_reported(rig: Rig) -> None:
    rig.watch()
    rig.store.close()
    rig.edit(LATER)
    assert rig.notified.empty()


# Proposals -----------------------------------------------------------------------------------------------------


def test_a_preview_shows_the_effect_of_a_proposal_and_changes_nothing(rig: Rig) -> None:
    assert rig.store.preview(rig.proposal(LATER)) == expected(rig, LATER)
    assert rig.store.preview(rig.proposal(WRONG)) == expected(rig, WRONG)
    assert (rig.content(), rig.store.unconfirmed_s()) == (SAMPLE, None)


def test_a_proposal_is_in_force_is_reported_and_stays(rig: Rig) -> None:
    rig.store.load()
    rig.watch()
    rig.store.propose(rig.proposal(LATER))
    assert rig.next() == expected(rig, LATER)
    rig.pass_s(1e6)
    assert (rig.content(), rig.store.unconfirmed_s()) == (LATER, None)


def test_a_proposal_with_problems_is_refused_with_the_first_of_them(rig: Rig) -> None:
    with pytest.raises(NotPossibleNow, match=f"nothing was applied: {rig.path}:4:31"):
        rig.store.propose(rig.proposal(WRONG))
    assert rig.content() == SAMPLE


def test_a_proposal_that_is_confirmed_in_time_stays(rig: Rig) -> None:
    rig.store.propose(rig.proposal(LATER), WITHIN_S)
    assert rig.store.unconfirmed_s() == WITHIN_S
    rig.pass_s(WITHIN_S - 1)
    assert rig.store.unconfirmed_s() == 1
    rig.store.confirm()
    rig.pass_s(WITHIN_S)
    assert (rig.content(), rig.store.unconfirmed_s()) == (LATER, None)
    with pytest.raises(NotPossibleNow, match="no change waits to be confirmed"):
        rig.store.confirm()


def test_an_unconfirmed_proposal_is_undone_in_time_and_that_is_reported(rig: Rig) -> None:
    rig.store.load()
    rig.watch()
    rig.store.propose(rig.proposal(LATER), WITHIN_S)
    assert rig.next() == expected(rig, LATER)
    rig.clock.advance(WITHIN_S)
    rig.check_clock()
    assert rig.next() == expected(rig, SAMPLE)
    assert rig.store.unconfirmed_s() is None
    for late in (rig.store.confirm, rig.store.undo):
        with pytest.raises(NotPossibleNow, match="the last change was not confirmed in time"):
            late()


def test_another_boot_undoes_an_unconfirmed_proposal(local: Rig) -> None:
    local.store.propose(local.proposal(LATER), WITHIN_S)
    local.clock.boot()
    local.restart()
    assert local.store.load() == expected(local, SAMPLE)


def test_an_edit_meanwhile_holds(rig: Rig) -> None:
    rig.store.propose(rig.proposal(LATER), WITHIN_S)
    rig.edit(OTHER)
    rig.pass_s(WITHIN_S)
    assert rig.content() == OTHER
    with pytest.raises(NotPossibleNow, match="the files were edited since"):
        rig.store.confirm()
    with pytest.raises(NotPossibleNow, match="was edited since"):
        rig.store.undo()


def test_a_second_proposal_waits_for_the_first_ones_confirmation(rig: Rig) -> None:
    rig.store.propose(rig.proposal(LATER), WITHIN_S)
    with pytest.raises(NotPossibleNow, match="another change waits to be confirmed"):
        rig.store.propose(rig.proposal(OTHER))
    rig.store.confirm()
    rig.store.propose(rig.proposal(OTHER))
    assert rig.content() == OTHER


def test_with_bad_content_there_is_nothing_to_return_to(rig: Rig) -> None:
    rig.edit(WRONG)
    with pytest.raises(NotPossibleNow, match="nothing to return to"):
        rig.store.propose(rig.proposal(LATER), WITHIN_S)
    assert rig.content() == WRONG
    rig.store.propose(rig.proposal(LATER))
    assert rig.content() == LATER


def test_an_undo_is_undone_by_another_one(rig: Rig) -> None:
    with pytest.raises(NotPossibleNow, match="nothing was applied yet"):
        rig.store.undo()
    rig.store.propose(rig.proposal(LATER))
    rig.store.undo()
    assert rig.content() == SAMPLE
    rig.store.undo()
    assert rig.content() == LATER


def test_an_undo_is_reported(rig: Rig) -> None:
    rig.store.propose(rig.proposal(LATER))
    assert rig.store.load() == expected(rig, LATER)
    rig.watch()
    rig.store.undo()
    assert rig.next() == expected(rig, SAMPLE)


@pytest.mark.parametrize(
    ("writes", "holds"), [(1, SAMPLE), (2, SAMPLE), (3, LATER)], ids=["the record", "the content", "both records"]
)
def test_a_proposal_that_a_crash_cut_short_is_undone_when_the_next_agent_loads(
    local: Rig, monkeypatch: pytest.MonkeyPatch, writes: int, holds: str
) -> None:
    """`writes` of record, content and record again were done."""
    done: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr(local.medium, "remember", killed_after(writes, local.medium.remember, done))
        patch.setattr(local.medium, "write", killed_after(writes, local.medium.write, done))
        with suppress(Killed):
            local.store.propose(local.proposal(LATER))
    local.restart()
    assert local.store.load() == expected(local, holds)


def killed_after(writes: int, whole: Callable[..., None], done: list[object]) -> Callable[..., None]:
    def step(medium: Medium, value: object) -> None:
        if len(done) == writes:
            raise Killed
        done.append(value)
        whole(medium, value)

    return step


# On disk -------------------------------------------------------------------------------------------------------


def test_what_is_no_proposal_for_these_files_is_refused(disk: Rig) -> None:
    for proposal, why in (("", "a JSON list of texts"), ("[1]", "a JSON list of texts"), ("[]", "reads 1 file: ")):
        for ask in (disk.store.preview, disk.store.propose):
            with pytest.raises(NotPossibleNow, match=why):
                ask(Proposal(proposal))


def test_an_edit_between_load_and_watch_is_reported(disk: Rig) -> None:
    disk.store.load()
    disk.edit(LATER)
    disk.watch()
    assert disk.next() == expected(disk, LATER)


def test_a_file_renamed_over_the_other_is_noticed_even_with_its_times_and_size(disk: Rig) -> None:
    disk.store.load()
    disk.watch()
    before = disk.path.stat()
    fresh = disk.path.with_suffix(".new")
    fresh.write_text(SAMPLE.replace("65001", "65002"))
    os.utime(fresh, ns=(before.st_atime_ns, before.st_mtime_ns))
    fresh.rename(disk.path)
    assert disk.next() == expected(disk, SAMPLE.replace("65001", "65002"))


def test_a_swapped_symbolic_link_is_noticed(tmp_path: Path) -> None:
    old, new, link = tmp_path / "old.yaml", tmp_path / "new.yaml", tmp_path / "c.yaml"
    old.write_text(SAMPLE)
    new.write_text(LATER)
    link.symlink_to(old)
    rig = OnDisk(link)
    try:
        rig.store.load()
        rig.watch()
        (tmp_path / "next").symlink_to(new)
        (tmp_path / "next").rename(link)
        assert rig.next() == expected(rig, LATER)
    finally:
        rig.store.close()


def test_a_vanished_file_is_a_problem_until_it_is_back(disk: Rig) -> None:
    disk.store.load()
    disk.watch()
    disk.path.unlink()
    problems = disk.next()
    assert not isinstance(problems, Intent)
    assert [str(problem) for problem in problems] == [f"{disk.path}:1:1: cannot be read: No such file or directory"]
    disk.edit(SAMPLE)
    assert disk.next() == expected(disk, SAMPLE)


@pytest.mark.parametrize("content", [b"", b"# moved\n", b"a: \xff\n"])
def test_an_empty_or_undecodable_file_is_a_problem_and_not_an_empty_cluster(disk: Rig, content: bytes) -> None:
    disk.path.write_bytes(content)
    loaded = disk.store.load()
    assert not isinstance(loaded, Intent)
    assert len(loaded) == 1


def test_a_file_that_cannot_be_read_leaves_the_others_without_false_problems(disk: Rig, tmp_path: Path) -> None:
    block = tmp_path / "block.yaml"
    block.write_text("kind: BlockAffinity\nmetadata: {name: x}\nspec: {node: c1, cidr: 10.99.0.0/26}\n")
    nodes = tmp_path / "nodes.yaml"
    store = FileStore([disk.path, block, nodes], disk.clock)
    loaded = store.load()
    assert not isinstance(loaded, Intent)
    assert [(problem.place.file, problem.rule) for problem in loaded] == [(str(nodes), "unreadable")]


def test_what_an_edit_leaves_as_it_is_is_shared_with_the_last_good_content(disk: Rig) -> None:
    nodes = "  n1: {address: 10.0.0.1/24}\n  n2: {address: 10.0.0.2/24}\n"
    disk.path.write_text(f"nodes:\n{nodes}")
    before = disk.store.load()
    disk.path.write_text("nodes: [")
    assert not isinstance(disk.store.load(), Intent)
    disk.path.write_text(f"asNumber: 65000\nnodes:\n{nodes}  n3: {{address: 10.0.0.3/24}}\n")
    after = disk.store.load()
    assert isinstance(before, Intent)
    assert isinstance(after, Intent)
    assert (after.asn, len(after.nodes)) == (65000, 3)
    assert after.nodes[0] is before.nodes[0]
    assert after.nodes[1] is before.nodes[1]


def test_a_directory_is_a_problem(tmp_path: Path) -> None:
    loaded = FileStore([tmp_path], FakeClock()).load()
    assert not isinstance(loaded, Intent)
    assert [problem.rule for problem in loaded] == ["unreadable"]
