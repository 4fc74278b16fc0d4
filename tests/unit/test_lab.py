"""A lab's directory and names, with no namespace made and no agent started."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from bgpctl.cli.main import main
from bgpctl.lab import build, netns, runtime
from bgpctl.lab import lab as labs
from bgpctl.lab.lab import Lab
from bgpctl.lab.labfile import load
from bgpctl.lab.listing import listed
from bgpctl.lab.topology import Topology
from bgpctl.process import run_directory

TOPOLOGY = Path(__file__).parents[2] / "topologies" / "cross-subnet.yaml"


@pytest.fixture(autouse=True)
def _pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as short:
        _pretend(Path(short), monkeypatch)
        yield


def _pretend(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labs, "STATE", directory / "bgpctl" / "lab")
    monkeypatch.setattr(build, "build", lambda *_: {})
    monkeypatch.setattr(build, "tear_down", lambda *_: None)
    monkeypatch.setattr(Lab, "start_agent", lambda *_: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def topology(file: Path) -> Topology:
    loaded = load(file)
    assert isinstance(loaded, Topology), loaded
    return loaded


def edited(tmp_path: Path, edit: Callable[[str], str] = lambda text: text) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text(edit(TOPOLOGY.read_text()))
    return file


def bgpctl(*words: str) -> Result:
    return CliRunner().invoke(main, words)


@pytest.mark.parametrize("spoil", [lambda file: file.write_text("nodes: 7"), lambda file: file.unlink()])
def test_later_changes_of_the_file_do_not_matter(tmp_path: Path, spoil: Callable[[Path], Any]) -> None:
    file = edited(tmp_path)
    made = labs.up(topology(file), "mine", keep=True)
    spoil(file)
    found = labs.find("mine").topology
    assert (found.intent, found.workloads) == (made.topology.intent, made.topology.workloads)


def test_no_name_of_a_node_collides_with_a_file_of_the_lab(tmp_path: Path) -> None:
    renamed = ("lab.json", "a1.log", "cluster.yaml", "agent.log")
    file = edited(tmp_path, lambda text: text)
    text = file.read_text()
    for old, new in zip(("a1", "a2", "b1", "b2"), renamed, strict=True):
        text = text.replace(f"  {old}:", f"  {new}:").replace(f"node: {old}", f"node: {new}")
    file.write_text(text)
    made = labs.up(topology(file), "mine", keep=True)
    files = {made.directory / "lab.json", made.topology.file}
    dirs = {made.run_dir(name) for name in renamed}
    logs = {made.log(name) for name in renamed}
    assert len(files | dirs | logs) == 10
    assert all(path.is_file() for path in files)


def test_names_too_long_for_the_agents_sockets_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    long = "n" * 63
    file = edited(tmp_path, lambda text: text.replace("  a1:", f"  {long}:").replace("node: a1", f"node: {long}"))
    with pytest.raises(RuntimeError, match=f"nodes/{long} has more than the {run_directory.LONGEST_PATH_BYTES} bytes"):
        labs.up(topology(file), "l" * 40, keep=True)
    assert labs.lab_names() == []


def test_password_files_come_along_and_none_is_taken_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "labs" / "secrets").mkdir(parents=True)
    (tmp_path / "labs" / "secrets" / "tor").write_text("one")
    (tmp_path / "other").write_text("two")
    for number, secret in enumerate(("secrets/tor", "../other")):
        file = tmp_path / "labs" / "mine.yaml"
        file.write_text(
            TOPOLOGY.read_text() + f"peers: {{tor: {{ip: 10.0.0.9, asNumber: 65001, passwordFile: {secret}}}}}\n"
        )
        if number:
            with pytest.raises(RuntimeError, match="not below its file"):
                labs.up(topology(file), "two", keep=True)
        else:
            made = labs.up(topology(file), "one", keep=True)
            assert (made.directory / "secrets" / "tor").read_text() == "one"
    assert labs.lab_names() == ["one"]


def test_down_without_a_name_ends_the_only_lab_and_never_one_of_several(tmp_path: Path) -> None:
    for name in ("one", "two"):
        labs.up(topology(edited(tmp_path)), name, keep=True)
    refused = bgpctl("lab", "down")
    assert refused.exit_code == 2
    assert "choose a lab with --name (up: one, two)" in refused.output
    assert labs.lab_names() == ["one", "two"]
    assert bgpctl("lab", "down", "--name", "one").output == "lab one is removed\n"
    assert bgpctl("lab", "down").output == "lab two is removed\n"
    assert bgpctl("lab", "down").exit_code == 6


def test_a_lab_whose_password_file_is_missing_is_refused_with_the_place_and_nothing_is_made(tmp_path: Path) -> None:
    text = TOPOLOGY.read_text() + "peers: {tor: {ip: 10.0.0.9, asNumber: 65001, passwordFile: secrets/tor}}\n"
    file = edited(tmp_path, lambda _: text)
    for words in (("up", str(file)), ("up", "-f", str(file)), ("run", str(file))):
        result = bgpctl("lab", *words)
        assert result.exit_code == 2, result.output
        place = f"{file}:{len(text.splitlines())}:"
        assert result.output.startswith(place)
        assert "peers.tor.passwordFile: there is no file" in result.output
    assert labs.lab_names() == []


def test_a_lab_that_was_built_in_part_is_listed_so_with_the_command_that_removes_it(tmp_path: Path) -> None:
    made = labs.up(topology(edited(tmp_path)), "whole", keep=True)
    (labs.STATE / "nothing").mkdir()
    part = labs.STATE / "part"
    part.mkdir()
    record = json.loads((made.directory / "lab.json").read_text())
    (part / "lab.json").write_text(json.dumps({**record, "whole": False}))
    assert {lab.name: lab.state for lab in listed()} == {"nothing": "in part", "part": "building", "whole": "converged"}
    gone = {**record, "whole": False, "owner": {**record["owner"], "started": -1}}
    (part / "lab.json").write_text(json.dumps(gone))
    result = bgpctl("lab", "list")
    assert result.exit_code == 0
    assert result.output.splitlines()[0].split() == ["LAB", "TOPOLOGY", "BACKEND", "AGE", "STATE", "NODES"]
    assert "remove it with: bgpctl lab down --name part" in result.output
    assert bgpctl("lab", "down", "--name", "part").output == "lab part is removed\n"


def test_labs_their_parts_and_pools_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "other"):
        made = labs.up(topology(edited(tmp_path)), name, keep=True)
        made.run_dir("a1").mkdir(parents=True)
        made.log("a1").touch()
    parts = ("a1", "a2", "web-a1", "fabric")
    monkeypatch.setattr(netns, "names", lambda prefix: [f"{prefix}{part}" for part in parts])

    def completed(*words: str) -> list[str]:
        *before, last = words
        return [item.value for item in ShellComplete(main, {}, "bgpctl", "_X").get_completions(before, last)]

    assert completed("lab", "down", "--name", "") == ["one", "other"]
    assert completed("lab", "exec", "--name", "one", "") == ["a1", "a2", "web-a1"]
    assert completed("lab", "exec", "web") == ["web-a1"]
    assert completed("lab", "logs", "--name", "one", "") == ["a1"]
    assert completed("lab", "switch", "--name", "other", "b") == ["blue"]


def test_down_all_ends_all_labs(tmp_path: Path) -> None:
    for name in ("one", "two"):
        labs.up(topology(edited(tmp_path)), name, keep=True)
    assert bgpctl("lab", "down", "--all").exit_code == 0
    assert labs.lab_names() == []
    assert bgpctl("lab", "down", "--all", "--name", "one").exit_code == 2


def test_without_the_docker_sdk_a_lab_of_containers_names_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "bgpctl.lab.containers", None)
    with pytest.raises(RuntimeError, match=r"pip install 'bgpctl\[compose\]'"):
        runtime.of(runtime.COMPOSE)
    assert runtime.of(runtime.NETNS).word == runtime.NETNS


@pytest.mark.parametrize("key", ["runtime", "cells"])
def test_a_lab_whose_engine_is_away_stays_until_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    made = labs.up(topology(edited(tmp_path)), "mine", keep=False)
    record = made.directory / "lab.json"
    found = json.loads(record.read_text())
    found["owner"]["started"] = -1
    before = {name: value for name, value in found.items() if name != "runtime"}
    record.write_text(json.dumps({**before, key: runtime.COMPOSE}))
    monkeypatch.setitem(sys.modules, "bgpctl.lab.containers", None)
    assert labs.remove_orphans() == []
    assert labs.lab_names() == ["mine"]
    record.write_text(json.dumps(found))
    assert labs.remove_orphans() == ["mine"]
