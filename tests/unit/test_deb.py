"""The package for Debian: its versions, its service and its scripts; tests/bare installs it."""

from __future__ import annotations

import gzip
import subprocess
from itertools import pairwise

import pytest

from tests.docs.blocks import ROOT
from tests.service import UNIT, Unit
from tools import deb


def test_a_release_sorts_after_its_pre_releases_for_dpkg() -> None:
    order = ["0.1.dev3+g1a2b3c", "0.1.dev4+g0", "0.1", "1.0.dev1", "1.0a1", "1.0b2", "1.0rc1", "1.0", "1.0.post1"]
    versions = [deb.debian_version(version) for version in order]
    for older, newer in pairwise(versions):
        assert subprocess.run(("dpkg", "--compare-versions", older, "lt", newer), check=False).returncode == 0


def test_the_service_is_that_of_the_wheel_by_another_path(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("unit") / UNIT.name
    file.write_bytes(deb.unit())
    ours, theirs = Unit.read(file).settings, Unit.read(UNIT).settings
    assert ours["ExecStart"] == ("/usr/bin/bgpctl agent run",)
    assert {**ours, "ExecStart": ()} == {**theirs, "ExecStart": ()}


def test_the_shell_understands_the_scripts() -> None:
    for name in (*deb.SCRIPTS,):
        assert subprocess.run(("sh", "-n", ROOT / "packaging" / "debian" / name), check=False).returncode == 0


def test_the_package_has_a_page_for_each_command_and_completion_for_each_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    deb.made_at.cache_clear()
    found = deb.files("1.0")
    deb.made_at.cache_clear()
    pages = {f"usr/share/man/man1/{page.name}.gz" for page in (ROOT / "packaging" / "man").glob("*.1")}
    assert pages | set(deb.COMPLETIONS.values()) <= found.keys()
    log = gzip.decompress(found["usr/share/doc/bgpctl/changelog.gz"]).decode()
    assert log.splitlines()[0] == "bgpctl (1.0) bookworm; urgency=medium"
    assert log.splitlines()[-1].endswith("Thu, 01 Jan 1970 00:00:00 +0000")
