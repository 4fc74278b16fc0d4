"""Requests that are none, and clients that are slow: answered or ended, and never a word of a bug in the log."""

from __future__ import annotations

import logging
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, nullcontext, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import pytest

from bgpctl.agent.api import Api, _Handler
from bgpctl.agent.errors import BadRequest, Unknown
from bgpctl.agent.limits import Limits, Share
from bgpctl.agent.pages import TcpPages, json_page
from bgpctl.ports import NotPossibleNow, Proposal
from bgpctl.store import texts
from tests.waiting import wait_until

SOON: Final = Limits(each=2, all=3, read_s=0.1, write_s=0.1)
LONG_ANSWER: Final = 4 << 20

BAD: Final = {
    "method": b"BREW / HTTP/1.1\r\n\r\n",
    "version": b"GET / HTTP/9.9\r\n\r\n",
    "no HTTP": bytes(range(128, 255)) + b"\r\n\r\n",
    "path": b"GET http://[/ HTTP/1.1\r\n\r\n",
    "long path": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    "huge header": b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n",
    "negative length": b"POST /v1/drain HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    "huge length": b"POST /v1/drain HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
    "length of 5000 digits": b"POST /v1/drain HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "length in other digits": "POST /v1/drain HTTP/1.1\r\nContent-Length: ²\r\n\r\n".encode("latin-1"),
    "chunked": b"POST /v1/drain HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "no UTF-8": b"POST /v1/apply HTTP/1.1\r\nContent-Length: 2\r\n\r\n\xff\xfe",
    "deep JSON": b"POST /v1/apply HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000,
    "wrong types": b'POST /v1/apply HTTP/1.1\r\nContent-Length: 7\r\n\r\n{"a":1}',
    "less content than announced": b'POST /v1/apply HTTP/1.1\r\nContent-Length: 9\r\n\r\n["a: 1"]',
    "no JSON": b"POST /v1/apply HTTP/1.1\r\nContent-Length: 1\r\n\r\n{",
}


def _read(view: str, _arguments: Mapping[str, str]) -> dict[str, Any]:
    if view != "long":
        raise Unknown(view)
    return {"long": "x" * LONG_ANSWER}


def _act(_verb: str, arguments: Mapping[str, str]) -> dict[str, Any]:
    try:
        texts.contents_of(Proposal(arguments["content"]), ("cluster.yaml",))
    except NotPossibleNow as error:
        raise BadRequest(str(error)) from error
    return {}


@pytest.fixture
def place() -> Iterator[Path]:
    """Of an API whose users are as limited as other users are."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name) / "agent.sock"


def _connected(place: Path) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX)
    opened.settimeout(5)
    opened.connect(str(place))
    return opened


def _answer(opened: socket.socket) -> bytes:
    """All there is until the end."""
    found = b""
    with suppress(ConnectionError):  # what was not read of the request is lost with the connection
        while chunk := opened.recv(1 << 16):
            found += chunk
    return found


@pytest.mark.parametrize("kind", BAD)
def test_a_malformed_request_is_a_bad_request(place: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), closing(Api(place, _read, _act)), _connected(place) as asking:
        with suppress(ConnectionError):
            asking.sendall(BAD[kind])
        asking.shutdown(socket.SHUT_WR)
        answer = _answer(asking)
        assert answer.startswith(b"HTTP/1.1 400 "), answer[:200]
        assert answer.count(b"HTTP/1.1") == 1
    assert caplog.text == ""


def _limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if root were any user."""
    monkeypatch.setattr("bgpctl.agent.api._is_trusted", lambda _uid: False)


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nX: a\r\n", b"GET /v1/none HTTP/1.1\r\n\r\n"])
def test_who_says_nothing_more_is_cut_off(place: Path, said: bytes) -> None:
    with closing(Api(place, _read, limits=SOON)), _connected(place) as asking:
        asking.sendall(said)
        _answer(asking)


def test_who_says_a_letter_at_a_time_is_cut_off(place: Path) -> None:
    cut_off = pytest.raises(ConnectionError)
    with closing(Api(place, _read, limits=SOON)), _connected(place) as asking, cut_off:
        wait_until(lambda: not asking.send(b"a"))


