"""The channel between agents: who is served, and what others learn. Real TLS on addresses of the loopback link."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bgpctl import channel
from bgpctl.agent.channel import LIMITS, Channel
from bgpctl.agent.errors import Unknown
from bgpctl.channel import Answer, Member, NoAnswer
from bgpctl.cli.main import main
from bgpctl.core.agent.state import State, begin
from bgpctl.core.cluster.intent import Intent
from bgpctl.process import keys
from tests.cluster import node
from tests.waiting import wait_until

NODES = (node("h1", "127.0.0.1/8"), node("h2", "127.0.0.2/8"), node("h3", "127.0.0.3/8"))
NOW_S = 1_000_000_000.0
"""Long before any certificate of this test ends."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ca") / "keys"
    keys.make_ca(made)
    for name in ("h1", "h2", "h3", "h4"):
        keys.issue(made, name)
    return made / keys.NODES


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return int(listening.getsockname()[1])


@dataclass
class Agent:
    """h1's agent, as far as the channel goes."""

    directory: Path
    port: int
    intent: Intent
    now_s: float = NOW_S
    asked: list[str] = field(default_factory=list)

    @property
    def state(self) -> State:
        begun = begin("h1", 0.0)
        return replace(begun, intent=begun.intent.accepted(self.intent))

    def answer(self, view: str, query: Mapping[str, str]) -> dict[str, Any]:
        self.asked.append(view)
        if view != "summary":
            raise Unknown(view)
        return {"node": "h1", **query}


@contextmanager
def running(directory: Path, port: int | None = None) -> Iterator[tuple[Agent, Channel]]:
    number = port or free_port()
    agent = Agent(directory, number, Intent(nodes=NODES, channel_port=number))
    made = Channel(lambda: agent.state, agent.answer, directory, lambda: agent.now_s)
    try:
        yield agent, made
    finally:
        made.close()


@pytest.fixture
def agent(authority: Path) -> Iterator[Agent]:
    with running(authority / "h1") as (found, _):
        wait_until(lambda: listens(found.port), within_s=15)
        yield found


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5, ("127.0.0.2", 0)):
        return True
    return False


def ask(agent: Agent, directory: Path, source: str = "127.0.0.2", request: str = "summary") -> Answer:
    tls = channel.context(directory, server=False)
    return channel.ask(Member("h1", "127.0.0.1", agent.port, source), request, 15, tls)


def reason(answer: Answer) -> str:
    assert isinstance(answer, NoAnswer), answer
    return answer.reason


def test_a_member_is_answered(agent: Agent, authority: Path) -> None:
    assert ask(agent, authority / "h2") == {"node": "h1"}
    assert ask(agent, authority / "h3", "127.0.0.3", "summary?a=b") == {"node": "h1", "a": "b"}
    assert "no such view" in reason(ask(agent, authority / "h2", request="drain"))


def test_a_foreign_ca_an_expired_certificate_and_no_certificate_are_refused_in_the_handshake(
    agent: Agent, authority: Path, tmp_path: Path
) -> None:
    keys.make_ca(tmp_path / "other")
    foreign = keys.issue(tmp_path / "other", "h2")
    (foreign / "ca.crt").write_bytes((authority / "h1" / "ca.crt").read_bytes())
    assert "take this node's certificate" in reason(ask(agent, foreign))
    assert not handshake(agent, certificate=None).startswith("answered")
    expired = issued(authority, tmp_path, "h2", days=-1)
    assert "take this node's certificate" in reason(ask(agent, expired))
    assert agent.asked == []
    with pytest.raises(channel.KeysUnusable, match="certificate has expired"):
        channel.own_certificate(expired)


def issued(authority: Path, to: Path, name: str, *, days: int) -> Path:
    """A certificate of the same CA."""
    again = to / "again"
    again.mkdir(mode=0o700)
    for file in ("ca.key", "ca.crt"):
        (again / file).write_bytes((authority.parent / file).read_bytes())
    # The beginning is an hour ago; one that ended before it would be no certificate at all.
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keys, "_SKEW", timedelta(days=2 * abs(days)))
        return keys.issue(again, name, days=days)


