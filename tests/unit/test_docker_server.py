"""The plugin's socket: HTTP as Docker speaks it, bounded, and passed by the service manager."""

from __future__ import annotations

import http.client
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpctl.attach.docker import server
from bgpctl.attach.docker.messages import Body, Rejected
from bgpctl.cli.cluster_source import ClusterFiles
from bgpctl.ports import Unavailable

CLUSTER = Path(__file__).parents[2] / "topologies" / "vxlan.yaml"


class Plugin:
    """A server whose answers are the requests; `held` calls wait for `go`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.go = threading.Event()
        self._server = server.Server(server.listening(path), self._answer)

    def _answer(self, method: str, content: bytes) -> Body:
        match method:
            case "Refuse":
                raise Rejected("the pool is full")
            case "Fail":
                raise KeyError("a defect")
            case "Wait":
                self.go.wait(15)
            case _:
                pass
        return {"method": method, "content": content.decode()}

    def connection(self) -> http.client.HTTPConnection:
        made = http.client.HTTPConnection("plugin.moby.localhost", timeout=15)
        made.sock = socket.socket(socket.AF_UNIX)
        made.sock.settimeout(15)
        made.sock.connect(str(self.path))
        return made

    def close(self) -> None:
        self.go.set()
        self._server.close()


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plugin]:
    made = Plugin(tmp_path_factory.mktemp("plugin") / "plugins" / "bgpctl.sock")
    yield made
    made.close()


def call(connection: http.client.HTTPConnection, method: str, content: bytes = b"") -> tuple[int, dict[str, str]]:
    connection.request("POST", f"/{method}", content)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_calls_are_answered_one_after_the_other_on_one_connection(plugin: Plugin) -> None:
    connection = plugin.connection()
    for method, content in (("Plugin.Activate", b""), ("NetworkDriver.Join", b"{}")):
        assert call(connection, method, content) == (200, {"method": method, "content": content.decode()})


def test_a_refusal_has_both_keys_and_the_connection_goes_on(plugin: Plugin) -> None:
    connection = plugin.connection()
    assert call(connection, "Refuse") == (500, {"Err": "the pool is full", "Error": "the pool is full"})
    status, body = call(connection, "Fail")
    assert (status, "its log has the reason" in body["Err"]) == (500, True)
    assert call(plugin.connection(), "Again")[0] == 200


def test_a_call_that_waits_holds_up_no_other(plugin: Plugin) -> None:
    waiting = plugin.connection()
    waiting.request("POST", "/Wait", b"")
    assert call(plugin.connection(), "NetworkDriver.Join")[0] == 200
    plugin.go.set()
    assert waiting.getresponse().status == 200


@pytest.mark.parametrize("length", ["99999999", "-1", "x", "1" * 30])
def test_content_of_too_many_bytes_is_not_read(plugin: Plugin, length: str) -> None:
    connection = plugin.connection()
    connection.putrequest("POST", "/Join")
    connection.putheader("Content-Length", length)
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, "bytes at most" in json.loads(answer.read())["Err"]) == (500, True)
    assert answer.getheader("Connection") == "close"


def test_content_that_ends_early_is_refused(plugin: Plugin) -> None:
    connection = plugin.connection()
    connection.putrequest("POST", "/Join")
    connection.putheader("Content-Length", "10")
    connection.endheaders(b"{}")
    connection.sock.shutdown(socket.SHUT_WR)
    assert "the request ended after 2 of 10 bytes" in json.loads(connection.getresponse().read())["Err"]


def test_only_root_and_the_plugins_own_user_can_connect(plugin: Plugin) -> None:
    assert stat.S_IMODE(plugin.path.stat().st_mode) == 0o600


def test_a_socket_that_is_served_is_not_replaced_and_one_that_was_left_is(tmp_path: Path) -> None:
    plugin = Plugin(tmp_path / "sock")
    with pytest.raises(Unavailable, match="another program listens at"):
        server.listening(plugin.path)
    plugin.close()
    server.listening(plugin.path).close()


def test_a_socket_of_the_service_manager_is_used(tmp_path: Path) -> None:
    """sd_listen_fds(3): the variables, and descriptor 3. What came before the start is answered."""
    listening = server.listening(tmp_path / "sock")
    code = (
        "import os, sys\n"
        "from bgpctl.attach.docker import server\n"
        "os.dup2(int(sys.argv[1]), 3)\n"
        "os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "found = server.passed(os.environ)\n"
        "server.Server(found, lambda method, content: {'method': method})\n"
        "sys.stdin.read()\n"
    )
    asking = http.client.HTTPConnection("x", timeout=15)
    asking.sock = socket.socket(socket.AF_UNIX)
    asking.sock.settimeout(15)
    asking.sock.connect(str(tmp_path / "sock"))
    asking.request("POST", "/Plugin.Activate", b"")
    child = subprocess.Popen(
        (sys.executable, "-c", code, str(listening.fileno())),
        env={**os.environ, "LISTEN_FDS": "1"},
        pass_fds=(listening.fileno(),),
        stdin=subprocess.PIPE,
    )
    listening.close()
    try:
        assert json.loads(asking.getresponse().read()) == {"method": "Plugin.Activate"}
    finally:
        child.communicate()


@pytest.mark.parametrize(
    "variables", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"}]
)
def test_a_socket_that_is_another_process_is_not_taken(variables: dict[str, str]) -> None:
    assert server.passed(variables) is None


# Cluster files ---------------------------------------------------------------------------------------------------


def test_the_last_good_cluster_file_counts_while_it_has_errors(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    files = ClusterFiles((file,), "a1")
    with pytest.raises(Unavailable, match=r"cluster.yaml:1:1: cannot be read"):
        files.read()
    file.write_text(CLUSTER.read_text())
    intent, node = files.read()
    assert node.name == "a1"
    file.write_text("pools: {blue: {cidr: 10.244.0.0/99}}\n")
    assert files.read()[0] == intent
    file.write_text(CLUSTER.read_text().replace("a1:", "a9:"))
    with pytest.raises(Unavailable, match="a1 is not a node of"):
        files.read()
