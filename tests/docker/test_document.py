"""Every command of docs/containers.md and docs/how-to/container.md works, and the Quadlet there."""

from __future__ import annotations

import os
import re
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

DOCUMENTS = (PROJECT / "docs" / "containers.md", PROJECT / "docs" / "how-to" / "container.md")
BLOCKS = [block for document in DOCUMENTS for block in blocks(document) if block.kind == CONTAINERS]
(QUADLET,) = (block for block in blocks(DOCUMENTS[1]) if block.file)
Terminal = Callable[[str], subprocess.CompletedProcess[str]]
_DOCKER = """\
#!/bin/sh
# As on a terminal; and `docker compose` where it is a program of its own.
[ "$1" = compose ] || exec {docker} "$@"
shift
case $1 in exec) shift; set -- exec -T "$@" ;; esac
exec {compose} "$@"
"""


@pytest.fixture
def terminal(engine: docker.DockerClient, compose: tuple[str, ...], image: str, tmp_path: Path) -> Iterator[Terminal]:
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
    terminal: Terminal,
    image: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    text = block.text
    if "tools/image" in text:  # has been done by the fixture, with another name for the result
        assert f"tools/base-image {BASE}\nBASE_IMAGE={BASE} tools/image" in text
    else:
        for command in text.replace("\\\n", "").splitlines():
            execute(own(command, image, tmp_path), terminal)
    record_property(EXECUTED, 1)


NAME = f"d{os.getpid()}-node"


def own(command: str, image: str, place: Path) -> str:
    """With names and directories that are no other program's."""
    for name in ("etc", "run"):
        (place / name).mkdir(exist_ok=True)
        command = command.replace(f"/{name}/bgpctl:/", f"{place / name}:/")
    shutil.copy(TOPOLOGIES / "cross-subnet.yaml", place / "etc" / "cluster.yaml")
    command = re.sub(r" bgpctl +(agent run|cleanup)", rf" {image} \1", command)
    return re.sub(r"(--name|docker exec|docker stop) (bgpctl|agent)\b", rf"\1 {NAME}", command)


def execute(command: str, terminal: Terminal) -> None:
    """A node that has just been started answers a little later."""
    if command.startswith("docker exec"):
        wait_until(lambda: terminal(command).returncode == 0, within_s=30)
    else:
        done = terminal(command)
        assert done.returncode == 0, done.stdout + done.stderr
    if "agent run" in command:
        wait_until(lambda: terminal(f"docker exec {NAME} bgpctl show summary").returncode == 0, within_s=30)


def test_the_quadlet_starts_a_node(terminal: Terminal, image: str, tmp_path: Path) -> None:
    """As podman's generator has it, in the words of Docker, whose older versions do not know CAP_BPF."""
    keys = [line.split("=", 1) for line in QUADLET.text.partition("[Service]")[0].splitlines() if "=" in line]
    options = {"Network": "--network", "DropCapability": "--cap-drop", "AddCapability": "--cap-add", "Volume": "-v"}
    given = [f"{options[key]} {word}" for key, value in keys if key in options for word in value.split()]
    (exec_,) = (value for key, value in keys if key == "Exec")
    words = " ".join(given).replace("--cap-add BPF", "--cap-add SYS_ADMIN").replace("--cap-drop all", "--cap-drop ALL")
    command = f"docker run -d --name bgpctl --security-opt systempaths=unconfined {words} bgpctl {exec_}"
    execute(own(command, image, tmp_path), terminal)
    execute(f"docker rm -f {NAME}", terminal)
