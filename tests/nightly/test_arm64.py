"""The package for arm64, installed on Debian 12 for arm64, whose programs run under QEMU's user emulation."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests import service

PROJECT: Final = Path(__file__).parents[2]
EMULATOR: Final = "qemu-aarch64-static"
FORMATS: Final = Path("/proc/sys/fs/binfmt_misc")
HEADER: Final = r"\x7fELF\x02\x01\x01" + r"\x00" * 9 + r"\x02\x00\xb7\x00"
MASK: Final = r"\xff" * 7 + r"\x00" + r"\xff" * 8 + r"\xfe" + r"\xff" * 3
JOB: Final = """\
dpkg --install /package.deb
bgpctl --version
bgpctl validate /usr/share/doc/bgpctl/examples/topologies/cross-subnet.yaml
/usr/lib/bgpctl/bin/python3 -I -c 'import cryptography.x509, exabgp, pyroute2, yaml._yaml'
bgpctl keys init --help >/dev/null
dpkg --purge bgpctl
test ! -e /usr/lib/bgpctl
"""


@pytest.fixture
def emulated() -> Iterator[None]:
    """Programs for arm64 run on this machine."""
    if platform.machine() == "aarch64":
        yield
        return
    if os.geteuid() != 0:
        pytest.skip("root: the kernel is given an emulator")
    if not shutil.which(EMULATOR) or not shutil.which("mmdebstrap"):
        pytest.skip("qemu-user-static: see tools/system-packages release")
    if not (FORMATS / "register").exists():
        subprocess.run(("mount", "-t", "binfmt_misc", "binfmt_misc", FORMATS), check=True)
    name = f"bgpctl-{os.getpid()}"
    # F: the emulator is opened now, so that it is found from inside of any root.
    entry = f":{name}:M::{HEADER}:{MASK}:{shutil.which(EMULATOR)}:F"
    (FORMATS / "register").write_text(entry)
    yield
    (FORMATS / name).write_text("-1")


@pytest.mark.usefixtures("emulated")
def test_the_package_for_arm64_is_installed_runs_and_is_purged(tmp_path: Path) -> None:
    wheel = service.wheel(tmp_path, "1.0")
    made = subprocess.run(
        (sys.executable, PROJECT / "tools" / "deb.py", wheel, tmp_path, "--architecture", "arm64"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    (package,) = tmp_path.glob("bgpctl_1.0_arm64.deb")
    (tmp_path / "job").write_text(JOB)
    hooks = (
        f'--customize-hook=cp {package} "$1/package.deb"; cp {tmp_path / "job"} "$1/job"',
        '--customize-hook=chroot "$1" sh -ex /job',
    )
    kind = ("--mode=root", "--variant=minbase", "--architectures=arm64", "--format=null")
    include = "--include=usr-is-merged,python3,libgcc-s1,iproute2,nftables,kmod"
    merged = "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"
    command = ("mmdebstrap", "--quiet", *kind, include, merged, *hooks, "bookworm")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "bgpctl, version 1.0" in done.stdout + done.stderr
