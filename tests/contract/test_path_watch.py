"""Files are noticed when the kernel says so, and found without it: real files, inotify, and what becomes of both."""

from __future__ import annotations

import queue
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bgpctl.ports import Loaded
from bgpctl.process.fake import FakeClock
from bgpctl.store import file as file_store
from bgpctl.store import path_watch
from bgpctl.store.file import FileStore
from bgpctl.store.path_watch import Notice, PathWatch, steps
from tests.documents import SAMPLE
from tests.documents import load as understood

DEADLINE_S = 30.0
NEVER_S = 3600.0
LATER = SAMPLE.replace("natOutgoing: true", "natOutgoing: false")
HALF = SAMPLE[: SAMPLE.index("  b1:")]
"""A whole cluster file, but for a node."""


def renamed(path: Path, text: str) -> None:
    fresh = path.with_name(".fresh")
    fresh.write_text(text)
    fresh.replace(path)


def written(path: Path, text: str) -> None:
    path.write_text(text)


def made_anew(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


def swapped(path: Path, text: str) -> None:
    """As a volume of Kubernetes: the file is a link through `..data`, which another link is renamed over."""
    version = path.with_name(f"..{len([*path.parent.iterdir()])}")
    version.mkdir()
    (version / path.name).write_text(text)
    fresh = path.with_name("..fresh")
    fresh.symlink_to(version.name)
    fresh.replace(path.with_name("..data"))
    if not path.is_symlink():
        path.unlink()
        path.symlink_to(Path("..data", path.name))


def exchanged(path: Path, text: str) -> None:
    """The directory gives way to another one."""
    fresh = path.parent.with_name("fresh")
    fresh.mkdir()
    (fresh / path.name).write_text(text)
    path.parent.rename(path.parent.with_name("former"))
    fresh.rename(path.parent)
    shutil.rmtree(path.parent.with_name("former"))


Edit = Callable[[Path, str], None]
AT_ONCE: list[Edit] = [renamed, swapped]
EVERY: list[Edit] = [*AT_ONCE, written, made_anew, exchanged]


@pytest.fixture
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The cluster file, and for `swapped` the links to it."""
    found = tmp_path / "etc" / "c.yaml"
    found.parent.mkdir()
    found.write_text(SAMPLE)
    if "edit" in request.fixturenames and request.getfixturevalue("edit") is swapped:
        swapped(found, SAMPLE)
    return found


@pytest.fixture
def watch(path: Path) -> Iterator[PathWatch]:
    made = PathWatch([path])
    yield made
    made.close()


@pytest.fixture
def notified(path: Path) -> Iterator[queue.Queue[Loaded]]:
    """Notified by a store that has loaded its file and watches it."""
    found: queue.Queue[Loaded] = queue.Queue()
    store = FileStore([path], FakeClock())
    store.load()
    store.watch(found.put)
    yield found
    store.close()


def weightiest(watch: PathWatch) -> Notice:
    """Of all notices there are: a rename is the last of several events."""
    found: list[Notice] = []
    while not found or found[-1] is not Notice.NOTHING:
        found.append(watch.wait(0.0))
        watch.renew()
    return max(found, key=[*Notice].index)


# Notices -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edit", AT_ONCE)
def test_what_is_put_in_place_whole_is_noticed_as_such_again_and_again(
    watch: PathWatch, path: Path, edit: Edit
) -> None:
    for text in (LATER, SAMPLE):
        edit(path, text)
        assert weightiest(watch) is Notice.REPLACED


@pytest.mark.parametrize("edit", [written, made_anew, exchanged])
def test_what_may_be_half_of_what_is_to_come_is_noticed_as_touched(watch: PathWatch, path: Path, edit: Edit) -> None:
    edit(path, LATER)
    assert weightiest(watch) is Notice.TOUCHED
    renamed(path, SAMPLE)
    assert weightiest(watch) is Notice.REPLACED


def test_a_file_that_is_missing_is_noticed_when_it_goes_and_when_it_comes(watch: PathWatch, path: Path) -> None:
    path.unlink()
    assert weightiest(watch) is Notice.TOUCHED
    renamed(path, SAMPLE)
    assert weightiest(watch) is Notice.REPLACED


def test_other_files_beside_it_are_no_notice_however_many(watch: PathWatch, path: Path) -> None:
    for _ in range(20):
        renamed(path.with_name("other"), LATER)
        assert watch.wait(DEADLINE_S) is Notice.NOTHING
    renamed(path, LATER)
    assert weightiest(watch) is Notice.REPLACED


def test_a_wait_ends_when_it_is_stopped(watch: PathWatch, path: Path) -> None:
    renamed(path, LATER)
    watch.stop()
    assert watch.wait(DEADLINE_S) is Notice.CLOSED


def test_the_steps_of_a_path_are_its_links_and_its_last_name(tmp_path: Path) -> None:
    real = tmp_path.resolve()
    (real / "one").mkdir()
    (real / "two").symlink_to("one")
    (real / "one" / "a").symlink_to("../b")
    assert steps([real / "two" / "a"]) == {real: {"two", "b"}, real / "one": {"a"}}
    (real / "circle").symlink_to("circle")
    assert steps([real / "circle"]) == {real: {"circle"}}
    assert steps([real / "none" / "c"]) == {real / "none": {"c"}}


# A store -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edit", AT_ONCE)
def test_a_store_reads_what_is_put_in_place_whole_without_a_poll(
    edit: Edit, monkeypatch: pytest.MonkeyPatch, path: Path, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(file_store, "_POLL_EVERY_S", NEVER_S)
    notified = request.getfixturevalue("notified")
    for text in (LATER, SAMPLE):
        edit(path, text)
        assert notified.get(timeout=DEADLINE_S) == understood(text, str(path))


@pytest.mark.parametrize("edit", EVERY)
@pytest.mark.parametrize("call", ["inotify_init1", "inotify_add_watch"])
def test_a_store_finds_by_polling_what_inotify_does_not_report(
    edit: Edit, call: str, monkeypatch: pytest.MonkeyPatch, path: Path, request: pytest.FixtureRequest
) -> None:
    """No instance or no watch is left for this user; a file system of another host reports as little."""
    monkeypatch.setattr(path_watch._libc, call, lambda *_: -1)
    notified = request.getfixturevalue("notified")
    for text in (LATER, SAMPLE):
        edit(path, text)
        assert notified.get(timeout=DEADLINE_S) == understood(text, str(path))


@pytest.mark.parametrize("edit", EVERY)
def test_a_store_with_inotify_reads_every_edit(edit: Edit, path: Path, notified: queue.Queue[Loaded]) -> None:
    for text in (LATER, SAMPLE):
        edit(path, text)
        assert notified.get(timeout=DEADLINE_S) == understood(text, str(path))


def test_a_half_written_file_is_never_taken_for_the_whole(
    monkeypatch: pytest.MonkeyPatch, path: Path, request: pytest.FixtureRequest
) -> None:
    """As long as it was written to a moment ago, however long that is."""
    monkeypatch.setattr(file_store, "_STILL_S", NEVER_S)
    notified = request.getfixturevalue("notified")
    path.write_text(HALF)
    renamed(path, LATER)
    assert notified.get(timeout=DEADLINE_S) == understood(LATER, str(path))


def test_one_of_several_files_is_not_read_before_the_others_can_follow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A node that is moved from one file to the other would be lost in between."""
    with_node, without = tmp_path / "a.yaml", tmp_path / "b.yaml"
    with_node.write_text("nodes: {b2: {address: 10.1.0.5/24}}")
    without.write_text(SAMPLE)

    def scripted(_: PathWatch, within_s: float) -> Notice:
        assert within_s
        if not script:
            return Notice.CLOSED
        edit, notice = script.pop(0)
        edit()
        return notice

    script: list[tuple[Callable[[], object], Notice]] = [
        (lambda: renamed(with_node, "{}"), Notice.REPLACED),
        (lambda: renamed(without, SAMPLE + "  # and b2\n"), Notice.REPLACED),
    ]
    monkeypatch.setattr(PathWatch, "wait", scripted)
    found: list[Loaded] = []
    store = FileStore([with_node, without], FakeClock())
    store.load()
    store.watch(found.append)
    store.close()
    assert (script, found) == ([], [])
