"""
The routes that a kernel deletes, however soon they are back.

Refuses to know: who deletes them.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from tests.interop.world import Part, World
from tests.waiting import wait_until

_MARK: Final = "203.0.113.1"


@contextmanager
def deletions(world: World, part: Part) -> Iterator[set[str]]:
    """The prefixes of the routes that are deleted meanwhile in the kernel of a part."""
    command = ("ip", "netns", "exec", world.names.of(part), "ip", "monitor", "route")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as monitor, ExitStack() as stack:
        stack.callback(monitor.terminate)
        found: set[str] = set()
        reader = threading.Thread(target=_note, args=(monitor, found), daemon=True)
        reader.start()
        _marked(world, part, found)
        yield found
        _marked(world, part, found)


def _note(monitor: subprocess.Popen[str], found: set[str]) -> None:
    assert monitor.stdout
    for line in monitor.stdout:
        words = line.split()
        if words[:1] == ["Deleted"]:
            found.add(next(word for word in words[1:] if word[0].isdigit()))


def _marked(world: World, part: Part, found: set[str]) -> None:
    """A route of our own is added and deleted until the monitor has reported it, and all before it."""

    def reported() -> bool:
        for verb in ("replace", "del"):
            subprocess.run(("ip", "-n", world.names.of(part), "route", verb, _MARK, "dev", "lo"), check=True)
        return _MARK in found

    found.discard(_MARK)
    wait_until(reported, within_s=15)
    found.discard(_MARK)
