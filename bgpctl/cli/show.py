"""`bgpctl show`: the views of a running agent, one command per noun.

Refuses to know: how the agent learned it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from bgpctl import client
from bgpctl.cli import suggest
from bgpctl.cli.convergence import await_convergence
from bgpctl.cli.exits import Exit
from bgpctl.cli.options import keys_directory, keys_option, run_dir_option, wait_option
from bgpctl.cli.refusals import NotFound, Refusal
from bgpctl.cli.render import age, emit, is_text, note
from bgpctl.cli.render import wide_output_option as output_option
from bgpctl.cli.tables import Column, Row
from bgpctl.cli.watch import WatchedGroup


def _counts(row: Row) -> str:
    routes = row["routes"]
    return f"{routes['received']}/{routes['best']}/{routes['installed']}"


def _sessions(row: Row) -> str | None:
    peers = row["peers"]
    return f"{peers['established']}/{peers['wanted']} est" if peers["wanted"] else None


def _counted(row: Row, what: str) -> int | None:
    return row["traffic"][what] if row["traffic"] else None


def _dropped(row: Row) -> str:
    """Packets by reason, each with the sender of the last one where that is known."""
    found = (item for item in row["dropped"] if item["packets"])
    return ", ".join(f"{item['reason']} {item['packets']}{_from(item['last'])}" for item in found)


def _from(last: str | None) -> str:
    return f" (last {last})" if last else ""


def _state(row: Row) -> str:
    return f"{row['state']} {age(row['state_age_s'])}" + (", cluster file rejected" if row["config_rejected"] else "")


def _values(item: dict[str, Any]) -> str:
    """Fields with their values; a setting is a value alone."""
    return ", ".join(f"{name} {json.dumps(value)}".strip() for name, value in item.items())


def _failure(row: Row) -> str | None:
    if not row["failure"]:
        return None
    when = "" if row["failure_age_s"] is None else f" ({age(row['failure_age_s'])} ago)"
    return f"{row['failure']}{when}"


def _fate(row: Row) -> str:
    status = row["status"].replace("-", " ")
    return f"{status}: {row['reason']}" if row["reason"] else status


SUMMARY: Final[Sequence[Column]] = (
    Column("NODE", lambda row: row["node"]),
    Column("BACKEND", lambda row: row["backend"], goes=2),
    Column("POOLS", lambda row: row["pools"], goes=1),
    Column("PEERS", _sessions, goes=7),
    Column("ROUTES rx/best/fib", _counts, goes=6),
    Column("TUNNELS", lambda row: ", ".join(row["tunnels"]), goes=5, wraps=True),
    Column("MTU", lambda row: row["mtu_bytes"], goes=3),
    Column("REPAIRED(1h)", lambda row: row["repaired_1h"], goes=4),
    Column("STATE", _state, wraps=True),
)

_BFD: Final[Column] = Column("BFD", lambda row: row["bfd"]["state"] if row["bfd"] else None, goes=9)
_PATH: Final[Column] = Column(
    "PATH", lambda row: "control lost, path proven" if _is_control_lost(row) else row["path"], goes=10, wraps=True
)
_PEERS: Final[Sequence[Column]] = (
    Column("PEER", lambda row: row["name"]),
    Column("ADDRESS", lambda row: row["address"]),
    Column("AS", lambda row: row["asn"], goes=4),
    Column("TYPE", lambda row: row["type"], goes=2),
    Column("ROLE", lambda row: "passive" if row["passive"] else "connects", goes=1),
    Column("STATE", lambda row: "established" if row["established"] else "down"),
    Column("UPTIME", lambda row: None if row["uptime_s"] is None else age(row["uptime_s"]), goes=7),
    Column("TABLE", lambda row: row["table"], goes=3, wraps=True),
    Column("RECEIVED", lambda row: row["received"], goes=8),
    Column("REJECTED", lambda row: row["rejected"], goes=5),
    Column("ADVERTISED", lambda row: row["advertised"], goes=6),
    Column("ERROR", lambda row: row["error"], wraps=True),
)


def _fib(row: Mapping[str, Any]) -> str:
    if not row["installed"]:
        return "absent"
    return "shadowed" if row.get("shadowed") else "installed"


_ROUTES: Final[Sequence[Column]] = (
    Column("PREFIX", lambda row: row["prefix"]),
    Column("VIA", lambda row: row["via"] or row["type"], wraps=True),
    Column("DEV", lambda row: row["dev"], wraps=True),
    Column("FIB", _fib, goes=2),
    Column("AGE", lambda row: None if row["age_s"] is None else age(row["age_s"]), goes=1),
    Column("REASON", lambda row: row["reason"], wraps=True),
)

_RIB: Final[Sequence[Column]] = (
    Column("PREFIX", lambda row: row["prefix"]),
    Column("PEER", lambda row: row["peer"]),
    Column("NEXT HOP", lambda row: row["next_hop"]),
    Column("AS PATH", lambda row: " ".join(map(str, row["as_path"])), goes=4, wraps=True),
    Column("LOCAL PREF", lambda row: row["local_pref"], goes=2),
    Column("MED", lambda row: row["med"], goes=1),
    Column("AGE", lambda row: age(row["age_s"]) + (" stale" if row["stale"] else ""), goes=3),
    Column("STATUS", _fate, wraps=True),
)

_FACTS: Final[Sequence[Column]] = (
    Column("FACT", lambda row: row["fact"]),
    Column("VALUE", lambda row: row["value"], wraps=True),
)

_LISTED: Final = "advertised_routes"
_ADVERTISED: Final[Sequence[Column]] = (
    Column("ADVERTISED", lambda row: row["prefix"]),
    Column("NEXT HOP", lambda row: row["next_hop"]),
    Column("AS PATH", lambda row: " ".join(map(str, row["as_path"])), goes=3, wraps=True),
    Column("LOCAL PREF", lambda row: row["local_pref"], goes=2),
    Column("COMMUNITIES", lambda row: " ".join(row["communities"]), goes=1, wraps=True),
)

_TUNNELS: Final[Sequence[Column]] = (
    Column("NAME", lambda row: row["name"]),
    Column("KIND", lambda row: row["kind"], goes=7),
    Column("DRIVER", lambda row: row["driver"], goes=2),
    Column("STATE", lambda row: "up" if row["up"] else "down"),
    Column("MTU", lambda row: row["mtu_bytes"], goes=6),
    Column("ADDRESS", lambda row: ", ".join(row["addresses"]), wraps=True),
    Column("VNI", lambda row: row["vni"], goes=3),
    Column("PORT", lambda row: row["port"], goes=1),
    Column("RX PACKETS", lambda row: _counted(row, "received_packets"), goes=5),
    Column("TX PACKETS", lambda row: _counted(row, "sent_packets"), goes=4),
    Column("DROPPED", lambda row: _dropped(row) or (0 if row["dropped"] else None), goes=8, wraps=True),
    Column("SENDS TO", lambda row: ", ".join(row["remotes"]), wraps=True),
)


def _path_mtus(row: Mapping[str, Any]) -> str:
    """Such as `b1 1380 (path 1400)`."""
    found = row.get("path_mtus", ())
    return ", ".join(f"{item['member']} {item['mtu_bytes']} (path {item['path_mtu_bytes']})" for item in found)


_UNPROVEN: Final[Column] = Column("UNPROVEN", lambda row: ", ".join(row["unproven"]), wraps=True)
_PATH_MTUS: Final[Column] = Column("MTU OF ROUTES", _path_mtus, wraps=True)

_WORKLOADS: Final[Sequence[Column]] = (
    Column("DEVICE", lambda row: row["device"]),
    Column("STATE", lambda row: "up" if row["up"] else "down", goes=2),
    Column("MTU", lambda row: row["mtu_bytes"], goes=1),
    Column("ADDRESSES", lambda row: ", ".join(row["addresses"]), wraps=True),
    Column("FILTER", lambda row: "in force" if row["filtered"] else "absent", goes=4),
    Column("DROPPED", lambda row: _dropped(row) or "0", goes=3, wraps=True),
)

_NAMES: Final[Sequence[Column]] = (
    Column("NAMES", lambda row: ", ".join(row["full_names"]), wraps=True),
    Column("ADDRESSES", lambda row: ", ".join(row["addresses"]), wraps=True),
    Column("NODE", lambda row: row["node"], goes=1),
)

_NODES: Final[Sequence[Column]] = (
    Column("NODE", lambda row: row["name"] + (" (here)" if row["this"] else "")),
    Column("ADDRESS", lambda row: row["address"]),
    Column("AS", lambda row: row["asn"], goes=2),
    Column("SUBNET", lambda row: "same" if row["same_subnet"] else "other", goes=1),
    Column("BLOCKS", lambda row: ", ".join(row["blocks"]), wraps=True),
    Column("TUNNEL ADDRESS", lambda row: ", ".join(row["tunnel_addresses"]), wraps=True),
    Column("SESSION", lambda row: row["session"], goes=3),
    Column("PATH", lambda row: row["path"], goes=4, wraps=True),
)

_POOLS: Final[Sequence[Column]] = (
    Column("POOL", lambda row: row["name"]),
    Column("CIDR", lambda row: row["cidr"]),
    Column("ENCAPSULATION", lambda row: row["encapsulation"], goes=4),
    Column("MODE", lambda row: row["mode"], goes=3),
    Column("BLOCKS", lambda row: row["blocks"], goes=2),
    Column("NAT OUTGOING", lambda row: "yes" if row["nat_outgoing"] else "no", goes=1),
    Column("ENCAPSULATED TO", lambda row: ", ".join(row["encapsulated_to"]), wraps=True),
)

_BLOCKS: Final[Sequence[Column]] = (
    Column("BLOCK", lambda row: row["block"]),
    Column("NODE", lambda row: row["node"]),
    Column("POOL", lambda row: row["pool"]),
    Column("HERE", lambda row: row["here"], goes=1),
)

_SERVICES: Final[Sequence[Column]] = (
    Column("SERVICE", lambda row: row["service"]),
    Column("ADDRESS", lambda row: row["address"]),
    Column("NODE", lambda row: row["node"] + (" (here)" if row["here"] else "")),
    Column("STATE", lambda row: row["state"]),
    Column("SINCE", lambda row: None if row["age_s"] is None else age(row["age_s"]), goes=2),
    Column("PEERS", lambda row: row["announced_to"], goes=1),
    Column("LAST FAILURE", _failure, wraps=True),
)

_CONFIGURATION: Final[Sequence[Column]] = (
    Column("KIND", lambda row: row["kind"]),
    Column("NAME", lambda row: row["name"]),
    Column("VALUES", lambda row: _values(row["values"]), wraps=True),
)

_EVENTS: Final[Sequence[Column]] = (
    Column("AGE", lambda row: age(row["age_s"])),
    Column("EVENT", lambda row: row["event"], wraps=True),
    Column("ACTION", lambda row: "; ".join(row["commands"]), wraps=True),
)


def ask(run_dir: Path, view: str, **query: str) -> dict[str, Any]:
    """One view of the agent at `run_dir`; exits 3 if none answers, 2 if the question is not valid."""
    try:
        return client.read(run_dir / client.SOCKET, view, query)
    except client.NotPossible as error:
        raise Refusal(str(error)) from error
    except client.BadRequest as error:
        raise NotFound(str(error)) from error
    except (client.Faulty, client.OtherVersion) as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.UNREACHABLE)
    except client.AgentAway as error:
        click.echo(f"{error}\nstart one with: bgpctl agent run --node NAME -f cluster.yaml", err=True)
        sys.exit(Exit.UNREACHABLE)


@click.group(cls=WatchedGroup)
@run_dir_option
@click.pass_context
def show(context: click.Context, run_dir: Path) -> None:
    """Show the knowledge of the agent on this node."""
    context.obj = run_dir


@show.command()
@wait_option("Wait until it has converged, at most TIME (60s).")
@click.option(
    "--members",
    is_flag=True,
    help="Ask the agents of all members, by the channel between agents: for users who may read this node's keys.",
)
@keys_option
@output_option
@click.pass_obj
def summary(run_dir: Path, within_s: float | None, output: str, *, members: bool) -> None:
    """
    The node in one line, and its problems. With --wait exits 4 if it has not converged in time.

    With --members a line for each member; exits 3 if a member could not be asked.
    """
    if within_s is not None:
        await_convergence(run_dir, within_s)
    if members:
        from bgpctl.cli.members import show_summaries  # noqa: PLC0415 (TLS)

        show_summaries(SUMMARY, ask(run_dir, "nodes"), ask(run_dir, "summary"), keys_directory(), output)
    body = ask(run_dir, "summary")
    emit(body, output, [body], SUMMARY)
    if is_text(output):
        waiting = {item["reason"]: f" ({age(item['age_s'])})" for item in body["waiting"]}
        for problem in body["problems"]:
            note(f"! {problem}{waiting.get(problem, '')}", output)
    if within_s is not None and not body["converged"]:
        sys.exit(Exit.TIMED_OUT)


def _listing(name: str, columns: Sequence[Column], text: str, *, key: str = "") -> None:
    @show.command(name, help=text)
    @output_option
    @click.pass_obj
    def command(run_dir: Path, output: str) -> None:
        body = ask(run_dir, name)
        emit(body, output, body[key or name], columns)


@show.command()
@output_option
@click.pass_obj
def peers(run_dir: Path, output: str) -> None:
    """BGP sessions; for those with an error the next command to run."""
    body = ask(run_dir, "peers")
    emit(body, output, body["peers"], _with_more(body["peers"]))
    if is_text(output):
        for row in body["peers"]:
            if row["next"]:
                note(f"! {row['name']}: {row['error']}; see: {row['next']}", output)


def _with_more(rows: Sequence[Row]) -> Sequence[Column]:
    """The columns of peers, with one for BFD where a peer has it, and one for paths where one is not proven."""
    bfd = (_BFD,) if any(row["bfd"] for row in rows) else ()
    path = (
        (_PATH,)
        if any(row["path"] not in {None, "proven", "not probed"} or _is_control_lost(row) for row in rows)
        else ()
    )
    return (*_PEERS[:-1], *bfd, *path, _PEERS[-1])


def _is_control_lost(row: Row) -> bool:
    return row["path"] == "proven" and not row["established"]


@show.command()
@click.argument("peer", default="", shell_complete=suggest.peers)
@output_option
@click.pass_obj
def neighbor(run_dir: Path, peer: str, output: str) -> None:
    """BGP sessions, by the PEER's name or address: capabilities and timers, paths received, rejected and advertised."""
    body = ask(run_dir, "neighbor", peer=peer)
    if peer and not body["neighbors"]:
        raise NotFound(f"no session with {peer}; see: bgpctl show peers")
    if not is_text(output):
        emit(body, output, [], ())
        return
    for row in body["neighbors"]:
        emit(body, output, _facts(row), _FACTS)
        click.echo()
        emit(body, output, row[_LISTED], _ADVERTISED)


