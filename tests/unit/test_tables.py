"""Tables of `bgpctl show` in terminals of known width, with the longest names and addresses."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from typing import Any, Final

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from bgpctl.agent.snapshot import Snapshot
from bgpctl.agent.views import VIEWS, answer
from bgpctl.cli import render, show
from bgpctl.cli.main import main
from bgpctl.cli.tables import Column, lines
from tests.stories.mesh import converged

IDENTIFYING: Final = {
    "summary": {"node"},
    "peers": {"name", "address"},
    "neighbor": {"name", "address", "prefix", "next_hop"},
    "routes": {"prefix", "via", "dev"},
    "rib": {"prefix", "peer", "next_hop"},
    "tunnels": {"name", "addresses", "remotes"},
    "workloads": {"device", "addresses"},
    "names": {"full_names", "addresses"},
    "nodes": {"name", "address", "blocks", "tunnel_addresses"},
    "pools": {"name", "cidr", "encapsulated_to"},
    "blocks": {"block", "node", "pool"},
    "services": {"service", "address", "node"},
    "configuration": set[str](),
    "events": set[str](),
}
WORKLOAD: Final = {
    "device": "cali0123456789a",
    "up": True,
    "mtu_bytes": 1480,
    "addresses": ["10.244.1.10/32", "10.244.1.11/32"],
    "filtered": True,
    "dropped": [{"reason": "source", "packets": 4, "last": "10.244.1.12"}],
}
INSTANCE: Final = {
    "service": "web",
    "address": "192.0.2.80",
    "node": "a1",
    "here": True,
    "workload": None,
    "check": "http 8080/healthz every 1000 ms, rise 2, fall 3",
    "state": "down",
    "age_s": 41.0,
    "announced_to": 0,
    "failed": 3,
    "failure": "GET http://192.0.2.80:8080/healthz: no answer within 1000 ms",
    "failure_age_s": 0.4,
}

NAMED: Final = {
    "network": "blue",
    "names": ["web", "shop_web_1"],
    "full_names": ["web.blue.bgpctl", "shop_web_1.blue.bgpctl"],
    "addresses": ["10.244.1.10", "fd00:10:244::1"],
    "node": "b1",
}


def body_of(view: str, *, long: bool) -> dict[str, Any]:
    """A view of a converged node; `long`: each address is an IPv6 one of full length, each node's name has 63 bytes."""
    play = converged()
    body = answer(view, Snapshot(play.state, play.now_s + 41, {}))
    if view == "workloads":
        body["workloads"] = [WORKLOAD]
    if view == "names":
        body["names"] = [NAMED]
    if view == "services":
        body["services"] = [INSTANCE]
    if view == "events":
        event = "UPDATE from b1: " + ", ".join(f"10.244.{number}.0/26" for number in range(20))
        body["events"] = [{"age_s": 41.0, "event": event, "commands": ["observe", "wake at 60 s"] * 9}]
    return json.loads(_lengthened(json.dumps(body)) if long else json.dumps(body))  # type: ignore[no-any-return]


def _lengthened(text: str) -> str:
    def address(match: re.Match[str]) -> str:
        return "2001:db8:aaaa:bbbb:" + ":".join(f"1{int(part):03x}" for part in match[0].split("."))

    addressed = re.sub(r"\b\d+\.\d+\.\d+\.\d+\b", address, text)
    return re.sub(r"\b[ab][12]\b", lambda match: match[0].ljust(63, "x"), addressed)


def shown(
    monkeypatch: pytest.MonkeyPatch, body: dict[str, Any], view: str, width: int | None, *words: str
) -> list[str]:
    monkeypatch.setattr(render, "terminal_width", lambda: width)
    monkeypatch.setattr(show, "ask", lambda *_, **__: body)
    result = CliRunner().invoke(main, ["show", view, *words])
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def identities(body: object, keys: set[str]) -> Iterator[str]:
    match body:
        case dict():
            for key, value in body.items():
                if key in keys:
                    yield from value if isinstance(value, list) else [value] if value else []
                yield from identities(value, keys)
        case list():
            for item in body:
                yield from identities(item, keys)
        case _:
            pass


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("view", sorted(VIEWS))
def test_no_line_is_wider_than_the_terminal_and_what_identifies_is_whole(
    monkeypatch: pytest.MonkeyPatch, view: str, long: bool, width: int
) -> None:
    body = body_of(view, long=long)
    found = shown(monkeypatch, body, view, width)
    assert [line for line in found if cell_len(line) > width] == []
    parts = {part.rstrip(",") for line in found for part in line.split()}
    wanted = set(identities(body, IDENTIFYING[view]))
    assert wanted or not IDENTIFYING[view]
    assert wanted <= parts, wanted - parts


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_wide_is_as_in_a_file_at_any_width(monkeypatch: pytest.MonkeyPatch, view: str) -> None:
    body = body_of(view, long=True)
    wide = shown(monkeypatch, body, view, 80, "-o", "wide")
    assert wide == shown(monkeypatch, body, view, None)
    assert "…" not in "".join(wide)


