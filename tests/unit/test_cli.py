"""Answers of the command line, and their exit codes."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from bgpctl import client
from bgpctl.agent import operator_commands
from bgpctl.agent.api import Api
from bgpctl.agent.errors import BadRequest, NotNow
from bgpctl.agent.snapshot import Snapshot
from bgpctl.agent.views import VIEWS, answer
from bgpctl.cli.completion import SHELLS
from bgpctl.cli.main import main
from bgpctl.cli.render import age
from bgpctl.core.agent.events import (
    DrainRequested,
    Event,
    IntentRejected,
    KernelLost,
    PeerRequested,
    RefreshRequested,
    WakeAt,
)
from bgpctl.core.cluster.problems import Place, Problem
from bgpctl.ports import Loaded, Store
from bgpctl.store import texts
from tests.stories.mesh import B1, converged

ROOT = Path(__file__).parents[2]


def bgpctl(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_every_view_is_shown_as_a_table_as_json_and_as_yaml(tmp_path: Path, view: str) -> None:
    play = converged()
    api = Api(tmp_path / "agent.sock", lambda name, query: answer(name, Snapshot(play.state, play.now_s, query)))
    try:
        table = bgpctl("show", "--run-dir", tmp_path, view)
        as_json = bgpctl("show", "--run-dir", tmp_path, view, "-o", "json")
        as_yaml = bgpctl("show", "--run-dir", tmp_path, view, "-o", "yaml")
    finally:
        api.close()
    assert (table.exit_code, as_json.exit_code, as_yaml.exit_code) == (0, 0, 0)
    assert json.loads(as_json.output)["schema"] == client.schema(view)
    assert as_yaml.output.startswith(f"schema: {client.schema(view)}")
    header = table.output.splitlines()[0].replace("rx/best/fib", "").replace("(1h)", "")
    assert header.strip()
    assert header == header.upper()


def test_the_plan_of_a_cluster_lists_nodes_that_are_alike_together_and_counts_them_all(tmp_path: Path) -> None:
    before, after = ROOT / "topologies" / "cross-subnet.yaml", tmp_path / "next.yaml"
    after.write_text(before.read_text().replace("IPIPCrossSubnet", "IPIP"))
    result = bgpctl("plan", "--from", before, "--to", after)
    assert result.exit_code == 1, result.output
    assert [line for line in result.output.splitlines() if not line.startswith("  ~ nexthop")] == [
        "a1  cutover",
        "  = a2, b1, b2: the same, with their own addresses",
        "0 to put, 4 to change, 0 to remove on 4 nodes. Worst: atomic replace.",
    ]
    alone = bgpctl("plan", "--from", before, "--to", after, "--node", "a2")
    assert alone.output.splitlines()[0] == "a2  cutover"
    assert alone.output.splitlines()[-1] == "0 to put, 1 to change, 0 to remove on 1 node. Worst: atomic replace."


def test_a_plan_after_which_nodes_lose_each_other_exits_6_with_the_cause(tmp_path: Path) -> None:
    before, after = ROOT / "topologies" / "cross-subnet.yaml", tmp_path / "next.yaml"
    after.write_text(f"{before.read_text()}mesh: false\n")
    result = bgpctl("plan", "--from", before, "--to", after)
    assert result.exit_code == 6, result.output
    assert [line for line in result.output.splitlines() if "warning" not in line][-4:] == [
        "- a1: 3 BGP sessions with a2, b1, b2",
        "  = a2, b1, b2: as many, with their own peers",
        "! 12 pairs lose each other: a1 to a2, …: no BGP session brings routes of a2 to a1 (mesh: false)",
        "0 to put, 0 to change, 24 to remove on 4 nodes. Worst: packets are lost.",
    ]
    assert "  - route 10.244.2.0/26 nhid 1122696311                              packets are lost" in result.output


def test_of_many_nodes_that_are_alike_a_plan_names_the_first_and_counts_the_others(tmp_path: Path) -> None:
    files = [tmp_path / "before.yaml", tmp_path / "after.yaml"]
    nodes = "".join(f"  n{i:02}: {{address: 10.0.0.{i}/24, blocks: [10.244.{i}.0/26]}}\n" for i in range(1, 21))
    for file, encapsulation in zip(files, ("IPIP", "IPIPCrossSubnet"), strict=True):
        file.write_text(f"pools: {{blue: {{cidr: 10.244.0.0/16, encapsulation: {encapsulation}}}}}\nnodes:\n{nodes}")
    result = bgpctl("plan", "--from", files[0], "--to", files[1])
    (line,) = [line for line in result.output.splitlines() if line.startswith("  =")]
    names = ", ".join(f"n{i:02}" for i in range(2, 14))
    assert line == f"  = {names}, 7 more: the same, with their own addresses"


def test_without_an_agent_show_exits_3_and_names_the_command_that_starts_one(tmp_path: Path) -> None:
    result = bgpctl("show", "--run-dir", tmp_path, "summary", "-o", "json")
    assert result.exit_code == 3
    assert "bgpctl agent run" in result.output


@pytest.mark.parametrize("view", ["peers", "plan"])
def test_an_agent_of_another_version_is_named_as_one(tmp_path: Path, view: str) -> None:
    where = ("--run-dir", tmp_path)
    commands = {"peers": ("show", *where, "peers"), "plan": ("plan", *where, "-f", ROOT / "topologies" / "vxlan.yaml")}
    api = Api(tmp_path / "agent.sock", lambda name, _query: {"schema": f"bgpctl/{name}/v1", name: [{"trouble": ""}]})
    try:
        result = bgpctl(*commands[view])
    finally:
        api.close()
    assert result.exit_code == 3
    assert f"of another version: it answered bgpctl/{view}/v1, this bgpctl reads {client.schema(view)}" in result.output
    assert "start one with" not in result.output


def test_a_refused_edit_stands_beside_the_state(tmp_path: Path) -> None:
    play = converged()
    play.give(IntentRejected((Problem(Place("cluster.yaml", 12, 15), "pools.blue", "both modes set", "both"),)))
    api = Api(tmp_path / "agent.sock", lambda name, query: answer(name, Snapshot(play.state, play.now_s, query)))
    try:
        lines = bgpctl("show", "--run-dir", tmp_path, "summary").output.splitlines()
    finally:
        api.close()
    assert lines[1].endswith("converged 0s, cluster file rejected")
    assert (
        lines[2]
        == "! cluster file rejected, the previous one stays in force: cluster.yaml:12:15: pools.blue: both modes set"
    )


@pytest.mark.parametrize("words", [("routes", "10.244.1.1/24"), ("rib", "in", "10.244.1.1/24"), ("routes", "blue")])
def test_a_bad_prefix_exits_2_with_the_reason(tmp_path: Path, words: tuple[str, ...]) -> None:
    play = converged()
    api = Api(tmp_path / "agent.sock", lambda name, query: answer(name, Snapshot(play.state, play.now_s, query)))
    try:
        result = bgpctl("show", "--run-dir", tmp_path, *words)
    finally:
        api.close()
    assert result.exit_code == 2
    assert words[-1] in result.output


def test_waiting_for_convergence_ends_with_it_or_with_the_time(tmp_path: Path) -> None:
    play = converged()
    api = Api(tmp_path / "agent.sock", lambda name, query: answer(name, Snapshot(play.state, play.now_s, query)))
    try:
        assert bgpctl("show", "--run-dir", tmp_path, "summary", "--wait", "60s").exit_code == 0
        play.give(KernelLost("gone")).expect(WakeAt(play.in_s(1)))
        late = bgpctl("show", "--run-dir", tmp_path, "summary", "--wait", "300ms")
        assert bgpctl("show", "--run-dir", tmp_path, "summary", "--wait", "soon").exit_code == 2
    finally:
        api.close()
    assert late.exit_code == 4
    assert "degraded" in late.output
    assert bgpctl("show", "--run-dir", tmp_path, "summary", "--wait", "300ms").exit_code == 3


# What is asked of a running agent ------------------------------------------------------------------------------


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[list[Event]]:
    """The events that reached the agent of a converged node that listens in `tmp_path`."""
    taken: list[Event] = []
    play = converged()

    def act(verb: str, query: Mapping[str, str]) -> dict[str, Any]:
        taken.extend(operator_commands.events(verb, play.state, query))
        return {}

    api = Api(tmp_path / "agent.sock", lambda name, query: answer(name, Snapshot(play.state, play.now_s, query)), act)
    yield taken
    api.close()


@pytest.mark.parametrize(
    ("words", "event"),
    [
        (("peer", "down", "b1"), PeerRequested(B1, up=False)),
        (("peer", "down", str(B1)), PeerRequested(B1, up=False)),
        (("peer", "up", "b1"), PeerRequested(B1, up=True)),
        (("peer", "refresh", "b1"), RefreshRequested(B1)),
        (("drain",), DrainRequested(on=True)),
        (("undrain",), DrainRequested(on=False)),
    ],
)
def test_requests_of_the_operator_reach_the_agent(
    tmp_path: Path, asked: list[Event], words: tuple[str, ...], event: Event
) -> None:
    noun, *rest = words
    assert bgpctl(noun, "--run-dir", tmp_path, *rest).exit_code == 0
    assert asked == [event]


def test_an_unknown_peer_exits_2_and_asks_no_peer(tmp_path: Path, asked: list[Event]) -> None:
    result = bgpctl("peer", "--run-dir", tmp_path, "down", "b9")
    assert (result.exit_code, asked) == (2, [])
    assert "no peer b9; see: bgpctl show peers" in result.output


def test_an_agent_that_is_away_is_asked_nothing(tmp_path: Path) -> None:
    assert bgpctl("drain", "--run-dir", tmp_path).exit_code == 3


_OTHER_USER = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
connection.sendall(b"POST /v1/drain HTTP/1.0\\r\\n\\r\\n")
print(connection.recv(100).split()[1].decode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root: to become another user")
def test_only_root_and_the_agents_user_may_ask(asked: list[Event], tmp_path: Path) -> None:
    for directory in (tmp_path, *tmp_path.parents):
        if directory.is_relative_to(tempfile.gettempdir()) and str(directory) != tempfile.gettempdir():
            directory.chmod(0o755)
    command = ("python3", "-I", "-c", _OTHER_USER, str(tmp_path / "agent.sock"))
    result = subprocess.run(command, user=65534, capture_output=True, text=True, check=True, cwd="/")
    assert (result.stdout, asked) == ("403\n", [])


def test_a_variable_stands_in_for_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BGPCTL_SHOW_RUN_DIR", str(tmp_path))
    assert str(tmp_path) in bgpctl("show", "summary").output


@pytest.mark.parametrize("words", [("show", "summary"), ("drain",), ("undrain",), ("peer", "up", "b1")])
def test_one_variable_names_the_agents_socket_for_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("BGPCTL_RUN_DIR", str(tmp_path))
    assert str(tmp_path) in bgpctl(*words).output


def test_a_good_file_is_valid_and_a_bad_one_exits_2(tmp_path: Path) -> None:
    assert bgpctl("validate", "-f", ROOT / "topologies" / "cross-subnet.yaml").exit_code == 0
    bad = tmp_path / "cluster.yaml"
    bad.write_text("calico_backend: birds\npools: {blue: {}}\n")
    result = bgpctl("validate", "-f", bad)
    assert result.exit_code == 2
    assert f"{bad}:1:17: calico_backend:" in result.output
    assert "2 problems" in result.output


def test_problems_as_json_have_their_place_rule_and_severity_and_the_exit_code_stays(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("pools: {p: {cidr: 10.244.0.0/16, ipipMode: always, blockSize: 19}}\n")
    result = bgpctl("validate", "-f", file, "-o", "json")
    assert result.exit_code == 2
    assert json.loads(result.output) == {
        "schema": "bgpctl/validate/v1",
        "ok": False,
        "problems": [
            {
                "file": str(file),
                "line": 1,
                "column": 44,
                "path": "pools.p.ipipMode",
                "message": "an old spelling of Always",
                "rule": "old-spelling",
                "severity": "info",
            },
            {
                "file": str(file),
                "line": 1,
                "column": 63,
                "path": "pools.p.blockSize",
                "message": "blockSize 19 is not from 20 to 32, as IPv4 needs",
                "rule": "block-size",
                "severity": "error",
            },
        ],
    }


def test_warnings_and_notes_are_printed_with_their_place_and_the_file_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(
        "mesh: false\npools: {p: {cidr: 10.244.0.0/16, ipipMode: always}}\n"
        "nodes: {a: {address: 10.0.0.1/24}, b: {address: 10.0.0.2/24}}\n"
    )
    result = bgpctl("validate", "-v", "-f", file)
    assert result.exit_code == 0
    assert f"{file}:2:9: warning: pools.p: blocks of pool p travel by BGP" in result.output
    assert f"{file}:2:44: note: pools.p.ipipMode: an old spelling of Always" in result.output
    assert "valid: 2 nodes, 1 pool, 0 peers; 1 warning, 1 note" in result.output
    as_json = json.loads(bgpctl("validate", "-f", file, "-o", "json").output)
    assert (as_json["ok"], [problem["severity"] for problem in as_json["problems"]]) == (True, ["warning", "info"])
    brief = bgpctl("validate", "-f", file)
    assert "note:" not in brief.output
    assert brief.output.endswith("valid: 2 nodes, 1 pool, 0 peers; 1 warning, 1 note (notes: -v)\n")


def test_a_lab_file_is_validated_with_its_lab(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text((ROOT / "topologies" / "cross-subnet.yaml").read_text().replace("{node: a1,", "{node: a9,"))
    result = bgpctl("validate", "-f", file, "-o", "yaml")
    assert result.exit_code == 2
    assert "a9 is not a node of this file" in result.output


def test_an_agent_for_a_node_that_the_file_does_not_have_exits_2_and_names_the_nodes() -> None:
    result = bgpctl("agent", "run", "--node", "a9", "-f", ROOT / "topologies" / "cross-subnet.yaml")
    assert result.exit_code == 2
    assert "a1, a2, b1, b2" in result.output


def test_an_agent_understands_its_file_once_after_the_collector_was_told_to_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thresholds: list[int] = []
    loaded: list[Loaded] = []

    understand = texts.Reader.understand

    def understood(reader: texts.Reader, paths: Sequence[Path], read: texts.Texts) -> Loaded:
        thresholds.append(gc.get_threshold()[0])
        return understand(reader, paths, read)

    def run(_node: str, store: Store, *_: object, **__: object) -> None:
        loaded.append(store.load())
        file.write_text(file.read_text().replace("10.244.1.0/26", "10.244.9.0/26"))
        loaded.append(store.load())

    file = tmp_path / "cluster.yaml"
    file.write_text((ROOT / "topologies" / "vxlan.yaml").read_text())
    monkeypatch.setattr("bgpctl.store.file.Reader.understand", understood)
    monkeypatch.setattr("bgpctl.agent.wiring.run", run)
    before = gc.get_threshold()
    try:
        gc.set_threshold(700, 10, 10)
        assert bgpctl("agent", "run", "--node", "a1", "-f", file, "--run-dir", tmp_path).exit_code == 0
    finally:
        gc.set_threshold(*before)
    assert thresholds == [500_000, 500_000]  # the second for what was edited meanwhile
    assert loaded[0] != loaded[1]


def test_a_run_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = bgpctl("cleanup", "--run-dir", tmp_path / "file" / "below")
    assert result.exit_code == 6
    assert f"cannot use the run directory {tmp_path / 'file' / 'below'}" in result.output


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (41, "41s"), (1315, "21m55s"), (11045, "3h04m"), (1054800, "12d05h")]
)
def test_ages_read_at_a_glance(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_doctor_needs_a_node_with_a_file() -> None:
    result = CliRunner().invoke(main, ["doctor", "--node", "a1"])
    assert (result.exit_code, "--file and --node go together" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("shw", "peers"), "Did you mean 'show'?"),
        (("valdiate", "x.yaml"), "Did you mean 'validate'?"),
        (("show", "summry"), "Did you mean 'summary'?"),
        (("lab", "upp", "x.yaml"), "Did you mean 'up'?"),
        (("agent", "journl"), "Did you mean 'journal'?"),
        (("--versoin",), "Did you mean '--version'?"),
        (("validate", "--elswhere"), "Did you mean '--elsewhere'?"),
    ],
)
def test_a_mistyped_command_or_option_has_the_nearest_one_named(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], meant: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    result = bgpctl(*words)
    assert (result.exit_code, meant in result.output) == (2, True), result.output


def test_a_command_like_no_other_has_none_named() -> None:
    result = bgpctl("qqqq")
    assert (result.exit_code, "Did you mean" in result.output) == (2, False)


def commands_with(*names: str) -> Iterator[tuple[str, click.Option]]:
    """Every option of these names of every command, with the command."""

    def below(context: click.Context) -> Iterator[tuple[str, click.Option]]:
        command = context.command
        for option in command.params:
            if isinstance(option, click.Option) and {*option.opts, *option.secondary_opts} & {*names}:
                yield context.command_path, option
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner
                yield from below(click.Context(inner, info_name=name, parent=context))

    return below(click.Context(main, info_name="bgpctl"))


def test_options_that_mean_the_same_are_spelled_alike_everywhere() -> None:
    files = list(commands_with("-f", "--file"))
    assert len(files) > 10
    assert {tuple(option.opts) for _, option in files} == {("-f", "--file")}
    waits = list(commands_with("--wait", "--timeout"))
    assert {name for name, _ in waits} >= {"bgpctl apply", "bgpctl lab up", "bgpctl lab run", "bgpctl show summary"}
    spelled = {(tuple(option.opts), option.metavar, option.name) for _, option in waits}
    assert spelled == {(("--wait", "--timeout"), "TIME", "within_s")}
    assert {option.metavar for _, option in commands_with("--node")} == {"NAME"}
    assert {option.metavar for _, option in commands_with("--name")} == {"LAB"}


@pytest.mark.parametrize("command", ["validate", "verify"])
def test_a_file_may_be_an_argument(command: str) -> None:
    file = ROOT / "topologies" / "vxlan.yaml"
    alike = [bgpctl(command, *words) for words in ((file,), ("-f", file))]
    assert [result.exit_code for result in alike] == [0, 0]
    assert alike[0].output == alike[1].output


def test_without_a_file_validate_names_both_spellings() -> None:
    result = bgpctl("validate")
    assert (result.exit_code, "FILE, or -f FILE" in result.output) == (2, True)


def test_refusals_at_run_time_are_no_usage_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[Event]
) -> None:
    file = ROOT / "topologies" / "vxlan.yaml"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for words, code, reason in (
        (("lab", "list"), 6, "labs need root"),
        (("keys", "node", "a1", "--keys", tmp_path), 6, ""),
        (("explain", "10.9.9.9", "a1", "-f", file), 2, "10.9.9.9 is no address of a node"),
        (("render", "exabgp", "--node", "z9", "-f", file), 2, "z9 is not a node"),
        (("show", "--run-dir", tmp_path, "neighbor", "b9"), 2, "no session with b9"),
        (("peer", "--run-dir", tmp_path, "down", "b9"), 2, "no peer b9"),
    ):
        result = bgpctl(*words)
        assert (result.exit_code, "Usage:" in result.output, reason in result.output) == (code, False, True), words
    assert asked == []


def test_what_an_agent_cannot_do_now_exits_6_and_what_is_no_request_exits_2(tmp_path: Path) -> None:
    def act(verb: str, _query: Mapping[str, str]) -> dict[str, Any]:
        raise NotNow("no change waits to be confirmed") if verb == "confirm" else BadRequest("no such thing")

    api = Api(tmp_path / "agent.sock", lambda _name, _query: {}, act)
    try:
        not_now, bad = bgpctl("confirm", "--run-dir", tmp_path), bgpctl("drain", "--run-dir", tmp_path)
    finally:
        api.close()
    assert (not_now.exit_code, not_now.output) == (6, "Error: no change waits to be confirmed\n")
    assert (bad.exit_code, bad.output) == (2, "Error: no such thing\n")


def test_apply_waits_for_its_own_generation_and_exits_4_if_that_takes_too_long(tmp_path: Path) -> None:
    file, generations = ROOT / "topologies" / "vxlan.yaml", iter([1, 1, 2])

    def read(name: str, _query: Mapping[str, str]) -> dict[str, Any]:
        if name == "plan":
            return {"schema": client.schema("plan"), "nodes": []}
        return {"converged": True, "generation": next(generations, 2), "state": "converged"}

    api = Api(tmp_path / "agent.sock", read, lambda *_: {"files": ["cluster.yaml"], "generation": 2})
    try:
        done = bgpctl("apply", file, "--run-dir", tmp_path, "--wait", "20s")
        left = list(generations)
        generations = iter([1] * 100_000)
        late = bgpctl("apply", "-f", file, "--run-dir", tmp_path, "--timeout", "300ms")
    finally:
        api.close()
    assert (done.exit_code, left) == (0, []), done.output
    assert late.exit_code == 4
    assert "not converged within 0.3 s; see: bgpctl show summary" in late.output


def completed(*words: str) -> list[str]:
    """The offers of a shell for the last word."""
    *before, last = words
    return [item.value for item in ShellComplete(main, {}, "bgpctl", "_X").get_completions(before, last)]


def test_peers_and_nodes_of_the_agent_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play = converged()
    api = Api(tmp_path / "agent.sock", lambda name, query: answer(name, Snapshot(play.state, play.now_s, query)))
    where = ("--run-dir", str(tmp_path))
    try:
        assert completed("show", *where, "neighbor", "") == ["a2", "b1", "b2"]
        assert completed("peer", *where, "down", "b") == ["b1", "b2"]
        assert completed("plan", *where, "--node", "") == ["a1", "a2", "b1", "b2"]
        monkeypatch.setenv("BGPCTL_RUN_DIR", str(tmp_path))
        assert completed("peer", "up", "a") == ["a2"]
    finally:
        api.close()
    assert completed("peer", "up", "a") == []


def test_nodes_of_files_are_completed(tmp_path: Path) -> None:
    file = str(ROOT / "topologies" / "vxlan.yaml")
    assert completed("agent", "run", "-f", file, "--node", "a") == ["a1", "a2"]
    assert completed("explain", "-f", file, "b") == ["b1", "b2"]
    assert completed("plan", "--to", file, "--node", "b") == ["b1", "b2"]
    bad = tmp_path / "bad.yaml"
    bad.write_text("nodes: 7")
    assert completed("render", "exabgp", "-f", str(bad), "--node", "") == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("bgpctl compl", "completion"),
        ("bgpctl show --ru", "--run-dir"),
        ("bgpctl lab switch blue VXLANC", "VXLANCrossSubnet"),
    ],
)
def test_bash_completes_commands_options_and_values_by_the_script(words: str, found: str) -> None:
    last = len(words.split()) - 1
    asked = f"COMP_WORDS=({words}); COMP_CWORD={last}; _bgpctl_completion bgpctl; echo ${{COMPREPLY[@]}}"
    script = bgpctl("completion", "bash").stdout
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ("bash", "-c", f"{script}\n{asked}")
    shown = subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=True)
    assert shown.stdout.split() == [found], shown.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_a_script_that_asks_bgpctl(shell: str) -> None:
    assert f"_BGPCTL_COMPLETE={shell}_complete" in bgpctl("completion", shell).stdout
