"""
Answers of all members' agents, asked by the channel between agents.

Refuses to know: TLS, and the contents of a view but a summary's columns.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bgpctl import channel, client
from bgpctl.channel import Answer, Member, NoAnswer
from bgpctl.cli.exits import Exit
from bgpctl.cli.refusals import Refusal
from bgpctl.cli.render import emit, is_text, note, printable
from bgpctl.cli.tables import Column

_WITHIN_S: Final = 5.0


def show_summaries(
    columns: Sequence[Column], nodes: Mapping[str, Any], own: Mapping[str, Any], keys: Path, output: str
) -> None:
    """
    Print a summary of each member, in these columns, this node's `own` among them, and exit: 3 if a member could not
    be asked.
    """
    answers = _asked(nodes, "summary", keys)
    found = {own["node"]: dict(own), **{name: _understood(columns, name, answer) for name, answer in answers.items()}}
    rows = [found[name] for name in sorted(found)]
    silent = {name: answer.reason for name, answer in sorted(found.items()) if isinstance(answer, NoAnswer)}
    listed = [{"node": name, "summary": None, "error": reason} for name, reason in silent.items()]
    summaries = [row for row in rows if isinstance(row, dict)]
    listed += [{"node": row["node"], "summary": row, "error": None} for row in summaries]
    body = {"schema": "bgpctl/summaries/v1", "members": sorted(listed, key=lambda item: str(item["node"]))}
    emit(body, output, summaries, columns)
    if is_text(output):
        for row in summaries:
            for problem in row["problems"]:
                note(f"! {row['node']}: {problem}", output)
        for name, reason in silent.items():
            note(f"! {name} could not be asked: {reason}", output)
    sys.exit(Exit.UNREACHABLE if silent else Exit.OK)


def _asked(nodes: Mapping[str, Any], request: str, keys: Path) -> dict[str, Answer]:
    """Every other member's answer."""
    port = nodes["channel_port"]
    if not port:
        raise Refusal("agents ask each other where the cluster file has a channelPort, such as 9179")
    try:
        tls = channel.context(keys, server=False)
    except channel.KeysMissing:
        raise Refusal(f"there are no keys in {keys}, or this user may not read them") from None
    except channel.KeysUnusable as error:
        raise Refusal(str(error)) from error
    here = next((row for row in nodes["nodes"] if row["this"]), None)
    members = [_member(row, here, port) for row in nodes["nodes"] if here and not row["this"]]
    return channel.ask_all(members, request, _WITHIN_S, tls)


def _member(row: Mapping[str, Any], here: Mapping[str, Any], port: int) -> Member:
    """Where it is asked, from this node's address of the version by which the member is known."""
    address = row["address"].partition("/")[0]
    own = [here[key].partition("/")[0] for key in ("address", "address6") if here[key]]
    source = next((item for item in own if (":" in item) == (":" in address)), own[0])
    return Member(row["name"], address, port, source)


def _understood(columns: Sequence[Column], name: str, answer: Answer) -> Answer:
    """Nothing of it is believed before it is shown: a member may be of another version, or in other hands."""
    if isinstance(answer, NoAnswer):
        return answer
    if answer.get("schema") != client.schema("summary"):
        return NoAnswer(f"its agent is of another version: it answered {printable(answer.get('schema'))}")
    row: dict[str, Any] = {**printable(answer), "node": name}
    try:
        for column in columns:
            column.cell(row)
        for problem in row["problems"]:
            _ = problem + ""
    except (KeyError, TypeError, ValueError, AttributeError):
        return NoAnswer("its answer is no summary")
    return row