AT_80: Final = {
    ("routes", False): """\
PREFIX         VIA        DEV    FIB        AGE  REASON
10.244.1.0/26  blackhole  -      installed  -    own block: packets to its
                                                 unassigned addresses are
                                                 dropped
10.244.2.0/26  10.0.0.2   eth0   installed  41s  best path, from a2; pool blue:
                                                 unencapsulated, 10.0.0.2 is
                                                 inside 10.0.0.0/24
10.244.3.0/26  10.1.0.3   tunl0  installed  41s  best path, from b1; pool blue:
                                                 IPIP, 10.1.0.3 is not in
                                                 10.0.0.0/24
10.244.4.0/26  10.1.0.4   tunl0  installed  41s  best path, from b2; pool blue:
                                                 IPIP, 10.1.0.4 is not in
                                                 10.0.0.0/24
""",
    ("nodes", False): """\
NODE       ADDRESS      AS     BLOCKS         TUNNEL ADDRESS  SESSION      PATH
a1 (here)  10.0.0.1/24  64512  10.244.1.0/26  10.244.1.0      -            -
a2         10.0.0.2/24  64512  10.244.2.0/26  10.244.2.0      established  -
b1         10.1.0.3/24  64512  10.244.3.0/26  10.244.3.0      established  -
b2         10.1.0.4/24  64512  10.244.4.0/26  10.244.4.0      established  -
""",
    ("summary", False): """\
NODE  PEERS    ROUTES rx/best/fib  TUNNELS  MTU   REPAIRED(1h)  STATE
a1    3/3 est  3/3/3               ipip 2   1480  0             converged 41s
""",
    ("blocks", True): """\
2001:db8:aaaa:bbbb:100a:10f4:1001:1000/26
  NODE a1xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
  POOL blue  HERE own
2001:db8:aaaa:bbbb:100a:10f4:1002:1000/26
  NODE a2xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
  POOL blue  HERE routed
2001:db8:aaaa:bbbb:100a:10f4:1003:1000/26
  NODE b1xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
  POOL blue  HERE routed
2001:db8:aaaa:bbbb:100a:10f4:1004:1000/26
  NODE b2xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
  POOL blue  HERE routed
""",
}


@pytest.mark.parametrize(("view", "long"), AT_80)
def test_tables_at_80(monkeypatch: pytest.MonkeyPatch, view: str, long: bool) -> None:
    assert shown(monkeypatch, body_of(view, long=long), view, 80) == AT_80[view, long].splitlines()


def test_remarks_below_a_table_wrap_under_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = "peer b1 is not established, 1 stale route kept: closing connection; see: bgpctl show neighbor b1"
    body = {**body_of("summary", long=False), "problems": [problem], "waiting": []}
    assert shown(monkeypatch, body, "summary", 80)[2:] == [
        "! peer b1 is not established, 1 stale route kept: closing connection; see:",
        "  bgpctl show neighbor b1",
    ]
    assert shown(monkeypatch, body, "summary", 80, "-o", "wide")[2:] == [f"! {problem}"]


def test_only_rows_without_room_are_folded() -> None:
    columns = (Column("NAME", lambda row: row["name"]), Column("WHY", lambda row: row["why"], wraps=True))
    rows: list[dict[str, Any]] = [
        {"name": "b1", "why": "it does not answer"},
        {"name": "x" * 30, "why": "it does not answer"},
        {"name": "b2", "why": None},
    ]
    assert [line.plain for line in lines(rows, columns, 32)] == [
        "NAME  WHY",
        "b1    it does not answer",
        "x" * 30,
        "  WHY it does not answer",
        "b2    -",
    ]


@given(
    st.lists(st.tuples(st.text("ab:.", min_size=1, max_size=60), st.text("ab ", max_size=200)), max_size=5),
    st.integers(60, 130),
)
def test_any_cells_fit_and_identities_stay(cells: list[tuple[str, str]], width: int) -> None:
    columns = (
        Column("NAME", lambda row: row["name"]),
        Column("MORE", lambda row: len(row["why"]), goes=1),
        Column("ADDRESS", lambda row: row["name"][::-1]),
        Column("WHY", lambda row: row["why"], wraps=True),
    )
    rows = [{"name": name, "why": why} for name, why in cells]
    found = [line.plain for line in lines(rows, columns, width)]
    assert all(cell_len(line) <= width or line.strip() in {name[::-1] for name, _ in cells} for line in found)
    parts = {part for line in found for part in line.split()}
    assert {name for name, _ in cells} | {name[::-1] for name, _ in cells} <= parts


def until_closed(terminal: int) -> Iterator[bytes]:
    """All that was written to a pseudoterminal whose other end is closed: Linux answers EIO after it."""
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 4096):
            yield part


def test_a_real_terminal_has_its_width() -> None:
    program = (
        "from bgpctl.cli.render import print_table; from bgpctl.cli.tables import Column;"
        "print_table([{'a': 'x' * 20, 'b': 'word ' * 30}],"
        "[Column('A', lambda r: r['a']), Column('B', lambda r: r['b'], wraps=True)])"
    )
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    variables = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES"}}
    environment = {**variables, "TERM": "xterm", "NO_COLOR": "1"}
    # Standard input and error too: without a terminal there Rich would ask the wrong one.
    subprocess.run(
        [sys.executable, "-c", program], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, check=True
    )
    os.close(theirs)
    text = re.sub(r"\x1b\[[0-9;]*m", "", b"".join(until_closed(ours)).decode())
    os.close(ours)
    widths = [len(line.rstrip()) for line in text.splitlines()]
    assert len(widths) == 6
    assert max(widths) <= 60
