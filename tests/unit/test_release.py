"""The section of CHANGELOG.md that `make release` takes for a version."""

from __future__ import annotations

import pytest

from tools import release

LOG = (
    "# Changelog\n\n## [Unreleased]\n\n- new\n\n## [0.2.0] - 2026-12-01\n\n- two\n\n## [0.1.0] - 2026-11-01\n\n- one\n"
)


def test_a_tagged_version_has_its_own_section() -> None:
    assert release.section(LOG, "0.2.0") == "## [0.2.0] - 2026-12-01\n\n- two\n\n"
    assert release.section(LOG, "0.1.0").endswith("- one\n")


def test_a_version_between_tags_has_what_is_not_released() -> None:
    for version in ("0.2.1.dev3+g0123abc", "0.2.0+d20261201"):
        assert release.section(LOG, version) == "## [Unreleased]\n\n- new\n\n"


def test_a_tagged_version_without_a_section_is_no_release() -> None:
    with pytest.raises(release.Failed, match=r"no section \[0\.3\.0\]"):
        release.section(LOG, "0.3.0")


def test_the_shipped_changelog_has_a_section_for_what_is_not_released() -> None:
    text = (release.PROJECT / "CHANGELOG.md").read_text()
    assert release.section(text, "0.1.dev1").startswith("## [Unreleased]")


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["floppy"]) == 2
    assert "floppy" in capsys.readouterr().err
