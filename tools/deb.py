"""
Makes the package for Debian 12: a virtual environment with the locked wheels, below /usr/lib/bgpctl, and what systemd,
man(1) and shells need.

    tools/deb.py WHEEL DIRECTORY [--architecture amd64|arm64] [--wheels DIRECTORY] [--compression small|fast]

WHEEL is bgpctl's. The others are fetched as locks/image.txt names them, by their SHA-256, unless --wheels has them. The
package is bgpctl_VERSION_ARCHITECTURE.deb below DIRECTORY; its path is printed. No root and no Debian is needed but
dpkg-deb; the same wheels give the same files. packaging/debian has the rest; docs/decisions/0045 the reasons.
"""

from __future__ import annotations

import argparse
import datetime as dt
import email
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parents[1]
PACKAGING: Final = PROJECT / "packaging"
PYTHON: Final = "3.11"
"""Debian 12's."""
GLIBC: Final = ("2_17", "2_28", "2_31", "2_34")
"""Wheels for these and older ones run on Debian 12."""
MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
HOME: Final = "usr/lib/bgpctl"
SITE: Final = f"{HOME}/lib/python{PYTHON}/site-packages"
COMPLETIONS: Final = {
    "bash": "usr/share/bash-completion/completions/bgpctl",
    "zsh": "usr/share/zsh/vendor-completions/_bgpctl",
    "fish": "usr/share/fish/vendor_completions.d/bgpctl.fish",
}
START: Final = f"""\
#!/{HOME}/bin/python3 -I
import sys

from bgpctl.cli.MODULE import main

sys.exit(main())
"""
PROGRAMS: Final = {"usr/bin/bgpctl": "main", "usr/lib/cni/bgpctl-cni": "cni"}
"""The module of each; runtimes of containers look into /usr/lib/cni for plugins."""
ENVIRONMENT: Final = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {PYTHON}\n"
COMPRESSIONS: Final = {"small": ("-Zxz",), "fast": ("-Zgzip", "-z1")}
SCRIPTS: Final = ("postinst", "prerm", "postrm")
MAINTAINER: Final = "Developers of bgpctl <developers@bgpctl.invalid>"


def main() -> None:
    """Make the package that the command line names."""
    parser = argparse.ArgumentParser(description="Make the package for Debian 12.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--architecture", choices=list(MACHINES), default="amd64")
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--compression", choices=list(COMPRESSIONS), default="small")
    arguments = parser.parse_args()
    architecture = arguments.architecture
    wheels = arguments.wheels or fetched(architecture)
    version = debian_version(arguments.wheel.name.split("-")[1])
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        install(arguments.wheel, wheels, architecture, tree / SITE)
        for name, content in files(version).items():
            write(tree / name, content)
        for name, target in links().items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).symlink_to(target)
        write(tree / "usr/share/doc/bgpctl/copyright", copyright_of(tree / SITE))
        control(tree, version, architecture)
        modes(tree)
        made = arguments.directory / f"bgpctl_{version}_{architecture}.deb"
        arguments.directory.mkdir(parents=True, exist_ok=True)
        run("dpkg-deb", "--root-owner-group", *COMPRESSIONS[arguments.compression], "--build", tree, made)
    sys.stdout.write(f"{made}\n")


def debian_version(version: str) -> str:
    """The version as dpkg sorts it: a release comes after its pre-releases (deb-version(7), PEP 440)."""
    public, plus, local = version.partition("+")
    return re.sub(r"(a|b|rc)(?=\d)", r"~\1", public).replace(".dev", "~~dev") + plus + local


# The environment ------------------------------------------------------------------------------------------------


def target(architecture: str) -> Iterator[str]:
    """Options of pip for Debian 12, whatever runs pip."""
    yield from ("--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}")
    yield from (f"--platform=manylinux_{version}_{MACHINES[architecture]}" for version in GLIBC)
    yield f"--platform=manylinux2014_{MACHINES[architecture]}"


def fetched(architecture: str) -> Path:
    """The wheels that the lock names."""
    house = PROJECT / "build" / f"wheels-{architecture}"
    exactly = ("--require-hashes", "--no-deps", "--requirement", PROJECT / "locks" / "image.txt")
    pip("download", "--dest", house, *exactly, *target(architecture))
    return house


def install(wheel: Path, wheels: Path, architecture: str, site: Path) -> None:
    """The wheel with its requirements alone: the lock has tools that build it too."""
    pip("install", "--no-compile", "--no-index", "--find-links", wheels, "--target", site, *target(architecture), wheel)
    for name in ("bin", "etc", "share"):  # made for the prefix of an environment
        shutil.rmtree(site / name, ignore_errors=True)


