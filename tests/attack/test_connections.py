"""A local user, or a host that reaches the health port, opens connections and does not close them."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpctl import client
from tests.attack.rig import (
    CLUSTER,
    Victim,
    as_nobody,
    by_nobody,
    descriptors,
    needs_root,
    peak_mb,
    victim,
)
from tests.contract.kernel_rig import shell
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, needs_root]

_HOLD = """
import socket, sys, time
place, number, say = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode()
held, until = [], time.monotonic() + 3
while len(held) < number and time.monotonic() < until:
    if place.startswith("/"):
        one = socket.socket(socket.AF_UNIX)
    else:
        one = socket.socket()
        place = ("127.0.0.1", 9099)
    one.settimeout(0.2)
    try:
        one.connect(place)
        one.sendall(say)
        held.append(one)
    except BlockingIOError:
        time.sleep(0.002)
    except OSError:
        one.close()
    if not isinstance(place, str):
        place = "tcp"
print("held", len(held), flush=True)
time.sleep(60)
"""
"""Opens so many connections at a place, says something on each, and holds them."""


@pytest.fixture(scope="module")
def agent() -> Iterator[Victim]:
    with victim(options=("--health", "127.0.0.1:9099")) as made:
        # As many descriptors as nine tenths of a host's services have, divided by four: the test is shorter.
        resource.prlimit(made.running.pid, resource.RLIMIT_NOFILE, (256, 256))
        yield made


def _repairs(agent: Victim) -> None:
    wait_until(lambda: "10.244.2.0/26" in _routes())
    shell("route del 10.244.2.0/26")
    wait_until(lambda: not agent.is_alive() or "10.244.2.0/26" in _routes())
    assert agent.is_alive(), agent.log[-600:]


def _routes() -> str:
    return subprocess.run(("ip", "route"), capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("place", ["unix", "tcp"])
def test_connections_of_a_user_do_not_end_the_agent(agent: Victim, place: str) -> None:
    before = descriptors(agent.running.pid)
    with by_nobody(_HOLD, agent.socket if place == "unix" else place, 400, ""):
        # Root is answered, and the agent still does its work.
        assert client.read(agent.socket, "summary")["node"] == "a1"
        _repairs(agent)
        assert descriptors(agent.running.pid) < before + 40


def test_a_user_who_holds_connections_keeps_no_other_user_out(agent: Victim) -> None:
    with by_nobody(_HOLD, agent.socket, 100, ""):
        assert client.read(agent.socket, "summary")["node"] == "a1"


def test_content_that_a_user_may_not_send_is_not_kept(agent: Victim) -> None:
    before_mb = peak_mb(agent.running.pid)
    send = "GET /v1/plan HTTP/1.1\r\nContent-Length: 16000000\r\n\r\n" + "x" * 120_000
    program = _HOLD.replace("sys.argv[3].encode()", "sys.argv[3].encode() * 100").replace("0.2", "2")
    with by_nobody(program, agent.socket, 30, send):
        assert peak_mb(agent.running.pid) < before_mb + 60


def test_no_descriptor_left_is_no_end_of_the_agent(agent: Victim) -> None:
    """Of this process or of the host (EMFILE, ENFILE): by whatever took them."""
    pid = agent.running.pid
    wait_until(lambda: "10.244.2.0/26" in _routes(), within_s=30)
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        agent.file.write_text(agent.file.read_text() + "# an edit\n")
        shell("route del 10.244.2.0/26")
        wait_until(lambda: "Too many open files" in agent.log or not agent.is_alive(), within_s=30)
        assert agent.is_alive(), agent.log[-600:]
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    wait_until(lambda: "10.244.2.0/26" in _routes(), within_s=30)


_WITHOUT_THREADS = """
import sys, threading
from pathlib import Path
start = threading.Thread.start
def refused(self):
    if Path("{file}").exists():
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = refused
from bgpctl.cli.main import main
main(sys.argv[1:])
"""


def test_no_thread_left_is_no_end_of_the_agent(tmp_path: Path) -> None:
    """By TasksMax of the unit, or by the limit of the host."""
    file = tmp_path / "no-threads"
    with victim(program=_WITHOUT_THREADS.format(file=file)) as other:
        file.touch()
        with pytest.raises(client.AgentAway):
            client.read(other.socket, "summary")
        other.file.write_text(CLUSTER.replace("VXLAN}", "None}"))  # a change that is proved by probes
        _repairs(other)
        file.unlink()
        wait_until(other.answers)


def test_a_kernel_with_all_that_decides_is_for_root(agent: Victim) -> None:
    program = (
        "import http.client, socket, sys\n"
        "c = http.client.HTTPConnection('x'); c.sock = socket.socket(socket.AF_UNIX); c.sock.connect(sys.argv[1])\n"
        "c.request('GET', sys.argv[2]); print(c.getresponse().status)\n"
    )
    for view in ("kernel", "intent"):
        assert as_nobody(program, agent.socket, f"/v1/{view}").stdout == "403\n"
    wait_until(lambda: observed(agent), within_s=30)
    assert client.read(agent.socket, "intent", timeout_s=30)["node"] == "a1"


def observed(agent: Victim) -> bool:
    """True once it has an answer about its kernel."""
    try:
        return bool(client.read(agent.socket, "kernel", timeout_s=30)["node"] == "a1")
    except client.BadRequest:
        return False


def test_a_plan_of_foreign_content_is_for_root(agent: Victim) -> None:
    program = (
        "import http.client, socket, sys\n"
        "c = http.client.HTTPConnection('x'); c.sock = socket.socket(socket.AF_UNIX); c.sock.connect(sys.argv[1])\n"
        "c.request('GET', sys.argv[2], sys.argv[3].encode() or None); print(c.getresponse().status)\n"
    )
    assert as_nobody(program, agent.socket, "/v1/plan", '["a: 1"]').stdout == "403\n"
    assert as_nobody(program, agent.socket, "/v1/summary", "").stdout == "200\n"