def _facts(row: Row) -> list[Row]:
    """The single values of a neighbour, as rows."""
    return [{"fact": name.replace("_", " "), "value": _plain(value)} for name, value in row.items() if name != _LISTED]


def _plain(value: object) -> object:
    match value:
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{count} {name}" for name, count in value.items())
        case list():
            return ", ".join(map(str, value))
        case _:
            return value


@show.command()
@output_option
@click.pass_obj
def tunnels(run_dir: Path, output: str) -> None:
    """Tunnel devices and the remotes behind them; where a path is not proven, the members that it leads to."""
    body = ask(run_dir, "tunnels")
    more = [
        column
        for name, column in (("path_mtus", _PATH_MTUS), ("unproven", _UNPROVEN))
        if any(row.get(name) for row in body["tunnels"])
    ]
    emit(body, output, body["tunnels"], (*_TUNNELS, *more))


_listing("workloads", _WORKLOADS, "Workloads of this node, their addresses, and what was dropped of theirs.")
_listing("names", _NAMES, "Names of workloads, as this node's resolver knows them.")
_listing("nodes", _NODES, "Members of the cluster.")
_listing("pools", _POOLS, "IP pools and how they are encapsulated from here.")
_listing("blocks", _BLOCKS, "Blocks and their owners.")
_listing("services", _SERVICES, "Service addresses: the nodes with an instance, and how that of this node is.")


