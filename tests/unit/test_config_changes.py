"""Answers of an agent to plan, apply, confirm and undo over its socket, and to whom."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from bgpctl import client
from bgpctl.agent import config_changes
from bgpctl.agent.api import Api
from bgpctl.process.clock import LinuxClock
from bgpctl.store.file import FileStore
from tests.stories.mesh import converged

NOW = (Path(__file__).parents[2] / "topologies" / "cross-subnet.yaml").read_text()
NEXT = NOW.replace("IPIPCrossSubnet", "VXLANCrossSubnet")
PRIVATE = "root:$6$salt$hash:20228:0:99999:7:::"
UNPRIVILEGED = 65534


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that every user can read, like the run directory."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def serving(directory: Path, group: int | None = None) -> Api:
    """An agent of node a1."""
    state = converged().state
    file = directory / "cluster.yaml"
    file.write_text(NOW)
    store = FileStore([file], LinuxClock())

    def answer(_view: str, query: Mapping[str, str]) -> dict[str, Any]:
        return config_changes.plan(state, store, query, ())

    def act(verb: str, query: Mapping[str, str]) -> dict[str, Any]:
        return config_changes.edit(verb, state, store, query)

    return Api(directory / client.SOCKET, answer, act, content_group=group)


@pytest.fixture
def socket(directory: Path) -> Iterator[Path]:
    with closing(serving(directory)):
        yield directory / client.SOCKET


def content(*texts: str) -> str:
    return json.dumps(texts)


def test_a_planned_change_is_applied_undone_and_redone(socket: Path) -> None:
    file = socket.with_name("cluster.yaml")
    plan = client.read(socket, "plan", content=content(NEXT))
    assert {op["verb"] for step in plan["nodes"][0]["steps"] for op in step["ops"]} == {"put", "change", "remove"}
    assert file.read_text() == NOW
    client.ask(socket, "apply", {"within_s": "60"}, content=content(NEXT))
    assert file.read_text() == NEXT
    client.ask(socket, "confirm")
    client.ask(socket, "undo")
    assert file.read_text() == NOW


def test_the_agent_opens_no_file_named_in_a_request(socket: Path) -> None:
    secret = socket.with_name("shadow")
    secret.write_text(PRIVATE)
    for query, text in (({"files": str(secret)}, ""), ({}, content(str(secret)))):
        with pytest.raises(client.BadRequest) as refused:
            client.read(socket, "plan", query, content=text)
        assert PRIVATE[:8] not in str(refused.value)


_TO_SOCKET = """
import socket, sys
path, request = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as asking:
    asking.connect(path)
    asking.sendall(request.encode())
    print(asking.makefile().readline())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root: only root can become another user")
@pytest.mark.parametrize(("group", "plan"), [(None, "403"), (UNPRIVILEGED, "200")])
def test_a_group_may_plan_and_only_root_may_apply(directory: Path, group: int | None, plan: str) -> None:
    with closing(serving(directory, group)):
        assert [_status(directory, line) for line in ("GET /v1/plan", "POST /v1/apply", "POST /v1/undo")] == [
            plan,
            "403",
            "403",
        ]
    assert (directory / "cluster.yaml").read_text() == NOW


def _status(directory: Path, line: str) -> str:
    """Of the answer to another user."""
    text = content(NEXT)
    request = f"{line} HTTP/1.1\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}"
    # Only root and our user may use this interpreter.
    command = ("python3", "-I", "-c", _TO_SOCKET, str(directory / client.SOCKET), request)
    answered = subprocess.run(
        command, capture_output=True, text=True, check=True, user=UNPRIVILEGED, group=UNPRIVILEGED, cwd="/"
    )
    return answered.stdout.split()[1]


def test_without_a_way_back_nothing_is_applied_that_has_to_be_confirmed(socket: Path) -> None:
    file = socket.with_name("cluster.yaml")
    file.write_text("pools: what?")
    with pytest.raises(client.BadRequest, match="nothing to return to"):
        client.ask(socket, "apply", {"within_s": "60"}, content=content(NEXT))
    assert file.read_text() == "pools: what?"
    client.ask(socket, "apply", content=content(NEXT))
    assert file.read_text() == NEXT


@pytest.mark.parametrize(
    ("query", "text", "message"),
    [
        ({}, "", "a JSON list of texts"),
        ({}, "[1]", "a JSON list of texts"),
        ({}, content(NEXT, NEXT), "this agent reads 1 file: "),
        ({}, content("pools: what?"), "cluster.yaml:1:8"),
        ({}, content(NEXT.replace("a1:", "z1:")), "node a1 is not among the nodes"),
        ({"within_s": "nan"}, content(NEXT), "not a time within which a change can be confirmed"),
        ({"within_s": "-1"}, content(NEXT), "not a time within which a change can be confirmed"),
        ({"within_s": "soon"}, content(NEXT), "not a time within which a change can be confirmed"),
    ],
)
def test_a_bad_request_is_not_applied_and_is_reported(
    socket: Path, query: Mapping[str, str], text: str, message: str
) -> None:
    with pytest.raises(client.BadRequest, match=message):
        client.ask(socket, "apply", query, content=text)
    assert socket.with_name("cluster.yaml").read_text() == NOW


def test_a_request_that_is_too_long_is_refused_before_it_is_read(socket: Path) -> None:
    request = "GET /v1/plan HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"
    command = (sys.executable, "-I", "-c", _TO_SOCKET, str(socket), request)
    assert " 400 " in subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
