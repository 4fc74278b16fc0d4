"""
`bgpctl workload add|del|list|show`: network namespaces of this host with addresses of this node's blocks.

Refuses to know: how a workload is attached (attach/workloads.py), how its addresses are chosen (core/ipam).
"""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from bgpctl.attach import ledger_file, netns, status, workloads
from bgpctl.attach.status import NotPossible, Status
from bgpctl.attach.workloads import Done, NotUndone
from bgpctl.cli import findings
from bgpctl.cli.exits import Exit
from bgpctl.cli.options import store_option
from bgpctl.cli.render import age, emit, is_text, output_option, wide_output_option
from bgpctl.cli.shared_ipam import chosen_store, opened
from bgpctl.cli.tables import Column
from bgpctl.cli.without_agent import now
from bgpctl.cli.workload_options import cluster_files_option, state_dir_option, this_node_option
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.intent.fields import is_name, not_a_name, parse_mac
from bgpctl.core.ipam.blocks import NotGiven, Rule
from bgpctl.core.ipam.ledger import Request, Workload
from bgpctl.core.net.addresses import Address, Mac
from bgpctl.ports import NotPossibleNow
from bgpctl.store import texts
from bgpctl.store.etcd.options import UnusableStore

_LINK_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_LABEL: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_./-]{0,252})=([A-Za-z0-9_.-]{0,63})")
_OF_THE_NODE: Final = frozenset({"lo", "all", "default"})
_INVALID: Final = frozenset(
    {
        Rule.ADDRESS_KEPT,
        Rule.NO_BLOCK,
        Rule.OUTSIDE_BLOCKS,
        Rule.POOL_NOT_KNOWN,
        Rule.POOL_NOT_USABLE,
        Rule.SAME_VERSION,
    }
)
"""By the cluster file, or by the command alone; the others depend on this host."""
_WORDS: Final = {Done.ADDED: "has", Done.REBUILT: "is rebuilt, and has", Done.THERE: "is there already, and has"}


def _state(row: Mapping[str, Any]) -> str:
    return f"{row['state']}: {row['reason']}" if row["reason"] else str(row["state"])


def _labels(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in row["labels"].items())


_COLUMNS: Final[Sequence[Column]] = (
    Column("NAME", lambda row: row["name"]),
    Column("ADDRESSES", lambda row: ", ".join(row["addresses"]), wraps=True),
    Column("STATE", _state, wraps=True),
    Column("NETNS", lambda row: row["netns"], goes=4),
    Column("DEV", lambda row: row["dev"], goes=2),
    Column("DEVICE", lambda row: row["device"], goes=5),
    Column("MTU", lambda row: row["mtu_bytes"], goes=1),
    Column("AGE", lambda row: age(row["age_s"]), goes=6),
    Column("LABELS", _labels, goes=3, wraps=True),
)
_FACTS: Final[Sequence[Column]] = (
    Column("FACT", lambda row: row["fact"]),
    Column("VALUE", lambda row: row["value"], wraps=True),
)


def _link_name(_context: click.Context, _option: click.Parameter, text: str) -> str:
    if not _LINK_NAME.fullmatch(text) or text in _OF_THE_NODE:
        raise click.BadParameter(f"{text!r} is no name for a link: letters, digits, '_', '.' and '-', 15 at most")
    return text


def _namespace(_context: click.Context, _option: click.Parameter, text: str) -> str:
    """A path is noted from the root: another command may be given elsewhere."""
    return os.path.abspath(text) if "/" in text else text  # noqa: PTH100 (no link of it is followed)


