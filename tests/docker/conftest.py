"""A Docker engine (tools/engine.py) and the image, for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from tests.docker.rig import BASE, PROJECT
from tools.engine import answers
from tools.engine import engine as start_engine

IMAGE = f"bgpctl-test-{os.getpid()}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("docker")


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    with pytest.MonkeyPatch.context() as patch, _host() as host:
        if host:
            patch.setenv("DOCKER_HOST", host)
        client = docker.from_env()
        yield client
        client.close()


@contextmanager
def _host() -> Iterator[str | None]:
    """The engine's default address, where the environment names none."""
    if os.geteuid() != 0:
        pytest.skip("root: containers are cabled from outside")
    if not shutil.which("docker") or not (answers(None) or shutil.which("dockerd")):
        pytest.skip("docker: no engine answers, and there is no dockerd to start")
    with start_engine() as host:
        yield host


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> Iterator[str]:
    """The image, made without a registry of images. An engine that ran before keeps its base for the next time."""
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap: the base image is made of Debian packages")
    if not engine.images.list(BASE):
        _run("tools/base-image", BASE)
    _run("tools/image", IMAGE)
    yield IMAGE
    engine.images.remove(IMAGE, force=True)


def _run(*command: str) -> None:
    variables = {"BASE_IMAGE": BASE, "PYTHON": sys.executable}
    result = subprocess.run(command, cwd=PROJECT, env={**os.environ, **variables}, capture_output=True, check=False)
    assert result.returncode == 0, (result.stdout + result.stderr).decode(errors="replace")[-3000:]


@pytest.fixture(scope="session")
def compose() -> tuple[str, ...]:
    """Compose as it is here: version 2, or 1."""
    plugin = subprocess.run(("docker", "compose", "version"), capture_output=True, check=False)
    if plugin.returncode == 0:
        return ("docker", "compose")
    if shutil.which("docker-compose"):
        return ("docker-compose",)
    pytest.skip("docker-compose: neither version 2 nor 1 is installed")
