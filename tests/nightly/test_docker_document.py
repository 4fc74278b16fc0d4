"""Every command of docs/how-to/docker.md and names.md works on two hosts with Docker, and prints what is shown."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.docker.plugin_rig import Host, hosts
from tests.docker.rig import PROJECT
from tests.docs.blocks import EXECUTED, HOSTS, Block, blocks, commands, shows

PAGES = ("docker.md", "names.md")
SEGMENTS = "segments:\n  lan: [192.168.10.0/24]\n"


class Page(NamedTuple):
    """A page's blocks, and its hosts by name."""

    blocks: list[Block]
    hosts: dict[str, Host]


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Page]:
    """With the page's cluster file on both hosts, and the resolver."""
    found = list(blocks(PROJECT / "docs" / "how-to" / request.param))
    (cluster,) = (block.text for block in found if block.file == "cluster.yaml")
    place = tmp_path / "page"
    place.mkdir()
    with hosts(place, ("host1", "host2"), cluster + SEGMENTS) as made:
        for host in made:
            host.start_resolver()
            for block in found:
                if block.file:
                    (host.place / block.file).write_text(block.text)
        yield Page([block for block in found if block.kind == HOSTS], {host.node: host for host in made})


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="docker-compose")
def test_the_commands_print_what_the_page_shows(page: Page, record_property: Callable[[str, object], None]) -> None:
    for block in page.blocks:
        check(page.hosts, block)
    record_property(EXECUTED, len(page.blocks))


def check(named: dict[str, Host], block: Block) -> None:
    for command in commands(block):
        host = named[command.host]
        done = host.attempt("sh", "-c", f"cd {host.place} && {command.text}")
        text = f"{block}: {command.host}# {command.text}\n{done.stdout}{done.stderr}{host.log('plugin')}"
        if command.prints:
            assert shows(command.prints, (done.stdout + done.stderr).splitlines()), text
        else:
            assert done.returncode == 0, text
