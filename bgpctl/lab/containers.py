"""
The parts of a lab as containers of a Docker engine on this machine.

Containers come without a network; their namespaces are given the names that those of a lab have, so that cables,
captures and probes are the same as without containers. They carry Compose's labels: `docker compose -p bgpctl-LAB ps`.

Refuses to know: how parts are cabled; compose files (compose.py).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Final

import docker
from docker.errors import DockerException, ImageNotFound
from docker.models.containers import Container

from bgpctl.lab import netns
from bgpctl.lab.topology import FABRIC, Topology

CAPABILITIES: Final = ("NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW", "SYS_ADMIN")
"""
Of a node: links and routes, TCP port 179, probes before a migration, BPF programs. CAP_BPF would be enough for
the last, but Docker knows it only since 20.10.11 and lets bpf(2) through with it only since 25.
"""
SYSCTLS: Final = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/default/rp_filter": "2",
    "net/ipv6/conf/default/addr_gen_mode": "1",
}
"""/proc/sys is read-only in a container: the agent's devices inherit what it would otherwise write."""
_FORWARDING6: Final = {"net/ipv6/conf/all/forwarding": "1"}
_AT_ONCE: Final = 4
_PROJECT: Final = "com.docker.compose.project"


class Containers:
    """Containers of one engine, which have the name `word`. Raises RuntimeError if none answers."""

    def __init__(self, image: str, word: str) -> None:
        self.word = word
        self._image = image
        with _engine_errors():
            self._engine = docker.from_env()

    def make(self, topology: Topology, prefix: str, parts: Sequence[str]) -> None:
        nodes = {node.name for node in topology.intent.nodes}
        own = [part for part in parts if part != FABRIC]
        directory = str(topology.file.parent)
        with _engine_errors():
            self._engine.images.get(self._image)  # run() would fetch one of that name from wherever
        with _engine_errors(), ThreadPoolExecutor(_AT_ONCE) as pool:
            made = list(pool.map(lambda part: self._run(prefix, part, directory if part in nodes else None), own))
        attached = [f"netns attach {prefix}{part} {pid}" for part, pid in zip(own, made, strict=True)]
        netns.ip([f"netns add {prefix}{FABRIC}", *attached])

    def _run(self, prefix: str, part: str, directory: str | None) -> int:
        """Run a part; one with a directory is a node. Returns the process whose network is the container's."""
        container = self._engine.containers.run(
            self._image,
            ["infinity"],
            entrypoint=["sleep"],
            name=f"{prefix}{part}",
            hostname=part,
            # ExaBGP resolves its host's name at start, and no name server answers here.
            extra_hosts={part: "127.0.1.1"},
            labels=_labels(prefix, part),
            network_mode="none",
            init=True,
            detach=True,
            cap_drop=["ALL"] if directory else [],
            cap_add=list(CAPABILITIES) if directory else [],
            volumes=[f"{directory}:{directory}"] if directory else [],
            environment={"BGPCTL_RUN_DIR": f"{directory}/nodes/{part}"} if directory else {},
            healthcheck=None if directory else {"test": ["NONE"]},
        )
        container.reload()
        return int(container.attrs["State"]["Pid"])

    def start(self, namespace: str, arguments: Sequence[str], log: Path) -> Popen[bytes] | None:
        netns.set_sysctls(namespace, SYSCTLS | _FORWARDING6)
        command = ["/bin/sh", "-c", f"exec bgpctl {shlex.join(arguments)} >>{shlex.quote(str(log))} 2>&1"]
        with _engine_errors():
            self._engine.containers.get(namespace).exec_run(command, detach=True)
        return None

    def remove(self, prefix: str) -> None:
        with _engine_errors(), ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(_remove, self._of_lab(prefix)))

    def _of_lab(self, prefix: str) -> list[Container]:
        return self._engine.containers.list(all=True, filters={"label": f"{_PROJECT}={_project(prefix)}"})


def _remove(container: Container) -> None:
    container.remove(force=True, v=True)


def _project(prefix: str) -> str:
    """Compose has its projects' names in lower case."""
    return prefix.rstrip(".").lower()


def _labels(prefix: str, part: str) -> dict[str, str]:
    service = {"service": part, "container-number": "1", "oneoff": "False"}
    return {_PROJECT: _project(prefix), **{f"com.docker.compose.{key}": value for key, value in service.items()}}


@contextmanager
def _engine_errors() -> Iterator[None]:
    try:
        yield
    except ImageNotFound as error:
        raise RuntimeError(f"{error.explanation}; tools/image makes it") from error
    except DockerException as error:
        raise RuntimeError(f"docker: {error}") from error
