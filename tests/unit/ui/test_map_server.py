"""The map's server: who may read, from where, and that nothing can be changed."""

from __future__ import annotations

import http.client
import json
import math
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bgpctl.ports import Unavailable
from bgpctl.ui.latest import Latest, NotPermitted, Unanswerable
from bgpctl.ui.server import LIMITS, MapServer, files
from tests.waiting import wait_until


class Fixed:
    """Answers that are known before."""

    every_s = math.inf

    def __init__(self) -> None:
        self.maps = 0

    def map(self) -> dict[str, Any]:
        self.maps += 1
        return {"schema": "bgpctl/map/v1"}

    def explain(self, source: str, destination: str, size_bytes: int) -> dict[str, Any]:
        if source == "nowhere":
            raise Unanswerable("nowhere is no address")
        if source == "secret":
            raise NotPermitted("only root may ask")
        return {"from": source, "to": destination, "size": size_bytes}

    def verify(self) -> dict[str, Any]:
        return {"schema": "bgpctl/verify/v1", "pairs": 2, "classes": []}


@pytest.fixture(scope="module")
def server() -> Iterator[MapServer]:
    opened = MapServer("127.0.0.1", 0, Fixed())
    yield opened
    opened.close()


def asked(
    server: MapServer, path: str, method: str = "GET", key: str | None = None, body: str | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=20)
    given = {"Authorization": f"Bearer {server.token if key is None else key}"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, given)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def test_the_page_needs_no_key_and_all_answers_need_it(server: MapServer) -> None:
    for path in files():
        assert asked(server, path, key="")[0] == 200
    for path in ("/api/map", "/api/verify", "/api/explain?from=a&to=b", "/api/anything"):
        for wrong in ("", "x", server.token[:-1], server.token + "x"):
            assert asked(server, path, key=wrong)[0] == 401, path
    assert asked(server, "/api/map")[0] == 200
    assert asked(server, "/api/anything")[0] == 404
    assert server.url.startswith(f"{server.address}/#")


def test_each_answer_lets_pages_load_nothing_from_elsewhere_and_others_load_nothing_from_here(
    server: MapServer,
) -> None:
    for path in ("/", "/main.js", "/api/map", "/nothing"):
        _, headers, _ = asked(server, path)
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; ")
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert not [name for name in headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "127.0.0.1@evil"])
def test_a_name_that_was_made_to_lead_here_reads_nothing(server: MapServer, host: str) -> None:
    for path in ("/", "/api/map"):
        assert asked(server, path, Host=host)[0] == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9000", "[::1]:9000", "192.0.2.1:80"])
def test_an_address_is_answered_also_with_the_port_of_a_tunnel_by_ssh(server: MapServer, host: str) -> None:
    assert asked(server, "/api/map", Host=host)[0] == 200


def test_scripts_of_other_origins_read_nothing_even_with_the_key(server: MapServer) -> None:
    for origin in ("http://evil.example", "null", "https://127.0.0.1", f"{server.address}0"):
        assert asked(server, "/api/map", Origin=origin)[0] == 403
    for site in ("cross-site", "same-site"):
        assert asked(server, "/api/map", Sec_Fetch_Site=site)[0] == 403
        assert asked(server, "/api/map", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate")[0] == 403
        assert asked(server, "/", Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors")[0] == 403
        assert asked(server, "/", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate")[0] == 200
    assert asked(server, "/api/map", Origin=server.address, Sec_Fetch_Site="same-origin")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_but_reads_is_accepted(server: MapServer, method: str) -> None:
    for path in ("/", "/api/map", "/v1/drain"):
        assert asked(server, path, method)[0] in {400, 405}


def test_a_read_has_no_content(server: MapServer) -> None:
    assert asked(server, "/api/map", body="x")[0] == 400


def test_files_outside_of_the_page_are_not_served(server: MapServer) -> None:
    for path in ("/../server.py", "/%2e%2e/server.py", "//etc/passwd", "/page/main.js", "/."):
        assert asked(server, path)[0] == 404, path


def test_a_map_that_has_not_changed_is_not_sent_again_and_made_once(server: MapServer) -> None:
    _, headers, body = asked(server, "/api/map")
    assert json.loads(body) == {"schema": "bgpctl/map/v1"}
    status, _, nothing = asked(server, "/api/map", If_None_Match=headers["ETag"])
    assert (status, nothing) == (304, b"")
    assert asked(server, "/api/map", If_None_Match='"other"')[0] == 200
    source = server._server.source
    assert isinstance(source, Fixed)
    assert source.maps == 1


def test_two_ends_and_a_size_are_explained_and_anything_else_is_an_error(server: MapServer) -> None:
    status, _, body = asked(server, "/api/explain?from=10.0.0.1&to=b1&size=1500")
    assert (status, json.loads(body)) == (200, {"from": "10.0.0.1", "to": "b1", "size": 1500})
    for query in ("", "?from=a", "?from=a&to=b&size=0", "?from=a&to=b&size=9999999", f"?from=a&to={'b' * 500}"):
        assert asked(server, f"/api/explain{query}")[0] == 400, query
    assert json.loads(asked(server, "/api/explain?from=nowhere&to=b")[2]) == {"error": "nowhere is no address"}
    assert asked(server, "/api/explain?from=secret&to=b")[0] == 403


def test_the_verdict_comes_with_its_age(server: MapServer) -> None:
    def verdict() -> Any:
        return json.loads(asked(server, "/api/verify")[2])

    wait_until(lambda: verdict()["age_s"] is not None, within_s=15)
    found = verdict()
    assert found["schema"] == "bgpctl/map-verify/v1"
    assert found["verdict"]["pairs"] == 2
    assert found["error"] is None


def test_one_who_holds_connections_does_not_keep_others_out(server: MapServer) -> None:
    place = ("127.0.0.1", int(server.address.rpartition(":")[2]))
    idle = [socket.create_connection(place, 10) for _ in range(LIMITS.all)]
    assert asked(server, "/")[0] == 200
    for one in idle:
        one.close()


def test_a_port_that_is_taken_is_an_error_with_its_place(server: MapServer) -> None:
    port = int(server.address.rpartition(":")[2])
    with pytest.raises(Unavailable, match=rf"cannot listen at 127\.0\.0\.1:{port}: .*--listen"):
        MapServer("127.0.0.1", port, Fixed())


def test_an_answer_is_made_once_however_many_ask_and_an_error_is_one_too() -> None:
    began, may_end = threading.Event(), threading.Event()
    made: list[int] = []

    def make() -> int:
        made.append(1)
        began.set()
        may_end.wait(20)
        if len(made) > 1:
            raise Unanswerable("not now")
        return 7

    latest: Latest[int] = Latest(make, 0.01)
    assert latest.get(0.0) is None
    assert began.wait(20)
    assert latest.get(0.0) is None
    may_end.set()
    found = latest.get(20.0)
    assert found is not None
    assert len(made) >= 1
    wait_until(lambda: (item := latest.get(1.0)) is not None and item.error == "not now", within_s=15)
    latest.close()


def test_a_defect_is_an_error_for_the_page_and_not_the_end_of_the_server() -> None:
    def make() -> int:
        raise ZeroDivisionError

    latest: Latest[int] = Latest(make, math.inf)
    found = latest.get(20.0)
    assert found
    assert found.answer is None
    assert "terminal" in (found.error or "")
