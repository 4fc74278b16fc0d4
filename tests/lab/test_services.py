"""
An address that two nodes announce, to a router that runs FRR and one that runs BIRD, while real traffic goes to it.

An instance serves until long after its check has begun to fail, as one that is told to drain does: so no packet may be
lost when the routers turn to the other one.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bgpctl.lab import netns
from bgpctl.lab.lab import Lab
from tests.lab.rig import inside, ip, kill
from tests.waiting import SLOWNESS, wait_until

ADDRESS: Final = "192.0.2.80"
ROUTERS: Final = ("tor-f", "tor-b")
FALL_S: Final = 3 * 0.5
"""As the topology has it: fall times interval."""
ALLOWED_S: Final = FALL_S + 1.0

SERVER: Final = """
import http.server, pathlib, socket, sys, threading

name, address, drain = sys.argv[1:]

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if pathlib.Path(drain).exists() else 200)
        self.end_headers()

def echo():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((address, 8081))
        while True:
            octets, source = udp.recvfrom(100)
            udp.sendto(octets + b" " + name.encode(), source)

threading.Thread(target=echo, daemon=True).start()
http.server.ThreadingHTTPServer((address, 8080), Health).serve_forever()
"""
"""One instance: its health, which is bad while the file is there, and an echo that says who it is."""

CLIENT: Final = """
import json, select, socket, sys, time

address, source = sys.argv[1:]
answers, is_ready = [], False
while not select.select([sys.stdin], [], [], 0.005)[0]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((source, 0))
        udp.settimeout(1)
        udp.sendto(b"hello", (address, 8081))
        try:
            answers.append((time.time(), udp.recv(100).split()[1].decode()))
        except OSError as error:
            answers.append((time.time(), f"lost {error}"))
    if not is_ready and len({who for _, who in answers}) == 2:
        is_ready = True
        print("ready", flush=True)
print(json.dumps(answers))
"""
"""
Packets of many flows, one every few milliseconds, each of which is to be answered, until the input is closed. Ready as
soon as both instances have answered.
"""


def drain_file(lab: Lab, node: str) -> Path:
    return lab.directory / f"drain-{node}"


@contextmanager
def instances(lab: Lab) -> Iterator[None]:
    """Servers on a1 and a2, announced to both routers, which choose by the ports of a packet too."""
    for router in ROUTERS:
        inside(lab, router, "sysctl -qw net.ipv4.fib_multipath_hash_policy=1")
    with netns_servers(lab):
        for router in ROUTERS:
            wait_until(lambda router=router: gateways(lab, router) == {"10.0.0.1", "10.0.0.2"}, within_s=30.0)  # type: ignore[misc]
        yield


@contextmanager
def netns_servers(lab: Lab) -> Iterator[None]:
    servers = []
    try:
        for node in ("a1", "a2"):
            words = (sys.executable, "-c", SERVER, node, ADDRESS, str(drain_file(lab, node)))
            servers.append(netns.spawn(lab.names.of(node), words, lab.directory / f"server-{node}.log"))
        yield
    finally:
        for server in servers:
            server.kill()
            server.wait()


def gateways(lab: Lab, router: str) -> set[str]:
    """The next hops of the address in the router's kernel."""
    found = json.loads(ip(lab, router, "-j", "route", "show", f"{ADDRESS}/32") or "[]")
    hops = [hop for route in found for hop in route.get("nexthops", [route])]
    return {hop["gateway"] for hop in hops}


@contextmanager
def traffic(lab: Lab, router: str) -> Iterator[list[tuple[float, str]]]:
    """Packets from a router to the address, and who answered each, once the context has ended."""
    own = {"tor-f": "10.0.0.253", "tor-b": "10.0.0.254"}[router]
    command = ("ip", "netns", "exec", lab.names.of(router), sys.executable, "-c", CLIENT, ADDRESS, own)
    answers: list[tuple[float, str]] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdin is not None
        assert client.stdout.readline() == "ready\n"
        try:
            yield answers
        finally:
            client.stdin.close()
            lines = client.stdout.read()
        answers += [(at_s, who) for at_s, who in json.loads(lines)]


@contextmanager
def changes(lab: Lab, router: str) -> Iterator[list[str]]:
    """Every change of the route to the address in a router's kernel, while the context is there."""
    command = ("ip", "-n", lab.names.of(router), "monitor", "route")
    seen: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as monitor:
        assert monitor.stdout is not None
        try:
            yield seen
            # All that happened before this is in the pipe.
            ip(lab, router, "route", "add", "blackhole", "198.51.100.1/32")
            for line in monitor.stdout:
                if "198.51.100.1" in line:
                    break
                if ADDRESS in line:
                    seen.append(line.strip())
        finally:
            monitor.terminate()


