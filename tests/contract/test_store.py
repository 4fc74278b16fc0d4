"""What every store must do, and what the one on disk must do besides."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bgpctl.core.cluster.intent import Intent
from bgpctl.ports import Loaded, Store
from bgpctl.store.file import FileStore
from bgpctl.store.memory import MemoryStore
from tests.documents import SAMPLE
from tests.documents import load as understood

DEADLINE_S = 5.0
LATER = SAMPLE.replace("natOutgoing: true", "natOutgoing: false")
WRONG = SAMPLE.replace("encapsulation", "encapsulatoin")


class Rig:
    """A store with something that can edit its content."""

    def __init__(self, store: Store, edit: Callable[[str], object], path: Path) -> None:
        self.store = store
        self.edit = edit
        self.path = path
        self.told: queue.Queue[Loaded] = queue.Queue()

    def watch(self) -> None:
        self.store.watch(self.told.put)

    def next(self) -> Loaded:
        return self.told.get(timeout=DEADLINE_S)


def in_memory(path: Path) -> Rig:
    store = MemoryStore(understood(SAMPLE, str(path)))
    return Rig(store, lambda text: store.put(understood(text, str(path))), path)


def on_disk(path: Path) -> Rig:
    path.write_text(SAMPLE)
    return Rig(FileStore([path]), path.write_text, path)


@pytest.fixture(params=[in_memory, on_disk], ids=["memory", "file"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    made: Rig = request.param(tmp_path / "c.yaml")
    yield made
    made.store.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Rig]:
    made = on_disk(tmp_path / "c.yaml")
    yield made
    made.store.close()


def expected(rig: Rig, text: str) -> Loaded:
    return understood(text, str(rig.path))


def test_the_content_can_be_loaded_and_a_change_of_it_is_told(rig: Rig) -> None:
    assert rig.store.load() == expected(rig, SAMPLE)
    rig.watch()
    rig.edit(LATER)
    assert rig.next() == expected(rig, LATER)
    assert rig.store.load() == expected(rig, LATER)


def test_a_bad_edit_is_told_as_problems_and_the_good_one_after_it_as_an_intent(rig: Rig) -> None:
    rig.store.load()
    rig.watch()
    rig.edit(WRONG)
    problems = rig.next()
    assert not isinstance(problems, Intent)
    assert {problem.rule for problem in problems} == {"unknown-key"}
    rig.edit(SAMPLE)
    assert rig.next() == expected(rig, SAMPLE)


def test_a_change_is_told_once_and_an_edit_without_a_change_never(rig: Rig) -> None:
    rig.store.load()
    rig.watch()
    rig.edit(SAMPLE)
    rig.edit(LATER)
    assert rig.next() == expected(rig, LATER)
    rig.edit(LATER)
    rig.edit(WRONG)
    assert rig.next() == expected(rig, WRONG)
    assert rig.told.empty()


def test_after_close_nothing_is_told(rig: Rig) -> None:
    rig.watch()
    rig.store.close()
    rig.edit(LATER)
    assert rig.told.empty()


def test_what_was_edited_between_load_and_watch_is_told(disk: Rig) -> None:
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
    rig = Rig(FileStore([link]), new.write_text, link)
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
    store = FileStore([disk.path, block, nodes])
    loaded = store.load()
    assert not isinstance(loaded, Intent)
    assert [(problem.place.file, problem.rule) for problem in loaded] == [(str(nodes), "unreadable")]


def test_a_directory_is_a_problem(tmp_path: Path) -> None:
    loaded = FileStore([tmp_path]).load()
    assert not isinstance(loaded, Intent)
    assert [problem.rule for problem in loaded] == ["unreadable"]
