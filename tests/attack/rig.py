"""A real agent to attack, on the running kernel, and another user of its host."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from bgpctl import client
from tests.contract.kernel_rig import own_namespace, shell
from tests.waiting import wait_until

NOBODY: Final = 65534
"""Any user but root."""
CLUSTER: Final = """
calico_backend: vxlan
pools: {blue: {cidr: 10.244.0.0/16, encapsulation: VXLAN}}
nodes:
  a1: {address: 10.0.0.1/24, blocks: [10.244.1.0/26]}
  a2: {address: 10.0.0.2/24, blocks: [10.244.2.0/26]}
"""
MESH: Final = CLUSTER.replace("calico_backend: vxlan", "calico_backend: bird").replace("VXLAN", "None")

needs_root: Final = pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces, other users")
_SUPER: Final = "import sys; from bgpctl.cli.main import main; main(sys.argv[1:])"


def bgpctl(*words: object, user: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command, as another user if asked."""
    command = (sys.executable, "-m", "bgpctl", *map(str, words))
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=90, user=user)


def as_nobody(program: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a Python program, which needs the standard library alone, as another user."""
    command = ("/usr/bin/python3", "-I", "-c", program, *map(str, words))
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, user=NOBODY, group=NOBODY, extra_groups=[]
    )


@contextmanager
def by_nobody(program: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    """The same, running beside; entered once it has printed a line."""
    command = ("/usr/bin/python3", "-I", "-c", program, *map(str, words))
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, user=NOBODY, group=NOBODY, extra_groups=[]
    ) as running:
        assert running.stdout
        running.stdout.readline()
        try:
            yield running
        finally:
            running.kill()


@dataclass(slots=True)
class Victim:
    """An agent of node a1, in the namespace of the calling thread. Its directory can be entered by all users."""

    directory: Path
    cluster: str = CLUSTER
    options: Sequence[str] = ()
    program: str = _SUPER
    place: Path | None = None
    """Of the run directory, where it is not beside the file."""
    running: subprocess.Popen[bytes] = field(init=False)

    @property
    def file(self) -> Path:
        return self.directory / "etc" / "cluster.yaml"

    @property
    def run_dir(self) -> Path:
        return self.place or self.directory / "run"

    @property
    def socket(self) -> Path:
        return self.run_dir / client.SOCKET

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def start(self) -> None:
        """Start it, and return once it has the kernel as it wants it, or has ended."""
        self.file.parent.mkdir(exist_ok=True)
        if not self.file.exists():
            self.file.write_text(self.cluster)
        words = ("agent", "run", "--node", "a1", "-f", str(self.file), "--run-dir", str(self.run_dir), *self.options)
        with (self.directory / "log").open("a") as log:
            self.running = subprocess.Popen((sys.executable, "-c", self.program, *words), stdout=log, stderr=log)
        wait_until(lambda: self.running.poll() is not None or self.answers(), within_s=30)

    def answers(self) -> bool:
        """True if its loop has read the kernel."""
        try:
            return self.summary()["state"] != "starting"
        except client.AgentAway:
            return False

    def is_alive(self) -> bool:
        return self.running.poll() is None

    def summary(self) -> dict[str, object]:
        return client.read(self.socket, "summary", any_version=True)

    def kill(self) -> None:
        """End the agent at once; ExaBGP stays."""
        self.running.kill()
        self.running.wait()

    def exabgp(self) -> list[int]:
        """Every ExaBGP that serves from our run directory."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if b"\0server\0" in command and os.fsencode(self.run_dir) in command:
                    found.append(int(entry.name))
        return found


@contextmanager
def victim(**settings: object) -> Iterator[Victim]:
    """An agent that runs, in a namespace of its own; nothing of it stays."""
    with tempfile.TemporaryDirectory(prefix="bgpctl-attack-") as name, own_namespace():
        Path(name).chmod(0o755)
        shell("link set lo up", "link add eth0 type veth peer name far", "link set eth0 up", "link set far up")
        shell("addr add 10.0.0.1/24 dev eth0")
        made = Victim(Path(name), **settings)  # type: ignore[arg-type]
        try:
            made.start()
            yield made
        finally:
            made.kill()
            for pid in made.exabgp():
                os.kill(pid, signal.SIGKILL)


@contextmanager
def full(size_kb: int) -> Iterator[Path]:
    """A file system that is full, until its file `filling` is removed."""
    with tempfile.TemporaryDirectory(prefix="bgpctl-attack-") as name:
        _run("mount", "-t", "tmpfs", "-o", f"size={size_kb}k,mode=755", "tmpfs", name)
        try:
            (Path(name) / "run").mkdir(mode=0o755)
            with (Path(name) / "filling").open("wb", buffering=0) as file, suppress(OSError):
                while file.write(bytes(4096)):
                    pass
            yield Path(name)
        finally:
            _run("umount", "--lazy", name)


def _run(*words: str) -> None:
    """Run a command that has to succeed."""
    subprocess.run(words, check=True)


def peak_mb(pid: int) -> int:
    """The most memory that a process has had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) >> 10


def descriptors(pid: int) -> int:
    """The open file descriptors of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
