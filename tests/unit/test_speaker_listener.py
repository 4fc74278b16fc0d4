"""ExaBGP's listening sockets, of which a dual-stack node has two; here both are IPv4."""

from __future__ import annotations

import logging
import socket
from types import SimpleNamespace

import pytest
from exabgp.logger import log
from exabgp.logger.option import option
from exabgp.reactor.listener import Listener

from bgpctl.speaker import patches


def listening(address: str) -> socket.socket:
    server = socket.create_server((address, 0))
    server.setblocking(False)
    return server


def test_strangers_at_two_sockets_at_once_close_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Listener, "new_connections", Listener.new_connections)  # put back afterwards
    monkeypatch.setattr(option, "logger", logging.getLogger("exabgp"))
    monkeypatch.setattr(log, "logger", staticmethod(lambda *_: None))
    patches.one_connection_at_a_time()
    scheduled: list[str] = []
    asynchronous = SimpleNamespace(schedule=lambda _uid, name, _generator: scheduled.append(name))
    listener = Listener(SimpleNamespace(peers=list, asynchronous=asynchronous))
    sockets = [listening("127.0.0.1"), listening("127.0.0.2")]
    listener._sockets = {server: (*server.getsockname()[:2], "", None) for server in sockets}
    listener.serving = True
    for turn in (1, 2):
        strangers = [socket.create_connection(server.getsockname()[:2]) for server in sockets]
        assert listener.incoming()
        assert list(listener.new_connections()) == [None]
        assert listener._accepted == {}
        assert scheduled == ["sending notification (6,3)"] * 2 * turn
        for stranger in strangers:
            stranger.close()
    for server in sockets:
        server.close()
