"""Every command of docs/how-to/docker.md works on two hosts with Docker, and prints what is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.docker.plugin_rig import Host, hosts
from tests.docker.rig import PROJECT
from tests.docs.blocks import EXECUTED, HOSTS, Block, blocks, commands, shows

DOCUMENT = PROJECT / "docs" / "how-to" / "docker.md"
BLOCKS = [block for block in blocks(DOCUMENT) if block.kind == HOSTS]
SEGMENTS = "segments:\n  lan: [192.168.10.0/24]\n"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Host]]:
    """The hosts of the page, by name, with its cluster file."""
    (cluster,) = (block.text for block in blocks(DOCUMENT) if block.file == "cluster.yaml")
    with hosts(tmp_path_factory.mktemp("page"), ("host1", "host2"), cluster + SEGMENTS) as made:
        for host in made:
            for block in blocks(DOCUMENT):
                if block.file:
                    (host.place / block.file).write_text(block.text)
        yield {host.node: host for host in made}


@pytest.mark.usefixtures("compose")
def test_the_commands_print_what_the_page_shows(
    named: dict[str, Host], record_property: Callable[[str, object], None]
) -> None:
    for block in BLOCKS:
        check(named, block)
    record_property(EXECUTED, len(BLOCKS))


def check(named: dict[str, Host], block: Block) -> None:
    for command in commands(block):
        host = named[command.host]
        done = host.attempt("sh", "-c", f"cd {host.place} && {command.text}")
        text = f"{block}: {command.host}# {command.text}\n{done.stdout}{done.stderr}{host.log('plugin')}"
        if command.prints:
            assert shows(command.prints, (done.stdout + done.stderr).splitlines()), text
        else:
            assert done.returncode == 0, text
