"""
The kernel says on the listener's socket that it could not make a notification, or had no place for it
(rtnl_set_sk_err, nfnetlink_set_err): whatever the error, something was lost, and listening goes on.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from typing import cast

import pytest

from bgpctl.kernel import nft
from bgpctl.kernel.mirror import EVERYTHING, Mirror
from bgpctl.kernel.watch import Watch

NUMBERS = (errno.ENOBUFS, errno.EMSGSIZE, errno.ENOMEM, errno.EINVAL)


class Failing:
    """A socket on which the kernel left an error; then, as after every read of one, there is nothing."""

    def __init__(self, number: int, listener: socket.socket) -> None:
        self._errors = iter([OSError(number, os.strerror(number))])
        self.fileno, self.close = listener.fileno, listener.close

    def recv(self, _size: int, _flags: int) -> bytes:
        raise next(self._errors, BlockingIOError())


@pytest.fixture
def watch() -> Iterator[Watch]:
    made = Watch(lambda: None, frozenset, Mirror(stale=frozenset()))
    yield made
    made.close()


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_after_any_error_of_the_socket_everything_is_read_again(watch: Watch, number: int) -> None:
    with watch.paused():
        watch._socket = cast(socket.socket, Failing(number, watch._socket))
        watch.read()
        assert watch.mirror.stale == EVERYTHING


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_after_any_error_of_the_socket_our_tables_may_have_changed(number: int) -> None:
    events = nft.Events()
    events._socket = cast(socket.socket, Failing(number, events._socket))
    assert events.drain()
    assert not events.drain()
    events.close()
