"""Requests to members of an etcd that answer oddly, late, or not at all: the next one is asked, and words say why."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bgpctl.ports import Unavailable
from bgpctl.store.etcd.gateway import Gateway, Rejected
from bgpctl.store.etcd.kv import Compacted, Kv
from bgpctl.store.etcd.options import Endpoint, Options

Reply = Callable[[str, dict[str, Any], str], tuple[int, bytes]]


@contextmanager
def member(reply: Reply) -> Iterator[Endpoint]:
    """A server that answers POSTs by path, body and token."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, content = reply(self.path, body, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Endpoint(tls=False, host="127.0.0.1", port=server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fixed(status: int, content: object) -> Reply:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda *_: (status, text)


GOOD = fixed(200, {"header": {"revision": "7"}})


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (fixed(503, {"error": "etcdserver: no leader", "code": 14}), "no leader"),
        (fixed(500, {"error": "etcdserver: request timed out", "code": 4}), "timed out"),
        (fixed(200, b"<html>"), "Expecting value"),
        (fixed(200, [1]), "as no etcd does"),
    ],
)
def test_the_next_member_is_asked_where_one_cannot_answer_and_then_first(reply: Reply, why: str) -> None:
    with member(reply) as bad, member(GOOD) as good:
        gateway = Gateway(Options((bad, good)))
        assert Kv(gateway, "c").read("meta").revision == 7
        assert gateway.endpoint == good
        with pytest.raises(Unavailable, match=why):
            gateway.call("/v3/kv/range", {}, at=bad)


def test_a_member_that_is_not_there_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        gone = Endpoint(tls=False, host="127.0.0.1", port=held.getsockname()[1])
    with member(GOOD) as good:
        assert Gateway(Options((gone, good))).call("/v3/kv/range", {})
    with pytest.raises(Unavailable, match="refused"):
        Gateway(Options((gone,))).call("/v3/kv/range", {})


def test_what_etcd_refuses_is_no_reason_to_ask_another_member() -> None:
    with member(fixed(400, {"error": "etcdserver: mvcc", "code": 11})) as bad, member(GOOD) as good:
        with pytest.raises(Rejected, match="mvcc") as refused:
            Gateway(Options((bad, good))).call("/v3/kv/range", {})
        assert refused.value.code == 11


def test_a_token_is_asked_for_once_and_again_when_it_is_not_known_any_more(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("x\n")
    secret.chmod(0o600)
    valid: list[str] = []

    def reply(path: str, body: dict[str, Any], token: str) -> tuple[int, bytes]:
        if path == "/v3/auth/authenticate":
            assert body == {"name": "a1", "password": "x"}
            valid.append(f"t{len(valid)}")
            return 200, json.dumps({"token": valid[-1]}).encode()
        if token != valid[-1]:
            return 401, b'{"error": "etcdserver: invalid auth token", "code": 16}'
        return 200, b"{}"

    with member(reply) as one:
        gateway = Gateway(Options((one,), user="a1", password_file=secret))
        gateway.call("/v3/kv/range", {})
        gateway.call("/v3/kv/range", {})
        assert len(valid) == 1
        valid.append("of another start")
        gateway.call("/v3/kv/range", {})
        assert len(valid) == 3


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (b'{"result": {"created": true}}\n', Unavailable),
        (b"oh\n", Unavailable),
        (b'{"result": {"events": [{}]}}\n', Unavailable),
        (b'{"result": {"canceled": true, "cancel_reason": "x"}}\n', Unavailable),
        (b'{"result": {"canceled": true, "compact_revision": "9"}}\n', Compacted),
        (b'{"error": {"grpc_code": 11, "message": "compacted"}}\n', Compacted),
        (b'{"error": {"grpc_code": 7, "message": "denied"}}\n', Rejected),
    ],
)
def test_a_watch_ends_with_the_reason(lines: bytes, error: type[Exception]) -> None:
    with member(fixed(200, lines)) as one:
        kv = Kv(Gateway(Options((one,))), "c")
        with pytest.raises(error):
            list(kv.watch("cluster/", 5, one, lambda _: None))
