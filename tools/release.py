"""
Makes and checks all that a release has, in dist/, from the package registries alone: sdist, wheel, the package for
Debian 12, the image, the role for Ansible, their parts (CycloneDX) and SHA256SUMS.

    make release                      # all
    tools/release.py PART…            # some of: python debian image ansible

Each artifact is checked as a user has it: the wheel is installed into an environment of its own, outside of the clone,
and lintian reads the package. The version is that of the last tag; a tagged one needs its section in CHANGELOG.md.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tools import deb
from tools.engine import engine

PROJECT: Final = Path(__file__).resolve().parents[1]
DIST: Final = PROJECT / "dist"
SUMS: Final = "SHA256SUMS"
BASE: Final = "bgpctl-base"
CLUSTER: Final = PROJECT / "topologies" / "cross-subnet.yaml"


class Failed(Exception):
    """There is no such release; the text is the reason."""


def main(names: Sequence[str]) -> int:
    """Make the parts of these names, or all."""
    if unknown := set(names) - set(PARTS):
        sys.stderr.write(f"no such part: {', '.join(sorted(unknown))}\n")
        return 2
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    version = python_packages()
    notes(version)
    for name, make in PARTS.items():
        if not names or name in names:
            say(f"{name}: {version}")
            make(version)
    for line in sums():
        sys.stdout.write(f"{line}\n")
    return 0


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(f"{text}\n")


# Python -----------------------------------------------------------------------------------------------------------


def python_packages() -> str:
    """The sdist, and the wheel that is made of it; their version."""
    say("python: sdist and wheel")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", DIST, PROJECT)
    # Beside the package it would be found before what is installed.
    shutil.rmtree(PROJECT / "bgpctl.egg-info", ignore_errors=True)
    return wheel().name.split("-")[1]


def wheel() -> Path:
    """The one wheel that there is."""
    (found,) = DIST.glob("*.whl")
    return found


def check_python(version: str) -> None:
    """Both give the same files, and the wheel runs with the locked packages, and nothing of the clone."""
    parts(version, "bgpctl")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        again = rebuilt(place, version)
        if contents(again) != contents(wheel()):
            raise Failed("the sdist gives another wheel")
        runs(place / "venv", version)


def rebuilt(place: Path, version: str) -> Path:
    """A wheel from the unpacked sdist, where there is no history."""
    with tarfile.open(DIST / f"bgpctl-{version}.tar.gz") as packed:
        packed.extractall(place, filter="data")
    tree = place / f"bgpctl-{version}"
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", place, tree)
    (made,) = place.glob(f"bgpctl-{version}-*.whl")
    return made


def contents(file: Path) -> Mapping[str, str]:
    """The files of a wheel, without its list of them."""
    with zipfile.ZipFile(file) as packed:
        names = [name for name in packed.namelist() if not name.endswith("/RECORD")]
        return {name: hashlib.sha256(packed.read(name)).hexdigest() for name in names}


def runs(venv: Path, version: str) -> None:
    """The installed program answers in a directory that has nothing of ours."""
    run(sys.executable, PROJECT / "tools" / "install", "--bare", venv, PROJECT / "locks" / "image.txt")
    run(venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel())
    run(venv / "bin" / "python", "-m", "pip", "check")
    program = venv / "bin" / "bgpctl"
    if run(program, "--version", cwd=venv).split()[-1] != version:
        raise Failed("the wheel has another version")
    run(program, "validate", "--elsewhere", CLUSTER, cwd=venv)
    run(program, "doctor", "-o", "json", cwd=venv, allowed=(0, 1))
    if not (venv / "share" / "man" / "man1" / "bgpctl.1").exists():
        raise Failed("the wheel has no man pages")


def parts(version: str, name: str) -> None:
    """The bill of materials of a wheel."""
    text = run(sys.executable, PROJECT / "tools" / "sbom.py", version, PROJECT / "locks" / "image.txt")
    (DIST / f"{name}-{version}.cdx.json").write_text(text)


# Other packages ---------------------------------------------------------------------------------------------------


def debian(version: str) -> None:
    """The package, read by lintian."""
    need("release")
    made = DIST / f"bgpctl_{deb.debian_version(version)}_amd64.deb"
    run(sys.executable, PROJECT / "tools" / "deb.py", wheel(), DIST)
    run("lintian", "--fail-on", "error,warning", "--allow-root", made)


def image(version: str) -> None:
    """The image, as `docker load` and `podman load` take it."""
    need("docker")
    with engine() as host:
        given = {"BASE_IMAGE": BASE, "PYTHON": sys.executable, "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_BGPCTL": version}
        variables = {**given, **({"DOCKER_HOST": host} if host else {})}
        name = f"bgpctl:{re.sub(r'[^A-Za-z0-9_.-]', '-', version)}"
        run(PROJECT / "tools" / "base-image", BASE, variables=variables)
        run(PROJECT / "tools" / "image", name, variables=variables)
        shown = run("docker", "run", "--rm", "--network", "none", name, "--version", variables=variables)
        if shown.split()[-1] != version:
            raise Failed(f"the image has another version: {shown}")
        file = DIST / f"bgpctl-{version}-image-amd64.tar"
        run("docker", "save", "--output", file, name, variables=variables)
        run("gzip", "--no-name", file)
    shutil.copy(PROJECT / "build" / "image.cdx.json", DIST / f"bgpctl-{version}-image-amd64.cdx.json")


def ansible(version: str) -> None:
    """The role, as `ansible-galaxy role install` takes it."""
    with tarfile.open(DIST / f"bgpctl-{version}-ansible-role.tar.gz", "w:gz") as packed:
        packed.add(PROJECT / "packaging" / "ansible" / "roles" / "bgpctl", "bgpctl", filter=plain)


def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without this machine's user and clock."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = deb.made_at()
    return entry


def need(group: str) -> None:
    """Debian packages that make or check a part."""
    run(PROJECT / "tools" / "system-packages", group)


# The whole --------------------------------------------------------------------------------------------------------


def notes(version: str) -> None:
    """The section of CHANGELOG.md that is this version's: that of a tag has to be there."""
    log = (PROJECT / "CHANGELOG.md").read_text()
    (DIST / "CHANGELOG.md").write_text(section(log, version))