@show.command()
@output_option
@click.pass_obj
def configuration(run_dir: Path, output: str) -> None:
    """The configuration in force, as members compare it: what is given, and differs from a default."""
    body = ask(run_dir, "configuration")
    named = ((kind, name, item) for kind, items in body["outline"].items() for name, item in items.items())
    rows = [{"kind": kind, "name": name, "values": item} for kind, name, item in named]
    emit(body, output, rows, _CONFIGURATION)


@show.command()
@click.argument("prefix", default="")
@output_option
@click.pass_obj
def routes(run_dir: Path, prefix: str, output: str) -> None:
    """Routes of this node, each with its reason; with PREFIX only those that overlap it."""
    body = ask(run_dir, "routes", prefix=prefix)
    emit(body, output, body["routes"], _ROUTES)


@show.command()
@click.argument("which", type=click.Choice(["in", "best", "rejected"]), default="in")
@click.argument("prefix", default="")
@output_option
@click.pass_obj
def rib(run_dir: Path, which: str, prefix: str, output: str) -> None:
    """Paths received by BGP: all, the best ones, or those that the import policy rejects; PREFIX: overlapping ones."""
    body = ask(run_dir, "rib", which=which, prefix=prefix)
    emit(body, output, body["paths"], _RIB)


@show.command()
@click.option("--last", default=50, show_default=True, help="The number of events.")
@output_option
@click.pass_obj
def events(run_dir: Path, last: int, output: str) -> None:
    """
    The last events, and the commands that answered them. `bgpctl agent journal` writes them to a file, and
    `bgpctl agent replay` replays that.
    """
    body = ask(run_dir, "events")
    body["events"] = body["events"][-last:]
    emit(body, output, body["events"], _EVENTS)
