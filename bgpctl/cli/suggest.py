"""
Words that a shell completes: labs and their parts, nodes, peers and pools, as files, the agent and the host have them.

An agent or a lab that does not answer is no error while a command is typed: nothing is completed then.

Refuses to know: shells; how an agent, a file or a lab is read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from bgpctl import client

_WITHIN_S: Final = 0.5
_RUN_DIR: Final = "run_dir"


def _given(context: click.Context, name: str) -> Any:
    """A value that was typed before, of this command or one around it."""
    here: click.Context | None = context
    while here is not None:
        if here.params.get(name):
            return here.params[name]
        here = here.parent
    return None


def _beginning(names: Iterable[str], start: str) -> list[str]:
    return sorted({name for name in names if name.startswith(start)})


def labs(context: click.Context, option: click.Parameter, start: str) -> list[str]:
    """The labs of this host."""
    from bgpctl.lab import lab  # noqa: PLC0415 (only while a lab's name is typed)

    del context, option
    return _beginning(lab.lab_names(), start)


def parts(context: click.Context, option: click.Parameter, start: str) -> list[str]:
    """Nodes, routers, hosts and workloads of the lab that is named, or else of all."""
    from bgpctl.lab import lab, netns  # noqa: PLC0415 (only while a part's name is typed)
    from bgpctl.lab.build import Names  # noqa: PLC0415

    del option
    name = _given(context, "name")
    known = [Names(each) for each in ([name] if name else lab.lab_names())]
    found = {space.removeprefix(names.prefix) for names in known for space in netns.names(names.prefix)}
    return _beginning(found - {names.fabric.removeprefix(names.prefix) for names in known}, start)


def logged(context: click.Context, option: click.Parameter, start: str) -> list[str]:
    """Nodes and routers with a log in the lab that is named, or else in all."""
    from bgpctl.lab import lab  # noqa: PLC0415 (only while a node's name is typed)
    from bgpctl.lab.build import Names  # noqa: PLC0415

    del option
    name = _given(context, "name")
    known = [name] if name else lab.lab_names()
    return _beginning((node for each in known for node in lab.logged(Names(each))), start)


def nodes(context: click.Context, option: click.Parameter, start: str) -> list[str]:
    """The nodes of the files typed before, or else those that the agent knows."""
    del option
    return _beginning(_of_files(context) or _of_agent(context, "nodes", "nodes", "name"), start)


def _of_files(context: click.Context) -> list[str]:
    from bgpctl.core.cluster.intent import Intent  # noqa: PLC0415 (only while a node's name is typed)
    from bgpctl.store import texts  # noqa: PLC0415

    found = (_given(context, name) for name in ("files", "more_files", "file", "after"))
    files = next(filter(None, found), ())
    loaded = texts.load([files] if isinstance(files, Path) else files) if files else None
    return [node.name for node in loaded.nodes] if isinstance(loaded, Intent) else []


def _of_agent(context: click.Context, view: str, key: str, name: str) -> list[str]:
    return list(_names(_given(context, _RUN_DIR) or _default(context), view, key, name))


def _default(context: click.Context) -> Path | None:
    """The run directory that would be taken if none is typed, as a variable may name it."""
    here: click.Context | None = context
    while here is not None:
        for option in here.command.params:
            if option.name == _RUN_DIR:
                found = option.resolve_envvar_value(here) or option.get_default(here)
                return Path(str(found)) if found else None
        here = here.parent
    return None


def _names(run_dir: Path | None, view: str, key: str, name: str) -> Iterator[str]:
    if run_dir is None:
        return
    with contextlib.suppress(client.AgentAway, client.BadRequest):
        rows = client.read(run_dir / client.SOCKET, view, timeout_s=_WITHIN_S, any_version=True)[key]
        yield from (str(row[name]) for row in rows)


def _from_agent(
    context: click.Context, option: click.Parameter, start: str, *, view: str, name: str = "name"
) -> list[str]:
    del option
    return _beginning(_of_agent(context, view, view, name), start)


Suggestion = Callable[[click.Context, click.Parameter, str], list[str]]

peers: Final[Suggestion] = partial(_from_agent, view="peers")
"""The peers of this node's agent."""


def lab_pools(context: click.Context, option: click.Parameter, start: str) -> list[str]:
    """The pools of the lab that is named, or else of all."""
    from bgpctl.lab import lab  # noqa: PLC0415 (only while a pool's name is typed)

    del option
    name = _given(context, "name")
    found: list[str] = []
    for each in [name] if name else lab.lab_names():
        with contextlib.suppress(lab.Unknown, RuntimeError):
            found += [pool.name for pool in lab.find(each).topology.intent.pools]
    return _beginning(found, start)
