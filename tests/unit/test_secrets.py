"""Files with passwords that are named and not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from bgpctl.cli.main import main
from bgpctl.ports import NotPossibleNow, Store
from bgpctl.process.clock import LinuxClock
from bgpctl.store.file import FileStore
from bgpctl.store.texts import proposal_of, read_texts

SHORT = """
pools: {blue: {cidr: 10.244.0.0/16}}
nodes: {a1: {address: 10.0.0.1/24, blocks: [10.244.1.0/26]}, a2: {address: 10.0.0.2/24}}
nodeMeshPasswordFile: mesh
peers:
  tor: {ip: 10.0.0.254, asNumber: 65001, passwordFile: secrets/tor}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "cluster.yaml"
    made.write_text(SHORT)
    (tmp_path / "mesh").write_text("secret")
    return made


def test_a_password_file_that_is_missing_is_an_error_with_its_place(file: Path) -> None:
    found = CliRunner().invoke(main, ["validate", "-f", str(file)])
    assert found.exit_code == 2
    place = f"{file}:6:56: peers.tor.passwordFile"
    assert f"{place}: there is no file {file.parent / 'secrets/tor'}\n" in found.output
    elsewhere = CliRunner().invoke(main, ["validate", "--elsewhere", "-f", str(file)])
    assert elsewhere.exit_code == 0
    assert "warning: peers.tor.passwordFile: there is no file" in elsewhere.output


def test_a_password_file_that_is_there_is_no_error_and_a_directory_is_one(file: Path) -> None:
    (file.parent / "secrets").mkdir()
    (file.parent / "secrets" / "tor").write_text("secret")
    assert CliRunner().invoke(main, ["validate", "-f", str(file)]).exit_code == 0
    (file.parent / "mesh").unlink()
    (file.parent / "mesh").mkdir()
    found = CliRunner().invoke(main, ["validate", "-f", str(file)])
    assert f"nodeMeshPasswordFile: {file.parent / 'mesh'} is a directory, and no file" in found.output


def test_a_proposal_misses_the_files_that_its_node_needs_beside_the_agents_own_file(file: Path, tmp_path: Path) -> None:
    store: Store = FileStore([file], LinuxClock())
    draft = tmp_path / "elsewhere" / "draft.yaml"
    draft.parent.mkdir()
    draft.write_text(SHORT)
    proposal = proposal_of(read_texts([draft]))
    needed = {str(file.parent / "mesh"), str(file.parent / "secrets/tor")}
    (problem,) = store.missing(proposal, needed)
    assert (problem.place.file, problem.place.line, problem.rule) == (str(file), 6, "file-missing")
    assert store.missing(proposal, needed - {str(file.parent / "secrets/tor")}) == ()
    with pytest.raises(NotPossibleNow):
        store.missing(proposal_of(()), needed)