def service(lab: Lab, node: str) -> dict[str, object]:
    """The node's own instance of web, as its agent has it."""
    rows = lab.read(node, "services")["services"]
    return next(row for row in rows if (row["service"], row["node"]) == ("web", node))


def test_an_instance_that_fails_is_withdrawn_and_no_packet_is_lost(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("services")
    with instances(lab):
        wait_until(lambda: "nhid" in ip(lab, "a3", "route", "show", f"{ADDRESS}/32"))
        with traffic(lab, "tor-f") as by_frr, traffic(lab, "tor-b") as by_bird:
            wait_until(lambda: service(lab, "a1")["state"] == "up")
            time_in_both(lab, {"10.0.0.1", "10.0.0.2"})
            drain_file(lab, "a1").touch()
            failed_at_s = time.time()
            took_s = time_in_both(lab, {"10.0.0.2"})
            row = service(lab, "a1")
            drain_file(lab, "a1").unlink()
            time_in_both(lab, {"10.0.0.1", "10.0.0.2"})
        assert took_s < ALLOWED_S * SLOWNESS
        assert row["state"] == "down"
        assert row["failure"] == f"GET http://{ADDRESS}:8080/: HTTP status 503"
        for answers in (by_frr, by_bird):
            assert [who for _, who in answers if who.startswith("lost")] == []
            drained = {who for at_s, who in answers if failed_at_s + took_s < at_s < failed_at_s + took_s + 0.3}
            assert drained <= {"a2"}
            assert {who for at_s, who in answers if at_s < failed_at_s} == {"a1", "a2"}


def time_in_both(lab: Lab, wanted: set[str]) -> float:
    """How long it takes until both routers use these next hops."""
    return wait_until(lambda: all(gateways(lab, router) == wanted for router in ROUTERS), within_s=20.0)


def test_the_end_of_an_agent_withdraws_nothing_and_cleanup_does(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("services")
    with instances(lab), traffic(lab, "tor-b") as answers:
        with changes(lab, "tor-f") as by_frr, changes(lab, "tor-b") as by_bird:
            since = service(lab, "a1")["age_s"]
            kill(lab, "a1", signal.SIGKILL)
            lab.start_agent("a1")
            wait_until(lambda: lab.summaries()[0]["state"] == "converged", within_s=30.0)
            # The new agent has sent all its routes again, and ends what it does not repeat with End-of-RIB.
            wait_until(lambda: service(lab, "a1")["announced_to"] == 4, within_s=30.0)
            kill(lab, "a1", signal.SIGTERM)
            lab.start_agent("a1")
            wait_until(lambda: lab.summaries()[0]["state"] == "converged", within_s=30.0)
            wait_until(lambda: service(lab, "a1")["announced_to"] == 4, within_s=30.0)
        assert by_frr == by_bird == []
        again = service(lab, "a1")
        assert again["state"] == "up"
        assert isinstance(since, float)
        assert isinstance(again["age_s"], float)
        assert again["age_s"] > since
        kill(lab, "a1", signal.SIGTERM)
        command = (sys.executable, "-m", "bgpctl", "cleanup", "--run-dir", str(lab.run_dir("a1")))
        process = netns.spawn(lab.names.of("a1"), command, lab.directory / "cleanup.log")
        assert process.wait(timeout=60) == 0, (lab.directory / "cleanup.log").read_text()
        time_in_both(lab, {"10.0.0.2"})
        assert ADDRESS not in ip(lab, "a1", "address", "show", "dev", "lo")
    assert answers


def test_a_workload_is_an_instance_that_the_node_of_its_block_announces(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of("services")
    with workload_server(lab):
        wait_until(lambda: "nhid" in ip(lab, "a3", "route", "show", "192.0.2.81/32"), within_s=30.0)
        answer = ("ip", "netns", "exec", lab.names.of("web-a3"), sys.executable, "-c", ASK)
        assert subprocess.run(answer, capture_output=True, text=True, check=True).stdout == "web-a1\n"
        assert "via 10.244.1.10" in ip(lab, "a1", "route", "show", "192.0.2.81/32")
    wait_until(lambda: ip(lab, "a3", "route", "show", "192.0.2.81/32") == "", within_s=30.0)


ASK: Final = """
import socket
with socket.create_connection(("192.0.2.81", 8080), 5) as connection:
    print(connection.recv(100).decode())
"""
ANSWER: Final = """
import socket
with socket.create_server(("0.0.0.0", 8080)) as server:
    while True:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"web-a1")
"""


@contextmanager
def workload_server(lab: Lab) -> Iterator[None]:
    """A server in the workload web-a1, which has the service's address beside its own."""
    ip(lab, "web-a1", "address", "add", "192.0.2.81/32", "dev", "lo")
    server = netns.spawn(lab.names.of("web-a1"), (sys.executable, "-c", ANSWER), lab.directory / "server-api.log")
    try:
        yield
    finally:
        server.kill()
        server.wait()
