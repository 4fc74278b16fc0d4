"""Every command of docs/how-to/join.md works on three hosts, and prints what is shown."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.docs.blocks import EXECUTED, HOSTS, ROOT, Block, blocks, commands, shows
from tests.docs.world import World
from tests.lab.join_rig import ADDRESSES, Hosts, hosts

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")

DOCUMENT = ROOT / "docs" / "how-to" / "join.md"
BLOCKS = [block for block in blocks(DOCUMENT) if block.kind == HOSTS]
_MAKE: Final = """
set -e
mount -t tmpfs tmpfs /run
for at in /etc /var/lib; do
    mkdir -p /run/world$at/upper /run/world$at/work
    mount -t overlay overlay -o "lowerdir=$at,upperdir=/run/world$at/upper,workdir=/run/world$at/work" $at
done
hostname "$1"
exec bash --norc
"""
_PRIVATE: Final = ("--mount", "--propagation", "private", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.fixture
def shells(tmp_path: Path) -> Iterator[dict[str, World]]:
    """A shell on each host, all in one directory: so a join file is there as if it had been copied."""
    home = tmp_path / "home"
    home.mkdir()
    with hosts(tmp_path / "hosts") as made, ExitStack() as stack:
        yield {name: shell(stack, made, name, home, tmp_path) for name in ADDRESSES}


def shell(stack: ExitStack, made: Hosts, name: str, home: Path, papers: Path) -> World:
    own = papers / f"papers-{name}"
    own.mkdir()
    process = subprocess.Popen(
        ("ip", "netns", "exec", made.namespace(name), "unshare", *_PRIVATE, "sh", "-c", _MAKE, "sh", name),
        cwd=home,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    stack.enter_context(process)
    stack.callback(process.kill)
    return World(process, own)


def test_the_commands_print_what_the_page_shows(
    shells: dict[str, World], record_property: Callable[[str, object], None]
) -> None:
    for block in BLOCKS:
        check(shells, block)
    record_property(EXECUTED, len(BLOCKS))


def check(shells: dict[str, World], block: Block) -> None:
    for command in commands(block):
        result = shells[command.host].run(command.text)
        told = f"{block}: {command.host}# {command.text}\n{result.output}{result.errors}"
        if command.prints:
            assert shows(command.prints, result.shown), told
        else:
            assert result.code == 0, told
