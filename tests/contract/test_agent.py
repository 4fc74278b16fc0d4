"""A real agent on the running kernel, as systemd and scripts see it."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpctl.agent import journal_file
from tests.contract.kernel_rig import own_namespace, shell
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

CLUSTER = """
calico_backend: vxlan
pools: {blue: {cidr: 10.244.0.0/16, encapsulation: VXLAN}}
nodes:
  a1: {address: 10.0.0.1/24, blocks: [10.244.1.0/26]}
  a2: {address: 10.0.0.2/24, blocks: [10.244.2.0/26]}
"""
PORT = 9099


def bgpctl(*words: object) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "bgpctl", *map(str, words))
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)


def shown(*words: str) -> str:
    return subprocess.run(("ip", *words), capture_output=True, text=True, check=True).stdout


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(30)
        yield channel


@pytest.fixture
def agent(tmp_path: Path, systemd: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    """Of node a1, started as systemd does it."""
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    variables = {**os.environ, "NOTIFY_SOCKET": str(systemd.getsockname()), "WATCHDOG_USEC": "2000000"}
    words = ("agent", "run", "--node", "a1", "-f", tmp_path / "cluster.yaml", "--run-dir", tmp_path)
    command = (sys.executable, "-m", "bgpctl", *map(str, words), "--health", f"127.0.0.1:{PORT}")
    with own_namespace():
        shell("link set lo up", "link add eth0 type veth peer name far", "link set eth0 up", "link set far up")
        # a2 is silent, but not as a host that is off: then the node would be degraded.
        shell("addr add 10.0.0.1/24 dev eth0", "neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0 nud permanent")
        with (tmp_path / "log").open("w") as log:
            running = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        try:
            yield running
        finally:
            running.kill()
            running.wait()


def get(path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    answer = response.status, response.read().decode()
    connection.close()
    return answer


def test_a_script_waits_for_it_and_monitoring_sees_it(agent: subprocess.Popen[bytes], tmp_path: Path) -> None:
    waited = bgpctl("show", "--run-dir", tmp_path, "summary", "--wait", "60s")
    assert waited.returncode == 0, (tmp_path / "log").read_text()
    assert agent.poll() is None
    assert get("/liveness")[0] == get("/readiness")[0] == 200
    status, text = get("/metrics")
    assert status == 200
    assert 'bgpctl_routes{stage="installed"} 1.0' in text
    assert 'bgpctl_tunnel_sent_packets_total{tunnel="vxlan.bgpctl"}' in text
    shell("link set eth0 down")
    assert bgpctl("show", "--run-dir", tmp_path, "summary", "--wait", "0s").returncode == 4


def test_it_is_ready_only_while_the_last_wanted_route_is_in_the_kernel(
    agent: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert bgpctl("show", "--run-dir", tmp_path, "summary", "--wait", "60s").returncode == 0
    assert agent.poll() is None
    # A foreign route with the key of ours is left alone.
    shell("route replace 10.244.2.0/26 dev lo metric 1024")
    wait_until(lambda: get("/readiness")[0] == 503)
    reasons = get("/readiness")[1]
    assert "10.244.2.0/26" in reasons
    assert not re.search(r"bgp(?!ctl)|peer|session", reasons, re.IGNORECASE)
    assert "bgpctl_ready 0.0" in get("/metrics")[1]
    shell("route del 10.244.2.0/26 dev lo metric 1024")
    wait_until(lambda: get("/readiness")[0] == 200)
    assert "vxlan.bgpctl" in shown("route", "show", "10.244.2.0/26")


def test_systemd_is_notified_of_readiness_liveness_and_the_end(
    agent: subprocess.Popen[bytes], systemd: socket.socket
) -> None:
    message = systemd.recv(4096).decode()
    while "READY=1" not in message:
        message = systemd.recv(4096).decode()
    while "STATUS" in message:
        message = systemd.recv(4096).decode()
    assert message == "WATCHDOG=1"
    agent.send_signal(signal.SIGTERM)
    while message != "STOPPING=1":
        message = systemd.recv(4096).decode()
    assert agent.wait(timeout=30) == 0


def test_its_journal_replays_to_the_same_result(agent: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert bgpctl("show", "--run-dir", tmp_path, "summary", "--wait", "60s").returncode == 0
    assert agent.poll() is None
    assert "cluster file loaded: 2 nodes, 1 pool" in bgpctl("show", "--run-dir", tmp_path, "events").stdout
    written = bgpctl("agent", "journal", "--run-dir", tmp_path)
    assert written.returncode == 0
    _, record = journal_file.load(tmp_path / "journal.jsonl")
    assert f"{len(record.entries)} events in {tmp_path}/journal.jsonl" in written.stdout
    assert list(record.replayed()) == [entry.commands for entry in record.entries]
