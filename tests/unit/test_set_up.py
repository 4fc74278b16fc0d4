"""
Packages that `make` installs are those of the lock files and tools/system-packages, and a failure is reported in one
sentence.
"""

from __future__ import annotations

import ast
import base64
import configparser
import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bgpctl.speaker import patches
from tests.machine import ROOT, description, programs

INSTALL = ROOT / "tools" / "install"
LOCKS = ROOT / "locks"
PRESENT: Mapping[str, str] = {
    "apt-cache": "apt is how packages come here",
    "apt-get": "apt is how packages come here",
    "bash": "essential in Debian",
    "dpkg": "essential in Debian",
    "dpkg-deb": "dpkg, essential in Debian",
    "dpkg-query": "essential in Debian; its absence is handled",
    "env": "coreutils, essential in Debian",
    "gzip": "essential in Debian",
    "iperf3": "in the guest of tools/vm, which alone is asked for it",
    "man": "man-db; where it is missing its test is skipped",
    "nsenter": "util-linux, essential in Debian",
    "python3": "needed before anything else",
    "setpriv": "util-linux, essential in Debian",
    "setsid": "util-linux, essential in Debian",
    "sh": "essential in Debian",
    "sha256sum": "coreutils, essential in Debian",
    "sleep": "coreutils, essential in Debian",
    "systemctl": "systemd, which a host need not have; its absence is handled",
    "systemd-analyze": "its test is skipped without",
    "tar": "essential in Debian",
    "timeout": "coreutils, essential in Debian",
    "umount": "mount, in every Debian",
    "unshare": "util-linux, essential in Debian",
}
"""Programs that tools/system-packages need not install, and why."""


def locked(name: str) -> Mapping[str, str]:
    """The versions that one lock file has for the Python that runs this."""
    text = (LOCKS / f"{name}.txt").read_text()
    lines = (Requirement(line.removesuffix(" \\")) for line in re.findall(r"^[^ #].*", text, re.MULTILINE))
    return {
        canonicalize_name(line.name): str(line.specifier).removeprefix("==")
        for line in lines
        if line.marker is None or line.marker.evaluate()
    }


