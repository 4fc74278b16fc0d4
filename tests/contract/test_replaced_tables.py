"""Tables of ours are replaced while packets pass, on the running kernel: none is dropped for a moment."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from bgpctl.core.net.addresses import Address, Prefix
from bgpctl.core.net.objects import InnerFilter
from bgpctl.kernel import inner_filter, nft
from tests.contract.kernel_rig import own_namespace, shell
from tests.waiting import wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")]

ROUNDS: Final = 60
LINK: Final = "eth0"
POOL: Final = tuple(Prefix.parse(f"10.244.{number}.0/25") for number in range(0, 20, 2))
ONE: Final = InnerFilter(LINK, 4, (Address.parse("10.0.0.2"),), (), POOL, (Prefix.parse("10.245.0.0/26"),))
OTHER: Final = ONE._replace(members=(*ONE.members, Address.parse("10.0.0.3")))
TABLE: Final = "bgpctl_inner_eth0"
FAMILY: Final = "netdev"


@pytest.fixture(autouse=True)
def links() -> Iterator[None]:
    with own_namespace():
        shell(f"link add {LINK} type veth peer name far", f"link set {LINK} up", "link set far up")
        yield


def frame(source: str) -> bytes:
    """An IPv4 packet of UDP, of this source, to what the filter takes as ours."""
    ip = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton("10.245.0.1")
    )
    return b"\xff" * 6 + b"\x02" + bytes(5) + b"\x08\x00" + ip + struct.pack("!HHHH", 9, 9, 8, 0)


@contextmanager
def packets_of(source: str) -> Iterator[None]:
    """As many of them as can be sent."""
    ended = threading.Event()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sending:
        sending.bind(("far", 0))

        def send() -> None:
            while not ended.wait(0.0001):
                sending.send(frame(source))

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def dropped() -> int:
    """Of IPv4, also by the tables that were replaced."""
    return sum(item.packets for item in inner_filter.dropped(LINK) if item.reason != "other")


def test_no_packet_that_both_let_pass_is_dropped_while_one_replaces_the_other() -> None:
    with packets_of("10.244.0.9"):
        for wanted in (ONE, OTHER) * (ROUNDS // 2):
            inner_filter.put(wanted)
            assert dropped() == 0
        inner_filter.remove(LINK)
    with packets_of("192.0.2.1"):
        inner_filter.put(ONE)
        wait_until(lambda: dropped() > 0)


def test_a_table_half_replaced_is_not_taken_for_either_and_put_again() -> None:
    inner_filter.put(ONE)
    nft.replace(TABLE + "_b", "set own { type ipv4_addr; }", FAMILY)
    assert inner_filter.observe([LINK]) != {ONE}
    inner_filter.put(ONE)
    assert inner_filter.observe([LINK]) == {ONE}
    assert nft.tables() == [(FAMILY, TABLE)]


def test_a_table_has_one_name_for_those_who_list_put_and_remove_it() -> None:
    for wanted in (ONE, OTHER, ONE):
        inner_filter.put(wanted)
        assert (inner_filter.observe([LINK]), nft.tables()) == (frozenset({wanted}), [(FAMILY, TABLE)])
    assert nft.in_force(TABLE, FAMILY) == TABLE
    inner_filter.put(OTHER)
    assert nft.in_force(TABLE, FAMILY) != TABLE
    inner_filter.remove(LINK)
    assert nft.tables() == []


def test_a_table_that_cannot_be_hooked_leaves_the_one_in_force() -> None:
    inner_filter.put(ONE)
    with pytest.raises(OSError, match="hook"):
        nft.replace(TABLE, "set s { type ipv4_addr; flags interval; }\nchain c {\ntype filter hook none;\n}", FAMILY)
    assert (inner_filter.observe([LINK]), nft.tables()) == (frozenset({ONE}), [(FAMILY, TABLE)])


def test_a_table_that_nft_hooks_too_late_stays_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may have done what the program that asked no longer hears of."""
    inner_filter.put(ONE)
    calls: list[str] = []

    def run(arguments: list[str], text: str = "") -> str:
        calls.append(text)
        done = really(arguments, text)
        if " hook " in text:
            raise TimeoutError(errno.ETIMEDOUT, "nft did not answer")
        return done

    really = nft._run
    with monkeypatch.context() as patched:
        patched.setattr(nft, "_run", run)
        with pytest.raises(TimeoutError):
            inner_filter.put(OTHER)
    assert sum(" hook " in text for text in calls) == 1
    assert inner_filter.observe([LINK]) == {OTHER}