def section(log: str, version: str) -> str:
    """The text below `## [VERSION]`, or below `## [Unreleased]` for a version between two tags."""
    name = "Unreleased" if re.search(r"dev|\+", version) else version
    found = re.search(rf"^## \[{re.escape(name)}\].*?(?=^## \[|\Z)", log, re.MULTILINE | re.DOTALL)
    if not found:
        raise Failed(f"CHANGELOG.md has no section [{name}]")
    return found[0]


def sums() -> list[str]:
    """A line for each artifact, written beside them, and checked by sha256sum(1)."""
    files = sorted(path for path in DIST.iterdir() if path.name != SUMS)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in files]
    (DIST / SUMS).write_text("\n".join([*lines, ""]))
    run("sha256sum", "--check", "--strict", "--quiet", SUMS, cwd=DIST)
    return lines


def run(
    *command: str | Path,
    cwd: Path = PROJECT,
    variables: Mapping[str, str] | None = None,
    allowed: Sequence[int] = (0,),
) -> str:
    """The output of a program. Raises Failed with all of its output."""
    given = {**os.environ, **(variables or {})}
    done = subprocess.run(command, cwd=cwd, env=given, capture_output=True, text=True, check=False)
    if done.returncode not in allowed:
        raise Failed(f"{done.stdout}{done.stderr}{command[0]} failed ({done.returncode})")
    return done.stdout


PARTS: Final[Mapping[str, Callable[[str], None]]] = {
    "python": check_python,
    "debian": debian,
    "image": image,
    "ansible": ansible,
}


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failed as failed:
        sys.exit(f"release: {failed}")