def test_who_does_not_read_is_cut_off(place: Path) -> None:
    with closing(Api(place, _read, limits=SOON._replace(read_s=60.0))), _connected(place) as asking:
        asking.sendall(b"GET /v1/long HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert asking.recv(4, socket.MSG_PEEK) == b"HTTP"
        wait_until(lambda: not [thread for thread in threading.enumerate() if "process_request" in thread.name])
        assert len(_answer(asking)) < LONG_ANSWER


def test_a_user_has_few_connections_and_all_have_a_few_more(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = iter((1, 1, 1, 2, 3))
    monkeypatch.setattr("bgpctl.agent.api._Server.user_of", lambda *_: next(users))
    working = threading.Semaphore(0)

    def work(_view: str, _arguments: Mapping[str, str]) -> dict[str, Any]:
        working.release()
        ended.wait(10)
        return {}

    ended = threading.Event()
    monkeypatch.setattr("bgpctl.agent.limits.Share.turn", lambda _self: nullcontext())
    with closing(Api(place, work, limits=SOON._replace(read_s=60))), ExitStack() as stack:
        opened = []
        for at in range(5):
            opened.append(stack.enter_context(_connected(place)))
            opened[at].sendall(b"GET /v1/x HTTP/1.1\r\n\r\n")
            assert at in {2, 4} or working.acquire(timeout=5)
        assert [_answer(opened[at])[:12] for at in (2, 4)] == [b"HTTP/1.1 503"] * 2
        ended.set()


@pytest.mark.parametrize("said", [b"", b"GET /liveness HTTP/1.1\r\nX: "])
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_idle_connections_keep_no_other_program_of_the_user_out(
    place: Path, monkeypatch: pytest.MonkeyPatch, kind: str, said: bytes
) -> None:
    _limited(monkeypatch)
    page = json_page(HTTPStatus.OK, {})
    limits = SOON._replace(read_s=60, write_s=60)
    server = Api(place, _read, pages={"/": lambda: page}, limits=limits) if kind == "unix" else None
    pages = server or TcpPages("127.0.0.1", 0, {"/": lambda: page}, limits)

    def connect() -> socket.socket:
        return _connected(place) if isinstance(pages, Api) else _to(pages.port)

    with closing(pages), ExitStack() as stack:
        idle = [stack.enter_context(connect()) for _ in range(2)]
        for one in idle:
            one.sendall(said)
        for _ in range(3):
            with connect() as asking:
                asking.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
                assert _answer(asking).startswith(b"HTTP/1.1 200")
        assert _answer(idle[0]) == b"", "the oldest one is ended"


def test_answers_that_are_not_read_do_not_fill_the_memory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _limited(monkeypatch)
    with closing(Api(place, _read, limits=Limits(unsent_bytes=LONG_ANSWER + 1000))):
        first, second = _connected(place), _connected(place)
        first.sendall(b"GET /v1/long HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert first.recv(4, socket.MSG_PEEK) == b"HTTP"
        second.sendall(b"GET /v1/long HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert _answer(second).startswith(b"HTTP/1.1 503")
        assert len(_answer(first)) > LONG_ANSWER
        first.close()
        second.close()


@pytest.mark.parametrize("is_limited", [True, False])
def test_an_answer_takes_as_long_as_it_takes(place: Path, monkeypatch: pytest.MonkeyPatch, *, is_limited: bool) -> None:
    monkeypatch.setattr("bgpctl.agent.api._is_trusted", lambda _uid: not is_limited)

    def made(_view: str, _arguments: Mapping[str, str]) -> dict[str, Any]:
        time.sleep(1.2)  # longer than a request may take, and than the server takes to see it
        return {"made": True}

    with closing(Api(place, made, limits=SOON._replace(write_s=5))), _connected(place) as asking:
        asking.sendall(b"GET /v1/none HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert _answer(asking).endswith(b'{"made": true}')


def test_who_is_slow_to_send_content_keeps_no_other_user_waiting(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _limited(monkeypatch)
    reads, received = threading.Event(), _Handler._received

    def noted(handler: _Handler, length: int) -> str:
        reads.set()
        return received(handler, length)

    monkeypatch.setattr(_Handler, "_received", noted)
    with closing(Api(place, _read)), _connected(place) as slow, _connected(place) as other:
        slow.sendall(b"GET /v1/none HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
        assert reads.wait(5)
        other.sendall(b"GET /v1/none HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert _answer(other).startswith(b"HTTP/1.1 404")


def test_content_of_all_users_together_does_not_fill_the_memory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _limited(monkeypatch)
    monkeypatch.setattr("bgpctl.agent.api._Handler._may_send_content", lambda _self: True)
    head = b"GET /v1/none HTTP/1.1\r\nConnection: close\r\nContent-Length: 10\r\n\r\n"
    with closing(Api(place, _read, limits=Limits(unsent_bytes=15))) as api, _connected(place) as slow:
        slow.sendall(head)
        wait_until(lambda: 10 in [one.unsent_bytes for one in api._server.connections._open.values()])
        with _connected(place) as other:
            other.sendall(head + b"x" * 10)
            assert _answer(other).startswith(b"HTTP/1.1 503")
        slow.sendall(b"x" * 10)
        assert _answer(slow).startswith(b"HTTP/1.1 404")


def test_all_users_together_have_a_quarter_of_a_processor() -> None:
    share = Share(0.25)
    assert share.pause_s(1.0, now_s=10.0) == 3.0
    assert share.pause_s(1.0, now_s=10.0) == 6.0
    assert share.pause_s(1.0, now_s=100.0) == 3.0


def test_the_tcp_port_has_the_same_limits() -> None:
    pages = TcpPages("127.0.0.1", 0, {}, SOON)
    with closing(pages), ExitStack() as stack:
        opened = [stack.enter_context(_to(pages.port)) for _ in range(3)]
        assert [_answer(one) for one in opened] == [b""] * 3
        wait_until(lambda: _brewed(pages.port).startswith(b"HTTP/1.1 400"))  # their threads may end a moment later


def _to(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def _brewed(port: int) -> bytes:
    with _to(port) as asking:
        asking.sendall(b"BREW / HTTP/1.1\r\n\r\n")
        return _answer(asking)
