"""Topologies as compose files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from bgpctl.cli.main import main
from bgpctl.lab.compose import Inexpressible, export
from bgpctl.lab.labfile import load
from bgpctl.lab.topology import Topology

PROJECT = Path(__file__).parents[2]
COMMAND = [
    *("lab", "export", "compose", "-f", "topologies/cross-subnet.yaml"),
    *("--profile", "vxlan=topologies/compose/vxlan.yaml"),
    *("--profile", "reflectors=topologies/compose/reflectors.yaml"),
    *("--profile", "tor=topologies/compose/tor.yaml"),
]


@pytest.fixture(autouse=True)
def at_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr("os.geteuid", lambda: 0)


def topology(file: str | Path) -> Topology:
    loaded = load(Path(file))
    assert isinstance(loaded, Topology), loaded
    return loaded


def shipped() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(Path("docker-compose.yml").read_text())
    return found


def test_the_shipped_compose_file_is_what_the_command_in_its_first_line_prints() -> None:
    result = CliRunner().invoke(main, COMMAND)
    assert result.exit_code == 0, result.output
    assert Path("docker-compose.yml").read_text() == result.output
    assert result.output.splitlines()[0] == f"# Made by: bgpctl {' '.join(COMMAND)}"


def test_each_profile_adds_its_nodes_and_workloads_and_shares_segments_and_router() -> None:
    found: dict[tuple[str, ...], set[str]] = {}
    for name, service in shipped()["services"].items():
        found.setdefault(tuple(service.get("profiles", ())), set()).add(name)
    nodes = {"": ("a1", "a2", "b1", "b2"), "vxlan": ("v-a1", "v-a2", "v-b1", "v-b2")}
    assert found[()] == {"core", *nodes[""], *(f"web-{node}" for node in nodes[""])}
    assert found["vxlan",] == {*nodes["vxlan"], *(f"web-{node}" for node in nodes["vxlan"])}
    assert len(found["reflectors",]) == 8
    assert found["tor",] == {"tor-a", "tor-b", "t-a1", "t-b1", "web-t-a1", "web-t-b1"}


def test_of_other_daemons_only_bird_is_in_the_image() -> None:
    result = CliRunner().invoke(main, ["lab", "export", "compose", "-f", "topologies/tor-peering.yaml"])
    assert result.exit_code == 2
    assert "router tor-a1: of other daemons only BIRD is in the image" in result.output


def test_only_nodes_can_do_more_than_a_container_usually_can() -> None:
    more = {name: set(service.get("cap_add", ())) for name, service in shipped()["services"].items()}
    assert more["a1"] == {"NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW", "SYS_ADMIN"}
    assert more["core"] == {"NET_ADMIN", "NET_RAW"}
    assert more["web-a1"] == set()
    assert not any("privileged" in service for service in shipped()["services"].values())


def test_no_address_is_given_to_two_and_dockers_gateways_to_none() -> None:
    networks = shipped()["networks"]
    services = shipped()["services"].values()
    for name, network in networks.items():
        taken = [link["ipv4_address"] for s in services for to, link in s["networks"].items() if to == name]
        addresses = [*taken, network["ipam"]["config"][0]["gateway"]]
        assert len(addresses) == len(set(addresses)), name


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("dual-stack", "segment rack-a: a network has one IPv4 subnet"),
        ("borrowed", "one IPv4 address in a block of"),
    ],
)
def test_a_lab_beyond_compose_is_refused(file: str, reason: str) -> None:
    with pytest.raises(Inexpressible, match=reason):
        export(topology(f"topologies/{file}.yaml"), {}, "x")


def test_segments_of_one_name_must_be_the_same_for_all(tmp_path: Path) -> None:
    other = edited(tmp_path, lambda text: text.replace("10.0.0.", "10.9.0."))
    with pytest.raises(Inexpressible, match="rack-a has two different descriptions"):
        export(topology("topologies/cross-subnet.yaml"), {"other": other}, "x")


def edited(tmp_path: Path, edit: Callable[[str], str]) -> Topology:
    file = tmp_path / "edited.yaml"
    file.write_text(edit(Path("topologies/cross-subnet.yaml").read_text()))
    return topology(file)


@pytest.mark.parametrize("value", ["vxlan", "=x.yaml", "vxlan="])
def test_a_profile_is_given_as_name_and_file(value: str) -> None:
    result = CliRunner().invoke(main, [*COMMAND, "--profile", value])
    assert result.exit_code == 2
    assert "expected NAME=FILE" in result.output