def pip(command: str, *words: str | Path) -> None:
    """Run pip, in silence."""
    run(sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", *words)


def links() -> Mapping[str, str]:
    """The interpreter of the environment is Debian's."""
    return {f"{HOME}/bin/python3": f"../../../bin/python{PYTHON}", f"{HOME}/bin/python": "python3"}


# Files ----------------------------------------------------------------------------------------------------------


def files(version: str) -> Mapping[str, bytes]:
    """All that is not a wheel's, by path."""
    found = {
        **{name: START.replace("MODULE", module).encode() for name, module in PROGRAMS.items()},
        f"{HOME}/pyvenv.cfg": ENVIRONMENT.encode(),
        "usr/lib/systemd/system/bgpctl-agent.service": unit(),
        "etc/bgpctl/agent.env": (PACKAGING / "agent.env").read_bytes(),
        "usr/share/lintian/overrides/bgpctl": (PACKAGING / "debian" / "lintian-overrides").read_bytes(),
        "usr/share/doc/bgpctl/changelog.gz": zipped(changelog(version).encode()),
        "usr/share/doc/bgpctl/CHANGELOG.md.gz": zipped((PROJECT / "CHANGELOG.md").read_bytes()),
    }
    for page in (PACKAGING / "man").glob("*.1"):
        found[f"usr/share/man/man1/{page.name}.gz"] = zipped(page.read_bytes())
    for example in sorted([*PACKAGING.glob("prometheus/alerts.yml"), *PACKAGING.glob("grafana/*.json")]):
        found[f"usr/share/doc/bgpctl/examples/{example.name}"] = example.read_bytes()
    for topology in (PROJECT / "topologies").glob("*.yaml"):
        found[f"usr/share/doc/bgpctl/examples/topologies/{topology.name}"] = topology.read_bytes()
    for shell, name in COMPLETIONS.items():
        found[name] = output_of(sys.executable, "-m", "bgpctl", "completion", shell)
    return found


def unit() -> bytes:
    """The service, by the path that the package has for the program."""
    text = (PACKAGING / "bgpctl-agent.service").read_text()
    installed = text.replace("/opt/bgpctl/bin/bgpctl", "/usr/bin/bgpctl")
    return installed.replace("/etc/systemd/system/", "/usr/lib/systemd/system/").encode()


def changelog(version: str) -> str:
    """In Debian's form; the project's own is beside it."""
    when = format_datetime(dt.datetime.fromtimestamp(made_at(), tz=dt.UTC))
    lines = (f"bgpctl ({version}) bookworm; urgency=medium", "", "  * CHANGELOG.md.gz has the changes.", "")
    return "\n".join((*lines, f" -- {MAINTAINER}  {when}", ""))


@cache
def made_at() -> int:
    """In seconds: the time of the last commit, so that the same commit gives the same package."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    shown = given or output_of("git", "-C", str(PROJECT), "log", "-1", "--format=%ct").decode()
    return int(shown)


def copyright_of(site: Path) -> bytes:
    """Ours, and a line for each package inside."""
    lines = [
        "Copyright (C) 2026 the authors of bgpctl. Licensed under the Apache License, Version 2.0, whose text is in",
        "/usr/share/common-licenses/Apache-2.0.",
        "",
        f"The packages below are in /{SITE}, as their authors built them. Each has its copyright notices and its",
        "licence in its directory NAME-VERSION.dist-info there.",
        "",
    ]
    for file in sorted(site.glob("*.dist-info/METADATA")):
        about = email.message_from_string(file.read_text())
        if about["Name"] != "bgpctl":
            lines.append(f"{about['Name']} {about['Version']}: {licence(about)}")
    return "\n".join([*lines, ""]).encode()


def licence(about: email.message.Message) -> str:
    """As the package names it."""
    classified = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier", []) if line.startswith("License")]
    named = about["License-Expression"] or about["License"] or ""
    return named if named and "\n" not in named else ", ".join(classified) or "see its directory"


def write(path: Path, content: bytes) -> None:
    """With the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def zipped(content: bytes) -> bytes:
    """As policy wants it: as small as it gets, without a time."""
    return gzip.compress(content, 9, mtime=0)


# Control --------------------------------------------------------------------------------------------------------


def control(tree: Path, version: str, architecture: str) -> None:
    """The files that dpkg reads."""
    parts = [path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink()]
    values = {
        "VERSION": version,
        "ARCHITECTURE": architecture,
        "MAINTAINER": MAINTAINER,
        "SIZE": str(sum(-(-path.stat().st_size // 1024) for path in parts)),
    }
    text = (PACKAGING / "debian" / "control.in").read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    place = tree / "DEBIAN"
    write(place / "control", text.encode())
    write(place / "conffiles", b"/etc/bgpctl/agent.env\n")
    sums = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}" for path in parts]  # noqa: S324
    write(place / "md5sums", "\n".join([*(line for line in sums if "  etc/" not in line), ""]).encode())
    for name in SCRIPTS:
        write(place / name, (PACKAGING / "debian" / name).read_bytes())


def modes(tree: Path) -> None:
    """Readable by all, written by root, and dated by the commit, whatever this user's umask and clock are."""
    executable = {*(tree / name for name in PROGRAMS), *(tree / "DEBIAN" / name for name in SCRIPTS)}
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in executable else 0o644)
        os.utime(path, (made_at(), made_at()), follow_symlinks=False)


def run(*command: str | Path) -> None:
    """A program that has to succeed; its output only if it does not."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout.decode(errors='replace')}deb: {command[0]} failed ({done.returncode})")


def output_of(*command: str) -> bytes:
    """The output of a program that has to succeed."""
    return subprocess.run(command, check=True, capture_output=True, cwd=PROJECT).stdout


if __name__ == "__main__":
    main()
