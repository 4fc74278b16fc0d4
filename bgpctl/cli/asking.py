"""
The answers of nodes about their kernels: this node's agent is asked by its socket, the members by the channel between
agents, each once and many at once.

A node that cannot be asked is no error: it is in the answers with the reason. Nothing of an answer is believed before
it was read as a whole; its text is made printable first.

Refuses to know: what follows from the answers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from bgpctl import client
from bgpctl.agent import trace_codec
from bgpctl.cli.exits import Exit
from bgpctl.cli.render import printable
from bgpctl.core.cluster.agreement import digest
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.trace.answers import Answers, NodeAnswer

if TYPE_CHECKING:
    import ssl

    from bgpctl.channel import Member

KERNEL: Final = "kernel"
_WITHIN_S: Final = 10.0
"""For a kernel with many routes: a member makes answers with a quarter of a processor."""


@dataclass(frozen=True, slots=True)
class Asker:
    """
    Attributes:
        intent: the configuration by which nodes are known.
        ask: the answers of the nodes with these names.
        beside: kernels that were read without asking, such as those of a lab's routers.
        explain: the words of the command that explains one pair.
    """

    intent: Intent
    ask: Callable[[Iterable[str]], Answers]
    beside: Mapping[str, NodeAnswer] = field(default_factory=dict)
    explain: str = "bgpctl explain"


def of_agent(run_dir: Path, keys: Path) -> Asker:
    """
    By the agent of this node.

    Raises:
        AgentAway: it does not answer, or has no configuration yet.
        Denied: this user may not ask it.
    """
    intent, here = configuration(run_dir)

    def ask(names: Iterable[str]) -> Answers:
        wanted = set(names)
        own = of_socket(here, run_dir) if here in wanted else Answers()
        return own.plus(_of_members(intent, here, sorted(wanted - {here}), keys))

    return Asker(intent, ask)


def configuration(run_dir: Path) -> tuple[Intent, str]:
    """The configuration that the agent of this node has in force, and the node's name. Raises as `of_agent` does."""
    body = client.read(run_dir / client.SOCKET, "intent", timeout_s=_WITHIN_S)
    if body["intent"] is None:
        raise client.AgentAway("the agent of this node has no configuration yet: bgpctl show summary")
    return trace_codec.decode_intent(body["intent"]), str(body["node"])


@contextmanager
def or_exit() -> Iterator[None]:
    """Exit 3 if this node's agent does not answer, and 6 if this user may not ask it."""
    try:
        yield
    except client.Denied as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.REFUSED)
    except client.AgentAway as error:
        click.echo(f"{error}\nwithout an agent, give the cluster file: -f cluster.yaml", err=True)
        sys.exit(Exit.UNREACHABLE)


def of_socket(name: str, run_dir: Path) -> Answers:
    """The answer of the node whose agent has this run directory."""
    try:
        return understood(name, client.read(run_dir / client.SOCKET, KERNEL, timeout_s=_WITHIN_S))
    except (client.AgentAway, client.BadRequest, client.Denied) as error:
        return Answers(unasked={name: str(error)})


def _of_members(intent: Intent, here: str, names: Iterable[str], keys: Path) -> Answers:
    found = Answers()
    for name, answer in of_members(intent, here, names, keys, KERNEL, _WITHIN_S).items():
        given = Answers(unasked={name: answer}) if isinstance(answer, str) else understood(name, answer)
        found = found.plus(given)
    return found


def of_members(
    intent: Intent, here: str, names: Iterable[str], keys: Path, request: str, within_s: float
) -> dict[str, dict[str, Any] | str]:
    """Each member's answer to one request as it came, or the reason why there is none."""
    from bgpctl import channel  # noqa: PLC0415 (TLS)

    tls = _context(intent, keys) if names else ""
    if isinstance(tls, str):
        return dict.fromkeys(names, tls)
    places = {name: _place(intent, here, name) for name in names}
    found: dict[str, dict[str, Any] | str] = {name: place for name, place in places.items() if isinstance(place, str)}
    members = [place for place in places.values() if not isinstance(place, str)]
    for name, answer in channel.ask_all(members, request, within_s, tls).items():
        found[name] = answer.reason if isinstance(answer, channel.NoAnswer) else answer
    return found


def _context(intent: Intent, keys: Path) -> ssl.SSLContext | str:
    """Or the reason why no member can be asked."""
    from bgpctl import channel  # noqa: PLC0415 (TLS)

    if not intent.channel_port:
        return "the cluster file has no channelPort, so agents do not ask each other"
    try:
        return channel.context(keys, server=False)
    except channel.KeysMissing:
        return f"there are no keys in {keys}, or this user may not read them"
    except channel.KeysUnusable as error:
        return str(error)


def _place(intent: Intent, here: str, name: str) -> Member | str:
    """Where the member is asked, from this node's address of that IP version."""
    from bgpctl.channel import Member  # noqa: PLC0415 (TLS)

    node, own = intent.node(name), intent.node(here)
    if node is None or own is None:
        return "it is no member by the configuration that is in force here"
    source = own.underlay(node.address.address.version)
    if source is None:
        return f"it has an IPv{node.address.address.version} address alone, and this node has none"
    return Member(name, str(node.address.address), intent.channel_port, str(source.address))


def understood(name: str, answer: Mapping[str, Any]) -> Answers:
    """The answer of this node as a value, or the reason why it is none."""
    if answer.get("schema") != client.schema(KERNEL):
        words = f"its agent is of another version: it answered {printable(answer.get('schema'))}"
        return Answers(unasked={name: words})
    try:
        tree = {key: item for key, item in printable(answer).items() if key != "schema"}
        found = trace_codec.decode({**tree, "node": name})
    except (trace_codec.Undecodable, RecursionError) as error:
        return Answers(unasked={name: f"its answer cannot be read: {printable(str(error))[:200]}"})
    return Answers({name: found})


def differing(intent: Intent, answers: Answers) -> list[str]:
    """The nodes that have another configuration in force."""
    ours = digest(intent)
    return sorted(name for name, answer in answers.given.items() if answer.configuration not in ("", ours))
