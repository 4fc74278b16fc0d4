"""Every command of docs/containers.md works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from tests.docker.rig import BASE, PROJECT
from tests.docs.blocks import CONTAINERS, EXECUTED, Block, blocks
from tests.topologies import TOPOLOGIES
from tests.waiting import wait_until

DOCUMENT = PROJECT / "docs" / "containers.md"
BLOCKS = [block for block in blocks(DOCUMENT) if block.kind == CONTAINERS]
_DOCKER = """\
#!/bin/sh
# As on a terminal; and `docker compose` where it is a program of its own.
[ "$1" = compose ] || exec {docker} "$@"
shift
case $1 in exec) shift; set -- exec -T "$@" ;; esac
exec {compose} "$@"
"""


@pytest.fixture
def terminal(
    engine: docker.DockerClient, compose: tuple[str, ...], image: str, tmp_path: Path
) -> Iterator[Callable[[str], subprocess.CompletedProcess[str]]]:
    """A shell in a directory with the files of this repository."""
    for name in ("docker-compose.yml", "Dockerfile", "topologies"):
        (tmp_path / name).symlink_to(PROJECT / name)
    shim = tmp_path / "bin" / "docker"
    shim.parent.mkdir()
    shim.write_text(_DOCKER.format(docker=shutil.which("docker"), compose=" ".join(compose)))
    shim.chmod(0o755)
    project = f"d{os.getpid()}"
    variables = {
        "PATH": f"{shim.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COMPOSE_PROJECT_NAME": project,
        "BGPCTL_IMAGE": image,
    }

    def run(text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ("sh", "-ec", text),
            cwd=tmp_path,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    yield run
    for container in engine.containers.list(all=True, filters={"name": project}):
        container.remove(force=True)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_the_commands_do_what_the_document_shows(
    block: Block,
    terminal: Callable[[str], subprocess.CompletedProcess[str]],
    image: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    text = block.text
    if "tools/image" in text:  # has been done by the fixture, with another name for the result
        assert f"tools/base-image {BASE}\nBASE_IMAGE={BASE} tools/image" in text
    else:
        place = tmp_path / "etc"
        place.mkdir()
        shutil.copy(TOPOLOGIES / "cross-subnet.yaml", place / "cluster.yaml")
        name = f"d{os.getpid()}-node"
        own = text.replace("/etc/bgpctl:/etc", f"{place}:/etc").replace("--name bgpctl", f"--name {name}")
        done = terminal(own.replace("    bgpctl agent run", f"    {image} agent run"))
        assert done.returncode == 0, done.stdout + done.stderr
        if name in own:
            wait_until(lambda: terminal(f"docker exec {name} bgpctl show summary").returncode == 0, within_s=30)
    record_property(EXECUTED, 1)
