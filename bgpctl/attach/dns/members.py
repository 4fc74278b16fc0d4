"""
The names of other members' workloads, asked of their agents by the channel, where the cluster is in files.

A member is asked every two seconds, in large clusters less often: four questions a second go out. While one does not
answer, its last names stay for ten minutes. One that has not answered yet may have any name, for a minute.

Without a port for the channel no other node can be asked, and names of this node's workloads are all that there are.

Refuses to know: TLS, who serves the questions (agent/channel.py).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from bgpctl import channel
from bgpctl.channel import KeysMissing, KeysUnusable, Member, NoAnswer
from bgpctl.core.cluster.configuration import Node
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.ipam.names import Named, Others
from bgpctl.core.net.addresses import Address
from bgpctl.ports import Unavailable

log = logging.getLogger("bgpctl.dns")

VIEW: Final = "names?own=true"
_ROUND_S: Final = 2.0
_PACE_S: Final = 0.25
_WITHIN_S: Final = 3.0
_LONGEST_BYTES: Final = 4 << 20
_KEPT_S: Final = 600.0
_STARTING_S: Final = 60.0
_END_S: Final = 5.0


class MemberNames:
    """
    Asks until closed. Any thread may call.

    Args:
        cluster: the cluster and this node; raises Unavailable.
        keys: the directory of this node's keys.
    """

    def __init__(self, cluster: Callable[[], tuple[Intent, Node]], keys: Path) -> None:
        self._cluster, self._keys = cluster, keys
        self._heard_s: dict[str, float] = {}
        self._names: dict[str, tuple[Named, ...]] = {}
        self._others = Others(unheard="no member was asked yet")
        self._problem = ""
        self._started_s = time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="members", daemon=True)
        self._thread.start()

    def publish(self, names: tuple[Named, ...]) -> None:
        """Nothing is to be done: this node's agent answers members' questions by the resolver's file."""

    def others(self) -> Others:
        """The others' names."""
        return self._others

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        while not self._closed.is_set():
            began_s = time.monotonic()
            try:
                self._round()
                problem = ""
            except (Unavailable, KeysMissing, KeysUnusable) as error:
                problem = f"there are no keys in {error}" if isinstance(error, KeysMissing) else str(error)
                self._know((), problem)
            if problem != self._problem:
                log.warning("names of other members are not known: %s", problem) if problem else None
            self._problem = problem
            self._closed.wait(max(_PACE_S, began_s + _ROUND_S - time.monotonic()))

    def _round(self) -> None:
        intent, here = self._cluster()
        members = list(_members(intent, here)) if intent.channel_port else []
        tls = channel.context(self._keys, server=False) if members else None
        for member in members:
            if tls is None or self._closed.wait(_PACE_S if len(members) > 1 else 0):
                break
            answer = channel.ask(member, VIEW, _WITHIN_S, tls, _LONGEST_BYTES)
            found = None if isinstance(answer, NoAnswer) else _understood(answer)
            if found is not None:
                self._heard_s[member.name] = time.monotonic()
                self._names[member.name] = found
            self._know([member.name for member in members])
        self._know([member.name for member in members])

    def _know(self, members: list[str] | tuple[()], problem: str = "") -> None:
        """Have what is known be known, for as long as it is good."""
        now_s = time.monotonic()
        names = {
            name: found
            for name, found in self._names.items()
            if (problem or name in members) and now_s - self._heard_s[name] < _KEPT_S
        }
        silent = sorted(set(members) - self._heard_s.keys()) if now_s - self._started_s < _STARTING_S else []
        unheard = problem or (f"{', '.join(silent)} did not answer yet" if silent else "")
        if (names, unheard) != (self._others.names, self._others.unheard):
            self._others = Others(names, unheard)


def _members(intent: Intent, here: Node) -> Iterator[Member]:
    for node in intent.nodes:
        version = node.address.address.version
        source = here.underlay(version)
        if node.name != here.name and source is not None:
            yield Member(node.name, str(node.address.address), intent.channel_port, str(source.address))


def _understood(answer: dict[str, Any]) -> tuple[Named, ...] | None:
    """Nothing of it is believed before it is read: a member may be of another version, or in other hands."""
    try:
        return tuple(map(_named, answer["names"]))
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


def _named(item: dict[str, Any]) -> Named:
    addresses = tuple(Address.parse(str(text)) for text in item["addresses"])
    return Named(str(item["network"]), tuple(map(str, item["names"])), addresses)
