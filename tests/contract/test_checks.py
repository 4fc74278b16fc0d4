"""Checks of instances on real sockets and processes: what passes, what fails, and in which words."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bgpctl.core.cluster.configuration import Check, Service
from bgpctl.core.net.addresses import Address
from bgpctl.core.services.health import Outcome
from bgpctl.ports import Instance
from bgpctl.process.checks import UNPRIVILEGED, HostChecker
from tests.waiting import SLOWNESS, wait_until

HERE = Address.parse("127.0.0.1")
MS = 2000


def outcome(check: Check, address: Address = HERE, *, timeout_ms: int = MS, is_here: bool = True) -> Outcome:
    service = Service("web", address, check, timeout_ms=int(timeout_ms * SLOWNESS))
    return HostChecker().check(service, Instance(address, is_here=is_here), lambda: False)


@contextmanager
def server(answer: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Iterator[int]:
    """Answers each connection; its port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def http(text: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(text)

    return answer


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# TCP -----------------------------------------------------------------------------------------------------------


def test_a_port_that_accepts_connections_passes() -> None:
    with server(lambda _: None) as port:
        assert outcome(Check(tcp=port)) == Outcome()


def test_ipv6_is_checked_too() -> None:
    address = Address.parse("::1")
    with server(lambda _: None, "::1") as port:
        assert outcome(Check(tcp=port), address) == Outcome()
    assert outcome(Check(tcp=port), address).failure == f"TCP [::1]:{port}: connection refused"


def test_a_closed_port_fails() -> None:
    port = closed_port()
    assert outcome(Check(tcp=port)).failure == f"TCP 127.0.0.1:{port}: connection refused"


def test_a_port_without_an_answer_fails_in_time() -> None:
    """A backlog that is full answers nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        with socket.socket() as first:
            first.connect(("127.0.0.1", port))
            found = outcome(Check(tcp=port), timeout_ms=200)
    assert found.failure == f"TCP 127.0.0.1:{port}: no answer within {int(200 * SLOWNESS)} ms"


def test_another_host_cannot_answer_for_an_instance_of_this_node() -> None:
    """The address is not here, so a default route might lead to another instance."""
    address = Address.parse("192.0.2.80")
    assert outcome(Check(tcp=80), address).failure == "TCP 192.0.2.80:80: this node has not the address 192.0.2.80"


# HTTP ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204, 301, 399])
def test_a_good_status_passes(status: int) -> None:
    with server(http(f"HTTP/1.1 {status} Fine\r\n\r\n".encode())) as port:
        assert outcome(Check(http=port)) == Outcome()


@pytest.mark.parametrize("status", [199, 400, 404, 503])
def test_a_bad_status_fails_with_its_number(status: int) -> None:
    with server(http(f"HTTP/1.0 {status} Bad\r\n\r\n".encode())) as port:
        found = outcome(Check(http=port, path="/healthz"))
    assert found.failure == f"GET http://127.0.0.1:{port}/healthz: HTTP status {status}"


@pytest.mark.parametrize("text", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1\r\n", b"HTTP/1.1 ok\r\n", b"x" * 10_000])
def test_what_is_not_http_fails(text: bytes) -> None:
    with server(http(text)) as port:
        failure = outcome(Check(http=port)).failure
    assert failure.startswith(f"GET http://127.0.0.1:{port}/: ")


def test_the_request_names_path_and_host() -> None:
    requests: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        requests.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    with server(answer) as port:
        assert outcome(Check(http=port, path="/healthz?deep=1")) == Outcome()
    first, *headers = requests[0].split(b"\r\n")
    assert first == b"GET /healthz?deep=1 HTTP/1.1"
    assert f"Host: 127.0.0.1:{port}".encode() in headers


def test_an_answer_that_drips_fails_in_time() -> None:
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        try:
            while not over.wait(0.02):
                connection.sendall(b"H")
        except OSError:
            return

    with server(answer) as port:
        began_s = time.monotonic()
        found = outcome(Check(http=port), timeout_ms=300)
        took_s = time.monotonic() - began_s
        over.set()
    assert found.failure == f"GET http://127.0.0.1:{port}/: no answer within {int(300 * SLOWNESS)} ms"
    assert took_s < 5 * SLOWNESS


# Commands ------------------------------------------------------------------------------------------------------


def shell(script: str) -> Check:
    return Check(command=("/bin/sh", "-c", script))


def test_a_command_passes_by_its_exit_code() -> None:
    assert outcome(shell("echo all is well")) == Outcome()


def test_a_command_fails_with_its_code_and_its_last_line() -> None:
    found = outcome(shell("echo first; echo 'no \x07space left' >&2; exit 3"))
    assert found.failure == "/bin/sh: exit code 3: no ?space left"


def test_a_command_that_is_killed_names_the_signal() -> None:
    assert outcome(shell("kill -SEGV $$")).failure == "/bin/sh: ended by SIGSEGV"


def test_a_command_that_is_not_there_fails() -> None:
    assert outcome(Check(command=("/no/such/check",))).failure == "No such file or directory"


def test_much_output_is_read_and_its_end_is_kept() -> None:
    found = outcome(shell("seq 1 100000; exit 1"), timeout_ms=10_000)
    assert found.failure == "/bin/sh: exit code 1: 100000"


def test_a_command_has_a_plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_AGENT", "1")
    found = outcome(shell("echo $BGPCTL_SERVICE $BGPCTL_ADDRESS $PWD $SECRET_OF_THE_AGENT; exit 1"))
    assert found.failure == "/bin/sh: exit code 1: web 127.0.0.1 /"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_command_runs_as_a_user_that_owns_nothing_without_capabilities() -> None:
    found = outcome(shell("echo $(id -u) $(id -G) $(grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status | cut -f 2); exit 1"))
    nothing = "0000000000000000"
    assert found.failure == f"/bin/sh: exit code 1: {UNPRIVILEGED} {UNPRIVILEGED} {nothing} {nothing} {nothing}"


def test_no_process_of_a_command_outlives_it() -> None:
    """Not one that keeps the output open, either; nor does the check wait for that."""
    found = outcome(shell("sleep 1000 & echo $!; exit 1"), timeout_ms=10_000).failure
    assert found.startswith("/bin/sh: exit code 1: ")
    pid = int(found.rsplit(" ", 1)[1])
    wait_until(lambda: not is_running(pid))


def test_a_command_that_does_not_end_is_ended() -> None:
    marker = f"{os.getpid()}.5"  # seconds of a sleep that no one else has
    found = outcome(shell(f"trap '' TERM; sleep {marker}; true"), timeout_ms=500)
    assert found.failure == f"/bin/sh: did not end within {int(500 * SLOWNESS)} ms"
    wait_until(lambda: not any(map(is_running, processes_with(marker))))


def test_a_check_that_is_cancelled_ends_its_command() -> None:
    service = Service("web", HERE, shell("sleep 1000"), timeout_ms=600_000)
    cancelled_at_s = time.monotonic() + 0.2
    began_s = time.monotonic()
    HostChecker().check(service, Instance(HERE, is_here=True), lambda: time.monotonic() > cancelled_at_s)
    assert time.monotonic() - began_s < 30 * SLOWNESS


def processes_with(word: str) -> list[int]:
    """The processes that have it among their arguments."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            has_word = word.encode() in place.read_bytes().split(b"\0")
        except OSError:
            continue
        found += [int(place.parent.name)] if has_word else []
    return found


def is_running(pid: int) -> bool:
    """False for a zombie too, which waits for init."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
