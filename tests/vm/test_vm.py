"""IP in IP with the ipip module of a stock Debian kernel, which tools/vm boots: this machine's own may lack it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


def output_of(*command: str | Path) -> Iterator[str]:
    """Line by line as it comes; a failure is the test's."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        yield from running.stdout
    assert running.returncode == 0


@pytest.mark.vm
def test_ipip_works_with_the_module_of_a_stock_kernel_and_beside_bpf(capfd: pytest.CaptureFixture[str]) -> None:
    if subprocess.run([PROJECT / "tools" / "system-packages", "vm"], check=False).returncode:
        pytest.skip("qemu: see tools/system-packages vm")
    seen = []
    with capfd.disabled():
        for line in output_of(sys.executable, PROJECT / "tools" / "vm", "--timeout", "1500", "tests/vm/job"):
            print(line, end="", flush=True)
            seen.append(line)
    assert [line for line in seen if "12 switches" in line and line.strip().endswith("0 lost; IPIP by kernel")]
    assert not [line for line in seen if line.startswith("SKIPPED") and "ipip" in line.rpartition(":")[2]]
