"""Blocks of documents are tried by a test or are no command; the reference is what the program prints."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bgpctl.cli.exits import Exit
from tests.docs.blocks import (
    ANY_LINES,
    COMMANDS,
    CONTAINERS,
    DOCUMENTS,
    HOSTS,
    KINDS,
    ROOT,
    Block,
    blocks,
    commands,
    shows,
)
from tests.service import UNIT, Unit

BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_block_names_its_kind(document: Path) -> None:
    found = blocks(document)
    assert 2 * len(found) == len(re.findall(r"^ *```", document.read_text(), re.MULTILINE))
    assert [str(block) for block in found if block.kind not in KINDS] == []


def test_commands_are_shown_where_they_are_executed() -> None:
    def is_command(block: Block) -> bool:
        return (
            re.search(r"^ *(\$ |bgpctl |make |systemctl |sudo |docker |podman )", block.text, re.MULTILINE) is not None
        )

    executed = COMMANDS, CONTAINERS, HOSTS
    assert [str(block) for block in BLOCKS if is_command(block) and block.kind not in executed] == []
    assert [str(block) for block in BLOCKS if block.kind in (COMMANDS, HOSTS) and not list(commands(block))] == []


def test_shown_output_was_printed_up_to_varying_parts() -> None:
    printed = ["x: done in 3.1 s", "a  b", "c 7", "web-a1  web-b1  v4  493  0     0          23.3 ms", ""]
    assert shows(["x: done in 12.85 s", ANY_LINES, "web-a1 web-b1 v4  501   0  0   1.0 ms"], printed)
    assert not shows(["x: done in 12.85 s", ANY_LINES, "web-a1 web-b1 v4  501   1  0   1.0 ms"], printed)
    assert not shows(["x: done in 12.85 s", "a b"], printed)
    assert not shows(["x: done in 12.85 s", "c 7", ANY_LINES], printed)


def test_the_reference_is_what_the_program_prints(tmp_path: Path) -> None:
    subprocess.run((sys.executable, ROOT / "tools" / "reference.py", tmp_path), check=True)
    for page in ("cli.md", "keys.md"):
        shipped = (ROOT / "docs" / "reference" / page).read_text()
        assert (tmp_path / page).read_text() == shipped, "make reference"


def test_the_man_pages_are_the_help_that_the_program_prints(tmp_path: Path) -> None:
    subprocess.run((sys.executable, ROOT / "tools" / "man.py", tmp_path), check=True)
    shipped = {page.name: page.read_text() for page in (ROOT / "packaging" / "man").glob("*.1")}
    assert {page.name: page.read_text() for page in tmp_path.glob("*.1")} == shipped, "make reference"
    assert "bgpctl-lab.1" in shipped


@pytest.mark.skipif(not shutil.which("man"), reason="man")
def test_man_understands_every_line_of_the_pages_and_fits_them_into_80_columns() -> None:
    pages = sorted((ROOT / "packaging" / "man").glob("*.1"))
    environment = {"PATH": os.environ["PATH"], "MANWIDTH": "80", "LC_ALL": "C.UTF-8"}
    command = ("man", "--warnings", "-l", *map(str, pages))
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert shown.stderr == ""
    plain = re.sub(r".\x08", "", shown.stdout)
    assert max(map(len, plain.splitlines())) <= 80
    assert re.findall(r"^ +(bgpctl[\w-]*) - ", plain, re.MULTILINE) == [page.stem for page in pages]


def test_the_reference_has_every_exit_code() -> None:
    listed = re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "reference" / "cli.md").read_text(), re.MULTILINE)
    assert listed == [str(code.value) for code in Exit]


def test_the_capabilities_in_documents_are_those_of_the_unit() -> None:
    needed = {f"CAP_{name.upper()}" for name in Unit.read(UNIT).capabilities}
    guide = (ROOT / "docs" / "how-to" / "systemd.md").read_text()
    assert set(re.findall(r"^\| (CAP_\w+) \|", guide, re.MULTILINE)) == needed
    listed = (ROOT / "docs" / "reference" / "host.md").read_text().partition("Capabilities: ")[2]
    assert set(re.findall(r"CAP_\w+", listed)) == {*needed, "CAP_SYS_ADMIN"}
    container = (ROOT / "docs" / "how-to" / "container.md").read_text()
    given = {f"CAP_{name}" for name in re.findall(r"--cap-add ([A-Z_]+)", container)}
    assert given == {*needed, "CAP_SYS_ADMIN"}
    (quadlet,) = (block for block in blocks(ROOT / "docs" / "how-to" / "container.md") if block.kind == "ini")
    assert {
        f"CAP_{name}" for name in re.findall(r"^AddCapability=(.*)", quadlet.text, re.MULTILINE)[0].split()
    } == needed
