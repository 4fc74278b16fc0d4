"""
`bgpctl top` and `bgpctl lab top`: what a node, or each node of a lab, does now, in place of the page before.

Rates are differences of two answers. Without a terminal there is one page, after two answers.

Refuses to know: how a part is put together (agent/map_views.py), how a table fits.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from bgpctl import client
from bgpctl.cli import asking, map_parts
from bgpctl.cli.options import run_dir_option
from bgpctl.cli.render import age, console, terminal_width
from bgpctl.cli.tables import Column, Row, lines, wrapped
from bgpctl.cli.values import duration_s
from bgpctl.cli.which_lab import find, name_option
from bgpctl.process import usage

Page: TypeAlias = list[Text]

_MEGABYTE: Final = 1_000_000
_LEAST_EVENTS: Final = 3
_BETWEEN_S: Final = 1.0

every_option = click.option(
    "--every",
    "every_s",
    callback=duration_s,
    default="2s",
    show_default=True,
    metavar="TIME",
    help="Between two pages.",
)


class Sample(NamedTuple):
    """
    One node at one time.

    Attributes:
        part: its answer, or why there is none.
        usages: of its agent's processes, the agent first.
        at_s: by a clock that cannot be set.
    """

    part: Mapping[str, Any] | str
    usages: tuple[usage.Usage, ...]
    at_s: float


def sample(run_dir: Path) -> Sample:
    """The node whose agent has this run directory."""
    pid = client.pid_of(run_dir / client.SOCKET)
    return Sample(map_parts.of_socket(run_dir), tuple(usage.of_tree(pid)) if pid else (), time.monotonic())


@click.command()
@every_option
@run_dir_option
def top(every_s: float, run_dir: Path) -> None:
    """Show what this node does now: sessions, packets a second by tunnel, processes, events. Ctrl-C ends it."""
    with asking.or_exit():
        if client.pid_of(run_dir / client.SOCKET) is None:
            raise client.AgentAway(f"no agent answers at {run_dir / client.SOCKET}")
    _show(lambda: {"": sample(run_dir)}, lambda before, now: node_page(before.get(""), now[""]), every_s)


@click.command("top")
@name_option
@every_option
def lab_top(name: str | None, every_s: float) -> None:
    """Show what each node of a running lab does now. Ctrl-C ends it."""
    lab = find(name)
    nodes = [node.name for node in lab.topology.agents]

    def take() -> dict[str, Sample]:
        return {node: sample(lab.run_dir(node)) for node in nodes}

    _show(take, lambda before, now: lab_page(f"lab {lab.names.lab}", before, now), every_s)


# Pages -------------------------------------------------------------------------------------------------------------


def node_page(before: Sample | None, now: Sample) -> Page:
    """The page of one node."""
    part = now.part
    if isinstance(part, str):
        return [Text(part, "bold red")]
    width = terminal_width()
    tables = [
        _table(part["sessions"], _SESSIONS, width),
        _table(list(_tunnels(before, now)), _TUNNELS, width),
        _table(list(_processes(before, now)), _PROCESSES, width),
    ]
    page = [_head(part, width), *_problems(part["problems"], width)]
    for table in filter(None, tables):
        page += [Text(), *table]
    return [*page, *_events([("", item) for item in part["events"]], width, len(page))]


def lab_page(title: str, before: Mapping[str, Sample], now: Mapping[str, Sample]) -> Page:
    """The page of a lab: a line for each node, and the last events of all."""
    width = terminal_width()
    rows = [_row(name, before.get(name), item) for name, item in now.items()]
    good = sum(row["converged"] for row in rows)
    head = Text.assemble((title, "bold"), f"  {good}/{len(rows)} converged  {time.strftime('%H:%M:%S')}")
    given = [(name, item.part) for name, item in now.items() if isinstance(item.part, dict)]
    problems = [f"{name}: {problem}" for name, part in given for problem in part["problems"]]
    problems += [f"{name}: {item.part}" for name, item in now.items() if isinstance(item.part, str)]
    events = [(name, event) for name, part in given for event in part["events"]]
    page = [head, Text(), *_table(rows, _NODES, width), *_problems(problems, width)]
    return [*page, *_events(events, width, len(page))]


def _head(part: Mapping[str, Any], width: int | None) -> Text:
    routes, paths = part["routes"], part["paths"]
    proven = sum(paths.values())
    facts = [
        f"{part['state']} {age(part['state_age_s'])}",
        f"BGP {part['peers']['established']}/{part['peers']['wanted']}" if part["backend"] == "bgp" else "no BGP",
        f"routes {routes['installed']}/{routes['wanted']}",
        f"proven {paths['proven']}/{proven}",
        time.strftime("%H:%M:%S"),
    ]
    head = Text.assemble((part["node"], "bold"), f"  {'  '.join(facts)}")
    head.truncate(width or head.cell_len)
    return head


def _table(rows: Sequence[Row], columns: Sequence[Column], width: int | None) -> Page:
    return list(lines(rows, columns, width)) if rows else []


def _problems(problems: Iterable[str], width: int | None) -> Page:
    texts = (f"! {problem}" for problem in problems)
    return [Text(line, "red") for text in texts for line in (wrapped(text, width) if width else [text])]


def _events(events: Iterable[tuple[str, Mapping[str, Any]]], width: int | None, above: int) -> Page:
    """As many of the last ones as there is room for, the newest first."""
    room = max(_LEAST_EVENTS, console().height - above - 3) if width else 10
    newest = sorted(events, key=lambda item: float(item[1]["age_s"]))[:room]
    rows = [{"age": f"{age(item['age_s'])} ago", "node": node, "event": item["event"]} for node, item in newest]
    columns = _EVENTS if any(row["node"] for row in rows) else [item for item in _EVENTS if item.header != "NODE"]
    return [Text(), *_table(rows, columns, width)] if rows else []


# Rows --------------------------------------------------------------------------------------------------------------


def _row(name: str, before: Sample | None, now: Sample) -> dict[str, Any]:
    part = now.part if isinstance(now.part, dict) else None
    rates = list(_tunnels(before, now))
    known = [row for row in rates if row["sent"] is not None]
    cpu = [row["cpu"] for row in _processes(before, now)]
    return {
        "node": name,
        "state": part["state"] if part else "silent",
        "converged": bool(part and part["converged"]),
        "bgp": f"{part['peers']['established']}/{part['peers']['wanted']}" if part else None,
        "routes": f"{part['routes']['installed']}/{part['routes']['wanted']}" if part else None,
        "proven": f"{part['paths']['proven']}/{sum(part['paths'].values())}" if part else None,
        "sent": sum(row["sent"] for row in known) if known else None,
        "received": sum(row["received"] for row in known) if known else None,
        "cpu": None if not cpu or None in cpu else sum(cpu),
        "memory": sum(item.memory_bytes for item in now.usages) if now.usages else None,
    }


def _tunnels(before: Sample | None, now: Sample) -> Iterator[dict[str, Any]]:
    """Packets a second; None while only one answer is there, or where they cannot be counted."""
    former = {row["device"]: row["traffic"] for row in _rows(before)}
    for row in _rows(now):
        was, traffic = former.get(row["device"]), row["traffic"]
        took_s = now.at_s - before.at_s if before else 0.0
        rates = [_rate(was, traffic, key, took_s) for key in ("sent_packets", "received_packets")]
        yield {**row, "sent": rates[0], "received": rates[1]}


def _rows(item: Sample | None) -> Sequence[Mapping[str, Any]]:
    return item.part["tunnels"] if item and isinstance(item.part, dict) else ()


def _rate(was: Mapping[str, int] | None, now: Mapping[str, int] | None, key: str, took_s: float) -> float | None:
    if not was or not now or took_s <= 0:
        return None
    return max(0, now[key] - was[key]) / took_s


def _processes(before: Sample | None, now: Sample) -> Iterator[dict[str, Any]]:
    former = {item.pid: item.cpu_s for item in before.usages} if before else {}
    for item in now.usages:
        took_s = now.at_s - before.at_s if before else 0.0
        cpu = (item.cpu_s - former[item.pid]) / took_s if item.pid in former and took_s > 0 else None
        yield {"name": item.name, "pid": item.pid, "cpu": cpu, "memory": item.memory_bytes}


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.0f}"


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f}"


def _megabytes(value: int | None) -> str | None:
    return None if value is None else f"{value / _MEGABYTE:.0f}"


_RATES: Final = (
    Column("SENT/s", lambda row: _number(row["sent"])),
    Column("RECEIVED/s", lambda row: _number(row["received"])),
)
_USAGE: Final = (
    Column("CPU %", lambda row: _percent(row["cpu"])),
    Column("MB", lambda row: _megabytes(row["memory"])),
)
_SESSIONS: Final[Sequence[Column]] = (
    Column("SESSION", lambda row: row["with"]),
    Column("ADDRESS", lambda row: row["address"], goes=1),
    Column("STATE", lambda row: "established" if row["established"] else "down"),
    Column("ERROR", lambda row: row["error"], wraps=True),
)
_TUNNELS: Final[Sequence[Column]] = (
    Column("TUNNEL", lambda row: row["device"]),
    Column("BY", lambda row: row["encapsulation"], goes=1),
    Column("STATE", lambda row: "up" if row["up"] else "down"),
    Column("NODES", lambda row: len(row["to"])),
    *_RATES,
)
_PROCESSES: Final[Sequence[Column]] = (
    Column("PROCESS", lambda row: row["name"]),
    Column("PID", lambda row: row["pid"]),
    *_USAGE,
)
_NODES: Final[Sequence[Column]] = (
    Column("NODE", lambda row: row["node"]),
    Column("STATE", lambda row: row["state"]),
    Column("BGP", lambda row: row["bgp"], goes=4),
    Column("ROUTES", lambda row: row["routes"], goes=2),
    Column("PROVEN", lambda row: row["proven"], goes=3),
    *_RATES,
    *(column._replace(goes=1) for column in _USAGE),
)
_EVENTS: Final[Sequence[Column]] = (
    Column("EVENT", lambda row: row["age"]),
    Column("NODE", lambda row: row["node"]),
    Column("", lambda row: row["event"], wraps=True),
)


# Showing -----------------------------------------------------------------------------------------------------------

_Samples: TypeAlias = dict[str, Sample]


def _show(
    take: Callable[[], _Samples],
    page: Callable[[Mapping[str, Sample], Mapping[str, Sample]], Page],
    every_s: float,
) -> None:
    before: _Samples = {}
    if not sys.stdout.isatty():
        before = take()
        time.sleep(min(every_s, _BETWEEN_S))
        console().print(Group(*page(before, take())), soft_wrap=True)
        return
    try:
        with Live(console=console(), screen=True, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                now = take()
                live.update(Group(*page(before, now)), refresh=True)
                before = now
                time.sleep(every_s)
    except KeyboardInterrupt:
        return
