"""`bgpctl render calico` and `short`: what is printed, for people and for the loader."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bgpctl.cli.main import main
from bgpctl.core.cluster.intent import Intent
from bgpctl.store import texts
from tests.documents import SAMPLE
from tests.samples import CALICO, SHORT

TOPOLOGIES = Path(__file__).parents[3] / "topologies"
FORMS = ("calico", "short")


def render(form: str, *files: Path) -> Result:
    return CliRunner().invoke(main, ["render", form, *(word for file in files for word in ("-f", str(file)))])


def intent_of(*files: Path) -> Intent:
    loaded = texts.load(files)
    assert isinstance(loaded, Intent), loaded
    return loaded


def comments(text: str) -> list[str]:
    return [line.removeprefix("# ") for line in text.splitlines() if line.startswith("#")]


def written(directory: Path, text: str, name: str = "cluster.yaml") -> Path:
    file = directory / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("file", sorted(TOPOLOGIES.rglob("*.yaml")), ids=lambda file: file.stem)
def test_each_topology_is_the_same_cluster_in_either_form(file: Path, form: str, tmp_path: Path) -> None:
    assert intent_of(written(tmp_path, render(form, file).stdout)) == intent_of(file)


def test_both_handwritten_forms_render_alike(tmp_path: Path) -> None:
    by_hand = written(tmp_path, SHORT, "short.yaml"), written(tmp_path, CALICO, "calico.yaml")
    for form in FORMS:
        one, other = (render(form, file).stdout.splitlines() for file in by_hand)
        assert [line for line in one if line[0] != "#"] == [line for line in other if line[0] != "#"]


def test_rendering_a_rendered_document_changes_nothing(tmp_path: Path) -> None:
    once = render("short", written(tmp_path, SHORT)).stdout
    again = render("short", written(tmp_path, once)).stdout
    assert again == once


def test_a_derived_value_is_a_comment_and_not_written(tmp_path: Path) -> None:
    text = render("calico", written(tmp_path, SAMPLE)).stdout
    assert "  a1: ipip 10.244.1.0" in comments(text)
    assert "ipv4IPIPTunnelAddr" not in text
    assert "vxlan" not in text.replace("vxlanMode: Never", "")


def test_an_omission_without_effect_is_a_comment(tmp_path: Path) -> None:
    text = SAMPLE + "---\nkind: FelixConfiguration\nmetadata: {name: default}\nspec: {bpfEnabled: true}\n"
    notes = " ".join(comments(render("short", written(tmp_path, text)).stdout))
    assert "without effect here are left out" in notes
    assert "bgpctl validate names each" in notes
    assert "without effect" not in " ".join(comments(render("short", written(tmp_path, SAMPLE)).stdout))


def test_a_rendered_lab_names_the_parts_that_are_lost() -> None:
    text = render("calico", TOPOLOGIES / "vxlan.yaml").stdout
    assert any("segments, routers, workloads, checks" in line for line in comments(text))


@pytest.mark.parametrize(
    ("given", "written_as"),
    [("secrets/tor-a", "secrets/tor-a"), ("../tor-a", "../tor-a"), ("/run/t", "/run/t")],
)
def test_password_files_are_named_so_that_the_result_can_stand_beside_the_file(
    tmp_path: Path, given: str, written_as: str
) -> None:
    file = written(tmp_path / "x", SAMPLE.replace("secrets/tor-a", given))
    text = render("calico", file).stdout
    assert f"passwordFile: {written_as}" in text
    moved = written(tmp_path / "x", text, "calico.yaml")
    assert [Path(str(peer.password_file)).resolve() for peer in intent_of(moved).peers] == [
        Path(str(peer.password_file)).resolve() for peer in intent_of(file).peers
    ]


@pytest.mark.parametrize("form", FORMS)
def test_a_bad_file_is_not_rendered(form: str, tmp_path: Path) -> None:
    result = render(form, written(tmp_path, "calico_backend: birds"))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "cluster.yaml:1:17: calico_backend:" in result.stderr
