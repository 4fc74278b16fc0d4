"""The listener for notes where the host gives it no thread."""

from __future__ import annotations

import socket
import threading

import pytest

from bgpctl.kernel import probe_notes
from bgpctl.kernel.probe_notes import NoteListener
from bgpctl.ports import Unavailable


def test_a_listener_without_a_thread_is_unavailable_and_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[socket.socket] = []

    def listen(_version: int) -> socket.socket:
        opened.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        return opened[-1]

    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(probe_notes, "_listen", listen)
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(Unavailable, match="can't start new thread"):
        NoteListener(lambda _source, _octets: None)
    assert opened
    assert all(item.fileno() == -1 for item in opened)