def handshake(agent: Agent, certificate: Path | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> str:
    """The error of a client with other means than ours."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.maximum_version = version
    if certificate:
        tls.load_cert_chain(certificate / "node.pem")
    with socket.create_connection(("127.0.0.1", agent.port), 15, ("127.0.0.2", 0)) as plain:
        try:
            with tls.wrap_socket(plain) as opened:
                opened.sendall(b"GET /v1/summary HTTP/1.1\r\nHost: h1\r\n\r\n")
                return f"answered: {opened.recv(1000)!r}"
        except OSError as error:
            return str(error)


def test_tls_12_and_plain_tcp_are_refused(agent: Agent, authority: Path) -> None:
    assert "VERSION" in handshake(agent, authority / "h2", ssl.TLSVersion.TLSv1_2).upper()
    with socket.create_connection(("127.0.0.1", agent.port), 15, ("127.0.0.2", 0)) as plain:
        plain.sendall(b"GET /v1/summary HTTP/1.1\r\nHost: h1\r\n\r\n")
        received = b""
        with suppress(ConnectionError):
            while chunk := plain.recv(1000):
                received += chunk
    assert b"HTTP" not in received
    assert agent.asked == []


def test_a_name_that_is_no_member_learns_that_alone(agent: Agent, authority: Path) -> None:
    found = ask(agent, authority / "h4", "127.0.0.4")
    assert isinstance(found, NoAnswer)
    assert found.not_a_member
    assert found.reason.endswith("answered 403: not a member")
    assert agent.asked == []


def test_a_member_is_served_at_its_own_address_alone(agent: Agent, authority: Path) -> None:
    for source in ("127.0.0.3", "127.0.0.9", "127.0.0.1"):
        assert "not a member" in reason(ask(agent, authority / "h2", source))
    assert agent.asked == []


def test_a_member_that_was_removed_is_served_no_more(agent: Agent, authority: Path) -> None:
    assert ask(agent, authority / "h3", "127.0.0.3") == {"node": "h1"}
    agent.intent = replace(agent.intent, nodes=NODES[:2])
    assert "not a member" in reason(ask(agent, authority / "h3", "127.0.0.3"))


@contextmanager
def opened(agent: Agent, directory: Path) -> Iterator[ssl.SSLSocket]:
    """A connection after its handshake."""
    plain = socket.create_connection(("127.0.0.1", agent.port), 15, ("127.0.0.2", 0))
    with plain, channel.context(directory, server=False).wrap_socket(plain) as made:
        yield made


def asked_by(connection: ssl.SSLSocket) -> bytes:
    """One request by HTTP/1.1, which keeps connections: all that comes until the end, or until an answer is here."""
    received = b""
    with suppress(OSError):
        connection.sendall(b"GET /v1/summary HTTP/1.1\r\nHost: h1\r\n\r\n")
        while not received.endswith(b"}") and (chunk := connection.recv(1000)):
            received += chunk
    return received


def test_a_connection_has_one_request(agent: Agent, authority: Path) -> None:
    with opened(agent, authority / "h2") as connection:
        assert b"Connection: close" in asked_by(connection)
        agent.intent = replace(agent.intent, nodes=NODES[:1])
        assert asked_by(connection) == b""
    assert agent.asked == ["summary"]


@pytest.mark.parametrize("change", [{"nodes": NODES[:1]}, {"channel_port": 0}])
def test_a_member_that_is_none_any_more_at_its_request_is_refused(
    agent: Agent, authority: Path, change: dict[str, Any]
) -> None:
    with opened(agent, authority / "h2") as connection:
        agent.intent = replace(agent.intent, **change)
        assert b"403" in asked_by(connection)
    assert agent.asked == []


def test_a_connection_from_before_new_keys_is_that_of_no_member(
    authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(authority / "h1") as (agent, made):
        wait_until(lambda: listens(agent.port), within_s=15)
        before = made.tls
        with opened(agent, authority / "h2") as connection:
            monkeypatch.setattr(channel, "identity", lambda _: ((0, 0),))
            wait_until(lambda: made.tls not in (None, before), within_s=15)
            assert b"200 OK" not in asked_by(connection)
        assert agent.asked == []


def test_requests_of_operators_and_content_are_refused(agent: Agent, authority: Path) -> None:
    tls = channel.context(authority / "h2", server=False)
    for head in ("POST /v1/drain HTTP/1.1", "GET /v1/summary HTTP/1.1\r\nContent-Length: 5"):
        plain = socket.create_connection(("127.0.0.1", agent.port), 15, ("127.0.0.2", 0))
        with plain, tls.wrap_socket(plain) as opened:
            opened.sendall(f"{head}\r\nHost: h1\r\n\r\nhello".encode())
            assert opened.recv(12) in (b"HTTP/1.1 405", b"HTTP/1.1 400")
    assert agent.asked == []


def test_addresses_of_no_member_take_no_place_from_members(agent: Agent, authority: Path) -> None:
    idle = [
        socket.create_connection(("127.0.0.1", agent.port), 15, (f"127.0.1.{number}", 0))
        for number in range(1, 3 * LIMITS.each)
    ]
    try:
        assert ask(agent, authority / "h2") == {"node": "h1"}
    finally:
        for one in idle:
            one.close()


def test_a_handshake_that_does_not_go_on_is_ended(agent: Agent) -> None:
    with socket.create_connection(("127.0.0.1", agent.port), 30, ("127.0.0.2", 0)) as slow:
        slow.sendall(b"\x16\x03\x01\x02\x00")  # a record of 512 octets that never come
        ended = b"-"
        with suppress(ConnectionError):
            ended = slow.recv(1)
        assert ended in (b"", b"-")


def test_a_port_that_is_taken_is_a_problem_until_it_is_free(authority: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = int(taken.getsockname()[1])
        with running(authority / "h1", port) as (agent, made):
            wait_until(lambda: bool(made.problems()), within_s=15)
            assert made.problems() == (
                f"agents of other members cannot ask this one: 127.0.0.1 port {port}: Address already in use",
            )
            taken.close()
            wait_until(lambda: not made.problems() and listens(port), within_s=15)
            assert ask(agent, authority / "h2") == {"node": "h1"}


def test_without_keys_nothing_listens_until_they_are_there(authority: Path, tmp_path: Path) -> None:
    with running(tmp_path) as (agent, made):
        wait_until(lambda: bool(made.problems()), within_s=15)
        assert "there are no keys in" in made.problems()[0]
        assert not listens(agent.port)
        for file in (authority / "h1").iterdir():
            shutil.copy(file, tmp_path)
        wait_until(lambda: not made.problems() and listens(agent.port), within_s=15)
        agent.intent = replace(agent.intent, channel_port=0)
        wait_until(lambda: not listens(agent.port), within_s=15)


def test_a_private_key_that_others_can_read_is_a_problem_until_they_cannot(authority: Path, tmp_path: Path) -> None:
    for file in (authority / "h1").iterdir():
        shutil.copy(file, tmp_path)
    key = tmp_path / "node.pem"
    with running(tmp_path) as (agent, made):
        wait_until(lambda: listens(agent.port), within_s=15)
        key.chmod(0o640)
        wait_until(lambda: bool(made.problems()), within_s=15)
        assert made.problems() == (f"other users can read the private key in {key}; run: chmod 0600 {key}",)
        wait_until(lambda: not listens(agent.port), within_s=15)
        key.chmod(0o600)
        wait_until(lambda: not made.problems() and listens(agent.port), within_s=15)
    if os.geteuid() == 0:
        os.chown(key, 12345, -1)
        with pytest.raises(channel.KeysUnusable, match=r"another user \(12345\); run: chown root"):
            channel.own_certificate(tmp_path)


def test_keys_of_another_node_and_keys_that_end_soon_are_problems(authority: Path) -> None:
    with running(authority / "h2") as (agent, made):
        wait_until(lambda: bool(made.problems()), within_s=15)
        assert "are those of h2" in made.problems()[0]
    ends_s = channel.own_certificate(authority / "h1").ends_s
    with running(authority / "h1") as (agent, made):
        agent.now_s = ends_s - 5 * 86400
        wait_until(lambda: bool(made.problems()), within_s=15)
        assert made.problems() == ("the certificate of this node ends in 5 days; renew it with: bgpctl keys node h1",)


def test_a_member_with_the_certificate_of_another_is_not_believed(authority: Path) -> None:
    with served(authority / "h3", b"") as port:
        tls = channel.context(authority / "h2", server=False)
        answer = channel.ask(Member("h1", "127.0.0.1", port, "127.0.0.2"), "summary", 15, tls)
    assert reason(answer) == f"127.0.0.1:{port} has the certificate of h3"


@contextmanager
def served(directory: Path, content: bytes, pause: Callable[[], object] = lambda: None) -> Iterator[int]:
    """A server with the keys of a member and a mind of its own."""
    tls = channel.context(directory, server=True)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def serve() -> None:
            with suppress(OSError), tls.wrap_socket(listening.accept()[0], server_side=True) as opened:
                opened.recv(1000)
                opened.sendall(content)
                pause()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "closed the connection"),
        (b"nonsense", "cannot be asked"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "cannot be asked"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "no JSON object"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{x", "cannot be asked"),
        (b'HTTP/1.1 500 X\r\nContent-Length: 19\r\n\r\n{"error":"\\u001bc"}', "answered 500: '\\x1bc'"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 200_000, "cannot be asked: maximum recursion depth"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1" + b"0" * 30 + b"\r\n\r\n{}", "cannot be asked"),
        (b'HTTP/1.1 500 X\r\n\r\n{"error":"' + b"x" * 500_000 + b'"}', "x" * 200),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"1" * 1_000_000, "cannot be asked: its answer has more than 999999 bytes"),
    ],
)
def test_a_member_that_answers_badly_is_one_that_could_not_be_asked(
    authority: Path, content: bytes, words: str
) -> None:
    with served(authority / "h1", content) as port:
        tls = channel.context(authority / "h2", server=False)
        found = reason(channel.ask(Member("h1", "127.0.0.1", port, "127.0.0.2"), "summary", 15, tls, 999_999))
    assert words in found
    assert len(found) < 300


def test_a_member_that_is_silent_costs_its_time_and_no_more(authority: Path) -> None:
    hold = threading.Event()
    with served(authority / "h1", b"HTTP/1.1 200", lambda: hold.wait(60)) as port:
        members = [Member("h1", "127.0.0.1", port, "127.0.0.2"), Member("h9", "127.0.0.1", free_port(), "127.0.0.2")]
        answers = channel.ask_all(members, "summary", 5.0, channel.context(authority / "h2", server=False))
        hold.set()
    assert reason(answers["h1"]) == f"127.0.0.1:{port} does not answer within 5 s"
    assert "refuses connections" in reason(answers["h9"])


def test_keys_stay_with_their_owner(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = tmp_path / "keys"
    keys.make_ca(made)
    place = keys.issue(made, "h1")
    first = (place / "node.pem").read_bytes()
    assert keys.issue(made, "h1") == place
    assert (place / "node.pem").read_bytes() != first
    secret = {path: path.stat().st_mode & 0o777 for path in (made, made / "ca.key", place, place / "node.pem")}
    assert list(secret.values()) == [0o700, 0o600, 0o700, 0o600]
    assert channel.own_certificate(place).name == "h1"
    assert capfd.readouterr() == ("", "")
    with pytest.raises(keys.KeysError, match="has a CA already"):
        keys.make_ca(made)
    with pytest.raises(keys.KeysError, match="has no CA"):
        keys.issue(tmp_path / "none", "h1")
    (made / "ca.key").write_bytes(json.dumps("secret").encode())
    with pytest.raises(keys.KeysError, match="cannot be read as PEM") as failed:
        keys.issue(made, "h1")
    assert "secret" not in str(failed.value)


def test_a_certificate_does_not_outlive_its_ca(tmp_path: Path) -> None:
    made = tmp_path / "keys"
    keys.make_ca(made, days=10)
    run = CliRunner().invoke(main, ["keys", "node", "h1", "--keys", str(made)])
    words = "is for node h1, valid for 10 days, as long as the CA; copy its files to /etc/bgpctl/keys there"
    assert run.output == f"{made}/nodes/h1 {words}\n"
    found = channel.own_certificate(made / "nodes" / "h1")
    assert 9.9 < found.days_left(time.time()) < 10
    run = CliRunner().invoke(main, ["keys", "node", "h1", "--keys", str(made), "--days", "5"])
    assert "valid for 5 days; copy" in run.output


def test_a_ca_that_has_expired_issues_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "keys"
    monkeypatch.setattr(keys, "_SKEW", timedelta(days=2))
    keys.make_ca(made, days=-1)
    with pytest.raises(keys.KeysError, match="has expired; make another one"):
        keys.issue(made, "h1")
    assert not (made / keys.NODES).exists()
