"""`bgpctl workload` as a user meets it: requests that are refused before anything is read, and what is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from bgpctl.attach import ledger_file
from bgpctl.cli import render
from bgpctl.cli.main import main
from bgpctl.core.ipam.ledger import Ledger, Request, Workload
from bgpctl.core.net.addresses import Address, Mac

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "topologies" / "vxlan.yaml"
LONG = "a-workload-with-a-rather-long-name.of-a-team"
ADDRESSES = tuple(map(Address.parse, ("10.244.100.200", "fd00:1234:5678:9abc:def0:1234:5678:9abc")))


def workload(directory: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["workload", "--state-dir", str(directory), *words])


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A ledger with one workload, of which nothing is in the kernel."""
    request = Request(LONG, "ns", ("blue", "six"), labels=(("app", "db"), ("team", "storage")))
    found = Workload(request, "cali0123456789a", Mac("0a:00:00:00:00:01"), ADDRESSES, 1450, 0.0, complete=True)
    with ledger_file.locked(tmp_path / "state") as file:
        file.write(Ledger("a1", {LONG: found}))
    return tmp_path / "state"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("db", "--netns", "db"), "--pool or --ip is needed"),
        (("Db", "--netns", "db", "--pool", "blue"), "Db is not a DNS name"),
        (("db", "--pool", "blue"), "Missing option '--netns'"),
        (("db", "--netns", "db", "--ip", "10.0.0"), "does not appear to be an IPv4 or IPv6 address"),
        (("db", "--netns", "db", "--pool", "blue", "--mac", "01:00:00:00:00:01"), "not a unicast MAC address"),
        (("db", "--netns", "db", "--pool", "blue", "--mac", "eth0"), "not a unicast MAC address"),
        (("db", "--netns", "db", "--pool", "blue", "--dev", "a/b"), "'a/b' is no name for a link"),
        (("db", "--netns", "db", "--pool", "blue", "--dev", "lo"), "'lo' is no name for a link"),
        (("db", "--netns", "db", "--pool", "blue", "--label", "app"), "'app' is no label, such as app=db"),
        (("db", "--netns", "db", "--pool", "blue", "--node", "c9"), "c9 is not a node of"),
    ],
)
def test_a_request_that_makes_no_sense_exits_2_and_leaves_nothing(
    tmp_path: Path, words: tuple[str, ...], text: str
) -> None:
    result = workload(tmp_path / "state", "add", *words, "-f", str(CLUSTER))
    assert (result.exit_code, text in result.output) == (2, True), result.output
    assert not (tmp_path / "state").exists()


def test_a_cluster_file_with_an_error_exits_2_with_its_place(tmp_path: Path) -> None:
    bad = tmp_path / "cluster.yaml"
    bad.write_text("pools: {blue: {cidr: 10.244.0.0/99}}\n")
    result = workload(
        tmp_path / "state", "add", "db", "--netns", "db", "--pool", "blue", "-f", str(bad), "--node", "a1"
    )
    assert (result.exit_code, f"{bad}:1:22: pools.blue.cidr" in result.output) == (2, True), result.output


def test_the_files_and_the_node_are_those_of_the_agents_variables(tmp_path: Path) -> None:
    variables = {
        "BGPCTL_AGENT_RUN_FILES": str(CLUSTER),
        "BGPCTL_AGENT_RUN_NODE": "c9",
        "BGPCTL_STATE_DIR": str(tmp_path),
    }
    result = CliRunner().invoke(main, ["workload", "add", "db", "--netns", "db", "--pool", "blue"], env=variables)
    assert f"c9 is not a node of {CLUSTER}" in result.output


def test_without_a_ledger_there_are_no_workloads(tmp_path: Path) -> None:
    result = workload(tmp_path / "state", "list", "-o", "json")
    assert (result.exit_code, json.loads(result.output)["workloads"]) == (0, [])
    assert not (tmp_path / "state").exists()


def test_a_workload_that_is_not_there_is_listed_as_absent_with_what_to_do(state: Path) -> None:
    (row,) = json.loads(workload(state, "list", "-o", "json").output)["workloads"]
    assert (row["name"], row["addresses"], row["state"]) == (LONG, [str(address) for address in ADDRESSES], "absent")
    assert "add it again, or delete it" in row["reason"]
    assert yaml.safe_load(workload(state, "show", LONG, "-o", "yaml").output) == {
        "schema": "bgpctl/workload/v1",
        **row,
        "age_s": pytest.approx(row["age_s"], abs=60),
    }
    assert "app=db, team=storage" in workload(state, "show", LONG).output


def test_the_list_fits_eighty_columns_with_whole_names_and_addresses(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "terminal_width", lambda: 80)
    lines = workload(state, "list").output.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(any(str(text) in line for line in lines) for text in (LONG, *ADDRESSES, "absent:"))


def test_a_name_that_is_not_known_is_an_error_to_show_and_none_to_delete(state: Path) -> None:
    shown = workload(state, "show", "web")
    assert (shown.exit_code, "there is no workload web; see: bgpctl workload list" in shown.output) == (2, True)
    deleted = workload(state, "del", "web", "api")
    assert (deleted.exit_code, deleted.output) == (0, "there is no workload web\nthere is no workload api\n")


def test_a_damaged_ledger_exits_6_with_its_name(state: Path) -> None:
    (state / "workloads.json").write_text("{")
    for words in (("list",), ("show", LONG), ("del", LONG)):
        result = workload(state, *words)
        assert (result.exit_code, f"{state}/workloads.json is damaged" in result.output) == (6, True)


def test_a_path_of_a_namespace_is_seen_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("db", "--netns", "./nowhere", "--pool", "blue", "-f", str(CLUSTER), "--node", "a1")
    result = workload(tmp_path / "state", "add", *words)
    assert (result.exit_code, f"there is no network namespace {tmp_path}/nowhere;" in result.output) == (2, True)
