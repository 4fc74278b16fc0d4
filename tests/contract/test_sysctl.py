"""Sysctls that are changed and put back, in a namespace of their own."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpctl.core.dataplane.effects import Remove
from bgpctl.core.dataplane.plan import NOT_WANTED
from bgpctl.core.net.objects import Sysctl
from bgpctl.kernel import sysctl
from bgpctl.kernel.linux import LinuxKernel
from bgpctl.kernel.sysctl import Memory
from tests.contract.kernel_rig import own_namespace, put, shell

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

LOOSE = Sysctl("net/ipv4/conf/eth0/rp_filter", "2")
FORWARDING = Sysctl("net/ipv4/ip_forward", "1")


@pytest.fixture(autouse=True)
def namespace() -> Iterator[None]:
    with own_namespace():
        shell("link add eth0 type veth peer name far")
        sysctl.write(LOOSE._replace(value="1"))
        sysctl.write(FORWARDING._replace(value="0"))
        yield


def value(name: str) -> str | None:
    found = sysctl.read(name)
    return found.value if found else None


def test_what_is_changed_can_be_put_back_by_another_process(tmp_path: Path) -> None:
    file = tmp_path / "sysctls.json"
    memory = Memory(file)
    memory.write(LOOSE)
    memory.write(LOOSE._replace(value="0"))
    assert value(LOOSE.name) == "0"
    other = Memory(file)
    assert other.changed() == (LOOSE._replace(value="1"),)
    other.restore(LOOSE.name)
    assert (value(LOOSE.name), Memory(file).changed()) == ("1", ())


def test_a_value_that_was_there_already_is_not_remembered(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "sysctls.json")
    memory.write(LOOSE._replace(value="1"))
    assert memory.changed() == ()
    memory.restore(LOOSE.name)
    assert value(LOOSE.name) == "1"


def test_what_went_with_its_link_is_forgotten(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "sysctls.json")
    memory.write(LOOSE)
    shell("link del eth0")
    memory.restore(LOOSE.name)
    assert memory.changed() == ()


def test_a_broken_file_counts_as_empty(tmp_path: Path) -> None:
    file = tmp_path / "sysctls.json"
    file.write_text("{")
    assert Memory(file).changed() == ()


def test_a_kernel_that_is_opened_anew_puts_back_what_its_predecessor_changed(tmp_path: Path) -> None:
    file = tmp_path / "sysctls.json"
    first = LinuxKernel(memory=file)
    put(first, FORWARDING, LOOSE)
    first.close()
    second = LinuxKernel(memory=file)
    try:
        assert second.changed_sysctls() == (LOOSE._replace(value="1"), FORWARDING._replace(value="0"))
        assert second.apply([Remove(before, NOT_WANTED) for before in second.changed_sysctls()]) == ()
    finally:
        second.close()
    assert (value(FORWARDING.name), value(LOOSE.name)) == ("0", "1")


def test_a_value_that_holds_already_is_not_written_for_it_may_be_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    sysctl.write(LOOSE)
    monkeypatch.setattr(Path, "write_text", refuse)
    sysctl.write(LOOSE)
    with pytest.raises(OSError, match="Read-only"):
        sysctl.write(LOOSE._replace(value="0"))