def _parsed_addresses(_context: click.Context, _option: click.Parameter, found: Sequence[str]) -> tuple[Address, ...]:
    try:
        return tuple(map(Address.parse, found))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _parsed_mac(_context: click.Context, _option: click.Parameter, text: str | None) -> Mac | None:
    try:
        return None if text is None else parse_mac(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _parsed_labels(
    _context: click.Context, _option: click.Parameter, found: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    labels: dict[str, str] = {}
    for text in found:
        match = _LABEL.fullmatch(text)
        if match is None:
            raise click.BadParameter(f"{text!r} is no label, such as app=db")
        labels[match[1]] = match[2]
    return tuple(sorted(labels.items()))


@click.group()
@state_dir_option
@click.pass_context
def workload(context: click.Context, state_dir: Path) -> None:
    """Attach network namespaces of this host to this node's blocks; no agent is needed for that."""
    context.obj = state_dir


@workload.command()
@click.argument("name")
@click.option(
    "--netns", required=True, callback=_namespace, help="Its network namespace: a name of `ip netns`, or a path."
)
@click.option("--pool", "pools", multiple=True, help="Take an address of this pool; one pool of each IP version.")
@click.option(
    "--ip",
    "addresses",
    multiple=True,
    callback=_parsed_addresses,
    metavar="ADDRESS",
    help="Take this address; one of each IP version.",
)
@click.option("--mac", callback=_parsed_mac, help="The MAC address of its interface; without, one by its name.")
@click.option(
    "--dev", default="eth0", show_default=True, callback=_link_name, help="The name of its interface, inside."
)
@click.option("--label", "labels", multiple=True, callback=_parsed_labels, metavar="KEY=VALUE", help="For readers.")
@cluster_files_option("WORKLOAD_ADD")
@store_option
@this_node_option("WORKLOAD_ADD")
@output_option
@click.pass_context
def add(context: click.Context, /, name: str, node: str | None, output: str, **asked: Any) -> None:
    """
    Give a network namespace an interface with addresses of this node's blocks, routes and neighbours.

    With --store a node that has no free address claims another block of the pool.

    The same command again makes what is not there any more, as after a boot, with the same addresses. Exits 2 if the
    request or the cluster file has no such address, 6 if something on this host is in the way (the block is full, the
    name or the address is taken), 5 if a failure could not be undone.
    """
    if not is_name(name):
        raise click.UsageError(not_a_name(name))
    if not asked["pools"] and not asked["addresses"]:
        raise click.UsageError("--pool or --ip is needed; see: bgpctl show pools")
    directory: Path = context.obj
    here = node or socket.gethostname()
    files: tuple[Path, ...] = asked.pop("files")
    del asked["store"]
    store = chosen_store(context)
    request = Request(name, inner=asked.pop("dev"), **asked)
    with _failures():
        shared = opened(store, here, directory) if store else None
        if shared:
            intent, member = shared.cluster()
        else:
            intent, member = _declared(files, here)
        found, done = workloads.add(directory, intent, member, request, now(), shared)
    if is_text(output):
        own = " and ".join(map(str, found.addresses))
        click.echo(f"{name} {_WORDS[done]} {own} on {found.request.inner}, MTU {found.mtu_bytes}")
    else:
        row = _row(Status(found, status.State.UP))
        emit({"schema": "bgpctl/workload-added/v1", "outcome": done.value, **row}, output, (), ())


def _declared(files: tuple[Path, ...], here: str) -> tuple[Intent, Node]:
    """The cluster of files, and this node."""
    intent = findings.valid(texts.load(files))
    member = intent.node(here)
    if member is None:
        raise click.UsageError(f"{here} is not a node of {', '.join(map(str, files))}; choose one with --node")
    return intent, member


@workload.command("del")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@store_option
@this_node_option("WORKLOAD_DEL")
@click.pass_obj
def delete(directory: Path, names: tuple[str, ...], store: str | None, node: str | None) -> None:
    """
    Remove workloads from this node, and free their addresses. One that is not there is no error.

    Their namespaces stay, without the interface. While the store is away, it hears of it with the next workload.
    """
    for name in names:
        with _failures():
            shared = opened(store, node or socket.gethostname(), directory) if store else None
            found = workloads.delete(directory, name, now().moment, shared)
        if found:
            click.echo(f"{name} is deleted, with {' and '.join(map(str, found.addresses))}")
        else:
            click.echo(f"there is no workload {name}")


@workload.command("list")
@wide_output_option
@click.pass_obj
def list_(directory: Path, output: str) -> None:
    """The workloads of this node: their addresses, and whether they are there."""
    with _failures():
        rows = [_row(found) for found in status.statuses(directory)]
    emit({"schema": "bgpctl/workload-list/v1", "workloads": rows}, output, rows, _COLUMNS)


@workload.command()
@click.argument("name")
@output_option
@click.pass_obj
def show(directory: Path, name: str, output: str) -> None:
    """All that is known of one workload."""
    with _failures():
        row = next((_row(found) for found in status.statuses(directory) if found.workload.name == name), None)
    if row is None:
        raise click.UsageError(f"there is no workload {name}; see: bgpctl workload list")
    facts = [{"fact": fact.replace("_", " "), "value": _plain(value)} for fact, value in row.items()]
    emit({"schema": "bgpctl/workload/v1", **row}, output, facts, _FACTS)


@contextmanager
def _failures() -> Iterator[None]:
    """Failures in words, with the exit code of each."""
    try:
        yield
    except NotGiven as error:
        _fail(str(error), Exit.INVALID if error.rule in _INVALID else Exit.REFUSED)
    except netns.NoNamespace as error:
        _fail(str(error.strerror), Exit.INVALID)
    except NotUndone as error:
        _fail(str(error), Exit.PARTLY)
    except UnusableStore as error:
        _fail(str(error), Exit.INVALID)
    except (NotPossible, NotPossibleNow, ledger_file.LedgerUnusable, OSError) as error:
        _fail(str(error), Exit.REFUSED)


def _fail(text: str, code: Exit) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(code)


def _row(found: Status) -> dict[str, Any]:
    item: Workload = found.workload
    request = item.request
    return {
        "name": item.name,
        "addresses": [str(address) for address in item.addresses],
        "state": found.state.value,
        "reason": found.reason or None,
        "netns": request.netns,
        "dev": request.inner,
        "mac": item.mac,
        "device": item.device,
        "mtu_bytes": item.mtu_bytes,
        "pools": list(request.pools),
        "labels": dict(request.labels),
        "since": datetime.fromtimestamp(item.since_s, UTC).isoformat(timespec="seconds"),
        "age_s": max(0, round(time.time() - item.since_s)),
    }


def _plain(value: object) -> object:
    match value:
        case dict():
            return ", ".join(f"{key}={item}" for key, item in value.items()) or None
        case list():
            return ", ".join(map(str, value)) or None
        case _:
            return value
