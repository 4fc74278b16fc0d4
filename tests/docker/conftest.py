"""
A Docker engine and the image, for tests: the engine that answers, or one of our own in a network namespace without an
uplink, so that nothing is changed on this machine and no packet of a lab can leave it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException

from tests.docker.rig import BASE, PROJECT
from tests.waiting import wait_until

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
    if _answers():
        yield None
        return
    if not shutil.which("dockerd") or not shutil.which("docker"):
        pytest.skip("docker: no engine answers, and there is no dockerd to start")
    with tempfile.TemporaryDirectory(prefix="bgpctl-docker-") as place, _own_engine(Path(place)) as host:
        yield host


def _answers() -> bool:
    try:
        return bool(docker.from_env().ping())
    except DockerException:
        return False


@contextmanager
def _own_engine(place: Path) -> Iterator[str]:
    namespace = f"dockerd-{os.getpid()}"
    subprocess.run(("ip", "netns", "add", namespace), check=True)
    subprocess.run(("ip", "-n", namespace, "link", "set", "lo", "up"), check=True)
    host = f"unix://{place}/sock"
    # `ip netns exec` would mount another /sys, and hide the control groups.
    enter = ("nsenter", f"--net=/run/netns/{namespace}", "dockerd", "-H", host)
    where = ("--data-root", f"{place}/data", "--exec-root", f"{place}/exec", "-p", f"{place}/pid")
    log = place / "log"
    with log.open("wb") as output:
        process = subprocess.Popen((*enter, *where), stdout=output, stderr=output, start_new_session=True)
    try:
        wait_until(lambda: process.poll() is not None or _pings(host), within_s=30)
        assert process.poll() is None, log.read_text()[-2000:]
        yield host
    finally:
        process.terminate()
        process.wait(timeout=60)
        subprocess.run(("umount", f"{place}/exec/netns/default"), capture_output=True, check=False)
        subprocess.run(("ip", "netns", "delete", namespace), check=True)


def _pings(host: str) -> bool:
    try:
        return bool(docker.DockerClient(base_url=host).ping())
    except DockerException:
        return False


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
