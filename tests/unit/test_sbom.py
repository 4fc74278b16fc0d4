"""The software bill of materials: every package of the lock, with its hashes, and the packages of an image."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tools import sbom

LOCK = Path(__file__).parents[2] / "locks" / "image.txt"


def test_every_package_of_the_lock_is_a_part_with_its_hashes(capsys: pytest.CaptureFixture[str]) -> None:
    assert sbom.main(["1.2", str(LOCK)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bomFormat"] == "CycloneDX"
    assert found["metadata"]["component"] == {"type": "application", "name": "bgpctl", "version": "1.2"}
    pinned = re.findall(r"^(\S+)==(\S+)", LOCK.read_text(), re.MULTILINE)
    assert [(item["name"], item["version"]) for item in found["components"]] == pinned
    hashes = [each["content"] for item in found["components"] for each in item["hashes"]]
    assert hashes == re.findall(r"sha256:([0-9a-f]{64})", LOCK.read_text())


def test_the_packages_of_an_image_are_parts_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packages = tmp_path / "packages"
    packages.write_text("bird2 2.0.12-7 amd64\niputils-ping 3:20221126-1+deb12u1 amd64\n")
    assert sbom.main(["1.2", str(LOCK), str(packages)]) == 0
    assert [item["purl"] for item in json.loads(capsys.readouterr().out)["components"][-2:]] == [
        "pkg:deb/debian/bird2@2.0.12-7?arch=amd64",
        "pkg:deb/debian/iputils-ping@3%3A20221126-1%2Bdeb12u1?arch=amd64",
    ]


def test_without_a_lock_the_usage_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert sbom.main([]) == 2
    assert "usage" in capsys.readouterr().err
