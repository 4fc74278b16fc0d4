"""`bgpctl doctor`: checks of this host.

Refuses to know: how a check is decided.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from bgpctl import channel, client
from bgpctl.cli import asking
from bgpctl.cli.exits import Exit
from bgpctl.cli.options import keys_directory, keys_option, node_option, run_dir_option, some_files_option
from bgpctl.cli.refusals import NotFound
from bgpctl.cli.render import emit, wide_output_option
from bgpctl.cli.tables import Column
from bgpctl.core.fabric.host import Needs, Verdict
from bgpctl.core.trace.doctor import Finding, examine, needs_of, of_store
from bgpctl.kernel.survey import survey
from bgpctl.ports import Unavailable
from bgpctl.speaker import orphans
from bgpctl.store import texts

_FINDINGS: Final[Sequence[Column]] = (
    Column("CHECK", lambda row: row["check"]),
    Column("VERDICT", lambda row: row["verdict"]),
    Column("FINDING", lambda row: row["message"], wraps=True),
    Column("NEXT", lambda row: row["next"], wraps=True),
)


@click.command()
@some_files_option(
    "Cluster file, with --node: check the requirements of that node. Without: of this node, if its agent answers "
    "(to root), else of everything bgpctl can do."
)
@node_option("Name of this node in the cluster file.")
@run_dir_option
@keys_option
@wide_output_option
def doctor(files: tuple[Path, ...], node: str | None, run_dir: Path, output: str) -> None:
    """
    Check kernel features, modules, sysctls, ports, firewall and MTU, and show the next command for each finding.

    Exits 1 if a check failed; a warning is not a failure. Changes nothing in this network namespace; the kernel
    may load its modules of VXLAN and nftables.
    """
    needs = _needs(files, node) if files or node else _of_agent(run_dir)
    try:
        summary = _summary(run_dir)
        facts = replace(
            survey(agent=summary is not None),
            speakers=orphans.running(),
            members=_members(summary or {}),
            **_keys(needs),
        )
        findings = (*examine(facts, needs), *_store(summary or {}))
    except (Unavailable, OSError) as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.REFUSED)
    rows = [{**finding._asdict(), "verdict": finding.verdict.value} for finding in findings]
    emit({"schema": "bgpctl/doctor/v1", "checks": rows}, output, rows, _FINDINGS)
    failed = any(finding.verdict is Verdict.FAIL for finding in findings)
    sys.exit(Exit.DIFFERENT if failed else Exit.OK)


def _needs(files: tuple[Path, ...], name: str | None) -> Needs:
    if not files or name is None:
        raise click.UsageError("--file and --node go together")
    loaded = texts.load(files)
    if isinstance(loaded, tuple):
        for problem in loaded:
            click.echo(str(problem), err=True)
        sys.exit(Exit.INVALID)
    node = loaded.node(name)
    if node is None:
        raise NotFound(f"{name} is not a node of {', '.join(map(str, files))}")
    return needs_of(loaded, node)


def _of_agent(run_dir: Path) -> Needs:
    """The requirements of this node, if an agent answers, and answers this user; else of everything."""
    try:
        intent, name = asking.configuration(run_dir)
    except (client.AgentAway, client.BadRequest, client.Denied):
        return Needs()
    node = intent.node(name)
    return needs_of(intent, node) if node else Needs()


def _keys(needs: Needs) -> dict[str, Any]:
    """The facts about this node's keys, where it needs them."""
    if needs.node is None or not needs.intent.channel_port:
        return {}
    directory = keys_directory()
    try:
        found = channel.own_certificate(directory)
    except channel.KeysMissing:
        return {"keys_unusable": f"channelPort is set, and there are no keys in {directory}"}
    except channel.KeysUnusable as error:
        return {"keys_unusable": str(error)}
    if found.name != needs.node.name:
        return {"keys_unusable": f"the keys in {directory} are those of {found.name or 'no node'}"}
    return {"keys_days": found.days_left(time.time())}


def _summary(run_dir: Path) -> dict[str, Any] | None:
    """Of the agent of this node, which may be of another version; None without one."""
    try:
        return client.read(run_dir / client.SOCKET, "summary", any_version=True)
    except client.AgentAway:
        return None


def _members(summary: Mapping[str, Any]) -> tuple[tuple[str, str, bool], ...]:
    found = summary.get("members", ())
    return tuple((str(item["problem"]), str(item["next"]), bool(item["is_broken"])) for item in found)


def _store(summary: dict[str, Any]) -> tuple[Finding, ...]:
    store = summary.get("store")
    return (of_store(store["name"], heard=store["heard"], held_off=store["held_off"]),) if store else ()
