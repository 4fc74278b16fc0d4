"""A node as an operator has it: the wheel in a virtual environment of its own, run as the systemd unit says."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from bgpctl.lab import netns

ROOT: Final = Path(__file__).parents[1]
UNIT: Final = ROOT / "packaging" / "bgpctl-agent.service"
PREFIX: Final = "/opt/bgpctl"
"""Where the unit looks for the virtual environment; tests have it elsewhere."""
ETC: Final = "/etc/bgpctl"
"""Where it looks for the cluster file; likewise."""

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH that systemd gives (systemd.exec(5))."""

# What ProtectSystem=strict does: nothing can be written but ReadWritePaths, RuntimeDirectory and the kernel's own file
# systems.
_READ_ONLY: Final = """
set -e
mount --bind "$1" "$1"
mount --bind "$2" "$2"
findmnt -rno TARGET | while read -r at; do
    # One that is hidden by another cannot be mounted anew, and need not.
    case "$at" in /proc*|/sys*|/dev*|"$1"*|"$2"*) ;; *) mount -o remount,bind,ro "$at" 2>/dev/null || true ;; esac
done
shift 2
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Unit:
    """The settings of the section [Service]; a key that is given again adds a value."""

    settings: Mapping[str, tuple[str, ...]]

    @classmethod
    def read(cls, file: Path) -> Unit:
        settings: dict[str, tuple[str, ...]] = {}
        for line in file.read_text().partition("[Service]")[2].partition("[Install]")[0].splitlines():
            key, given, value = line.partition("=")
            if given and not line.startswith("#"):
                settings[key] = (*settings.get(key, ()), value)
        return cls(settings)

    def one(self, key: str) -> str:
        (value,) = self.settings[key]
        return value

    @property
    def capabilities(self) -> list[str]:
        return self.one("CapabilityBoundingSet").lower().removeprefix("cap_").split(" cap_")

    def environment(self, host_name: str) -> dict[str, str]:
        pairs = (value.replace("%H", host_name).split("=", 1) for value in self.settings["Environment"])
        return dict(pairs)

    def command(self, prefix: Path, run_dir: Path, etc: Path) -> tuple[str, ...]:
        """
        ExecStart with what the unit takes away first: the rest of the file system, and all other capabilities. `etc`
        is where the cluster file is.
        """
        assert self.one("ProtectSystem") == "strict"
        assert self.one("ReadWritePaths") == f"-{ETC}"
        assert self.one("NoNewPrivileges") == "yes"
        kept = ",".join(["-all", *(f"+{name}" for name in self.capabilities)])
        private = ("unshare", "--mount", "--propagation", "private", "sh", "-c", _READ_ONLY, "sh")
        confined = ("setpriv", "--no-new-privs", f"--bounding-set={kept}", "--inh-caps=-all")
        return (
            *private,
            str(etc),
            str(run_dir),
            *confined,
            *shlex.split(self.one("ExecStart").replace(PREFIX, str(prefix))),
        )


Spawn = Callable[[Sequence[str], Path], subprocess.Popen[bytes]]
"""Starts a program, with its output in a file."""


def start(
    unit: Unit, prefix: Path, run_dir: Path, variables: Mapping[str, str], spawn: Spawn, within_s: float
) -> subprocess.Popen[bytes]:
    """As `systemctl start`: returns when the agent has said that it is ready."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        place = run_dir / "notify"
        place.unlink(missing_ok=True)
        told.bind(str(place))
        told.settimeout(within_s)
        given = {"PATH": _PATH, "NOTIFY_SOCKET": str(place), **variables}
        clean = ("env", "-i", *(f"{name}={value}" for name, value in given.items()))
        etc = Path(variables["BGPCTL_AGENT_RUN_FILES"]).parent
        running = spawn((*clean, *unit.command(prefix, run_dir, etc)), run_dir / "agent.log")
        while "READY=1" not in told.recv(4096).decode():
            pass
    return running


@dataclass(slots=True)
class Service:
    """One agent in a namespace. `settings` are those of the environment file."""

    unit: Unit
    namespace: str
    prefix: Path
    run_dir: Path
    settings: Mapping[str, str]
    running: subprocess.Popen[bytes] = field(init=False)

    def start(self, within_s: float) -> None:
        variables = {**self.unit.environment("nobody"), **self.settings}
        spawn = partial(netns.spawn, self.namespace)
        self.running = start(self.unit, self.prefix, self.run_dir, variables, spawn, within_s)

    def stop(self) -> None:
        """As `systemctl stop` with KillMode=process."""
        assert self.unit.one("KillMode") == "process"
        self.running.terminate()
        assert self.running.wait(timeout=30) == 0


def wheel(tree: Path, version: str) -> Path:
    """The wheel that `python -m build` makes of the sdist that it makes of a copy of this repository."""
    for name in ("bgpctl", "packaging", "topologies", "setup.cfg", "pyproject.toml", "README.md"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tree / name)
    given = f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_BGPCTL={version}"
    _run("env", given, sys.executable, "-m", "build", "--no-isolation", "--outdir", tree / "dist", tree)
    (made,) = (tree / "dist").glob("*.whl")
    return made


def renumbered(made: Path, version: str, directory: Path) -> Path:
    """The same wheel as another version: what is in it does not depend on that."""
    old = made.name.split("-")[1]
    file = directory / made.name.replace(f"-{old}-", f"-{version}-")
    with zipfile.ZipFile(made) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(".dist-info/METADATA"):
                content = content.replace(f"\nVersion: {old}\n".encode(), f"\nVersion: {version}\n".encode())
            if name.endswith(".dist-info/RECORD"):
                content = content.replace(f"bgpctl-{old}.".encode(), f"bgpctl-{version}.".encode())
            packed.writestr(name.replace(f"bgpctl-{old}.", f"bgpctl-{version}."), content)
    return file


def wheelhouse(house: Path) -> None:
    """The requirements of bgpctl, as wheels made of what is installed here, so that pip needs no network."""
    for name in dict.fromkeys(_required("bgpctl")):
        found = distribution(name)
        tag = re.search(r"^Tag: (\S+)$", found.read_text("WHEEL") or "", re.MULTILINE)
        assert tag, name
        file = house / f"{found.name.replace('-', '_')}-{found.version}-{tag[1]}.whl"
        with zipfile.ZipFile(file, "w") as packed:
            for part in found.files or ():
                if ".." not in part.parts:
                    packed.write(part.locate(), str(part))


def install(prefix: Path, made: Path, house: Path) -> None:
    """Put the wheel into the virtual environment `prefix`, made if missing, with what it requires."""
    if not prefix.exists():
        _run(sys.executable, "-m", "venv", "--without-pip", prefix)
    quiet = ("--quiet", "--disable-pip-version-check", "--no-index", "--find-links", house, "--upgrade")
    _run(sys.executable, "-m", "pip", "--python", prefix / "bin" / "python", "install", *quiet, made)


def _required(name: str) -> Iterator[str]:
    for text in distribution(name).requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name
            yield from _required(requirement.name)


def _run(*words: object) -> None:
    result = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
