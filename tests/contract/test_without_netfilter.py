"""Kernels without netfilter netlink, which refuse its sockets: everything but tables is observed all the same."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from bgpctl.kernel import nft
from bgpctl.kernel.linux import LinuxKernel
from tests.contract.kernel_rig import TUNNEL_STACK, own_namespace, put, shell

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces, bpf(2)")]

NETFILTER = 12


@pytest.fixture
def kernel() -> Iterator[LinuxKernel]:
    """With an underlay, and IPIP by BPF programs."""
    with own_namespace():
        shell("link add eth0 type veth peer name far", "link set eth0 up", "link set far up")
        shell("addr add 10.0.0.1/24 dev eth0")
        with closing(LinuxKernel({"ipip": "bpf"})) as made:
            yield made


@pytest.mark.parametrize("code", [errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT])
def test_links_and_decapsulation_by_bpf_are_observed(
    kernel: LinuxKernel, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    put(kernel, *TUNNEL_STACK)
    expected = kernel.observe()

    class Socket(socket.socket):
        def __init__(self, family: int = -1, kind: int = -1, protocol: int = -1, *rest: Any, **more: Any) -> None:
            if (family, protocol) == (socket.AF_NETLINK, NETFILTER):
                raise OSError(code, os.strerror(code))
            super().__init__(family, kind, protocol, *rest, **more)

    monkeypatch.setattr(socket, "socket", Socket)
    assert nft.generation() is None
    assert expected.decaps
    assert kernel.observe() == expected
    with closing(LinuxKernel({"ipip": "bpf"})) as other:
        other.watch(lambda: None)
        assert other.observe() == expected


def test_without_a_tunnel_tables_are_asked_for_once(kernel: LinuxKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(nft, "generation", lambda: asked.append(1))
    kernel.observe()
    first = len(asked)
    assert first
    kernel.observe()
    assert len(asked) == first
    put(kernel, *TUNNEL_STACK)
    kernel.observe()
    assert len(asked) > first