def asked() -> Iterator[Requirement]:
    """Everything that setup.cfg asks for, for users of the wheel and in all extras."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    for text in (config["options"]["install_requires"], *config["options.extras_require"].values()):
        yield from (Requirement(line) for line in text.split("\n") if line)


def test_the_lock_has_everything_that_setup_cfg_asks_for_in_its_range() -> None:
    versions = locked("all")
    stale = [str(one) for one in asked() if versions.get(canonicalize_name(one.name), "none") not in one.specifier]
    assert stale == [], "make lock"


@pytest.mark.parametrize("name", ["image", "guest"])
def test_the_smaller_locks_have_the_versions_of_the_whole_one(name: str) -> None:
    assert locked(name).items() <= locked("all").items(), "make lock"


def test_locked_packages_are_installed() -> None:
    if Path(sys.prefix).name == ".venv-newest":
        pytest.skip("make test-newest: the newest versions are wanted")
    shown = subprocess.run(
        (sys.executable, "-m", "pip", "list", "--format=freeze"), capture_output=True, text=True, check=True
    )
    installed = dict(line.split("==") for line in shown.stdout.split())
    expected = {**locked("all"), "bgpctl": version("bgpctl")}
    assert {canonicalize_name(name): number for name, number in installed.items()} == expected, "make setup"


def test_only_the_exabgp_that_is_patched_is_asked_for_and_locked() -> None:
    (exabgp,) = (one for one in asked() if one.name == "exabgp")
    assert (str(exabgp.specifier), locked("all")["exabgp"]) == (f"=={patches.VERSION}", patches.VERSION)


def test_nothing_but_the_installer_installs_python_packages() -> None:
    assert "pip install" not in (ROOT / "Makefile").read_text()


# The installer, with an index of its own ------------------------------------------------------------------------


def made(house: Path, name: str, number: str) -> str:
    """A wheel with nothing in it; the line of a lock that names it."""
    wheel = house / f"{name}-{number}-py3-none-any.whl"
    info = f"{name}-{number}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},sha256={digest(text)},{len(text)}\n" for file, text in files.items())
    with zipfile.ZipFile(wheel, "w") as packed:
        for file, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            packed.writestr(file, text)
    return f"{name}=={number} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def run(*words: str | Path, house: Path) -> subprocess.CompletedProcess[str]:
    variables = {
        "PATH": "/usr/bin:/bin",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(house),
    }
    return subprocess.run((sys.executable, INSTALL, *words), env=variables, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("installed") / "venv"


def versions_in(venv: Path) -> set[str]:
    return {path.stem for path in venv.glob("lib/*/site-packages/*.dist-info") if not path.name.startswith("pip-")}


def test_a_lock_is_installed_exactly_and_a_wrong_hash_in_it_not_at_all(venv: Path, tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    one, other, gone = made(tmp_path, "one", "1.0"), made(tmp_path, "one", "2.0"), made(tmp_path, "gone", "1.0")

    lock.write_text(other + gone)
    assert run("--bare", venv, lock, house=tmp_path).returncode == 0
    assert versions_in(venv) == {"one-2.0", "gone-1.0"}

    lock.write_text(one)
    assert run("--bare", venv, lock, house=tmp_path).returncode == 0
    assert versions_in(venv) == {"one-1.0"}

    planted = re.sub(r"sha256:.{8}", "sha256:deadbeef", one)
    lock.write_text(planted)
    result = run("--bare", venv, lock, house=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    (sentence,) = result.stderr.splitlines()
    assert sentence.startswith(f"one 1.0 is not the file that {lock} names (its SHA-256 is {one[23:35]}…)")
    assert "nothing was installed" in sentence
    assert sentence.endswith("run `make lock` only if you trust both.")
    assert versions_in(venv) == {"one-1.0"}


def test_a_version_that_cannot_be_had_is_named(venv: Path, tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(f"absent==1.0 --hash=sha256:{'0' * 64}\n")
    result = run("--bare", venv, lock, house=tmp_path)
    assert result.returncode == 1
    (sentence,) = result.stderr.splitlines()
    assert f"the packages of {lock} could not be installed" in sentence
    assert "absent==1.0" in sentence


# Programs ---------------------------------------------------------------------------------------------------------

STARTS = {"run", "Popen", "posix_spawn", "execvp", "execvpe", "spawn", "which", "output_of"}
COMMANDS = {"client", "command", "confined", "enter", "few", "machine", "query", "rule", "server"}


def started() -> Iterator[tuple[str, str]]:
    """
    Programs that our Python files start, each with its place: the first word of what is given to a function that starts
    or looks for a program, and of what a variable has whose name marks it as a command.
    """
    scripts = [ROOT / "tools" / "vm", INSTALL]
    modules = (file for package in ("bgpctl", "tests", "bench", "tools") for file in (ROOT / package).rglob("*.py"))
    for file in (*scripts, *modules):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=[words, *_]) if name in STARTS:
                    word = first(words)
                case ast.Assign(targets=[ast.Name(id=name)], value=words) if name in COMMANDS:
                    word = None if isinstance(words, ast.Constant) else first(words)
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as words) if name in COMMANDS:
                    word = None if isinstance(words, ast.Constant) else first(words)
                case _:
                    continue
            if word:
                yield word, f"{file.relative_to(ROOT)}:{node.lineno}"


def first(words: ast.expr) -> str | None:
    match words:
        case ast.Constant(value=str(text)) if re.fullmatch(r"[a-z][\w.-]*", text):
            return text
        case ast.Tuple(elts=[word, *_]) | ast.List(elts=[word, *_]) | ast.Starred(value=word):
            return first(word)
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="split")):
            return text.split()[0]
        case _:
            return None


def test_every_program_that_is_started_is_installed_by_system_packages_or_always_there() -> None:
    siblings = {
        "ansible-playbook": "ansible-lint",
        "birdc": "bird",
        "bridge": "ip",
        "ss": "ip",
        "zebra": "bgpd",
        "vtysh": "bgpd",
        "gobgp": "gobgpd",
    }
    arguments = {"agent", "down", "up"}  # what follows `bgpctl` or Compose
    known = {*programs(), *PRESENT, *arguments, *(name for name, of in siblings.items() if of in programs())}
    found = list(started())
    assert {"ip", "nft", "modprobe", "bird", "dockerd", "mksquashfs", "setpriv"} <= {word for word, _ in found}
    assert {f"{place}: {word}" for word, place in found if word not in known} == set()


def test_an_unpinned_package_is_reported() -> None:
    assert re.search(r"Linux \S+, Python 3\.\d+\.\d+", description())
