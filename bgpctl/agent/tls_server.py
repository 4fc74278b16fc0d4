"""
A server of pages by TLS over TCP, whose handshakes cannot hold others up.

Refuses to know: certificates, what is served.
"""

from __future__ import annotations

import logging
import socketserver
import ssl
import sys
from typing import Any

from bgpctl.agent.pages import Server

log = logging.getLogger("bgpctl")


class TlsServer(Server, socketserver.TCPServer):
    """`tls` is set before it serves."""

    tls: ssl.SSLContext

    def get_request(self) -> tuple[Any, Any]:
        """The handshake is left to the connection's own thread, which may be ended."""
        request, client = super().get_request()
        return self.tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False), client

    def refuse(self, request: Any) -> None:
        """It is closed without an answer: there is no handshake that could carry one."""

    def handle_error(self, *args: object) -> None:
        """A handshake that fails, and a connection that was ended, are no bugs."""
        if isinstance(error := sys.exception(), OSError):
            log.debug("a connection by TLS ended: %s", error)
        else:
            super().handle_error(*args)
